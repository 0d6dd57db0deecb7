"""What is wrong with the arguments of a Manager: checks that run only when a call cannot go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ._columns import Columns
from ._protocol import Index, Ordered, name_list, shown

#: What can be iterated like a list of names or pairs, but is none: it has no order, or holds something else.
NO_LISTS = (str, bytes, bytearray, dict, set, frozenset)


def check_names(db: str, table: str, fields: Ordered[str] | None, index_name: str | None, columns: Columns | None) -> None:
    """Raises TypeError or ValueError for arguments of :meth:`Manager.table` that cannot name anything."""
    if columns is not None and not isinstance(columns, Columns):
        raise TypeError(f"columns must be a trio_hs.Columns, not {columns!r}")
    if fields is None and columns is None:
        raise TypeError("fields must be a list of column names, or columns must declare them")
    Index(db, table, ("any",) if fields is None else name_list("fields", fields), index_name)


def no_pairs(why: str = "") -> TypeError:
    """The error of an insert whose fields are not pairs. It does not quote them: they are the user's data."""
    return TypeError(f"fields must be a list of (field, value) pairs{why}")


def pair_list(fields: object) -> list[object]:
    """The fields of an insert as a list. Raises TypeError or ValueError for what cannot be pairs."""
    if isinstance(fields, dict):
        raise no_pairs(": not a dict, but its items()")
    if isinstance(fields, NO_LISTS) or not isinstance(fields, Iterable):
        raise no_pairs(f", not one {type(fields).__name__}")
    pairs = list(fields)
    if not pairs:
        raise ValueError("fields is empty: an insert names at least one column")
    if any(isinstance(pair, str) for pair in pairs):  # a name of two letters would be taken for a pair
        raise no_pairs(", not of names alone")
    return pairs


def database_names(write_databases: Mapping[str, str] | None) -> dict[str, str]:
    """A copy of ``open_manager(write_databases=)``. Raises TypeError if it does not map names to names."""
    if write_databases is None:
        return {}
    if not isinstance(write_databases, Mapping):
        raise TypeError(f"write_databases must be a dict, such as {{'drill': 'drill_wt'}}, or None, not {write_databases!r}")
    for name in (*write_databases, *write_databases.values()):
        if not isinstance(name, str) or not name:
            raise TypeError(f"write_databases must map names of databases to names of databases, not {shown(name)}")
        Index(name, "any", ("any",))  # raises ValueError for what cannot be a name
    return dict(write_databases)
