"""A cluster of the user's own servers. The run itself neither starts nor ends them, and disturbs only the network in front of
them. Commands of the user's own may do more to them: see `_by_command`.

Before it writes, it checks that `writer` is the primary, and says what it will write. It creates a table only if that is
allowed, and drops only what it has created. It does not touch a table that holds rows.

`read_only` does not stop the administrator's account, and a user may promote another server at any time. So no SQL that writes
is sent to a server unless `_require_primary` was asked about it immediately before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Never

import trio

import trio_hs
from hs_drill._addresses import write_address
from hs_drill._cluster import Cluster, ClusterError, Server, series
from hs_drill._counted import counted
from trio_hs.testing import Table

from ._control import Control, ReplicationStatus, Row, bounded, chunked
from ._created import Creation
from ._followers import require_twins
from ._galera import check_galera, committed, is_node, wait_committed
from ._listeners import check_listeners
from ._one_server import require_one_server, same_server
from ._primary_watch import PrimaryWatch, why_writer_unknown
from ._promotions import UNKNOWN_FATE, Promotions, watch_promotions
from ._replication import PAGE, logged, wait_all_applied
from ._server_table import handle_on, key_of, least_key
from ._sql import ask_version, run_all
from ._sql_control import STATEMENT_BYTES, fill_by_sql, rows_by_sql, status_by_sql
from ._table_checks import (
    find_rows,
    has_table,
    leftover_database,
    require_case,
    require_empty,
    require_one_zone,
    require_stored,
    wait_for_table,
    would_stop_replication,
)
from ._writable import require_alone, require_standby, require_writer, why_not_writable

logger = logging.getLogger("hs_drill.external")

TABLE_SECONDS = 15.0
"""How long replicas may take to get a created table, or to catch up before a table is created."""
LOAD_SECONDS = 60.0
"""How long replicas may take to get the loaded rows."""
POLL_SECONDS = 0.05
UNKNOWN = "unknown"
"""The version of a server that cannot be asked."""


class ExternalControl(Control):
    """A `Control` that reads, and writes to one table. Processes and replication are the user's business."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        may_create: bool,
        progress: Callable[[str], None],
        promotions: Promotions | None = None,
    ) -> None:
        super().__init__(cluster, {})
        self._may_create = may_create
        self._progress = progress
        self._promotions = promotions or Promotions()
        self._creations: list[Creation] = []

    async def _refuse(self, name: str = "", *args: object, **options: object) -> Never:
        raise self._refusal(name or self.primary)

    # `Control` itself refuses to kill, stop, pause and resume, for these servers are not instances of the run.
    start = promote = _takes_writes = rejoin = close_for_writes = open_for_writes = _refuse
    stop_replication = start_replication = set_lag = _refuse

    async def replication_status(self, name: str) -> ReplicationStatus:
        server = self.server(name)
        if server.sql_port is None:
            raise ClusterError(f"cannot ask {name} how it replicates: its sql_port is not known")
        return await status_by_sql(server, self.cluster)

    async def why_primary_unknown(self) -> str:
        """As SQL shows it now: the user may have promoted another server."""
        if self.primary_watch is not None:
            return await self.primary_watch.why_unknown()
        return await why_writer_unknown(self.cluster.writer, self._promotions)

    async def require_primary(self) -> None:
        self._promotions.new_run()
        begun = time.monotonic()
        await self._require_primary(self.cluster.writer)
        if self.primary_watch is not None:
            self.primary_watch.begin(begun)

    async def watch(self) -> None:
        await (self._promotions if self.primary_watch is None else self.primary_watch).watch()

    async def look_at_primary(self) -> None:
        if self.primary_watch is not None:
            await self.primary_watch.look()

    async def end_watch(self) -> None:
        if self.primary_watch is not None:
            self.primary_watch.end()

    # ---- the table

    async def create_table(self, table: Table) -> None:
        """Use an existing table, if it is empty and has what the load needs; else create one, if that is allowed."""
        writer = self.cluster.writer
        shown = f"{table.database}.{table.name}"
        by_sql = [server for server in self._distinct if server.sql_port is not None]
        for server in by_sql:
            await require_case(server, table)
            await require_stored(server, table)
        await require_one_zone(by_sql, table)
        exists = await has_table(writer, table, table.database)
        if writer.sql_port is not None and (leftover := await leftover_database(writer, table.database)):
            self._progress(leftover)
        if not exists:
            if not self._may_create or writer.sql_port is None:
                raise ClusterError(
                    f"there is no table {shown} on {writer.name}: create it with CREATE TABLE {shown} ({table.columns_sql()}) "
                    "ENGINE=InnoDB, or let the run do it: set cluster.create_table: true, and the writer's sql_port"
                )
            await self._create(table)
        for server in self._distinct:
            await require_empty(server, table, (server if self.cluster.replication == "none" else writer).name)
        twin = self.cluster.write_databases.get(table.database)
        if twin is not None:
            await require_twins(self.cluster, table, twin)
        through = f" through {twin}.{table.name}" if twin else ""
        fate = "drops it at the end"
        if not self._creations:
            fate = f"leaves its rows there at the end (TRUNCATE TABLE {shown} on the primary removes them)"
            self.report_left(
                f"the run's rows in {shown}, which was empty before (TRUNCATE TABLE {shown} on the primary removes all of them)"
            )
        self._progress(f"this run writes to {shown} on {writer.name} ({writer.host}){through}, and {fate}")

    @property
    def _distinct(self) -> list[Server]:
        """The servers, without further names of the writer's."""
        return [server for server in self.cluster.servers if server.name not in self.cluster.aliases]

    @property
    def _written(self) -> list[Server]:
        """The servers to which the table and its rows are written by SQL."""
        return self._distinct if self.cluster.replication == "none" else [self.cluster.writer]

    @property
    def _reached(self) -> list[Server]:
        """The servers that get by replication what is created and dropped on the writer."""
        return [server for server in self._distinct if server not in self._written]

    async def _create(self, table: Table) -> None:
        shown = f"{table.database}.{table.name}"
        with suppress(ClusterError):  # replicas may not yet have applied the DROP of an earlier run
            await self.wait_replicated(TABLE_SECONDS)
        for server in self._written:
            if server.sql_port is None:
                raise ClusterError(f"{server.name} needs a sql_port, so that the table can be created there")
            if server != self.cluster.writer and await has_table(server, table, table.database):
                raise ClusterError(
                    f"there is a table {shown} on {server.name}, and none on {self.cluster.writer.name}: create it there too, "
                    "or name another table (table.database, table.name)"
                )
            await self._require_creatable(server, table)
        for server in self._written:
            self._progress(f"creating {shown} on {server.name}")
            creation = Creation(server, table, self.foreign_rows)
            self._creations.append(creation)
            self.report_left(" and ".join(one.described for one in self._creations))
            gate = partial(trio.from_thread.run, self._require_creatable, server, table)
            # Not abandoned when cancelled: we must know what was created.
            await trio.to_thread.run_sync(creation.create, gate)
        comments = {creation.comment for creation in self._creations}
        for server in self._distinct:
            await wait_for_table(server, table, comments, TABLE_SECONDS)
        for creation in self._creations:
            await trio.to_thread.run_sync(creation.remember, self._reached)

    async def _require_creatable(self, server: Server, table: Table) -> None:
        """Raise `ClusterError` if the table must not be created on the server now."""
        shown = f"{table.database}.{table.name}"
        for replica in self._reached:
            # A replica that applies a CREATE TABLE replaces the table that it has (slave_ddl_exec_mode=IDEMPOTENT).
            if await has_table(replica, table, table.database):
                raise ClusterError(
                    f"there is a table {shown} on {replica.name}, and none on {server.name}: creating it there would replace "
                    f"or drop the one on {replica.name}. Name another table (table.database, table.name)"
                )
            if await would_stop_replication(replica, server, table.database):
                raise ClusterError(
                    f"there is a database {table.database} on {replica.name}, and none on {server.name}: creating it would "
                    f"stop the replication of {replica.name}, where slave_ddl_exec_mode is STRICT. Name another table "
                    "(table.database, table.name)"
                )
        await self._require_primary(server)
        # A table must not be dropped on a former primary. So whether the writer still is the primary must be known at the end.
        if reason := await self._promotions.why_unproven(direct=not self.on_galera):  # its nodes replicate in another way
            raise ClusterError(
                f"there is no table {shown} on {server.name}, and the run must not create it: {reason} create the table "
                f"yourself: CREATE TABLE {shown} ({table.columns_sql()}) ENGINE=InnoDB"
            )

    async def drop_created(self) -> None:
        """Drop what this run created, and warn of what it could not drop."""
        while self._creations:
            creation = self._creations.pop()
            gate = partial(trio.from_thread.run, self._require_primary, creation.server)
            for line in await trio.to_thread.run_sync(creation.undo, self._reached, gate):
                logger.warning("%s", line)

    async def _require_primary(self, server: Server) -> None:
        """Raise `ClusterError` if SQL must not write to the server now. The user may have demoted it since the start, or
        promoted another server beside it. Ask immediately before each statement."""
        if server.sql_port is not None and (reason := await why_not_writable(server)):
            raise ClusterError(f"{server.name} must not be written to any more: {reason}")
        if server == self.cluster.writer and (reason := await self._promotions.sign()):
            raise ClusterError(f"{server.name} may not be the primary any more: {reason}")

    async def fill(self, table: Table, rows: Iterable[Row]) -> None:
        """By SQL if the server's port is known, because that replicates in every topology; else through HandlerSocket. Servers
        that do not replicate get the rows each."""
        last: Row | None = None
        loaded = 0
        for chunk in chunked(rows, STATEMENT_BYTES):
            for server in self._written:
                try:
                    await self._require_primary(server)
                except ClusterError as error:
                    there = (
                        f"; {counted(loaded, 'row')} of this run are in {table.database}.{table.name} there" if loaded else ""
                    )
                    raise ClusterError(f"{error}{there}") from error
                await (self._insert if server.sql_port is None else fill_by_sql)(server, table, chunk)
            last = chunk[-1]
            loaded += len(chunk)
        if last is None:
            return
        for server in self._distinct:
            what = f"waiting until {server.name} has the rows that were loaded on {self.cluster.writer.name}"
            with bounded(what, LOAD_SECONDS):
                while not await find_rows(server, table, "=", key_of(table, last)):  # noqa: ASYNC110  (the server is asked)
                    await trio.sleep(POLL_SECONDS)

    async def _insert(self, server: Server, table: Table, rows: Sequence[Row]) -> None:
        try:
            async with trio_hs.open_manager(
                write_servers=[write_address(server)], write_databases=dict(self.cluster.write_databases), timeout=30.0
            ) as hs:
                outcomes = await handle_on(hs, table).insert_many(rows)
        except trio_hs.HandlerSocketError as error:
            raise ClusterError(f"{server.name}: the rows cannot be loaded: {error}") from error
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise ClusterError(f"{server.name}: the rows cannot be loaded: {outcome}")

    async def wait_replicated(self, within: float = 10.0) -> None:
        """By GTID, or on Galera by its own count, for servers whose SQL ports are known. It does not wait for the others."""
        primary = self.server(self.primary)
        if primary.sql_port is None or self.cluster.replication == "none":
            return
        asked = [server for server in self._distinct if server.sql_port is not None and server != primary]
        nodes = [server for server in asked if self.on_galera and await is_node(server)]
        if nodes:
            write = await committed(primary)
            await run_all(*(partial(wait_committed, node, write, within) for node in nodes))
        position = await logged(primary)
        await wait_all_applied([replica for replica in asked if replica not in nodes], position, within)

    async def read_rows(self, name: str, table: Table, *, after: Sequence[Any] | None = None, limit: int = 10_000) -> list[Row]:
        """By SQL if the server's port is known, else through HandlerSocket."""
        server = self.server(name)
        if server.sql_port is not None:
            return await rows_by_sql(server, table, after=after, limit=limit)
        if after is None:
            return await find_rows(server, table, ">=", least_key(table), limit)
        return await find_rows(server, table, ">", after, limit)


