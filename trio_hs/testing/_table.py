"""Tables in memory: rows in the order of every index, and the changes that a transaction made.

Rows are immutable tuples of stored values. An update replaces the tuple. As in InnoDB, each index is a sorted mapping from a
row's entry (the sort key of the index, followed by that of the clustered index) to the row, so ties come in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from sortedcontainers import SortedDict

from .._counted import counted
from ._declaration import Column, KeyPart, Table
from ._types import Value
from ._versions import DEFAULT_VERSION, Version, find_version

Row: TypeAlias = tuple[Value, ...]
Entry: TypeAlias = tuple[Any, ...]

#: The storage engine's error numbers, as in the server's answers.
DUPLICATE_KEY = 121
WRONG_COMMAND = 131
NO_MORE_IDS = 167

#: The most ids that are reserved at once.
MAX_RESERVED = 65535


class EngineError(Exception):
    """A row cannot be stored. ``code`` is the engine's error number."""

    def __init__(self, code: int) -> None:
        super().__init__(f"storage engine error {code}")
        self.code = code


class DivergedError(ValueError):
    """A replicated change does not fit the rows of the replica."""


class _Top:
    """Sorts above every part of a key."""

    def __lt__(self, other: object) -> bool:
        return False

    def __gt__(self, other: object) -> bool:
        return True


_TOP = (_Top(),)


class _Descending:
    """A part of a key that sorts in descending order."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and bool(self.key == other.key)

    def __lt__(self, other: object) -> bool:
        return bool(other.key < self.key) if isinstance(other, _Descending) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)


def _part_key(part: KeyPart) -> Callable[[Value], Any]:
    """The function from a column's value to what the index sorts by."""
    key, cut, null = part.type.key, part.type.store, part.type.null_key

    def plain(value: Value) -> Any:
        return null if value is None else key(value)

    def prefix(value: Any) -> Any:
        return null if value is None else key(cut(value))

    ascending = prefix if part.is_prefix else plain
    return (lambda value: _Descending(ascending(value))) if part.descending else ascending


class Index:
    """One index of a table."""

    def __init__(self, name: str, parts: Sequence[KeyPart], *, unique: bool, clustered: Index | None) -> None:
        self.name = name
        self.parts = parts
        self.unique = unique
        self.entries: Any = SortedDict()
        self._keys = [(part.position, _part_key(part)) for part in parts]
        self._clustered = clustered

    def key(self, row: Row) -> Entry:
        """The sort key of the index's own columns."""
        return tuple([key(row[position]) for position, key in self._keys])

    def entry(self, row: Row) -> Entry:
        """The row's place in the index."""
        return self.key(row) if self._clustered is None else self.key(row) + self._clustered.key(row)

    def search_key(self, values: Sequence[bytes | None]) -> Entry:
        """The key for a request's values. The server stores them into the columns first, so they are cut and clipped."""
        found = []
        for (_, key), part, data in zip(self._keys, self.parts, values, strict=False):
            found.append(key(None if data is None and part.column.nullable else part.type.store(data or b"")))
        return tuple(found)

    def conflicts(self, row: Row) -> Row | None:
        """Another row with the same unique key. NULL equals nothing."""
        if not self.unique or any(row[position] is None for position, _ in self._keys):
            return None
        key = self.key(row)
        if self._clustered is None:
            found: Row | None = self.entries.get(key)
            return found
        entry = next(self.entries.irange(key, key + _TOP), None)
        return None if entry is None else self.entries[entry]

    def scan(self, operation: str, key: Entry, live: bool = False) -> Iterator[Row]:
        """The rows of a search in the index's order, descending for ``<`` and ``<=``.

        ``live`` finds its place again after every row, for callers that change rows on the way. Like InnoDB's cursor it
        continues after the last row, so a row that was moved ahead comes again.
        """
        entries = self.entries
        if operation == "=" and self._clustered is None and len(key) == len(self.parts):
            row = entries.get(key)
            if row is not None:
                yield row
            return
        reverse = operation in ("<", "<=")
        low = {"=": key, ">=": key, ">": key + _TOP}.get(operation)
        high = {"=": key + _TOP, "<=": key + _TOP, "<": key}.get(operation)
        first, last = True, operation != "<"
        while True:
            for entry in entries.irange(low, high, (first, last), reverse):
                yield entries[entry]
                if live:
                    break
            else:
                return
            if reverse:
                high, last = entry, False
            else:
                low, first = entry, False


