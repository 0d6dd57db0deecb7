"""No operation waits for a silent server longer than docs/delivery.md says. Fake servers, virtual time."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.fake import FakeServer, Network, black_hole, echo
from tests.trio_hs.support.operations import PAUSES, SILENCE, TIMEOUT, WAIT, get_many, in_doubt, insert_many, read, write
from trio_hs import ConnectionError, Manager, RetryPolicy
from trio_hs._network._pool import MARGIN

READS = [read, get_many]
WRITES = [write, insert_many]


async def seconds_until_it_fails(hs: Manager, call: Callable[[Manager], Awaitable[object]]) -> float:
    started = trio.current_time()
    with pytest.raises(ConnectionError):
        await call(hs)
    return trio.current_time() - started


@pytest.mark.parametrize("call", [*READS, *WRITES])
@pytest.mark.parametrize("groups", [1, 2])
async def test_a_black_hole_at_first_use_costs_one_timeout(
    nursery: trio.Nursery, autojump_clock: MockClock, call: Callable[[Manager], Awaitable[object]], groups: int
) -> None:
    """It used to cost one timeout for each attempt, 5 by default. Two groups cost no more than one."""
    fakes = {port: FakeServer(nursery) for port in (1, 2)}
    for fake in fakes.values():
        black_hole(fake)
    servers = [[("inet", "fake", port)] for port in (1, 2)][:groups]
    async with trio_hs.open_manager(servers, servers, connect=Network(fakes).connect) as hs:
        for _ in range(3):
            assert await seconds_until_it_fails(hs, call) <= WAIT + PAUSES
            await trio.sleep(0.7)


@pytest.mark.parametrize("call", [*READS, *WRITES])
@pytest.mark.parametrize("groups", [1, 2])
async def test_a_black_hole_after_it_has_served_costs_its_silence_and_one_wait(
    nursery: trio.Nursery, autojump_clock: MockClock, call: Callable[[Manager], Awaitable[object]], groups: int
) -> None:
    """A sent write ends when the client gives up the server. A read then waits for a usable server."""
    fakes = {port: FakeServer(nursery) for port in (1, 2)}
    servers = [[("inet", "fake", port)] for port in (1, 2)][:groups]
    async with trio_hs.open_manager(servers, servers, connect=Network(fakes).connect) as hs:
        await read(hs)
        await write(hs)
        await wait_all_tasks_blocked()
        for fake in fakes.values():
            black_hole(fake)
        sent = groups if call in READS else 1
        waits = WAIT + PAUSES if call is not write else 0.0  # of many rows, those that were not sent yet wait
        assert await seconds_until_it_fails(hs, call) <= sent * SILENCE + waits
        assert await seconds_until_it_fails(hs, call) <= WAIT + PAUSES


@pytest.mark.parametrize("call", [*READS, *WRITES])
async def test_a_server_that_accepts_and_never_answers_costs_two_timeouts(
    nursery: trio.Nursery, autojump_clock: MockClock, call: Callable[[Manager], Awaitable[object]]
) -> None:
    fake = FakeServer(nursery, lambda line: echo(line) if line[:1] == b"A" else None)
    servers = [("inet", "fake", 1)]
    async with trio_hs.open_manager(servers, servers, connect=fake.connect) as hs:
        for _ in range(3):
            assert await seconds_until_it_fails(hs, call) <= 2 * SILENCE + PAUSES


@pytest.mark.parametrize("call", [*READS, *WRITES])
async def test_one_black_hole_of_two_servers_delays_one_operation(
    nursery: trio.Nursery, autojump_clock: MockClock, call: Callable[[Manager], Awaitable[object]]
) -> None:
    """A request sent to it waits until the client gives it up, and is in doubt or repeated. No other request waits."""
    fakes = {port: FakeServer(nursery) for port in (1, 2)}
    servers = [("inet", "fake", port) for port in (1, 2)]
    async with trio_hs.open_manager(servers, servers, connect=Network(fakes).connect) as hs:
        await read(hs)
        await write(hs)
        await wait_all_tasks_blocked()
        black_hole(fakes[1])
        slow = 0
        for _ in range(20):
            started = trio.current_time()
            doubt = await in_doubt(hs, call)
            assert not doubt or call in WRITES
            took = trio.current_time() - started
            assert took <= SILENCE + PAUSES
            slow += took > 0.1
        assert slow == 1


@pytest.mark.parametrize("call", [*READS, *WRITES])
async def test_an_operation_waits_for_a_black_hole_until_its_deadline(
    nursery: trio.Nursery, autojump_clock: MockClock, call: Callable[[Manager], Awaitable[object]]
) -> None:
    """The deadline may fall into an attempt, which still takes one timeout at most."""
    fake = FakeServer(nursery)
    black_hole(fake)
    servers = [("inet", "fake", 1)]
    retry = RetryPolicy(attempts=1000, deadline=30.0)
    async with trio_hs.open_manager(servers, servers, connect=fake.connect, retry=retry) as hs:
        assert 30 - TIMEOUT - 1 <= await seconds_until_it_fails(hs, call) <= 30 + WAIT


async def test_a_suspension_does_not_count_as_waiting(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A read that waited for a suspension, and then loses its connection, still has its full time to find a server."""
    fake = FakeServer(nursery)
    servers = [("inet", "fake", 1)]
    async with trio_hs.open_manager(servers, servers, connect=fake.connect) as hs:
        await read(hs)

        def lose(line: bytes) -> bytes | None:
            if line[:1] == b"A":
                return echo(line)
            fake.answer = echo
            fake.connections[-1].reset()
            return None

        fake.answer = lose
        async with trio.open_nursery() as callers:
            async with hs.suspended():
                callers.start_soon(read, hs)
                await trio.sleep(60)


async def test_every_server_has_its_own_timeout_and_the_longest_counts(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    fakes = {port: FakeServer(nursery) for port in (1, 2)}
    for fake in fakes.values():
        black_hole(fake)
    servers = [("inet", "fake", 1, 1.0), ("inet", "fake", 2, 7.0)]
    async with trio_hs.open_manager(servers, servers, connect=Network(fakes).connect) as hs:
        for call in (*READS, *WRITES):
            assert 1 < await seconds_until_it_fails(hs, call) <= 7 + MARGIN + PAUSES
            await trio.sleep(math.pi)
