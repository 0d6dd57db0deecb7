"""The drills that are shipped in `scenarios/`: what each says of its own verdict, and a shorter form of each for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hs_drill.scenario import _stated_verdict
from hs_drill.scenario._base import seconds
from tests.loadtest.support.locust_process import ROOT


def path_of(drill: str) -> Path:
    return ROOT / "scenarios" / f"{drill}.yaml"


def drills() -> list[str]:
    """The scenarios in which something goes wrong."""
    return [path.stem for path in sorted((ROOT / "scenarios").glob("*.yaml")) if "faults" in yaml.safe_load(path.read_text())]


def stated_exit_code(drill: str) -> int:
    """What the comment at the beginning says."""
    stated = _stated_verdict.stated_exit_code(path_of(drill))
    assert stated is not None, drill
    return stated


def shortened(drill: str, factor: float) -> str:
    """The same drill in a fraction of its time, with fewer rows, and as many users: how fast it is steady again is measured by
    what they did before, and a few users on an idle machine do more than the same few beside a server that starts."""
    scenario: dict[str, Any] = yaml.safe_load(path_of(drill).read_text())
    scenario["load"]["duration"] = seconds(scenario["load"]["duration"]) * factor  # type: ignore[operator]
    scenario["table"] = {"rows": 500}
    for fault in scenario["faults"]:
        for key in ("at", "for"):
            if key in fault:
                fault[key] = seconds(fault[key]) * factor  # type: ignore[operator]
    return yaml.safe_dump(scenario)