def _in_server_order(table: Table, columns: Sequence[Column]) -> list[tuple[str, list[KeyPart], bool]]:
    """Name, parts and uniqueness of the indexes, in the order in which the server numbers them.

    The primary key, then unique indexes (those without NULL first, then those without prefixes), then the others.
    """
    unique = [(name, [KeyPart(columns, part) for part in key], True) for name, key in table.unique_of(columns).items()]
    unique.sort(key=lambda index: (any(p.column.nullable for p in index[1]), any(p.is_prefix for p in index[1])))
    key_columns = [KeyPart(columns, part) for part in table.primary_of(columns)]
    primary = [("PRIMARY", key_columns, True)] if key_columns else []
    return [
        *primary,
        *unique,
        *((name, [KeyPart(columns, part) for part in key], False) for name, key in table.indexes.items()),
    ]


class Change(NamedTuple):
    """The change of one row. It was inserted if ``before`` is None, and deleted if ``after`` is None."""

    table: tuple[str, str]
    before: Row | None
    after: Row | None


class StoredTable:
    """The rows of a table. If no key can order them, each row ends with a number of its own."""

    def __init__(self, declaration: Table, version: Version) -> None:
        self.declaration = declaration
        self.version = version
        self.name = (declaration.database, declaration.name)
        self.columns = declaration.parse_columns(version)
        self.positions = {column.name: position for position, column in enumerate(self.columns)}
        self.initial: Row = tuple(column.initial for column in self.columns)
        self.automatic = next((number for number, column in enumerate(self.columns) if column.auto_increment), None)
        #: The next id to reserve, the ids reserved for the current transaction, and the size of the next reservation.
        self.next_id = 1
        self._reserved = range(0)
        self._reserve = 1
        self._next_row = 1
        described = _in_server_order(declaration, self.columns)
        self._rows, self.indexes = self._make_indexes(described)
        self._hidden = self._rows not in self.indexes

    def _make_indexes(self, described: list[tuple[str, list[KeyPart], bool]]) -> tuple[Index, list[Index]]:
        """The clustered index, and the indexes that requests can open. InnoDB clusters by the first unique key without NULL."""
        clustered = None
        for name, parts, unique in described:
            if name == "PRIMARY" or (unique and not any(part.column.nullable or part.is_prefix for part in parts)):
                clustered = Index(name, parts, unique=True, clustered=None)
                break
        if clustered is None:
            number = Column("DB_ROW_ID", "BIGINT UNSIGNED NOT NULL", self.version)
            clustered = Index("GEN_CLUST_INDEX", [KeyPart([*self.columns, number], number.name)], unique=True, clustered=None)
        return clustered, [
            clustered if name == clustered.name else Index(name, parts, unique=unique, clustered=clustered)
            for name, parts, unique in described
        ]

    @property
    def rows(self) -> list[Row]:
        """All rows in the order of the clustered index."""
        return list(self._rows.entries.values())

    def page(self, after: Sequence[int | str | None] | None, limit: int) -> list[Row]:
        """Up to ``limit`` rows in the order of the primary key: those behind the row with the key ``after``, whose values are
        as :meth:`Column.plain` gives them.

        Raises ValueError for a table without a primary key, and for a key of another length.
        """
        key = self._rows
        if key.name != "PRIMARY":
            raise ValueError(f"{'.'.join(self.name)}: it has no primary key")
        if after is not None and len(after) != len(key.parts):
            raise ValueError(
                f"{'.'.join(self.name)}: its primary key has {counted(len(key.parts), 'column')}, not {len(after)}"
            )
        low = (
            None
            if after is None
            else key.search_key([part.column.bytes_of(one) for part, one in zip(key.parts, after, strict=True)])
        )
        entries = key.entries.irange(low, None, (False, True))
        return [key.entries[entry] for entry in islice(entries, limit)]

    def __len__(self) -> int:
        return len(self._rows.entries)

    @property
    def _all(self) -> list[Index]:
        return [self._rows, *self.indexes] if self._hidden else self.indexes

    def insert(self, values: list[Value]) -> tuple[Row, int]:
        """Stores a row. Returns it with the number generated for its AUTO_INCREMENT column, 0 without one.

        Raises EngineError. A generated number is used up, even if the row is refused.
        """
        generated = 0
        if self.automatic is not None:
            given = values[self.automatic]
            assert isinstance(given, int)
            if given == 0:
                generated = values[self.automatic] = self._generate(self.automatic)
        if self._hidden:
            values.append(self._next_row)
        row = tuple(values)
        self._require_unique(row, None)
        self._put(row)
        return row, generated

    def _generate(self, column: int) -> int:
        """The next id. Within one transaction the server reserves one, then two, four, ...; unused ones are lost."""
        if not self._reserved:
            self._reserved = range(self.next_id, self.next_id + self._reserve)
            self.next_id += self._reserve
            self._reserve = min(2 * self._reserve, MAX_RESERVED)
        number = self._reserved[0]
        if number > self.columns[column].type.high:  # type: ignore[attr-defined]  # an Integer
            raise EngineError(NO_MORE_IDS)
        self._reserved = self._reserved[1:]
        return number

    def end_transaction(self) -> None:
        """Drops the ids that were reserved and not used."""
        self._reserved, self._reserve = range(0), 1

    def update(self, before: Row, after: Row) -> None:
        """Replaces a row. Raises EngineError, and changes nothing then."""
        self._require_unique(after, before)
        for index in self._all:
            old, new = index.entry(before), index.entry(after)
            if old != new:
                del index.entries[old]
            index.entries[new] = after
        self._count_ids(after)

    def delete(self, row: Row) -> None:
        for index in self._all:
            del index.entries[index.entry(row)]

    def _require_unique(self, row: Row, itself: Row | None) -> None:
        for index in self.indexes:
            if index.unique:
                other = index.conflicts(row)
                if other is not None and other is not itself:
                    raise EngineError(DUPLICATE_KEY)

    def _put(self, row: Row) -> None:
        for index in self._all:
            index.entries[index.entry(row)] = row
        self._count_ids(row)

    def _count_ids(self, row: Row) -> None:
        if self.automatic is not None:
            behind = int(row[self.automatic] or 0) + 1
            self.next_id = max(self.next_id, behind)
            if self._reserved:
                self._reserved = range(max(self._reserved.start, behind), self._reserved.stop)
        if self._hidden:
            self._next_row = max(self._next_row, int(row[-1] or 0) + 1)

    def apply(self, before: Row | None, after: Row | None) -> None:
        """Makes a change of another server, or reverts one of ours. Raises DivergedError if it does not fit the rows."""
        current = None if before is None else self._rows.entries.get(self._rows.entry(before))
        if current != before:
            raise DivergedError(f"{'.'.join(self.name)}: the row {before} is not there, but {current}")
        try:
            if after is None:
                if current is not None:
                    self.delete(current)
            elif current is None:
                self._require_unique(after, None)
                self._put(after)
            else:
                self.update(current, after)
        except EngineError:
            raise DivergedError(f"{'.'.join(self.name)}: another row has a key of {after}") from None


