"""What instruments are told of calls and their requests: each start has its end, and the end says what the caller got.

Fake servers, virtual time.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import managed
from tests.trio_hs.support.fake import FakeServer, black_hole, die_on_the_first_request, echo, kill
from trio_hs import Call, ConnectionError, DuplicateKeyError, Instrument, Outcome, RetryPolicy
from trio_hs._dispatch import _many

GET = Call("get", "d", "t", 1, False)
INSERT = Call("insert", "d", "t", 1, True)


class Recorder(Instrument):
    """Keeps every outcome. Fails where a context is not the one that the start returned."""

    def __init__(self) -> None:
        self.numbers = itertools.count()
        self.open: dict[int, tuple[Any, ...]] = {}
        self.order: list[str] = []
        self.calls: list[tuple[Call, Outcome]] = []
        self.requests: list[tuple[Call, int, Outcome]] = []

    def _start(self, event: str, *details: Any) -> int:
        self.order.append(event)
        number = next(self.numbers)
        self.open[number] = details
        return number

    def _end(self, event: str, number: int) -> tuple[Any, ...]:
        self.order.append(event)
        return self.open.pop(number)

    def call_started(self, call: Call) -> int:
        return self._start("call", call)

    def call_ended(self, call: Call, outcome: Outcome, context: int) -> None:
        assert self._end("called", context) == (call,)
        self.calls.append((call, outcome))

    def request_started(self, call: Call, server: str, lines: int, context: int) -> int:
        assert self.open[context] == (call,)
        return self._start("request", call, server, lines)

    def request_ended(self, call: Call, lines: int, outcome: Outcome, context: int) -> None:
        begun = self._end("answered", context)
        assert (begun[0], begun[2]) == (call, lines)
        self.requests.append((call, lines, outcome))

    @property
    def outcome(self) -> Outcome:
        """Of the only call."""
        ((_, outcome),) = self.calls
        assert not self.open
        return outcome


def duplicates(*keys: bytes) -> Callable[[bytes], bytes]:
    """The answers of a server that has these keys already."""

    def answer(line: bytes) -> bytes:
        return b"1\t1\t121\n" if line[:1].isdigit() and line.split(b"\t")[3] in keys else echo(line)

    return answer


def silent(line: bytes) -> bytes | None:
    return None if line[:1].isdigit() else echo(line)


async def test_a_call_encloses_its_requests_and_the_context_is_carried(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    log = Recorder()
    async with managed(nursery, instruments=[log], write_databases={"d": "twin"}) as (hs, _):
        await hs.get("d", "t", ["id"], 1)
        assert log.order == ["call", "request", "answered", "called"]
        server = log.outcome.server
        assert server in ("fake:1", "fake:2")
        assert log.calls == [(GET, Outcome(0.0, server, None, False, 0, 0))]
        assert log.requests == [(GET, 1, Outcome(0.0, server, None, False, 0, 0))]
        assert not log.outcome.cancelled
        log.calls.clear()
        await hs.insert("d", "t", [("id", 1)])
        assert log.calls == [(Call("insert", "twin", "t", 1, True), Outcome(0.0, "fake:3"))]


async def test_a_refusal_is_an_outcome_with_a_class_and_a_code(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    log = Recorder()
    async with managed(nursery, instruments=[log]) as (hs, fakes):
        fakes[3].answer = duplicates(b"1")
        with pytest.raises(DuplicateKeyError) as caught:
            await hs.insert("d", "t", [("id", 1)])
        outcome = log.outcome
        assert outcome.error is caught.value
        assert (outcome.code, outcome.server, outcome.failed, outcome.answered) == ("1 121", "fake:3", 1, True)
        assert not outcome.maybe_applied
        ((_, lines, request),) = log.requests
        assert (lines, request.code, request.failed, request.maybe_applied) == (1, "1 121", 1, False)


async def test_the_rows_of_insert_many_that_failed_are_counted(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    log = Recorder()
    async with managed(nursery, instruments=[log]) as (hs, fakes):
        fakes[3].answer = duplicates(b"2", b"4")
        outcomes = await hs.insert_many("d", "t", ["id"], [[1], [2], [3], [4]])
        assert log.calls[0][0] == Call("insert_many", "d", "t", 4, True)
        assert log.outcome.error is outcomes[1]
        assert (log.outcome.failed, log.outcome.code) == (2, "1 121")
        ((_, lines, request),) = log.requests
        assert (lines, request.failed, type(request.error)) == (4, 2, DuplicateKeyError)


async def test_a_retry_is_counted_and_its_error_is_the_requests(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    log = Recorder()
    async with managed(nursery, instruments=[log]) as (hs, fakes):
        await hs.connect()
        die_on_the_first_request(fakes[1], fakes[2])
        await hs.get("d", "t", ["id"], 1)
        (_, _, first), (_, _, second) = log.requests
        assert isinstance(first.error, ConnectionError)
        assert (first.answered, first.failed, first.maybe_applied) == (False, 1, False)
        assert second.error is None
        assert {first.server, second.server} == {"fake:1", "fake:2"}
        assert log.outcome == Outcome(log.outcome.seconds, second.server, None, False, 0, 1)


async def test_the_final_failure_is_what_the_caller_gets(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    log = Recorder()
    async with managed(nursery, instruments=[log], retry=RetryPolicy(attempts=3, backoff=0.5)) as (hs, fakes):
        kill(fakes[1])
        kill(fakes[2])
        with pytest.raises(ConnectionError) as caught:
            await hs.get("d", "t", ["id"], 1)
        assert log.outcome.error is caught.value
        assert (log.outcome.server, log.outcome.maybe_applied, log.outcome.retries) == (None, False, 2)
        assert log.outcome.seconds > 0.5
        assert log.requests == []
        log.calls.clear()
        die_on_the_first_request(fakes[3])
        with pytest.raises(ConnectionError) as lost:
            await hs.insert("d", "t", [("id", 1)])
        assert (log.outcome.error, log.outcome.server, log.outcome.maybe_applied) == (lost.value, "fake:3", True)
        ((_, _, request),) = log.requests
        assert request.maybe_applied


@pytest.mark.parametrize(
    "operation,maybe_applied",
    [
        (lambda hs: hs.get("d", "t", ["id"], 1), False),
        (lambda hs: hs.insert("d", "t", [("id", 1)]), True),
        (lambda hs: hs.get_many("d", "t", ["id"], range(3000)), False),
        (lambda hs: hs.insert_many("d", "t", ["id"], [[key] for key in range(3000)]), True),
    ],
    ids=["get", "insert", "get_many", "insert_many"],
)
async def test_a_cancelled_call_leaves_a_trace(
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    operation: Callable[[trio_hs.Manager], Awaitable[Any]],
    maybe_applied: bool,
) -> None:
    log = Recorder()
    async with managed(nursery, instruments=[log]) as (hs, fakes):
        await hs.connect()
        for fake in fakes.values():
            fake.answer = silent
        with trio.move_on_after(0.5) as scope:
            await operation(hs)
        assert scope.cancelled_caught
        outcome = log.outcome
        assert outcome.cancelled
        assert not outcome.answered
        assert (outcome.seconds, outcome.maybe_applied, outcome.failed) == (0.5, maybe_applied, 1)
        assert outcome.server is not None
        assert len(log.requests) >= 1
        assert all(request.cancelled and request.seconds == 0.5 for _, _, request in log.requests)
        assert log.requests[0][2].maybe_applied == maybe_applied


async def test_a_cancelled_write_that_was_not_sent_is_known_to_have_had_no_effect(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    log = Recorder()
    async with managed(nursery, instruments=[log]) as (hs, fakes):
        for port in (3, 4):
            black_hole(fakes[port])
        with trio.move_on_after(0.5):
            await hs.insert("d", "t", [("id", 1)])
        assert (log.outcome.cancelled, log.outcome.server, log.outcome.maybe_applied) == (True, None, False)
        assert log.requests == []


async def test_a_cancelled_write_that_waits_its_turn_on_a_connection_had_no_effect(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    log = Recorder()
    async with managed(nursery, instruments=[log]) as (hs, fakes):
        await hs.connect()
        fakes[3].answer = silent

        async def insert(key: int) -> None:
            await hs.insert("d", "t", [("id", key)])

        with trio.move_on_after(0.5):
            async with trio.open_nursery() as callers:
                for key in range(1024):
                    callers.start_soon(insert, key)
                await wait_all_tasks_blocked()
                log.order.clear()
                with trio.move_on_after(0.25):
                    await insert(1024)
                assert log.order == ["call", "request", "answered", "called"]
                outcomes = log.calls[-1][1], log.requests[-1][2]
                assert [(one.cancelled, one.maybe_applied) for one in outcomes] == [(True, False)] * 2
        assert sum(outcome.maybe_applied for _, outcome in log.calls) >= 1023
        assert len(log.calls) == len(log.requests) == 1025
        assert not log.open


async def test_a_write_that_was_refused_before_it_was_cancelled_had_no_effect(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The first writer is read-only, and so is the second, after the deadline."""
    log = Recorder()
    async with managed(nursery, instruments=[log]) as (hs, fakes):
        await hs.connect()
        fakes[3].answer = lambda line: b"1\t1\tlock_tables\n" if line[:1].isdigit() else echo(line)
        black_hole(fakes[4])
        for connection in fakes[4].open:
            connection.end()
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.2):
            await hs.insert("d", "t", [("id", 1)])
        assert log.requests[0][2].code == "1 lock_tables"
        assert log.outcome.cancelled
        assert not log.outcome.maybe_applied


