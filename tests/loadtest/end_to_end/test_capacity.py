"""A search for capacity with real runs: Locust, engines, and embedded servers with a planted limit."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from hs_drill.cli._capacity_search import Outcome, Step
from hs_drill.cli._capacity_slo import Objective
from hs_drill.cli._capacity_step import Steps
from hs_drill.scenario import load_scenario
from hs_drill.store import RunDirectory
from tests.loadtest.support.locust_process import ROOT
from tests.loadtest.support.processes import marked
from tests.support.ending import ENDS_WITH_ITS_STARTER
from tests.support.patience import patience, wait_until

pytestmark = pytest.mark.process

PLANTED = ROOT / "tests/loadtest/support/planted"
MARK = "TRIO_HS_TEST"
SCENARIO = """\
name: gets
cluster: {readers: 1, kind: embedded}
table: {rows: 100, value_size: 20}
load: {rate: 1, arrivals: even, warm_up: 100ms}
mix: {get: 1}
"""


@pytest.fixture
def limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of a search on servers that serve at most 7 gets a second. Nothing of it may stay behind."""
    path = os.pathsep.join(filter(None, [str(PLANTED), os.environ.get("PYTHONPATH")]))
    for name, value in {"PYTHONPATH": path, "PLANT": "limit", "PER_SECOND": "7", MARK: str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(SCENARIO)
    yield tmp_path
    monkeypatch.undo()
    wait_until(lambda: not marked(f"{MARK}={tmp_path}"), "processes are left")


async def test_a_rate_below_a_planted_limit_holds_and_one_above_it_does_not(limited: Path) -> None:
    """Beyond the limit no operation fails: they wait, and that too few succeed in time is why the rate does not hold.

    Rates are so low that an engine which is late by a tenth of a second changes nothing.
    """
    steps = Steps(Path("s.yaml"), load_scenario("s.yaml"), [Objective.parse("errors = 0")], 0, shortest=2, warm_up=0.1)
    found: dict[float, Step] = {}

    async def measure(rate: float) -> None:
        found[rate] = await steps.measure(rate, 1)

    async with trio.open_nursery() as nursery:
        for rate in (5, 10):
            nursery.start_soon(measure, rate)
    assert found[5].outcome is Outcome.HOLDS, found
    assert found[10].outcome is Outcome.MISSED, found
    assert found[10].details["figures"]["all.throughput.before"] < 8
    (why,) = found[10].why
    assert re.fullmatch(r"only [\d.]+/s succeeded of 10/s", why)
    assert found[10].details["servers_cpu"].keys() == {"writer", "reader-1"}
    run = RunDirectory.open(Path(found[5].details["run"]))
    assert run.path.parent == limited / "runs"
    assert run.scenario().load.rate == 5
    assert run.report.exists()


def test_sigterm_ends_the_step_in_order(limited: Path) -> None:
    command = [sys.executable, "-m", "hs_drill", "capacity", "s.yaml", "--slo", "errors = 0", "--from", "5", "--step", "100s"]
    with subprocess.Popen(
        [*ENDS_WITH_ITS_STARTER, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until(lambda: bool(list(limited.glob("runs/*/batches.bin"))), "no load")
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=patience(60))
        finally:
            process.kill()
    assert process.returncode == 5, (out, err)
    assert "SIGTERM ended it after 0 steps" in out
    (run,) = (limited / "runs").iterdir()
    assert json.loads((run / "result.json").read_text())["ended_by"] == "SIGTERM"
