"""What classes of users in Python, and their task sets, say: tasks with their weights and tags."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, overload

__all__ = ["TAGS", "InterruptTaskSet", "expanded", "full_name", "tag", "task", "tasks_of"]

WEIGHT = "locust_task_weight"
"""Locust's own mark of a task: its `@task` does as well as ours, and it shows the tasks' shares."""
TAGS = "locust_tag_set"
"""Locust's own mark of tags, by which it removes tasks: `--tags`, `--exclude-tags`."""
F = TypeVar("F", bound=Callable[..., Any])


class InterruptTaskSet(Exception):
    """Leaves a task set: what `TaskSet.interrupt` raises. `reschedule`: whether the next task begins at once."""

    def __init__(self, reschedule: bool = True) -> None:
        super().__init__("a task set was interrupted")
        self.reschedule = reschedule


@overload
def task(weight: F) -> F: ...


@overload
def task(weight: int) -> Callable[[F], F]: ...


def task(weight: Any = 1) -> Any:
    """Mark an async method, or a task set, as a task: `@task`, or `@task(5)` for one that comes five times as often as one of
    weight 1."""
    if isinstance(weight, FunctionType | type | staticmethod | classmethod):
        setattr(weight, WEIGHT, 1)
        return weight
    if isinstance(weight, bool) or not isinstance(weight, int) or weight < 1:
        raise ValueError(f"the weight of a task must be a whole number from 1 on, not {weight!r}")

    def mark(function: F) -> F:
        setattr(function, WEIGHT, weight)
        return function

    return mark


def tag(*tags: str) -> Callable[[F], F]:
    """Give a task tags: `@tag("slow")`. `--tags slow` runs only tasks with one of the tags given, `--exclude-tags` only those
    without. The tags of a task set are those of all its tasks."""
    if not tags or not all(isinstance(one, str) for one in tags):
        raise ValueError('tag needs names: @tag("slow")')

    def mark(decorated: F) -> F:
        for one in expanded(decorated) if isinstance(decorated, type) else [decorated]:
            mark(one) if isinstance(one, type) else setattr(one, TAGS, {*vars(one).get(TAGS, ()), *tags})
        return decorated

    return mark


def full_name(cls: type) -> str:
    """The name of a class in both worlds: its file is loaded in each under the same name."""
    return f"{cls.__module__}.{cls.__qualname__}"


def tasks_of(cls: type) -> dict[str, tuple[Any, int]]:
    """The tasks of a class, with their weights, as they are declared. A method of a subclass takes the place of its base's."""
    found: dict[str, tuple[Any, int]] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            found.pop(name, None)
            if (weight := getattr(value, WEIGHT, None)) is not None:
                found[name] = value, weight
    return found


def expanded(cls: type) -> list[Any]:
    """The tasks of a class, each as often as its weight says: Locust's `tasks`."""
    return [task for task, weight in tasks_of(cls).values() for _ in range(weight)]
