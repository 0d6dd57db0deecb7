"""Helpers for background tasks: the nursery they run in, and how one sleeps until it is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.lowlevel import Abort, current_task, enable_ki_protection, reschedule, wait_task_rescheduled


@asynccontextmanager
@enable_ki_protection
async def background_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery that is cancelled at the end of the block, and leaves an exception of the block as it is.

    Leaving cancels the tasks and waits for them, shielded. They stop at once, and close what they hold. A task that raises
    ends the block with its exception. (trio's own nursery would wrap either exception in a group.)
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
            # Ctrl-C while the tasks were ending, or a `connect=` or an instrument that wants to end the program.
            error = gravest(group)
            raise error from error.__cause__


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def gravest(error: BaseException) -> BaseException:
    """The one exception of a group that its caller gets: one that ends the program before all others."""
    return max(_leaves(error), key=lambda leaf: 2 * isinstance(leaf, KeyboardInterrupt) + isinstance(leaf, SystemExit))


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
