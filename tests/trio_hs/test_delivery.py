"""Rows of docs/delivery.md that are not covered elsewhere. Fake servers, virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import managed
from tests.trio_hs.support.fake import FakeServer, echo, kill
from trio_hs import ConnectionError


async def test_a_write_without_any_server_had_no_effect(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        for port in (3, 4):
            kill(fakes[port])
        with pytest.raises(ConnectionError, match=r"^incr d\.t: no server is usable") as caught:
            await hs.incr("d", "t", "=", ["n"], [1])
        assert not caught.value.maybe_applied


async def test_a_write_with_a_wrong_secret_is_not_tried_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, write_secret="wrong") as (hs, fakes):
        for port in (3, 4):
            fakes[port].answer = lambda line: b"3\t1\tunauth\n"
        with pytest.raises(trio_hs.AuthenticationError):
            await hs.incr("d", "t", "=", ["n"], [1])
        assert [len(fakes[port].connections) for port in (3, 4)] == [1, 1]


async def test_a_write_that_was_not_sent_is_sent_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The server closed the idle connection, and this write is the first to notice."""
    async with managed(nursery) as (hs, fakes):
        await hs.incr("d", "t", "=", ["n"], ["first"])
        await trio.sleep(40)
        fakes[3].connections[-1].end()
        assert await hs.incr("d", "t", "=", ["n"], ["second"]) == 1
        sent = [line for port in (3, 4) for line in fakes[port].requests if b"second" in line]
        assert len(sent) == 1


async def test_a_write_with_an_undecodable_answer_was_applied(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[3].answer = lambda line: b"0\t1\t\xff\n" if line[:1].isdigit() else echo(line)
        with pytest.raises(trio_hs.DecodingError) as caught:
            await hs.update("d", "t", "=", ["n"], [1], [2], return_original=True)
        assert caught.value.data == b"\xff"
        assert len(fakes[3].requests) == 1
        assert len(fakes[3].open) == 1
        assert not fakes[4].requests


async def test_insert_many_tells_unsent_rows_from_rows_in_doubt(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 0)])
        fakes[3].gate = trio.Event()
        transport = fakes[3].connections[0].transport
        transport.window = 300  # the kernel takes no more than that, and the server reads nothing
        outcomes: list[object] = []

        async def insert() -> None:
            outcomes.extend(await hs.insert_many("d", "t", ["id"], [["x" * 100] for _ in range(20)]))

        nursery.start_soon(insert)
        await wait_all_tasks_blocked()
        kill(fakes[3])
        await trio.sleep(1)
        doubts = [isinstance(outcome, ConnectionError) and outcome.maybe_applied for outcome in outcomes]
        assert len(outcomes) == 20
        assert all(isinstance(outcome, ConnectionError) for outcome in outcomes)
        assert 1 <= sum(doubts) <= 5
        assert doubts == sorted(doubts, reverse=True)  # those in doubt come first
        assert not fakes[4].requests


async def test_insert_many_does_not_repeat_answered_rows(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Some rows were answered, the others were not sent. None is in doubt, but only the unsent ones may be repeated."""
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 0)])
        transport = fakes[3].connections[0].transport

        def last_words(line: bytes) -> bytes:
            transport.window = 0  # the kernel takes no more
            return b"0\t1\n"

        transport.window = 300  # two lines and a part of the third
        fakes[3].answer = last_words
        nursery.start_soon(_kill_later, fakes[3])
        outcomes = await hs.insert_many("d", "t", ["id"], [[f"{number:x>100}"] for number in range(5)])
        assert outcomes[:2] == [None, None]  # the other server would answer 1
        for outcome in outcomes[2:]:
            assert outcome is None or (isinstance(outcome, ConnectionError) and not outcome.maybe_applied)
        sent = [line.split(b"\t")[3] for fake in fakes.values() for line in fake.requests]
        assert len(sent) == len(set(sent)), "a row was sent twice"


async def _kill_later(fake: FakeServer) -> None:
    await trio.sleep(0.1)
    kill(fake)


async def test_a_write_cancelled_after_it_was_sent_is_applied(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.incr("d", "t", "=", ["n"], [0])
        fakes[3].gate = trio.Event()
        with trio.move_on_after(0.1) as scope:
            await hs.incr("d", "t", "=", ["n"], ["cancelled"])
        assert scope.cancelled_caught
        fakes[3].gate.set()
        # The cancelled write's answer is dropped: the next caller gets its own.
        fakes[3].answer = lambda line: b"0\t1\t7\n" if b"next" in line else echo(line)
        assert await hs.incr("d", "t", "=", ["n"], ["next"]) == 7
        assert [line.split(b"\t")[3] for line in fakes[3].requests] == [b"0", b"cancelled", b"next"]


async def test_a_write_in_flight_when_the_block_ends_is_in_doubt(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as outer:
        async with managed(nursery) as (hs, fakes):
            await hs.incr("d", "t", "=", ["n"], [1])
            fakes[3].gate = trio.Event()

            async def caller() -> None:
                with pytest.raises(ConnectionError) as caught:
                    await hs.incr("d", "t", "=", ["n"], [1])
                assert caught.value.maybe_applied

            outer.start_soon(caller)
            await wait_all_tasks_blocked()
