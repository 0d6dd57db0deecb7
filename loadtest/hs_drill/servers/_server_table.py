"""The load's table as servers get it: what `trio_hs.testing.Table` says of one, for types that only MariaDB knows, too."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import trio_hs
from hs_drill._sql_text import literal
from trio_hs.testing import Table

__all__ = ["ServerTable", "declared", "description", "handle_on", "key_of", "least_key", "plain_values", "unfit"]


@dataclass(frozen=True)
class ServerTable(Table):
    """A table of columns that a scenario declares. It is not checked here: an embedded server refuses what it lacks."""

    declared: trio_hs.Columns | None = field(default=None, kw_only=True)
    """Its columns and indexes as the client declares them."""

    def __post_init__(self) -> None:
        pass


def declared(table: Table) -> trio_hs.Columns | None:
    """The table's columns and indexes as the client declares them; None for a table of integers and text."""
    return table.declared if isinstance(table, ServerTable) else None


def description(table: Table) -> dict[str, Any]:
    """The table for an embedded server, as JSON."""
    said = {one.name: getattr(table, one.name) for one in fields(Table)}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in said.items()}


def handle_on(hs: trio_hs.Manager, table: Table, columns: Sequence[str] | None = None) -> trio_hs.Table:
    """A handle on the table by its primary key, for values of `declared` types if there are any."""
    columns, known = list(columns or table.columns), declared(table)
    if known is None:
        return hs.table(table.database, table.name, columns)
    return hs.table(table.database, table.name, columns, columns=known)


def key_of(table: Table, row: Sequence[Any]) -> list[Any]:
    """The values of the primary key in a row."""
    names = list(table.columns)
    return [row[names.index(name)] for name in table.primary_key]


_LEAST: Mapping[str, Any] = {
    "date": date.min,
    "datetime": datetime.min,
    "timestamp": datetime(1970, 1, 1, 14, 0, 1),  # the least one that is in range in every time zone
    "uuid": UUID(int=0),
    "inet4": ipaddress.IPv4Address(0),
    "inet6": ipaddress.IPv6Address(0),
    "float": -3.40282e38,
    "double": -1.797e308,
    "bit": 0,
    "year": 0,
    "set": frozenset(),
}
_INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}


_SAME = ("type", "charset", "precision", "scale", "unsigned", "members")
"""What a column must have in common with its declaration. It may be longer."""


def unfit(column: trio_hs.Column, shown: Mapping[str, Any]) -> str:
    """Why a column on a server does not hold what the declared one does; "" if it does. `shown` is its row of
    information_schema.columns, with `declared` for column_type."""
    kind = str(shown["declared"])
    kind += f" character set {shown['charset']}" if shown["charset"] else ""
    if column.type == "json":  # for the server it is a longtext
        fits = shown["type"] == "longtext" and shown["charset"] == "utf8mb4"
    else:
        try:
            there = trio_hs.Column.from_sql(column.name, kind)
        except ValueError as error:
            return f"is {kind}: {error}"
        lengths = (there.length or 0, column.length or 0)
        longer = column.type in ("varchar", "varbinary", "char") and lengths[0] > lengths[1]
        fits = all(_meaning(there, name) == _meaning(column, name) for name in _SAME) and (longer or lengths[0] == lengths[1])
    if not fits:
        return f"is {kind}"
    return "is NOT NULL" if column.nullable and not shown["nullable"] else ""


def _meaning(column: trio_hs.Column, attribute: str) -> Any:
    value = getattr(column, attribute)
    if attribute == "charset":
        return {None: "utf8mb4", "utf8": "utf8mb3"}.get(value, value)
    return value or 0


def least_key(table: Table, index: str = "PRIMARY") -> list[Any]:
    """A value of an index's first column that no row's is below. (NULL is.)"""
    columns = declared(table)
    if columns is None:
        return [-(2**63)]
    column = columns.key(index)[0].column
    if column.is_integer:
        return [0 if column.unsigned else -(2 ** (_INTEGERS[column.type] - 1))]
    if column.unsigned:
        return [0]
    match column.type:
        case "decimal":
            return [Decimal((1, (9,) * (column.precision or 0), -(column.scale or 0)))]
        case "time":
            return [timedelta(microseconds=10 ** (6 - (column.precision or 0))) - timedelta(hours=839)]
        case "binary":
            return [bytes(column.length or 0)]
        case "enum":
            return [column.members[0]]
    if column.type == "varbinary" or column.type.endswith("blob"):
        return [b""]
    return [_LEAST.get(column.type, "")]


def plain_values(table: Table) -> Callable[[Sequence[Any]], list[int | str | None]]:
    """The function that turns a row into what an embedded server loads: numbers, and text (bytes as text of the same code
    points)."""
    columns = declared(table)
    if columns is None:
        return list
    widths = [(column.length or 0) + 7 >> 3 if column.type == "bit" else 0 for column in columns]
    return lambda row: [_plain(value, width) for value, width in zip(row, widths, strict=True)]


def _plain(value: Any, bit_bytes: int) -> int | str | None:
    match value:
        case int() if bit_bytes:
            return value.to_bytes(bit_bytes, "big").decode("latin-1")
        case None | int() | str():
            return value
        case bytes():
            return value.decode("latin-1")
        case float():
            return repr(value)
        case frozenset():
            return ",".join(sorted(value))
    return literal(value).strip("'")
