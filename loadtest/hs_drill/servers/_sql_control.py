"""Failover by SQL (promote, rejoin, rebuild), for every kind of cluster whose servers are MariaDB."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill._sql_text import literal, quoted, table_name
from trio_hs.testing import Table

from ._control import Control, Rejoined, ReplicationStatus, Row, bounded, chunked, require_lag
from ._instance import Instance
from ._replication import (
    DivergedError,
    applied,
    copy_twins,
    create_table,
    drain,
    follow,
    gtids,
    logged,
    replication_trouble,
    slave_status,
    start_fetching,
    start_slave,
    wait_all_applied,
    wait_applied,
    wait_for_acknowledgements,
)
from ._sql import collecting, execute_sql, run_all
from ._writable import takes_writes, why_not_writable

logger = logging.getLogger("hs_drill.control")

APPLY_SECONDS = 30.0
"""How long a replica may take to apply everything that it has fetched."""
ATTACH_SECONDS = 5.0
"""How long running replicas may take to attach to a primary; they try every second."""
OPERATION_SECONDS = 30.0
"""How long statements that do not wait for data may take together."""
CLOSE_SECONDS = 10
"""How long `SET GLOBAL read_only=1` waits for clients that write. The server notices a closed connection within about 0.1 s."""
REBUILD_SECONDS = 120.0
"""How long a rebuilt server may take to apply the primary's whole binary log."""
STATEMENT_BYTES = 1_000_000
"""The size of one INSERT, about; servers accept 16 MB."""


