"""The clients of a run as its controller sees them: it can ask all of them, through Locust, to let go of the servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from hs_drill._cluster import ClusterError
from hs_drill._wire import Message

__all__ = ["SUSPEND_SECONDS", "Clients"]

SUSPEND_SECONDS = 10.0
"""What they may take to let go: a client waits for the answers that are due, at most as long as its timeout of 3 s."""


class Clients:
    """`send` brings a message to Locust."""

    def __init__(self, send: Callable[[Message], Awaitable[None]]) -> None:
        self._send = send
        self._lock = trio.Lock()
        self._number = 0
        self._let_go = trio.Event()

    @asynccontextmanager
    async def suspended(self) -> AsyncIterator[None]:
        """During the block no client has a connection, and operations wait. One block at a time; others wait for their turn.

        Raises `ClusterError` when some client has not let go in time. However the block ends, all are told to go on.
        """
        async with self._lock:
            self._number += 1
            self._let_go = trio.Event()
            try:
                with trio.move_on_after(SUSPEND_SECONDS) as patience:
                    await self._tell({"type": "suspend", "number": self._number})
                    await self._let_go.wait()
                if patience.cancelled_caught:
                    raise ClusterError(f"some client had not let go of the servers after {SUSPEND_SECONDS:g} s")
                yield
            finally:
                await self._tell({"type": "resume"})

    def let_go(self, number: int) -> None:
        """All of them have, for the suspension of this number."""
        if number == self._number:
            self._let_go.set()

    async def _tell(self, message: Message) -> None:
        with trio.CancelScope(shield=True):  # half a message would be the last that Locust understands
            await self._send(message)
