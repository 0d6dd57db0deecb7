"""Helpers for background tasks: the nursery they run in, and how one sleeps until it is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.lowlevel import Abort, current_task, enable_ki_protection, reschedule, wait_task_rescheduled


@asynccontextmanager
@enable_ki_protection
async def background_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery that is cancelled at the end of the block, and leaves an exception of the block as it is.

    Leaving cancels the tasks and waits for them, shielded. They stop at once, and close what they hold. (trio's own nursery
    would wrap the exception of the user's code in a group.)
    """
    manager = trio.open_nursery()
    nursery = await manager.__aenter__()
    try:
        yield nursery
    finally:
        nursery.cancel_scope.shield = True
        nursery.cancel_scope.cancel()
        try:
            await manager.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            # Ctrl-C while the tasks were ending. They have ended.
            if group.split(KeyboardInterrupt)[1] is None:
                raise KeyboardInterrupt from None
            raise


class Sleeper:
    """Lets one background task sleep until there is something to do."""

    __slots__ = ("_task", "asleep")

    def __init__(self) -> None:
        self.asleep = False
        self._task: trio.lowlevel.Task | None = None

    async def sleep(self) -> None:
        def abort(_raise_cancel: Any) -> Abort:
            self.asleep = False
            return Abort.SUCCEEDED

        self._task = current_task()
        self.asleep = True
        await wait_task_rescheduled(abort)

    def wake(self) -> None:
        if self.asleep:
            assert self._task is not None
            self.asleep = False
            reschedule(self._task)
