"""The byte stream under a connection: non-blocking calls first, waiting only when the kernel says so.

Everything above this file meets a stream through :class:`Transport` alone, so a simulation can put another in its place.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import trio

from ._servers import Server

RECEIVE_BYTES = 256 * 1024

#: Of Linux's `struct tcp_info`, up to the end of `tcpi_min_rtt`, in microseconds (since Linux 4.6).
_TCP_INFO_BYTES = 152


class Transport(Protocol):
    """A connected stream of bytes.

    It may have an attribute ``round_trip``: the seconds to the other end and back at the least, or None when that is not known.
    """

    def send(self, data: bytes | memoryview) -> int:
        """Hands over what can be taken now and says how many bytes that was (0 when none). OSError when it is broken."""

    async def wait_sendable(self) -> None:
        """Returns when ``send`` may take something again."""

    def receive(self) -> bytes | None:
        """What has arrived, ``b""`` at the end of the stream, None when nothing is there. OSError when it is broken."""

    async def wait_receivable(self) -> None:
        """Returns when ``receive`` has something to say."""

    def acknowledge(self) -> None:
        """Tells the other end now that what ``receive`` gave has arrived: it may hold the rest back until it knows."""

    def close(self) -> None:
        """Ends the stream at once, in both directions. May be called again."""


#: Connects to a server. Raises OSError when that fails.
Connect: TypeAlias = Callable[[Server], Awaitable[Transport]]


def acknowledge(tcp: socket.socket) -> None:
    """Has the kernel acknowledge now what was received; it would wait for something to send, up to 40 ms. On Linux only."""
    if hasattr(socket, "TCP_QUICKACK"):
        try:
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except OSError:
            pass  # it is broken, which the next call that matters tells


def round_trip(tcp: socket.socket) -> float | None:
    """Seconds that the kernel saw a segment and its acknowledgement take at the least, whatever the processes at both ends were
    doing then. None where it does not tell. On Linux only."""
    if sys.platform != "linux":
        return None
    try:
        info = tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return None
    microseconds = int.from_bytes(info[-4:], sys.byteorder) if len(info) == _TCP_INFO_BYTES else 0
    return microseconds / 1e6 if microseconds else None  # Linux has no 0; what passes for it may


class SocketTransport:
    """A :class:`Transport` over a socket of the operating system.

    It goes beneath trio's own stream, whose every send and receive costs a pass of the scheduler.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6)

    @property
    def round_trip(self) -> float | None:
        """Seconds to the other end and back at the least; None where the kernel does not tell."""
        return round_trip(self._socket) if self._is_tcp else 0.0

    def send(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    async def wait_sendable(self) -> None:
        await trio.lowlevel.wait_writable(self._socket)

    def receive(self) -> bytes | None:
        try:
            return self._socket.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return None

    async def wait_receivable(self) -> None:
        await trio.lowlevel.wait_readable(self._socket)

    def acknowledge(self) -> None:
        if self._is_tcp:
            acknowledge(self._socket)

    def close(self) -> None:
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


async def connect_transport(server: Server) -> Transport:
    """Connects to a server. OSError says why that failed; cancellation leaves nothing open."""
    if server.kind == "unix":
        unix = await trio.open_unix_socket(server.host)
        return SocketTransport(socket.socket(fileno=unix.socket.detach()))
    assert server.port is not None
    # A name may have several addresses; trio races them. Nagle's algorithm is off in what it returns.
    inet = await trio.open_tcp_stream(server.host, server.port)
    return SocketTransport(socket.socket(fileno=inet.socket.detach()))
