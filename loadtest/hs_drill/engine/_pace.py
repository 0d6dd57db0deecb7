"""When a user of a closed loop does its next operation: at once, after a think time, or at a steady pace."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random

import trio

from hs_drill.scenario import Load, ThinkTime

__all__ = ["Turn", "User", "turn_of"]


class User:
    """Does one operation after the other until it is stopped."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.active = True
        self.due: float | None = None
        """When the next operation should start (trio's clock); None before the first."""
        self._stopped = trio.Event()

    def stop(self) -> None:
        """Stop after the current operation, without waiting for the next turn."""
        self.active = False
        self._stopped.set()

    def now(self) -> float:
        """trio's clock."""
        return trio.current_time()

    async def wait_until(self, moment: float) -> int | None:
        """Sleep until then, and return what a `Turn` returns."""
        with trio.move_on_at(moment):
            await self._stopped.wait()
        return time.monotonic_ns() if self.active else None


Turn = Callable[[User], Awaitable[int | None]]
"""Waits until it is the user's turn. Returns when its operation should have started, in nanoseconds of the monotonic clock, or
None if the user has been stopped."""


def turn_of(load: Load, rng: Random) -> Turn | None:
    """None if users do not wait between operations."""
    if load.pacing is not None:
        return partial(_at_a_pace, load.pacing)
    if load.think_time is not None and load.think_time.max:
        return partial(_after_thinking, load.think_time, rng)
    return None


async def _after_thinking(think: ThinkTime, rng: Random, user: User) -> int | None:
    now = trio.current_time()
    user.due = now if user.due is None else now + rng.uniform(think.min, think.max)
    return await user.wait_until(user.due)


async def _at_a_pace(pacing: float, user: User) -> int | None:
    now = trio.current_time()
    user.due = now if user.due is None else max(user.due + pacing, now)
    return await user.wait_until(user.due)
