"""The drills that are shipped in `scenarios/`: what each says of its own verdict, and a shorter form of each for tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from hs_drill.scenario import _stated_verdict
from hs_drill.scenario._base import seconds
from tests.loadtest.support.locust_process import ROOT, Locust


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
    """The same drill in a fraction of its time, with fewer rows, and as many users, who think: how fast it is steady again is
    measured by what they did before, and users who never wait do more on an idle machine than beside a server that starts."""
    scenario: dict[str, Any] = yaml.safe_load(path_of(drill).read_text())
    scenario["load"]["duration"] = seconds(scenario["load"]["duration"]) * factor  # type: ignore[operator]
    scenario["load"].setdefault("think_time", "50ms")
    scenario["table"] = {"rows": 500}
    for fault in scenario["faults"]:
        for key in ("at", "for"):
            if key in fault:
                fault[key] = seconds(fault[key]) * factor  # type: ignore[operator]
    return yaml.safe_dump(scenario)


PAUSED = """\
name: paused
cluster: {readers: 2, kind: embedded}
table: {rows: 500}
load: {users: 8, duration: 10m, think_time: 20ms}
mix: {get: 60, insert: 20, incr: 20}
faults:
  - {fault: pause, target: reader-1, at: 1s}
  - {fault: lag, target: reader-2, seconds: 1, at: 1s}
expect: {lost: 0, applied_twice: 0}
"""


def stopped(locust: Locust) -> list[int]:
    """Its processes that SIGSTOP has stopped."""
    found = []
    for pid in locust.processes():
        try:
            if re.search(r"^State:\s+T", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE):
                found.append(pid)
        except OSError:
            pass  # it has just ended
    return found


def wait_for_the_pause(locust: Locust) -> None:
    locust.wait_for("fault: pause reader-1")
    locust.wait_until(lambda: len(stopped(locust)) == 1, "no process is paused")
