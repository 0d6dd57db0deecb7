"""Servers that stall: the pool avoids them before their timeout. Fake servers, virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import INDEX, A, B, C, ask, pool_of
from tests.trio_hs.support.fake import REFUSED, FakeServer, Network
from trio_hs._protocol import Index, get_tail


async def test_a_preferred_server_that_hangs_is_waited_for_only_briefly(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with pool_of(nursery, [[A], [B]]) as (pool, fakes):
        fakes[1].gate = trio.Event()  # accepts, never answers
        started = trio.current_time()
        await ask(pool)
        assert trio.current_time() - started < 0.3
        assert fakes[2].requests


async def test_a_listener_that_never_answers_is_not_usable(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A, B]) as (pool, fakes):
        fakes[1].gate = trio.Event()
        for _ in range(20):
            with trio.fail_after(0.1):
                await ask(pool)
        assert not fakes[1].requests


async def test_a_stalled_server_is_avoided_before_its_timeout(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A, B]) as (pool, fakes), trio.open_nursery() as callers:
        await ask(pool)
        await wait_all_tasks_blocked()
        fakes[1].gate = trio.Event()

        async def stuck() -> None:
            await pool.execute(INDEX, (get_tail(b"x"),))

        for _ in range(4):
            callers.start_soon(stuck)
        await trio.sleep(0.6)
        # Server 2 is chosen though more requests wait there.
        fakes[2].gate = trio.Event()
        for _ in range(6):
            callers.start_soon(stuck)
        await wait_all_tasks_blocked()
        before = len(fakes[2].connections[0].transport.to_server)
        assert before > 0 or fakes[2].lines
        stalled = [link.connection for link in pool.groups[0] if link.connection and link.connection.stalled]
        assert len(stalled) == 1
        assert stalled[0].outstanding <= 4
        fakes[1].gate.set()
        fakes[2].gate.set()


async def test_a_refusing_server_does_not_prolong_the_wait_for_a_silent_one(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with pool_of(nursery, [[A], [B, C]]) as (pool, fakes):
        fakes[1].gate = trio.Event()
        fakes[2].refuses = REFUSED
        started = trio.current_time()
        await ask(pool)
        assert trio.current_time() - started < 0.5


async def test_a_frozen_server_is_avoided_on_every_connection_to_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A, B], connections=2) as (pool, fakes), trio.open_nursery() as callers:
        await ask(pool)
        await wait_all_tasks_blocked()
        fakes[1].gate = trio.Event()
        while not any(link.connection and link.connection.load for link in pool.groups[0]):
            callers.start_soon(ask, pool)
            await wait_all_tasks_blocked()
        await trio.sleep(0.7)
        for _ in range(20):
            with trio.fail_after(0.1):
                await ask(pool)
        fakes[1].gate.set()


async def test_a_stalled_group_is_left_before_its_timeout_and_used_again_later(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with pool_of(nursery, [[A], [B]]) as (pool, fakes), trio.open_nursery() as callers:
        await ask(pool)
        fakes[1].gate = trio.Event()
        callers.start_soon(ask, pool)
        await trio.sleep(0.7)
        for _ in range(3):
            with trio.fail_after(0.1):
                await ask(pool)
        assert len(fakes[2].requests) == 3
        fakes[1].gate.set()
        await wait_all_tasks_blocked()
        await ask(pool)
        assert len(fakes[1].requests) == 3


async def test_stalled_servers_are_used_when_all_stall(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [[A], [B]]) as (pool, fakes), trio.open_nursery() as callers:
        await ask(pool)
        for port in (1, 2):
            fakes[port].gate = trio.Event()
            callers.start_soon(ask, pool)
            await trio.sleep(0.7)
        callers.start_soon(ask, pool)
        await wait_all_tasks_blocked()
        for port in (1, 2):
            fakes[port].gate.set()


async def test_callers_do_not_wait_again_when_a_stalled_server_is_given_up(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The standby already serves when the watchdog gives up the frozen server. No caller waits for the frozen server again."""
    async with pool_of(nursery, [[A], [B]], timeout=3.0) as (pool, fakes), trio.open_nursery() as callers:
        await ask(pool)
        fakes[1].gate = trio.Event()
        callers.start_soon(lambda: pool.execute(Index("d", "t", ["id"]), (b"\t=\t1\tx\n",)))
        slowest = 0.0
        await trio.sleep(0.7)
        while trio.current_time() < 5:
            started = trio.current_time()
            await ask(pool)
            slowest = max(slowest, trio.current_time() - started)
            await trio.sleep(0.01)
        assert slowest < 0.1


async def test_callers_leave_a_stalled_server_though_its_neighbour_is_connecting(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with pool_of(nursery, [[A, B], [C]]) as (pool, fakes), trio.open_nursery() as callers:
        await ask(pool)
        await trio.sleep(1.5)
        fakes[2].gate = trio.Event()
        fakes[2].connections[-1].end()  # the pool reconnects, which hangs
        fakes[1].gate = trio.Event()
        await wait_all_tasks_blocked()
        callers.start_soon(lambda: pool.execute(Index("d", "t", ["id"]), (b"\t=\t1\tx\n",)))
        await trio.sleep(0.7)
        with trio.move_on_after(1) as scope:
            await ask(pool)
        assert not scope.cancelled_caught
        fakes[1].gate.set()
        fakes[2].gate.set()


async def test_when_every_group_hangs_the_caller_fails_after_their_timeout(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Both groups hang. The caller tries each for its time, waits for their timeouts, and gets an error."""
    fakes = {port: FakeServer(nursery, lambda line: None) for port in (1, 2)}
    servers: trio_hs.Servers = [[("inet", "fake", 1)], [("inet", "fake", 2)]]
    retry = trio_hs.RetryPolicy(attempts=1)
    async with trio_hs.open_manager(servers, connect=Network(fakes).connect, retry=retry, timeout=2) as hs:
        started = trio.current_time()
        with pytest.raises(trio_hs.ConnectionError, match="no answer within 2 s"):
            await hs.get("d", "t", ["id"], 1)
        assert 2 <= trio.current_time() - started < 3
