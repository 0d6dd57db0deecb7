"""The table under load: created and filled on the writer, and replicated from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hs_drill._counted import counted
from hs_drill.scenario import VERSION_WIDTH, Scenario
from hs_drill.servers import Control, Row, check_replication
from hs_drill.workload import first_insert_key, group_of, payloads
from trio_hs.testing import Table

__all__ = ["fill_table", "foreign_rows", "load_table"]

REPLICATION_TIMEOUT = 60.0
"""Seconds for the readers to get all rows."""


def load_table(scenario: Scenario) -> Table:
    """The scenario's table, as servers create it."""
    table = scenario.table
    columns = {
        "id": "BIGINT NOT NULL",
        "grp": "INT NOT NULL",
        "n": "BIGINT NOT NULL DEFAULT 0",
        "payload": f"VARCHAR({max(table.value_size.largest, 1)}) CHARACTER SET latin1 NOT NULL",
    }
    return Table(table.database, table.name, columns, primary_key=["id"], indexes={"grp": ["grp", "id"]})


def foreign_rows(scenario: Scenario) -> str:
    """A SQL condition for rows that no run of this scenario can have left, by their keys, or by what is in `grp` or `payload`.

    A run's keys are those of loaded and inserted rows, and the negative one of the replication check's marker.
    """
    table = scenario.table
    conditions = [
        f"id BETWEEN {table.rows + 1} AND {first_insert_key(0, 0) - 1}",
        "id < 1 AND NOT (grp = 0 AND n = 0 AND payload = 'marker')",
        f"id > 0 AND grp <> id % {table.groups}",
    ]
    if scenario.audited:  # `v`, 16 characters, a dot
        conditions.append(f"id > 0 AND payload NOT LIKE 'v{'_' * (VERSION_WIDTH - 2)}.%'")
    return " OR ".join(f"({one})" for one in conditions)


def _silent(line: str) -> None:
    pass


async def fill_table(control: Control, scenario: Scenario, progress: Callable[[str], None] = _silent) -> None:
    """Create the scenario's table with its rows and wait until every reader has them. Raises `ClusterError`.

    With external servers, also report whether writes to them replicate, unless they are Galera nodes where that test does harm.
    """
    table = load_table(scenario)
    control.foreign_rows = foreign_rows(scenario)
    await control.create_table(table)
    if control.cluster.kind == "external" and not (control.on_galera and not control.cluster.write_databases):
        detection = await check_replication(control.cluster, table, control.server(control.primary), aliases=control.aliases)
        if control.cluster.replication != "none":  # nobody expects them to replicate; the ports are checked all the same
            for line in detection.lines():
                progress(line)
    progress(f"filling {table.database}.{table.name} with {counted(scenario.table.rows, 'row')}")
    await control.fill(table, _rows(scenario))
    await control.wait_replicated(REPLICATION_TIMEOUT)


def _rows(scenario: Scenario) -> Iterator[Row]:
    for key, payload in enumerate(payloads(scenario), 1):
        yield key, group_of(key, scenario.table), 0, payload
