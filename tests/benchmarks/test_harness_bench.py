"""`./dev bench harness`: it runs, and says of each claim whether it holds. (What it measures in a second means nothing.)"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.harness import ALONE, CLAIMS, ENGINE, OURS, PLAIN, report

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.mariadb
def test_the_mixed_scenario_beside_its_like_by_sql() -> None:
    if find_spec("MySQLdb") is None:
        assert os.environ.get("CI") != "true", "CI must have mysqlclient"
        pytest.skip("mysqlclient is not installed")
    command = [sys.executable, "-m", "benchmarks.harness", "--rounds", "1", "--seconds", "1", "--only", "mixed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout.count("holds") + done.stdout.count("does not hold") == 1


@pytest.mark.parametrize("times, holds", [(0.9, False), (1.0, True)])
def test_a_claim_holds_or_not(times: float, holds: bool, capsys: pytest.CaptureFixture[str]) -> None:
    results = {OURS: [1.0, 100 * CLAIMS["mixed", PLAIN] * times, 1e9], PLAIN: [1.0, 100.0, 1e9]}
    assert report("mixed", results, {}, 64) is holds
    assert ("does not hold" in capsys.readouterr().out) is not holds


@pytest.mark.parametrize("engine, holds", [(6.2, True), (6.3, False)])
def test_what_the_engine_adds_is_judged_by_its_cpu_time(engine: float, holds: bool) -> None:
    cpu = {ENGINE: [1.0, engine, 9.0], ALONE: [4.0, 5.0, 6.0]}
    assert report("get-only", {OURS: [100.0], PLAIN: [1.0]}, cpu, 64) is holds
