"""Sends messages to Locust in the background: lines for the user, news of faults."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from hs_drill._trio_child import TrioChannel
from hs_drill._wire import Message

__all__ = ["Outbox", "open_outbox"]

CAPACITY = 1000
"""Messages: more lines than a user reads at once."""


class Outbox:
    """Made by `open_outbox`."""

    def __init__(self, messages: trio.MemorySendChannel[Message]) -> None:
        self._messages = messages

    def put(self, message: Message) -> None:
        """Send a message in the background. A full outbox drops it."""
        try:
            self._messages.send_nowait(message)
        except trio.WouldBlock:
            pass

    async def send(self, message: Message) -> None:
        """Send a message behind those that were `put`. Waits for room, and drops nothing."""
        await self._messages.send(message)


@asynccontextmanager
async def open_outbox(channel: TrioChannel) -> AsyncIterator[Outbox]:
    """An outbox for the block. Waits at its end until everything is sent; cancelled, it drops what is left."""
    async with trio.open_nursery() as nursery:
        messages, receive = trio.open_memory_channel[Message](CAPACITY)
        nursery.start_soon(_send_all, channel, receive)
        with messages:
            yield Outbox(messages)


async def _send_all(channel: TrioChannel, messages: trio.MemoryReceiveChannel[Message]) -> None:
    async for message in messages:
        await channel.send(message)
