"""An engine or controller process, with the test in Locust's place."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from hs_drill._trio_child import TrioChannel
from hs_drill.metrics import Batch
from tests.loadtest.support.locust_process import ROOT
from tests.support.patience import patience


class Child:
    """An engine or controller; the test takes Locust's place."""

    def __init__(self, channel: TrioChannel, process: trio.Process) -> None:
        self.channel = channel
        self.process = process

    async def send(self, kind: str, **message: Any) -> None:
        await self.channel.send({"type": kind, **message})

    async def until(self, kind: str) -> tuple[dict[str, Any], list[Batch]]:
        """Wait for the next message of this kind. Returns it, and the batches before it."""
        batches: list[Batch] = []
        with trio.fail_after(patience(30)):
            while (message := await self.channel.receive()) is not None:
                if message["type"] == kind:
                    return message, batches
                if message["type"] == "batch":
                    batches.append(Batch.from_wire(message))
        raise AssertionError(f"it ended without {kind!r}")

    async def ends(self) -> int:
        with trio.fail_after(patience(20)):
            return await self.process.wait()


@asynccontextmanager
async def child(module: str) -> AsyncIterator[Child]:
    ours, theirs = socket.socketpair()
    with theirs:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", module, str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            stderr=subprocess.DEVNULL,
        )
    channel = TrioChannel.from_fd(ours.detach())
    try:
        yield Child(channel, process)
    finally:
        await channel.aclose()
        with trio.move_on_after(patience(20)) as waiting:
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
        assert not waiting.cancelled_caught, "it outlived us"
