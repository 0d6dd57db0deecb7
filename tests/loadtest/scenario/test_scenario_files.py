"""The shipped scenarios: they are valid, state their verdict, and are kept unchanged with a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from hs_drill.scenario._mix import STEPS, WRITES
from hs_drill.scenario._reader import load_scenario
from hs_drill.store import RunDirectory
from tests.loadtest.support.drills import drills, path_of, stated_exit_code
from tests.loadtest.support.locust_process import ROOT

SCENARIOS = sorted(path.stem for path in (ROOT / "scenarios").glob("*.yaml"))


def test_there_are_at_least_ten_drills() -> None:
    assert len(drills()) >= 10


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_valid_and_begins_with_what_it_shows(name: str) -> None:
    scenario = load_scenario(path_of(name))
    assert scenario.name == name
    assert scenario.description
    assert path_of(name).read_text().startswith("# Shows ")


@pytest.mark.parametrize("name", drills())
def test_a_drill_states_its_verdict_and_expects_something(name: str) -> None:
    scenario = load_scenario(path_of(name))
    code = stated_exit_code(name)
    assert f"exit code {code}." in path_of(name).read_text(), "the comment for people says the same"
    assert scenario.expect.model_fields_set >= ({"lost", "applied_twice"} if scenario.audited else {"latency"})
    assert 15 <= scenario.load.lasts <= 30


@pytest.mark.parametrize("name", drills())
def test_a_drill_expects_only_what_its_load_can_show(name: str) -> None:
    scenario = load_scenario(path_of(name))
    operations = set(scenario.weights)
    assert operations & set(WRITES) or scenario.expect.lost is None
    assert operations & set(STEPS) or scenario.expect.applied_twice is None
    assert scenario.cluster.topology == "write-through" or scenario.expect.staleness is None, "no reader gets what is written"


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_run_keeps_its_scenario_unchanged(name: str, tmp_path: Path) -> None:
    scenario = load_scenario(path_of(name))
    assert RunDirectory.create(scenario, tmp_path).scenario() == scenario


def test_runs_of_one_second_are_kept_apart(tmp_path: Path) -> None:
    scenario = load_scenario(path_of("mixed"))
    paths = {RunDirectory.create(scenario, tmp_path).path for _ in range(5)}
    assert len(paths) == 5
