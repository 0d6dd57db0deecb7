"""The table under load: created and filled on the writer, and replicated from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hs_drill._counted import counted
from hs_drill.scenario import Scenario
from hs_drill.servers import Control, Row, check_replication
from hs_drill.workload import group_of, payloads
from trio_hs.testing import Table

__all__ = ["fill_table", "load_table"]

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


def _silent(line: str) -> None:
    pass


async def fill_table(control: Control, scenario: Scenario, progress: Callable[[str], None] = _silent) -> None:
    """Create the scenario's table with its rows and wait until every reader has them. Raises `ClusterError`.

    With external servers, also report whether writes to them replicate.
    """
    table = load_table(scenario)
    await control.create_table(table)
    if control.cluster.kind == "external":
        detection = await check_replication(control.cluster, table, control.server(control.primary), aliases=control.aliases)
        for line in detection.lines():
            progress(line)
    progress(f"filling {table.database}.{table.name} with {counted(scenario.table.rows, 'row')}")
    await control.fill(table, _rows(scenario))
    await control.wait_replicated(REPLICATION_TIMEOUT)


def _rows(scenario: Scenario) -> Iterator[Row]:
    for key, payload in enumerate(payloads(scenario), 1):
        yield key, group_of(key, scenario.table), 0, payload
