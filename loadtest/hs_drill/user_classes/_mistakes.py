"""What is wrong with classes of users in Python, and with their task sets: a line for each mistake, with its file and line."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any

from ._declared import tasks_of
from ._places import place_in_class, place_of

__all__ = ["mistakes_in_class"]

OWN_NAMES = frozenset({"hs", "measure", "random", "rows", "scenario", "user"})
"""What `TrioUser` gives to each user."""


def mistakes_in_class(cls: type, base: type, task_set: type) -> Iterator[str]:
    """What is wrong with a class of trio users, a line each, with its place. `base` is that of all users, `task_set` that of
    task sets."""
    name = cls.__name__
    yield from _mistakes_in_tasks(cls, name, task_set, ())
    wait = inspect.getattr_static(cls, "wait_time")
    yield from _mistakes_in_wait(cls, name, wait)
    for own in cls.__mro__[: cls.__mro__.index(base)]:
        for taken in OWN_NAMES & vars(own).keys():
            yield f"{place_in_class(own, taken)}: {name}.{taken}: every user has self.{taken} already: choose another name"
    weight, count = inspect.getattr_static(cls, "weight"), inspect.getattr_static(cls, "fixed_count")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
        yield f"{place_in_class(cls, 'weight')}: {name}.weight must be a number from 0 on, not {weight!r}"
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        yield f"{place_in_class(cls, 'fixed_count')}: {name}.fixed_count must be a whole number from 0 on, not {count!r}"


def _mistakes_in_tasks(cls: type, name: str, task_set: type, within: tuple[type, ...]) -> Iterator[str]:
    """Of a class of users, or of a task set that is `within` others."""
    tasks = tasks_of(cls)
    for task_name, (function, _) in tasks.items():
        where = f"{place_of(function)}: {name}.{task_name}"
        if function in within:
            yield f"{where}: a task set cannot contain itself"
        elif isinstance(function, type) and issubclass(function, task_set):
            yield from _mistakes_in_tasks(function, f"{name}.{task_name}", task_set, (*within, function))
        elif isinstance(function, type):
            yield f"{where}: a class is no task, unless it is a TaskSet or SequentialTaskSet of hs_drill.users"
        elif not inspect.iscoroutinefunction(function):
            yield f"{where}: a task must be async: write `async def {task_name}(self)`{_instead_of(function)}"
        else:
            yield from _parameters(where, task_name, function)
    for method in ("on_start", "on_stop"):
        function = inspect.getattr_static(cls, method)
        if not inspect.iscoroutinefunction(function):
            yield f"{place_of(function)}: {name}.{method} must be async: write `async def {method}(self)`"
    if getattr(cls, "tasks", None):
        place = place_in_class(cls, "tasks")
        yield f"{place}: {name}.tasks: mark async methods and task sets with @task instead of listing them"
    elif not tasks:
        further = "" if within else ", or say `abstract = True`"
        yield f"{place_of(cls)}: {name} has no tasks: mark an async method with @task{further}"
    if "__init__" in vars(cls):
        yield f"{place_of(vars(cls)['__init__'])}: {name}.__init__: prepare it in `async def on_start(self)`"
    if within and (wait := inspect.getattr_static(cls, "wait_time", None)) is not None:
        yield from _mistakes_in_wait(cls, name, wait)


def _mistakes_in_wait(cls: type, name: str, wait: Any) -> Iterator[str]:
    if inspect.iscoroutinefunction(wait):
        yield f"{place_of(wait)}: {name}.wait_time must not be async: it returns the seconds to wait"
    elif not callable(wait):
        yield f"{place_in_class(cls, 'wait_time')}: {name}.wait_time must be such as constant(1), not {wait!r}"


def _instead_of(function: Any) -> str:
    """Why it may not be one although it looks so."""
    if isinstance(function, staticmethod | classmethod):
        return f", without @{type(function).__name__}"
    return ", without `yield`" if inspect.isasyncgenfunction(function) else ""


def _parameters(where: str, name: str, function: Any) -> Iterator[str]:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        yield f"{where}: a task is called with nothing but self: write `async def {name}(self)`"
