"""A cluster of the user's own servers. The run starts and ends none of them, and disturbs only the network in front of them.

What it writes, it says first. It creates a table only where that is allowed, and drops none but one that it has created; a
table that holds rows already is left alone.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

import trio_hs
from trio_hs.testing import Table

from ._cluster import Cluster, ClusterError, Server
from ._control import Control, Rejoined, ReplicationStatus, Row, State, bounded, by_size
from ._listeners import reader_of, writer_of
from ._replication import logged, wait_applied
from ._sql import at_once, execute_sql, quoted
from ._sql_control import STATEMENT_BYTES, fill_by_sql, rows_by_sql, status_by_sql

logger = logging.getLogger("loadtest.external")

ANSWER_SECONDS = 5.0
TABLE_SECONDS = 15.0
"""What replicas may take to have a table that was created, and a connection to let go of one that is to be dropped."""
LOAD_SECONDS = 60.0
"""What replicas may take to have the rows that were loaded."""
POLL_SECONDS = 0.05
LEAST_KEY = -(2**63)
PAGE = "docs/replication.md"


class ExternalControl(Control):
    """A `Control` that can look, and write to one table. What is done to processes and to replication is the user's."""

    def __init__(self, cluster: Cluster, *, may_create: bool, progress: Callable[[str], None]) -> None:
        super().__init__(cluster)
        self._may_create = may_create
        self._tell = progress
        self._undoing: list[tuple[Server, str]] = []
        """The statements that take back what was created, in the order of the creations."""

    def state(self, name: str) -> State:
        """Nobody watches its process: a server that does not answer shows in the errors of the load."""
        self.server(name)
        return "running"

    def _refuse(self, name: str) -> ClusterError:
        return ClusterError(f"{self.server(name).name} is not a server of this run: do that by your own means")

    async def kill(self, name: str) -> None:
        raise self._refuse(name)

    async def stop(self, name: str) -> None:
        raise self._refuse(name)

    async def start(self, name: str, *, new_secrets: bool = False) -> Server:
        raise self._refuse(name)

    async def pause(self, name: str) -> None:
        raise self._refuse(name)

    async def resume(self, name: str) -> None:
        raise self._refuse(name)

    async def promote(self, name: str) -> None:
        raise self._refuse(name)

    async def rejoin(self, name: str) -> Rejoined:
        raise self._refuse(name)

    async def close_for_writes(self) -> None:
        raise self._refuse(self.primary)

    async def open_for_writes(self) -> None:
        raise self._refuse(self.primary)

    async def stop_replication(self, name: str) -> None:
        raise self._refuse(name)

    async def start_replication(self, name: str) -> None:
        raise self._refuse(name)

    async def set_lag(self, name: str, seconds: int) -> None:
        raise self._refuse(name)

    async def replication_status(self, name: str) -> ReplicationStatus:
        server = self.server(name)
        if server.sql_port is None:
            raise ClusterError(f"{name} is not asked how it replicates: its sql_port is not known")
        return await status_by_sql(server, self.cluster)

    # ---- the table

    async def create_table(self, table: Table) -> None:
        """Use the table that is there, if it is empty and has what the load needs; else create it, where that is allowed."""
        writer = self.cluster.writer
        shown = f"{table.database}.{table.name}"
        if not await _has(writer, table, table.database):
            if not self._may_create or writer.sql_port is None:
                raise ClusterError(
                    f"there is no table {shown} on {writer.name}: create it with CREATE TABLE {shown} ({table.columns_sql()}) "
                    "ENGINE=InnoDB, or let the run do it: cluster.create_table: true, and the writer's sql_port"
                )
            await self._create(table)
        for server in self.cluster.servers:
            await _require_empty(server, table)
        twin = self.cluster.write_databases.get(table.database)
        if twin is not None and not await _has(writer, table, twin):
            raise ClusterError(f"there is no {twin}.{table.name} on {writer.name} to write {shown} through: see {PAGE}")
        through = f" through {twin}.{table.name}" if twin else ""
        fate = "drops it at the end" if self._undoing else "leaves its rows there at the end"
        self._tell(f"this run writes to {shown} on {writer.name} ({writer.host}){through}, and {fate}")

    async def _create(self, table: Table) -> None:
        shown = f"{quoted(table.database)}.{quoted(table.name)}"
        for server in self.cluster.servers if self.cluster.replication == "none" else (self.cluster.writer,):
            known = f"SELECT 1 FROM information_schema.schemata WHERE schema_name = '{table.database}'"
            self._tell(f"creating {table.database}.{table.name} on {server.name}")
            if not await execute_sql(server, known):
                self._undoing.append((server, f"DROP DATABASE {quoted(table.database)}"))
                await execute_sql(server, f"CREATE DATABASE {quoted(table.database)}")
            await execute_sql(server, f"CREATE TABLE {shown} ({table.columns_sql()}) ENGINE=InnoDB")
            self._undoing.append((server, f"DROP TABLE {shown}"))
        for server in self.cluster.servers:
            with bounded(f"waiting until {server.name} has the table {table.database}.{table.name}", TABLE_SECONDS):
                while not await _has(server, table, table.database):  # noqa: ASYNC110  (the server is asked)
                    await trio.sleep(POLL_SECONDS)

    async def drop_created(self) -> None:
        """Take back what was created. What cannot be is told, and stays."""
        while self._undoing:
            server, statement = self._undoing.pop()
            try:
                await execute_sql(server, f"SET SESSION lock_wait_timeout={TABLE_SECONDS:.0f}", statement)
            except ClusterError as error:
                logger.error("%s; left to you: %s", error, statement)

    async def fill(self, table: Table, rows: Iterable[Row]) -> None:
        """By SQL where the writer's port is known, for that replicates in every topology; else through HandlerSocket."""
        writer = self.cluster.writer
        last: Row | None = None
        for some in by_size(rows, STATEMENT_BYTES):
            if writer.sql_port is not None:
                await fill_by_sql(writer, table, some)
            else:
                await self._insert(table, some)
            last = some[-1]
        if last is None:
            return
        for server in self.cluster.servers:
            with bounded(f"waiting until {server.name} has the rows that were loaded on {writer.name}", LOAD_SECONDS):
                while not await _find(server, table, "=", last[0]):  # noqa: ASYNC110  (the server is asked)
                    await trio.sleep(POLL_SECONDS)

    async def _insert(self, table: Table, rows: Sequence[Row]) -> None:
        writer = self.cluster.writer
        try:
            async with trio_hs.open_manager(
                write_servers=[writer_of(writer)], write_databases=dict(self.cluster.write_databases), timeout=30.0
            ) as hs:
                outcomes = await hs.insert_many(table.database, table.name, list(table.columns), rows)
        except trio_hs.HandlerSocketError as error:
            raise ClusterError(f"{writer.name}: the rows cannot be loaded: {error}") from error
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise ClusterError(f"{writer.name}: the rows cannot be loaded: {outcome}")

    async def wait_replicated(self, within: float = 10.0) -> None:
        """By GTID, between servers whose SQL ports are known. Others are taken as they are."""
        writer = self.cluster.writer
        if writer.sql_port is None or self.cluster.replication == "none":
            return
        position = await logged(writer)
        asked = [replica for replica in self.cluster.replicas if replica.sql_port is not None and not _same(replica, writer)]
        await at_once(*(partial(wait_applied, replica, position, within) for replica in asked))

    async def read_rows(self, name: str, table: Table, *, after: int | None = None, limit: int = 10_000) -> list[Row]:
        """By SQL, or else through HandlerSocket."""
        server = self.server(name)
        if server.sql_port is not None:
            return await rows_by_sql(server, table, after=after, limit=limit)
        found = await _find(server, table, ">=" if after is None else ">", LEAST_KEY if after is None else after, limit)
        numbers = ["INT" in declaration.split()[0].upper() for declaration in table.columns.values()]
        return [
            tuple(int(value) if number and value is not None else value for value, number in zip(row, numbers, strict=True))
            for row in found
        ]


