"""What an adversarial reading of the client's core found wrong. Fake servers, virtual time."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from trio_hs import ConnectionError, DecodingError, Filter, HandlerSocketError, OperationalError, RetryPolicy, open_read_socket
from trio_hs.protocol import Index

from .fake import FakeServer, MemoryTransport, echo
from .test_manager import managed, read_only
from .test_sockets import A, B, C, ask, pool_of

# ---- writes


async def test_rows_that_were_answered_are_not_inserted_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Half of a part of insert_many was sent and answered, the other half not sent, when the connection ended."""
    applied: list[bytes] = []

    def answer(line: bytes) -> bytes | None:
        if b"\t+\t" in line:
            applied.append(line)
        return echo(line)

    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", "warm")])
        fakes[3].answer = fakes[4].answer = answer
        connection = fakes[3].connections[-1]

        def take_fifty(data: bytes | memoryview) -> int:
            """The kernel takes the first 50 lines and nothing more."""
            whole = bytes(data)
            cut = -1
            for _ in range(50):
                cut = whole.index(b"\n", cut + 1)
            connection.transport.send = lambda data: 0  # type: ignore[method-assign]
            connection.transport.window = 0
            connection.transport.to_server += whole[: cut + 1]
            connection.transport.changed.unpark_all()
            return cut + 1

        connection.transport.send = take_fifty  # type: ignore[method-assign]

        async def end_after_the_answers() -> None:
            await wait_all_tasks_blocked()
            assert len(applied) == 50
            connection.end()

        nursery.start_soon(end_after_the_answers)
        outcomes = await hs.insert_many("d", "t", ["id"], [[number] for number in range(100)])
        assert len(outcomes) == 100
        assert len(applied) == len(set(applied))


