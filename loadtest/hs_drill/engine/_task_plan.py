"""Which tasks the users of a class execute, or those of a task set, and in which order."""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hs_drill.user_classes import full_name, place_of, tasks_of

from ._task_sets import SequentialTaskSet, TaskSet
from ._trio_user import TrioUser

__all__ = ["TaskPlan", "TaskWeights", "UserTask", "shown_name"]

TaskWeights = Mapping[str, Mapping[str, int]]
"""By the full names of classes of users and of task sets: the weights of their tasks that Locust's options, such as `--tags`,
have left. Those of other classes are as declared."""


def shown_name(cls: type) -> str:
    """Of a class of users, or of a task set: with those around it, as `Shopper.Checkout`."""
    return cls.__qualname__.rpartition("<locals>.")[2]


class UserTask:
    """A task of a class: an async method, or a task set."""

    def __init__(self, cls: type, name: str, function: Any) -> None:
        self.name = f"{shown_name(cls)}.{name}"
        self.call: Callable[[Any], Awaitable[None]] = function
        self.set: type[TaskSet] | None = function if isinstance(function, type) else None
        self.place = place_of(function)
        self.executed = 0
        self.awaits = False
        """Whether it has ever awaited something."""


class TaskPlan:
    """The tasks of a class of users, or of a task set."""

    def __init__(self, cls: type[TrioUser | TaskSet], weights: TaskWeights) -> None:
        left = weights.get(full_name(cls))
        self._in_order = issubclass(cls, SequentialTaskSet)
        self.tasks: list[UserTask] = []
        self._weights: list[int] = []
        for name, (thing, declared) in tasks_of(cls).items():
            if weight := declared if left is None else left.get(name, 0):
                self.tasks.append(UserTask(cls, name, thing))
                self._weights.append(weight)

    def begin(self, rng: random.Random) -> Callable[[], UserTask]:
        """A user comes to the set: returns the function that gives its next task."""
        tasks, weights = self.tasks, list(itertools.accumulate(self._weights))
        if self._in_order:
            row = [task for task, weight in zip(tasks, self._weights, strict=True) for _ in range(weight)]
            return itertools.cycle(row).__next__
        if len(tasks) == 1:
            return itertools.repeat(tasks[0]).__next__
        return lambda: rng.choices(tasks, cum_weights=weights)[0]
