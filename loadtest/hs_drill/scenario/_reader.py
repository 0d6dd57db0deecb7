"""Reads a scenario file, and reports each mistake in it with file, line and key."""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hs_drill._cluster import VERSION

from ._base import PlacedError, model_in, names_of, show
from ._external import SERVER_NAME, VARIABLE
from ._faults import FAULTS
from ._mix import Mix
from ._model import KEPT, Scenario
from ._yaml import Document, YamlMistake, parse

__all__ = ["PATTERNS", "ScenarioError", "load_scenario", "mistakes_in", "parse_scenario"]

MOST_BYTES = 64 << 10
"""The largest scenario file. PyYAML reads about 100 KiB a second."""
TRUE_FALSE = ("true", "True", "TRUE", "false", "False", "FALSE")
MOST_KEPT_BYTES = 16 * MOST_BYTES
"""The same for a kept scenario, where aliases are written out."""
KINDS_OF_FILE = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class ScenarioError(Exception):
    """A scenario has mistakes. `str()` is a line for each, for the user."""


PATTERNS = {
    SERVER_NAME: "writer, standby, or reader-1, reader-2 and so on",
    VARIABLE: "the name of an environment variable, without a $",
    VERSION: "the first two numbers of a version, such as '11.8'",
}
"""What a pattern asks for, in words. All other patterns are names in SQL."""


def load_scenario(path: str | os.PathLike[str], *, kept: bool = False) -> Scenario:
    """Read and check a scenario file. Raises `ScenarioError`.

    A scenario `kept` with its run was written by PyYAML. It may have faults that exclude each other, or many more than are
    allowed now: older versions allowed them.
    """
    return parse_scenario(_read(path, MOST_KEPT_BYTES if kept else MOST_BYTES), os.fspath(path), kept=kept)


def _read(path: str | os.PathLike[str], most: int) -> str:
    """The text of a file of at most `most` bytes. Raises `ScenarioError`, also for a pipe or device, which might never end."""
    name = os.fspath(path)
    try:
        with _opened(path) as descriptor:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                what = KINDS_OF_FILE.get(stat.S_IFMT(mode), "no file")
                hint = _neighbours(Path(name)) if stat.S_ISDIR(mode) else ""
                raise ScenarioError(f"{name}: is {what}, not a YAML file{hint}")
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(most + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ScenarioError(f"{name}: cannot be read: {reason}{_neighbours(Path(name))}") from error
    if len(content) > most:
        raise ScenarioError(f"{name}: has more than {most >> 10} KiB, so it is not a scenario; those have a few KiB")
    try:
        return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ScenarioError(f"{name}:{line}: is not UTF-8 text: {error.reason}") from error


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)  # opening a pipe would wait for its writer
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def parse_scenario(text: str, name: str, *, kept: bool = False) -> Scenario:
    """Check the text of a scenario; mistakes name it `name`. For `kept` see `load_scenario`. Raises `ScenarioError`."""
    try:
        document = parse(text, dumped=kept)
    except YamlMistake as mistake:
        raise ScenarioError(_report(name, mistake.line, mistake.path, mistake.message)) from mistake
    if not isinstance(document.data, dict):
        raise ScenarioError(_report(name, document.lines[()], (), "a scenario is a mapping that begins like `name: mixed`"))
    try:
        return Scenario.model_validate(document.data, context=KEPT if kept else None)
    except ValidationError as error:
        mistakes = sorted({_explain(document, detail) for detail in error.errors(include_url=False)})
        raise ScenarioError("\n".join(_report(name, *mistake) for mistake in mistakes)) from error


def mistakes_in(error: ValidationError) -> list[str]:
    """A line for each mistake, without a file and its lines."""
    return [f"{'.'.join(map(str, _place(detail)))}: {_message(detail)}" for detail in error.errors(include_url=False)]


def _report(name: str, line: int, path: Iterable[str | int], message: str) -> str:
    where = ".".join(str(key) or "''" for key in path)
    # One mistake is one line, even if a key contains a line break.
    shown = f"{where}: {message}" if where else message
    return f"{name}:{line}: " + "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)


def _explain(document: Document, detail: ErrorDetails) -> tuple[int, tuple[str, ...], str]:
    where = _place(detail)
    path, line = document.locate(where)
    match detail["type"]:
        case "missing":
            return line, tuple(map(str, where)), f"is missing; add it{_example(where)}"
        case "union_tag_not_found":
            return line, tuple(map(str, where)), f"needs a `fault`: one of {', '.join(FAULTS)}"
        case "union_tag_invalid":
            return document.locate((*where, "fault"))[1], tuple(map(str, (*where, "fault"))), _no_such_fault(detail["input"])
    return line, tuple(map(str, path)), _message(detail, document.words.get(path) if path == where else None)


