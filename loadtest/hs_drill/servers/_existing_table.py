"""Whether every server of a user has the table that exists, as the load will use it."""

from __future__ import annotations

from hs_drill._cluster import ClusterError
from trio_hs.testing import Table

from ._control import Control
from ._replication import PAGE
from ._table_checks import has_table
from ._twin import require_twin

__all__ = ["require_existing"]


async def require_existing(control: Control, table: Table, *, writes: bool) -> None:
    """Raise `ClusterError` unless each server has the table with its columns and indexes. `writes`: the load writes to it."""
    shown = f"{table.database}.{table.name}"
    for server in control.cluster.servers:
        if server.name not in control.aliases and not await has_table(server, table, table.database):
            raise ClusterError(f"there is no table {shown} on {server.name}, and the load reads from every server")
    twin = control.cluster.write_databases.get(table.database)
    if not writes or twin is None:
        return
    writer = control.cluster.writer
    if not await has_table(writer, table, twin):
        raise ClusterError(f"there is no {twin}.{table.name} on {writer.name} to write {shown} through: see {PAGE}")
    await require_twin(writer, table.database, table.name, twin)