# --- The cluster -----------------------------------------------------------------------------------------------------


def _require_account(server: Server) -> None:
    if server.sql_port is not None and not server.admin_user:
        raise ClusterError(
            f"{server.name}: SQL at {server.at(server.sql_port)} needs an account: set TRIO_HS_SQL_USER and "
            "TRIO_HS_SQL_PASSWORD in the environment, or sql_user and sql_password in the scenario; or leave the sql_port out"
        )


async def _check_handlersocket(servers: Sequence[Server]) -> None:
    """Raise `ClusterError` unless every listener answers, and belongs to the server at the SQL port."""
    await run_all(*(partial(check_listeners, server) for server in servers))
    for server in servers:
        # One after the other: of two servers with swapped ports, each would count the connections that the other's check opens.
        if server.sql_port is not None:
            await require_one_server(server)


async def _is_same(server: Server, writer: Server, sql_only: bool) -> bool | None:
    try:
        return await same_server(server, writer)
    except ClusterError:
        if sql_only and server.sql_port is None:  # only HandlerSocket could say, and may be gone
            return None
        raise


async def _require_primary(writer: Server, perhaps_same: Sequence[str], progress: Callable[[str], None]) -> None:
    """Raise `ClusterError` if SQL shows that the writer is no primary. Without its `sql_port`, report what is not checked."""
    if writer.sql_port is not None:
        await require_writer(writer)
        return
    maybe = "".join(f", whether {name} is another server" for name in perhaps_same)
    progress(
        f"not checked without the sql_port of {writer.name}: whether it is read-only, a replica or a Galera node{maybe}, "
        "and whether the table is a view, which crashes a server when HandlerSocket opens it"
    )
    progress(f"whether {writer.name} is still the primary at the end cannot be asked either, {UNKNOWN_FATE}")


