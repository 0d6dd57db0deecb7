"""Reads a scenario file, and reports each mistake in it with file, line and key."""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hs_drill._cluster import VERSION

from ._base import MissingKey, PlacedError, PlacedErrors, close_to, model_in, names_of, show, unknown_key
from ._columns import ColumnSpec
from ._command_checks import missing_programs
from ._commands import CommandSpec
from ._external import SERVER_NAME, VARIABLE
from ._faults import FAULTS
from ._limits import Percentiles
from ._mix import KINDS, OPERATIONS, Latency, Mix
from ._model import KEPT, Scenario
from ._values import FORMS, no_such_form
from ._yaml import Document, YamlMistake, parse

__all__ = [
    "PATTERNS",
    "LiveTableError",
    "ScenarioError",
    "load_scenario",
    "mistakes_in",
    "parse_scenario",
    "placed_mistakes",
    "require_programs",
]

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


class LiveTableError(ScenarioError):
    """A scenario does not fit a table that exists, `table`. The places of its mistakes are those in its file."""

    def __init__(self, table: str, mistakes: Sequence[PlacedError]) -> None:
        self._mistakes = mistakes
        self._table = table
        where = f"on {table} as the server has it"
        super().__init__("\n".join(f"{where}, {'.'.join(map(str, one.place))}: {one}" for one in mistakes))

    def in_file(self, path: str | os.PathLike[str]) -> ScenarioError:
        """The same with lines of the scenario's file. Raises `ScenarioError`."""
        return _found_in(path, self._mistakes, f" ({self._table} as the server has it)")


def _found_in(path: str | os.PathLike[str], mistakes: Sequence[PlacedError], of: str = "") -> ScenarioError:
    """Mistakes that are found only now, with lines of the scenario's file. Raises `ScenarioError` if that cannot be read."""
    document, name = parse(_read(path, MOST_BYTES)), os.fspath(path)
    found = sorted(((document.locate(one.place)[1], one) for one in mistakes), key=itemgetter(0))
    return ScenarioError("\n".join(_report(name, line, one.place, f"{one}{of}") for line, one in found))


def require_programs(scenario: Scenario, path: str | os.PathLike[str]) -> None:
    """Raise `ScenarioError` if this machine lacks a program that a command of the scenario names. `path`: the scenario's file.

    Not a part of reading it: a run is also judged, and its scenario read, on machines that have no such programs.
    """
    if missing := missing_programs(scenario):
        raise _found_in(path, missing)


def require_mix(scenario: Scenario, path: str | os.PathLike[str]) -> None:
    """Raise `ScenarioError` if a scenario has no mix. `path`: its file. Not a part of reading it: users that are classes of
    Python code need none."""
    if scenario.mix is None:
        missing = "is missing; add it, such as `mix: {get: 70, insert: 30}`, or run only users that are Python code (TrioUser)"
        raise _found_in(path, [PlacedError(("mix",), missing)])


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
        twice = len(mistake.path) == 2 and mistake.path[0] == "mix" and mistake.message.startswith("given twice")
        hint = ""
        if twice:
            kind = mistake.path[1] if mistake.path[1] in KINDS else "get"
            hint = f"; give each a name of its own, such as `second: {{do: {kind}}}`"
        raise ScenarioError(_report(name, mistake.line, mistake.path, mistake.message + hint)) from mistake
    if not isinstance(document.data, dict):
        raise ScenarioError(_report(name, document.lines[()], (), "a scenario is a mapping that begins like `name: mixed`"))
    try:
        context = {**(KEPT if kept else {}), "folder": str(Path(name).parent)}
        return Scenario.model_validate(document.data, context=context)
    except ValidationError as error:
        mistakes = sorted({_explain(document, detail) for detail in _each(error)})
        raise ScenarioError("\n".join(_report(name, *mistake) for mistake in mistakes)) from error


def mistakes_in(error: ValidationError) -> list[str]:
    """A line for each mistake, without a file and its lines."""
    return [f"{'.'.join(map(str, one.place))}: {one}" for one in placed_mistakes(error)]


def placed_mistakes(error: ValidationError) -> list[PlacedError]:
    """Each mistake, with its place in the scenario."""
    return [PlacedError(_place(detail), _message(detail)) for detail in _each(error)]


def _report(name: str, line: int, path: Iterable[str | int], message: str) -> str:
    where = ".".join(str(key) or "''" for key in path)
    # One mistake is one line, even if a key contains a line break.
    shown = f"{where}: {message}" if where else message
    return f"{name}:{line}: " + "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)


def _each(error: ValidationError) -> Iterator[ErrorDetails]:
    """Every mistake on its own, also where a model reports several."""
    for detail in error.errors(include_url=False):
        cause = detail.get("ctx", {}).get("error")
        for one in cause.errors if isinstance(cause, PlacedErrors) else [cause]:
            each = detail.copy()
            if one is not None:
                each["ctx"] = {**detail.get("ctx", {}), "error": one}
            yield each


