"""The servers of another cluster, as a user's own that a run may only use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from hs_drill._cluster import Cluster, Server
from hs_drill.controller._table import foreign_rows, load_table
from hs_drill.scenario import Scenario
from hs_drill.servers import Control
from hs_drill.servers._opening import open_servers
from hs_drill.servers._replication import logged, slave_status, wait_applied
from hs_drill.servers._sql import execute_sql
from hs_drill.workload import loaded
from tests.support.patience import patience

SCENARIO = Scenario.model_validate({"name": "external", "mix": {"get": 1}, "table": {"rows": 50, "groups": 5}})
TABLE = load_table(SCENARIO)


def without_sql(server: Server) -> Server:
    return replace(server, sql_port=None, admin_user="", admin_password="")


def external(
    cluster: Cluster, *, sql: bool = True, may_create: bool = False, version: str | None = None, tell: Any = print
) -> Any:
    """The servers of another cluster as a user's."""
    return open_servers(
        "external",
        version=version,
        topology="write-through" if cluster.write_databases else "plain",
        external=[server if sql else without_sql(server) for server in cluster.servers],
        may_create_table=may_create,
        progress=tell,
    )


async def fill(control: Control, scenario: Scenario, *, any_rows: bool = False) -> None:
    """Like `fill_table`, without its check whether writes replicate, which waits where they do not.

    `any_rows`: the test itself writes rows that no run can have written, and the table is dropped all the same.
    """
    control.foreign_rows = "FALSE" if any_rows else foreign_rows(scenario)
    await control.create_table(load_table(scenario))
    await load_rows(control, scenario)


async def load_rows(control: Control, scenario: Scenario) -> None:
    await control.fill(load_table(scenario), map(tuple, loaded(scenario)))
    await control.wait_replicated(patience(60))


async def tables(server: Server) -> list[str]:
    rows = await execute_sql(server, "SELECT table_name AS t FROM information_schema.tables WHERE table_schema = 'drill'")
    return [row["t"] for row in rows]


async def databases(server: Server) -> list[str]:
    return [row["Database"] for row in await execute_sql(server, "SHOW DATABASES")]


def servers_yaml(cluster: Cluster) -> list[dict[str, Any]]:
    return [
        {
            "name": server.name,
            "host": server.host,
            "read_port": server.read_port,
            "write_port": server.write_port,
            "read_secret": {"env": f"READ_{number}"},
            "write_secret": server.write_secret,
            "sql_port": server.sql_port,
        }
        for number, server in enumerate(cluster.servers)
    ]


def secrets_in_environment(cluster: Cluster) -> dict[str, str]:
    reads = {f"READ_{number}": server.read_secret for number, server in enumerate(cluster.servers)}
    return {**reads, "TRIO_HS_SQL_USER": cluster.admin_user, "TRIO_HS_SQL_PASSWORD": cluster.admin_password}


def named(cluster: Cluster, **servers: Server) -> Cluster:
    """The cluster with other servers by these names."""
    given = tuple(replace(server, name=name.replace("_", "-")) for name, server in servers.items())
    return replace(cluster, servers=given)


def source_sql(source: Server, owner: Cluster) -> str:
    """The statement that makes a server a replica of another one."""
    return (
        f"CHANGE MASTER TO master_host='{source.host}', master_port={source.sql_port}, "
        f"master_user='{owner.replication_user}', master_password='{owner.replication_password}', "
        "master_use_gtid=slave_pos, master_connect_retry=1"
    )


async def gtids(*servers: Server) -> list[dict[str, Any]]:
    """What the servers have written to their binary logs, and have applied."""
    asked = "SELECT @@gtid_binlog_pos AS logged, @@gtid_current_pos AS current"
    return [(await execute_sql(server, asked))[0] for server in servers]


async def all_applied(cluster: Cluster) -> None:
    """Wait until the replicas have what was written to the writer."""
    position = await logged(cluster.writer)
    for server in cluster.servers[1:]:
        if await slave_status(server) is not None:
            await wait_applied(server, position, patience(60))


@asynccontextmanager
async def nothing_written(cluster: Cluster) -> AsyncIterator[None]:
    await all_applied(cluster)  # of what the test itself wrote
    before = await gtids(*cluster.servers)
    yield
    assert await gtids(*cluster.servers) == before
    for server in cluster.servers:
        assert "drill" not in await databases(server)
