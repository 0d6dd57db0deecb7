"""Which of the user's own servers clients write to after a failover, and whether these refuse writes until then.

The user may promote a server at any time. Clients find it by asking: they write to another server once the writer refuses. So
a server that took writes before its promotion would split the cluster. A server that the user gave no port for writes is not
written to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hs_drill._cluster import Cluster, ClusterError, Server
from trio_hs.testing import Table

from ._control import Control
from ._one_server import same_server
from ._replication import PAGE
from ._table_checks import has_table
from ._writable import takes_writes

__all__ = ["require_followers", "require_twins", "written_through"]


async def require_followers(control: Control, *, by_sql: bool, progress: Callable[[str], None]) -> None:
    """Determine the `followers` of the cluster, and report them. Writes nothing.

    They are the standby and the readers with a port for writes; with `by_sql` that is the port for SQL. Not among them are
    further names of a server, and readers beside a node of a Galera cluster, whose nodes all take writes.

    Raises `ClusterError` if one of them takes writes now. With `by_sql`, `require_load_account` checks that.
    """
    cluster = control.cluster
    followers = await _distinct([server for server in cluster.replicas if _may_follow(control, server, by_sql)])
    for server in followers if not by_sql else ():
        await _require_read_only(server, progress)
    control.cluster = cluster = replace(cluster, followers=tuple(server.name for server in followers))
    if not followers:
        return
    names = " or ".join(cluster.followers)
    if cluster.followers_proven:
        progress(f"writes go to {names}, if it takes them, when {cluster.writer.name} refuses them, is down or is silent")
    else:
        unproven = " and ".join(server.name for server in followers if server.sql_port is None)
        progress(
            f"writes go to {names}, if it takes them, when {cluster.writer.name} refuses them or is down, but not when it is "
            f"silent: without the sql_port of {unproven} it is not certain that it takes none before it is promoted"
        )


def written_through(cluster: Cluster) -> list[Server]:
    """The servers through whose HandlerSocket clients may write. A router may lead to each that has a port for writes."""
    return [
        server
        for server in cluster.servers
        if server == cluster.writer or (server.write_port and (cluster.router or server.name in cluster.followers))
    ]


async def require_twins(cluster: Cluster, table: Table, twin: str) -> None:
    """Raise `ClusterError` if a server to which clients may write lacks the twin, in the database `twin`, of the table.

    A promoted server without it would refuse their writes. And opening a missing table spoils a thread for writes.
    """
    for server in written_through(cluster):
        if not await has_table(server, table, twin):
            shown = f"{table.database}.{table.name}"
            raise ClusterError(f"there is no {twin}.{table.name} on {server.name} to write {shown} through: see {PAGE}")


def _may_follow(control: Control, server: Server, by_sql: bool) -> bool:
    cluster = control.cluster
    if cluster.kind != "external" or cluster.replication == "none" or server.name in control.cluster.aliases:
        return False
    if control.on_galera and server in cluster.readers:
        return False
    return server.sql_port is not None if by_sql else server.write_port != 0


async def _distinct(servers: list[Server]) -> list[Server]:
    """The servers by one name each. The standby comes first, for it is the one that is meant to be promoted."""
    found: list[Server] = []
    for server in sorted(servers, key=lambda one: one.name != "standby"):
        for other in found:
            if await _is_same(server, other):
                break
        else:
            found.append(server)
    return found


async def _is_same(one: Server, other: Server) -> bool:
    if (one.sql_port is None) != (other.sql_port is None):  # to count connections would take seconds for each pair
        return (one.host, one.read_port) == (other.host, other.read_port)
    return bool(await same_server(one, other))


async def _require_read_only(server: Server, progress: Callable[[str], None]) -> None:
    if server.name == "standby":  # it was checked when the servers were opened
        return
    if server.sql_port is None:
        progress(f"not checked without the sql_port of {server.name}: whether it is read-only, as it must be")
    elif await takes_writes(server):
        raise ClusterError(
            f"{server.name} takes writes although it is not the primary in this scenario, and the load would write there when "
            f"it loses the writer. If it is the primary now, name it `writer`; else SET GLOBAL read_only=1 on {server.name} "
            "until it is promoted, or leave its write_port out. Nothing was written"
        )
