"""Print every module with the first paragraph of its docstring: `./dev map [WORD]`.

With a word, those that have it in their path, in their docstring, or in a name that they define.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("trio_hs", "loadtest", "tests", "benchmarks", "scripts")


def line_and_words(path: Path) -> tuple[str, list[str]]:
    """The path below the root with what its docstring says first; and its whole docstring and the names that it defines."""
    module = ast.parse(path.read_text())
    described = ast.get_docstring(module) or ""
    first = " ".join(described.partition("\n\n")[0].split())
    line = f"{path.relative_to(ROOT)!s:52} {first}"
    return line, [" ".join(described.split()), *_names(module)]


def _names(module: ast.Module) -> Iterator[str]:
    """The names that a module defines: functions, constants, classes and what is in them."""
    classes = [one for one in module.body if isinstance(one, ast.ClassDef)]
    for one in chain(module.body, *(each.body for each in classes)):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield one.name
        elif isinstance(one, ast.Assign | ast.AnnAssign):
            targets = one.targets if isinstance(one, ast.Assign) else [one.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def main() -> None:
    word = " ".join(sys.argv[1:]).lower()
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            line, words = line_and_words(path)
            if any(word in each.lower() for each in (line, *words)) and not line.endswith(" "):
                named = [each for each in words if word and word in each.lower() and " " not in each]
                print(line, *(f"[{', '.join(named)}]" for _ in named[:1]))


if __name__ == "__main__":
    main()
