"""Which tasks of users in Python Locust's options leave: `--tags`, `--exclude-tags`, `--equal-weights`, `--config-users`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

from locust import User

from hs_drill.user_classes import TAGS, full_name, tasks_of

from ._user_stand_ins import HandlerSocketUser, TaskSet, TrioUser

__all__ = ["mistakes_in_selection", "task_weights"]


def task_weights(classes: Iterable[type[User]]) -> dict[str, dict[str, int]]:
    """The weights of tasks, for the engine: by the full names of the classes of trio users and of their task sets."""
    found: dict[str, dict[str, int]] = {}
    waiting: list[type] = [cls for cls in classes if issubclass(cls, TrioUser)]
    while waiting:
        cls: Any = waiting.pop()
        if full_name(cls) not in found:
            found[full_name(cls)] = {name: cls.tasks.count(task) for name, (task, _) in tasks_of(cls).items()}
            waiting += {task for task in cls.tasks if isinstance(task, type)}
    return found


def mistakes_in_selection(classes: Iterable[type[User]], options: argparse.Namespace) -> Iterator[str]:
    """A line for each class that Locust's options would leave without tasks."""
    classes = list(classes)
    tags, without = set(options.tags or ()), set(options.exclude_tags or ())
    mix = [cls.__name__ for cls in classes if issubclass(cls, HandlerSocketUser)]
    if mix and tags:
        yield f"--tags cannot be used: {mix[0]} executes the scenario's mix, which has no tags. Leave that class out"
    elif without and len(mix) == len(classes):
        yield f"--exclude-tags cannot be used: {mix[0]} executes the scenario's mix, which has no tags"
    for cls in classes:
        if not issubclass(cls, TrioUser):
            continue
        if options.equal_weights and any(isinstance(task, type) for task in cls.tasks):
            yield f"--equal-weights cannot be used: it takes task sets apart, and {cls.__name__} has some"
        elif not any(_left(task, tags, without) for task in cls.tasks):
            yield (
                f"{cls.__name__} has no tasks that --tags, --exclude-tags or --config-users leave. Name the classes to run: "
                "`locust -f FILE CLASS`"
            )


def _left(task: Any, tags: set[str], without: set[str]) -> bool:
    """Whether Locust's filter leaves a task, or one of those of a task set."""
    if isinstance(task, type) and issubclass(task, TaskSet):
        return any(_left(one, tags, without) for one in task.tasks)
    has = vars(task).get(TAGS, set())
    return (not tags or bool(has & tags)) and not has & without
