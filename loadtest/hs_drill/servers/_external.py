"""A cluster of the user's own servers. The run neither starts nor ends them, and disturbs only the network in front of them.

Before it writes, it checks that `writer` is the primary, and says what it will write. It creates a table only if that is
allowed, and drops only what it has created. It does not touch a table that holds rows.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
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
from ._galera import check_galera, committed, is_node, wait_committed
from ._one_server import require_one_server, same_server
from ._promotions import UNKNOWN_FATE, Promotions, watch_promotions
from ._replication import PAGE, logged, wait_applied
from ._server_table import handle_on, key_of, least_key
from ._sql import ask_version, execute_sql, run_all
from ._sql_control import STATEMENT_BYTES, fill_by_sql, rows_by_sql, status_by_sql
from ._table_checks import find_rows, has_table, require_empty, wait_for_table, would_stop_replication
from ._writable import require_standby, require_writer, why_not_writable

logger = logging.getLogger("hs_drill.external")

ANSWER_SECONDS = 5.0
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
        aliases: frozenset[str] = frozenset(),
        promotions: Promotions | None = None,
    ) -> None:
        super().__init__(cluster, {})
        self._may_create = may_create
        self._progress = progress
        self.aliases = aliases
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
        writer = self.cluster.writer
        if writer.sql_port is None:
            return "cannot check whether writer is still the primary: its sql_port is not known"
        try:
            reason = await why_not_writable(writer)
        except ClusterError as error:
            return f"cannot check whether writer is still the primary: {error}"
        if reason:
            return f"writer is not the primary any more: {reason}"
        return await self._promotions.suspicion()

    async def watch(self) -> None:
        await self._promotions.watch()

    # ---- the table

    async def create_table(self, table: Table) -> None:
        """Use an existing table, if it is empty and has what the load needs; else create one, if that is allowed."""
        writer = self.cluster.writer
        shown = f"{table.database}.{table.name}"
        if not await has_table(writer, table, table.database):
            if not self._may_create or writer.sql_port is None:
                raise ClusterError(
                    f"there is no table {shown} on {writer.name}: create it with CREATE TABLE {shown} ({table.columns_sql()}) "
                    "ENGINE=InnoDB, or let the run do it: set cluster.create_table: true, and the writer's sql_port"
                )
            await self._create(table)
        for server in self._distinct:
            await require_empty(server, table, (server if self.cluster.replication == "none" else writer).name)
        twin = self.cluster.write_databases.get(table.database)
        if twin is not None and not await has_table(writer, table, twin):
            raise ClusterError(f"there is no {twin}.{table.name} on {writer.name} to write {shown} through: see {PAGE}")
        through = f" through {twin}.{table.name}" if twin else ""
        fate = (
            "drops it at the end"
            if self._creations
            else f"leaves its rows there at the end (TRUNCATE TABLE {shown} on the primary removes them)"
        )
        self._progress(f"this run writes to {shown} on {writer.name} ({writer.host}){through}, and {fate}")

    @property
    def _distinct(self) -> list[Server]:
        """The servers, without further names of the writer's."""
        return [server for server in self.cluster.servers if server.name not in self.aliases]

    async def _create(self, table: Table) -> None:
        shown = f"{table.database}.{table.name}"
        writer = self.cluster.writer
        others = [server for server in self._distinct if server != writer]
        with suppress(ClusterError):  # replicas may not yet have applied the DROP of an earlier run
            await self.wait_replicated(TABLE_SECONDS)
        for server in others:
            # A replica that applies a CREATE TABLE replaces the table that it has (slave_ddl_exec_mode=IDEMPOTENT).
            if await has_table(server, table, table.database):
                raise ClusterError(
                    f"there is a table {shown} on {server.name}, and none on {writer.name}: creating it there would replace or "
                    f"drop the one on {server.name}. Name another table (table.database, table.name)"
                )
            if await would_stop_replication(server, writer, table.database):
                raise ClusterError(
                    f"there is a database {table.database} on {server.name}, and none on {writer.name}: creating it would "
                    f"stop the replication of {server.name}, where slave_ddl_exec_mode is STRICT. Name another table "
                    "(table.database, table.name)"
                )
            if self.cluster.replication == "none":
                if server.sql_port is None:
                    raise ClusterError(f"{server.name} needs a sql_port, so that the table can be created there")
                await require_writer(server)
        self._require_watched(shown, table)
        for server in self._distinct if self.cluster.replication == "none" else (writer,):
            self._progress(f"creating {shown} on {server.name}")
            creation = Creation(server, table, self.foreign_rows)
            self._creations.append(creation)
            # Not abandoned when cancelled: we must know what was created.
            await trio.to_thread.run_sync(creation.create)
        comments = {creation.comment for creation in self._creations}
        for server in self._distinct:
            await wait_for_table(server, table, comments, TABLE_SECONDS)

    def _require_watched(self, shown: str, table: Table) -> None:
        """Raise `ClusterError` if another server could be promoted unnoticed. Then the run would not know at the end whether it
        may drop the table: it must not drop it on a server that is no longer the primary."""
        if unwatched := self._promotions.unwatched:
            names = " and ".join(unwatched)
            raise ClusterError(
                f"there is no table {shown} on {self.cluster.writer.name}, and the run must not create it: a promotion of "
                f"{names} would go unnoticed, and a table must not be dropped on a former primary. Give a sql_port for each, "
                "with an account that has SLAVE MONITOR, or create the table yourself: "
                f"CREATE TABLE {shown} ({table.columns_sql()}) ENGINE=InnoDB. Nothing was written"
            )

    async def drop_created(self) -> None:
        """Drop what this run created, and warn of what it could not drop."""
        while self._creations:
            creation = self._creations.pop()
            others = [server for server in self._distinct if server != creation.server and self.cluster.replication != "none"]
            # The user may have demoted it meanwhile, or promoted another server beside it.
            why_not_primary = partial(trio.from_thread.run, self._why_not_primary, creation.server)
            for line in await trio.to_thread.run_sync(creation.undo, others, why_not_primary):
                logger.warning("%s", line)

    async def _why_not_primary(self, server: Server) -> str:
        """Why a server that was written to may not be written to any more; "" if it may."""
        try:
            if reason := await why_not_writable(server):
                return f"{server.name} must not be written to any more: {reason}"
        except ClusterError as error:
            return str(error)
        if server == self.cluster.writer and (reason := await self._promotions.suspicion()):
            return f"{server.name} may not be the primary any more: {reason}"
        return ""

    async def fill(self, table: Table, rows: Iterable[Row]) -> None:
        """By SQL if the server's port is known, because that replicates in every topology; else through HandlerSocket. Servers
        that do not replicate get the rows each."""
        writer = self.cluster.writer
        last: Row | None = None
        for chunk in chunked(rows, STATEMENT_BYTES):
            for server in self._distinct if self.cluster.replication == "none" else (writer,):
                if server.sql_port is not None:
                    await fill_by_sql(server, table, chunk)
                elif server.write_port:
                    await self._insert(server, table, chunk)
                else:
                    raise ClusterError(f"{server.name} needs a sql_port or a write_port, so that its rows can be loaded")
            last = chunk[-1]
        if last is None:
            return
        for server in self._distinct:
            with bounded(f"waiting until {server.name} has the rows that were loaded on {writer.name}", LOAD_SECONDS):
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
        writer = self.cluster.writer
        if writer.sql_port is None or self.cluster.replication == "none":
            return
        asked = [server for server in self._distinct if server.sql_port is not None and server != writer]
        nodes = [server for server in asked if self.on_galera and await is_node(server)]
        if nodes:
            write = await committed(writer)
            await run_all(*(partial(wait_committed, node, write, within) for node in nodes))
        position = await logged(writer)
        await run_all(*(partial(wait_applied, replica, position, within) for replica in asked if replica not in nodes))

    async def read_rows(self, name: str, table: Table, *, after: Sequence[Any] | None = None, limit: int = 10_000) -> list[Row]:
        """By SQL if the server's port is known, else through HandlerSocket."""
        server = self.server(name)
        if server.sql_port is not None:
            return await rows_by_sql(server, table, after=after, limit=limit)
        if after is None:
            return await find_rows(server, table, ">=", least_key(table), limit)
        return await find_rows(server, table, ">", after, limit)


