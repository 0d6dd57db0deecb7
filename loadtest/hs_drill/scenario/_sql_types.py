"""What a declared column takes: its type as SQL writes it, and the values that a scenario gives for it.

Here alone the scenario needs the client, which knows the types. Locust's processes read scenarios too, and gevent has patched
them, so trio must not be imported: declarations of columns and tables do without it.
"""

from __future__ import annotations

import ipaddress
import json
import re
import reprlib
import uuid
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from ._base import show

if TYPE_CHECKING:
    from trio_hs import Column, Columns

__all__ = [
    "ADDRESSES",
    "BINARIES",
    "INTEGERS",
    "NUMBERS",
    "TEXTS",
    "TIMES",
    "bounds_of",
    "bytes_of",
    "column_of",
    "columns_of",
    "equal_members",
    "must_fit",
    "not_embedded",
    "step_fits",
    "value_of",
    "with_article",
]

INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
BINARIES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
TIMES = ("date", "datetime", "timestamp", "time")
ADDRESSES = ("inet4", "inet6")
NUMBERS = (*INTEGERS, "decimal", "float", "double", "bit", "year")

_INTEGER = re.compile(r"[-+]?[0-9]+")
_TIME = re.compile(r"(-?)([0-9]{1,3}):([0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{1,6}))?)?")


def column_of(name: str, sql_type: str, nullable: bool) -> Column:
    """The column with this type. Raises ValueError."""
    import trio_hs

    try:
        return trio_hs.Column.from_sql(name, sql_type, nullable=nullable)
    except (TypeError, ValueError) as error:
        raise ValueError(str(error).removeprefix(f"column {name}: ")) from None


def columns_of(columns: list[Column], primary: list[str], indexes: dict[str, list[str]]) -> Columns:
    import trio_hs

    return trio_hs.Columns(columns, {**({"PRIMARY": primary} if primary else {}), **indexes})


def not_embedded(sql_type: str) -> str | None:
    """Why embedded servers cannot have a column of this type, or None."""
    from trio_hs.testing import Table

    try:
        Table("d", "t", {"c": sql_type})
    except ValueError as error:
        return f"embedded servers do not have it ({str(error).removeprefix('table d.t, column c: ')})"
    return None


def equal_members(sql_type: str) -> str | None:
    """Why a MariaDB of some version refuses the members of an enum or set, or None. Of character sets and collations that
    embedded servers do not have, nothing is known."""
    from trio_hs.testing import Table

    lower = sql_type.lower()
    # The default collation of utf8mb4 is another one in every version: of 10.11 it is this one.
    tried = [sql_type] if "collate" in lower else [sql_type, f"{sql_type} collate utf8mb4_general_ci"]
    for one in tried:
        try:
            Table("d", "t", {"c": one})
        except ValueError as error:
            if (what := str(error).removeprefix("table d.t, column c: ")).endswith("for equal"):
                return what
    return None


def value_of(column: Column, raw: object) -> Any:
    """The Python value that a value of a scenario, or a line of a file, stands for in this column.

    Raises ValueError in words, without the value's place. It does not check whether the value fits: see `must_fit`.
    """
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise ValueError(f"must be a value of {with_article(column.type)}, not {show(raw)}")
    kind = column.type
    try:
        return _convert(kind, raw)
    except (ValueError, InvalidOperation, OverflowError):
        raise ValueError(f"must be {_EXAMPLES.get(kind, f'a value of {with_article(kind)}')}, not {show(raw)}") from None


_EXAMPLES = {
    **dict.fromkeys((*INTEGERS, "bit", "year"), "a whole number"),
    **dict.fromkeys(("decimal", "float", "double"), "a number"),
    "date": "a date such as 2024-12-31",
    **dict.fromkeys(("datetime", "timestamp"), "a time such as 2024-12-31 23:59:59, without a time zone"),
    "time": "a time such as 23:59:59",
    "json": "JSON, such as '{\"a\": 1}'",
    "uuid": "a UUID such as 123e4567-e89b-12d3-a456-426655440000",
    "inet4": "an address such as 192.0.2.1",
    "inet6": "an address such as 2001:db8::1",
}


