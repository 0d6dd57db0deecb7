"""The server's end of one connection: it reads requests and sends answers, over any transport."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import trio

from ._faults import Faults
from ._session import Session
from ._streams import BreakableTransport

#: A connection is closed when a request line is longer than this. The real server has no bound.
MAX_LINE_BYTES = 128 * 1024 * 1024
#: While this many bytes wait to be sent on a connection, no more of its requests are read. The real server has no bound.
MAX_UNSENT_BYTES = 64 * 1024 * 1024


class ServerConnection:
    """One client's connection to one of the server's listeners.

    Attributes:
      session: its authentication and its open indexes.
      pending: how many requests wait to be executed.
      last_heard: when it last received bytes, on trio's clock.
    """

    def __init__(
        self,
        transport: BreakableTransport,
        session: Session,
        faults: Faults,
        on_ready: Callable[[ServerConnection], None],
    ) -> None:
        self.session = session
        self.pending = 0
        self.last_heard = trio.current_time()
        self._transport = transport
        self._faults = faults
        self._on_ready = on_ready
        self._received = bytearray()
        self._unsent: deque[tuple[float, bytes]] = deque()
        self._unsent_bytes = 0
        self._ends = False
        self._silent = False
        self._heard_end = False
        self._changed = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Receives and sends until the connection ends. Raises nothing, whatever ended it."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._until_broken, self._send)
                    await self._until_broken(self._receive)
        finally:
            self.close()

    async def _until_broken(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (OSError, trio.ClosedResourceError):
            self.close()

    async def _receive(self) -> None:
        while True:
            while self._unsent_bytes >= MAX_UNSENT_BYTES:
                await self._changed.park()
            await self._transport.wait_receivable()
            data = self._transport.receive()
            if data is None:
                continue
            # The real server closes a connection whose bytes begin with a slash.
            if data[:1] == b"/" or len(self._received) + len(data) > MAX_LINE_BYTES:
                self.close()
                return
            if not data:
                self._heard_end = True
                self._close_if_done()
                return
            self.last_heard = trio.current_time()
            self._received += data
            lines = data.count(b"\n")
            if lines:
                self.pending += lines
                self._on_ready(self)

    def take_lines(self) -> list[bytes]:
        """The complete requests that have arrived, without their LFs."""
        end = self._received.rfind(b"\n") + 1
        lines = bytes(self._received[:end]).split(b"\n")
        del self._received[:end]
        lines.pop()
        self.pending = 0
        return lines

    def answer(self, data: bytes) -> None:
        """Sends answers after those sent before, as far as the faults allow."""
        if self._ends or self._silent or self._scope.cancel_called:
            return
        data, self._ends, self._silent = self._faults.spoil(data)
        delay = self._faults.draw_delay()
        if not delay and not self._unsent:
            data = data[self._send_now(data) :]
        if data or self._ends:
            due = trio.current_time() + delay
            if self._unsent:
                due = max(due, self._unsent[-1][0])
            self._unsent.append((due, data))
            self._unsent_bytes += len(data)
            self._changed.unpark_all()
        self._close_if_done()

    def _send_now(self, data: bytes) -> int:
        try:
            return self._transport.send(data) if data else 0
        except OSError:
            self.close()
            return len(data)

    async def _send(self) -> None:
        while True:
            while not self._unsent:
                await self._changed.park()
            due, data = self._unsent[0]
            await trio.sleep_until(due)
            while data:
                data = data[self._send_now(data) :]
                if data:
                    await self._transport.wait_sendable()
            self._unsent_bytes -= len(self._unsent.popleft()[1])
            self._changed.unpark_all()
            self._close_if_done()

    def _close_if_done(self) -> None:
        finished = self._heard_end and (self._silent or not self.pending)
        if (self._ends or finished) and not self._unsent:
            self.close()

    def close(self) -> None:
        """Closes the connection at once, without a reset."""
        self._scope.cancel()
        self._transport.close()

    def reset(self) -> None:
        """Breaks the connection."""
        self._scope.cancel()
        self._transport.reset()
