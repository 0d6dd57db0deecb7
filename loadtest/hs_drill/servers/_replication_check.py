"""Checks whether HandlerSocket's writes reach the binary log and the readers of a cluster: docs/replication.md.

It writes a marker row through the client, as a load would, looks for it, and deletes it. If the server that took the row does
not show it, its ports belong to two servers, or the twin leads to another table.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

import trio_hs
from hs_drill._addresses import read_address, write_address
from hs_drill._cluster import Cluster, ClusterError, Server
from trio_hs.testing import Table

from ._replication import PAGE
from ._server_table import handle_on, key_of
from ._sql import asking, execute_sql, run_all
from ._table_checks import how_to_empty

__all__ = ["Arrival", "ReplicationCheck", "check_replication"]

WITHIN = 5.0
"""How long the marker may take to reach a server after the acknowledgement, in seconds."""
DELETE_SECONDS = 10.0
LOG_SECONDS = 0.5
"""How long to search the binary log after the acknowledgement. A commit is logged before it is acknowledged."""
POLL_SECONDS = 0.002
LOG = "binary log"
"""The key of the binary log among the servers' names."""


@dataclass(frozen=True)
class Arrival:
    """When a marker row arrived at a server or log, counted from the moment before it was written."""

    where: str
    seconds: float | None
    """None if it did not arrive."""
    trouble: str = ""
    """What is known about why it did not arrive."""


@dataclass(frozen=True)
class ReplicationCheck:
    """Where a marker row arrived, and when."""

    acknowledged: float
    """Seconds."""
    log: Arrival | None
    """The writer's binary log; None if it could not be read."""
    replicas: tuple[Arrival, ...]
    """The replicas, without those in `aliases`."""
    write_through: bool
    primary: str = "writer"
    aliases: tuple[str, ...] = ()
    """Further names of the primary's server, which does not replicate to itself."""
    expected: bool = True
    """False for `cluster.replication: none`."""

    @property
    def replicates(self) -> bool:
        """Whether it arrived at every replica, and there is at least one."""
        return bool(self.replicas) and all(arrival.seconds is not None for arrival in self.replicas)

    def lines(self) -> Iterator[str]:
        """What was found and what to do, for the user."""
        yield f"a row written through HandlerSocket was acknowledged in {_ms(self.acknowledged)}"
        for arrival in ([self.log] if self.log else []) + list(self.replicas):
            trouble = f" ({arrival.trouble})" if arrival.trouble else ""
            yield f"{arrival.where}: " + (
                "did not get it" + trouble if arrival.seconds is None else f"after {_ms(arrival.seconds)}"
            )
        if self.log is None:
            yield "the binary log was not looked at: that needs the writer's SQL port"
        for name in self.aliases:
            yield f"{name} and {self.primary} are one server: whether writes replicate was not tested there"
        if self.replicates:
            yield "HandlerSocket's writes replicate here"
        elif self.replicas or (self.log is not None and self.log.seconds is None):
            yield from self._advice()

    def _advice(self) -> Iterator[str]:
        if not self.expected:
            yield "HandlerSocket's writes do not replicate here, as cluster.replication: none says"
        elif self.log is not None and self.log.seconds is not None:
            yield "the write is in the binary log, so replication does not run, or is late: see SHOW SLAVE STATUS there"
        elif self.write_through:
            yield f"writes go through the second database, and are not logged: is its table FEDERATED, and log_bin on? {PAGE}"
        else:
            yield (
                "HandlerSocket's writes do not replicate here: MariaDB since 10.5 does not log them (MDEV-33967). Readers "
                f"miss them, and a failover loses them all. Write through a FEDERATED twin instead: {PAGE}"
            )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


async def check_replication(
    cluster: Cluster,
    table: Table,
    primary: Server,
    within: float = WITHIN,
    *,
    marker: Sequence[Any] | None = None,
) -> ReplicationCheck:
    """Write a marker row into the table, see where it arrives, and delete it.

    `marker` has a value for each column of the table, and a key that no row of a load has. Without it the table is the drill's
    own, with the columns `id` (the integer key), `grp`, `n` and `payload`: its marker has a negative id. Raises `ClusterError`
    if the row cannot be written or deleted.
    """
    marker = marker or (-1 - secrets.randbelow(2**62), 0, 0, "marker")
    database = table.database
    asks_sql = primary.sql_port is not None
    position = await _position(primary) if asks_sql else None
    others = [server for server in cluster.servers if server.name != primary.name]
    replicas = [server for server in others if server.name not in cluster.aliases]
    found: dict[str, Arrival] = {}
    async with _marked(cluster, table, marker, primary) as (begin, acknowledged):
        calls = [
            partial(_arrive, found, server, table, key_of(table, marker), begin, begin + acknowledged + within)
            for server in (primary, *replicas)
        ]
        if asks_sql:
            # With a twin, too: the server executes, and logs, a write to this table.
            calls.append(partial(_logged, found, primary, position, f"({database}.{table.name})", begin))
        await run_all(*calls)
    shown = found[primary.name]
    if shown.trouble:
        raise ClusterError(f"{primary.name}: {shown.trouble}")
    if shown.seconds is None:
        twin = cluster.write_databases.get(database)
        raise ClusterError(
            f"{primary.name}: a row that its listener for writes acknowledged is not in {database}.{table.name} at its "
            f"listener for reads: {f'{twin}.{table.name} leads to another table' if twin else 'they are not one server'}"
        )
    arrivals = tuple(found[server.name] for server in replicas)
    same = tuple(server.name for server in others if server.name in cluster.aliases)
    expected = cluster.replication != "none"
    return ReplicationCheck(acknowledged, found.get(LOG), arrivals, bool(cluster.write_databases), primary.name, same, expected)


