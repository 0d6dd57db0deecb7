"""``insert_many``: every row has an outcome of its own, whatever happens on the way. Fake servers, virtual time."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import managed
from tests.trio_hs.support.fake import echo, kill, nonsense
from trio_hs import ConnectionError, RetryPolicy
from trio_hs._dispatch._many import CHUNKS_UNDER_WAY, WRITE_LINES


async def test_every_row_of_many_has_its_own_outcome(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[3].answer = lambda line: b"1\t1\t121\n" if line[-2:] == b"\t3" else echo(line)
        outcomes = await hs.insert_many("d", "t", ["id"], [[number] for number in range(10)])
        assert isinstance(outcomes[3], trio_hs.DuplicateKeyError)
        assert outcomes[:3] + outcomes[4:] == [1] * 9


async def test_many_rows_into_a_server_that_dies(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Answered rows are stored, sent rows without an answer are in doubt, and unsent rows go to the standby."""
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 0)])
        applied: list[bytes] = []

        def serve(line: bytes) -> bytes | None:
            applied.append(line)
            if len(applied) == 200:
                kill(fakes[3])
                return None
            return echo(line)

        fakes[3].answer = serve
        outcomes = await hs.insert_many("d", "t", ["id"], [[number] for number in range(1, 9001)])
        assert len(outcomes) == 9000
        unknown = [o for o in outcomes if isinstance(o, ConnectionError) and o.maybe_applied]
        acknowledged = [o for o in outcomes if o == 1]
        assert len(unknown) + len(acknowledged) == 9000  # no unsent row is reported as lost: the standby took them
        assert len(fakes[4].requests) + 200 <= len(acknowledged) + len(unknown)
        assert len(acknowledged) >= 199
        assert 0 < len(unknown) <= CHUNKS_UNDER_WAY * WRITE_LINES


async def test_cancelling_many_withdraws_what_was_not_sent(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 0)])
        fakes[3].gate = trio.Event()
        with trio.move_on_after(1):
            await hs.insert_many("d", "t", ["id"], [["x" * 1000]] * 100_000)
        fakes[3].gate.set()
        await trio.sleep(10)
        assert len(fakes[3].requests) <= 1 + CHUNKS_UNDER_WAY * WRITE_LINES
        assert await hs.insert("d", "t", [("id", 1)]) == 1


async def test_many_rows_keep_their_outcomes_when_no_server_is_left(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 0)])
        answered = 0

        def serve(line: bytes) -> bytes | None:
            nonlocal answered
            answered += 1
            if answered == 200:  # it restarts with another secret
                fakes[3].answer = fakes[4].answer = lambda line: b"3\t1\tunauth\n"
                fakes[3].connections[-1].end()
                for connection in fakes[4].open:
                    connection.reset()
                return None
            return echo(line)

        fakes[3].answer = serve
        outcomes = await hs.insert_many("d", "t", ["id"], [[number] for number in range(9000)])
        assert len(outcomes) == 9000
        assert outcomes.count(1) == 199
        assert any(isinstance(outcome, ConnectionError) and outcome.maybe_applied for outcome in outcomes)
        assert isinstance(outcomes[-1], trio_hs.AuthenticationError)


async def test_rows_answered_before_the_connection_ended_are_not_inserted_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """When the connection ended, half of a part of insert_many was sent and answered, and the other half was not sent."""
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


async def test_many_inserts_without_a_server_give_up_like_one(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(deadline=5)) as (hs, fakes):
        for fake in fakes.values():
            fake.gate = trio.Event()
        started = trio.current_time()
        outcomes = await hs.insert_many("d", "t", ["id"], [[number] for number in range(20_000)])
        assert all(isinstance(outcome, ConnectionError) and not outcome.maybe_applied for outcome in outcomes)
        assert trio.current_time() - started < 20


async def test_rows_whose_answer_is_nonsense_are_in_doubt(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[3].answer = nonsense
        outcomes = await hs.insert_many("d", "t", ["id"], [[1], [2]])
        assert [type(outcome) for outcome in outcomes] == [trio_hs.IndexedConnectionError] * 2
        assert all(isinstance(outcome, trio_hs.ConnectionError) and outcome.maybe_applied for outcome in outcomes)
        assert len(fakes[3].requests) == 2
        assert not fakes[4].requests
