"""Parses YAML into plain data, and tells the line of each key path."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

__all__ = ["Document", "YamlMistake", "parse"]

Path = tuple[str | int, ...]

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
    lines: dict[Path, int]
    """Path of each key and list item in the text -> its line. `()` is the document itself."""

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


class _Constructor(yaml.SafeLoader):
    def __init__(self, text: str, lines: _Lines) -> None:
        super().__init__(text)
        self._lines = lines

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        # PyYAML lets the ValueError of int("", 2) or date(2024, 13, 1) through, without a line.
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, OverflowError, IndexError, KeyError, TypeError) as error:
            raise YamlMistake(self._lines.of(node.start_mark), f"not a valid value: {error}") from error


def parse(text: str) -> Document:
    """Parse one YAML document. Raises `YamlMistake`, also for a key that is given twice."""
    count = _Lines(text)
    try:
        loader = _Constructor(text, count)
        node = loader.get_single_node()
        if node is None:
            raise YamlMistake(1, "the file is empty")
        lines: dict[Path, int] = {(): count.of(node.start_mark)}
        for path, line in _walk(node, (), (), count):
            if path in lines:
                raise YamlMistake(line, f"given twice; the first is in line {lines[path]}", path)
            lines[path] = line
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
    return Document(data, lines)


def _walk(node: yaml.Node, path: Path, above: tuple[int, ...], count: _Lines) -> Iterator[tuple[Path, int]]:
    if id(node) in above:
        raise YamlMistake(count.of(node.start_mark), "an alias that contains itself", path)
    above = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = count.of(key.start_mark)
            if not isinstance(key, yaml.ScalarNode):
                raise YamlMistake(line, "a key must be a plain word", path)
            yield (*path, key.value), line
            yield from _walk(value, (*path, key.value), above, count)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, index), count.of(item.start_mark)
            yield from _walk(item, (*path, index), above, count)
