"""Names and literals in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

__all__ = ["any_table", "literal", "quoted", "table_name"]


def quoted(identifier: str) -> str:
    return "`" + identifier.replace("`", "``") + "`"


def table_name(database: str, table: str) -> str:
    return f"{quoted(database)}.{quoted(table)}"


def any_table(database: str) -> str:
    """Every table of a database, for GRANT, where `_` stands for any character."""
    return quoted(database.replace("_", r"\_")) + ".*"


def literal(value: object, members: Sequence[str] = ()) -> str:
    """A Python value as `trio_hs` returns it from a declared column. For every sql_mode but NO_BACKSLASH_ESCAPES.

    SQL compares a SET as text, which has the column's `members` in their order. Without them it is for storing only.
    """
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if value is None:
        return "NULL"
    match value:
        case Decimal():
            return format(value, "f")
        case bytes():
            return f"x'{value.hex()}'"
        case datetime():
            return f"'{value.isoformat(' ')}'"
        case timedelta():
            return f"'{_duration(value)}'"
        case date() | UUID() | IPv4Address() | IPv6Address():
            return f"'{value}'"
        case frozenset():
            return literal(",".join([member for member in members if member in value] if members else value))
    return str(value)


def _duration(value: timedelta) -> str:
    seconds, microseconds = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    sign = "-" if value < timedelta(0) else ""
    return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{microseconds:06}"
