"""An index: the names of its table and columns, which are checked here, and the request that opens it."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakValueDictionary

from ._values import Ordered, shown, value_list


def _name(what: str, name: str, forbidden: str = "") -> bytes:
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, not {type(name).__name__}")
    if any(character < " " or character in forbidden for character in name):
        raise ValueError(f"{what} {name!r} has a character that the protocol cannot carry in a name")
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} {name!r} has a character that UTF-8 does not have") from None


def name_list(what: str, names: Ordered[str]) -> tuple[str, ...]:
    """The names of columns as a tuple. TypeError, naming ``what``, if they are not a list of them."""
    found = tuple(value_list(names, what, "column names"))
    for name in found:
        if not isinstance(name, str):
            raise TypeError(f"{what} must be a list of column names, each a str, not {shown(name)}")
    return found


def _column_names(what: str, names: Sequence[str]) -> bytes:
    if not all(name_list(what, names)):
        raise ValueError(f"{what} has an empty column name")
    return b",".join([_name(what, name, forbidden=",") for name in names])


def _open_index_tail(db: str, table: str, fields: Sequence[str], index_name: str | None, filter_fields: Sequence[str]) -> bytes:
    """What follows ``P TAB id``: database, table, index (None is the primary key), columns and filter columns."""
    if db == "" or table == "":
        raise ValueError("db and table must be the names of a database and a table, and not empty")
    if not name_list("fields", fields):
        raise ValueError("fields is empty: name at least one column")
    parts = [
        _name("db", db),
        _name("table", table),
        _name("index_name", "PRIMARY" if index_name is None or index_name == "" else index_name),
        _column_names("fields", fields),
    ]
    if filter_fields:
        parts.append(_column_names("filter_fields", filter_fields))
    return b"\t" + b"\t".join(parts) + b"\n"


#: The indexes in use, by `open_tail`. A connection keeps those that it has opened.
_in_use: WeakValueDictionary[bytes, Index] = WeakValueDictionary()


class Index:
    """An index that can be opened on any connection: where it is, and which columns its requests read and write.

    Attributes:
      open_tail: the request that opens it, without its beginning ``P TAB id``.
      width: the number of columns.
      repeated: a column that is named twice, which only reads may do; None without one.
      no_row, row_head: an answer without a row, and the beginning of an answer with rows; head_length is the length of that.
      insert_head: the beginning of the tail of an insert.
    """

    __slots__ = (
        "__weakref__",
        "columns",
        "db",
        "filter_columns",
        "head_length",
        "insert_head",
        "name",
        "no_row",
        "open_tail",
        "repeated",
        "row_head",
        "table",
        "width",
    )

    def __init__(
        self,
        db: str,
        table: str,
        columns: Sequence[str],
        name: str | None = None,
        filter_columns: Sequence[str] = (),
    ) -> None:
        self.open_tail = _open_index_tail(db, table, columns, name, filter_columns)
        self.db = db
        self.table = table
        self.columns = tuple(columns)
        self.name = name
        self.filter_columns = tuple(filter_columns)
        self.width = len(self.columns)
        self.repeated: str | None = None
        if len(set(self.columns)) < self.width:
            self.repeated = next(name for name in self.columns if self.columns.count(name) > 1)
        self.no_row = b"0\t%d" % self.width
        self.row_head = self.no_row + b"\t"
        self.head_length = len(self.row_head)
        self.insert_head = b"\t+\t%d\t" % self.width

    def shared(self) -> Index:
        """The same index if it is in use already, otherwise this one. Connections open each ``Index`` once."""
        return _in_use.setdefault(self.open_tail, self)

    def __repr__(self) -> str:
        return f"<Index {self.db}.{self.table} {self.name or 'PRIMARY'} ({', '.join(self.columns)})>"
