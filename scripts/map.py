"""Print every module with the first sentence of its docstring: `./dev map [WORD]` shows those that contain a word."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("trio_hs", "loadtest", "tests", "benchmarks", "scripts")


def line_of(path: Path) -> str:
    """The path below the root, and what its docstring says first."""
    described = ast.get_docstring(ast.parse(path.read_text())) or ""
    first = " ".join(described.partition("\n\n")[0].split())
    return f"{path.relative_to(ROOT)!s:52} {first}"


def main() -> None:
    word = " ".join(sys.argv[1:]).lower()
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            line = line_of(path)
            if word in line.lower() and not line.endswith(" "):
                print(line)


if __name__ == "__main__":
    main()
