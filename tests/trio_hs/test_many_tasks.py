"""Many requests of a thousand tasks on one connection: memory stays level and no task starves."""

from __future__ import annotations

import resource
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

import trio_hs
from hs_drill._cluster import Cluster
from hs_drill.servers import execute_sql
from tests.support.amount import amount
from tests.trio_hs.support.fake import FakeServer
from trio_hs._network import Connection, Request
from trio_hs._protocol import Index, get_tail

TASKS = 1000
REQUESTS = 100_000
INDEX = Index("d", "t", ["id"])


async def flood(
    requests: int, ask: Callable[[int, int], Awaitable[None]], measure: Callable[[], int]
) -> tuple[list[int], list[int]]:
    """Let every task send requests until there were `requests` in all.

    Returns what `measure` gave after each tenth of them, and how many requests each task sent.
    """
    total = answered = longest = 0
    done = [0] * TASKS
    measured: list[int] = []

    async def user(number: int) -> None:
        nonlocal total, answered, longest
        while total < requests:
            total += 1
            before = answered
            await ask(number, done[number])
            longest = max(longest, answered - before)
            answered += 1
            done[number] += 1
            if total // (requests // 10) > len(measured):
                measured.append(measure())

    async with trio.open_nursery() as users:
        for number in range(TASKS):
            users.start_soon(user, number)
    assert sum(done) == requests
    # Answers come in the order of the requests, so a request waits only for earlier ones. (Tasks whose answers arrive together
    # may run in any order.)
    assert longest < 2 * TASKS
    return measured, done


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.slow
async def test_many_tasks_on_the_fake_server(nursery: trio.Nursery) -> None:
    """At most 50 requests are outstanding, so most tasks are in the backlog all the time."""
    bound = 50
    server = FakeServer(nursery)
    transport = await server.connect(trio_hs.Server("inet", "fake", 1))
    connection = Connection(transport, "fake", timeout=60, on_closed=lambda connection: None, max_outstanding=bound)
    await connection.authenticate(None)
    nursery.start_soon(connection.run)

    async def ask(number: int, turn: int) -> None:
        request = Request()
        name = b"%d.%d" % (number, turn)
        connection.submit(request, INDEX, [get_tail(name)])
        await request.wait()
        assert request.answers == [b"0\t1\t" + name]

    def measure() -> int:
        server.lines.clear()
        assert connection.outstanding <= bound + 1  # one more for the opening of the index
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        sizes, done = await flood(amount(20_000, REQUESTS), ask, measure)
    finally:
        tracemalloc.stop()
    # Every task in the backlog has its turn before any task has another one, except at the very end.
    assert max(done) - min(done) <= 2, (min(done), max(done))
    assert connection.load == 0
    assert max(sizes[1:]) - sizes[1] < 100_000, sizes  # a pointer for each of the 16,000 requests since would be 128 kB


@pytest.mark.mariadb
async def test_many_tasks_on_the_real_server(cluster: Cluster) -> None:
    server = cluster.writer
    await execute_sql(
        server,
        "CREATE DATABASE many",
        "CREATE TABLE many.t (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL)",
        "USE many",  # the SEQUENCE engine wants one
        "INSERT INTO many.t SELECT seq, CONCAT('name ', seq) FROM seq_1_to_1000",
    )
    try:
        async with trio_hs.open_manager([("inet", server.host, server.read_port)], read_secret=server.read_secret) as hs:
            table = hs.table("many", "t", ["id", "name"])

            async def ask(number: int, turn: int) -> None:
                key = (number * 7 + turn) % 1000 + 1
                assert await table.get(key) == [("id", str(key)), ("name", f"name {key}")]

            sizes, done = await flood(REQUESTS, ask, resident_bytes)
            # With two groups, trio's order decides which one is first after they were joined, so shares drift at random.
            assert min(done) >= 0.8 * REQUESTS / TASKS, (min(done), max(done))
            (statistics,) = hs.statistics().readers
            assert (statistics.connected, statistics.outstanding) == (1, 0)
            assert statistics.answers >= REQUESTS
        assert max(sizes) - sizes[1] < 4 << 20, sizes
    finally:
        await execute_sql(server, "DROP DATABASE many")
