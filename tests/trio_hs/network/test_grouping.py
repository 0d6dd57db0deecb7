"""Requests of many tasks are sent in one group or in two, depending on how long a commit takes."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from tests.trio_hs.support.connections import INDEX, answer, ask, connected
from tests.trio_hs.support.fake import FakeConnection, FakeServer, MemoryTransport, echo
from trio_hs import Server
from trio_hs._network import Connection, Request
from trio_hs._protocol import get_tail


class _Timed(MemoryTransport):
    """Records when each piece was sent. A server with its own processor begins then, not when trio runs it."""

    def __init__(self, window: int) -> None:
        super().__init__(window)
        self.pieces: deque[tuple[float, bytes]] = deque()

    def send(self, data: bytes | memoryview) -> int:
        self.pieces.append((trio.current_time(), bytes(data)))
        self.changed.unpark_all()
        self.sends += 1
        return len(data)


class _Committing(FakeServer):
    """As the real server does, answers together everything that has arrived when it begins, after the time of one commit."""

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
    """This many tasks send requests in a loop, each busy for 4 us between an answer and the next request."""

    async def user(number: int) -> None:
        while True:
            assert await ask(connection, str(number)) == answer(number)
            clock.jump(4e-6)

    async with trio.open_nursery() as users:
        for number in range(tasks):
            users.start_soon(user, number)
        yield
        users.cancel_scope.cancel()


async def test_a_quick_server_gets_requests_in_two_groups(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = _Committing(nursery)
    async with connected(server) as (connection, _):
        server.commit = 50e-6
        async with busy_users(connection, autojump_clock):
            await trio.sleep(0.1)
        assert set(server.batches[-20:]) <= {31, 32, 33}


async def test_a_slow_server_gets_requests_in_one_group(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Two groups would cost two commits."""
    server = _Committing(nursery)
    async with connected(server) as (connection, _):
        server.commit = 1e-3
        async with busy_users(connection, autojump_clock):
            await trio.sleep(0.1)
        assert set(server.batches[-20:]) == {64}


async def test_groups_join_when_the_server_becomes_slow_and_part_when_it_is_quick_again(
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
    """A connection whose queued requests wait for the answers to the sent ones. All its callers are gone."""
    server = _Committing(nursery)
    async with connected(server) as (connection, peer):
        server.commit = 50e-6
        async with busy_users(connection, clock):
            await trio.sleep(0.1)
            server.commit = 1e-3
            while not connection._joining:  # noqa: ASYNC110  (no event is set for it)
                await trio.sleep(1e-4)
        assert connection._joining
        yield connection, peer


async def test_requests_waiting_to_join_are_sent_when_no_task_comes_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with joining(nursery, autojump_clock) as (connection, peer):
        request = Request()
        sends = peer.transport.sends
        connection.submit(request, INDEX, [get_tail(b"late")])
        assert peer.transport.sends == sends
        with trio.fail_after(0.1):
            await request.wait()
        assert list(request.answers) == [answer("late")]


async def test_requests_waiting_to_join_count_as_unsent(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
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