class SqlControl(Control):
    """A `Control` over MariaDB servers. Subclasses start them.

    With `semisync` the primary's commits wait until a replica has fetched them, once a replica is attached.
    """

    def __init__(self, cluster: Cluster, instances: Mapping[str, Instance]) -> None:
        super().__init__(cluster, instances)
        self._semisync = cluster.replication == "semisync"

    @abstractmethod
    async def _launch(self, name: str, *, read_only: bool, new_secrets: bool = False, fresh: bool = False) -> None:
        """Start a server that is down and wait until it is up.

        `fresh`: with empty data, an unused server id, and without HandlerSocket.
        """

    async def start(self, name: str, *, new_secrets: bool = False) -> Server:
        self.require(name, "down")
        primary = name == self.primary
        # A semi-synchronous primary must not take writes before a replica can acknowledge them.
        await self._launch(name, read_only=not primary or self._semisync, new_secrets=new_secrets)
        if primary and self._semisync:
            await self.open_for_writes()
        return self.server(name)

    async def stop_serving(self, name: str) -> None:
        # A shutdown ends SQL connections first, among them those of FEDERATED tables, while HandlerSocket still answers. Then
        # a request in the middle of a batch fails, and the server rolls back the requests before it, yet acknowledges them.
        with bounded(f"ending HandlerSocket on {name}", OPERATION_SECONDS):
            await execute_sql(self.require(name, "running"), "UNINSTALL PLUGIN handlersocket")

    async def _takes_writes(self, name: str) -> bool:
        server = self.server(name)
        return not await why_not_writable(server) if name == self.primary else await takes_writes(server)

    async def close_for_writes(self) -> None:
        primary = self.require(self.primary, "running")
        self._opened.discard(primary.name)
        # As a replica it must acknowledge, and must not wait for acknowledgements of what it applies.
        roles = [f"SET GLOBAL rpl_semi_sync_{role}" for role in ("master_enabled=0", "slave_enabled=1")]
        with bounded(f"closing {primary.name} for writes", OPERATION_SECONDS):
            await execute_sql(
                primary,
                f"SET SESSION lock_wait_timeout={CLOSE_SECONDS}",
                "SET GLOBAL read_only=1",
                *(roles if self._semisync else ()),
            )

    async def open_for_writes(self) -> None:
        primary = self.require(self.primary, "running")
        with bounded(f"opening {primary.name} for writes", OPERATION_SECONDS):
            if self._semisync:
                await execute_sql(primary, "SET GLOBAL rpl_semi_sync_slave_enabled=0")
                await self.secure()
            await execute_sql(primary, "SET GLOBAL read_only=0")
        self._opened.add(primary.name)

    def _running(self, *, but: tuple[str, ...]) -> list[Server]:
        """The running servers, without those named in `but`."""
        return [s for s in self.cluster.servers if s.name not in but and self.state(s.name) == "running"]

    async def secure(self) -> None:
        """With `semisync`, make the primary's commits wait for a replica, if a running one can acknowledge them."""
        if not self._semisync:
            return
        within = ATTACH_SECONDS if self._running(but=(self.primary,)) else 0
        if not within or not await wait_for_acknowledgements(self.server(self.primary), within):
            logger.warning("%s has no replica: its commits do not wait until one rejoins", self.primary)

    async def promote(self, name: str) -> None:
        target = self.require(name, "running")
        if name == self.primary:
            raise ClusterError(f"{name} is the primary already")
        await self._require_replica(name)
        others = self._running(but=(name, self.primary))
        with bounded(f"promoting {name}", OPERATION_SECONDS + 3 * APPLY_SECONDS):
            await self._gather(target, others)
            await execute_sql(target, "STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL rpl_semi_sync_slave_enabled=0")
            self.primary = name
            self._once_primary.add(name)
            if not self._semisync:
                await execute_sql(target, "SET GLOBAL read_only=0")
            troubles: list[str] = []
            await run_all(*(collecting(troubles, partial(follow, other, target, self.cluster)) for other in others))
            if self._semisync:  # first wait for a replica: what the primary acknowledges alone could be lost with it
                await self.secure()
                await execute_sql(target, "SET GLOBAL read_only=0")
            self._opened.add(name)
        if troubles:
            raise ClusterError(f"{name} is the primary now, but: {'; '.join(troubles)}; let them rejoin")

    async def _gather(self, target: Server, others: list[Server]) -> None:
        """Make `target` apply everything that it or any of the others has fetched: any of them may have acknowledged it."""
        troubles: list[str] = []
        # All concurrently: if the old primary's host is gone too, as a container's is, each replica takes 2 s to stop fetching
        # (seen on 10.11).
        try:
            await run_all(
                partial(drain, target, APPLY_SECONDS, APPLY_SECONDS),
                *(collecting(troubles, partial(drain, other, APPLY_SECONDS, APPLY_SECONDS)) for other in others),
            )
        except ClusterError:
            await run_all(*(collecting(troubles, partial(start_fetching, server)) for server in (target, *others)))
            raise
        if troubles:
            logger.warning("promoting %s without what other replicas may have fetched: %s", target.name, "; ".join(troubles))
        positions = {server.name: await applied(server) for server in (target, *others)}
        ahead = max(others, key=lambda other: _numbers(positions[other.name]), default=target)
        if _numbers(positions[ahead.name]) > _numbers(positions[target.name]):
            await follow(target, ahead, self.cluster)
            await wait_applied(target, positions[ahead.name], APPLY_SECONDS)

    async def rejoin(self, name: str) -> Rejoined:
        if self.cluster.replication == "none":
            raise ClusterError(f"{name} cannot rejoin: the servers of this cluster do not replicate")
        if name == self.primary:
            raise ClusterError(f"{name} is the primary: promote another server first")
        primary = self.require(self.primary, "running")
        self.require(name, "running", "down")
        if self.state(name) == "running":
            with bounded(f"asking {name} whether it is read-only", OPERATION_SECONDS):
                open_for_writes = await takes_writes(self.server(name))
            if open_for_writes:  # restart it: SET GLOBAL read_only=1 waits for HandlerSocket's writers forever
                await self.stop(name)
        if self.state(name) == "down":
            await self._launch(name, read_only=True)
        server = self.server(name)
        if name in self._once_primary and self.unlogged_writes:
            reason = "it was the primary, and clients' direct writes to InnoDB are in no binary log: the two cannot be compared"
            return await self._rebuild(name, reason)
        try:
            with bounded(f"{name} rejoining {primary.name}", OPERATION_SECONDS + APPLY_SECONDS):
                await execute_sql(
                    server, "STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL gtid_slave_pos=@@global.gtid_current_pos"
                )
                await self._follow_up(server, primary, APPLY_SECONDS)
                await self.secure()
        except DivergedError as error:
            return await self._rebuild(name, str(error))
        return Rejoined(False, f"{primary.name} has all that {name} had")

    async def _rebuild(self, name: str, reason: str) -> Rejoined:
        """Discard the data, and apply the primary's binary log from its beginning: servers of a run never purge theirs.

        The server listens to HandlerSocket clients only once it has its tables. A client that asks for a missing table pins its
        name: a CREATE TABLE, even by the replica's own applier, then waits until that client is gone.
        """
        await self.kill(name)
        await self._launch(name, read_only=True, fresh=True)
        self._once_primary.discard(name)
        with bounded(f"rebuilding {name}", OPERATION_SECONDS + REBUILD_SECONDS):
            primary = self.server(self.primary)
            await self._follow_up(self.server(name), primary, REBUILD_SECONDS)
            await self.stop(name)
            await self._launch(name, read_only=True)
            await start_slave(self.server(name))
            await wait_applied(self.server(name), await logged(primary), REBUILD_SECONDS)
            await self.secure()
        return Rejoined(True, reason)

    async def _follow_up(self, server: Server, primary: Server, within: float) -> None:
        await follow(server, primary, self.cluster)
        await wait_applied(server, await logged(primary), within)
        await copy_twins(self.cluster, primary, server)

    async def _require_replica(self, name: str) -> Server:
        server = self.require(name, "running")
        if await slave_status(server) is None:
            raise ClusterError(f"{name} is not a replica")
        return server

    async def stop_replication(self, name: str) -> None:
        with bounded(f"stopping the replication of {name}", OPERATION_SECONDS):
            await execute_sql(await self._require_replica(name), "STOP SLAVE")

    async def start_replication(self, name: str) -> None:
        with bounded(f"starting the replication of {name}", OPERATION_SECONDS):
            await start_slave(await self._require_replica(name))

    async def set_lag(self, name: str, seconds: int) -> None:
        require_lag(seconds)
        with bounded(f"setting the lag of {name}", OPERATION_SECONDS):
            server = await self._require_replica(name)
            status = await self.replication_status(name)
            # CHANGE MASTER discards what was fetched and not applied (seen on 10.11), so the source must be up for a new fetch.
            if status.source is None or self.state(status.source) != "running":
                raise ClusterError(f"the lag of {name} cannot be set while {status.source or 'its source'} does not run")
            await execute_sql(server, "STOP SLAVE", f"CHANGE MASTER TO master_delay={seconds}")
            if status.running:
                await start_slave(server)

    async def replication_status(self, name: str) -> ReplicationStatus:
        return await status_by_sql(self.require(name, "running"), self.cluster)

    async def create_table(self, table: Table) -> None:
        await create_table(self.cluster, table.database, table.name, table.columns_sql())

    async def fill(self, table: Table, rows: Iterable[Row]) -> None:
        filled = self._to_fill()
        for some in chunked(rows, STATEMENT_BYTES):
            for server in filled:
                await fill_by_sql(server, table, some)

    async def wait_replicated(self, within: float = 10.0) -> None:
        primary = self.require(self.primary, "running")
        if self.cluster.replication == "none":
            return
        position = await logged(primary)
        await wait_all_applied(self._running(but=(self.primary,)), position, within)

    async def read_rows(self, name: str, table: Table, *, after: Sequence[Any] | None = None, limit: int = 10_000) -> list[Row]:
        return await rows_by_sql(self.require(name, "running"), table, after=after, limit=limit)


