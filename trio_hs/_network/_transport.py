"""The byte stream under a connection: non-blocking calls, and waiting only when the kernel says so.

The layers above use a stream only through :class:`Transport`, so that a simulation can put another one in its place.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import trio

from ._servers import Server

#: The most that is received at once. `Answers` copies what it keeps. (Measured: 64 KiB take a seventh more CPU per byte.)
RECEIVE_BYTES = 256 * 1024

#: Of Linux's `struct tcp_info`, up to the end of `tcpi_min_rtt`, in microseconds (since Linux 4.6).
_TCP_INFO_BYTES = 152


class Transport(Protocol):
    """A connected stream of bytes.

    It may have an attribute ``round_trip``: the shortest time to the other end and back in seconds, or None if it is not known.
    """

    def send(self, data: bytes | memoryview) -> int:
        """Sends what can be taken now, and returns how many bytes that was. Raises OSError when the stream is broken."""

    async def wait_sendable(self) -> None:
        """Returns when ``send`` may take bytes again."""

    def receive(self) -> bytes | None:
        """What has arrived, ``b""`` at the end of the stream, None if nothing is there. Raises OSError when it is broken."""

    async def wait_receivable(self) -> None:
        """Returns when ``receive`` would not return None."""

    def acknowledge(self) -> None:
        """Acknowledges now what was received. The other end may hold the rest back until then."""

    def close(self) -> None:
        """Ends the stream at once, in both directions. May be called again."""


#: An async function that connects to a server. OSError says that it failed.
Connect: TypeAlias = Callable[[Server], Awaitable[Transport]]


def acknowledge(tcp: socket.socket) -> None:
    """Makes the kernel acknowledge now what was received. It may wait for up to 40 ms for something to send. On Linux only."""
    if hasattr(socket, "TCP_QUICKACK"):
        try:
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except OSError:
            pass  # the stream is broken, which the next receive or send shows


def round_trip(tcp: socket.socket) -> float | None:
    """The shortest time in seconds that the kernel saw between a segment and its acknowledgement, whatever the processes at
    both ends were doing. None where the kernel does not say. On Linux only."""
    if sys.platform != "linux":
        return None
    try:
        info = tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return None
    microseconds = int.from_bytes(info[-4:], sys.byteorder) if len(info) == _TCP_INFO_BYTES else 0
    return microseconds / 1e6 if microseconds else None  # Linux never gives 0; what imitates it may


class SocketTransport:
    """A :class:`Transport` over a socket of the operating system.

    It bypasses trio's own stream, where each send and receive costs a pass of the scheduler.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6)

    @property
    def round_trip(self) -> float | None:
        """The shortest time to the other end and back, in seconds; None where the kernel does not say."""
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
    """Connects to a server: the default of ``connect=``.

    A checkpoint. Raises OSError when that fails. Cancellation leaves nothing open.
    """
    if not isinstance(server, Server):
        raise TypeError(f"server must be a trio_hs.Server, not {server!r}")
    if server.kind == "unix":
        unix = await trio.open_unix_socket(server.host)
        return SocketTransport(socket.socket(fileno=unix.socket.detach()))
    assert server.port is not None
    # A name may have several addresses; trio races them. Nagle's algorithm is off in what it returns.
    inet = await trio.open_tcp_stream(server.host, server.port)
    return SocketTransport(socket.socket(fileno=inet.socket.detach()))


def how_to_connect(connect: Connect | str) -> tuple[Connect, bool]:
    """The function that connects, and whether to connect at once. Raises ValueError for a word other than ``"eager"``."""
    if not isinstance(connect, str):
        return connect, False
    if connect != "eager":
        raise ValueError(f"connect must be 'eager', or an async function that takes a trio_hs.Server, not {connect!r}")
    return connect_transport, True
