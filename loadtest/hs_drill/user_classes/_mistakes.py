"""What is wrong with classes of users in Python, a line for each mistake, with its file and line."""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._declared import tasks_of

__all__ = ["mistakes_in_class", "mistakes_in_file", "place_of", "shown_path"]


def shown_path(path: str) -> str:
    """A file's name for the user: from the current folder, if it lies below it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def place_of(thing: Any) -> str:
    """`file:line` of a function or class."""
    thing = inspect.unwrap(thing) if callable(thing) else thing
    if (code := getattr(thing, "__code__", None)) is not None:
        return f"{shown_path(code.co_filename)}:{code.co_firstlineno}"
    try:
        return f"{shown_path(inspect.getfile(thing))}:{inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError):
        return str(getattr(thing, "__module__", "?"))


def mistakes_in_class(cls: type) -> Iterator[str]:
    """What is wrong with a class of trio users, a line each, with its place."""
    name = cls.__name__
    tasks = tasks_of(cls)
    for task_name, (function, _) in tasks.items():
        where = f"{place_of(function)}: {name}.{task_name}"
        if isinstance(function, type):
            yield f"{where}: tasks within tasks are not supported: make each an async method of {name}"
        elif not inspect.iscoroutinefunction(function):
            yield f"{where}: a task must be async: write `async def {task_name}(self)`"
        else:
            yield from _parameters(where, task_name, function)
    for method in ("on_start", "on_stop"):
        function = inspect.getattr_static(cls, method)
        if not inspect.iscoroutinefunction(function):
            yield f"{place_of(function)}: {name}.{method} must be async: write `async def {method}(self)`"
    if getattr(cls, "tasks", None):
        yield f"{place_of(cls)}: {name}.tasks: mark async methods with @task instead of listing functions"
    elif not tasks:
        yield f"{place_of(cls)}: {name} has no tasks: mark an async method with @task, or say `abstract = True`"
    if "__init__" in vars(cls):
        yield f"{place_of(vars(cls)['__init__'])}: {name}.__init__: prepare a user in `async def on_start(self)`"
    if inspect.iscoroutinefunction(wait := inspect.getattr_static(cls, "wait_time")):
        yield f"{place_of(wait)}: {name}.wait_time must not be async: it returns the seconds to wait"
    elif not callable(wait):
        yield f"{place_of(cls)}: {name}.wait_time must be such as constant(1), not {wait!r}"


def _parameters(where: str, name: str, function: Any) -> Iterator[str]:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        yield f"{where}: a task is called with nothing but its user: write `async def {name}(self)`"


def mistakes_in_file(path: str) -> Iterator[str]:
    """What a file with classes of trio users must not import. A file that cannot be read has none that we could find."""
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    why = "which would block all trio users: use trio, and give users that need gevent a file of their own"
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        if isinstance(node, ast.stmt) and any(name.partition(".")[0] == "gevent" for name in names):
            yield f"{shown_path(path)}:{node.lineno}: imports gevent, {why} (locust -f {Path(path).name},other.py)"
