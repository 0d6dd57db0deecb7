"""Commands of the user's own that act on servers of the user's own: kill one, promote one, say which one is the primary.

A command is a list: a program and its arguments. No shell reads it. Each may hold placeholders such as `{host}`, which the run
fills in; `{{` and `}}` stand for braces.

A program whose name has a slash is relative to the folder of the scenario's file, if that is known, and else to the working
directory. It is made absolute when the file is read, so that a kept run names the program that was run.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from ._base import Model, PlacedError, close_to, seconds

__all__ = ["OF_SERVER", "Argv", "CommandSpec", "PrimarySpec", "Timeout", "filled", "placeholders", "unknown_here"]

OF_SERVER = ("server", "host", "read_port", "write_port", "sql_port")
"""Placeholders for what belongs to the server that a command is about."""
PLACEHOLDERS = (*OF_SERVER, "primary")
Place = tuple[int | str, ...]
MOST_SECONDS = 300
"""The most that a command may take: at the end of a run the harness waits for all of them."""
_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def placeholders(text: str) -> list[str]:
    """The names of the placeholders in an argument. Raises ValueError for a single brace."""
    found = []
    for match in _BRACES.finditer(text):
        if match[1] is not None:
            found.append(match[1])
        elif match[0] in "{}":
            raise ValueError(f"has a single {match[0]}: write {match[0] * 2} for the character itself")
    return found


def filled(text: str, values: Mapping[str, str]) -> str:
    """An argument with the values of its placeholders. Raises KeyError if one has none."""
    return _BRACES.sub(lambda match: values[match[1]] if match[1] is not None else match[0][0], text)


def _check_argument(text: str) -> str:
    for name in placeholders(text):
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
            hint = close_to(name, PLACEHOLDERS) or f"; there are {known}, and {{{{ is a brace"
            raise ValueError(f"there is no placeholder {{{name}}}{hint}")
    if "\0" in text:
        raise ValueError("has a NUL character, which no argument can have")
    return text


def _from_braces(value: object) -> object:
    if isinstance(value, Mapping) and len(value) == 1 and next(iter(value.values())) is None:
        name = next(iter(value))
        raise ValueError(f'a placeholder needs quotes, "{{{name}}}", or YAML reads a mapping')
    return value


def _from_line(value: object) -> object:
    if value == []:
        raise ValueError("must be a list of a program and its arguments, and this one is empty")
    if not isinstance(value, str):
        return value
    try:
        words = ", ".join(shlex.split(value))
    except ValueError:
        words = "PROGRAM, ARGUMENT"
    raise ValueError(f"must be a list of the program and its arguments, for no shell reads it: [{words}]")


def _placed(argv: list[str], info: ValidationInfo) -> list[str]:
    """The same with an absolute program, if that has a slash."""
    program, *arguments = argv
    if not program:
        raise PlacedError((0,), "must name a program")
    if "/" not in program or os.path.isabs(program):
        return argv
    folder = os.path.abspath((info.context or {}).get("folder") or ".")
    literal = folder.replace("{", "{{").replace("}", "}}")
    return [f"{literal}/{program.removeprefix('./')}", *arguments]


Argument = Annotated[str, BeforeValidator(_from_braces), AfterValidator(_check_argument)]
Argv = Annotated[list[Argument], BeforeValidator(_from_line), AfterValidator(_placed), Field(min_length=1, max_length=1000)]
Timeout = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=MOST_SECONDS)]


class CommandSpec(Model):
    """A command of yours that does what a fault is named after, and the one that undoes it."""

    run: Argv
    """The program and its arguments, without a shell. Placeholders: {server}, {host}, {read_port}, {write_port}, {sql_port},
    and {primary}, the name of the server that is the primary when the command starts."""
    heal: Argv | None = None
    """The same for what undoes it. Faults that last need it, and others cannot have it."""
    timeout: Timeout = 30.0
    """Each of the two is killed after this time, and has failed then."""


class PrimarySpec(Model):
    """How the run finds out, again and again, which server is the primary."""

    command: Argv | None = None
    """A program, with its arguments, that prints the name of the server that is the primary. If not given, the servers are
    asked by SQL."""
    every: Annotated[float, BeforeValidator(seconds), Field(ge=0.05, le=60)] = 0.25
    """Time from the start of one look to the start of the next. SQL is asked each second at least."""


def unknown_here(place: Place, argv: Sequence[str] | None, known: Collection[str], why: str) -> Iterator[PlacedError]:
    """The mistakes of a command's arguments with placeholders other than those `known` here. `why` says why."""
    for number, text in enumerate(argv or ()):
        for name in placeholders(text):
            if name not in known:
                yield PlacedError((*place, number), f"{{{name}}} is not possible here: the command {why}")
