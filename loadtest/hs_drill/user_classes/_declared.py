"""What classes of users in Python say: tasks with their weights, and how long users wait."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, overload

__all__ = ["WEIGHT", "WaitTime", "between", "constant", "constant_throughput", "full_name", "task", "tasks_of"]

WEIGHT = "locust_task_weight"
"""Locust's own mark of a task: its `@task` does as well as ours, and it shows the tasks' shares."""
WaitTime = Callable[[Any], float]
"""Takes the user. Returns how many seconds it waits after a task."""
F = TypeVar("F", bound=Callable[..., Any])


@overload
def task(weight: F) -> F: ...


@overload
def task(weight: int) -> Callable[[F], F]: ...


def task(weight: Any = 1) -> Any:
    """Mark an async method as a task: `@task`, or `@task(5)` for one that comes five times as often as one of weight 1."""
    if isinstance(weight, FunctionType | type):
        setattr(weight, WEIGHT, 1)
        return weight
    if isinstance(weight, bool) or not isinstance(weight, int) or weight < 1:
        raise ValueError(f"the weight of a task must be a whole number from 1 on, not {weight!r}")

    def mark(function: F) -> F:
        setattr(function, WEIGHT, weight)
        return function

    return mark


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


def constant_throughput(task_runs_per_second: float) -> WaitTime:
    """Wait so long that a user begins this many tasks a second. After a task that took longer, the next one begins at once."""
    if not task_runs_per_second > 0:
        raise ValueError(f"constant_throughput needs a number of tasks a second above 0, not {task_runs_per_second!r}")
    period = 1 / task_runs_per_second

    def wait(user: Any) -> float:
        pace = user._pace
        now: float = pace.now()
        pace.due = max(pace.due + period, now)
        return float(pace.due - now)

    return wait


def full_name(cls: type) -> str:
    """The name of a class in both worlds: its file is loaded in each under the same name."""
    return f"{cls.__module__}.{cls.__qualname__}"


def tasks_of(cls: type) -> dict[str, tuple[Any, int]]:
    """The tasks of a class, with their weights. A method of a subclass takes the place of its base's."""
    found: dict[str, tuple[Any, int]] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            found.pop(name, None)
            if (weight := getattr(value, WEIGHT, None)) is not None:
                found[name] = value, weight
    return found
