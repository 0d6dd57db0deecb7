"""A column's type as SQL writes it, such as ``decimal(10,2) unsigned``, as the arguments of a ``Column``."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from ._attributes import Attributes, strings

_SYNONYMS = {
    "bool": "tinyint",
    "boolean": "tinyint",
    "character": "char",
    "dec": "decimal",
    "fixed": "decimal",
    "integer": "int",
    "numeric": "decimal",
    "real": "double",
}
_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
_NUMBERS = (*_INTEGERS, "decimal", "float", "double")
_CHARSET_LESS = ("binary", "varbinary", "json")
_ELSEWHERE = {
    ("GENERATED",): "a generated column",
    ("AS",): "a generated column",
    ("AUTO_INCREMENT",): "AUTO_INCREMENT",
    ("NOT", "NULL"): "NOT NULL",
    ("NULL",): "NULL",
    ("DEFAULT",): "DEFAULT",
    ("ON", "UPDATE"): "ON UPDATE",
    ("PRIMARY",): "PRIMARY KEY",
    ("UNIQUE",): "UNIQUE",
    ("KEY",): "KEY",
    ("REFERENCES",): "REFERENCES",
    ("CHECK",): "CHECK",
    ("COMMENT",): "COMMENT",
    ("INVISIBLE",): "INVISIBLE",
    ("COMPRESSED",): "COMPRESSED",
}


def parse_type(sql: str, known: Collection[str]) -> dict[str, Any]:
    """The ``type`` of a column, one of the `known`, and what belongs to it. Raises ValueError.

    Widths of integers and of a ``year`` are ignored, as the server ignores them. A collation only says its character set.
    """
    attributes = Attributes(sql)
    if not attributes.tokens:
        raise ValueError("a type is missing, such as `int unsigned` or `varchar(40)`")
    for words, name in _ELSEWHERE.items():
        if attributes.take(*words):
            raise ValueError(f"{name} is not part of a type: write only the type, such as `int unsigned`")
    written = attributes.tokens.pop(0).lower()
    kind = _SYNONYMS.get(written, written)
    if written == "double":
        attributes.take("PRECISION")
    if kind not in known:
        meant = difflib.get_close_matches(kind, [*known, *_SYNONYMS], n=1, cutoff=0.8)  # a `point` is no misspelt int
        hint = f"did you mean {meant[0]}?" if meant else f"the known ones are {', '.join(known)}"
        raise ValueError(f"trio-hs has no type {written!r}; {hint}")
    argument = attributes.tokens.pop(0) if attributes.tokens and attributes.tokens[0].startswith("(") else None
    options = _argument(kind, argument)
    kind = options.pop("type", kind)
    if kind in _NUMBERS:
        options |= _sign(attributes)
    elif kind not in _CHARSET_LESS and (kind.endswith(("char", "text")) or kind in ("enum", "set")):
        options |= _charset(attributes)
    if attributes.tokens:
        raise ValueError(f"cannot make sense of {' '.join(attributes.tokens)!r} in a {kind}")
    return {"type": kind, **options}


def _argument(kind: str, argument: str | None) -> dict[str, Any]:
    """What stands in parentheses behind the name of a type."""
    if kind in ("enum", "set"):
        if not (members := strings(argument or "")):
            raise ValueError(f"needs its members, such as {kind}('a','b')")
        return {"members": members}
    numbers = [part.strip() for part in (argument or "()")[1:-1].split(",")] if argument else []
    most = 2 if kind in ("decimal", "float", "double") else 1
    if len(numbers) > most or not all(number.isascii() and number.isdigit() for number in numbers):
        raise ValueError(f"cannot make sense of {argument} behind {kind}")
    values = [int(number) for number in numbers]
    if kind in ("char", "varchar", "binary", "varbinary", "bit"):
        if not values and kind.startswith("var"):
            raise ValueError(f"needs its length, such as {kind}(40)")
        return {"length": values[0] if values else 1}
    if kind == "decimal":
        return dict(zip(("precision", "scale"), [*(values or [10]), 0], strict=False))
    if kind == "float" and len(values) == 1:
        if values[0] > 53:
            raise ValueError(f"the precision of a float is from 0 to 53, not {values[0]}")
        return {"type": "float" if values[0] <= 24 else "double"}
    if kind in ("float", "double"):
        if len(values) == 1:
            raise ValueError(f"needs precision and scale, such as {kind}(10,2), or neither")
        return dict(zip(("precision", "scale"), values, strict=False))
    if kind in ("datetime", "timestamp", "time"):
        return {"precision": values[0]} if any(values) else {}
    if values and kind not in (*_INTEGERS, "year"):
        raise ValueError(f"a {kind} has nothing in parentheses, not {argument}")
    return {}


def _sign(attributes: Attributes) -> dict[str, Any]:
    unsigned = attributes.take("UNSIGNED")
    attributes.take("SIGNED")
    return {"unsigned": True} if attributes.take("ZEROFILL") or unsigned else {}


def _charset(attributes: Attributes) -> dict[str, Any]:
    charset = attributes.take_value("CHARACTER", "SET") or attributes.take_value("CHARSET")
    collation = attributes.take_value("COLLATE")
    of_collation = collation.partition("_")[0] if collation else None
    if charset and of_collation and of_collation.lower() not in (charset.lower(), "uca1400"):
        raise ValueError(f"the collation {collation} is not one of the character set {charset}")
    found = (charset or (of_collation if of_collation != "uca1400" else None) or "").lower()
    return {"charset": found} if found and found != "utf8mb4" else {}
