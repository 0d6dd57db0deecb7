"""Measure what replicated writes cost: the plain topology beside write-through, async and semisync. `./dev bench write_through`

Three clusters of a writer and a replica run in alternating rounds, one at a time. Tasks of one client insert rows for some
seconds, then increment counters, drawn from a thousand rows. Prints the medians for many tasks and for one, and how many rows
the replica had. Exit code 2: something could not run.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import trio
from rich.console import Console
from rich.table import Table as Shown

import trio_hs
from hs_drill._addresses import write_address
from hs_drill._cluster import ClusterError
from hs_drill._trio_child import first_error
from hs_drill.servers import Control, open_servers
from trio_hs.testing import Table

TABLE = Table("drill", "t", {"id": "BIGINT NOT NULL", "n": "BIGINT NOT NULL", "payload": "VARCHAR(100) NOT NULL"}, ["id"])
COUNTERS = 1000
TOPOLOGIES = {
    "plain": ("plain", "async"),
    "write-through, async": ("write-through", "async"),
    "write-through, semisync": ("write-through", "semisync"),
}


@dataclass
class Result:
    """A topology's rounds."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    """Operations per second, by operation."""
    written: int = 0
    replicated: int = 0


async def rate(operation: Callable[[], Awaitable[object]], tasks: int, seconds: float) -> float:
    """Operations per second of that many tasks."""
    count = 0

    async def repeat(until: float) -> None:
        nonlocal count
        while trio.current_time() < until:
            await operation()
            count += 1

    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(repeat, begin + seconds)
    return count / (trio.current_time() - begin)


async def measure(result: Result, name: str, tasks: int, seconds: float) -> None:
    """One round, on a new cluster, so that none has grown more than another."""
    topology, replication = TOPOLOGIES[name]
    async with open_servers("mariadb", readers=1, topology=topology, replication=replication) as control:
        await control.create_table(TABLE)
        await control.fill(TABLE, [(id, 0, "counter") for id in range(COUNTERS)])
        await control.wait_replicated()
        databases = control.cluster.write_databases
        async with trio_hs.open_manager(
            write_servers=[write_address(control.cluster.writer)], write_databases=databases, timeout=30
        ) as hs:
            rows, counters = hs.table("drill", "t", list(TABLE.columns)), hs.table("drill", "t", ["n"])
            ids = iter(range(COUNTERS, 1 << 40))
            rng = random.Random(1)

            async def insert() -> None:
                await rows.insert([next(ids), 0, "x" * 100])

            async def incr() -> None:
                await counters.incr("=", [rng.randrange(COUNTERS)], [1])

            await rate(insert, tasks, 0.5)  # warm up
            for operation, what in (("insert", insert), ("incr", incr)):
                for many in (tasks, 1):
                    of = f"{operation}, {many} task{'s' if many > 1 else ''}"
                    result.rates.setdefault(of, []).append(await rate(what, many, seconds))
        result.written += next(ids) - COUNTERS
        result.replicated += await on_replica(control)


async def on_replica(control: Control) -> int:
    """How many of the inserted rows the replica has after applying the whole binary log."""
    await control.wait_replicated(120)
    count, after = 0, COUNTERS - 1
    while page := await control.read_rows("reader-1", TABLE, after=(after,), limit=100_000):
        count += len(page)
        after = int(page[-1][0] or 0)
    return count


async def compare(tasks: int, seconds: float, rounds: int) -> dict[str, Result]:
    results = {name: Result() for name in TOPOLOGIES}
    for number in range(rounds):
        order = list(TOPOLOGIES)
        for name in order[number % len(order) :] + order[: number % len(order)]:
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            await measure(results[name], name, tasks, seconds)
    return results


def show(results: dict[str, Result]) -> None:
    operations = list(next(iter(results.values())).rates)
    table = Shown("", *(f"{operation}/s" for operation in operations), "on the replica")
    for name, result in results.items():
        medians = (f"{statistics.median(result.rates[operation]):,.0f}" for operation in operations)
        table.add_row(name, *medians, f"{result.replicated / result.written:.2%} of {result.written:,} rows")
    Console(width=140).print(table)


def main() -> int:
    parser = argparse.ArgumentParser("./dev bench write_through", description=__doc__)
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    code = 2
    try:
        show(trio.run(partial(compare, options.tasks, options.seconds, options.rounds)))
        code = 0
    except* ClusterError as errors:
        print(first_error(errors), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
