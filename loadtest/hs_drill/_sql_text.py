"""Names and literals in SQL."""

from __future__ import annotations

__all__ = ["any_table", "literal", "quoted", "table_name"]


def quoted(identifier: str) -> str:
    return "`" + identifier.replace("`", "``") + "`"


def table_name(database: str, table: str) -> str:
    return f"{quoted(database)}.{quoted(table)}"


def any_table(database: str) -> str:
    """Every table of a database, for GRANT, where `_` stands for any character."""
    return quoted(database.replace("_", r"\_")) + ".*"


def literal(value: int | str | None) -> str:
    """For every sql_mode but NO_BACKSLASH_ESCAPES."""
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return "NULL" if value is None else str(value)
