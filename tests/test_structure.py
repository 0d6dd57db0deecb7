"""The layout: what several tests share lies in a ``support`` package or a conftest; one version number; the files that
CONTRIBUTING names exist; and no function, module or folder grows without bound."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import trio_hs

TESTS = Path(__file__).parent
ROOT = TESTS.parent
SOURCES = ("trio_hs", "loadtest", "benchmarks", "scripts")

MODULE_LINES = 450
FUNCTION_LINES = 60
LONGER = re.compile(r"^Longer than (?:most|other) modules because [^.]{10,}\.$", re.MULTILINE)
"""What the docstring of a longer module says, in a line of its own."""


def modules_of(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


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
    assert f"trio-hs[testing]=={trio_hs.__version__}" in declared["project"]["dependencies"], (
        "the harness needs the client of its version"
    )


def test_the_files_that_contributing_sends_to_exist() -> None:
    """A bare name is in the folder of the name before it, or in `hs_drill`; other paths are below `hs_drill`, or the root."""
    root = TESTS.parent
    rows = [line for line in (root / "CONTRIBUTING.md").read_text().splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 20
    for row in rows:
        folder = root / "loadtest/hs_drill"
        for name in re.findall(r"`([\w./]+(?:\.(?:py|js|css|md|json|sh)|/))`", row):
            if "NAME" in name:
                continue
            if "/" not in name:
                path = folder / name
            else:
                path = (root if name.startswith(("docs/", "scripts/", "trio_hs/")) else root / "loadtest/hs_drill") / name
            assert path.exists(), f"{name} in: {row}"
            folder = path if path.is_dir() else path.parent


def test_a_module_is_short_or_says_why_not() -> None:
    modules = modules_of(*SOURCES, "tests")
    assert len(modules) > 300
    for path in modules:
        lines = len(path.read_text().splitlines())
        reason = LONGER.search(ast.get_docstring(ast.parse(path.read_text())) or "")
        if lines > MODULE_LINES:
            assert reason, f"{path.relative_to(ROOT)} has {lines} lines: split it, or say why it is `Longer than most modules`"
        else:
            assert not reason, f"{path.relative_to(ROOT)} says why it is long, but has {lines} lines"


def test_functions_are_short() -> None:
    functions = [
        (node.end_lineno - node.lineno + 1, f"{path.relative_to(ROOT)}: {node.name}")
        for path in modules_of(*SOURCES)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    ]
    assert len(functions) > 2000
    long = [f"{name} has {lines} lines" for lines, name in functions if lines > FUNCTION_LINES]
    assert not long, f"signature and docstring included, a function has at most {FUNCTION_LINES} lines"


def test_few_modules_of_the_harness_lie_in_no_package() -> None:
    modules = [path.name for path in (ROOT / "loadtest/hs_drill").glob("*.py")]
    assert "__main__.py" in modules
    assert len(modules) <= 12, f"put the new one into a package: {modules}"


def test_every_module_says_what_it_is_for() -> None:
    """`./dev map` shows the first sentence of the docstring."""
    silent = [
        str(path.relative_to(ROOT)) for path in modules_of(*SOURCES) if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent
