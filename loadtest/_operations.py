"""The operations of a mix, bound to the client: each takes the key of a preloaded row and gives something true when the
answer was the one that the table's contents promise."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio_hs
from loadtest._scenario import Scenario
from loadtest._workload import first_insert_key, group_of, payloads

__all__ = ["Call", "bind"]

Call = Callable[[int], Awaitable[Any]]

COLUMNS = ["id", "grp", "n", "payload"]


def bind(hs: trio_hs.Manager, scenario: Scenario, *, run: int, worker: int) -> Mapping[str, Call]:
    """Every operation by its name in the scenario."""
    table, mix = scenario.table, scenario.mix
    texts = payloads(scenario)
    fresh = itertools.count(first_insert_key(run, worker))
    inserted: deque[int] = deque()

    rows = hs.table(table.database, table.name, COLUMNS)
    ranges = hs.table(table.database, table.name, COLUMNS, "grp")
    counter = hs.table(table.database, table.name, ["n"])
    payload = hs.table(table.database, table.name, ["payload"])
    keys = hs.table(table.database, table.name, ["id"])

    def find(key: int) -> Awaitable[Any]:
        return ranges.find(">=", [group_of(key, table), key], limit=mix.find.limit)

    async def insert(_: int) -> bool:
        key = next(fresh)
        await rows.insert([key, group_of(key, table), 0, texts[key % len(texts)]])
        if mix.delete.weight:
            inserted.append(key)
        return True

    def incr(key: int) -> Awaitable[Any]:
        return counter.incr("=", [key], [mix.incr.step])

    async def decr(key: int) -> bool:
        # The server leaves a counter alone that would change its sign, and counts 0 rows: as it should be.
        await counter.decr("=", [key], [mix.decr.step])
        return True

    def update(key: int) -> Awaitable[Any]:
        return payload.update("=", [key], [texts[key % len(texts)]])

    async def delete(_: int) -> Any:
        # The mix gives insert at least the weight of delete, so the rare empty moment is bridged by one more insert.
        if not inserted:
            await insert(0)
        return await keys.delete("=", [inserted.popleft()])

    return {
        "get": rows.get,
        "find": find,
        "insert": insert,
        "incr": incr,
        "decr": decr,
        "update": update,
        "delete": delete,
    }