async def _require_alone(others: Iterable[Server], progress: Callable[[str], None]) -> None:
    """Raise `ClusterError` if SQL shows that a server beside the writer, where servers do not replicate, must not be written
    to."""
    for server in others:
        if server.sql_port is not None:
            await require_alone(server)
        else:
            progress(f"not checked without the sql_port of {server.name}: whether it is read-only or a replica")


async def ask_versions(servers: Sequence[Server]) -> dict[str, str]:
    """The version string of each server; `UNKNOWN` without a `sql_port`."""
    return {server.name: UNKNOWN if server.sql_port is None else await ask_version(server) for server in servers}


def require_version(version: str, versions: Mapping[str, str], progress: Callable[[str], None]) -> None:
    """Raise `ClusterError` if a server is known to have another version; report those that cannot be asked."""
    if others := [f"{name} is {one}" for name, one in versions.items() if one != UNKNOWN and series(one) != version]:
        raise ClusterError(
            f"version {version} is asked for, but {', '.join(others)}: ask for the version that the servers have, or for none"
        )
    for name in (name for name, one in versions.items() if one == UNKNOWN):
        progress(f"not checked without the sql_port of {name}: whether its version is {version}")


def shown(versions: Mapping[str, str]) -> str:
    """The servers' common version, or each one's."""
    common, *others = set(versions.values())
    return ", ".join(f"{name} {one}" for name, one in versions.items()) if others else common