def _same(one: Server, other: Server) -> bool:
    return (one.host, one.read_port) == (other.host, other.read_port)


# --- Through HandlerSocket's port for reads: to open what is missing on the other one spoils that writer thread ---------


async def _has(server: Server, table: Table, database: str) -> bool:
    """Whether the table is there. Raises `ClusterError` when it lacks a column or an index that the load needs."""
    indexes = {"PRIMARY": list(table.columns), **{name: list(columns) for name, columns in table.indexes.items()}}
    try:
        async with trio_hs.open_read_socket([reader_of(server)]) as hs:
            for index, columns in indexes.items():
                opened = await hs.get_index_id(database, table.name, columns, index)
                await hs.find(opened, "=", [str(LEAST_KEY)])  # only a request opens it
    except trio_hs.TableNotFoundError:
        return False
    except trio_hs.HandlerSocketError as error:
        raise ClusterError(
            f"{server.name}: {database}.{table.name} cannot be used: {error}; it needs ({table.columns_sql()})"
        ) from error
    return True


async def _find(server: Server, table: Table, operation: str, key: object, limit: int = 1) -> list[list[Any]]:
    try:
        async with trio_hs.open_read_socket([reader_of(server)]) as hs:
            index = await hs.get_index_id(table.database, table.name, list(table.columns))
            return [*await hs.find(index, operation, [str(key)], limit)]
    except trio_hs.HandlerSocketError as error:
        raise ClusterError(f"{server.name}: {error}") from error


