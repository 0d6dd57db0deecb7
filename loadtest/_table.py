"""The table that the load works on, created and filled through SQL on the writer, and replicated from there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from loadtest._cluster import Cluster
from loadtest._mariadb import create_table, execute_sql, wait_replicated
from loadtest._scenario import Scenario
from loadtest._workload import group_of, payloads

__all__ = ["fill_table"]

BYTES_PER_STATEMENT = 1_000_000
REPLICATION_TIMEOUT = 60.0


async def fill_table(cluster: Cluster, scenario: Scenario) -> None:
    """Create the scenario's table with its rows and wait until every reader has them. Raises `ClusterError`."""
    table = scenario.table
    columns = (
        "id BIGINT NOT NULL PRIMARY KEY, grp INT NOT NULL, n BIGINT NOT NULL DEFAULT 0, "
        f"payload VARCHAR({max(table.value_size, 1)}) CHARACTER SET latin1 NOT NULL, KEY grp (grp, id)"
    )
    await create_table(cluster, table.database, table.name, columns)
    for values in _statements(scenario):
        await execute_sql(cluster.writer, f"INSERT INTO `{table.database}`.`{table.name}` VALUES {values}")
    await wait_replicated(cluster, REPLICATION_TIMEOUT)


def _statements(scenario: Scenario) -> Iterator[str]:
    """The rows as SQL tuples, as many together as make up a statement of some size. Nothing in them needs escaping."""
    texts = payloads(scenario)
    rows = (
        f"({key},{group_of(key, scenario.table)},0,'{texts[key % len(texts)]}')" for key in range(1, scenario.table.rows + 1)
    )
    together = max(1, BYTES_PER_STATEMENT // (scenario.table.value_size + 30))
    while some := list(itertools.islice(rows, together)):
        yield ",".join(some)
