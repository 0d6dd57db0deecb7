"""Streams that tests can break: in memory and over a socket."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Protocol

import trio

from .._network import SocketTransport, Transport

#: How many bytes one end takes before the other reads them, like a socket's buffer.
WINDOW_BYTES = 1 << 20


class BreakableTransport(Transport, Protocol):
    """A stream that can also end as if the network broke."""

    def reset(self) -> None:
        """Breaks the stream at both ends at once. Bytes that were not read are lost."""


class BreakableSocket(SocketTransport):
    """A stream over a socket."""

    def reset(self) -> None:
        # A socket that does not linger sends a reset when it is closed.
        if self._is_tcp and self._socket.fileno() != -1:
            # Windows has two shorts there.
            linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close()


class MemoryTransport:
    """One end of a stream in memory. It sends to its ``peer``."""

    peer: MemoryTransport

    def __init__(self, window: int) -> None:
        self._window = window
        self._received = bytearray()
        self._ended = False
        self._broken: OSError | None = None
        self._closed = False
        self._changed = trio.lowlevel.ParkingLot()

    def send(self, data: bytes | memoryview) -> int:
        self._check()
        peer = self.peer
        if peer._closed:
            raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))
        taken = min(len(data), self._window - len(peer._received))
        if taken > 0:
            peer._received += data[:taken]
            peer._changed.unpark_all()
        return max(taken, 0)

    async def wait_sendable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not self._closed and self._broken is None and not self.peer._closed and len(self.peer._received) >= self._window:
            await self._changed.park()

    def receive(self) -> bytes | None:
        self._check()
        if self._received:
            data = bytes(self._received)
            self._received.clear()
            self.peer._changed.unpark_all()
            return data
        return b"" if self._ended else None

    async def wait_receivable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not (self._closed or self._received or self._ended or self._broken):
            await self._changed.park()

    def _check(self) -> None:
        if self._broken is not None:
            raise self._broken
        if self._closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def acknowledge(self) -> None:
        """Does nothing: the other end holds nothing back."""

    def close(self) -> None:
        """The other end reads what was sent, and then the end of the stream."""
        if not self._closed:
            self._closed = True
            self.peer._ended = True
            self._wake()

    def reset(self) -> None:
        self._closed = True
        self.peer._received.clear()
        self.peer._broken = OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        self._wake()

    def _wake(self) -> None:
        self._changed.unpark_all()
        self.peer._changed.unpark_all()


def memory_stream(window: int = WINDOW_BYTES) -> tuple[MemoryTransport, MemoryTransport]:
    """A connected pair of streams."""
    one, other = MemoryTransport(window), MemoryTransport(window)
    one.peer, other.peer = other, one
    return one, other
