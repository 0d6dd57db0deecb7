"""The servers that a scenario asks for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from loadtest._cluster import open_controlled_cluster
from loadtest._control import Control
from loadtest._faults import Network
from loadtest._scenario import Scenario

__all__ = ["open_servers"]


def open_servers(scenario: Scenario, progress: Callable[[str], None]) -> AbstractAsyncContextManager[Control]:
    """`open_controlled_cluster`, with what the scenario says. Raises `ClusterError` when a secret is not to be had."""
    cluster = scenario.cluster
    by_sql = ["driver: sql"] if scenario.driver.name == "sql" else []
    return open_controlled_cluster(
        cluster.kind,
        readers=cluster.readers,
        standby=cluster.standby,
        topology=cluster.topology,
        replication=cluster.replication,
        database=scenario.table.database,
        only_mariadb_can=[*by_sql, *(fault.name for fault in scenario.faults if fault.needs_mariadb)],
        only_owners_can=[fault.name for fault in scenario.faults if not isinstance(fault, Network)],
        external=[server.resolved() for server in cluster.servers] if cluster.kind == "external" else (),
        may_create_table=cluster.create_table,
        progress=progress,
    )
