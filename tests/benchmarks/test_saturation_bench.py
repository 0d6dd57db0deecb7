"""`./dev bench saturation`: it runs, and says of each claim whether it holds. (What it measures in a second means nothing.)"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.saturation import LEAST, MOST, Measured, report
from hs_drill.metrics import EngineUse
from hs_drill.verdict._engine_limit import EngineTotal
from tests.support.patience import patience

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.process
def test_a_closed_and_two_open_loops_beside_a_probe() -> None:
    command = [sys.executable, "-m", "benchmarks.saturation", "--seconds", "1", "--shares", "--cluster", "embedded"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=patience(100), check=False)
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout.count(": holds (") + done.stdout.count(": does not hold (") == 3


def measured(*, servers: int = 200, limit: bool = False) -> Measured:
    use = EngineUse(Counter({50: 100}), 1.0, 1.0 if limit else 0.5)
    total = EngineTotal({0: use}, 1.0, 1.0 if limit else 0.0)
    return Measured(
        Counter({800: 10}),
        Counter({servers: 10}),
        socket=Counter({150: 10}),
        client=Counter({500: 10}),
        engine=total,
        seconds=1.0,
    )


@pytest.mark.parametrize(
    "least, most, holds",
    [
        (measured(), measured(limit=True), True),
        (measured(limit=True), measured(limit=True), False),
        (measured(), measured(), False),
        (measured(servers=301), measured(limit=True), False),
        (measured(servers=74), measured(limit=True), False),
    ],
    ids=[
        "all",
        "limit-too-early",
        "limit-not-told",
        "servers-too-slow",
        "servers-too-fast",
    ],
)
def test_a_claim_holds_or_not(least: Measured, most: Measured, holds: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(measured(limit=True), {LEAST: least, MOST: most}) is holds
    assert ("does not hold" in capsys.readouterr().out) is not holds
