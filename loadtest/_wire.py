"""Messages between Locust's process and its children: a 4-byte big-endian length, then msgpack.

Locust's side is plain blocking sockets, which gevent has patched; the children's side is trio. Neither imports the other's.
"""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import msgpack

if TYPE_CHECKING:
    import trio

__all__ = ["BlockingChannel", "Decoder", "Message", "TrioChannel", "WireError", "encode"]

Message = dict[str, Any]

HEADER = 4
MAX_MESSAGE = 64 * 1024 * 1024
CHUNK = 256 * 1024


class WireError(Exception):
    """The other side sent what is no message. Nothing after it can be trusted."""


def encode(message: Message) -> bytes:
    """One message as bytes."""
    body: bytes = msgpack.packb(message)
    return len(body).to_bytes(HEADER, "big") + body


class Decoder:
    """Puts messages together from bytes that arrive in any portions."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray) -> None:
        self._buffer += data

    def next(self) -> Message | None:
        """The next complete message, or None until more bytes are fed. Raises `WireError`."""
        buffer = self._buffer
        if len(buffer) < HEADER:
            return None
        end = HEADER + int.from_bytes(buffer[:HEADER], "big")
        if end > HEADER + MAX_MESSAGE:
            raise WireError(f"a message of {end - HEADER} bytes")
        if len(buffer) < end:
            return None
        try:
            message = msgpack.unpackb(memoryview(buffer)[HEADER:end].tobytes(), strict_map_key=False)
        except (ValueError, msgpack.UnpackException) as error:
            raise WireError(f"not msgpack: {error}") from error
        del buffer[:end]
        if not isinstance(message, dict):
            raise WireError(f"a message is a map, not {type(message).__name__}")
        return message


class BlockingChannel:
    """Locust's end. Any greenlet may send; one receives."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._decoder = Decoder()
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        """Send one message. Raises `OSError` when the child is gone."""
        data = encode(message)
        with self._sending:
            self._socket.sendall(data)

    def receive(self) -> Message | None:
        """The next message, or None when the child has closed its end. Raises `WireError`."""
        while True:
            message = self._decoder.next()
            if message is not None:
                return message
            try:
                data = self._socket.recv(CHUNK)
            except OSError:
                return None
            if not data:
                return None
            self._decoder.feed(data)

    def shut_down(self) -> None:
        """Tell the child that nothing more will come; what it still sends can be received."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the child was faster

    def close(self) -> None:
        self._socket.close()


class TrioChannel:
    """A child's end. Any task may send; one receives."""

    def __init__(self, stream: trio.abc.Stream, lock: trio.Lock) -> None:
        self._stream = stream
        self._lock = lock
        self._decoder = Decoder()

    @classmethod
    def from_fd(cls, fd: int) -> TrioChannel:
        """Adopt an inherited socket. Call it within `trio.run`."""
        import trio

        sock = trio.socket.from_stdlib_socket(socket.socket(fileno=fd))
        return cls(trio.SocketStream(sock), trio.Lock())

    async def send(self, message: Message) -> None:
        """Send one message; without effect when Locust is gone, which `receive` tells. A cancelled send may leave half a
        message behind: only a process that is about to exit may cancel one."""
        import trio

        async with self._lock:
            try:
                await self._stream.send_all(encode(message))
            except trio.BrokenResourceError:
                pass

    async def receive(self) -> Message | None:
        """The next message, or None when Locust is gone. Raises `WireError`. Cancelling it loses nothing."""
        import trio

        while True:
            message = self._decoder.next()
            if message is not None:
                return message
            try:
                data = await self._stream.receive_some(CHUNK)
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._decoder.feed(data)

    async def aclose(self) -> None:
        """Close the socket. A checkpoint; closed also when cancelled."""
        await self._stream.aclose()
