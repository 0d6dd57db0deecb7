"""Ctrl-C at every line of the client's core raises KeyboardInterrupt, and later answers still reach their own callers."""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trio_hs
from tests.trio_hs.support.fake import FakeServer
from trio_hs._dispatch import Dispatcher
from trio_hs._network import Connection, Pool, Request

PLACES: list[Callable[..., Any]] = [
    Connection.submit,
    Connection._open,
    Connection._enqueue,
    Connection._admit,
    Connection._flush,
    Connection.withdraw,
    Connection._read,
    Connection._receive,
    Connection._received,
    Connection._deliver,
    Connection._write,
    Connection._watch,
    Request.wait,
    Request.abandon,
    Request.complete,
    Dispatcher.read,
    Dispatcher.write,
    Pool.renew,
]


TIMEOUT = 0.1


async def cancelled(table: trio_hs.Table, fake: FakeServer) -> None:
    fake.gate = trio.Event()
    try:
        with trio.move_on_after(TIMEOUT / 5):  # the watchdog checks a few times
            await table.get(1)
    finally:
        fake.gate.set()


Call = Callable[[trio_hs.Manager, trio_hs.Table, FakeServer], Awaitable[Any]]
CALLS: dict[str, Call] = {
    "get": lambda hs, table, fake: table.get(1),
    "another index": lambda hs, table, fake: hs.get("d", "t", ["name"], 1),
    "many": lambda hs, table, fake: table.get_many(range(2000)),
    "insert": lambda hs, table, fake: table.insert([1]),
    "purge": lambda hs, table, fake: hs.purge(),
    "cancelled": lambda hs, table, fake: cancelled(table, fake),
}


class Interrupted(BaseException):
    """An exception that a program's own signal handler may raise, where trio's would raise KeyboardInterrupt."""


def lines(code: CodeType) -> list[int]:
    return sorted({line for _, _, line in code.co_lines() if line and line > code.co_firstlineno})


@contextmanager
def interrupted(code: CodeType, line: int, how: Callable[[], object]) -> Iterator[list[None]]:
    """Within the block, call `how` when the line is reached for the first time. The list has an item then."""
    struck: list[None] = []

    def in_function(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line" and frame.f_lineno == line and not struck:
            struck.append(None)
            how()
        return in_function

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        return in_function if frame.f_code is code else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield struck
    finally:
        sys.settrace(before)


async def trial(code: CodeType, line: int, name: str) -> bool:
    """Press Ctrl-C at the line, and check the outcome. Returns whether the line was reached."""
    caught = False
    async with trio.open_nursery() as nursery:
        fake = FakeServer(nursery)
        server = [("inet", "fake", 1)]
        async with trio_hs.open_manager(server, server, connect=fake.connect, timeout=TIMEOUT) as hs:
            table = hs.table("d", "t", ["id"])
            await table.get(0)
            await table.insert([0])
            try:
                with interrupted(code, line, lambda: signal.raise_signal(signal.SIGINT)) as struck:
                    await CALLS[name](hs, table, fake)
                    await trio.sleep(0.001)
                await trio.lowlevel.checkpoint()  # raises a KeyboardInterrupt that came too late for the call
            except KeyboardInterrupt:
                caught = True
            assert caught == bool(struck)
            if struck:
                await answers_are_right(hs, table)
        nursery.cancel_scope.cancel()
    return bool(struck)


async def answers_are_right(hs: trio_hs.Manager, table: trio_hs.Table) -> None:
    with trio.move_on_after(0.002) as slept:  # no late wake-up hits a task that waits for something else
        await trio.sleep_forever()
    assert slept.cancelled_caught
    rows: dict[int, Any] = {}

    async def get(key: int) -> None:
        rows[key] = await table.get(key)

    async with trio.open_nursery() as nursery:
        for key in range(20, 25):
            nursery.start_soon(get, key)
    assert rows == {key: [("id", str(key))] for key in range(20, 25)}
    assert await table.insert([7]) == 1  # the fake's id
    statistics = hs.statistics()
    assert [one.outstanding for one in (*statistics.readers, *statistics.writers)] == [0, 0]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__qualname__)
def test_after_ctrl_c_at_any_line_every_answer_reaches_its_own_caller(place: Callable[..., Any]) -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "trio would not handle Ctrl-C"
    struck = 0
    for name in CALLS:
        for line in lines(place.__code__):
            try:
                struck += trio.run(trial, place.__code__, line, name, clock=MockClock(autojump_threshold=0))
            except BaseException as error:
                error.add_note(f"{name}, Ctrl-C at line {line} of {place.__code__.co_filename}")
                raise
    assert struck


@pytest.mark.parametrize("line", lines(Connection._flush.__code__))
async def test_an_exception_of_another_signals_handler_ends_the_connection(nursery: trio.Nursery, line: int) -> None:
    """It is unknown then whether the request was sent."""

    def strike() -> None:
        raise Interrupted

    fake = FakeServer(nursery)
    async with trio_hs.open_manager([("inet", "fake", 1)], connect=fake.connect) as hs:
        table = hs.table("d", "t", ["id"])
        await table.get(0)
        with interrupted(Connection._flush.__code__, line, strike) as struck:
            try:
                await table.get(1)
            except Interrupted:
                assert struck
        assert await table.get(2) == [("id", "2")]
        assert await table.get(3) == [("id", "3")]
