"""The table under load: created and filled on the writer, and replicated from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from hs_drill._cluster import ClusterError
from hs_drill._counted import counted
from hs_drill._sql_text import literal, quoted
from hs_drill.scenario import Scenario
from hs_drill.servers import Control, ServerTable, check_replication
from hs_drill.workload import loaded, rows_of
from trio_hs.testing import Table

__all__ = ["fill_table", "foreign_rows", "load_table"]

REPLICATION_TIMEOUT = 60.0
"""Seconds for the readers to get all rows."""


def load_table(scenario: Scenario) -> Table:
    """The scenario's table, as servers create it."""
    spec, rows = scenario.table, rows_of(scenario)
    table = Table if rows.columns_declared is None else partial(ServerTable, declared=rows.columns_declared)
    return table(spec.database, spec.name, rows.columns_sql, primary_key=rows.primary, indexes=rows.indexes)


def foreign_rows(scenario: Scenario, *, loaded: bool = True) -> str:
    """A SQL condition for rows that no run of this scenario can have left; if nothing was `loaded`, no check of one."""
    rows = rows_of(scenario)
    return rows.foreign if loaded else rows.no_marker


def row_condition(scenario: Scenario) -> Callable[[int], str]:
    """The function that gives the condition in SQL for the row with a number."""
    rows = rows_of(scenario)
    columns = rows.columns_declared
    members = [columns.column(name).members if columns is not None else () for name in rows.primary]

    def condition(number: int) -> str:
        key = zip(rows.primary, rows.key(number), members, strict=True)
        return " AND ".join(f"{quoted(name)} = {literal(value, known)}" for name, value, known in key)

    return condition


def marker_row(scenario: Scenario) -> Sequence[Any]:
    """A row for the check whether writes replicate. Raises `ClusterError` if the table has no key for it."""
    marker = rows_of(scenario).marker()
    if marker is None:
        raise ClusterError(
            f"every key of {scenario.table.database}.{scenario.table.name} is a loaded row's, so none is left for a marker "
            "row: give the column with `values: sequence` a larger type, or load fewer rows (table.rows)"
        )
    return marker


def _silent(line: str) -> None:
    pass


async def fill_table(control: Control, scenario: Scenario, progress: Callable[[str], None] = _silent) -> None:
    """Create the scenario's table with its rows and wait until every reader has them. Raises `ClusterError`.

    With external servers, also report whether writes to them replicate, unless they are Galera nodes where that test does harm.
    """
    if scenario.table.existing:
        raise ClusterError("`existing: true` is for a run: here, name a table that may be created")
    table = load_table(scenario)
    control.foreign_rows = foreign_rows(scenario)
    await control.create_table(table)
    if control.cluster.kind == "external" and not (control.on_galera and not control.cluster.write_databases):
        await _check_replication(control, scenario, table, progress)
    progress(f"filling {table.database}.{table.name} with {counted(scenario.table.rows, 'row')}")
    await control.fill(table, map(tuple, loaded(scenario)))
    await control.wait_replicated(REPLICATION_TIMEOUT)


async def _check_replication(control: Control, scenario: Scenario, table: Table, progress: Callable[[str], None]) -> None:
    primary = control.server(control.primary)
    detection = await check_replication(control.cluster, table, primary, marker=marker_row(scenario))
    if control.cluster.replication != "none":  # nobody expects them to replicate; the ports are checked all the same
        for line in detection.lines():
            progress(line)
