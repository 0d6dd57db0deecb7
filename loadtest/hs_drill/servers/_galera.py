"""Recognises a node of a Galera cluster, where HandlerSocket's writes do harm: docs/replication.md, "Galera"."""

from __future__ import annotations

from collections.abc import Callable

import trio

from hs_drill._cluster import ClusterError, Server

from ._replication import PAGE
from ._sql import asking, execute_sql

__all__ = ["check_galera", "committed", "is_node", "wait_committed"]

POLL_SECONDS = 0.02


async def check_galera(writer: Server, writes_straight: bool, progress: Callable[[str], None]) -> bool:
    """Whether the writer is a Galera node, which is reported. Raises `ClusterError` if it is one and the load
    `writes_straight` to InnoDB."""
    if writer.sql_port is None or not await is_node(writer):
        return False
    if writes_straight:
        raise ClusterError(
            f"{writer.name} is a node of a Galera cluster (wsrep_on is ON): what HandlerSocket writes there stays on that "
            f"node, and later makes it leave the cluster. Write through a FEDERATED twin: {PAGE}. Nothing was written"
        )
    progress(f"{writer.name} is a node of a Galera cluster: clients must write to no other node of it ({PAGE})")
    return True


async def is_node(server: Server) -> bool:
    """Whether it belongs to a Galera cluster, or would if it had not left it."""
    # Not `@@wsrep_on`, which is an error on a server that was built without Galera.
    rows = await execute_sql(server, "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'")
    return any(row["Value"] == "ON" for row in rows)


async def wait_committed(node: Server, position: int, within: float) -> None:
    """Wait until a node has committed what the cluster had at `position`: see `committed`. Raises `ClusterError`.

    Each node counts GTIDs of its own, so those of two nodes cannot be compared.
    """
    with trio.move_on_after(within):
        async with asking(node) as ask:
            while int((await ask(_COMMITTED))[0]["Value"]) < position:  # noqa: ASYNC110  (the server is asked)
                await trio.sleep(POLL_SECONDS)
        return
    raise ClusterError(f"{node.name} has not committed the Galera cluster's write {position} within {within:g} s")


async def committed(node: Server) -> int:
    """The number of the last write of the cluster that the node has committed."""
    return int((await execute_sql(node, _COMMITTED))[0]["Value"])


_COMMITTED = "SHOW GLOBAL STATUS LIKE 'wsrep_last_committed'"
