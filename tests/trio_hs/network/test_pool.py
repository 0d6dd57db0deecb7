"""Which server of a pool gets a request, and when it connects. Fake servers, virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.trio_hs.support.clients import INDEX, A, B, ask, pool_of
from tests.trio_hs.support.fake import REFUSED, echo
from trio_hs import ConnectionError, Server
from trio_hs._network import Pool, background_nursery
from trio_hs._network._link import LONGEST_PAUSE, SHORTEST_PAUSE
from trio_hs._protocol import Index, get_tail


async def test_servers_of_a_group_share_the_load(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A, B]) as (pool, fakes):
        await ask(pool)
        await wait_all_tasks_blocked()
        for _ in range(100):
            await ask(pool)
        assert abs(len(fakes[1].requests) - len(fakes[2].requests)) <= 3


async def test_the_busier_server_gets_less(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A, B]) as (pool, fakes), trio.open_nursery() as callers:
        await ask(pool)
        await wait_all_tasks_blocked()
        fakes[1].gate = trio.Event()
        for _ in range(10):
            callers.start_soon(ask, pool)
        await wait_all_tasks_blocked()
        for _ in range(20):
            with trio.fail_after(1):
                await ask(pool)  # goes to 2, because requests wait at 1
        fakes[1].gate.set()


async def test_nothing_is_connected_before_the_first_use(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A]) as (_, fakes):
        await trio.sleep(10)
        assert not fakes[1].connections


async def test_the_standby_serves_only_while_the_preferred_group_is_down(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with pool_of(nursery, [[A], [B]]) as (pool, fakes):
        for _ in range(5):
            await ask(pool)
        assert not fakes[2].requests
        fakes[1].refuses = REFUSED
        fakes[1].connections[-1].reset()
        await wait_all_tasks_blocked()
        started = trio.current_time()
        for _ in range(5):
            await ask(pool)
        assert trio.current_time() - started < 0.1
        assert len(fakes[2].requests) == 5
        fakes[1].refuses = None
        await trio.sleep(LONGEST_PAUSE + 0.1)
        await ask(pool)
        assert len(fakes[2].requests) == 5


async def test_a_server_that_comes_back_is_used_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A]) as (pool, fakes):
        await ask(pool)
        fakes[1].refuses = REFUSED
        fakes[1].connections[-1].reset()
        await wait_all_tasks_blocked()
        with pytest.raises(ConnectionError, match=r"no server is usable \(fake:1: Connection refused") as caught:
            await ask(pool)
        assert not caught.value.maybe_applied
        fakes[1].refuses = None
        await ask(pool)  # a caller does not wait for the end of the pause


async def test_probing_backs_off(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A]) as (pool, fakes):
        fakes[1].refuses = REFUSED
        with pytest.raises(ConnectionError):
            await ask(pool)
        before = pool.groups[0][0].failed_attempts
        await trio.sleep(60)
        assert 60 <= pool.groups[0][0].failed_attempts - before <= 60 / (LONGEST_PAUSE / 2) + 10


async def test_an_idle_connection_that_the_server_closes_causes_no_error(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with pool_of(nursery, [A]) as (pool, fakes):
        for _ in range(5):
            await ask(pool)
            await trio.sleep(34)
            fakes[1].connections[-1].end()
            await wait_all_tasks_blocked()
        assert len(fakes[1].connections) == 6


async def test_reconnecting_is_limited_when_a_server_accepts_and_hangs_up(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with pool_of(nursery, [A]) as (pool, fakes):

        async def hang_up() -> None:
            while True:
                await trio.sleep(0.001)
                for connection in fakes[1].open:
                    connection.end()

        nursery.start_soon(hang_up)
        with trio.move_on_after(30):
            while True:
                await pool.execute(INDEX, (get_tail(b"x"),))
                await trio.sleep(0.0005)
        assert len(fakes[1].connections) <= 30 / SHORTEST_PAUSE + 1
        nursery.cancel_scope.cancel()


async def test_a_name_that_does_not_resolve(nursery: trio.Nursery) -> None:
    async with background_nursery() as background:
        for host in ("no-such-host.invalid", "x" * 300, "a..b"):
            pool = Pool(background, [("inet", host, 1)], secret=None, timeout=3.0, connections=1)
            with pytest.raises(ConnectionError, match="no server is usable"):
                await ask(pool)


async def test_several_connections_to_a_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A], connections=3) as (pool, fakes):
        await ask(pool)
        await wait_all_tasks_blocked()
        assert len(fakes[1].open) == 3


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"timeout": -1}, {"connections": 0}, {"secret": b"x"}])
async def test_impossible_settings_are_refused(nursery: trio.Nursery, wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        async with pool_of(nursery, [A], **wrong):
            pass


async def test_the_users_exception_leaves_the_block_as_it_is(nursery: trio.Nursery) -> None:
    async def user() -> None:
        async with pool_of(nursery, [A]) as (pool, _):
            await ask(pool)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await user()


async def test_cancelling_the_block_leaves_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    with trio.move_on_after(1) as scope:
        async with pool_of(nursery, [A, [B]][:1]) as (pool, fakes):
            await ask(pool)
            fakes[1].gate = trio.Event()
            await ask(pool)
    assert scope.cancelled_caught


async def test_the_standby_serves_when_a_server_dies_of_every_request(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [[A], [B]]) as (pool, fakes):

        def die(line: bytes) -> bytes | None:
            if line[:1] == b"A":
                return echo(line)
            fakes[1].connections[-1].end()
            return None

        fakes[1].answer = die
        served = 0
        for _ in range(100):
            request = await pool.execute(INDEX, (get_tail(b"x"),))
            served += request.failure is None
            await trio.sleep(0.01)
        assert served > 50


async def test_any_exception_of_a_custom_connect_is_a_failed_attempt(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def connect(server: Server) -> Any:
        raise trio.BrokenResourceError("a proxy of mine")

    async with background_nursery() as background:
        pool = Pool(background, [A], secret=None, timeout=3.0, connections=1, connect=connect)
        with pytest.raises(ConnectionError, match="a proxy of mine"):
            await ask(pool)


async def test_a_worn_connection_is_replaced(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_hs._network._connection.MAX_OPENED", 10)
    async with pool_of(nursery, [A]) as (pool, fakes):
        for number in range(25):
            request = await pool.execute(Index("d", f"t{number}", ["id"]), (get_tail(b"x"),))
            assert request.failure is None
        await wait_all_tasks_blocked()
        assert len(fakes[1].connections) == 3
        assert len(fakes[1].open) == 1