def _place(detail: ErrorDetails) -> tuple[int | str, ...]:
    """The key path of a mistake."""
    error = detail.get("ctx", {}).get("error")
    return (*_keys_of(detail["loc"]), *(error.place if isinstance(error, PlacedError) else ()))


def _keys_of(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """A key path without the kind of fault or secret that pydantic inserts into it."""
    if len(location) > 2 and location[0] == "faults" and location[2] in FAULTS:
        return (*location[:2], *location[3:])
    if len(location) > 4 and location[:2] == ("cluster", "servers"):
        return (*location[:4], *location[5:])
    return location


def _no_such_fault(given: Any) -> str:
    name = given.get("fault") if isinstance(given, dict) else given
    meant = difflib.get_close_matches(str(name), list(FAULTS), n=1)
    hint = f"did you mean {meant[0]}?" if meant else f"there are {', '.join(FAULTS)}"
    return f"no such fault: {show(name)}; {hint}"


def _message(detail: ErrorDetails, word: str | None = None) -> str:
    """What is wrong, and what would be right. `word` is how the file writes the value, if that is not text."""
    context = detail.get("ctx", {})
    given = detail["input"]
    means = f" ({word} means {show(given)} in YAML)" if isinstance(given, bool) and word and word not in TRUE_FALSE else ""
    shown = f"not {show(given)}{means}"
    match detail["type"]:
        case "extra_forbidden":
            return _unknown_key(detail["loc"])
        case "value_error":
            return f"{context['error']}{means}"
        case "list_type":
            return f"must be a list, {shown}"
        case "literal_error":
            return f"must be {context['expected']}, {shown}{_did_you_mean(given, context['expected'])}"
        case "greater_than":
            return f"must be more than {context['gt']:g}, {shown}"
        case "greater_than_equal":
            return f"must be {context['ge']:g} or more, {shown}"
        case "less_than_equal":
            return f"must be {context['le']:g} or less, {shown}"
        case "bool_type" | "bool_parsing":
            return f"must be true or false, {shown}"
        case "int_type" | "int_from_float" | "int_parsing":
            whole = isinstance(given, float) and given.is_integer()
            return f"must be a whole number, {shown}" + (f": write {given:.0f}" if whole else "")
        case "float_type" | "float_parsing" | "finite_number":
            return f"must be a number, {shown}"
        case "string_type":
            return _not_text(given, shown, word)
        case "string_pattern_mismatch":
            return f"must be {PATTERNS.get(context['pattern'], 'a plain SQL name of letters, digits and _')}, {shown}"
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"must be a mapping of keys, {shown}"
        case _:
            return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}, {shown}"


def _not_text(given: object, shown: str, word: str | None) -> str:
    quotes = "; put it in quotes" if isinstance(given, int | float) else ""
    if quotes and word and len(word) <= 60:
        # As the file writes it: 10.10, which is 10.1 to YAML, shall not become '10.1'.
        shown = shown if isinstance(given, bool) else f"not {word}"
        quotes += f": '{word}'"
    return f"must be text, {shown}{quotes}"


def _unknown_key(path: tuple[int | str, ...]) -> str:
    model: Any = Scenario
    if len(path) > 2 and path[0] == "faults":
        model, path = FAULTS[str(path[2])], path[2:]
    for step in _keys_of(path)[:-1] if model is Scenario else ():
        model = model_in(model, step)
    known = names_of(model)
    what = "no such operation" if model is Mix else "unknown key"
    meant = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"{what}; did you mean {meant[0]}?" if meant else f"{what}; there are {', '.join(known)}"


def _did_you_mean(given: object, expected: str) -> str:
    close = difflib.get_close_matches(str(given), re.findall(r"'([^']*)'", expected), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _example(path: tuple[int | str, ...]) -> str:
    examples: dict[tuple[str, ...], str] = {
        ("name",): ", such as `name: mixed`",
        ("mix",): ", such as `mix: {get: 70, insert: 30}`",
    }
    return examples.get(tuple(map(str, path)), "")


def _neighbours(path: Path) -> str:
    folder = path if path.is_dir() else path.parent
    try:
        there = sorted(folder.glob("*.yaml")) or sorted(Path("scenarios").glob("*.yaml"))
    except (OSError, ValueError):
        return ""
    for stem in difflib.get_close_matches(path.stem, [file.stem for file in there], n=1):
        return f"; did you mean {next(file for file in there if file.stem == stem)}?"
    return f"; there are {', '.join(map(str, there[:12]))}" if there else ""
