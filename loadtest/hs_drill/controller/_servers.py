"""Opens the servers that a scenario asks for, or checks that this machine could."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypedDict

from hs_drill._cluster import Server
from hs_drill.nemesis import command_name
from hs_drill.scenario import NetworkFault, Scenario
from hs_drill.servers import (
    Command,
    Control,
    check_servers,
    open_commands,
    open_servers,
    require_followers,
    require_load_account,
    require_router,
    watch_as_told,
)

__all__ = ["check_scenario_servers", "open_scenario_servers", "writes_by_handlersocket"]


class _Wanted(TypedDict):
    """What the servers of a scenario must be and be able to do, as `open_servers` takes it."""

    version: str | None
    only_mariadb_can: list[str]
    only_owners_can: list[str]
    external: list[Server]


@asynccontextmanager
async def open_scenario_servers(
    scenario: Scenario,
    progress: Callable[[str], None],
    *,
    handlersocket_writes: bool = True,
    load_accounts: bool = True,
    sql_only: bool = False,
) -> AsyncIterator[Control]:
    """`open_servers` as the scenario says. Raises `ClusterError`, also if a secret is missing, or if `read_only` does not stop
    the account of `driver: sql`. `handlersocket_writes` says whether clients will write through HandlerSocket. Without a load
    there need be no `load_accounts`. `sql_only`: there is no load, and nobody uses HandlerSocket."""
    handlersocket_writes &= not sql_only
    cluster, table = scenario.cluster, scenario.table
    async with open_servers(
        cluster.kind,
        readers=cluster.readers,
        standby=cluster.standby,
        topology=cluster.topology,
        replication=cluster.replication,
        database=table.database,
        may_create_table=cluster.create_table,
        handlersocket_writes=handlersocket_writes,
        sql_only=sql_only,
        progress=progress,
        **_wanted(scenario),
    ) as control:
        control.unlogged_writes &= handlersocket_writes
        if cluster.primary is not None:
            watch_as_told(control, cluster.primary.command or (), cluster.primary.every)
        by_sql = scenario.driver.name == "sql"
        writes = (by_sql and scenario.writes and not sql_only) or (not by_sql and handlersocket_writes)
        if cluster.router is not None and not sql_only:
            router = cluster.router.resolved(control.cluster.servers)
            control.cluster = await require_router(control, router, by_sql=by_sql, writes=writes, progress=progress)
        elif writes:
            await require_followers(control, by_sql=by_sql, progress=progress)
        if by_sql and load_accounts and not sql_only:
            await require_load_account(
                control.cluster.servers,
                control.primary,
                (table.database, table.name),
                alone=control.cluster.replication == "none",
                followers=control.cluster.followers,
            )
        async with open_commands(control, {} if sql_only else _commands_of(scenario)):
            yield control


def writes_by_handlersocket(scenario: Scenario) -> bool:
    """Whether the load changes rows through HandlerSocket. An operation on a table of one's own has any name."""
    return scenario.driver.name == "handlersocket" and scenario.writes


async def check_scenario_servers(scenario: Scenario, progress: Callable[[str], None]) -> None:
    """Raise `ClusterError` if this machine cannot start the servers of a scenario, or if a secret is missing. Starts none."""
    cluster = scenario.cluster
    await check_servers(cluster.kind, replication=cluster.replication, progress=progress, **_wanted(scenario))


def _wanted(scenario: Scenario) -> _Wanted:
    cluster = scenario.cluster
    by_sql = ["driver: sql"] if scenario.driver.name == "sql" else []
    types = [f"the type of {scenario.table.name}.{column}" for column in scenario.table.only_mariadb]
    return {
        "version": cluster.version,
        "only_mariadb_can": [*by_sql, *types, *(fault.name for fault in scenario.faults if fault.needs_mariadb)],
        "only_owners_can": [
            fault.name
            for fault in scenario.faults
            if not (isinstance(fault, NetworkFault) or fault.untargeted or fault.name in cluster.commands)
        ],
        "external": [server.resolved() for server in cluster.servers] if cluster.kind == "external" else [],
    }


def _commands_of(scenario: Scenario) -> dict[str, Command]:
    """The commands that inject the scenario's faults, by their `command_name`."""
    commands = scenario.cluster.commands
    found = {}
    for number, fault in enumerate(scenario.faults):
        if (spec := fault.command_of(commands)) is not None:
            found[command_name(fault, number)] = Command(tuple(spec.run), tuple(spec.heal or ()), spec.timeout)
    return found
