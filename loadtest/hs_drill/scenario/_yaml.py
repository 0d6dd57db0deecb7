"""Parses YAML into plain data, refuses numbers that can be misread, and finds the line of each key path.

Numbers are read as YAML 1.2 and people read them. PyYAML follows YAML 1.1, where `010` is 8, `1:30` is 90 and `1e3` is text.
A number that the two read differently is a mistake. `yes`, `no`, `on` and `off` stay booleans, as in YAML 1.1.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import yaml

__all__ = ["Document", "YamlMistake", "parse"]

Path = tuple[str | int, ...]

MOST_VALUES = 10_000
"""The most keys and values of a document. Aliases count as what they repeat: nine lines of them can mean 10**9 values."""

HINTS = {
    r"found character '\t'": "; indent with spaces",
    "mapping values are not allowed here": "; put text that contains `: ` in quotes, and a space after each `-`",
    "expected <block end>": "; keys of one mapping begin in the same column",
}
"""A part of a message of PyYAML -> advice."""


class YamlMistake(Exception):
    """The text is not valid YAML, or not for us; `line` counts from 1."""

    def __init__(self, line: int, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.line = line
        self.message = message
        self.path = path


@dataclass(frozen=True)
class Document:
    """Parsed YAML."""

    data: Any
    """Lists, dicts with text as keys, and scalars."""
    lines: dict[Path, int]
    """Path of each key and list item in the text -> its line. `()` is the document itself."""
    words: dict[Path, str]
    """Path of each scalar that is not text -> how the file writes it."""

    def locate(self, path: Sequence[str | int]) -> tuple[Path, int]:
        """The longest beginning of `path` that exists in the text, and its line."""
        known = tuple(path)
        while known not in self.lines:
            known = known[:-1]
        return known, self.lines[known]


class _Lines:
    """Counts lines as editors do. YAML also ends lines at U+0085 and the like."""

    def __init__(self, text: str) -> None:
        self._ends = [index for index, character in enumerate(text) if character == "\n"]

    def of(self, mark: yaml.Mark | None) -> int:
        return bisect_left(self._ends, mark.index) + 1 if mark is not None else 1


class _Loader(yaml.SafeLoader):
    """Keys are text, however they look: `on`, `5` and `null` too. Values are as in YAML 1.1, in which PyYAML writes."""

    def __init__(self, text: str, lines: _Lines) -> None:
        super().__init__(text)
        self._lines = lines

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        # PyYAML lets the ValueError of int("", 2) or date(2024, 13, 1) through, without a line.
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, OverflowError, IndexError, KeyError, TypeError, AttributeError) as error:
            raise YamlMistake(self._lines.of(node.start_mark), f"not a valid value: {error}") from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}


class _LoaderForPeople(_Loader):
    """Numbers as in YAML 1.2; dates are text, and so is `::1` in a list or `{}`."""

    def check_value(self) -> bool:
        """Whether the colon here ends a key."""
        text_follows = self.peek(1) not in BLANK + ",[]{}"
        after_quotes = self.index > 0 and self.buffer[self.pointer - 1] in "\"']}"
        return not text_follows or bool(self.flow_level and after_quotes)

    def check_plain(self) -> bool:
        """Whether text without quotes begins here."""
        return super().check_plain() or (self.peek() == ":" and not self.check_value())

    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's way)
        first: [(tag, pattern) for tag, pattern in candidates if tag.rpartition(":")[2] not in ("int", "float", "timestamp")]
        for first, candidates in _Loader.yaml_implicit_resolvers.items()
    }


BLANK = "\0 \t\r\n\x85\u2028\u2029"
TAG = "tag:yaml.org,2002:"
INTEGER = re.compile(r"[-+]?[0-9]+$")
FRACTION = re.compile(r"[-+]?(?:(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$")
GROUPED = re.compile(r"([-+]?)([0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?)$")
PADDED = re.compile(r"([-+]?)0([0-9]+)$")
BASED = re.compile(r"([-+]?)0([xob])([0-9a-fA-F_]+)$")


def _integer(loader: _LoaderForPeople, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


def _fraction(loader: _LoaderForPeople, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan"))


for tag, pattern, construct in (("int", INTEGER, _integer), ("float", FRACTION, _fraction)):
    _LoaderForPeople.add_implicit_resolver(TAG + tag, pattern, list("-+.0123456789"))
    _LoaderForPeople.add_constructor(TAG + tag, construct)


def _ambiguous(text: str) -> str | None:
    """What is wrong with a plain scalar that YAML 1.1 and 1.2 read as different numbers, or None."""
    if match := GROUPED.match(text):
        return f"write {match[1]}{match[2].replace('_', '')}, without _{OR_TEXT.format(text)}"
    if match := BASED.match(text):
        try:
            number = int(match[3].replace("_", ""), {"x": 16, "o": 8, "b": 2}[match[2]])
        except ValueError:
            return None  # text to both
        return f"write {match[1]}{number}, in decimal digits{OR_TEXT.format(text)}"
    if (match := PADDED.match(text)) and len(text) < 100:
        octal = f" ({match[1]}{int(match[2], 8)} to YAML 1.1)" if not set(match[2]) & {"8", "9"} else ""
        return f"write {match[1]}{int(match[2])}, without a leading 0{octal}{OR_TEXT.format(text)}"
    return None


OR_TEXT = "; if it is text, put it in quotes: '{}'"


def parse(text: str, *, dumped: bool = False) -> Document:
    """Parse one YAML document. Raises `YamlMistake`, also for a key that is given twice. `dumped`: PyYAML has written it."""
    count = _Lines(text)
    try:
        loader = (_Loader if dumped else _LoaderForPeople)(text, count)
        node = loader.get_single_node()
        if node is None:
            raise YamlMistake(1, "the file is empty")
        lines, words = _survey(node, count, dumped)
        data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if "<stream end>" in (error.problem or "") and error.context_mark:
            mark = error.context_mark  # where the unclosed part begins, not the end of the file
        problem = " ".join(part for part in (error.context, error.problem) if part)
        hint = next((hint for sign, hint in HINTS.items() if sign in problem), "")
        raise YamlMistake(count.of(mark), f"not valid YAML: {problem}{hint}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position if isinstance(error.position, int) else 0) + 1
        raise YamlMistake(line, f"not valid YAML: {error.reason}") from error
    except RecursionError:
        raise YamlMistake(1, "nested too deeply") from None
    return Document(data, lines, words)


def _survey(node: yaml.Node, count: _Lines, dumped: bool) -> tuple[dict[Path, int], dict[Path, str]]:
    """The `lines` and `words` of a document. Raises `YamlMistake`."""
    lines: dict[Path, int] = {(): count.of(node.start_mark)}
    merged: dict[Path, int] = {}
    words: dict[Path, str] = {}
    walk = _walk(node, (), (), count)
    for path, at, value, merge in islice(walk, None if dumped else MOST_VALUES):
        line = count.of(at.start_mark)
        if merge:
            merged.setdefault(path, line)
        elif path in lines:
            raise YamlMistake(line, f"given twice; the first is in line {lines[path]}", path)
        else:
            lines[path] = line
        if isinstance(value, yaml.ScalarNode) and value.style is None:
            if not dumped and (wrong := _ambiguous(value.value)):
                raise YamlMistake(count.of(value.start_mark), wrong, path)
            if value.tag != TAG + "str":
                words.setdefault(path, value.value)
    if next(walk, None) is not None:
        aliases = ", counting what aliases (*) repeat"
        raise YamlMistake(1, f"has more than {MOST_VALUES:,} keys and values{aliases}; a scenario has about 50")
    return merged | lines, words


def _walk(
    node: yaml.Node, path: Path, above: tuple[int, ...], count: _Lines, merge: bool = False
) -> Iterator[tuple[Path, yaml.Node, yaml.Node, bool]]:
    """Each key and list item: its path, the node that shows its place, its value, and whether `<<` merges it in."""
    if id(node) in above:
        raise YamlMistake(count.of(node.start_mark), "an alias that contains itself", path)
    above = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise YamlMistake(count.of(key.start_mark), "a key must be a plain word", path)
            if key.tag == TAG + "merge":
                for mapping in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    yield (*path, key.value), key, mapping, True  # so that an empty one counts as well
                    yield from _walk(mapping, path, above, count, merge=True)
            else:
                yield (*path, key.value), key, value, merge
                yield from _walk(value, (*path, key.value), above, count, merge)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, index), item, item, merge
            yield from _walk(item, (*path, index), above, count, merge)
