"""Suspends the clients of a run: asks all of them, through Locust, to close their connections for a moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from hs_drill._cluster import ClusterError
from hs_drill._wire import Message

__all__ = ["SUSPEND_SECONDS", "Clients"]

SUSPEND_SECONDS = 10.0
"""Limit for clients to close their connections. A client first waits for due answers, at most for its timeout of 3 s."""


class Clients:
    """All clients of a run. `send` sends a message to Locust."""

    def __init__(self, send: Callable[[Message], Awaitable[None]]) -> None:
        self._send = send
        self._lock = trio.Lock()
        self._number = 0
        self._all_closed = trio.Event()

    @asynccontextmanager
    async def suspended(self) -> AsyncIterator[None]:
        """During the block no client has a connection, and operations wait. One block at a time; others wait for their turn.

        Raises `ClusterError` if a client does not close them in time. However the block ends, all clients go on.
        """
        async with self._lock:
            self._number += 1
            self._all_closed = trio.Event()
            try:
                with trio.move_on_after(SUSPEND_SECONDS) as patience:
                    await self._send_whole({"type": "suspend", "number": self._number})
                    await self._all_closed.wait()
                if patience.cancelled_caught:
                    raise ClusterError(f"some clients still had connections after {SUSPEND_SECONDS:g} s")
                yield
            finally:
                await self._send_whole({"type": "resume"})

    def confirm(self, number: int) -> None:
        """All clients have closed their connections for the suspension of this number."""
        if number == self._number:
            self._all_closed.set()

    async def _send_whole(self, message: Message) -> None:
        with trio.CancelScope(shield=True):  # Locust could read nothing after half a message
            await self._send(message)