async def status_by_sql(server: Server, cluster: Cluster) -> ReplicationStatus:
    """The state of a server's replication. A source outside the cluster is named by its address."""
    with bounded(f"asking {server.name} how it replicates", OPERATION_SECONDS):
        status = await slave_status(server)
    if status is None:
        return ReplicationStatus(None, False, None, 0, "")
    address = (status["Master_Host"], status["Master_Port"])
    running = status["Slave_IO_Running"] == status["Slave_SQL_Running"] == "Yes"
    lag = status["Seconds_Behind_Master"]
    known = (s.name for s in cluster.servers if (s.peer_host or s.host, s.sql_port) == address)
    return ReplicationStatus(
        source=next(known, "{}:{}".format(*address)),
        running=running,
        lag=None if lag is None else float(lag),
        delay=status["SQL_Delay"],
        error="" if running else replication_trouble(status),
    )


async def fill_by_sql(server: Server, table: Table, rows: Iterable[Row]) -> None:
    """Insert rows in one statement; pass about `STATEMENT_BYTES` at most."""
    values = ",".join(f"({','.join(map(literal, row))})" for row in rows)
    await execute_sql(server, f"INSERT INTO {table_name(table.database, table.name)} ({_columns(table)}) VALUES {values}")


async def rows_by_sql(server: Server, table: Table, *, after: Sequence[Any] | None, limit: int) -> list[Row]:
    """A page of rows, as `Control.read_rows` gives it."""
    keys = [quoted(name) for name in table.primary_key]
    shown = table_name(table.database, table.name)
    beyond = "" if after is None else f"WHERE {_beyond(table, after)}"
    if after is not None and not await execute_sql(server, f"SELECT 1 FROM {shown} WHERE {' AND '.join(_same(table, after))}"):
        # A FLOAT, for one, is not equal to its own text. Rows behind it would be skipped, or come again.
        raise ClusterError(f"{server.name}: cannot read {shown} by pages: the server finds no row by the key {after}")
    rows = await execute_sql(
        server, f"SELECT {_columns(table)} FROM {shown} {beyond} ORDER BY {', '.join(keys)} LIMIT {limit:d}"
    )
    return [tuple(row.values()) for row in rows]


