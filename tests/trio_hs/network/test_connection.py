"""The pipeline: order, coalescing, cancellation, bounds, silence. In memory and in virtual time."""

from __future__ import annotations

import socket
import statistics
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.trio_hs.support.fake import FakeConnection, FakeServer, MemoryTransport, echo
from trio_hs import ProtocolError, Server
from trio_hs._network import Connection, Request, connect_transport
from trio_hs._network._connection import FULL_UNITS
from trio_hs._protocol import Index, get_tail

INDEX = Index("d", "t", ["id"])
OTHER = Index("d", "u", ["id"])


@asynccontextmanager
async def connected(
    server: FakeServer, *, timeout: float = 3.0, max_outstanding: int = 1024
) -> AsyncIterator[tuple[Connection, FakeConnection]]:
    transport = await server.connect(Server("inet", "fake", 1))
    closed: list[Connection] = []
    connection = Connection(transport, "fake:1", timeout=timeout, on_closed=closed.append, max_outstanding=max_outstanding)
    await connection.authenticate(None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        await wait_all_tasks_blocked()
        yield connection, server.connections[-1]
        nursery.cancel_scope.cancel()
    assert closed == [connection]
    assert transport.closed
    assert connection.outstanding == 0


async def ask(connection: Connection, value: str = "x", index: Index = INDEX) -> bytes:
    """One request; its answer must be its own."""
    request = Request()
    connection.submit(request, index, [get_tail(value.encode())])
    await request.wait()
    if request.failure is not None:
        raise request.failure
    return request.answers[0]


def answer(value: object) -> bytes:
    return b"0\t1\t%b" % str(value).encode()


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


async def test_requests_that_become_ready_together_leave_together(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
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


class _Timed(MemoryTransport):
    """Notes when each piece was sent: a server on a processor of its own begins at that time, not when trio runs it."""

    def __init__(self, window: int) -> None:
        super().__init__(window)
        self.pieces: deque[tuple[float, bytes]] = deque()

    def send(self, data: bytes | memoryview) -> int:
        self.pieces.append((trio.current_time(), bytes(data)))
        self.changed.unpark_all()
        self.sends += 1
        return len(data)


class _Committing(FakeServer):
    """Answers at once all that has arrived by when it begins, after the time that a commit takes, as the real one does."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self.commit = 0.0
        self.batches: list[int] = []

    async def connect(self, server: Server) -> MemoryTransport:
        transport = _Timed(self.window)
        self.connections.append(FakeConnection(transport))
        self.nursery.start_soon(self._commit, transport)
        await trio.lowlevel.checkpoint()
        return transport

    async def _commit(self, transport: _Timed) -> None:
        now = 0.0
        while not transport.closed:
            if not transport.pieces:
                await transport.changed.park()
                continue
            now = max(now, transport.pieces[0][0])
            lines: list[bytes] = []
            while transport.pieces and transport.pieces[0][0] <= now:
                lines += transport.pieces.popleft()[1].splitlines()
            now += self.commit
            await trio.sleep_until(now)
            self.batches.append(len(lines))
            transport.to_client += b"".join(map(echo, lines))
            transport.changed.unpark_all()


@asynccontextmanager
async def busy_users(connection: Connection, clock: MockClock, *, tasks: int = 64) -> AsyncIterator[None]:
    """So many tasks that go on asking, each busy for 4 us between an answer and the next request."""

    async def user(number: int) -> None:
        while True:
            assert await ask(connection, str(number)) == answer(number)
            clock.jump(4e-6)

    async with trio.open_nursery() as users:
        for number in range(tasks):
            users.start_soon(user, number)
        yield
        users.cancel_scope.cancel()


async def test_a_quick_server_works_at_one_half_while_the_other_is_prepared(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = _Committing(nursery)
    async with connected(server) as (connection, _):
        server.commit = 50e-6
        async with busy_users(connection, autojump_clock):
            await trio.sleep(0.1)
        assert set(server.batches[-20:]) <= {31, 32, 33}


async def test_a_server_that_takes_longer_gets_everything_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Two halves would be two commits."""
    server = _Committing(nursery)
    async with connected(server) as (connection, _):
        server.commit = 1e-3
        async with busy_users(connection, autojump_clock):
            await trio.sleep(0.1)
        assert set(server.batches[-20:]) == {64}


async def test_two_groups_are_joined_when_the_server_becomes_slow_and_part_when_it_is_quick_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = _Committing(nursery)
    async with connected(server) as (connection, _):
        async with busy_users(connection, autojump_clock):
            for commit, groups in (50e-6, 2), (1e-3, 1), (50e-6, 2), (1e-3, 1):
                server.commit = commit
                await trio.sleep(0.2)
                assert statistics.mean(server.batches[-20:]) == pytest.approx(64 / groups, rel=0.05), commit


@asynccontextmanager
async def joining(nursery: trio.Nursery, clock: MockClock) -> AsyncIterator[tuple[Connection, FakeConnection]]:
    """A connection where what is queued waits until what was sent is answered; its callers have all gone."""
    server = _Committing(nursery)
    async with connected(server) as (connection, peer):
        server.commit = 50e-6
        async with busy_users(connection, clock):
            await trio.sleep(0.1)
            server.commit = 1e-3
            while not connection._joining:  # noqa: ASYNC110  (it tells nobody)
                await trio.sleep(1e-4)
        assert connection._joining
        yield connection, peer


async def test_what_waits_to_be_joined_is_sent_when_nobody_comes_back(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with joining(nursery, autojump_clock) as (connection, peer):
        request = Request()
        sends = peer.transport.sends
        connection.submit(request, INDEX, [get_tail(b"late")])
        assert peer.transport.sends == sends
        with trio.fail_after(0.1):
            await request.wait()
        assert list(request.answers) == [answer("late")]


async def test_what_waits_to_be_joined_was_not_sent(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with joining(nursery, autojump_clock) as (connection, peer):
        sent = connection.outstanding
        failed, withdrawn = Request(), Request()
        for request in failed, withdrawn:
            connection.submit(request, INDEX, [get_tail(b"late")])
        withdrawn.abandon()
        assert connection.outstanding == sent + 1
        peer.reset()
        await failed.wait()
        assert isinstance(failed.failure, ConnectionResetError)
        assert failed.sent_lines == 0


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
    """A server with Nagle's algorithm on, in one write per answer: the second waits until the first is acknowledged."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = await connect_transport(Server("inet", "127.0.0.1", listener.getsockname()[1]))
        server, _ = listener.accept()
    server.settimeout(5)
    connection = Connection(transport, "server", timeout=3.0, on_closed=lambda _: None)
    longest: list[float] = []
    with server, trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run)
            for number in range(20):
                requests = [Request(), Request()]
                for request in requests:
                    connection.submit(request, INDEX, [get_tail(b"x")])
                await wait_all_tasks_blocked()
                server.recv(1000)
                started = time.perf_counter()
                if not number:
                    server.send(b"0\t1\n")
                for request in requests:
                    server.send(b"0\t1\tx\n")
                    await request.wait()
                longest.append(time.perf_counter() - started)
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


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_cancelling_at_any_point_disturbs_nobody(data: st.DataObject) -> None:
    """Hundreds in flight, cancelled before they are sent, while they wait and as their answer arrives."""
    tasks = data.draw(st.integers(2, 120), label="tasks")
    bound = data.draw(st.sampled_from([1, 3, 16, 1024]), label="bound")
    window = data.draw(st.sampled_from([7, 50, 1 << 20]), label="window")
    victims = data.draw(st.sets(st.integers(0, tasks - 1)), label="victims")
    steps = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=6), label="steps")
    clock = MockClock(autojump_threshold=0)  # a hang shows as the connection's timeout, at once
    finished: list[int] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = FakeServer(nursery, window=window)
            async with connected(server, max_outstanding=bound) as (connection, _):
                scopes = {number: trio.CancelScope() for number in victims}

                async def user(number: int) -> None:
                    with scopes.get(number, trio.CancelScope()):
                        for turn in range(4):
                            name = f"{number}.{turn}"
                            assert await ask(connection, name) == answer(name)
                        finished.append(number)

                async def cancel() -> None:
                    for position, scope in enumerate(scopes.values()):
                        for _ in range(steps[position % len(steps)]):
                            await trio.lowlevel.checkpoint()
                        scope.cancel()

                async with trio.open_nursery() as users:
                    for number in range(tasks):
                        users.start_soon(user, number)
                    users.start_soon(cancel)
                # Whoever was cancelled left nothing that could reach another caller.
                for number in range(10):
                    assert await ask(connection, f"after {number}") == answer(f"after {number}")
                await wait_all_tasks_blocked()
                assert connection.usable
                assert connection.load == 0
                assert not connection._sent
                assert not connection._queue
            nursery.cancel_scope.cancel()

    trio.run(main, clock=clock)
    assert set(finished) >= set(range(tasks)) - victims


async def test_an_unsent_request_that_is_cancelled_is_never_sent(nursery: trio.Nursery) -> None:
    server = FakeServer(nursery)
    async with connected(server, max_outstanding=1) as (connection, _):
        await ask(connection, "open")
        server.gate = trio.Event()
        async with trio.open_nursery() as callers:
            callers.start_soon(ask, connection, "first")
            await wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                scope.cancel()
                await ask(connection, "second")
            assert scope.cancelled_caught
            server.gate.set()
        assert [line.split(b"\t")[-1] for line in server.requests] == [b"open", b"first"]


async def test_the_bound_holds_and_everyone_gets_a_turn(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
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


async def test_long_inserts_leave_together(nursery: trio.Nursery) -> None:
    """What arrives together shares a commit."""
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


async def test_a_request_that_stands_for_many_leaves_at_once(nursery: trio.Nursery) -> None:
    server = FakeServer(nursery)
    async with connected(server) as (connection, peer):
        await ask(connection, "open")
        before = peer.transport.sends
        server.gate = trio.Event()
        requests = [Request(), Request(), Request(units=FULL_UNITS)]
        for request in requests:
            connection.submit(request, INDEX, [get_tail(b"x")])
        assert connection.outstanding == 2 + FULL_UNITS
        assert peer.transport.sends == before + 2
        server.gate.set()
        await requests[-1].wait()


async def test_a_long_request_takes_its_share_of_the_bound(nursery: trio.Nursery) -> None:
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
    """Every request behind the refusal reports it, and the next one tries again."""
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


async def test_a_stalled_server_shows_before_its_timeout(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
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


async def fails(connection: Connection, value: bytes) -> Request:
    request = Request()
    connection.submit(request, INDEX, [get_tail(value)])
    await request.wait()
    assert request.failure is not None
    return request


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
    """The kernel took two requests and a half, so only these can have been carried out; half a line cannot."""
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
        peer.end()  # and in the same step, before any task could see it:
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


async def test_an_answer_that_nobody_asked_for_ends_the_connection(nursery: trio.Nursery) -> None:
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


async def test_memory_of_cancelled_requests_is_given_back(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Callers with short deadlines come again and again to a server that is stuck."""
    server = FakeServer(nursery)
    async with connected(server, timeout=1000.0, max_outstanding=10) as (connection, _):
        await ask(connection, "a")
        server.gate = trio.Event()
        for _ in range(2000):
            with trio.move_on_after(0.001):
                await ask(connection, "b")
        assert connection.load <= 11
        server.gate.set()
        await trio.sleep(1)
        assert connection.load == 0
        assert await ask(connection, "c") == answer("c")


def test_repr_says_what_a_person_on_call_needs() -> None:
    connection = Connection(MemoryTransport(100), "10.0.0.1:9998", timeout=1, on_closed=lambda connection: None)
    assert repr(connection) == "<Connection 10.0.0.1:9998 usable, 0 outstanding, 0 indexes>"
    connection.invalidate(OSError("pulled the plug"))
    assert repr(connection) == "<Connection 10.0.0.1:9998 closed: pulled the plug, 0 outstanding, 0 indexes>"


async def test_a_trickle_that_ends_no_answer_is_silence(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
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


async def test_a_large_answer_on_a_slow_line_is_no_silence(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
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


async def test_requests_that_are_announced_leave_in_one_call(nursery: trio.Nursery, mock_clock: MockClock) -> None:
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


@pytest.mark.parametrize("act", [FakeConnection.reset, FakeConnection.end])
async def test_a_stream_that_breaks_under_a_long_request(nursery: trio.Nursery, act: Callable[[FakeConnection], None]) -> None:
    """Half of it is with the kernel: the server runs whole lines only, so it had no effect."""
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