def _explain(document: Document, detail: ErrorDetails) -> tuple[int, tuple[str, ...], str]:
    where = _place(detail)
    path, line = document.locate(where)
    match detail["type"]:
        case "missing":
            return line, tuple(map(str, where)), f"is missing; add it{_example(where)}"
        case "union_tag_not_found" | "union_tag_invalid":
            tag, message = _untagged(where, detail["input"])
            return document.locate((*where, *tag))[1], tuple(map(str, (*where, *tag))), message
    if isinstance(detail.get("ctx", {}).get("error"), MissingKey):
        path = where
    return line, tuple(map(str, path)), _message(detail, document.words.get(path) if path == where else None)


def _untagged(where: tuple[int | str, ...], given: Any) -> tuple[tuple[str, ...], str]:
    """What is wrong with one of several kinds that does not say which, or says a wrong one; first the key that should."""
    if where[0] == "mix":
        if not isinstance(given, dict):
            example = "; one with a name of its own says what it does, such as `{do: get, weight: 1}`"
            return (), _unknown_key(where) + ("" if close_to(where[1], KINDS) else example)
        if "do" not in given:
            return (), f"needs `do`, because its name is none of {', '.join(KINDS)}: one of these"
        return ("do",), f"must be one of {', '.join(KINDS)}, not {show(given['do'])}{close_to(given['do'], KINDS)}"
    if where[0] == "table":
        return (), no_such_form(given)
    if isinstance(given, dict) and "fault" not in given:
        return (), f"needs a `fault`: one of {', '.join(FAULTS)}"
    return ("fault",), _no_such_fault(given)


def _place(detail: ErrorDetails) -> tuple[int | str, ...]:
    """The key path of a mistake."""
    error = detail.get("ctx", {}).get("error")
    return (*_keys_of(detail["loc"]), *(error.place if isinstance(error, PlacedError) else ()))


def _keys_of(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """A key path without what pydantic inserts into it: kinds of faults, secrets, operations and values."""
    if len(location) > 2 and location[0] == "faults" and location[2] in FAULTS:
        return (*location[:2], *location[3:])
    if len(location) > 4 and location[:2] == ("cluster", "servers"):
        return (*location[:4], *location[5:])
    if len(location) > 2 and location[0] == "mix" and location[1] not in KINDS and location[2] in KINDS:
        return (*location[:2], *location[3:])
    if len(location) > 4 and location[:2] == ("table", "columns") and location[3] == "values":
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
        case "too_short" | "too_long":
            least, most = (context.get(f"{which}_length") for which in ("min", "max"))
            return (
                f"must have {f'at least {least}' if least is not None else f'at most {most}'}, not {context['actual_length']}"
            )
        case "list_type":
            return f"must be a list, {shown}"
        case "literal_error" if detail["loc"][0] == "mix" and detail["loc"][-1] == "do":
            kind = detail["loc"][1]
            return f"an operation named {kind} does a {kind}: choose another name, or leave `do` out"
        case "literal_error":
            expected = context["expected"].replace("True", "true")
            return f"must be {expected}, {shown}{_did_you_mean(given, expected)}"
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
            return f"must be {PATTERNS.get(context['pattern'], 'a plain name of at most 64 letters, digits and _')}, {shown}"
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
    model, below = _model_at(path)
    for step in below[:-1]:
        model = model_in(model, step)
    return unknown_key(path[-1], names_of(model), "no such operation" if model is Mix else "unknown key")


def _model_at(path: tuple[int | str, ...]) -> tuple[type[BaseModel], tuple[int | str, ...]]:
    """Where to look for a location's keys: a model, and the keys below it. Before it are names that the file's author chose."""
    match path:
        case "faults", _, str(kind), *rest:
            return FAULTS[kind], tuple(rest)
        case "mix", name, str(kind), *rest if rest and name not in KINDS:
            return OPERATIONS[kind], tuple(rest)
        case "cluster", "commands", _, *rest if rest:
            return CommandSpec, tuple(rest)
        case "table", "columns", _, "values", str(form), *rest if rest:
            return FORMS[form], tuple(rest)
        case "table", "columns", _, *rest if rest:
            return ColumnSpec, tuple(rest)
        case "expect", "latency", name, *rest if rest and name not in Latency.model_fields:
            return Percentiles, tuple(rest)
        case _:
            return Scenario, _keys_of(path)


def _did_you_mean(given: object, expected: str) -> str:
    close = difflib.get_close_matches(str(given), re.findall(r"'([^']*)'", expected), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _example(path: tuple[int | str, ...]) -> str:
    examples: dict[tuple[str, ...], str] = {
        ("name",): ", such as `name: mixed`",
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
