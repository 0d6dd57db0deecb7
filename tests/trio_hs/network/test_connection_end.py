"""How a connection ends: silence, a closed or reset stream, nonsense. It knows what was sent by then."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.trio_hs.support.connections import INDEX, answer, ask, connected, fails
from tests.trio_hs.support.fake import FakeConnection, FakeServer, MemoryTransport, echo
from trio_hs import ProtocolError
from trio_hs._network import Connection, Request
from trio_hs._protocol import get_tail


async def test_silence_ends_the_connection_after_its_timeout(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = FakeServer(nursery)
    async with connected(server, timeout=2.0) as (connection, _):
        await ask(connection, "a")
        await trio.sleep(100)  # idle is not silent
        assert connection.usable
        server.gate = trio.Event()
        started = trio.current_time()
        with pytest.raises(TimeoutError, match="no answer for 2 s"):
            await ask(connection, "b")
        assert 2.0 <= trio.current_time() - started <= 2.0 * (1 + 2 / 16)
        assert not connection.usable


async def test_a_slow_server_that_goes_on_answering_is_not_silent(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = FakeServer(nursery)
    async with connected(server, timeout=1.0) as (connection, peer):
        await ask(connection, "open")
        server.answer = lambda line: None
        async with trio.open_nursery() as callers:
            for number in range(20):
                callers.start_soon(ask, connection, str(number))
            await wait_all_tasks_blocked()
            for number in range(20):
                await trio.sleep(0.9)
                peer.say(server.requests[1 + number].replace(b"0\t=\t1", b"0\t1") + b"\n")
        assert connection.usable


async def test_a_long_request_on_a_slow_line_is_not_silence(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = FakeServer(nursery, window=1000)
    async with connected(server, timeout=1.0) as (connection, peer):
        await ask(connection, "a")
        server.gate = trio.Event()
        request = Request()
        connection.submit(request, INDEX, [get_tail(b"x" * 20_000)])
        async with trio.open_nursery() as slow:

            async def take() -> None:
                while True:
                    await trio.sleep(0.5)
                    peer.received += peer.transport.to_server
                    peer.transport.to_server.clear()
                    peer.transport.changed.unpark_all()
                    server.gate.set()

            slow.start_soon(take)
            await request.wait()
            slow.cancel_scope.cancel()
        assert request.answers == [b"0\t1\t" + b"x" * 20_000]


async def test_a_connection_is_stalled_before_its_timeout(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = FakeServer(nursery)
    async with connected(server, timeout=3.0) as (connection, _), trio.open_nursery() as callers:
        await ask(connection, "a")
        server.gate = trio.Event()
        callers.start_soon(ask, connection, "b")
        await trio.sleep(0.7)
        assert connection.stalled
        assert connection.usable
        server.gate.set()
        await trio.sleep(0.1)
        assert not connection.stalled


async def test_the_end_of_the_stream_fails_what_is_outstanding(nursery: trio.Nursery) -> None:
    server = FakeServer(nursery)
    async with connected(server) as (connection, peer), trio.open_nursery() as callers:
        await ask(connection, "a")
        server.gate = trio.Event()
        failed: list[Request] = []

        async def caller() -> None:
            failed.append(await fails(connection, b"x"))

        for _ in range(3):
            callers.start_soon(caller)
        await wait_all_tasks_blocked()
        peer.say(b"0\t1\tha")
        await wait_all_tasks_blocked()
        peer.end()
        await wait_all_tasks_blocked()
        assert len(failed) == 3
        for request in failed:
            assert request.sent_lines == 1
            assert "in the middle of an answer" in str(request.failure)


async def test_a_reset_connection_knows_what_was_never_sent(nursery: trio.Nursery) -> None:
    """The kernel took two and a half requests, so at most two were executed. Half a line never is."""
    server = FakeServer(nursery)
    async with connected(server) as (connection, peer):
        await ask(connection, "a")
        server.gate = trio.Event()
        blocker = Request()
        connection.submit(blocker, INDEX, [get_tail(b"_")])
        await wait_all_tasks_blocked()  # the server has read that, and now waits at the gate
        line = len(b"0\t=\t1\tx\n")
        peer.transport.window = line * 2 + line // 2
        requests = [Request() for _ in range(4)]
        for request in requests:
            connection.submit(request, INDEX, [get_tail(b"x")])
        await wait_all_tasks_blocked()
        peer.reset()
        await wait_all_tasks_blocked()
        assert blocker.sent_lines == 1
        assert [request.sent_lines for request in requests] == [1, 1, 0, 0]


async def test_a_request_into_a_stream_that_ended_unnoticed_is_not_sent(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = FakeServer(nursery)
    async with connected(server) as (connection, peer):
        await ask(connection, "a")
        await trio.sleep(60)
        sends = peer.transport.sends
        peer.end()  # before any task can notice it:
        request = Request()
        connection.submit(request, INDEX, [get_tail(b"b")])
        assert request.failure is not None
        assert request.sent_lines == 0
        assert peer.transport.sends == sends


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 200 OK\n", b"\n", b"\xff\xfe\n", b"0\n", b"x\t1\n", b"-1\t1\n"])
async def test_garbage_ends_the_connection(nursery: trio.Nursery, garbage: bytes) -> None:
    server = FakeServer(nursery)
    async with connected(server) as (connection, _):
        await ask(connection, "a")
        server.answer = lambda line: garbage
        assert isinstance((await fails(connection, b"b")).failure, ProtocolError)
        assert not connection.usable


async def test_an_unexpected_answer_ends_the_connection(nursery: trio.Nursery) -> None:
    server = FakeServer(nursery)
    async with connected(server) as (connection, peer):
        await ask(connection, "a")
        peer.say(b"0\t1\tx\n")
        await wait_all_tasks_blocked()
        assert isinstance(connection.reason, ProtocolError)


async def test_a_batch_that_breaks_keeps_the_answers_it_has(nursery: trio.Nursery) -> None:
    server = FakeServer(nursery)
    async with connected(server) as (connection, peer):
        await ask(connection, "a")
        left = 3

        def serve(line: bytes) -> bytes | None:
            nonlocal left
            left -= 1
            return echo(line) if left >= 0 else None

        server.answer = serve
        request = Request(5)
        connection.submit(request, INDEX, [get_tail(b"%d" % number) for number in range(5)])
        await wait_all_tasks_blocked()
        peer.end()
        await request.wait()
        assert request.answers == [answer(number) for number in range(3)]
        assert request.sent_lines == 5


async def test_a_trickle_that_completes_no_answer_counts_as_silence(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = FakeServer(nursery, answer=lambda line: None if line[:1].isdigit() else b"0\t1\n")
    async with connected(server, timeout=3.0) as (connection, peer):
        async with trio.open_nursery() as trickle:

            async def drip() -> None:
                peer.say(b"0\t1\t")
                while connection.usable:
                    await trio.sleep(0.1)
                    peer.say(b"x")

            trickle.start_soon(drip)
            with pytest.raises(TimeoutError):
                await ask(connection)
        assert 3.0 <= trio.current_time() <= 3.5


async def test_a_large_answer_on_a_slow_line_is_not_silence(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = FakeServer(nursery, answer=lambda line: None if line[:1].isdigit() else b"0\t1\n")
    async with connected(server, timeout=1.0) as (connection, peer), trio.open_nursery() as slow:
        request = Request()
        connection.submit(request, INDEX, [get_tail(b"x")])

        async def say() -> None:
            await wait_all_tasks_blocked()
            peer.say(b"0\t1\t")
            for _ in range(100):
                await trio.sleep(0.05)
                peer.say(b"x" * 2000)
            peer.say(b"\n")

        slow.start_soon(say)
        await request.wait()
        assert request.failure is None
        assert trio.current_time() > 4.9


@pytest.mark.parametrize("act", [FakeConnection.reset, FakeConnection.end])
async def test_a_stream_that_breaks_under_a_long_request(nursery: trio.Nursery, act: Callable[[FakeConnection], None]) -> None:
    """The kernel took half of it. The server runs whole lines only, so the request had no effect."""
    transport = MemoryTransport(100)
    peer = FakeConnection(transport)
    connection = Connection(transport, "fake", timeout=1, on_closed=lambda connection: None)
    nursery.start_soon(connection.run)
    await wait_all_tasks_blocked()
    request = Request()
    connection.submit(request, INDEX, [get_tail(b"x" * 1000)])
    await wait_all_tasks_blocked()
    assert len(transport.to_server) == 100
    act(peer)
    await request.wait()
    assert isinstance(request.failure, OSError)
    assert request.sent_lines == 0
