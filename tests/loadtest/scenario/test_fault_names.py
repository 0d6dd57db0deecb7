"""Only a fault's model, and what injects it, may name it: all other modules ask the model's attributes.

So a new fault needs no change where faults are classed, and cannot be forgotten there.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hs_drill
from hs_drill.scenario._faults import FAULTS, Fault, kind_of

PACKAGE = Path(hs_drill.__file__).parent
CLASSES = {kind.__name__ for kind in FAULTS.values()}

MAY_NAME = {"scenario/_faults.py", "nemesis/_actions.py", "nemesis/_network.py"}
"""Where `CONTRIBUTING.md` sends everybody who adds a fault."""
BELOW = ("servers", "proxy", "sandbox", "metrics")
"""Packages that cannot import the scenario's faults. The same words are their own operations there."""
OTHER_MEANINGS = {
    ("engine/_engine.py", "stop"),  # a message
    ("in_locust/_engine_link.py", "stop"),
    ("scenario/_model.py", "latency"),  # a key of `expect`
    ("scenario/_reader.py", "latency"),
    ("report/_words.py", "latency"),
    ("report/_tiles.py", "latency"),
    ("cli/_capacity_slo.py", "latency"),
    ("cli/_capacity_step.py", "latency"),
    ("verdict/_engine_limit.py", "lag"),  # of an engine's timers
    ("report/_sections.py", "lag"),
    ("cli/_cluster_text.py", "lag"),  # of a replica
}
AMBIGUOUS = ("command", "external")
"""Names that have other meanings everywhere: a kind of servers, and a program's command. Only their classes are looked for."""


def named_faults(source: str) -> Iterator[str]:
    """The faults that a module names: as a text, also at the beginning of one (`f"kill {server}"`), or by a model's class."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=str(text)) if text.strip() in FAULTS and text.strip() not in AMBIGUOUS:
                yield text.strip()
            case ast.Attribute(value=ast.Name(id="faults"), attr=name) if name in CLASSES:
                yield name
            case ast.ImportFrom(module=str(module), names=names) if module.endswith("_faults"):
                yield from (alias.name for alias in names if alias.name in CLASSES)


@pytest.mark.parametrize(
    "source, named",
    [
        ('FENCES = ("kill", "rejoin")', ["kill", "rejoin"]),
        ('event.name == f"pause {server}"', ["pause"]),
        ('name.startswith("promote ")', ["promote"]),
        ("isinstance(fault, faults.SwitchOver | faults.Fault)", ["SwitchOver"]),
        ("from ._faults import Fault, Kill", ["Kill"]),
        ("match kind:\n case 'lag': pass", ["lag"]),
        ('"""Kill."""\nraise ClusterError("cannot kill it")', []),
    ],
)
def test_the_search_finds_every_way_to_name_a_fault(source: str, named: list[str]) -> None:
    assert list(named_faults(source)) == named


def test_no_other_module_classes_faults_by_name() -> None:
    found = {
        (str(path.relative_to(PACKAGE)), name)
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in BELOW
        for name in named_faults(path.read_text())
    }
    assert {module for module, _ in found} >= MAY_NAME
    wrong = {one for one in found - OTHER_MEANINGS if one[0] not in MAY_NAME}
    assert not wrong, "put what this module needs to know into an attribute of `scenario._faults.Fault`, and ask that"
    assert found >= OTHER_MEANINGS, "an exception that is no longer needed"


def test_the_kind_of_a_shown_fault() -> None:
    assert kind_of("switch-over standby") is FAULTS["switch-over"]
    for unknown in ("writer", "switch-overs standby", ""):
        assert kind_of(unknown) is Fault


def test_a_fault_of_an_unknown_kind_has_no_effect() -> None:
    """An old history may name a fault that this version does not have."""
    known = [name for name in vars(Fault) if isinstance(getattr(Fault, name), bool) and not name.startswith(("_", "model_"))]
    assert {name for name in known if getattr(Fault, name)} == {"lasts"}
    assert len(known) > 10