class Database:
    """All tables of one server.

    Attributes:
      tables: the tables, by database and name.
      twins: databases that have the tables of another one, as through MariaDB's FEDERATED engine.
      read_only: whether writers get ``lock_tables``, as on a replica.
      version: the version of MariaDB whose tables these are.
    """

    def __init__(self, tables: Iterable[Table], read_only: bool = False, version: str = DEFAULT_VERSION) -> None:
        self.version = find_version(version)
        self.tables: dict[tuple[str, str], StoredTable] = {}
        self.twins: dict[str, str] = {}
        self.read_only = read_only
        for table in tables:
            self.create(table)
        #: The changes since the last commit, in order.
        self.uncommitted: list[Change] = []

    def create(self, table: Table) -> None:
        """Makes an empty table. Raises ValueError if there is one of that name."""
        if (table.database, table.name) in self.tables:
            raise ValueError(f"there are two tables {table.database}.{table.name}")
        self.tables[table.database, table.name] = StoredTable(table, self.version)

    def load(self, name: tuple[str, str], rows: Iterable[Sequence[int | str | None]]) -> None:
        """Inserts rows with a value for every column. Raises ValueError, and inserts none then."""
        table = self.tables[name]
        inserted: list[Change] = []
        for values in rows:
            try:
                row = [column.store(value) for column, value in zip(table.columns, values, strict=True)]
                inserted.append(Change(name, None, table.insert(row)[0]))
            except (ValueError, EngineError) as error:
                self.revert(inserted)
                raise ValueError(f"{'.'.join(name)}: {list(values)} cannot be stored: {error}") from None
        self.uncommitted += inserted

    def commit(self) -> list[Change]:
        """Ends the transaction, and returns its changes."""
        for table in self.tables.values():
            table.end_transaction()
        changes, self.uncommitted = self.uncommitted, []
        return changes

    def apply(self, changes: Iterable[Change]) -> None:
        """Makes the changes of another server. Raises DivergedError, and makes none then."""
        made: list[Change] = []
        try:
            for change in changes:
                if change.table not in self.tables:
                    raise DivergedError(f"there is no table {'.'.join(change.table)}")
                self.tables[change.table].apply(change.before, change.after)
                made.append(change)
        except DivergedError:
            self.revert(made)
            raise

    def revert(self, changes: Sequence[Change]) -> None:
        """Reverts changes, the last one first."""
        self.apply(Change(table, after, before) for table, before, after in reversed(changes))

    def copy(self) -> list[Change]:
        """All rows of all tables."""
        return [Change(table.name, None, row) for table in self.tables.values() for row in table.rows]

    def replace(self, rows: Iterable[Change]) -> None:
        """Replaces all rows by those of another server. Raises DivergedError, and leaves no rows then."""
        for table in self.tables.values():
            for row in table.rows:
                table.delete(row)
        self.apply(rows)
