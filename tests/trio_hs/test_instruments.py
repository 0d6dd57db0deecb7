"""Which callbacks of an instrument are called, and that a faulty one does no harm. Fake servers, virtual time."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import managed
from tests.trio_hs.support.fake import black_hole, die_on_the_first_request, echo, kill, read_only


class Log(trio_hs.Instrument):
    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def connection_up(self, server: str) -> None:
        self.events.append(("up", server))

    def connection_down(self, server: str, reason: BaseException) -> None:
        self.events.append(("down", server, type(reason)))

    def connect_failed(self, server: str, reason: BaseException) -> None:
        self.events.append(("failed", server))

    def failover(self, servers: tuple[str, ...]) -> None:
        self.events.append(("failover", servers))

    def request_done(self, server: str, operation: str, table: str, requests: int, seconds: float, failed: bool) -> None:
        self.events.append(("done", server, operation, table, requests, round(seconds, 3), failed))

    def retry(self, operation: str, table: str, attempt: int, error: trio_hs.HandlerSocketError) -> None:
        self.events.append(("retry", operation, table, attempt, type(error)))


async def test_instruments_are_called(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    log = Log()
    async with managed(nursery, instruments=[log]) as (hs, fakes):
        await hs.incr("d", "t", "=", ["id"], [1])
        assert {("up", "fake:3"), ("up", "fake:4"), ("failover", ("fake:3",))} <= set(log.events)
        assert ("done", "fake:3", "incr", "d.t", 1, 0, False) in log.events
        await hs.insert_many("d", "t", ["id"], [[1], [2]])
        assert ("done", "fake:3", "insert_many", "d.t", 2, 0, False) in log.events
        await wait_all_tasks_blocked()
        log.events.clear()
        kill(fakes[3])
        await trio.sleep(1)
        assert ("down", "fake:3", ConnectionResetError) in log.events
        assert ("failed", "fake:3") in log.events
        assert ("failover", ("fake:4",)) in log.events

        await hs.get("d", "t", ["id"], 1)
        await wait_all_tasks_blocked()
        log.events.clear()
        die_on_the_first_request(fakes[1], fakes[2])
        await hs.get("d", "t", ["id"], 1)
        assert [event[0] for event in log.events if event[0] in ("done", "retry")] == ["done", "retry", "done"]


async def test_a_cancelled_request_is_neither_answered_nor_lost(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    log = Log()
    async with managed(nursery, instruments=[log]) as (hs, fakes):
        fakes[3].answer = lambda line: None if line[:1].isdigit() else echo(line)
        with trio.move_on_after(0.5):
            await hs.insert("d", "t", [("id", 1)])
    assert fakes[3].requests
    assert not [event for event in log.events if event[0] == "done"]


async def test_a_faulty_instrument_is_dropped(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(trio_hs.Instrument):
        def request_done(self, *details: Any) -> None:
            raise RuntimeError("faulty")

    async with managed(nursery, instruments=[Faulty()]) as (hs, _):
        for _ in range(3):
            assert await hs.get("d", "t", ["id"], 5) == [("id", "5")]
    assert caplog.text.count("is not used any more") == 1
    with pytest.raises(TypeError, match="subclass"):
        async with trio_hs.open_manager(instruments=[Log]):  # type: ignore[list-item]
            pass


async def test_a_connection_that_the_client_closes_is_not_reported_as_lost(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    log = Log()
    async with managed(nursery, instruments=[log]) as (hs, _):
        await hs.get("d", "t", ["id"], 1)
    assert not [event for event in log.events if event[0] == "down"]
    assert [server.last_error for server in hs.statistics().readers] == [None, None]
    assert "<Pool <fake:1 closed> <fake:2 closed>>" in repr(hs)


async def test_a_retry_after_a_refusal_is_reported(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    log = Log()
    async with managed(nursery, instruments=[log]) as (hs, fakes):
        await hs.incr("d", "t", "=", ["id"], [1])
        fakes[3].answer = read_only
        await hs.incr("d", "t", "=", ["id"], [1])
        assert ("retry", "incr", "d.t", 1, trio_hs.ReadOnlyError) in log.events


EVENTS = "pool_opened pool_closed connection_up connection_down connect_failed failover retry request_done"
CALL_EVENTS = "call_started call_ended request_started request_ended"


@pytest.mark.parametrize("event", [*EVENTS.split(), *CALL_EVENTS.split()])
async def test_an_exception_in_any_callback_fails_no_operation(
    nursery: trio.Nursery, autojump_clock: MockClock, event: str
) -> None:
    def fail(*details: Any) -> None:
        raise RuntimeError("faulty")

    faulty = type("Faulty", (trio_hs.Instrument,), {event: lambda self, *details: fail()})()
    async with managed(nursery, instruments=[faulty]) as (hs, fakes):
        for number in range(20):
            assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]
            if number == 10:
                kill(fakes[1])
                fakes[2].connections[-1].reset()
        await trio.sleep(5)


async def test_of_two_equal_instruments_the_faulty_one_is_dropped(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    @dataclasses.dataclass
    class Counter(trio_hs.Instrument):
        faulty: bool = dataclasses.field(default=False, compare=False)
        done: int = dataclasses.field(default=0, compare=False)

        def request_done(self, *details: Any) -> None:
            if self.faulty:
                raise RuntimeError("faulty")
            self.done += 1

    good, faulty = Counter(), Counter(faulty=True)
    async with managed(nursery, instruments=[good, faulty]) as (hs, _):
        for _ in range(5):
            await hs.get("d", "t", ["id"], 1)
    assert good.done == 5


@pytest.mark.parametrize("in_use", ["idle", "busy"])
async def test_a_cancelled_block_reports_no_failover(in_use: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An outer scope reaches the connections before the block ends: each deploy of a service looked like a failover."""
    log = Log()
    with trio.move_on_after(1):
        async with managed(nursery, instruments=[log]) as (hs, _):
            await hs.connect()
            while in_use == "busy":
                await hs.get("d", "t", ["id"], 1)
                await trio.sleep(0.01)
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await wait_all_tasks_blocked()
                    with pytest.raises(trio_hs.ConnectionError, match="has ended, or was cancelled"):
                        await hs.get("d", "t", ["id"], 1)
    assert ("failover", ("fake:3",)) in log.events
    assert ("failover", ()) not in log.events


