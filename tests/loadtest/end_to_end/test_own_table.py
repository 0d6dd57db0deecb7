"""A run on a table of the user's own, audited: clean as it is, and each planted fault is found by key and column."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_hs
from hs_drill._addresses import read_address, write_address
from hs_drill._cluster import Cluster
from hs_drill.audit import Audit, AuditedTable, Validity, audit
from hs_drill.controller import fill_table
from hs_drill.controller._read_back import read_back
from hs_drill.metrics import Batch
from hs_drill.scenario import Scenario
from hs_drill.servers import Control
from hs_drill.servers._opening import open_servers
from hs_drill.store import FinalState, History
from hs_drill.workload import INITIAL, OPS, rows_of
from tests.loadtest.support.child import child
from tests.loadtest.support.declared import SHOP, TYPES, declared
from tests.loadtest.support.server_kinds import EVERY_REPLICATION
from tests.support.patience import patience

BUSY = """\
mix:
  product page:  {do: get, columns: [id, name, price, views, note], weight: 20}
  several pages: {do: get_many, count: 3, weight: 5}
  category list: {do: find, index: by_price, operation: ">=", by: [category], columns: [id, price, note], weight: 5}
  count view:    {do: incr, column: views, weight: 20}
  rename:        {do: update, set: [name, note], weight: 20}
  reprice:       {do: update, set: [price, note], weight: 20}
  new product:   {do: insert, weight: 8}
  drop:          {do: delete, weight: 2}
audit: {reads: 1}
"""
BUSY_SHOP = SHOP.split("mix:")[0] + BUSY


@asynccontextmanager
async def server(kind: str, scenario: Scenario) -> AsyncIterator[Control]:
    async with open_servers(kind, readers=0, database=scenario.table.database) as control:
        await fill_table(control, scenario)
        yield control


async def load(cluster: Cluster, scenario: Scenario, path: Path, *, least: int) -> History:
    """An engine with eight users, until it has executed so many operations."""
    async with child("hs_drill.engine") as engine:
        given = scenario.model_dump(mode="json", by_alias=True, exclude_unset=True)
        await engine.send("setup", cluster=cluster.to_dict(), scenario=given, worker=0, each=False)
        await engine.until("ready")
        await engine.send("start", run=1, history=str(path))
        await engine.send("users", count=8)
        done: Counter[str] = Counter()
        with trio.fail_after(patience(60)):
            while done.total() < least or len(done) < len(scenario.operations):
                message, _ = await engine.until("batch")
                batch = Batch.from_wire(message)
                done.update({name: each.ok.total() for name, each in batch.operations.items()})
        await engine.send("stop")
        await engine.until("stopped")
    return History(path)


async def judge(control: Control, scenario: Scenario, history: History) -> Audit:
    final = history.path.with_name("final-writer.bin")
    await read_back(control, "writer", scenario, final)
    table = AuditedTable.of(scenario)
    return audit([history], FinalState(final, "writer"), loaded=scenario.table.rows, workers=[0], table=table)


def found(result: Audit) -> set[tuple[str, int, tuple[str, ...]]]:
    """Check, key and columns of all findings."""
    return {(name, finding.key, finding.columns) for name, check in result.checks.items() for finding in check.findings}


async def change(control: Control, scenario: Scenario, number: int, values: Mapping[str, Any]) -> None:
    """Change a row behind the run's back, by HandlerSocket, which all kinds of servers have."""
    rows, spec, writer = rows_of(scenario), scenario.table, control.server("writer")
    assert rows.columns_declared is not None
    async with trio_hs.open_manager([read_address(writer)], [write_address(writer)]) as hs:
        table = hs.table(spec.database, spec.name, list(values), columns=rows.columns_declared)
        assert await table.update("=", rows.key(number), list(values.values())) == 1


@EVERY_REPLICATION
async def test_a_run_is_clean_and_each_planted_fault_is_found_by_key_and_column(kind: str, tmp_path: Path) -> None:
    scenario = declared(BUSY_SHOP)
    rows, names = rows_of(scenario), [operation.name for operation in scenario.operations]
    assert rows.extras == ("price", "name")
    async with server(kind, scenario) as control:
        history = await load(control.cluster, scenario, tmp_path / "history-0.bin", least=2000)
        result = await judge(control, scenario, history)
        assert {check.verdict for check in result.checks.values()} <= {Validity.TRUE, Validity.NOT_APPLICABLE}, result
        assert result["unexpected"].verdict is Validity.TRUE

        states = {row[0]: row for row in FinalState(tmp_path / "final-writer.bin", "writer")}
        initial = rows.maker(["name", "price", "views", "category"])
        left_by = {number: names[row[1] % OPS] for number, row in states.items() if row[1] != INITIAL}
        renamed = {record.key for record in history.records() if record.name == "rename"}
        last_renamed = [number for number, name in left_by.items() if name == "rename"]
        # The version there says that another operation than `rename` wrote the row last: so nothing in the row itself is wrong.
        older = next(number for number, name in left_by.items() if name == "reprice" and number in renamed)
        newest, clipped, behind, twice = last_renamed[0], last_renamed[1], last_renamed[2], last_renamed[3]
        price = Decimal("0.01")
        await change(control, scenario, older, {"name": initial(older, INITIAL)[0]})
        await change(control, scenario, newest, {"name": initial(newest, INITIAL)[0]})
        await change(control, scenario, clipped, {"price": price})
        await change(control, scenario, behind, {"category": "shoes"})
        await change(control, scenario, twice, {"views": states[twice][2] + 1})
        seen = await judge(control, scenario, history)
    assert found(seen) - {("recovered", 0, ())} == {
        ("lost", older, ("name",)),
        ("lost", newest, ("name",)),
        ("unexpected", newest, ("name",)),
        ("unexpected", clipped, ("price",)),
        ("unexpected", behind, ("category",)),
        *((check, twice, ("views",)) for check in ("applied_twice", "counters")),
    }
    lines = {finding.key: finding.line for finding in seen["unexpected"].findings}
    assert "category is 'shoes' and should be '" in lines[behind]
    assert "name is '" in lines[newest]


@pytest.mark.mariadb
async def test_every_type_is_written_and_read_without_a_false_finding(tmp_path: Path) -> None:
    scenario = declared(TYPES)
    async with server("mariadb", scenario) as control:
        history = await load(control.cluster, scenario, tmp_path / "history-0.bin", least=1000)
        result = await judge(control, scenario, history)
    assert found(result) == set(), result
    assert {result[name].verdict for name in ("lost", "unexpected", "counters")} == {Validity.TRUE}
