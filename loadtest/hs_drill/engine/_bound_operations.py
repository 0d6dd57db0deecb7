"""The operations of a mix, bound to the client.

Each takes what was drawn for it, and returns a true value if the answer fits the table's contents. Before sending the request
it notes in the caller's `Intent` what it does to which row. The history needs this even if the request fails.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import trio_hs
from hs_drill.scenario import Scenario
from hs_drill.store import NO_COUNT, Operation
from hs_drill.workload import ABSENT, DAMAGED, UNSEEN, fillers, first_insert_key, group_of, payload_of, version_of

from ._sql_client import SqlTable

__all__ = ["BoundOperation", "Intent", "bind"]


class Intent:
    """What a user is about to do to which row."""

    __slots__ = ("delay", "key", "operation", "value")

    def __init__(self) -> None:
        self.operation = Operation.GET
        self.key: Any = 0
        """The row's key, or the keys of a `get_many`. The engine sets it and `operation` to what was drawn, before the call."""
        self.value = 0
        """The version to write, or a counter's step."""
        self.delay = 0
        """Nanoseconds between when it should have started and when it did."""


Call = Callable[[Any, Intent], Awaitable[Any]]
"""Takes what was drawn (see `workload.Drawn`), and the intent to fill in."""
Observe = Callable[[Any, Any], tuple[int, int, int]]


@dataclass(frozen=True)
class BoundOperation:
    """One operation."""

    call: Call
    operation: Operation
    observe: Observe | None = None
    """For reads. Takes request and answer. Returns the key of one row, found or missing, and its version and n."""
    may_be_empty: bool = False
    """Finding no row is a success too: what the run inserts reaches a replica later, and may be deleted."""


COLUMNS = ["id", "grp", "n", "payload"]
MOST_TO_DELETE = 100_000
"""How many inserted rows to remember for deleting: a mix that inserts more than it deletes may run for days."""


class _Newest:
    """The rows of the table, the youngest first: those that this engine inserted, then the loaded ones in descending order."""

    REMEMBERED = 4096

    def __init__(self, loaded: int) -> None:
        self._loaded = loaded
        self._inserted: deque[int] = deque(maxlen=self.REMEMBERED)
        self.add = self._inserted.append

    def key(self, younger: int) -> int:
        """The key of the row that has this many younger ones."""
        inserted = self._inserted
        if younger < len(inserted):
            return inserted[-1 - younger]
        return self._loaded - (younger - len(inserted)) % self._loaded


AnyTable = trio_hs.Table | SqlTable
TableOf = Callable[[str, str, list[str], str | None], AnyTable]
"""Takes database, table, columns and index."""


def bind(table_of: TableOf, scenario: Scenario, *, run: int, worker: int) -> Mapping[str, BoundOperation]:
    """Every operation by its name in the scenario. `table_of` is `trio_hs.Manager.table`, or the SQL client's."""
    table = scenario.table
    newest = _Newest(table.rows)
    rows = table_of(table.database, table.name, COLUMNS, None)
    return {
        **_bind_reads(table_of, rows, scenario, newest),
        **_bind_writes(table_of, rows, scenario, newest, first_insert_key(run, worker)),
    }


def _bind_reads(table_of: TableOf, rows: AnyTable, scenario: Scenario, newest: _Newest) -> dict[str, BoundOperation]:
    table, mix = scenario.table, scenario.mix
    latest = {name for name, drawn_by in mix.keys(scenario.keys).items() if drawn_by.distribution == "latest"}
    ranges = table_of(table.database, table.name, COLUMNS, "grp")

    def get(key: int, _: Intent) -> Awaitable[Any]:
        return rows.get(key)

    def find(key: int, _: Intent) -> Awaitable[Any]:
        return ranges.find(">=", [group_of(key, table), key], limit=mix.find.limit)

    async def get_many(keys: Sequence[int], _: Intent) -> _Found:
        return _Found(await rows.get_many(keys))

    def read(name: str, call: Call, operation: Operation, observe: Observe) -> BoundOperation:
        if name not in latest:
            return BoundOperation(call, operation, observe)

        def call_latest(younger: Any, intent: Intent) -> Awaitable[Any]:
            intent.key = key = newest.key(younger) if isinstance(younger, int) else [newest.key(age) for age in younger]
            return call(key, intent)

        return BoundOperation(call_latest, operation, observe, may_be_empty=True)

    return {
        "get": read("get", get, Operation.GET, _seen_by_get),
        "find": read("find", find, Operation.FIND, _seen_by_find),
        "get_many": read("get_many", get_many, Operation.GET_MANY, _seen_by_get_many),
    }