async def test_a_generator_of_filters_filters(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An emptied generator would delete the rows that the filter was to spare."""
    async with managed(nursery) as (hs, fakes):
        filters: Any = (Filter(name, "=", 1) for name in ["state"])
        try:
            await hs.delete("d", "t", "=", ["id"], [7], limit=100, filters=filters)
        except (TypeError, ValueError):
            return
        assert [b"\tF\t=\t0\t1" in line for line in fakes[3].requests] == [True]


@pytest.mark.parametrize("filters", [Filter("state", "=", 1), [("state", "=", 1, False)]])
async def test_filters_of_another_form_are_a_type_error_or_taken(
    nursery: trio.Nursery, autojump_clock: MockClock, filters: Any
) -> None:
    async with managed(nursery) as (hs, fakes):
        try:
            await hs.find("d", "t", "=", ["id"], [7], filters=filters)
        except (TypeError, ValueError):
            return
        assert any(b"\tF\t=\t0\t1" in line for port in (1, 2) for line in fakes[port].requests)


async def test_the_first_write_of_a_program_finds_the_promoted_standby(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """After a promotion the preferred server is read-only; a program that starts then may reach it first."""
    async with managed(nursery) as (hs, fakes):
        fakes[3].answer = read_only
        connect = fakes[4].connect

        async def further_away(server: trio_hs.Server) -> MemoryTransport:
            await trio.sleep(0.005)
            return await connect(server)

        fakes[4].connect = further_away  # type: ignore[method-assign]
        assert await hs.incr("d", "t", "=", ["id"], [1]) == 1


# ---- avoiding servers


async def test_a_stalled_server_that_is_given_up_at_last_stops_nobody(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The standby serves already when the watchdog gives the frozen server up; nobody has to wait for that one again."""
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


async def test_a_refusing_server_that_dies_stops_nobody(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that shuts down refuses first and is gone (here: its host too) a moment later; the standby serves by then."""
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


async def test_a_neighbour_that_is_being_connected_does_not_hold_callers_at_a_stalled_server(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with pool_of(nursery, [[A, B], [C]]) as (pool, fakes), trio.open_nursery() as callers:
        await ask(pool)
        await trio.sleep(1.5)
        fakes[2].gate = trio.Event()
        fakes[2].connections[-1].end()  # reconnects, and hangs in that
        fakes[1].gate = trio.Event()
        callers.start_soon(lambda: pool.execute(Index("d", "t", ["id"]), (b"\t=\t1\tx\n",)))
        await trio.sleep(0.7)
        with trio.move_on_after(1) as scope:
            await ask(pool)
        assert not scope.cancelled_caught
        fakes[1].gate.set()
        fakes[2].gate.set()


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


async def test_get_many_is_hedged_like_every_read(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(hedge_after=0.02)) as (hs, fakes):
        for _ in range(4):
            await hs.get("d", "t", ["id"], 1)
        fakes[1].gate = trio.Event()
        for _ in range(2):
            with trio.fail_after(0.2):
                await hs.get_many("d", "t", ["id"], [1, 2, 3])
        fakes[1].gate.set()


# ---- how long it goes on


@pytest.mark.parametrize("policy", [RetryPolicy(), RetryPolicy(deadline=5)])
async def test_many_reads_without_a_server_give_up_like_one(
    nursery: trio.Nursery, autojump_clock: MockClock, policy: RetryPolicy
) -> None:
    """One get gives up after some 16 s here."""
    async with managed(nursery, retry=policy) as (hs, fakes):
        for fake in fakes.values():
            fake.gate = trio.Event()  # accepts and never answers
        started = trio.current_time()
        with pytest.raises(ConnectionError):
            await hs.get("d", "t", ["id"], 1)
        one = trio.current_time() - started
        started = trio.current_time()
        with pytest.raises(ConnectionError):
            await hs.get_many("d", "t", ["id"], list(range(20_000)))
        assert trio.current_time() - started < 2 * one + 1


async def test_many_inserts_without_a_server_give_up_like_one(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(deadline=5)) as (hs, fakes):
        for fake in fakes.values():
            fake.gate = trio.Event()
        started = trio.current_time()
        outcomes = await hs.insert_many("d", "t", ["id"], [[number] for number in range(20_000)])
        assert all(isinstance(outcome, ConnectionError) and not outcome.maybe_applied for outcome in outcomes)
        assert trio.current_time() - started < 20


# ---- what is told


class Log(trio_hs.Instrument):
    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def connection_down(self, server: str, reason: BaseException) -> None:
        self.events.append(("down", server, str(reason)))

    def retry(self, operation: str, table: str, attempt: int, error: HandlerSocketError) -> None:
        self.events.append(("retry", operation, attempt))


async def test_a_connection_that_the_client_closes_is_not_told_as_lost(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    log = Log()
    async with managed(nursery, instruments=[log]) as (hs, _):
        await hs.get("d", "t", ["id"], 1)
    assert not [event for event in log.events if event[0] == "down"]


async def test_a_repetition_after_a_refusal_is_told(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    log = Log()
    async with managed(nursery, instruments=[log]) as (hs, fakes):
        await hs.incr("d", "t", "=", ["id"], [1])
        fakes[3].answer = read_only
        await hs.incr("d", "t", "=", ["id"], [1])
        assert ("retry", "incr", 1) in log.events


async def test_the_number_of_answers_never_falls(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        for _ in range(10):
            await hs.incr("d", "t", "=", ["id"], [1])
        before = hs.statistics().writers[0].answers
        fakes[3].gate = trio.Event()
        callers.start_soon(hs.incr, "d", "t", "=", ["id"], [1])
        await wait_all_tasks_blocked()
        await hs.purge()
        now = hs.statistics().writers[0]
        fakes[3].gate.set()
        assert now.answers >= before


# ---- small things


async def test_an_encoding_that_does_not_exist_is_a_value_error() -> None:
    with pytest.raises((TypeError, ValueError)):
        async with trio_hs.open_manager(encoding="utf8mb4"):  # MariaDB's name of it
            pass


async def test_an_index_of_generated_names_has_columns(nursery: trio.Nursery) -> None:
    fake = FakeServer(nursery)
    async with open_read_socket([A], connect=fake.connect) as hs:
        names: Any = (name for name in ("id",))
        try:
            index_id = await hs.get_index_id("d", "t", names)
        except (TypeError, ValueError):
            return
        assert await hs.find(index_id, "=", ["x"]) == [["x"]]


@pytest.mark.parametrize(
    "error", [OperationalError(1, "121"), DecodingError("x", b"y"), ConnectionError("x", maybe_applied=True)]
)
def test_errors_travel_between_processes(error: HandlerSocketError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


async def test_calls_with_nothing_to_do_are_checkpoints(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, _):
        for call in (lambda: hs.get_many("d", "t", ["id"], []), lambda: hs.insert_many("d", "t", ["id"], [])):
            with trio.testing.assert_checkpoints():
                await call()
