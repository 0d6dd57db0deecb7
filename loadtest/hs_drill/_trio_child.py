"""What our two trio processes, the engine and the controller, share: the channel to Locust's process, and how they end."""

from __future__ import annotations

import signal
import socket

import trio

from hs_drill._wire import CHUNK, Decoder, Message, encode

__all__ = ["TrioChannel", "first_error", "ignore_signals", "one_line"]


class TrioChannel:
    """A child's end of the socket to Locust's process. Any task may send; only one receives."""

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
        """Send one message. Does nothing when Locust is gone, which `receive` reports.

        A cancelled send may leave half a message behind: cancel one only when the process is about to exit.
        """
        async with self._lock:
            try:
                await self._stream.send_all(encode(message))
            except trio.BrokenResourceError:
                pass

    async def receive(self) -> Message | None:
        """The next message, or None when Locust is gone. Raises `WireError`. Cancelling it loses no data."""
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
        """Close the socket. A checkpoint; the socket is closed even when cancelled."""
        await self._stream.aclose()


def ignore_signals() -> None:
    """End only when Locust closes the socket, or has died, which closes it too. Ctrl-C and SIGTERM are for Locust.

    `systemctl stop`, a container's stop and a cancelled CI job send SIGTERM to every process of a run at once. Locust then ends
    the load and has the run judged, for which it needs us. SIGTERM also comes from the kernel, when Locust dies:
    `end_with_parent`.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def first_error(error: BaseException) -> BaseException:
    """The error itself, or the first one inside an exception group: the one that users see."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def one_line(text: str) -> str:
    """The text with every run of whitespace as one space."""
    return " ".join(text.split())
