"""Opens the servers that a scenario asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from hs_drill.scenario import NetworkFault, Scenario
from hs_drill.servers import Control, open_servers, require_load_account

__all__ = ["open_scenario_servers"]


@asynccontextmanager
async def open_scenario_servers(
    scenario: Scenario,
    progress: Callable[[str], None],
    *,
    handlersocket_writes: bool = True,
    load_accounts: bool = True,
) -> AsyncIterator[Control]:
    """`open_servers` as the scenario says. Raises `ClusterError`, also if a secret is missing, or if `read_only` does not stop
    the account of `driver: sql`. `handlersocket_writes` says whether clients will write through HandlerSocket. Without a load
    there need be no `load_accounts`."""
    cluster, table = scenario.cluster, scenario.table
    by_sql = ["driver: sql"] if scenario.driver.name == "sql" else []
    types = [f"the type of {table.name}.{column}" for column in table.only_mariadb]
    async with open_servers(
        cluster.kind,
        version=cluster.version,
        readers=cluster.readers,
        standby=cluster.standby,
        topology=cluster.topology,
        replication=cluster.replication,
        database=table.database,
        only_mariadb_can=[*by_sql, *types, *(fault.name for fault in scenario.faults if fault.needs_mariadb)],
        only_owners_can=[fault.name for fault in scenario.faults if not isinstance(fault, NetworkFault)],
        external=[server.resolved() for server in cluster.servers] if cluster.kind == "external" else (),
        may_create_table=cluster.create_table,
        handlersocket_writes=handlersocket_writes,
        progress=progress,
    ) as control:
        control.unlogged_writes &= handlersocket_writes
        if by_sql and load_accounts:
            alone = control.cluster.replication == "none"
            await require_load_account(control.cluster.servers, control.primary, (table.database, table.name), alone=alone)
        yield control