def _kinds(table: Table) -> list[str]:
    """The types of the primary key's columns."""
    return [table.columns[name].replace("(", " ").split()[0].lower() for name in table.primary_key]


def _bounds(table: Table, key: Sequence[Any]) -> list[str]:
    """The literals of a key's values."""
    # A BIT equals no literal of its bytes.
    return [
        literal(int.from_bytes(value) if kind == "bit" and isinstance(value, bytes) else value)
        for kind, value in zip(_kinds(table), key, strict=True)
    ]


def _same(table: Table, key: Sequence[Any]) -> list[str]:
    """The conditions for the row with a key."""
    return [f"{quoted(name)} = {bound}" for name, bound in zip(table.primary_key, _bounds(table, key), strict=True)]


def _beyond(table: Table, after: Sequence[Any]) -> str:
    """The condition for rows behind a key, in a form that MariaDB reads as one range of the index."""
    keys = [quoted(name) for name in table.primary_key]
    same = _same(table, after)
    row = f"FROM {table_name(table.database, table.name)} WHERE {' AND '.join(same)}"
    # ENUM and SET compare as text, and are ordered by number.
    bounds = [
        f"(SELECT {key} + 0 {row})" if kind in ("enum", "set") else bound
        for key, kind, bound in zip(keys, _kinds(table), _bounds(table, after), strict=True)
    ]
    return " OR ".join(f"({' AND '.join([*same[:at], f'{key} > {bounds[at]}'])})" for at, key in enumerate(keys))


def _columns(table: Table) -> str:
    """By name: a user's table may have them in another order, or more of them."""
    return ", ".join(map(quoted, table.columns))


def _numbers(position: str) -> int:
    """The number by which positions are ordered: servers of a run share one replication domain."""
    return max(gtids(position).values(), default=0)