# --- The cluster -----------------------------------------------------------------------------------------------------


async def _check_listener(server: Server, port: int, secret: str, what: str) -> None:
    """Raise `ClusterError` unless the listener answers and accepts the secret."""
    at = f"{server.name}: the listener for {what} at {server.at(port)}"
    answer = b""
    with trio.move_on_after(ANSWER_SECONDS) as scope:
        try:
            async with await trio.open_tcp_stream(server.host, port) as stream:
                await stream.send_all(b"A\t1\t%s\n" % secret.encode())
                while not answer.endswith(b"\n") and (received := await stream.receive_some()):
                    answer += received
        except (OSError, trio.BrokenResourceError) as error:
            raise ClusterError(f"{at} cannot be reached: {error}{await _trouble(server, what)}") from error
    if scope.cancelled_caught:
        raise ClusterError(f"{at} does not answer within {ANSWER_SECONDS:g} s{await _trouble(server, what)}")
    if answer.startswith(b"3\t"):
        raise ClusterError(f"{at} refuses the secret: use that server's handlersocket_plain_secret{'_wr' * (what == 'writes')}")
    if answer != b"0\t1\n":
        raise ClusterError(f"{at} does not speak HandlerSocket: it answered {answer[:40]!r}")


async def _trouble(server: Server, what: str) -> str:
    reader = what == "writes" and server.name.startswith("reader-")
    return (" (a reader needs none: leave its write_port out)" if reader else "") + await _plugin_trouble(server)


