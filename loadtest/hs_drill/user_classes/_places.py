"""Where in the user's files something is: `file:line`."""

from __future__ import annotations

import ast
import inspect
import os
import textwrap
from typing import Any

__all__ = ["place_in_class", "place_of", "shown_path"]


def shown_path(path: str) -> str:
    """A file's name for the user: from the current folder, if it lies below it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def place_of(thing: Any) -> str:
    """`file:line` of a function or class."""
    thing = inspect.unwrap(thing)
    if (code := getattr(thing, "__code__", None)) is not None:
        return f"{shown_path(code.co_filename)}:{code.co_firstlineno}"
    try:
        return f"{shown_path(inspect.getfile(thing))}:{inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError):
        return str(getattr(thing, "__module__", "?"))


def place_in_class(cls: type, name: str) -> str:
    """`file:line` where the class, or a base of it, sets the name; of the class if that cannot be found."""
    owner = next((one for one in cls.__mro__ if name in vars(one)), cls)
    if inspect.isfunction(thing := vars(owner).get(name)) and thing.__name__ == name:
        return place_of(thing)
    try:
        lines, first = inspect.getsourcelines(owner)
        (body,) = ast.parse(textwrap.dedent("".join(lines))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return place_of(cls)
    for node in getattr(body, "body", ()):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(one, ast.Name) and one.id == name for one in targets):
            return f"{shown_path(inspect.getfile(owner))}:{first + node.lineno - 1}"
    return place_of(cls)
