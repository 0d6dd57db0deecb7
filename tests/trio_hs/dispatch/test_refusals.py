"""Servers that refuse writes because they are read-only, and reads because they shut down. Fake servers, virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import managed
from tests.trio_hs.support.fake import REFUSED, MemoryTransport, echo, kill, read_only
from trio_hs import OperationalError


async def test_a_refused_write_goes_to_a_server_that_accepts_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """After a promotion the preferred server returns as a replica of the new primary."""
    async with managed(nursery) as (hs, fakes):
        fakes[3].answer = read_only
        for _ in range(20):
            assert await hs.incr("d", "t", "=", ["id"], [1]) == 1
        assert len(fakes[3].requests) == 1
        assert len(fakes[4].requests) == 20
        assert [server.refusing for server in hs.statistics().writers] == [True, False]
        results = await hs.insert_many("d", "t", ["id"], [[number] for number in range(300)])
        assert results == [1] * 300
        # The client tries it again, at most once a second.
        for _ in range(300):
            await trio.sleep(0.1)
            assert await hs.incr("d", "t", "=", ["id"], [1]) == 1
        assert 20 <= len(fakes[3].requests) <= 35
        fakes[3].answer = echo
        await trio.sleep(1.5)
        before = len(fakes[4].requests)
        await hs.incr("d", "t", "=", ["id"], [1])
        assert len(fakes[4].requests) == before


async def test_a_write_that_every_server_refuses_fails_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        for port in (3, 4):
            fakes[port].answer = read_only
        for _ in range(3):
            with pytest.raises(trio_hs.ReadOnlyError, match=r"fake:[34]: incr d\.t: the server cannot lock tables now"):
                await hs.incr("d", "t", "=", ["id"], [1])
        results = await hs.insert_many("d", "t", ["id"], [[1], [2]])
        assert [type(result) for result in results] == [trio_hs.ReadOnlyError] * 2
        assert trio.current_time() < 0.1


async def test_a_read_interrupted_by_a_shutdown_moves_to_another_server(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Rolling restarts give error 188 a few milliseconds before `lock_tables`. A write with it is not repeated."""

    def aborted(line: bytes) -> bytes | None:
        return b"1\t1\t188\n" if line[:1].isdigit() else echo(line)

    async with managed(nursery) as (hs, fakes):
        fakes[1].answer = fakes[3].answer = aborted
        for number in range(20):
            assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]
        assert await hs.get_many("d", "t", ["id"], range(600)) == [[("id", str(number))] for number in range(600)]
        with pytest.raises(OperationalError, match="interrupted"):
            await hs.incr("d", "t", "=", ["id"], [1])
        assert not fakes[4].requests


async def test_a_read_moves_to_another_server_when_one_shuts_down(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """During an orderly shutdown MariaDB answers reads with `lock_tables` too."""
    async with managed(nursery) as (hs, fakes):
        fakes[1].answer = read_only
        for number in range(20):
            assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]
        assert len(await hs.get_many("d", "t", ["id"], list(range(1000)))) == 1000
        assert len(fakes[1].requests) < 200
        # With no other server, the client asks this one again after a pause.
        fakes[2].refuses = REFUSED
        kill(fakes[2])

        async def restarted() -> None:
            await trio.sleep(0.3)
            fakes[1].answer = echo

        nursery.start_soon(restarted)
        assert await hs.get("d", "t", ["id"], 7) == [("id", "7")]
        fakes[1].answer = read_only
        with pytest.raises(trio_hs.ReadOnlyError):
            await hs.get("d", "t", ["id"], 7)


async def test_writes_wait_for_a_stalled_primary_rather_than_be_refused_by_its_standby(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[4].answer = read_only
        await hs.incr("d", "t", "=", ["id"], [1])
        fakes[3].gate = trio.Event()
        done: list[object] = []

        async def write() -> None:
            done.append(await hs.incr("d", "t", "=", ["id"], [1]))

        nursery.start_soon(write)
        await trio.sleep(0.7)
        for _ in range(5):
            nursery.start_soon(write)
        await trio.sleep(0.7)
        assert not done
        fakes[3].gate.set()
        await trio.sleep(0.1)
        assert done == [1] * 6


async def test_the_first_write_of_a_program_finds_the_promoted_standby(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """After a promotion the preferred server is read-only. A program that starts then may reach the preferred server first."""
    async with managed(nursery) as (hs, fakes):
        fakes[3].answer = read_only
        connect = fakes[4].connect

        async def further_away(server: trio_hs.Server) -> MemoryTransport:
            await trio.sleep(0.005)
            return await connect(server)

        fakes[4].connect = further_away  # type: ignore[method-assign]
        assert await hs.incr("d", "t", "=", ["id"], [1]) == 1


async def test_writes_do_not_wait_for_a_refusing_server_that_dies(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that shuts down first refuses and is then gone, here with its host. The standby serves by then."""
    async with managed(nursery) as (hs, fakes):
        await hs.incr("d", "t", "=", ["id"], [1])
        fakes[3].answer = read_only
        await hs.incr("d", "t", "=", ["id"], [1])
        assert len(fakes[4].requests) == 1
        fakes[3].gate = trio.Event()
        for connection in fakes[3].open:
            connection.end()
        await wait_all_tasks_blocked()
        started = trio.current_time()
        await hs.incr("d", "t", "=", ["id"], [1])
        assert trio.current_time() - started < 0.1
