"""What the bound operations of an engine share: the client, the table's rows, and the rows that the engine has inserted."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import trio_hs
from hs_drill.scenario import Scenario, values
from hs_drill.store import Operation
from hs_drill.workload import OPS, As, Keys, Rows, first_insert_key

from ._sql_table import SqlTable

__all__ = ["AnyTable", "Binding", "BoundOperation", "Call", "Intent", "Numbers", "Observe", "TableOf"]


class Intent:
    """What a user is about to do to which row."""

    __slots__ = ("delay", "key", "operation", "value")

    def __init__(self) -> None:
        self.operation: int = Operation.GET
        """The operation's code in the history."""
        self.key: Any = 0
        """The row's number, or the numbers of a `get_many`. The engine sets it and `operation` to what was drawn, before the
        call."""
        self.value = 0
        """The version to write, or a counter's step."""
        self.delay = 0
        """Nanoseconds between when it should have started and when it did."""


Call = Callable[[Any, Intent], Awaitable[Any]]
"""Takes what was drawn (see `workload.Drawn`), and the intent to fill in."""
Observe = Callable[[Any, Any], tuple[int, int, int]]
AnyTable = trio_hs.Table | SqlTable
TableOf = Callable[[str, str, Sequence[str], str | None], AnyTable]
"""Takes database, table, columns and index."""


@dataclass(frozen=True)
class BoundOperation:
    """One operation."""

    call: Call
    code: int
    """Of the operation in the history."""
    observe: Observe | None = None
    """For reads. Takes what was drawn and the answer. Returns the number of one row, found or missing, its version and n."""
    may_be_empty: bool = False
    """Finding no row is a success too."""


UNIQUE = (values.Sequence, values.Uuid)
"""What a column's values are made of if no two rows have the same."""
MOST_TO_DELETE = 100_000
"""How many inserted rows to remember for deleting: a mix that inserts more than it deletes may run for days."""


class _Newest:
    """The rows of the table, the youngest first: those that this engine inserted, then the loaded ones in descending order."""

    REMEMBERED = 4096

    def __init__(self, loaded: int) -> None:
        self._loaded = loaded
        self._inserted: deque[int] = deque(maxlen=self.REMEMBERED)
        self.add = self._inserted.append

    def number(self, younger: int) -> int:
        """The number of the row that has this many younger ones."""
        inserted = self._inserted
        if younger < len(inserted):
            return inserted[-1 - younger]
        return self._loaded - (younger - len(inserted)) % self._loaded


class Numbers:
    """The numbers of rows to insert, and the versions of writes: no two writes of an engine in a run have the same."""

    def __init__(self, scenario: Scenario, run: int, worker: int) -> None:
        self.run, self.worker = run, worker
        self._first = first_insert_key(run, worker)
        self.inserts = itertools.count(self._first)
        self._declared = scenario.table.declared
        self._versions: dict[int, Iterator[int]] = {}

    def versions(self, place: int) -> Iterator[int]:
        """For the operation at this place of the mix. On a declared table a version says which operation wrote it."""
        start, by = (self._first + place, OPS) if self._declared else (self._first, 1)
        return self._versions.setdefault(place if self._declared else 0, itertools.count(start, by))


class Binding:
    """What the operations of an engine share. `table_of` is `trio_hs.Manager.table`, or the SQL client's. `as_` makes what it
    sends of the rows' values."""

    def __init__(self, table_of: TableOf, scenario: Scenario, rows: Rows, as_: As | None) -> None:
        self.rows = rows
        self.as_ = as_
        self.keys: Keys | None = None if rows.plain else rows.keys(as_)
        """Makes the primary key of a row's number. None if the number is the key."""
        first = scenario.table.columns.get(rows.primary[0])
        self.first_is_unique = len(rows.primary) == 1 or (first is not None and isinstance(first.values, UNIQUE))
        """Whether no two rows have the same value in the first column of the primary key."""
        self.newest = _Newest(scenario.table.rows)
        self.inserted: deque[int] = deque(maxlen=MOST_TO_DELETE)
        """The rows that this engine has inserted and not deleted."""
        self._table_of = table_of
        self._table = scenario.table

    def with_tables(self, table_of: TableOf) -> Binding:
        """The same with another client."""
        other = copy(self)
        other._table_of = table_of
        return other

    def table(self, columns: Sequence[str], index: str | None = None) -> AnyTable:
        return self._table_of(self._table.database, self._table.name, list(columns), index)
