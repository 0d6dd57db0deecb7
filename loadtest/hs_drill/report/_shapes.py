"""The building blocks of a report's sections: headings, tables, numbers, figures."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from ._markup import Child, el

__all__ = ["figure", "number_cell", "result_class", "row_heading", "section", "table"]

LONG = 24
"""A heading of more characters may be broken, so that numbers stay in sight on a phone."""


def result_class(result: str) -> str:
    return f"result {result.replace(' ', '-')}"


def figure(title: str, chart: Element) -> Element:
    return el("div", el("h3", title), el("div", chart, class_="scroll"), class_="figure")


def section(title: str, *content: Child, name: str | None = None) -> Element:
    """`name` is its class in the style sheet."""
    return el("section", el("h2", title), *content, class_=name)


def number_cell(text: str, *, some: bool = False) -> Element:
    return el("td", text, class_="number some" if some else "number")


def row_heading(text: str, *, rows: int | None = None) -> Element:
    """The heading of a row, or of several."""
    scope = "row" if rows is None else "rowgroup"
    return el("th", text, scope=scope, rowspan=rows, class_="long" if len(text) > LONG else None)


def table(headings: Sequence[str], rows: Sequence[Element], caption: str | None = None) -> Element:
    """`rows` are rows or bodies of rows. A heading that begins with # is for a column of numbers."""
    head = [el("th", one.lstrip("#"), scope="col", class_="number" if one.startswith("#") else None) for one in headings]
    bodies: Child = rows if rows and rows[0].tag == "tbody" else el("tbody", rows)
    return el(
        "div",
        el("table", el("caption", el("span", caption)) if caption else None, el("thead", el("tr", head)), bodies),
        class_="wide",
    )
