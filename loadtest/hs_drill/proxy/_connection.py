"""One connection through a proxy: two pumps, and what becomes of them when a fault breaks the stream.

A pump has a short way, one receive and one send with nothing between them, and a long way, a queue that a second task
empties, which it takes only while a fault delays bytes. The shared state of a direction is its `Lane`.

The short way was measured to add some 40 µs to a round trip over loopback, and to carry 600 to 900 MB/s, on two busy cores.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import trio

from ._disturbances import Disturbance, DropReplies
from ._lane import BUFFER_BYTES, Lane
from ._replies import Count, Replies

__all__ = ["Connection"]

MAX_QUEUED = 4 * 1024 * 1024
"""Bytes that a pump keeps while they are delayed; then it stops reading, and the sender feels it."""
LINGER_SECONDS = 1.0
"""How long the server may still work on what it was sent before its answers were cut off."""


class _Pump:
    """Moves one direction's bytes from one socket to the other."""

    def __init__(self, lane: Lane, source: socket.socket, sink: socket.socket, on_cut: Callable[[], None]) -> None:
        self.bytes = 0
        self.at_boundary = True
        self.inspect: Callable[[bytes], tuple[bytes, bool]] | None = None
        """Says what to pass on of what came (`b""` is the end), and whether the connection is to be cut behind it."""
        self._lane = lane
        self._source = source
        self._sink = sink
        self._on_cut = on_cut
        self._queue: deque[tuple[tuple[int, float], bytes, Callable[[], None] | None]] = deque()
        self._queued = 0
        self._room = trio.Event()

    async def run(self, nursery: trio.Nursery) -> None:
        """Until the source ends, which is passed on. OSError when a side is broken; ClosedResourceError when we closed it."""
        lane, buffer = self._lane, self._lane.buffer
        view = memoryview(buffer)
        end: Callable[[], None] | None = None
        while end is None:
            await _readable(self._source)
            if lane.held:
                await lane.opened()
            try:
                size = self._source.recv_into(buffer)
            except (BlockingIOError, InterruptedError):
                continue
            data: bytes | memoryview = view[:size]
            if size:
                # Else a server that leaves Nagle's algorithm on, as HandlerSocket does, would seem slow by up to 40 ms.
                _acknowledge(self._source)
                self.bytes += size
                lane.bytes += size
                self.at_boundary = buffer[size - 1] == 10
            else:
                end = self._finish
            if self.inspect is not None:
                data, cut = self.inspect(bytes(data))
                end = self._on_cut if cut else end
            if lane.delays or self._queue:
                await self._enqueue(bytes(data), end, nursery)
            else:
                if data and (sent := self._send_some(data)) < len(data):
                    await self._send(bytes(data[sent:]))
                if end is not None:
                    await lane.opened()
                    end()

    async def _enqueue(self, data: bytes, end: Callable[[], None] | None, nursery: trio.Nursery) -> None:
        self._queue.append((self._lane.due(), data, end))
        self._queued += len(data)
        if len(self._queue) == 1:
            nursery.start_soon(self._drain)
        while self._queued > MAX_QUEUED:
            self._room = trio.Event()
            await self._room.wait()

    async def _drain(self) -> None:
        while self._queue:
            due, data, end = self._queue[0]
            await self._lane.wait_due(due)
            rest = memoryview(data)
            while rest:
                size = await self._lane.transmit(len(rest))
                await self._send(rest[:size])
                rest = rest[size:]
            if end is not None:
                await self._lane.opened()
                end()
            self._queue.popleft()  # only now: while something is here, nothing takes the short way past it
            self._queued -= len(data)
            self._room.set()

    async def _send(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            if self._lane.held:
                await self._lane.opened()
            if sent := self._send_some(rest):
                rest = rest[sent:]
            else:
                await trio.lowlevel.wait_writable(self._sink)

    def _send_some(self, data: bytes | memoryview) -> int:
        try:
            return self._sink.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    def _finish(self) -> None:
        self._sink.shutdown(socket.SHUT_WR)


class Connection:
    """A client's connection and the one to the server that is made for it.

    Attributes:
      broken_by: the fault that has made it lose bytes, so that it cannot be healed; None while it is whole.
      cut: True when it was ended on purpose, to lose an answer.
      unreachable: True when the server could not be connected to; the client got a RST.
    """

    def __init__(
        self, client: socket.socket, connect: Callable[[], Awaitable[socket.socket]], upstream: Lane, downstream: Lane
    ) -> None:
        self.broken_by: Disturbance | None = None
        self.cut = False
        self.unreachable = False
        self._client = client
        self._server: socket.socket | None = None
        self._connect = connect
        self._lanes = (upstream, downstream)
        self._pumps: tuple[_Pump, _Pump] | None = None
        self._replies = Replies()
        self._drops: list[tuple[DropReplies, Count]] = []
        self._forwarding = trio.CancelScope()
        self._swallowing = trio.CancelScope()
        self._kept: list[socket.socket] = []

    async def run(self) -> None:
        """Carries it until it ends. Cancelled or not, both sockets are closed afterwards."""
        try:
            try:
                with self._forwarding:
                    await self._forward()
            except* (OSError, trio.ClosedResourceError):
                if self.broken_by is None:  # it was not us who closed a socket: what one side saw, the other sees
                    self.reset()
            try:
                if self._kept:
                    with self._swallowing:
                        await self._swallow()
            except* (OSError, trio.ClosedResourceError):
                self.reset()
        finally:
            for sock in self._sockets:
                _close(sock)

    def reset(self) -> None:
        """RST to both sides, now."""
        for sock in self._sockets:
            _reset(sock)
        self._forwarding.cancel()
        self._swallowing.cancel()

    def close(self) -> None:
        """End it in order, on both sides."""
        self._forwarding.cancel()

    @property
    def passed(self) -> int:
        """How many bytes have passed, both ways."""
        return sum(pump.bytes for pump in self._pumps or ())

    def lose(self, side: str | None, fault: Disturbance) -> None:
        """`side` is gone (None: neither): its socket is reset, and what comes from those that are left is swallowed."""
        self._break_off([self._client] if side == "server" else [self._server] if side == "client" else self._sockets, fault)

    def drop_replies(self, fault: DropReplies, total: Count) -> None:
        """Begin to lose answers."""
        self._drops.append((fault, total))
        if self._pumps is not None:
            self._arm(fault, total)

    def stop_dropping(self, fault: DropReplies) -> None:
        """Lose no more of them by this fault."""
        self._drops = [drop for drop in self._drops if drop[0] is not fault]
        self._replies.disarm(fault)

    @property
    def _sockets(self) -> list[socket.socket]:
        return [self._client] if self._server is None else [self._client, self._server]

    async def _forward(self) -> None:
        try:
            self._server = server = await self._connect()
        except OSError:
            # A refused connection cannot be imitated any more: the kernel has accepted the client's.
            self.unreachable = True
            raise
        upstream, downstream = self._lanes
        self._pumps = _Pump(upstream, self._client, server, self._cut), _Pump(downstream, server, self._client, self._cut)
        for drop in self._drops:
            self._arm(*drop)
        async with trio.open_nursery() as nursery:
            for pump in self._pumps:
                nursery.start_soon(pump.run, nursery)

    def _arm(self, fault: DropReplies, total: Count) -> None:
        assert self._pumps is not None
        upstream, downstream = self._pumps
        self._replies.arm(fault, total, fresh=not upstream.bytes, at_boundary=downstream.at_boundary)
        upstream.inspect = self._see_requests
        downstream.inspect = self._see_answers

    def _see_requests(self, data: bytes) -> tuple[bytes, bool]:
        self._replies.requests(data)
        return data, False

    def _see_answers(self, data: bytes) -> tuple[bytes, bool]:
        return self._replies.answers(data) if data else (self._replies.rest(), False)

    def _cut(self) -> None:
        """Ends the client's side where an answer is lost. The server may still carry out what it was sent."""
        fault = self._replies.lost_by
        assert fault is not None
        assert self._server is not None
        self.cut = True
        self._swallowing.deadline = trio.current_time() + LINGER_SECONDS
        if fault.end == "reset":
            self._break_off([self._server], fault)
        else:
            self._client.shutdown(socket.SHUT_WR)
            self._break_off(self._sockets, fault)
        self._server.shutdown(socket.SHUT_WR)

    def _break_off(self, kept: Sequence[socket.socket | None], fault: Disturbance) -> None:
        """Ends the forwarding, resets the sockets that are not kept, and swallows what comes from those that are."""
        self.broken_by = fault
        self._kept = [sock for sock in kept if sock is not None and sock.fileno() != -1]
        for sock in self._sockets:
            if sock not in self._kept:
                _reset(sock)
        self._forwarding.cancel()

    async def _swallow(self) -> None:
        first, *others = self._kept  # the client, if it is kept: when it has gone, nobody needs the rest
        async with trio.open_nursery() as nursery:
            for sock in others:
                nursery.start_soon(_discard, sock)
            await _discard(first)
            nursery.cancel_scope.cancel()


async def _readable(sock: socket.socket) -> None:
    # Whoever closes a socket cancels its tasks, but one that was just going to wait would do so on a closed socket.
    await trio.lowlevel.checkpoint_if_cancelled()
    await trio.lowlevel.wait_readable(sock)


async def _discard(sock: socket.socket) -> None:
    scratch = bytearray(BUFFER_BYTES)
    while True:
        await _readable(sock)
        try:
            if not sock.recv_into(scratch):
                return
        except (BlockingIOError, InterruptedError):
            pass


def _acknowledge(sock: socket.socket) -> None:
    """Make the kernel acknowledge what was received now; it may wait for up to 40 ms. On Linux only."""
    if hasattr(socket, "TCP_QUICKACK"):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except OSError:
            pass  # the connection is broken, which the next receive or send shows


def _close(sock: socket.socket) -> None:
    if sock.fileno() != -1:
        trio.lowlevel.notify_closing(sock)
        sock.close()


def _reset(sock: socket.socket) -> None:
    if sock.fileno() != -1:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        _close(sock)
