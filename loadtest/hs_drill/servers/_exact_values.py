"""Values of rows exactly as they are stored: how to select them, and the literals that put them back.

The server gives text in each column's own character set, so that no byte is converted on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pymysql.cursors
from pymysql.constants import CLIENT

from hs_drill._cluster import Server
from hs_drill._sql_text import quoted

from ._live_table import LiveColumn
from ._sql import connect_sql

__all__ = ["ExactColumn", "exact_session", "key_condition", "keys_beyond"]

_NUMBERS = ("tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "bit", "enum", "set")
_TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
_BINARIES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
# Values that are no valid dates, or that a mode of the user's would refuse, were stored all the same. A number 0 means 0.
_MODE = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION"


class ExactColumn:
    """A column whose values are read and written back to the last bit."""

    def __init__(self, column: LiveColumn) -> None:
        declared = column.declared
        self.name = column.name
        self._kind = declared.type
        self._charset = "utf8mb4" if declared.type == "json" else declared.charset or "utf8mb4"

    @property
    def selected(self) -> str:
        """What to select. A FLOAT shows only six digits, and the number of a member is also that of an invalid one."""
        name = quoted(self.name)
        if self._kind in ("enum", "set", "bit"):
            return f"{name} + 0"
        return f"CAST({name} AS DOUBLE)" if self._kind == "float" else name

    def literal(self, data: bytes | None) -> str:
        """The literal of a value that was `selected`. It compares by the column's collation."""
        if data is None:
            return "NULL"
        if self._kind in _NUMBERS:
            return data.decode("ascii")
        if self._kind in _BINARIES:
            return f"x'{data.hex()}'"
        if self._kind in _TEXTS or self._kind == "json":
            return f"_{self._charset} x'{data.hex()}'"
        return f"'{data.decode('ascii')}'"

    def shown_literal(self, data: bytes | None) -> str:
        """The literal of a value as the column alone shows it, as HandlerSocket does. (A BIT equals 0x05, and not x'05'.)"""
        if data is None or self._kind not in ("enum", "set", "bit"):
            return self.literal(data)
        return f"0x{data.hex()}" if self._kind == "bit" else f"_{self._charset} x'{data.hex()}'"


def key_condition(key: Sequence[ExactColumn], values: Sequence[bytes | None]) -> str:
    """The condition for the row with this key."""
    return " AND ".join(f"{quoted(part.name)} = {part.literal(value)}" for part, value in zip(key, values, strict=True))


def keys_beyond(key: Sequence[ExactColumn], values: Sequence[bytes | None]) -> str:
    """The condition for rows behind this key, in a form that MariaDB reads as one range of the index."""
    return " OR ".join(
        f"({' AND '.join(filter(None, [key_condition(key[:at], values[:at]), _above(key[at], values[at])]))})"
        for at in range(len(key))
    )


def _above(part: ExactColumn, value: bytes | None) -> str:
    return f"{quoted(part.name)} > {part.literal(value)}"


@contextmanager
def exact_session(server: Server, *, read_timeout: int = 300, many: bool = False) -> Iterator[Any]:
    """A cursor that gives rows of bytes, for use in threads. Times are in UTC. Each statement is a transaction. `many`: takes
    several statements at once."""
    connection = connect_sql(
        server,
        conv={},
        use_unicode=False,
        cursorclass=pymysql.cursors.Cursor,
        sql_mode=_MODE,
        read_timeout=read_timeout,
        write_timeout=read_timeout,
        client_flag=CLIENT.MULTI_STATEMENTS if many else 0,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION character_set_results = NULL, time_zone = '+00:00'")
        yield cursor