def _bind_writes(
    table_of: TableOf, rows: AnyTable, scenario: Scenario, newest: _Newest, first_key: int
) -> dict[str, BoundOperation]:
    table, mix = scenario.table, scenario.mix
    texts = itertools.cycle(fillers(scenario))
    audited = scenario.audited
    fresh, versions = itertools.count(first_key), itertools.count(first_key)
    inserted: deque[int] = deque(maxlen=MOST_TO_DELETE)
    counter = table_of(table.database, table.name, ["n"], None)
    payload = table_of(table.database, table.name, ["payload"], None)
    keys = table_of(table.database, table.name, ["id"], None)

    def new_payload(key: int, intent: Intent) -> str:
        if not audited:
            return next(texts)
        intent.value = version = next(versions)
        return payload_of(version, key, group_of(key, table), next(texts))

    async def insert(_: int, intent: Intent) -> bool:
        intent.key = key = next(fresh)
        await rows.insert([key, group_of(key, table), 0, new_payload(key, intent)])
        newest.add(key)
        inserted.append(key)
        return True

    def incr(key: int, intent: Intent) -> Awaitable[Any]:
        intent.value = mix.incr.step
        return counter.incr("=", [key], [mix.incr.step])

    async def decr(key: int, intent: Intent) -> bool:
        intent.value = mix.decr.step
        if not await counter.decr("=", [key], [mix.decr.step]):
            # A counter that would change its sign stays as it is, and the server counts 0 rows. That is not a failure.
            intent.value = 0
        return True

    def update(key: int, intent: Intent) -> Awaitable[Any]:
        return payload.update("=", [key], [new_payload(key, intent)])

    def delete(_: int, intent: Intent) -> Awaitable[Any]:
        if not inserted:
            # Rare, for insert has at least the weight of delete: insert a row instead.
            intent.operation = Operation.INSERT
            return insert(0, intent)
        intent.key = key = inserted.popleft()
        return keys.delete("=", [key])

    return {
        "insert": BoundOperation(insert, Operation.INSERT),
        "incr": BoundOperation(incr, Operation.INCR),
        "decr": BoundOperation(decr, Operation.DECR),
        "update": BoundOperation(update, Operation.UPDATE),
        "delete": BoundOperation(delete, Operation.DELETE),
    }


class _Found(list[Any]):
    """The rows of a `get_many`; true if none is missing."""

    def __bool__(self) -> bool:
        return all(self)


def _seen_by_get(key: int, row: trio_hs.Row) -> tuple[int, int, int]:
    if not row:
        return key, ABSENT, NO_COUNT
    # Check against the key that was asked for: another row in its place is not what was written there.
    try:
        return key, version_of(key, int(row[1][1]), row[3][1]), int(row[2][1])
    except (TypeError, ValueError):  # not a number
        return key, DAMAGED, NO_COUNT


def _seen_by_find(key: int, rows: list[trio_hs.Row]) -> tuple[int, int, int]:
    # The first row represents all. An empty answer says nothing about any single row.
    if not rows:
        return key, UNSEEN, NO_COUNT
    return _seen_by_get(int(rows[0][0][1]), rows[0])


def _seen_by_get_many(keys: Sequence[int], found: Sequence[trio_hs.Row]) -> tuple[int, int, int]:
    # The first missing row represents all; if none is missing, the first row does.
    at = next((at for at, row in enumerate(found) if not row), 0)
    return _seen_by_get(keys[at], found[at])
