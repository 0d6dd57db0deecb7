"""How the client reaches the servers: in memory, sometimes not at all, sometimes a few bytes at a time."""

from __future__ import annotations

import random

import trio

from trio_hs import Server
from trio_hs._network import Connect, Transport


class Tracked:
    """A stream that knows whether the client closed it, and that may be narrow.

    A narrow one takes ``width`` bytes and then none for ``pause`` seconds, so that a request can be cut in the middle of a
    line. It also delivers what arrived in pieces of that size. The client learns ``lag`` seconds late that something has
    arrived, so it may send into a stream that has ended.
    """

    def __init__(self, inner: Transport, width: int | None, pause: float, lag: float) -> None:
        self.closed = False
        self._inner = inner
        self._width = width
        self._pause = pause
        self._lag = lag
        self._free_at = 0.0
        self._arrived = b""
        if width is None:  # these are called most, so skip the methods below
            self.send = inner.send  # type: ignore[method-assign]
            self.receive = inner.receive  # type: ignore[method-assign]

    def send(self, data: bytes | memoryview) -> int:
        if trio.current_time() < self._free_at:
            return self._inner.send(b"")
        taken = self._inner.send(data[: self._width])
        self._free_at = trio.current_time() + self._pause
        return taken

    async def wait_sendable(self) -> None:
        await trio.sleep_until(self._free_at)
        if not self.closed:
            await self._inner.wait_sendable()

    def receive(self) -> bytes | None:
        if not self._arrived:
            received = self._inner.receive()
            if not received:
                return received
            self._arrived = received
        piece, self._arrived = self._arrived[: self._width], self._arrived[self._width :]
        return piece

    async def wait_receivable(self) -> None:
        if self._arrived:
            await trio.lowlevel.checkpoint()
        else:
            await self._inner.wait_receivable()
            if self._lag:
                await trio.sleep(self._lag)

    def acknowledge(self) -> None:
        self._inner.acknowledge()

    def close(self) -> None:
        self.closed = True
        self._inner.close()


class Network:
    """``connect`` for the client.

    Attributes:
      unreachable: names of servers for which packets are lost: an attempt to connect hangs.
      streams: those that the client opened and has not closed.
    """

    def __init__(self, connect: Connect, narrow: float, rng: random.Random) -> None:
        self.unreachable: set[str] = set()
        self._connect = connect
        self._narrow = narrow
        self._random = rng
        self._streams: list[Tracked] = []

    @property
    def streams(self) -> list[Tracked]:
        self._streams = [stream for stream in self._streams if not stream.closed]
        return self._streams

    async def connect(self, server: Server) -> Transport:
        if server.host in self.unreachable:
            await trio.sleep_forever()
        inner = await self._connect(server)
        width = self._random.randint(1, 200) if self._random.random() < self._narrow else None
        lag = self._random.choice((0.0, 0.0, 0.0, 0.001, 0.02))
        stream = Tracked(inner, width, self._random.choice((0.0, 0.001, 0.01)), lag)
        self._streams.append(stream)
        return stream
