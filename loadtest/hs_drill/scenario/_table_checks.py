"""What is wrong with a table of one's own: its primary key, its indexes, and columns that do not go together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from . import _values as values
from ._base import MissingKey, PlacedError, no_such
from ._sql_types import INTEGERS, bounds_of, bytes_of, column_of, equal_members, with_article

if TYPE_CHECKING:
    from trio_hs import Column

    from ._table import TableSpec

__all__ = ["mistakes_in_table"]

MOST_PARTS = 31
"""Columns of an index. HandlerSocket crashes the server when a find gives 32 values."""
MOST_KEY_BYTES = 3072
"""InnoDB's limit to the length of an index."""
MOST_ROW_BYTES = 65_535
"""MariaDB's limit to the columns of a row, without the content of BLOB and TEXT columns."""
PREFIX = re.compile(r"(.+)\([0-9]+\)")

Mistakes = Iterator[PlacedError]


def mistakes_in_table(table: TableSpec) -> Mistakes:
    """The mistakes of a table with columns, beyond those of each column. Their places begin at `table`."""
    yield from _missing(table)
    yield from _names(table)
    columns = _parsed(table)
    if not table.existing:
        yield from _members(table, columns)
    yield from _primary(table, columns)
    yield from _sequences(table, columns)
    for name, parts in table.indexes.items():
        yield from _index(table, columns, name, parts, ("indexes", name))
    yield from _version(table)
    size = sum(bytes_of(column, in_row=True) for column in columns.values())
    if size > MOST_ROW_BYTES:
        yield PlacedError(
            ("columns",), f"take up to {size:,} bytes together, and a row holds {MOST_ROW_BYTES:,}: make them shorter, or text"
        )


def _parsed(table: TableSpec) -> dict[str, Column]:
    """The columns whose types are right."""
    columns = {}
    for name, spec in table.columns.items():
        try:
            columns[name] = column_of(name, spec.type, spec.is_nullable)
        except ValueError:
            continue
    return columns


def _missing(table: TableSpec) -> Mistakes:
    for name, spec in table.columns.items():
        if not spec.type:
            yield MissingKey(("columns", name, "type"), "is missing; add it, such as `type: int unsigned`")
        if isinstance(spec.values, values.Stored) and not table.existing:
            yield MissingKey(("columns", name, "values"), "is missing; add how its values are made, such as `values: 0`")
        if isinstance(spec.values, values.Version) and table.existing:
            yield PlacedError(("columns", name, "values"), "cannot be `version` in a table that exists: its rows have none")


def _members(table: TableSpec, columns: dict[str, Column]) -> Mistakes:
    for name, column in columns.items():
        place = ("columns", name, "type")
        if column.type not in ("enum", "set"):
            continue
        if spaced := [member for member in column.members if member.endswith(" ")]:
            strips = "the server strips spaces at the end of members: leave them out"
            yield PlacedError(place, f"has the member {spaced[0]!r}, and {strips}")
        elif wrong := equal_members(table.columns[name].type):
            yield PlacedError(place, f"{wrong}: rename one, or add a collation such as utf8mb4_bin")


def _names(table: TableSpec) -> Mistakes:
    for key, names in (("columns", table.columns), ("indexes", table.indexes)):
        seen: dict[str, str] = {}
        for name in names:
            if (first := seen.setdefault(name.lower(), name)) != name:
                yield PlacedError((key, name), f"is the same name as {first} to the server, which ignores case")
    for name in table.indexes:
        if name.upper() == "PRIMARY":
            yield PlacedError(("indexes", name), "is the name of the primary key: give its columns in `primary`")


def _primary(table: TableSpec, columns: dict[str, Column]) -> Mistakes:
    if not table.primary:
        yield MissingKey(("primary",), "is missing; add it, such as `primary: [id]`, for rows are found by their primary key")
        return
    yield from _index(table, columns, "PRIMARY", table.primary, ("primary",))
    parts = [name for name in dict.fromkeys(table.primary) if name in table.columns]
    for name in parts:
        spec = table.columns[name]
        if spec.is_nullable:
            key = "null" if spec.null else "nullable" if spec.nullable else "values"
            yield PlacedError(("columns", name, key), "cannot be NULL in a column of the primary key")
        elif isinstance(spec.values, values.Version | values.Now):
            made = type(spec.values).__name__.lower()
            yield PlacedError(("columns", name, "values"), f"cannot be `{made}` in the primary key, which no write changes")
        if name in columns and columns[name].type == "float" and not table.existing:
            unequal = "cannot be float in the primary key: SQL does not find a FLOAT of 0.7 by 0.7; make it a double"
            yield PlacedError(("columns", name, "type"), unequal)
    numbers = [name for name in parts if isinstance(table.columns[name].values, values.Sequence | values.Uuid)]
    if len(numbers) > 1:
        two = f"has two columns that number the rows, {numbers[0]} and {numbers[1]}: give one of them other values"
        yield PlacedError(("primary",), two)
    elif not numbers and set(parts) == set(table.primary) and not table.existing:
        number = "needs a column with `values: sequence` or `values: uuid`, or two rows might have the same key"
        yield PlacedError(("primary",), number)


def _sequences(table: TableSpec, columns: dict[str, Column]) -> Mistakes:
    for name, column in columns.items():
        counts = isinstance(table.columns[name].values, values.Sequence) and column.type in INTEGERS
        if counts and (most := bounds_of(column)[1]) < table.rows:
            wide = f"holds numbers up to {most:,}, and there are {table.rows:,} rows: say bigint"
            yield PlacedError(("columns", name, "type"), wide)


def _index(table: TableSpec, columns: dict[str, Column], name: str, parts: Sequence[str], place: tuple[str, ...]) -> Mistakes:
    if not parts:
        yield PlacedError(place, "needs at least one column")
    if len(parts) > MOST_PARTS:
        yield PlacedError(place, f"has {len(parts)} columns; HandlerSocket takes at most {MOST_PARTS} of an index")
        return
    for number, part in enumerate(parts):
        prefix = PREFIX.fullmatch(part)
        if prefix and prefix[1].strip() in table.columns:
            whole = f"covers a prefix of {prefix[1].strip()}, by which no row can be told from another: name all of it"
            yield PlacedError((*place, number), whole)
        elif part not in table.columns:
            yield PlacedError((*place, number), no_such("column", part, table.columns))
        elif part in parts[:number]:
            yield PlacedError((*place, number), f"names {part} twice")
        elif part in columns and columns[part].is_blob:
            short = "varbinary" if columns[part].type.endswith("blob") else "varchar"
            whole = f"an index cannot have all of {part}, {with_article(columns[part].type)}: make it a {short}"
            yield PlacedError((*place, number), whole)
    size = sum(bytes_of(columns[part]) for part in parts if part in columns and not columns[part].is_blob)
    if size > MOST_KEY_BYTES:
        yield PlacedError(place, f"takes up to {size:,} bytes, and an index holds {MOST_KEY_BYTES:,}: make its columns shorter")


def _version(table: TableSpec) -> Mistakes:
    several = [name for name, spec in table.columns.items() if isinstance(spec.values, values.Version)]
    for name in several[1:]:
        yield PlacedError(("columns", name, "values"), f"a row has one version, and {several[0]} carries it: give other values")
