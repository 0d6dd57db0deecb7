"""The whole way from a defect to the audit's findings: real processes, with a defect planted in the server or in the client."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from hs_drill.store import History, Operation, Outcome, RunDirectory
from tests.loadtest.support.locust_process import Locust

pytestmark = pytest.mark.process

PLANTED = Path(__file__).parents[1] / "support" / "planted"
HEADLESS = ("--headless", "--only-summary", "--explain")
EMBEDDED = ("--cluster", "embedded")


def environment(plant: str, tmp_path: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(PLANTED), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "PLANT": plant, "PLANTED": str(tmp_path)}


def run(scenario: str, env: dict[str, str], *options: str) -> tuple[int, dict[str, Any], set[int]]:
    """A run: its exit code, its result, and the keys of the rows of which a change was acknowledged."""
    with Locust(*HEADLESS, *options, scenario=scenario, env=env) as locust:
        code = locust.finish()
        result = json.loads((locust.run / "result.json").read_text())
        histories = [History(path) for path in RunDirectory(locust.run).histories()]
        records = [record for history in histories for record in history.records() if record.outcome == Outcome.OK]
        changes = (Operation.INSERT, Operation.UPDATE, Operation.INCR, Operation.DECR)
        written = {record.key for record in records if record.operation in changes}
        assert "Traceback" not in locust.stderr, locust.describe()
    return code, result, written


def keys(result: dict[str, Any], check: str) -> set[int]:
    return {finding["key"] for finding in result["audit"][check]["findings"]}


def noted(tmp_path: Path, name: str) -> set[int]:
    return {int(line) for line in (tmp_path / name).read_text().split()}


def test_a_server_that_forgets_spoils_counts_twice_resurrects_and_lags_is_found_out(tmp_path: Path) -> None:
    scenario = """\
name: planted
cluster: {readers: 1, topology: write-through}
table: {rows: 300, value_size: 20}
load: {users: 2, duration: 7s, think_time: 2ms}
mix: {get: 40, insert: 20, incr: 20, update: 20, delete: 10}
audit: {reads: 1.0}
faults:
  - {fault: lag, target: reader-1, seconds: 2, at: 1s, for: 3s}
expect: {lost: 0, applied_twice: 0, staleness: 1s, no_resurrection: true}
"""
    code, result, written = run(scenario, environment("amounts", tmp_path), *EMBEDDED)
    assert code == 3
    checks = result["audit"]

    forgotten, spoilt = noted(tmp_path, "forgotten"), noted(tmp_path, "spoilt")
    resurrected = noted(tmp_path, "resurrected") - spoilt  # what comes back spoilt names no write
    assert checks["no_resurrection"]["count"] == len(resurrected) > 0
    assert keys(result, "no_resurrection") <= resurrected
    assert checks["lost"]["count"] == len(forgotten) + len(resurrected) > len(resurrected)
    assert keys(result, "lost") <= forgotten | resurrected
    assert len(keys(result, "lost")) == min(len(forgotten) + len(resurrected), 20)

    assert checks["unexpected"]["count"] >= len(spoilt - noted(tmp_path, "deleted")) > 0
    doubled = noted(tmp_path, "doubled")
    for finding in checks["unexpected"]["findings"]:
        if finding["key"] in spoilt:
            assert "payload or group does not match its checksum" in finding["line"]
        else:
            assert finding["key"] in doubled
            assert re.search(r"a read saw the counter n at \d+, which no increments and decrements lead to$", finding["line"])
    assert keys(result, "applied_twice") <= doubled
    assert len(keys(result, "applied_twice")) == min(len(doubled), 20) > 0
    assert checks["counters"]["count"] == len(doubled)

    (staleness,) = [one for one in result["expectations"] if one["name"] == "staleness"]
    assert staleness["result"] == "miss"
    assert 1 < staleness["measured"] < 7
    assert keys(result, "stale_reads") <= written
    assert any("lag reader-1" in finding["faults"] for finding in checks["stale_reads"]["findings"])


def test_a_server_that_answers_before_it_commits_and_reorders_is_found_out(tmp_path: Path) -> None:
    """With one user no operation overlaps another one, so that every fault is certain."""
    scenario = """\
name: planted
cluster: {readers: 1, topology: write-through}
table: {rows: 6, groups: 3, value_size: 20}
load: {users: 1, duration: 3s, think_time: 1ms}
mix: {own: {do: get, from: primary, weight: 60}, update: 40}
audit: {reads: 1.0}
expect: {monotonic_writes: true}
"""
    code, result, _ = run(scenario, environment("order", tmp_path), *EMBEDDED)
    assert code == 3

    reordered, early = noted(tmp_path, "reordered"), noted(tmp_path, "early")
    assert keys(result, "monotonic_writes") == reordered != set()
    never_lost = {key for key in early if key % 2 == 0}
    assert never_lost | reordered <= keys(result, "linearizable") <= early | reordered
    assert never_lost
    missed = {one["name"] for one in result["expectations"] if one["result"] == "miss"}
    assert missed >= {"linearizable", "monotonic_writes"}


def test_a_client_that_repeats_increments_is_found_out(tmp_path: Path) -> None:
    """With the client as it is the drill reply-loss, the same fault under the same load, passes."""
    scenario = """\
name: planted
cluster: {readers: 1}
table: {rows: 300, value_size: 20}
load: {users: 4, duration: 4s, think_time: 2ms}
mix: {get: 50, incr: 50}
faults:
  - {fault: drop-replies, target: writer, listener: write, after: 20, at: 500ms, for: 3s}
expect: {applied_twice: 0}
"""
    code, result, _ = run(scenario, environment("repetition", tmp_path), *EMBEDDED)
    assert code == 3
    retried = noted(tmp_path, "retried")
    found = keys(result, "applied_twice")
    assert found
    assert found <= retried
    assert result["audit"]["lost"]["count"] == 0


def test_what_a_new_primary_forgets_while_the_old_one_is_cut_off_is_no_split_brain(tmp_path: Path) -> None:
    scenario = """\
name: cut off
cluster: {readers: 1, standby: true, topology: write-through}
table: {rows: 300, value_size: 20}
load: {users: 6, duration: 14s, think_time: 5ms}
mix: {get: 20, insert: 80}
faults:
  - {fault: partition, target: writer, at: 1s}
  - {fault: promote, target: standby, at: 2s}
expect: {lost: 0}
"""
    code, result, _ = run(scenario, environment("amounts", tmp_path), *EMBEDDED)
    assert code == 3
    lost = result["audit"]["lost"]
    assert lost["measured"].get("split_brain", 0) == 0
    assert lost["measured"]["perhaps_split_brain"] == 0
    assert 0 < lost["measured"]["lost_by_promoted"] <= lost["count"]
    assert "split brain" not in lost["explanation"]
    assert any(line.startswith("standby itself lost writes that it had acknowledged") for line in result["advice"])
    assert not any("Fence the old primary" in line for line in result["advice"])
