"""Faults of the client that a reading of its code found, each held by a test. Fake servers, virtual time."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections import Counter
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
import trio_hs.connection
import trio_hs.pool
from tests.trio_hs.dispatch.test_manager import kill, managed, read_only
from tests.trio_hs.network.test_sockets import A, B, C, ask, pool_of
from tests.trio_hs.support.fake import FakeServer, MemoryTransport, echo
from trio_hs import (
    ConnectionError,
    DecodingError,
    Filter,
    HandlerSocketError,
    OperationalError,
    RetryPolicy,
    caller,
    open_read_socket,
)
from trio_hs.protocol import Index

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
        await wait_all_tasks_blocked()
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


@pytest.mark.parametrize("keys", [3, 100])
async def test_get_many_is_hedged_like_every_read(nursery: trio.Nursery, autojump_clock: MockClock, keys: int) -> None:
    async with managed(nursery, retry=RetryPolicy(hedge_after=0.02)) as (hs, fakes):
        for _ in range(4):
            await hs.get("d", "t", ["id"], 1)
        fakes[1].gate = trio.Event()
        for _ in range(2):
            with trio.fail_after(0.2):
                await hs.get_many("d", "t", ["id"], range(keys))
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
    assert [server.last_error for server in hs.statistics().readers] == [None, None]
    assert "<Pool <fake:1 closed> <fake:2 closed>>" in repr(hs)


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
        suspension = hs.suspended()
        with trio.testing.assert_checkpoints():
            await suspension.__aenter__()
        await suspension.__aexit__(None, None, None)
    async with open_read_socket([A], connect=FakeServer(nursery).connect) as socket:
        with trio.testing.assert_checkpoints():
            assert await socket.execute_many([]) == []


async def test_callers_held_by_a_suspension_do_not_spin_when_it_ends(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each caller may look a few times while the connection is made; not four times for each second of the suspension."""
    looks = 0
    choose = trio_hs.pool.Pool.choose

    def counted(pool: trio_hs.pool.Pool) -> Any:
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
                monkeypatch.setattr(trio_hs.pool.Pool, "choose", counted)
        assert looks < 10 * 20


async def test_a_long_pipeline_does_not_keep_the_others_waiting(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A single find beside execute_many of very many waits for about what may be outstanding, not for all of it."""
    fake = FakeServer(nursery)
    async with open_read_socket([A], connect=fake.connect) as hs, trio.open_nursery() as callers:
        index_id = await hs.get_index_id("d", "t", ["id"])
        await hs.find(index_id, "=", ["warm"])
        fake.gate = trio.Event()
        callers.start_soon(hs.execute_many, [trio_hs.Find(index_id, "=", ["x"])] * 20_000)
        await wait_all_tasks_blocked()
        callers.start_soon(hs.find, index_id, "=", ["mine"])
        await wait_all_tasks_blocked()
        fake.gate.set()
    assert fake.lines.index(b"0\t=\t1\tmine\t1\t0") < 5000


async def test_a_purge_during_a_slow_request_does_not_keep_the_others_waiting(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The new connection need not wait for the last answer on the old one."""
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


@pytest.mark.parametrize("by_list", [True, False])
async def test_parsing_very_many_rows_lets_other_tasks_run(nursery: trio.Nursery, by_list: bool) -> None:
    """Whether they come by a list of keys, or, because a row is missing, one by one."""
    fake = FakeServer(nursery, echo if by_list else lambda line: b"0\t1\tx\n" if line[:1].isdigit() else echo(line))
    name = "named" if by_list else "named_each"
    async with trio_hs.open_manager([A], [B], connect=fake.connect) as hs:
        await hs.get("d", "t", ["id"], 1)
        passes = 0
        parsed_at: list[int] = []
        parse = getattr(caller, name)

        def watched(*arguments: Any) -> Any:
            parsed_at.append(passes)
            return parse(*arguments)

        async def tick() -> None:
            nonlocal passes
            while True:
                passes += 1
                await trio.lowlevel.checkpoint()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(caller, name, watched)
            async with trio.open_nursery() as ticker:
                ticker.start_soon(tick)
                await hs.get_many("d", "t", ["id"], list(range(40_000)))
                ticker.cancel_scope.cancel()
        assert len(parsed_at) > 50
        assert max(Counter(parsed_at).values()) <= caller.CHUNKS_UNDER_WAY  # in one pass of the scheduler


async def test_a_read_is_not_hedged_to_the_frozen_server_itself(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """With two connections each: what stalls one connection to a server mostly stalls the other too."""
    async with pool_of(nursery, [[A, B, C]], connections=2) as (pool, fakes), trio.open_nursery() as callers:
        await ask(pool)
        await trio.sleep(1)
        for port in (1, 2):
            fakes[port].gate = trio.Event()
        first = {link.peer: link.connection for link in reversed(pool.groups[0])}
        for port in (1, 2):
            connection = first[f"fake:{port}"]
            assert connection is not None
            connection.submit(trio_hs.connection.Request(), Index("d", "t", ["id"]), (b"\t=\t1\tx\n",))
        await trio.sleep(0.7)
        stalled = first["fake:1"]
        assert stalled is not None
        assert stalled.stalled
        other = pool.choose_other(stalled)
        assert other is not None
        assert other.peer == "fake:3"
        for port in (1, 2):
            fakes[port].gate.set()
        del callers


@pytest.mark.parametrize("event", ["connection_up", "connection_down", "connect_failed", "failover", "request_done", "retry"])
async def test_a_fault_in_any_callback_disturbs_nothing(nursery: trio.Nursery, autojump_clock: MockClock, event: str) -> None:
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
