"""The servers of a restore. It goes by SQL alone, so they may have lost the plugin, or a replica may be down."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from hs_drill._cluster import ClusterError
from hs_drill.scenario import Scenario
from hs_drill.servers import Control, execute_sql, sql_error_code

from ._servers import open_scenario_servers

__all__ = ["open_for_restore"]

DOWN = (2002, 2003, 2006, 2013)
"""Errors of SQL's connections."""


@asynccontextmanager
async def open_for_restore(
    scenario: Scenario, progress: Callable[[str], None]
) -> AsyncIterator[tuple[Control, dict[str, str]]]:
    """The servers, without replicas that are down; these by name, with what their connections said. Raises `ClusterError`."""
    unused = {"read_secret": "", "write_secret": "", "load_user": "", "load_password": ""}
    servers = [server.model_copy(update=unused) for server in scenario.cluster.servers]
    down: dict[str, str] = {}
    for server in servers:
        if server.name == "writer" or server.sql_port is None:
            continue
        try:
            await execute_sql(server.resolved(), "SELECT 1")
        except ClusterError as error:
            if sql_error_code(error) not in DOWN:
                raise
            down[server.name] = str(error)
    up = [server for server in servers if server.name not in down]
    cluster = scenario.cluster.model_copy(update={"servers": up})
    async with open_scenario_servers(scenario.model_copy(update={"cluster": cluster}), progress, sql_only=True) as control:
        yield control, down
