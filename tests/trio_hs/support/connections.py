"""One connection of the client to a fake server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import wait_all_tasks_blocked

from tests.trio_hs.support.fake import FakeConnection, FakeServer
from trio_hs import Server
from trio_hs._network import Connection, Request
from trio_hs._protocol import Index, get_tail

INDEX = Index("d", "t", ["id"])
OTHER = Index("d", "u", ["id"])


@asynccontextmanager
async def connected(
    server: FakeServer, *, timeout: float = 3.0, max_outstanding: int = 1024
) -> AsyncIterator[tuple[Connection, FakeConnection]]:
    """A running connection, and the server's side of it. At its end it must be closed, with nothing outstanding."""
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
    """Send one request, and return its answer."""
    request = Request()
    connection.submit(request, index, [get_tail(value.encode())])
    await request.wait()
    if request.failure is not None:
        raise request.failure
    return request.answers[0]


def answer(value: object) -> bytes:
    """The fake server's answer to a find by this key."""
    return b"0\t1\t%b" % str(value).encode()


async def fails(connection: Connection, value: bytes) -> Request:
    """Send one request, which must fail."""
    request = Request()
    connection.submit(request, INDEX, [get_tail(value)])
    await request.wait()
    assert request.failure is not None
    return request