@asynccontextmanager
async def _marked(cluster: Cluster, table: Table, marker: Sequence[Any], primary: Server) -> AsyncIterator[tuple[float, float]]:
    """Write the marker row for the block. Gives when the write began, and after how many seconds it was acknowledged."""
    key = key_of(table, marker)
    shown = f"the marker row {', '.join(map(str, key))} of {table.database}.{table.name}"
    begin = trio.current_time()
    written = True
    try:
        try:
            async with _writing(cluster, primary) as hs:
                begin = trio.current_time()
                try:
                    await handle_on(hs, table).insert(marker)
                except trio_hs.HandlerSocketError as error:
                    # The server refused it, so a row with this id would be another client's.
                    written = isinstance(error, trio_hs.ConnectionError) and error.maybe_applied
                    raise
                acknowledged = trio.current_time() - begin
        except trio_hs.HandlerSocketError as error:
            raise ClusterError(f"{primary.name}: {shown}: {error}") from error
        yield begin, acknowledged
    finally:
        if written:
            # With a client of its own: a cancellation ends the client above.
            with trio.CancelScope(shield=True):
                await _delete(cluster, table, key, primary, shown)


def _writing(cluster: Cluster, primary: Server) -> AbstractAsyncContextManager[trio_hs.Manager]:
    return trio_hs.open_manager(write_servers=[write_address(primary)], write_databases=dict(cluster.write_databases))


async def _delete(cluster: Cluster, table: Table, key: Sequence[Any], primary: Server, shown: str) -> None:
    left = f"{primary.name}: {shown} may be there still, and then {how_to_empty(table, primary.name)}. It could not be deleted"
    try:
        with trio.fail_after(DELETE_SECONDS):
            async with _writing(cluster, primary) as hs:
                await handle_on(hs, table, table.primary_key).delete("=", key)
    except trio.TooSlowError as error:
        raise ClusterError(f"{left} within {DELETE_SECONDS:g} s") from error
    except trio_hs.HandlerSocketError as error:
        raise ClusterError(f"{left}: {error}") from error


async def _arrive(
    found: dict[str, Arrival], server: Server, table: Table, key: Sequence[Any], begin: float, deadline: float
) -> None:
    seconds, trouble = None, ""
    try:
        async with trio_hs.open_manager([read_address(server)]) as hs:
            handle = handle_on(hs, table, table.primary_key)
            while True:  # at least one look, however long the write took
                if await handle.find("=", key, 1):
                    seconds = trio.current_time() - begin
                    break
                if trio.current_time() >= deadline:
                    break
                await trio.sleep(POLL_SECONDS)
    except trio_hs.HandlerSocketError as error:
        trouble = str(error)
    found[server.name] = Arrival(server.name, seconds, trouble)


# --- The binary log --------------------------------------------------------------------------------------------------


async def _position(primary: Server) -> tuple[str, int] | None:
    """The current end of the binary log; None if there is none."""
    status = await execute_sql(primary, "SHOW MASTER STATUS")
    return (str(status[0]["File"]), int(status[0]["Position"])) if status else None


async def _logged(
    found: dict[str, Arrival], primary: Server, position: tuple[str, int] | None, table: str, begin: float
) -> None:
    """Whether the binary log after `position` has a write to the table. The table map before row events names it."""
    where = f"{primary.name}'s binary log"
    if position is None:
        found[LOG] = Arrival(where, None, "it has none: log_bin is off")
        return
    file, offset = position
    found[LOG] = Arrival(where, None)
    deadline = trio.current_time() + LOG_SECONDS
    async with asking(primary) as ask:
        while True:
            events = await ask(f"SHOW BINLOG EVENTS IN '{file}' FROM {offset:d} LIMIT 10000")
            if any(event["Event_type"] == "Table_map" and table in event["Info"] for event in events):
                found[LOG] = Arrival(where, trio.current_time() - begin)
                return
            if trio.current_time() >= deadline:
                return
            await trio.sleep(POLL_SECONDS)
