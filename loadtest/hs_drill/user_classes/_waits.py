"""How long users in Python wait after a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["WaitTime", "between", "constant", "constant_pacing", "constant_throughput", "poisson"]

WaitTime = Callable[[Any], float]
"""Takes the user, or the task set. Returns how many seconds it waits after a task."""


def between(min_wait: float, max_wait: float) -> WaitTime:
    """Wait between two numbers of seconds, drawn uniformly."""
    if not 0 <= min_wait <= max_wait:
        raise ValueError(f"between needs seconds from 0 on, the lower number first, not {min_wait!r} and {max_wait!r}")
    return lambda user: user.random.uniform(min_wait, max_wait)


def constant(wait_time: float) -> WaitTime:
    """Wait this many seconds."""
    if not wait_time >= 0:
        raise ValueError(f"constant needs a number of seconds from 0 on, not {wait_time!r}")
    return lambda _: wait_time


def constant_pacing(wait_time: float) -> WaitTime:
    """Wait so long that a user begins a task every so many seconds. After a task that took longer, the next one begins at
    once."""
    if not wait_time > 0:
        raise ValueError(f"constant_pacing needs a number of seconds above 0, not {wait_time!r}")

    def wait(user: Any) -> float:
        pace = user._pace
        now: float = pace.now()
        pace.due = max(pace.due + wait_time, now)
        return float(pace.due - now)

    return wait


def constant_throughput(task_runs_per_second: float) -> WaitTime:
    """Wait so long that a user begins this many tasks a second. After a task that took longer, the next one begins at once."""
    if not task_runs_per_second > 0:
        raise ValueError(f"constant_throughput needs a number of tasks a second above 0, not {task_runs_per_second!r}")
    return constant_pacing(1 / task_runs_per_second)


def poisson(rate: float) -> WaitTime:
    """Wait a time drawn exponentially, `1 / rate` seconds on average: tasks that take no time would be a Poisson process."""
    if not rate > 0:
        raise ValueError(f"poisson needs a number of tasks a second above 0, not {rate!r}")
    return lambda user: user.random.expovariate(rate)
