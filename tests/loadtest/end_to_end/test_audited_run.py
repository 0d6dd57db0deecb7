"""The engine's own history of a run against real MariaDB, audited: clean as it is, and exact about what we then spoil."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from hs_drill._cluster import Cluster
from hs_drill.audit._audit import Audit, Validity, audit
from hs_drill.scenario import Scenario, parse_scenario
from hs_drill.servers import execute_sql
from hs_drill.store import NO_COUNT, READS, FinalState, History, Operation, Outcome, write_final_state
from hs_drill.workload import INITIAL, payload_of, version_of
from tests.loadtest.support.child import Child, child
from tests.loadtest.support.external import external, fill
from tests.support.patience import patience

pytestmark = pytest.mark.mariadb

DATABASE = "audited"
LOADED = 200
SCENARIO = f"""\
name: audited
table: {{database: {DATABASE}, rows: {LOADED}, groups: 10, value_size: 20}}
mix:
  get: 20
  find: {{weight: 5, limit: 3}}
  get_many: {{weight: 5, count: 4}}
  insert: 10
  incr: 10
  decr: {{weight: 10, step: 3}}
  update: 20
  delete: 5
audit: {{reads: 1}}
"""


@pytest.fixture
async def alone(cluster: Cluster) -> AsyncIterator[Cluster]:
    """A server alone, which is read where it is written: what HandlerSocket writes straight to InnoDB is not replicated."""
    async with external(replace(cluster, servers=(cluster.writer,)), may_create=True) as control:
        await fill(control, parse_scenario(SCENARIO, "s.yaml"), any_rows=True)
        yield control.cluster


@asynccontextmanager
async def running(cluster: Cluster, folder: Path) -> AsyncIterator[Child]:
    """An engine with eight users."""
    scenario = parse_scenario(SCENARIO, "s.yaml")
    async with child("hs_drill.engine") as engine:
        await engine.send("setup", cluster=cluster.to_dict(), scenario=scenario.model_dump(mode="json"), worker=0, each=False)
        await engine.until("ready")
        await engine.send("start", run=1, history=str(folder / "history-0.bin"))
        await engine.send("users", count=8)
        await trio.sleep(patience(1))
        yield engine


async def read_back(cluster: Cluster, scenario: Scenario, path: Path) -> FinalState:
    table = f"{scenario.table.database}.{scenario.table.name}"
    rows = await execute_sql(cluster.writer, f"SELECT id, grp, payload, n FROM {table} ORDER BY id")
    write_final_state(path, ((row["id"], version_of(row["id"], row["grp"], row["payload"]), row["n"]) for row in rows))
    return FinalState(path, "writer")


async def judge(cluster: Cluster, folder: Path, **more: Any) -> Audit:
    final = await read_back(cluster, parse_scenario(SCENARIO, "s.yaml"), folder / "final-writer.bin")
    return audit([History(folder / "history-0.bin")], final, loaded=LOADED, workers=[0], **more)


def false(result: Audit) -> set[str]:
    return {name for name, check in result.checks.items() if check.verdict is Validity.FALSE}


async def test_a_run_without_a_fault_is_clean_and_each_thing_that_we_spoil_is_found(alone: Cluster, tmp_path: Path) -> None:
    async with running(alone, tmp_path) as engine:
        await engine.send("stop")
        _, batches = await engine.until("stopped")
        result = await judge(alone, tmp_path)
        told = {name: check.verdict for name, check in result.checks.items() if name != "replicas"}
        assert told.pop("recovered") is Validity.NOT_APPLICABLE
        assert set(told.values()) == {Validity.TRUE}, result
        history = History(tmp_path / "history-0.bin")
        assert history.header.reads_primary
        records = list(history.records())
        assert all((record.n != NO_COUNT) == (record.operation in READS) for record in records)
        done = Counter(record.operation for record in records)
        assert set(done) == set(Operation) - {op for op in Operation if op >= 60}
        assert sum(done.values()) == sum(each.ok.total() for batch in batches for each in batch.operations.values())
        assert {record.outcome for record in records} == {Outcome.OK}

        table = f"{DATABASE}.t"
        inserted = next(r.key for r in reversed(records) if r.operation is Operation.INSERT)
        deleted = next(r.key for r in records if r.operation is Operation.DELETE)
        increased = next(r.key for r in records if r.operation is Operation.INCR)
        cut, moved = LOADED - 1, LOADED
        updated = next(r.key for r in records if r.operation is Operation.UPDATE and r.key not in (increased, cut, moved))
        await execute_sql(
            alone.writer,
            "SET sql_log_bin=0",  # the reader that it has all the same lacks HandlerSocket's rows, and would stop
            f"DELETE FROM {table} WHERE id = {inserted}",
            f"INSERT INTO {table} SELECT {deleted}, grp, 0, 'of nobody at all' FROM {table} WHERE id = 1",
            f"UPDATE {table} SET n = n + 100 WHERE id = {increased}",
            f"UPDATE {table} SET payload = '{payload_of(INITIAL, updated, updated % 10, 'xx')}' WHERE id = {updated}",
            f"UPDATE {table} SET payload = LEFT(payload, 19) WHERE id = {cut}",
            f"UPDATE {table} SET grp = grp + 1 WHERE id = {moved}",
        )
        result = await judge(alone, tmp_path)
        assert {finding.key for finding in result["lost"].findings} >= {inserted, updated}
        assert {finding.key for finding in result["unexpected"].findings} == {deleted, cut, moved}
        assert {finding.key for finding in result["counters"].findings} == {increased}


async def test_an_engine_that_was_killed_leaves_a_history_that_accuses_nobody(alone: Cluster, tmp_path: Path) -> None:
    async with running(alone, tmp_path) as engine:
        engine.process.kill()
        await engine.ends()
        result = await judge(alone, tmp_path)
        assert sum(1 for _ in History(tmp_path / "history-0.bin").records()) > 100
        assert not false(result), result
        assert result["lost"].verdict is Validity.UNKNOWN
        assert "the history of worker 0 is cut" in result["lost"].explanation
