"""The operations of a mix, bound to the client: each takes what was drawn for it and gives something true when the
answer was the one that the table's contents promise. What it does to which row goes into the caller's `Intent`, before the
request can be sent: the history needs it whatever becomes of the request."""

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
    """What a user is about to do."""

    __slots__ = ("delay", "key", "operation", "value")

    def __init__(self) -> None:
        self.operation = Operation.GET
        self.key: Any = 0
        """The row, or those of a `get_many`. The engine sets this and `operation` to what was drawn, before the call."""
        self.value = 0
        """The version that is written, or the step."""
        self.delay = 0
        """Nanoseconds by which it starts later than it should."""


Call = Callable[[Any, Intent], Awaitable[Any]]
"""What was drawn (see `workload.Drawn`), and the intent to be filled in."""
Observe = Callable[[Any, Any], tuple[int, int, int]]


@dataclass(frozen=True)
class BoundOperation:
    """One operation."""

    call: Call
    operation: Operation
    observe: Observe | None = None
    """Of a read: the key of a row that it found or missed, and the version and n it saw, by request and answer."""
    may_be_empty: bool = False
    """Nothing is as good an answer as a row: what the run inserts reaches a replica later, and may be deleted."""


COLUMNS = ["id", "grp", "n", "payload"]
MOST_TO_DELETE = 100_000
"""Rows inserted and not deleted yet that are remembered: a mix that inserts more than it deletes may run for days."""


class _Newest:
    """The rows of the table by their age: first those that this engine inserted, then the loaded ones from the last one on."""

    REMEMBERED = 4096

    def __init__(self, loaded: int) -> None:
        self._loaded = loaded
        self._inserted: deque[int] = deque(maxlen=self.REMEMBERED)
        self.add = self._inserted.append

    def key(self, younger: int) -> int:
        """The key of the row than which so many are younger."""
        inserted = self._inserted
        if younger < len(inserted):
            return inserted[-1 - younger]
        return self._loaded - (younger - len(inserted)) % self._loaded


TableOf = Callable[[str, str, list[str], str | None], trio_hs.Table | SqlTable]
"""From database, table, columns and index."""


def bind(table_of: TableOf, scenario: Scenario, *, run: int, worker: int) -> Mapping[str, BoundOperation]:
    """Every operation by its name in the scenario. `table_of` is `trio_hs.Manager.table`, or that of another driver."""
    table, mix = scenario.table, scenario.mix
    texts = itertools.cycle(fillers(scenario))
    audited = scenario.audited
    fresh = itertools.count(first_insert_key(run, worker))
    versions = itertools.count(first_insert_key(run, worker))
    inserted: deque[int] = deque(maxlen=MOST_TO_DELETE)
    newest = _Newest(table.rows)
    latest = {name for name, drawn_by in mix.keys(scenario.keys).items() if drawn_by.distribution == "latest"}

    rows = table_of(table.database, table.name, COLUMNS, None)
    ranges = table_of(table.database, table.name, COLUMNS, "grp")
    counter = table_of(table.database, table.name, ["n"], None)
    payload = table_of(table.database, table.name, ["payload"], None)
    keys = table_of(table.database, table.name, ["id"], None)

    def new_payload(key: int, intent: Intent) -> str:
        if not audited:
            return next(texts)
        intent.value = version = next(versions)
        return payload_of(version, key, group_of(key, table), next(texts))

    def get(key: int, _: Intent) -> Awaitable[Any]:
        return rows.get(key)

    def find(key: int, _: Intent) -> Awaitable[Any]:
        return ranges.find(">=", [group_of(key, table), key], limit=mix.find.limit)

    async def get_many(keys: Sequence[int], _: Intent) -> _Found:
        return _Found(await rows.get_many(keys))

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
            # The server leaves a counter alone that would change its sign, and counts 0 rows: as it should be.
            intent.value = 0
        return True

    def update(key: int, intent: Intent) -> Awaitable[Any]:
        return payload.update("=", [key], [new_payload(key, intent)])

    def delete(_: int, intent: Intent) -> Awaitable[Any]:
        if not inserted:
            # The mix gives insert at least the weight of delete, so the rare empty moment is bridged by one more insert.
            intent.operation = Operation.INSERT
            return insert(0, intent)
        intent.key = key = inserted.popleft()
        return keys.delete("=", [key])

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
        "insert": BoundOperation(insert, Operation.INSERT),
        "incr": BoundOperation(incr, Operation.INCR),
        "decr": BoundOperation(decr, Operation.DECR),
        "update": BoundOperation(update, Operation.UPDATE),
        "delete": BoundOperation(delete, Operation.DELETE),
    }


class _Found(list[Any]):
    """The rows of a `get_many`; true when none is missing."""

    def __bool__(self) -> bool:
        return all(self)


def _seen_by_get(key: int, row: trio_hs.Row) -> tuple[int, int, int]:
    if not row:
        return key, ABSENT, NO_COUNT
    # By the key that was asked for: a row that comes in another one's place is not what was written there.
    try:
        return key, version_of(key, int(row[1][1]), row[3][1]), int(row[2][1])
    except (TypeError, ValueError):  # what is no number
        return key, DAMAGED, NO_COUNT


def _seen_by_find(key: int, rows: list[trio_hs.Row]) -> tuple[int, int, int]:
    # The first row stands for all; that none came says nothing about any one row.
    if not rows:
        return key, UNSEEN, NO_COUNT
    return _seen_by_get(int(rows[0][0][1]), rows[0])


def _seen_by_get_many(keys: Sequence[int], found: Sequence[trio_hs.Row]) -> tuple[int, int, int]:
    # A row that is missing stands for all, or the first one.
    at = next((at for at, row in enumerate(found) if not row), 0)
    return _seen_by_get(keys[at], found[at])