async def test_rows_that_were_inserted_before_the_cancellation_are_not_forgotten(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The first rows are answered, and the others refused by the only server that is left."""
    log = Recorder()
    async with managed(nursery, instruments=[log]) as (hs, fakes):
        await hs.connect()
        answers = itertools.chain([b"0\t1\n"] * _many.WRITE_LINES, itertools.repeat(b"1\t1\tlock_tables\n"))
        fakes[3].answer = lambda line: next(answers) if line[:1].isdigit() else echo(line)
        black_hole(fakes[4])
        for connection in fakes[4].open:
            connection.end()
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.2):
            await hs.insert_many("d", "t", ["id"], [[key] for key in range(_many.WRITE_LINES + 1)])
        first, *others = [request.code for _, _, request in log.requests]
        assert (first, set(others)) == (None, {"1 lock_tables"})
        assert (log.outcome.cancelled, log.outcome.maybe_applied) == (True, True)


async def test_a_hedged_read_is_one_request_with_the_server_that_answered(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    log = Recorder()
    async with managed(nursery, instruments=[log], retry=RetryPolicy(hedge_after=0.1)) as (hs, fakes):
        await hs.connect()
        fakes[1].answer = silent
        for _ in range(2):  # the readers take turns
            await hs.get("d", "t", ["id"], 1)
        assert [(request.server, request.error) for _, _, request in log.requests] == [("fake:2", None)] * 2
        assert sorted(request.seconds for _, _, request in log.requests) == pytest.approx([0, 0.1])
        assert [outcome.server for _, outcome in log.calls] == ["fake:2"] * 2
        for fake in fakes.values():
            fake.answer = silent
        log.calls.clear()
        with trio.move_on_after(0.5):
            await hs.get("d", "t", ["id"], 1)
        assert (log.outcome.cancelled, log.outcome.maybe_applied) == (True, False)


async def test_get_many_is_one_call_of_some_requests(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    log = Recorder()
    async with managed(nursery, instruments=[log]) as (hs, _):
        keys = [str(key) for key in range(3 * _many.READ_KEYS)]
        await hs.get_many("d", "t", ["id"], keys)
        assert log.calls[0][0] == Call("get_many", "d", "t", len(keys), False)
        assert len(log.requests) == 3
        assert log.outcome.error is None


async def test_what_cannot_be_sent_is_no_call(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    log = Recorder()
    wrong: Any = object()
    async with managed(nursery, instruments=[log]) as (hs, _):
        for operation in (
            hs.get("d", "t", ["id"], wrong),
            hs.get_many("d", "t", ["id"], [wrong]),
            hs.insert("d", "t", [("id", wrong)]),
            hs.insert_many("d", "t", ["id"], [[wrong]]),
        ):
            with pytest.raises(TypeError):
                await operation
    assert log.order == []


async def test_what_makes_the_rows_may_fail_the_call(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    def fail(**values: Any) -> None:
        raise RuntimeError("no such row")

    log = Recorder()
    async with managed(nursery, instruments=[log]) as (hs, _):
        with pytest.raises(RuntimeError):
            await hs.table("d", "t", ["id"], row=fail).find("=", [1])
        assert isinstance(log.outcome.error, RuntimeError)
        assert log.requests[0][2].error is None


async def test_an_instrument_that_fails_at_a_start_is_not_told_of_the_end(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(Recorder):
        def request_started(self, call: Call, server: str, lines: int, context: int) -> int:
            raise RuntimeError("faulty")

    faulty, good = Faulty(), Recorder()
    async with managed(nursery, instruments=[faulty, good]) as (hs, _):
        await hs.get("d", "t", ["id"], 1)
        await hs.get("d", "t", ["id"], 1)
    assert faulty.order == ["call"]
    assert good.order == ["call", "request", "answered", "called"] * 2
    assert caplog.text.count("is not used any more") == 1


@pytest.mark.parametrize("method", ["call_started", "request_ended", "request_done", None])
async def test_only_instruments_that_watch_requests_cost_them_something(
    nursery: trio.Nursery, autojump_clock: MockClock, method: str | None
) -> None:
    instrument = type("One", (Instrument,), {"failover": lambda *_: None})()
    if method is not None:
        setattr(instrument, method, lambda *_: None)
    async with managed(nursery, instruments=[instrument]) as (hs, _):
        assert hs._dispatcher._plain == (method is None)
        await hs.get("d", "t", ["id"], 1)


@given(st.data())
def test_each_start_has_its_end_whatever_happens(data: st.DataObject) -> None:
    """Many calls, of which some are cancelled, some meet servers that die, fall silent or refuse."""
    log = Recorder()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            retry = data.draw(st.sampled_from([None, RetryPolicy(attempts=1), RetryPolicy(hedge_after=0.05)]))
            async with managed(nursery, instruments=[log], retry=retry, timeout=0.5) as (hs, fakes):
                async with trio.open_nursery() as callers:
                    for _ in range(data.draw(st.integers(1, 6))):
                        callers.start_soon(caller, hs, data.draw(st.integers(0, 3)), data.draw(st.sampled_from([0.05, 0.3, 9])))
                    for _ in range(data.draw(st.integers(0, 4))):
                        await trio.sleep(data.draw(st.sampled_from([0, 0.1, 0.4])))
                        disturb(fakes[data.draw(st.integers(1, 4))], data.draw(st.integers(0, 3)))
            nursery.cancel_scope.cancel()

    got: list[type[BaseException] | None] = []

    async def caller(hs: trio_hs.Manager, which: int, seconds: float) -> None:
        operations: list[Callable[[], Awaitable[Any]]] = [
            lambda: hs.get("d", "t", ["id"], 1),
            lambda: hs.get_many("d", "t", ["id"], range(700)),
            lambda: hs.update("d", "t", "=", ["id"], [1], [2]),
            lambda: hs.insert("d", "t", [("id", 1)]),
        ]
        with trio.move_on_after(seconds) as scope:
            try:
                await operations[which]()
            except trio_hs.HandlerSocketError as error:
                got.append(type(error))
            else:
                got.append(None)
        if scope.cancelled_caught:
            got.append(trio.Cancelled)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert not log.open
    assert log.order.count("request") == len(log.requests)
    said = [None if outcome.error is None else type(outcome.error) for _, outcome in log.calls]
    assert sorted(map(str, said)) == sorted(map(str, got))


def disturb(fake: FakeServer, how: int) -> None:
    if how == 0:
        kill(fake)
    elif how == 1:
        fake.answer = silent
    elif how == 2:
        fake.answer = lambda line: b"1\t1\tlock_tables\n" if line[:1].isdigit() else echo(line)
    else:
        fake.refuses, fake.answer = None, echo
