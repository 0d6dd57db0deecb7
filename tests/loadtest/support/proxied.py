"""A proxy, and a server before which it stands and that the test plays by hand."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from hs_drill.proxy._disturbances import (
    Bandwidth,
    Blackhole,
    Disturbance,
    DropReplies,
    Flapping,
    HalfOpen,
    IdleTimeout,
    Latency,
    Partition,
    ResetPeer,
)
from hs_drill.proxy._proxy import Proxy, open_proxy
from tests.support.patience import patience

SHORT = 0.1
"""Seconds in which nothing must arrive."""

RESET = "reset"
SILENCE = "silence"


class Target:
    """A server that the test plays by hand, and the clients of the proxy in front of it."""

    def __init__(self) -> None:
        self.proxy: Proxy
        self.port = 0
        self.listener: trio.socket.SocketType
        self._streams: list[trio.SocketStream] = []

    async def listen(self) -> None:
        self.listener = trio.socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(100)
        self.port = self.listener.getsockname()[1]

    async def accept(self) -> trio.SocketStream:
        with trio.fail_after(patience(5)):
            self._streams.append(trio.SocketStream((await self.listener.accept())[0]))
        return self._streams[-1]

    async def dial(self) -> trio.SocketStream:
        """A client's connection to the proxy."""
        with trio.fail_after(patience(5)):
            self._streams.append(await trio.open_tcp_stream("127.0.0.1", self.proxy.port))
        return self._streams[-1]

    async def is_refused(self) -> bool:
        try:
            await self.dial()
        except OSError:
            return True
        return False

    async def pair(self) -> tuple[trio.SocketStream, trio.SocketStream]:
        """Both ends of a new connection, which has carried a byte each way."""
        client = await self.dial()
        server = await self.accept()
        await client.send_all(b"?")
        assert await hear(server) == b"?"
        await server.send_all(b"!")
        assert await hear(client) == b"!"
        return client, server

    async def close(self) -> None:
        self.listener.close()
        for stream in self._streams:
            await trio.aclose_forcefully(stream)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@asynccontextmanager
async def playground(*, sql: bool = False) -> AsyncIterator[tuple[Proxy, Target]]:
    """A proxy, of HandlerSocket or SQL, and its target; afterwards no task and no socket of the proxy may be left."""
    tasks, files = trio.lowlevel.current_statistics().tasks_living, open_files()
    target = Target()
    await target.listen()
    try:
        with trio.fail_after(patience(60)):
            async with open_proxy("127.0.0.1", target.port, rng=random.Random(1), sql=sql) as target.proxy:
                yield target.proxy, target
    finally:
        with trio.CancelScope(shield=True):
            await target.close()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert open_files() == files


async def hear(stream: trio.SocketStream, seconds: float | None = None) -> bytes | str:
    """What comes next; b"" for the end of the stream. Without `seconds`, something must come."""
    with trio.move_on_after(patience(5) if seconds is None else seconds):
        try:
            return await stream.receive_some(65536)
        except trio.BrokenResourceError:
            return RESET
    return SILENCE


async def hear_all(stream: trio.SocketStream, size: int) -> bytes:
    data = b""
    with trio.fail_after(patience(15)):
        while len(data) < size:
            more = await stream.receive_some(1 << 20)
            assert more
            data += more
    return data


EVERY_DISTURBANCE: list[Disturbance] = [
    Partition(),
    Partition(new_connections="refuse"),
    Partition("upstream"),
    Latency(30, 1),
    Bandwidth(1),
    ResetPeer(),
    HalfOpen("client"),
    HalfOpen("server"),
    Blackhole(),
    DropReplies(0),
    IdleTimeout(30),
    Flapping(0.01, 0.01),
]
