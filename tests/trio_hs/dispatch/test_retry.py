"""Which operations the client repeats, and on which server. Fake servers, virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import READERS, managed
from tests.trio_hs.support.fake import REFUSED, RESET, FakeServer, echo, kill, nonsense
from trio_hs import ConnectionError, OperationalError, RetryPolicy


async def test_a_read_moves_to_another_server_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        await wait_all_tasks_blocked()
        fakes[1].gate = trio.Event()
        fakes[2].gate = trio.Event()
        done: list[float] = []

        async def caller(number: int) -> None:
            assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]
            done.append(trio.current_time())

        async with trio.open_nursery() as callers:
            for number in range(64):
                callers.start_soon(caller, number)
            await wait_all_tasks_blocked()
            started = trio.current_time()
            kill(fakes[1])
            fakes[2].gate.set()
        assert len(done) == 64
        assert max(done) - started < 0.01


@pytest.mark.parametrize("repeats", [1, 3])
async def test_a_write_that_may_have_arrived_is_not_repeated(
    nursery: trio.Nursery, autojump_clock: MockClock, repeats: int
) -> None:
    async with managed(nursery, retry=RetryPolicy(attempts=repeats)) as (hs, fakes):
        await hs.incr("d", "t", "=", ["n"], [1])
        fakes[3].answer = lambda line: None
        async with trio.open_nursery() as callers:

            async def caller() -> None:
                with pytest.raises(ConnectionError, match=r"incr d\.t: .*may have been applied") as caught:
                    await hs.incr("d", "t", "=", ["n"], [1])
                assert caught.value.maybe_applied
                assert isinstance(caught.value, trio_hs.RecoverableConnectionError)

            callers.start_soon(caller)
            await wait_all_tasks_blocked()
            kill(fakes[3])
        assert len(fakes[3].requests) == 2
        assert not fakes[4].requests


async def test_connections_that_a_server_closed_together_use_up_no_attempts(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """As a server does with idle ones. The simulation found a write that failed this way, though its server was well."""
    fake = FakeServer(nursery)
    twice = RetryPolicy(attempts=2)
    async with trio_hs.open_manager([READERS[0]], [READERS[0]], connect=fake.connect, connections=8, retry=twice) as hs:
        assert await hs.get("d", "t", ["id"], 1)
        await hs.insert("d", "t", [("id", 1)])
        await wait_all_tasks_blocked()
        assert len(fake.open) == 16
        for call in (lambda: hs.get("d", "t", ["id"], 2), lambda: hs.insert("d", "t", [("id", 2)])):
            for connection in fake.open:
                connection.transport.broken = RESET  # noticed only when something is sent
            await call()
            await wait_all_tasks_blocked()
        for connection in fake.open:
            connection.reset()
        fake.refuses = REFUSED
        with pytest.raises(ConnectionError) as caught:
            await hs.insert("d", "t", [("id", 3)])
        assert not caught.value.maybe_applied
    once = FakeServer(nursery)
    policy = RetryPolicy(attempts=1)
    async with trio_hs.open_manager([READERS[0]], [READERS[0]], connect=once.connect, connections=2, retry=policy) as hs:
        assert await hs.get("d", "t", ["id"], 1)
        await wait_all_tasks_blocked()
        for connection in once.open:
            connection.reset()
        with pytest.raises(ConnectionError):
            await hs.get("d", "t", ["id"], 1)


async def test_a_write_that_was_not_sent_goes_to_the_standby(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 1)])
        kill(fakes[3])
        assert await hs.incr("d", "t", "=", ["n"], [1]) == 1
        assert len(fakes[4].requests) == 1


async def test_a_write_that_times_out_may_have_been_applied(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 1)])
        fakes[3].gate = trio.Event()
        with pytest.raises(ConnectionError, match="no answer for 3 s") as caught:
            await hs.insert("d", "t", [("id", 2)])
        assert caught.value.maybe_applied


async def test_a_failed_read_had_no_effect(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(attempts=1)) as (hs, fakes):
        for port in (1, 2):
            fakes[port].answer = lambda line: echo(line) if line[:1] == b"A" else None
        with pytest.raises(ConnectionError, match="no effect") as caught:
            await hs.get("d", "t", ["id"], 1)
        assert not caught.value.maybe_applied


async def test_a_deadly_request_reaches_two_servers_at_most(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    deaths = 0

    async with managed(nursery, retry=RetryPolicy(attempts=100)) as (hs, fakes):

        def die(line: bytes) -> bytes | None:
            nonlocal deaths
            if line[-5:] != b"death":
                return echo(line)
            deaths += 1
            for port in (1, 2):
                for connection in fakes[port].open:
                    connection.reset()
            return None

        for port in (1, 2):
            fakes[port].answer = die
        with pytest.raises(ConnectionError):
            await hs.get("d", "t", ["id"], "death")
        assert deaths == 2
        assert await hs.get("d", "t", ["id"], "life") == [("id", "life")]


async def test_an_error_answer_is_not_retried(nursery: trio.Nursery) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[3].answer = lambda line: echo(line) if line[:1] in b"AP" else b"1\t1\t999\n"
        with pytest.raises(OperationalError, match="1 999") as caught:
            await hs.insert("d", "t", [("id", 1)])
        assert (caught.value.code, caught.value.message) == (1, "999")
        assert len(fakes[3].requests) == 1
        assert len(fakes[3].connections) == 1


async def test_a_read_is_repeated_after_garbage(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[1].answer = lambda line: echo(line) if line[:1] in b"AP" else b"SSH-2.0-OpenSSH\n"
        for number in range(20):
            assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]


async def test_a_server_that_returns_in_time_is_found(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 1)])
        kill(fakes[3])
        kill(fakes[4])

        async def come_back() -> None:
            await trio.sleep(0.3)
            fakes[3].refuses = None

        nursery.start_soon(come_back)
        assert await hs.incr("d", "t", "=", ["n"], [1]) == 1


async def test_a_write_on_a_connection_that_ended_unnoticed_had_no_effect(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The caller is the first to notice the end, and nothing was sent."""
    async with managed(nursery, retry=RetryPolicy(attempts=1)) as (hs, fakes):
        await hs.insert("d", "t", [("id", 1)])
        await trio.sleep(40)
        fakes[3].connections[-1].end()
        with pytest.raises(ConnectionError, match=r"fake:3: insert d\.t: .*had no effect") as caught:
            await hs.insert("d", "t", [("id", 2)])
        assert not caught.value.maybe_applied


async def test_a_cancelled_caller_sends_nothing(nursery: trio.Nursery) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 1)])
        with trio.CancelScope() as scope:
            scope.cancel()
            await hs.insert("d", "t", [("id", 2)])
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        assert len(fakes[3].requests) == 1


async def test_a_write_whose_answer_is_nonsense_is_in_doubt(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 1)])
        fakes[3].answer = lambda line: b"0\t3\ta\tb\tc\n"
        with pytest.raises(ConnectionError, match="no count") as caught:
            await hs.insert("d", "t", [("id", 1)])
        assert caught.value.maybe_applied
        assert isinstance(caught.value.__cause__, trio_hs.ProtocolError)


async def test_a_read_ends_after_nonsense_from_two_servers(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[1].answer = fakes[2].answer = nonsense
        for read in (lambda: hs.get("d", "t", ["id"], 1), lambda: hs.get_many("d", "t", ["id"], [1, 2])):
            with pytest.raises(trio_hs.ConnectionError, match="an answer of 3 columns to a request for 1") as caught:
                await read()
            assert not caught.value.maybe_applied
        assert len(fakes[1].requests) + len(fakes[2].requests) <= 2 + 2 * 2
