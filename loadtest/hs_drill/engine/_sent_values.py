"""What goes to HandlerSocket for a value of a declared column, and what comes back, so that its bytes are those of the column.

A `trio_hs.Table` knows no columns: it sends and reads all text in one character set. A `trio_hs.DeclaredTable` knows them, but
checks and converts each value of each call: 14 us to read a row of seven columns, where a get takes 5 us in all. As Latin-1, in
which every byte is a character, it takes 0.8 us, and as bytes 6 us (measured).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import trio_hs
from hs_drill.scenario import TEXTS
from hs_drill.workload import As

__all__ = ["ENCODING", "bytes_of", "sent_by_handlersocket"]

ENCODING = "latin-1"
"""Of the client for a table of one's own: answers are text in which each character is a byte."""
_AS_THEY_ARE = (
    "tinyint",
    "smallint",
    "mediumint",
    "int",
    "bigint",
    "decimal",
    "float",
    "double",
    "date",
    "datetime",
    "timestamp",
    "time",
)
"""Types whose values the client writes as the server reads them, whatever the encoding."""
_NOT_ASCII = ("ucs2", "utf16", "utf16le", "utf32")


def sent_by_handlersocket(columns: trio_hs.Columns) -> As:
    """For each column's name, the function that makes what the client is given of the column's values."""

    def of(name: str) -> Callable[[Any], Any]:
        column = columns.column(name)
        encode = column.encode_data
        if column.type in _AS_THEY_ARE:
            return lambda value: value
        if column.type in (*TEXTS, "json") and column.charset not in _NOT_ASCII:
            return lambda value: value if value is None or value.isascii() else encode(value)
        return lambda value: None if value is None else encode(value)

    return of


def bytes_of(row: Iterable[tuple[str, Any]]) -> list[Any]:
    """The values of a row as bytes, and None for NULL. The SQL driver gives bytes already."""
    return [value.encode(ENCODING) if isinstance(value, str) else value for _, value in row]
