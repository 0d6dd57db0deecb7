"""The files of constraints pin everything that is installed with them, in versions that both pyproject.toml allow."""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections.abc import Iterator, Set
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.lowest import CONSTRAINTS, lowest

ROOT = Path(__file__).parents[1]
OURS = {"trio-hs", "trio-hs-drill"}
UNPINNED = {"setuptools"}
"""`pip freeze` leaves it out, and containers of other Pythons lack it."""


def pins(name: str) -> dict[str, str]:
    """The versions in a file of constraints, by the canonical name of their distribution."""
    lines = [line.split("==") for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(distribution): version for distribution, version in lines}


def declared(extras: Set[str]) -> Iterator[Requirement]:
    """What both pyproject.toml require, with these extras."""
    for name in ("pyproject.toml", "loadtest/pyproject.toml"):
        project = tomllib.loads((ROOT / name).read_text())["project"]
        optional = project["optional-dependencies"]
        for text in [*project["dependencies"], *(one for extra in extras & set(optional) for one in optional[extra])]:
            if (requirement := Requirement(text)).name not in OURS:
                yield requirement


def needed_by(requirement: Requirement, found: set[str]) -> None:
    """Add the names of a distribution that is installed, and of all that it needs."""
    name = canonicalize_name(requirement.name)
    label = f"{name}{sorted(requirement.extras)}"
    if label in found or name in UNPINNED:
        return
    found |= {name, label}
    for text in importlib.metadata.requires(name) or []:
        one = Requirement(text)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in requirement.extras or {""}):
            needed_by(one, found)


@pytest.mark.parametrize(
    "name, extras",
    [
        ("constraints.txt", {"describe", "otel", "testing", "test", "docs", "sql", "bench", "metrics"}),
        ("constraints-lowest.txt", {"describe", "otel", "testing", "test", "docs", "metrics"}),
    ],
)
def test_what_is_declared_is_pinned_in_a_version_that_is_allowed(name: str, extras: Set[str]) -> None:
    pinned = pins(name)
    wanted = list(declared(extras))
    assert len(wanted) > 20
    wrong = [
        str(one)
        for one in wanted
        if (found := pinned.get(canonicalize_name(one.name))) is None or not one.specifier.contains(found)
    ]
    assert not wrong, f"{name} has no such versions"


def test_what_those_need_is_pinned_too() -> None:
    """Otherwise the tests run with whatever is newest that day."""
    found: set[str] = set()
    for text in ("trio-hs[test]", "trio-hs-drill"):
        needed_by(Requirement(text), found)
    needed = {one for one in found if "[" not in one} - OURS
    assert len(needed) > 50
    lowest_ones = pins(CONSTRAINTS.name)
    here = lowest_ones if importlib.metadata.version("trio") == lowest_ones["trio"] else pins("constraints.txt")
    assert not needed - set(here)


def test_the_lowest_versions_that_are_tested_are_those_that_are_declared() -> None:
    pinned = pins(CONSTRAINTS.name)

    def same(declared: str, tested: str) -> bool:
        return tested == declared or tested.removeprefix(declared).strip(".0") == ""

    wrong = {name for name, bound in lowest() if not same(bound, pinned[canonicalize_name(name)])}
    assert not wrong, "run scripts/lowest.py"
