"""What our two trio processes, the engine and the controller, share: the channel to Locust's process."""

from __future__ import annotations

import socket

import trio

from hs_drill._wire import CHUNK, Decoder, Message, encode

__all__ = ["TrioChannel"]


class TrioChannel:
    """A child's end. Any task may send; one receives."""

    def __init__(self, stream: trio.abc.Stream, lock: trio.Lock) -> None:
        self._stream = stream
        self._lock = lock
        self._decoder = Decoder()

    @classmethod
    def from_fd(cls, fd: int) -> TrioChannel:
        """Adopt an inherited socket. Call it within `trio.run`."""
        sock = trio.socket.from_stdlib_socket(socket.socket(fileno=fd))
        return cls(trio.SocketStream(sock), trio.Lock())

    async def send(self, message: Message) -> None:
        """Send one message; without effect when Locust is gone, which `receive` tells. A cancelled send may leave half a
        message behind: only a process that is about to exit may cancel one."""
        async with self._lock:
            try:
                await self._stream.send_all(encode(message))
            except trio.BrokenResourceError:
                pass

    async def receive(self) -> Message | None:
        """The next message, or None when Locust is gone. Raises `WireError`. Cancelling it loses nothing."""
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