async def test_pools_say_how_many_connections_are_busy_and_how_many_callers_wait(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    pools: list[trio_hs.ConnectionPool] = []

    class Pools(trio_hs.Instrument):
        def pool_opened(self, pool: trio_hs.ConnectionPool) -> None:
            pools.append(pool)

        def pool_closed(self, pool: trio_hs.ConnectionPool) -> None:
            pools.remove(pool)

    def figures(pool: trio_hs.ConnectionPool) -> list[tuple[str, int, int, int]]:
        return [(one.server, one.connections, one.busy, one.max_connections) for one in pool.statistics()]

    async with managed(nursery, instruments=[Pools()], connections=2) as (hs, fakes):
        reads, writes = pools
        assert (reads.for_writes, writes.for_writes) == (False, True)
        assert figures(reads) == [("fake:1", 0, 0, 2), ("fake:2", 0, 0, 2)]
        await hs.connect()
        assert figures(reads) == [("fake:1", 2, 0, 2), ("fake:2", 2, 0, 2)]
        fakes[3].gate = trio.Event()
        async with trio.open_nursery() as callers:
            callers.start_soon(hs.insert, "d", "t", [("id", 1)])
            await wait_all_tasks_blocked()
            assert figures(writes) == [("fake:3", 2, 1, 2), ("fake:4", 2, 0, 2)]
            fakes[3].gate.set()
        for port in (1, 2):
            black_hole(fakes[port])
            for connection in fakes[port].open:
                connection.reset()
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as callers:
            for _ in range(3):
                callers.start_soon(hs.get, "d", "t", ["id"], 1)
            await wait_all_tasks_blocked()
            assert (reads.waiting, writes.waiting) == (3, 0)
            callers.cancel_scope.cancel()
        assert await trio.to_thread.run_sync(figures, reads) == [("fake:1", 0, 0, 2), ("fake:2", 0, 0, 2)]
    assert pools == []
