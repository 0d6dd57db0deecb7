"""Hundreds of servers, many of which come and go. Fake servers, virtual time."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.support.amount import amount
from tests.trio_hs.support.clients import ask
from tests.trio_hs.support.fake import FakeServer, Network, kill
from trio_hs import Manager
from trio_hs._network import Pool
from trio_hs._network._link import LONGEST_PAUSE

SERVERS = 200
CALLERS = 64


async def read(hs: Manager, name: str) -> None:
    assert await hs.get("d", "t", ["id"], name) == [("id", name)]


@pytest.mark.slow
async def test_no_read_fails_while_half_of_the_servers_flap(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Each goes down and comes back, or closes its connections, every second or so."""
    rng = random.Random(7)
    fakes = {port: FakeServer(nursery) for port in range(1, SERVERS + 1)}
    reads = 0

    async def flap(fake: FakeServer) -> None:
        while True:
            await trio.sleep(rng.expovariate(1))
            if rng.random() < 0.5:
                for connection in fake.open:
                    rng.choice((connection.reset, connection.end))()
                continue
            kill(fake)
            await trio.sleep(rng.expovariate(1))
            fake.refuses = None

    async def caller(number: int) -> None:
        nonlocal reads
        for turn in range(amount(12, 500)):
            with trio.fail_after(1):
                await read(hs, f"{number}.{turn}")
            reads += 1
            await trio.sleep(rng.expovariate(5))

    readers = [("inet", "fake", port) for port in fakes]
    async with trio_hs.open_manager(readers, connect=Network(fakes).connect) as hs:
        await hs.connect(writes=False)
        async with trio.open_nursery() as flapping:
            for port in range(1, SERVERS // 2 + 1):
                flapping.start_soon(flap, fakes[port])
            async with trio.open_nursery() as callers:
                for number in range(CALLERS):
                    callers.start_soon(caller, number)
            flapping.cancel_scope.cancel()
        for fake in fakes.values():
            fake.refuses = None
        await trio.sleep(2 * LONGEST_PAUSE)
        assert reads == CALLERS * amount(12, 500)
        assert all(server.usable and server.last_error is None for server in hs.statistics().readers)
        for _ in range(SERVERS):
            await read(hs, "x")
        assert all(server.outstanding == 0 for server in hs.statistics().readers)


async def connected(nursery: trio.Nursery, pool: Pool) -> None:
    pool.begin()
    await wait_all_tasks_blocked()
    for _ in range(SERVERS):
        await ask(pool)  # opens the index everywhere


async def test_many_servers_share_the_load(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fakes = {port: FakeServer(nursery) for port in range(1, SERVERS + 1)}
    async with trio_hs.open_manager([("inet", "fake", port) for port in fakes], connect=Network(fakes).connect) as hs:
        pool = hs._dispatcher.reader
        await connected(nursery, pool)
        for fake in fakes.values():
            fake.lines.clear()
        for _ in range(10 * SERVERS):
            await ask(pool)
        assert {len(fake.requests) for fake in fakes.values()} == {10}
        # All at once: ten for each server. Drawn at random it would be 22 for one of them.
        for fake in fakes.values():
            fake.gate = trio.Event()
        async with trio.open_nursery() as callers:
            for _ in range(10 * SERVERS):
                callers.start_soon(ask, pool)
            await wait_all_tasks_blocked()
            loads = Counter(link.connection.load for link in pool._links if link.connection is not None)
            assert max(loads) <= 13, loads
            assert min(loads) >= 7, loads
            for fake in fakes.values():
                fake.gate.set()


async def test_slow_servers_among_many_get_little(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Before they count as stalled: their requests wait, so others are less loaded."""
    fakes = {port: FakeServer(nursery) for port in range(1, SERVERS + 1)}
    slow = [fakes[port] for port in range(1, SERVERS // 10 + 1)]
    async with trio_hs.open_manager([("inet", "fake", port) for port in fakes], connect=Network(fakes).connect) as hs:
        pool = hs._dispatcher.reader
        pool.random = random.Random(5)
        await connected(nursery, pool)
        for fake in slow:
            fake.gate = trio.Event()
        async with trio.open_nursery() as callers:
            for _ in range(10):
                for _ in range(SERVERS):
                    callers.start_soon(ask, pool)
                await wait_all_tasks_blocked()
            loads = [link.connection.load for link in pool._links[: len(slow)] if link.connection is not None]
            assert sum(loads) <= 3 * len(slow), loads  # 10 for each if load were ignored
            for fake in slow:
                fake.gate.set()
