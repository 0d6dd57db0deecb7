"""The layout: what several tests share lies in a ``support`` package or a conftest; one version number; and the
files that CONTRIBUTING names exist."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import trio_hs
from scripts.lowest import CONSTRAINTS, lowest

TESTS = Path(__file__).parent


def imported(path: Path) -> Iterator[str]:
    """The absolute name of everything that a module imports."""
    package = path.relative_to(TESTS.parent).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = package[: len(package) - node.level + 1] if node.level else ()
            yield from (".".join((*parent, *filter(None, (node.module, alias.name)))) for alias in node.names)


def test_no_module_imports_a_test_module() -> None:
    modules = sorted(TESTS.rglob("*.py"))
    tests = {
        ".".join(path.relative_to(TESTS.parent).with_suffix("").parts) for path in modules if path.name.startswith("test_")
    }
    assert len(tests) > 50
    wrong = {
        f"{path.relative_to(TESTS.parent)} imports {name}"
        for path in modules
        for name in imported(path)
        if any(name == test or name.startswith(f"{test}.") for test in tests)
    }
    assert not wrong


def test_both_distributions_have_the_version_of_the_package() -> None:
    for project in ("pyproject.toml", "loadtest/pyproject.toml"):
        declared = tomllib.loads((TESTS.parent / project).read_text())
        assert declared["project"]["dynamic"] == ["version"]
        path = (TESTS.parent / project).parent / declared["tool"]["hatch"]["version"]["path"]
        assert path.resolve() == Path(trio_hs.__file__)


def test_the_files_that_contributing_sends_to_exist() -> None:
    """A bare name is in the folder of the name before it; other paths are below `hs_drill`, or the root."""
    root = TESTS.parent
    rows = [line for line in (root / "CONTRIBUTING.md").read_text().splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 20
    for row in rows:
        folder = root / "loadtest/hs_drill"
        for name in re.findall(r"`([\w./]+(?:\.(?:py|js|css|md|json)|/))`", row):
            candidates = [folder / name, root / "loadtest/hs_drill" / name, root / "loadtest" / name, root / name]
            found = next((path for path in candidates if path.exists()), None)
            assert found is not None or "NAME" in name, f"{name} in: {row}"
            if found is not None:
                folder = found if found.is_dir() else found.parent


def test_the_lowest_versions_that_are_tested_are_those_that_are_declared() -> None:
    pinned = dict(line.lower().split("==") for line in CONSTRAINTS.read_text().splitlines() if "==" in line)

    def same(declared: str, tested: str) -> bool:
        return tested == declared or tested.removeprefix(declared).strip(".0") == ""

    wrong = {name for name, bound in lowest() if not same(bound, pinned[name.lower()])}
    assert not wrong, "run scripts/lowest.py"
