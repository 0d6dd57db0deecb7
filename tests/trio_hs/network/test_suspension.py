"""``Manager.suspended()`` and ``purge()``: connections are closed, and no caller notices. Fake servers, virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import ADDRESS, A, B, managed
from tests.trio_hs.support.fake import FakeServer, MemoryTransport, echo
from trio_hs._network import Pool


async def test_nothing_is_open_while_suspended(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        await hs.insert("d", "t", [("id", 1)])
        stop = False
        calls = 0

        async def user(number: int) -> None:
            nonlocal calls
            while not stop:
                assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]
                assert await hs.incr("d", "t", "=", ["n"], [number]) == 1
                calls += 1
                await trio.sleep(0.001)

        async with trio.open_nursery() as users:
            for number in range(20):
                users.start_soon(user, number)
            for _ in range(10):
                await trio.sleep(0.1)
                async with hs.suspended():
                    assert not any(fake.open for fake in fakes.values())
                    async with hs.suspended():
                        await trio.sleep(5)
                    before = calls
                    await trio.sleep(5)
                    assert not any(fake.open for fake in fakes.values())
                    assert calls == before
            await trio.sleep(0.1)
            assert calls > before
            stop = True


async def test_suspending_waits_for_operations_in_flight(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        await hs.insert("d", "t", [("id", 1)])
        fakes[3].gate = trio.Event()
        callers.start_soon(hs.insert, "d", "t", [("id", 2)])
        await wait_all_tasks_blocked()
        with trio.move_on_after(1) as scope:
            async with hs.suspended():
                pass
        assert scope.cancelled_caught
        fakes[3].gate.set()
        async with hs.suspended():
            assert len(fakes[3].requests) == 2
        assert await hs.insert("d", "t", [("id", 3)]) == 1


async def test_purging_opens_indexes_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        table = hs.table("d", "t", ["id"])
        await hs.insert("d", "t", [("id", 1)])
        await hs.purge()
        await table.insert([2])
        assert [line[:1] for line in fakes[3].lines] == [b"A", b"P", b"0"] * 2
        assert len(fakes[3].open) == 1


async def test_after_a_suspension_the_preferred_server_is_still_preferred(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.incr("d", "t", "=", ["id"], [1])
        connect = fakes[3].connect

        async def a_little_further_away(server: trio_hs.Server) -> MemoryTransport:
            await trio.sleep(0.01)
            return await connect(server)

        fakes[3].connect = a_little_further_away  # type: ignore[method-assign]
        async with trio.open_nursery() as callers:
            async with hs.suspended():
                callers.start_soon(hs.incr, "d", "t", "=", ["id"], [1])
                await trio.sleep(60)
        assert not fakes[4].requests
        assert len(fakes[3].requests) == 2


async def test_callers_held_by_a_suspension_do_not_spin_when_it_ends(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each caller may look for a server a few times while the connection comes up, not four times for each second."""
    looks = 0
    choose = Pool.choose

    def counted(pool: Pool) -> Any:
        nonlocal looks
        looks += 1
        return choose(pool)

    async with managed(nursery) as (hs, fakes):
        await hs.incr("d", "t", "=", ["id"], [1])
        connect = fakes[3].connect

        async def some_milliseconds_away(server: trio_hs.Server) -> MemoryTransport:
            await trio.sleep(0.005)
            return await connect(server)

        for port in (3, 4):
            fakes[port].connect = some_milliseconds_away  # type: ignore[method-assign]
        async with trio.open_nursery() as callers:
            async with hs.suspended():
                for number in range(10):
                    callers.start_soon(hs.incr, "d", "t", "=", ["id"], [number])
                await trio.sleep(60)
                monkeypatch.setattr(Pool, "choose", counted)
        assert looks < 10 * 20


async def test_a_purge_during_a_slow_request_does_not_delay_other_callers(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The new connection does not wait for the last answer on the old one."""
    fake = FakeServer(nursery, lambda line: None if line.endswith(b"slow") else echo(line))
    async with trio_hs.open_manager([A], [B], connect=fake.connect) as hs, trio.open_nursery() as callers:
        await hs.get("d", "t", ["id"], 1)
        callers.start_soon(hs.get, "d", "t", ["id"], "slow")
        await wait_all_tasks_blocked()
        await hs.purge()
        with trio.move_on_after(1) as scope:
            await hs.get("d", "t", ["id"], 2)
        fake.connections[0].say(b"0\t1\tslow\n")
        assert not scope.cancelled_caught


async def test_suspending_while_a_connection_comes_up(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A connection that comes up inside the block is closed, and its caller is served afterwards."""
    server = FakeServer(nursery)

    async def connect(address: trio_hs.Server) -> MemoryTransport:
        await trio.sleep(0.1)
        return await server.connect(address)

    async with trio_hs.open_manager(ADDRESS, ADDRESS, connect=connect) as hs, trio.open_nursery() as callers:
        rows = []

        @callers.start_soon
        async def read() -> None:
            rows.append(await hs.get("d", "t", ["id"], 1))

        await trio.sleep(0.05)
        async with hs.suspended():
            await trio.sleep(1)
            assert len(server.connections) == 1
            assert not server.open
            assert not rows
        await trio.sleep(0.2)
        assert rows == [[("id", "1")]]