@asynccontextmanager
async def open_external(
    servers: Sequence[Server],
    *,
    version: str | None,
    may_create: bool,
    write_databases: Mapping[str, str],
    replication: str,
    handlersocket_writes: bool,
    sql_only: bool,
    progress: Callable[[str], None],
) -> AsyncIterator[ExternalControl]:
    """The `external` kind of `open_servers`, which says what it promises."""
    progress(f"checking {counted(len(servers), 'server')}")
    for server in servers:
        _require_account(server)
    if not sql_only:
        await _check_handlersocket(servers)
    versions = await ask_versions(servers)
    if version is not None:
        require_version(version, versions, progress)
    cluster = Cluster(
        "external", "asked for", shown(versions), tuple(servers), write_databases=write_databases, replication=replication
    )
    writer = cluster.writer
    same = {server.name: await _is_same(server, writer, sql_only) for server in cluster.replicas}
    cluster = replace(cluster, aliases=tuple(name for name in same if same[name]))
    others = [server for server in cluster.replicas if server.name not in cluster.aliases]
    if others and writer.sql_port is None and not write_databases:
        raise ClusterError(
            "rows loaded through HandlerSocket do not reach the readers in the plain topology (MDEV-33967): name the writer's "
            f"sql_port, for rows loaded by SQL do, or write through a twin: {PAGE}"
        )
    if replication == "none":
        await _require_alone(others, progress)
    else:
        for standby in (server for server in others if server.name == "standby"):
            if standby.sql_port is not None:
                await require_standby(standby)
            else:
                progress(f"not checked without the sql_port of {standby.name}: whether it is read-only, as it must be")
    await _require_primary(writer, [name for name in same if same[name] is None], progress)
    promotions = await watch_promotions(writer, () if replication == "none" else others)
    control = ExternalControl(cluster, may_create=may_create, progress=progress, promotions=promotions)
    control.on_galera = await check_galera(writer, handlersocket_writes and not write_databases, progress)
    for line in promotions.lines():
        progress(line)
    if not control.on_galera:  # its nodes replicate in another way
        await promotions.require_replicas()
    if replication != "none" and not control.on_galera:
        control.primary_watch = PrimaryWatch(control, [writer, *others], promotions)
    try:
        yield control
    finally:
        with trio.CancelScope(shield=True):  # every step of it has a timeout
            await control.drop_created()
