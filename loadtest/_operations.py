"""The operations of a mix, bound to the client: each takes the key of a loaded row and gives something true when the
answer was the one that the table's contents promise. What it does to which row goes into the caller's `Intent`, before the
request can be sent: the history needs it whatever becomes of the request."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import trio_hs
from loadtest._history import ABSENT, UNSEEN, Operation
from loadtest._scenario import Scenario
from loadtest._workload import fillers, first_insert_key, group_of, payload_of, version_of

__all__ = ["Bound", "Intent", "bind"]


class Intent:
    """What a user is about to do."""

    __slots__ = ("key", "operation", "value")

    def __init__(self) -> None:
        self.operation = Operation.GET
        self.key = 0
        """The row. The engine sets this and `operation` to what was drawn, before the call."""
        self.value = 0
        """The version that is written, or the step."""


Call = Callable[[int, Intent], Awaitable[Any]]
Observe = Callable[[int, Any], tuple[int, int]]


@dataclass(frozen=True)
class Bound:
    """One operation."""

    call: Call
    operation: Operation
    observe: Observe | None = None
    """Of a read: the key of a row that it found, and the version it saw, from the key asked for and the answer."""


COLUMNS = ["id", "grp", "n", "payload"]


def bind(hs: trio_hs.Manager, scenario: Scenario, *, run: int, worker: int) -> Mapping[str, Bound]:
    """Every operation by its name in the scenario."""
    table, mix = scenario.table, scenario.mix
    texts = fillers(scenario)
    audited = scenario.audited
    fresh = itertools.count(first_insert_key(run, worker))
    versions = itertools.count(first_insert_key(run, worker))
    inserted: deque[int] = deque()

    rows = hs.table(table.database, table.name, COLUMNS)
    ranges = hs.table(table.database, table.name, COLUMNS, "grp")
    counter = hs.table(table.database, table.name, ["n"])
    payload = hs.table(table.database, table.name, ["payload"])
    keys = hs.table(table.database, table.name, ["id"])

    def new_payload(key: int, intent: Intent) -> str:
        text = texts[key % len(texts)]
        if not audited:
            return text
        intent.value = version = next(versions)
        return payload_of(version, text)

    def get(key: int, _: Intent) -> Awaitable[Any]:
        return rows.get(key)

    def find(key: int, _: Intent) -> Awaitable[Any]:
        return ranges.find(">=", [group_of(key, table), key], limit=mix.find.limit)

    async def insert(_: int, intent: Intent) -> bool:
        intent.key = key = next(fresh)
        await rows.insert([key, group_of(key, table), 0, new_payload(key, intent)])
        if mix.delete.weight:
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

    return {
        "get": Bound(get, Operation.GET, _seen_by_get),
        "find": Bound(find, Operation.FIND, _seen_by_find),
        "insert": Bound(insert, Operation.INSERT),
        "incr": Bound(incr, Operation.INCR),
        "decr": Bound(decr, Operation.DECR),
        "update": Bound(update, Operation.UPDATE),
        "delete": Bound(delete, Operation.DELETE),
    }


def _seen_by_get(key: int, row: trio_hs.Row) -> tuple[int, int]:
    return key, version_of(row[3][1]) if row else ABSENT


def _seen_by_find(key: int, rows: list[trio_hs.Row]) -> tuple[int, int]:
    # The first row stands for all; that none came says nothing about any one row.
    if not rows:
        return key, UNSEEN
    return int(rows[0][0][1]), version_of(rows[0][3][1])
