"""The declaration of a client's table, a ``Columns``, as SQL for the embedded server's: so that a schema is written once."""

from __future__ import annotations

from collections.abc import Sequence

from .._columns import Column, KeyPart

_QUOTED = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "json", "enum")


def column_sql(column: Column) -> str:
    """A column as in CREATE TABLE, without its name. Raises ValueError for a generated one, which is not emulated."""
    if column.generated:
        raise ValueError("a generated column is not emulated")
    words = [_type_sql(column)]
    if column.unsigned:
        words.append("UNSIGNED")
    if column.charset not in (None, "utf8mb4"):
        words.append(f"CHARACTER SET {column.charset}")
    words.append("NULL" if column.nullable else "NOT NULL")
    if column.default is not None:
        words.append(f"DEFAULT {_default_sql(column)}")
    if column.auto_increment:
        words.append("AUTO_INCREMENT")
    if column.invisible:
        words.append("INVISIBLE")
    return " ".join(words)


def part_sql(part: KeyPart) -> str:
    """A column of an index, such as ``name(10) DESC``."""
    prefix = "" if part.prefix is None else f"({part.prefix})"
    return f"{part.column.name}{prefix}{' DESC' if part.descending else ''}"


def _type_sql(column: Column) -> str:
    numbers: Sequence[int | None] = (column.length, column.precision, column.scale)
    inside = [str(number) for number in numbers if number is not None] or [_quoted(member) for member in column.members]
    return f"{column.type.upper()}({','.join(inside)})" if inside else column.type.upper()


def _default_sql(column: Column) -> str:
    value = column.default
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, int):
        return str(int(value))
    if column.type in _QUOTED:
        return _quoted(str(value))
    if column.type == "set":
        return _quoted(",".join(member for member in column.members if member in value))
    return _quoted(column.encode_data(value).decode("ascii"))


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