def _convert(kind: str, raw: float | str) -> Any:
    text = str(raw)
    if kind in (*INTEGERS, "bit", "year"):
        if not _INTEGER.fullmatch(text):  # int() would take 1_000
            raise ValueError
        return int(text)
    match kind:
        case "decimal":
            return Decimal(text) or Decimal(0)  # the server has no -0.0
        case "float" | "double":
            return float(text) + 0.0
        case "date":
            return date.fromisoformat(text)
        case "datetime" | "timestamp":
            if (moment := datetime.fromisoformat(text)).tzinfo is not None:
                raise ValueError
            return moment
        case "time":
            return _time(text)
        case "json":
            json.loads(text)
            return text
        case "set":
            return frozenset(text.split(",")) if text else frozenset()
        case "uuid":
            return uuid.UUID(text)
        case "inet4":
            return ipaddress.IPv4Address(text)
        case "inet6":
            return ipaddress.IPv6Address(text)
    if kind in BINARIES:
        return bytes.fromhex(text[2:]) if re.fullmatch(r"0x(?:[0-9a-fA-F]{2})*", text) else text.encode()
    return text


def _time(text: str) -> timedelta:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError
    sign, hours, minutes, seconds, fraction = match.groups()
    value = timedelta(
        hours=int(hours), minutes=int(minutes), seconds=int(seconds or 0), microseconds=int((fraction or "0").ljust(6, "0"))
    )
    return -value if sign else value


_BYTES = {
    "tinyint": 1,
    "smallint": 2,
    "mediumint": 3,
    "int": 4,
    "bigint": 8,
    "float": 4,
    "double": 8,
    "enum": 2,
    "set": 8,
    "date": 3,
    "year": 1,
    "uuid": 16,
    "inet4": 4,
    "inet6": 16,
}
_PER_CHARACTER = {"utf8mb4": 4, "utf8mb3": 3, "utf8": 3, "ucs2": 2, "utf16": 4, "utf16le": 4, "utf32": 4}
_POINTER = 12
"""Bytes of a BLOB or TEXT in the row: its length, and where the rest is."""


def bytes_of(column: Column, *, in_row: bool = False) -> int:
    """The most bytes that a value takes, in an index or `in_row`, where a varchar also has its length."""
    if column.is_blob:
        return _POINTER
    if column.length is not None and column.type != "bit":
        bytes_ = column.length * (_PER_CHARACTER.get(column.charset or "utf8mb4", 1) if column.type in TEXTS else 1)
        return bytes_ + (2 if in_row and column.type.startswith("var") else 0)
    return _BYTES.get(column.type, 8)  # no other type takes more than 30 bytes


def with_article(kind: str) -> str:
    """`an int`, `a decimal`: a type in a sentence."""
    return f"{'an' if kind[0] in 'aeiou' and kind != 'uuid' else 'a'} {kind}"


def bounds_of(column: Column) -> tuple[int, int]:
    """The least and the greatest value of an integer column."""
    bits = _BYTES[column.type] * 8
    return (0, 2**bits - 1) if column.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def step_fits(column: Column, step: float) -> bool:
    """Whether the distance between two values is one that the type has."""
    if column.type in ("float", "double"):
        return True
    digits = column.scale if column.type == "decimal" else column.precision if column.type in TIMES else 0
    return Decimal(str(step)) % Decimal((0, (1,), -(digits or 0))) == 0


def must_fit(column: Column, raw: object) -> Any:
    """`value_of`, for a value that the column stores as it is. Raises ValueError for one that the server would clip."""
    value = value_of(column, raw)
    try:
        column.encode(value)
    except (TypeError, ValueError) as error:
        why = str(error).removeprefix(f"column {column.name} ({column.type}) ")
        if not isinstance(value, str | bytes):  # Python writes it as no scenario does
            for written in (repr(value), reprlib.repr(value)):
                why = why.replace(written, show(raw))
        raise ValueError(why.partition("; with until_2106")[0]) from None  # which is for programs: no scenario has it
    return value