async def _require_empty(server: Server, table: Table) -> None:
    if await _find(server, table, ">=", LEAST_KEY):
        raise ClusterError(
            f"{table.database}.{table.name} on {server.name} holds rows, and a run changes and deletes rows: give it another "
            "table (table.database, table.name), or empty that one if nobody needs what is in it"
        )


# --- The cluster -----------------------------------------------------------------------------------------------------


async def _check_listener(server: Server, port: int, secret: str, what: str) -> None:
    """Raises `ClusterError` when it does not let us in."""
    at = f"{server.name}: the listener for {what} at {server.host}:{port}"
    answer = b""
    with trio.move_on_after(ANSWER_SECONDS) as scope:
        try:
            async with await trio.open_tcp_stream(server.host, port) as stream:
                await stream.send_all(b"A\t1\t%s\n" % secret.encode())
                while not answer.endswith(b"\n") and (received := await stream.receive_some()):
                    answer += received
        except (OSError, trio.BrokenResourceError) as error:
            raise ClusterError(f"{at} cannot be reached: {error}{await _plugin_trouble(server)}") from error
    if scope.cancelled_caught:
        raise ClusterError(f"{at} does not answer within {ANSWER_SECONDS:g} s{await _plugin_trouble(server)}")
    if answer.startswith(b"3\t"):
        raise ClusterError(
            f"{at} refuses the secret: it is that server's handlersocket_plain_secret{'_wr' * (what == 'writes')}"
        )
    if answer != b"0\t1\n":
        raise ClusterError(f"{at} does not speak HandlerSocket: it answered {answer[:40]!r}")


async def _plugin_trouble(server: Server) -> str:
    """Why a server might not listen, if SQL tells; to be put behind a message."""
    if server.sql_port is None:
        return ""
    try:
        plugin = await execute_sql(
            server, "SELECT plugin_status AS s FROM information_schema.plugins WHERE plugin_name='handlersocket'"
        )
        maturity = (await execute_sql(server, "SELECT @@plugin_maturity AS m"))[0]["m"]
    except ClusterError as error:
        return f" (nor can SQL be asked: {error})"
    if plugin and plugin[0]["s"] == "ACTIVE":
        return " (the plugin is active there: is it another port, or has another program taken that?)"
    return (
        " (the plugin is not loaded there: set plugin-load-add=handlersocket.so and plugin-maturity=beta, "
        f"which is {maturity} now, and restart it)"
    )


async def _check_server(server: Server) -> None:
    await _check_listener(server, server.read_port, server.read_secret, "reads")
    await _check_listener(server, server.write_port, server.write_secret, "writes")
    if server.sql_port is not None:
        await execute_sql(server, "SELECT 1")


@asynccontextmanager
async def open_external(
    servers: Sequence[Server],
    *,
    may_create: bool,
    write_databases: Mapping[str, str],
    replication: str,
    progress: Callable[[str], None],
) -> AsyncIterator[ExternalControl]:
    """The `external` kind of `open_controlled_cluster`, which says what it promises."""
    progress(f"asking {len(servers)} servers")
    await at_once(*(partial(_check_server, server) for server in servers))
    cluster = Cluster(
        "external", "asked for", "unknown", tuple(servers), write_databases=write_databases, replication=replication
    )
    writer = cluster.writer
    others = [server for server in cluster.replicas if not _same(server, writer)]
    if others and writer.sql_port is None and not write_databases:
        raise ClusterError(
            "rows loaded through HandlerSocket do not reach the readers in the plain topology (MDEV-33967): name the writer's "
            f"sql_port, for what is loaded by SQL does, or write through a twin: {PAGE}"
        )
    if writer.sql_port is not None:
        version = (await execute_sql(writer, "SELECT VERSION() AS v"))[0]["v"]
        cluster = Cluster.from_dict({**cluster.to_dict(), "version": version})
    control = ExternalControl(cluster, may_create=may_create, progress=progress)
    try:
        yield control
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 2 * TABLE_SECONDS):
            await control.drop_created()