async def _plugin_trouble(server: Server) -> str:
    """Why a server might not listen, as far as SQL shows: a parenthesis to append to a message."""
    if server.sql_port is None:
        return ""
    try:
        plugin = await execute_sql(
            server, "SELECT plugin_status AS s FROM information_schema.plugins WHERE plugin_name='handlersocket'"
        )
        maturity = (await execute_sql(server, "SELECT @@plugin_maturity AS m"))[0]["m"]
    except ClusterError as error:
        return f" (SQL cannot be asked either: {error})"
    if plugin and plugin[0]["s"] == "ACTIVE":
        return " (the plugin is active there: is it another port, or has another program taken that?)"
    return (
        " (the plugin is not loaded there: set plugin-load-add=handlersocket.so and plugin-maturity=beta, "
        f"which is {maturity} now, and restart it)"
    )


def _require_account(server: Server) -> None:
    if server.sql_port is not None and not server.admin_user:
        raise ClusterError(
            f"{server.name}: SQL at {server.at(server.sql_port)} needs an account: set TRIO_HS_SQL_USER and "
            "TRIO_HS_SQL_PASSWORD in the environment, or sql_user and sql_password in the scenario; or leave the sql_port out"
        )


async def _check_listeners(server: Server) -> None:
    for listener, port, secret in server.listeners:
        await _check_listener(server, port, secret, f"{listener}s")


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
    progress: Callable[[str], None],
) -> AsyncIterator[ExternalControl]:
    """The `external` kind of `open_servers`, which says what it promises."""
    progress(f"checking {counted(len(servers), 'server')}")
    for server in servers:
        _require_account(server)
    await run_all(*(partial(_check_listeners, server) for server in servers))
    for server in servers:
        # One after the other: of two servers with swapped ports, each would count the connections that the other's check opens.
        if server.sql_port is not None:
            await require_one_server(server)
    versions = await ask_versions(servers)
    if version is not None:
        require_version(version, versions, progress)
    cluster = Cluster(
        "external", "asked for", shown(versions), tuple(servers), write_databases=write_databases, replication=replication
    )
    writer = cluster.writer
    same = {server.name: await same_server(server, writer) for server in cluster.replicas}
    aliases = frozenset(name for name in same if same[name])
    others = [server for server in cluster.replicas if server.name not in aliases]
    if others and writer.sql_port is None and not write_databases:
        raise ClusterError(
            "rows loaded through HandlerSocket do not reach the readers in the plain topology (MDEV-33967): name the writer's "
            f"sql_port, for rows loaded by SQL do, or write through a twin: {PAGE}"
        )
    if replication != "none":
        for standby in (server for server in others if server.name == "standby"):
            if standby.sql_port is not None:
                await require_standby(standby)
            else:
                progress(f"not checked without the sql_port of {standby.name}: whether it is read-only, as it must be")
    await _require_primary(writer, [name for name in same if same[name] is None], progress)
    promotions = await watch_promotions(writer, () if replication == "none" else others)
    for line in promotions.lines():
        progress(line)
    control = ExternalControl(cluster, may_create=may_create, progress=progress, aliases=aliases, promotions=promotions)
    control.on_galera = await check_galera(writer, handlersocket_writes and not write_databases, progress)
    if not control.on_galera:  # its nodes replicate in another way
        await promotions.require_replicas()
    try:
        yield control
    finally:
        with trio.CancelScope(shield=True):  # every step of it has a timeout
            await control.drop_created()
