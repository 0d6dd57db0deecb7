"""Recognises a node of a Galera cluster, where HandlerSocket's writes do harm: docs/replication.md, "Galera"."""

from __future__ import annotations

from collections.abc import Callable

from hs_drill._cluster import ClusterError, Server

from ._replication import PAGE
from ._sql import execute_sql

__all__ = ["check_galera"]


async def check_galera(writer: Server, writes_straight: bool, progress: Callable[[str], None]) -> bool:
    """Whether the writer is a Galera node, which is reported. Raises `ClusterError` if it is one and the load
    `writes_straight` to InnoDB."""
    if writer.sql_port is None or not await _is_node(writer):
        return False
    if writes_straight:
        raise ClusterError(
            f"{writer.name} is a node of a Galera cluster (wsrep_on is ON): what HandlerSocket writes there stays on that "
            f"node, and later makes it leave the cluster. Write through a FEDERATED twin: {PAGE}. Nothing was written"
        )
    progress(f"{writer.name} is a node of a Galera cluster: clients must write to no other node of it ({PAGE})")
    return True


async def _is_node(server: Server) -> bool:
    # Not `@@wsrep_on`, which is an error on a server that was built without Galera.
    rows = await execute_sql(server, "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'")
    return any(row["Value"] == "ON" for row in rows)
