"""Whether every server of a user has the table that exists, as the load will use it."""

from __future__ import annotations

from hs_drill._cluster import ClusterError
from trio_hs.testing import Table

from ._control import Control
from ._followers import require_twins, written_through
from ._table_checks import has_table
from ._twin import require_twin

__all__ = ["require_existing"]


async def require_existing(control: Control, table: Table, *, writes: bool) -> None:
    """Raise `ClusterError` unless each server has the table with its columns and indexes. `writes`: the load writes to it."""
    shown = f"{table.database}.{table.name}"
    for server in control.cluster.servers:
        if server.name not in control.cluster.aliases and not await has_table(server, table, table.database):
            raise ClusterError(f"there is no table {shown} on {server.name}, and the load reads from every server")
    twin = control.cluster.write_databases.get(table.database)
    if not writes or twin is None:
        return
    await require_twins(control.cluster, table, twin)
    for server in written_through(control.cluster):
        if server.sql_port is not None:
            await require_twin(server, table.database, table.name, twin)
