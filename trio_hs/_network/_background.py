"""Background tasks: the nursery that they run in, and the place where one sleeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.lowlevel import Abort, current_task, enable_ki_protection, reschedule, wait_task_rescheduled


@asynccontextmanager
@enable_ki_protection
async def background_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery whose tasks end with the block, and that never touches the block's own exception.

    Leaving cancels the tasks and waits for them, shielded: they stop at once, and what they hold is closed by then.
    (Left to itself, a nursery would wrap an exception of the user's code in a group.)
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
            # Ctrl-C while the tasks were ending; they have.
            if group.split(KeyboardInterrupt)[1] is None:
                raise KeyboardInterrupt from None
            raise


class Sleeper:
    """Where one background task sleeps until there is something to do."""

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
