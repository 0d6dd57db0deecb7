"""`./dev bench harness`: its contenders run, and it judges its claims. (What they do in a second means nothing.)"""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.harness import ALONE, BY_SQL, CLAIMS, ENGINE, OURS, PLAIN, ROOT, Cpu, contenders, report
from hs_drill._cluster import Cluster
from hs_drill.scenario import Scenario, load_scenario
from tests.loadtest.support.external import external, fill


def with_few_rows(scenario: Scenario) -> Scenario:
    return scenario.model_copy(update={"table": scenario.table.model_copy(update={"rows": 500})})


@pytest.mark.mariadb
async def test_each_contender_runs_and_measures(cluster: Cluster, tmp_path: Path) -> None:
    if find_spec("MySQLdb") is None:
        assert os.environ.get("CI") != "true", "CI must have mysqlclient"
        pytest.skip("mysqlclient is not installed")
    cpu: Cpu = {}
    mixed, get_only = (with_few_rows(load_scenario(ROOT / f"scenarios/{name}.yaml")) for name in ("mixed", "get-only"))
    # Those of the harness start servers of their own. That it runs by SQL too: engine/test_sql_driver.py.
    own = contenders(replace(cluster, kind="embedded"), mixed, tmp_path, 1, 8, cpu)
    assert own.keys() == {OURS, BY_SQL, PLAIN}
    assert await own[OURS]() > 0
    async with external(cluster, may_create=True) as control:
        await fill(control, mixed)
        assert await contenders(cluster, mixed, tmp_path, 1, 8, cpu)[PLAIN]() > 0
        found = contenders(cluster, get_only, tmp_path, 1, 8, cpu)
        assert found.keys() == {OURS, BY_SQL, PLAIN, ENGINE, ALONE}
        assert await found[ENGINE]() > 0
        assert await found[ALONE]() > 0
    assert all(len(values) == 1 and values[0] > 0 for values in (cpu[ENGINE], cpu[ALONE]))


@pytest.mark.parametrize("times, holds", [(0.9, False), (1.0, True)])
def test_a_claim_holds_or_not(times: float, holds: bool, capsys: pytest.CaptureFixture[str]) -> None:
    results = {OURS: [1.0, 100 * CLAIMS["mixed", PLAIN] * times, 1e9], PLAIN: [1.0, 100.0, 1e9]}
    assert report("mixed", results, {}, 64) is holds
    assert ("does not hold" in capsys.readouterr().out) is not holds


@pytest.mark.parametrize("engine, holds", [(6.2, True), (6.3, False)])
def test_what_the_engine_adds_is_judged_by_its_cpu_time(engine: float, holds: bool) -> None:
    cpu = {ENGINE: [1.0, engine, 9.0], ALONE: [4.0, 5.0, 6.0]}
    assert report("get-only", {OURS: [100.0], PLAIN: [1.0]}, cpu, 64) is holds
