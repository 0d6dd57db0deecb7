"""One of the embedded server's two listeners, with or without a socket."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import trio

from ._connection import ServerConnection
from ._streams import BreakableSocket, BreakableTransport


class Listener:
    """One of the two listeners: its connections, those with requests for its worker, and its socket, if any."""

    def __init__(self, writable: bool, secret: str | None) -> None:
        self.writable = writable
        self.secret = None if secret is None else secret.encode()
        self.connections: dict[ServerConnection, None] = {}
        self.ready: dict[ServerConnection, None] = {}
        self.wake = trio.lowlevel.ParkingLot()
        self.address: tuple[str, int] | str | None = None
        self.socket: trio.SocketListener | None = None

    def on_ready(self, connection: ServerConnection) -> None:
        self.ready[connection] = None
        self.wake.unpark_all()

    def open_socket(self, nursery: trio.Nursery, serve: Callable[[BreakableTransport, Listener], None]) -> None:
        """Listens on the address, if it has one, and calls ``serve`` with each stream. Raises OSError."""
        if self.address is not None and self.socket is None:
            sock = _listening_socket(self.address)
            if not isinstance(self.address, str):
                self.address = sock.getsockname()[:2]
            self.socket = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
            nursery.start_soon(self._accept, self.socket, serve)

    def close_socket(self) -> None:
        """Refuses connections until ``open_socket``."""
        if self.socket is not None:
            self.socket.socket.close()
            self.socket = None

    async def _accept(self, sockets: trio.SocketListener, serve: Callable[[BreakableTransport, Listener], None]) -> None:
        while True:
            try:
                stream = await sockets.accept()
            except (trio.ClosedResourceError, OSError):
                if self.socket is not sockets:
                    return
                await trio.sleep(0.1)  # for example, out of file descriptors
                continue
            serve(BreakableSocket(socket.socket(fileno=stream.socket.detach())), self)


def _listening_socket(address: tuple[str, int] | str) -> socket.socket:
    """A socket that listens on ``(host, port)``, or on the path of a unix socket. Raises OSError."""
    if isinstance(address, str):
        if sys.platform == "win32":
            raise OSError(f"this system has no unix sockets: listen on (host, port) instead of {address!r}")
        Path(address).unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":  # On Windows it would let another program listen on the same port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(256)
    except BaseException:
        sock.close()
        raise
    return sock
