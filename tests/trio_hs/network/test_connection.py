"""Pipelining on one connection: order, what shares a send, and bounds. In memory and in virtual time."""

from __future__ import annotations

import socket
import statistics
import time

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.patience import patience
from tests.support.scheduling import scheduling_delay
from tests.trio_hs.support.connections import INDEX, OTHER, answer, ask, connected
from tests.trio_hs.support.fake import FakeServer, MemoryTransport, echo
from trio_hs import Server
from trio_hs._network import Connection, Request, connect_transport
from trio_hs._network._connection import FULL_UNITS
from trio_hs._protocol import Index, get_tail


async def test_a_request_opens_its_index_in_the_same_send_and_only_once(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    server = FakeServer(nursery)
    async with connected(server) as (connection, peer):
        sends = peer.transport.sends
        assert await ask(connection, "a") == answer("a")
        assert peer.transport.sends == sends + 1
        assert await ask(connection, "b") == answer("b")
        assert await ask(connection, "c", OTHER) == answer("c")
        assert server.lines[1:] == [
            b"P\t0\td\tt\tPRIMARY\tid", b"0\t=\t1\ta", b"0\t=\t1\tb", b"P\t1\td\tu\tPRIMARY\tid", b"1\t=\t1\tc",
        ]  # fmt: skip


async def test_requests_that_become_ready_together_share_a_send(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = FakeServer(nursery)
    rounds = 20
    async with connected(server) as (connection, peer):

        async def user(number: int) -> None:
            for turn in range(rounds):
                assert await ask(connection, f"{number}-{turn}") == answer(f"{number}-{turn}")

        await ask(connection, "first")
        server.gate = trio.Event()
        before = peer.transport.sends
        async with trio.open_nursery() as users:
            for number in range(50):
                users.start_soon(user, number)
            await wait_all_tasks_blocked()
            server.gate.set()
        # The first round has no answers to wait for. The fake server may answer in several pieces.
        assert peer.transport.sends - before <= 50 + rounds * 4


async def test_a_lone_request_is_sent_before_its_task_waits(nursery: trio.Nursery) -> None:
    server = FakeServer(nursery)
    async with connected(server) as (connection, peer):
        await ask(connection, "a")
        request = Request()
        connection.submit(request, INDEX, [get_tail(b"b")])
        assert bytes(peer.transport.to_server) == b"0\t=\t1\tb\n"
        await request.wait()


async def test_answers_are_acknowledged_at_once_while_more_are_due(nursery: trio.Nursery) -> None:
    """The server holds further answers back until then (Nagle's algorithm)."""
    server = FakeServer(nursery, lambda line: None if line.startswith(b"0\t=") else echo(line))
    async with connected(server) as (connection, peer):
        requests = [Request() for _ in range(3)]
        for request in requests:
            connection.submit(request, INDEX, [get_tail(b"x")])
        await wait_all_tasks_blocked()
        for acknowledged, request in enumerate(requests[:2], 1):
            peer.say(b"0\t1\tx\n")
            await request.wait()
            assert peer.transport.acknowledged == acknowledged + 1  # the first was for the index that opened
        peer.say(b"0\t1\tx\n")
        await requests[2].wait()
        assert peer.transport.acknowledged == 3


async def test_no_answer_waits_for_a_delayed_acknowledgement() -> None:
    """A server with Nagle's algorithm sends each answer separately: the second waits for the first one's acknowledgement."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = await connect_transport(Server("inet", "127.0.0.1", listener.getsockname()[1]))
        server, _ = listener.accept()
    server.settimeout(patience(5))
    connection = Connection(transport, "server", timeout=60.0, on_closed=lambda _: None)
    longest: list[float] = []
    with server, trio.fail_after(patience(20)), scheduling_delay() as waited:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run)
            for number in range(20):
                requests = [Request(), Request()]
                for request in requests:
                    connection.submit(request, INDEX, [get_tail(b"x")])
                await wait_all_tasks_blocked()
                server.recv(1000)
                started = time.perf_counter() - waited()
                if not number:
                    server.send(b"0\t1\n")
                for request in requests:
                    server.send(b"0\t1\tx\n")
                    await request.wait()
                longest.append(time.perf_counter() - waited() - started)
            nursery.cancel_scope.cancel()
    assert statistics.median(longest) < 0.03


async def test_a_batch_gets_its_answers_in_order(nursery: trio.Nursery) -> None:
    server = FakeServer(nursery)
    async with connected(server) as (connection, _):
        batch = Request(500)
        connection.submit(batch, INDEX, [get_tail(b"%d" % number) for number in range(500)])
        single = Request()
        connection.submit(single, INDEX, [get_tail(b"x")])
        await single.wait()
        assert batch.answers == [answer(number) for number in range(500)]
        assert single.answers == [answer("x")]


async def test_outstanding_requests_are_bounded_and_every_task_gets_a_turn(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = FakeServer(nursery)
    worst = 0
    async with connected(server, max_outstanding=10) as (connection, _):

        async def user(number: int) -> None:
            nonlocal worst
            for turn in range(20):
                assert await ask(connection, f"{number}.{turn}") == answer(f"{number}.{turn}")
                worst = max(worst, connection.outstanding)

        async with trio.open_nursery() as users:
            for number in range(200):
                users.start_soon(user, number)
    assert worst <= 11  # one more for the opening of the index


async def test_long_inserts_share_a_send(nursery: trio.Nursery) -> None:
    """Requests that arrive together share a commit."""
    server = FakeServer(nursery)
    async with connected(server) as (connection, peer):
        await ask(connection, "open")
        before = peer.transport.sends
        server.gate = trio.Event()
        requests = [Request() for _ in range(10)]
        for request in requests:
            connection.submit(request, INDEX, [b"\t+\t1\t" + b"x" * 3000 + b"\n"])
        await wait_all_tasks_blocked()
        assert peer.transport.sends == before + 2  # the first finds the connection idle
        server.gate.set()
        await requests[-1].wait()


async def test_a_request_that_counts_as_many_is_sent_at_once(nursery: trio.Nursery) -> None:
    server = FakeServer(nursery)
    async with connected(server) as (connection, peer):
        await ask(connection, "open")
        before = peer.transport.sends
        server.gate = trio.Event()
        requests = [Request(), Request(), Request()]
        requests[2].units = FULL_UNITS
        for request in requests:
            connection.submit(request, INDEX, [get_tail(b"x")])
        assert connection.outstanding == 2 + FULL_UNITS
        assert peer.transport.sends == before + 2
        server.gate.set()
        await requests[-1].wait()


async def test_a_long_request_counts_as_several(nursery: trio.Nursery) -> None:
    server = FakeServer(nursery)
    async with connected(server, max_outstanding=4) as (connection, _):
        await ask(connection, "open")
        server.gate = trio.Event()
        long, short = Request(), Request()
        connection.submit(long, INDEX, [get_tail(b"x" * 40_000)])
        connection.submit(short, INDEX, [get_tail(b"y")])
        assert connection.outstanding == 1 + 40_000 // 4096
        assert connection.load == connection.outstanding + 1
        server.gate.set()
        await short.wait()
        assert connection.load == 0


async def test_an_index_that_cannot_be_opened(nursery: trio.Nursery) -> None:
    """Every request after the refusal reports it, and the next request tries again."""
    exists = False

    def serve(line: bytes) -> bytes:
        if line[:1] == b"P" and b"\tu\t" in line and not exists:
            return b"1\t1\topen_table\n"
        if line[:2] == b"0\t" and not exists:
            return b"2\t1\tstmtnum\n"
        return echo(line)

    server = FakeServer(nursery, serve)
    async with connected(server) as (connection, _):
        requests = [Request() for _ in range(3)]
        for request in requests:
            connection.submit(request, OTHER, [get_tail(b"a")])
        for request in requests:
            await request.wait()
            assert request.error(request.answers[0]) == (1, "open_table")
        exists = True
        assert await ask(connection, "b", OTHER) == answer("b")
        assert await ask(connection, "c", INDEX) == answer("c")


def test_repr_shows_the_connections_state() -> None:
    connection = Connection(MemoryTransport(100), "10.0.0.1:9998", timeout=1, on_closed=lambda connection: None)
    assert repr(connection) == "<Connection 10.0.0.1:9998 usable, 0 outstanding, 0 indexes>"
    connection.invalidate(OSError("pulled the plug"))
    assert repr(connection) == "<Connection 10.0.0.1:9998 closed: pulled the plug, 0 outstanding, 0 indexes>"


async def test_requests_announced_by_more_share_a_send(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    server = FakeServer(nursery)
    async with connected(server) as (connection, peer):
        await ask(connection)
        before = peer.transport.sends
        requests = [Request() for _ in range(5)]
        for number, request in enumerate(requests):
            connection.submit(request, INDEX, [get_tail(b"%d" % number)], more=number < 4)
        for number, request in enumerate(requests):
            await request.wait()
            assert request.answers == [answer(number)]
        assert peer.transport.sends == before + 1


async def test_a_connection_with_very_many_indexes_is_worn(
    nursery: trio.Nursery, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_hs._network._connection.MAX_OPENED", 3)
    server = FakeServer(nursery)
    async with connected(server) as (connection, _):
        for number in range(2):
            await ask(connection, index=Index("d", f"t{number}", ["id"]))
        assert not connection.worn
        await ask(connection, index=Index("d", "t2", ["id"]))
        assert connection.worn
