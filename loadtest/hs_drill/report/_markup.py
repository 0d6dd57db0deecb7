"""Elements of HTML, SVG and XML. Text and attributes go in unescaped; all of them are escaped when written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, TypeAlias
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

__all__ = ["Child", "data", "el", "to_html", "to_xml"]

Child: TypeAlias = "Element | str | Iterable[Child] | None"

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold in any form. A server's error message may contain them."""


def el(tag: str, /, *children: Child, **attributes: object) -> Element:
    """An element. Attributes that are None are left out, `_` in their names stands for `-` (`class_` for `class`)."""
    element = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            text = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
            element.set(name.rstrip("_").replace("_", "-"), _clean(text))
    for child in children:
        _add(element, child)
    return element


def _add(element: Element, child: Child) -> None:
    if isinstance(child, Element):
        element.append(child)
    elif isinstance(child, str):
        if len(element):
            element[-1].tail = (element[-1].tail or "") + _clean(child)
        else:
            element.text = (element.text or "") + _clean(child)
    elif child is not None:
        for one in child:
            _add(element, one)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def data(value: Any, id_: str) -> Element:
    """JSON for a script of the page. Text in a script is not escaped, so nothing in it must look like markup."""
    text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")
    return el("script", text, type="application/json", id=id_)


def to_html(root: Element) -> str:
    """A whole page. The content of `style` and `script` is not escaped."""
    return "<!DOCTYPE html>\n" + ElementTree.tostring(root, encoding="unicode", method="html") + "\n"


def to_xml(root: Element) -> str:
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
