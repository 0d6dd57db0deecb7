"""Numbers agree with their nouns (`1 row`, `2 rows`) in the client's texts: by `counted`, not by a fixed plural."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import trio_hs
from trio_hs._counted import counted

NOUNS = (
    "answer|attempt|batch|bit|byte|character|chunk|client|column|connection|digit|error|event|field|file|index|key|line|operation"
    "|partition|process|reader|record|replica|request|retry|row|run|second|server|session|step|task|time|user|value|worker"
)
PLURAL = re.compile(rf" ({NOUNS})e?s\b")
ALWAYS_MANY = {
    "MAX_ANSWER_BYTES",
    "MAX_BYTES",
    "MAX_DEATHS",
    "MAX_INSERT_VALUES",
    "MAX_KEY_VALUES",
    "len(line)",
    "len(partitions)",
    "len(sent)",
    "size characters or bytes",
}
"""Expressions that are never 1 where they are shown."""


def fixed_plurals(source: str) -> Iterator[str]:
    """The numbers in f-strings before a plural, as `{len(rows)} rows`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            for number, text in pairwise(node.values):
                if isinstance(number, ast.FormattedValue) and isinstance(text, ast.Constant) and PLURAL.match(str(text.value)):
                    yield f"{ast.unparse(number.value)}{str(text.value)[:20]}"


def test_the_search_finds_a_fixed_plural() -> None:
    source = """f"{len(rows)} rows" + f"of {index.width} columns, {counted(n, 'value')}" + f"{name} names no {x}" """
    assert list(fixed_plurals(source)) == ["len(rows) rows", "index.width columns, "]


def test_a_number_agrees_with_its_noun() -> None:
    assert [counted(n, "row") for n in (0, 1, 2, 1000)] == ["0 rows", "1 row", "2 rows", "1000 rows"]
    assert [counted(n, "index", "indexes") for n in (1, 2)] == ["1 index", "2 indexes"]


def test_no_text_has_a_fixed_plural() -> None:
    root = Path(trio_hs.__file__).parent
    found = [
        f"{path.relative_to(root)}: {one}"
        for path in sorted(root.rglob("*.py"))
        for one in fixed_plurals(path.read_text())
        if not one.startswith(tuple(ALWAYS_MANY))
    ]
    assert not found
