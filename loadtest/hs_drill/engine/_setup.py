"""An engine's set-up: servers, scenario and worker number; opens the client and the history of each run."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import trio

import trio_hs
from hs_drill._addresses import read_address, write_address
from hs_drill._cluster import Cluster, Server
from hs_drill._trio_child import one_line
from hs_drill._wire import Message
from hs_drill.scenario import NetworkFault, Scenario, to_be_promoted
from hs_drill.store import UNAUDITED_WRITES, HistoryWriter, MixOperation
from hs_drill.workload import ExistingRows, Sample, rows_of

from ._bound_operations import mix_operations
from ._load_users import load_users
from ._meter import Meter, WriteWatch
from ._primary_reads import Acknowledged, PrimaryReads
from ._row_operations import ROW_OPERATIONS
from ._scribe import Scribe
from ._sent_values import ENCODING, sent_by_handlersocket
from ._server_names import connections_recorded, names_of_servers
from ._sql_client import SqlClient, open_sql_client
from ._sql_statements import Layout
from ._user_results import UserFiles

__all__ = ["TIMEOUT", "Client", "PrimaryClients", "Setup", "WarningBuffer", "reads_primary"]

Client = trio_hs.Manager | SqlClient

TIMEOUT = 3.0
"""Seconds after which the client abandons an unanswered request."""


class PrimaryClients(NamedTuple):
    """See `Setup.open_primary_clients`."""

    clients: list[Client]
    reads: PrimaryReads


class WarningBuffer(logging.Handler):
    """Buffers the client's warnings until the next batch; drops those beyond `MAX`."""

    MAX = 100

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._kept: list[Message] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._kept) < self.MAX:
            self._kept.append({"type": "log", "level": record.levelno, "line": one_line(record.getMessage())})

    def take(self) -> list[Message]:
        kept, self._kept = self._kept, []
        return kept


def reads_primary(cluster: Cluster) -> bool:
    """Whether all reads come from the server that takes the writes: it is the only one, perhaps under several names. Behind a
    router nobody knows."""
    return cluster.router is None and all(server.name in cluster.aliases for server in cluster.replicas)


def further_writers(cluster: Cluster, scenario: Scenario) -> list[Server]:
    """The servers, beside the writer, to which clients write once they are promoted. In order of preference.

    Of the user's own servers any may be promoted at any time. Which of them may be written to was decided when they were
    checked. Of the run's own servers only its faults promote one.
    """
    if cluster.kind == "external":
        by_name = {server.name: server for server in cluster.servers}
        return [by_name[name] for name in cluster.followers]
    promoted = to_be_promoted(scenario.faults, [server.name for server in cluster.readers])
    standby = [cluster.standby] if cluster.standby else []
    return [*standby, *(reader for reader in cluster.readers if reader.name in promoted)]


class Setup:
    """The engine's set-up, from the message `setup`."""

    def __init__(self, message: Message, log: WarningBuffer) -> None:
        self.log = log
        self.cluster = Cluster.from_dict(message["cluster"])
        self.scenario = Scenario.model_validate(message["scenario"])
        self.worker: int = message["worker"]
        modules = [(name, path) for name, path in message.get("code", ())]
        self.user_files = UserFiles(path for _, path in modules)
        self.user_classes = load_users(modules) if modules else {}
        """The classes of users in Python, by their full names."""
        self.each: bool = message["each"]
        sample = message.get("sample")
        self.rows = rows = rows_of(self.scenario, None if sample is None else Sample.unpacked(sample))
        self._by_sql = self.scenario.driver.name == "sql"
        self.as_ = None if self._by_sql or rows.columns_declared is None else sent_by_handlersocket(rows.columns_declared)
        """What the client is given in place of the rows' values; None: the values."""
        if isinstance(rows, ExistingRows):
            rows.prepare(self.as_)
        self.names = names_of_servers(self.cluster)
        if (router := self.cluster.router) is not None:
            self._readers, self._writers = [router], [router]
        else:
            self._readers = list(self.cluster.readers or (self.cluster.writer,))
            # A replica refuses writes until it is promoted; then the client moves over by itself.
            self._writers = [self.cluster.writer, *further_writers(self.cluster, self.scenario)]

    @property
    def _answering(self) -> list[Server]:
        """The servers of which the history says when they answered writes. Which server answers through a router is unknown."""
        return [] if self.cluster.router is not None else self._writers

    @property
    def write_addresses(self) -> list[str]:
        """The addresses of these servers, as the client writes them."""
        return [str(write_address(server)) for server in self._answering]

    @asynccontextmanager
    async def open_client(self, meter: Meter) -> AsyncIterator[Client]:
        if self._by_sql:
            async with self._open_sql(meter, self._readers) as client:
                yield client
            return
        async with self._open_manager(meter.connect, ENCODING) as hs:
            yield hs

    def _open_sql(self, meter: Meter, readers: Sequence[Server]) -> AbstractAsyncContextManager[SqlClient]:
        noted = {server.name: meter.note_acknowledged(server.name) for server in self._answering}
        slow = any(isinstance(fault, NetworkFault) for fault in self.scenario.faults)
        connections = self.scenario.driver.connections
        return open_sql_client(readers, self._writers, connections, Layout.of(self.rows), noted, in_pieces=slow)

    @asynccontextmanager
    async def open_users_client(self, meter: Meter, history: HistoryWriter | None) -> AsyncIterator[trio_hs.Manager | None]:
        """The client of users in Python; None if there are none. (The mix's own reads all text as Latin-1.) If it is about to
        write to the audited table, the history says so."""
        if not self.user_classes:
            yield None
            return
        table, twins = self.scenario.table, dict(self.cluster.write_databases)
        name = f"{table.database}.{table.name}"

        def wrote() -> None:
            if history is not None and self.scenario.audited:
                history.event(UNAUDITED_WRITES, name)

        databases = {table.database, twins.get(table.database, table.database)}
        addresses = [str(write_address(server)) for server in self._writers]
        watch = WriteWatch(addresses, [(database, table.name) for database in databases], wrote)
        async with self._open_manager(partial(meter.connect, watch=watch), "utf-8") as hs:
            yield hs

    def acknowledged(self) -> Acknowledged | None:
        """For a run in which operations read from the primary."""
        return Acknowledged(self.cluster.writer.name) if any(one.primary for one in self.scenario.operations) else None

    @asynccontextmanager
    async def open_primary_clients(self, meter: Meter) -> AsyncIterator[PrimaryClients | None]:
        """A client for each server that may be the primary, to read from it; None if no operation does. One that is never asked
        connects to nothing."""
        if meter.acknowledged is None:
            yield None
            return
        async with AsyncExitStack() as opened:
            clients: dict[str, Client] = {}
            for server in self._writers:
                client = (
                    self._open_sql(meter, [server]) if self._by_sql else self._open_manager(meter.connect, ENCODING, [server])
                )
                clients[server.name] = await opened.enter_async_context(client)
            tables = {name: client.table for name, client in clients.items()}
            yield PrimaryClients(list(clients.values()), PrimaryReads(tables, meter.acknowledged))

    def _open_manager(
        self, connect: trio_hs.Connect, encoding: str, readers: Sequence[Server] = ()
    ) -> AbstractAsyncContextManager[trio_hs.Manager]:
        return trio_hs.open_manager(
            [read_address(server) for server in readers or self._readers],
            [[write_address(server)] for server in self._writers],
            timeout=TIMEOUT,
            encoding=encoding,
            write_databases=dict(self.cluster.write_databases),
            # A replica that is certain to refuse writes until it is promoted may be asked when the primary falls silent.
            move_writes_on_silence=self.cluster.kind != "external" or self.cluster.followers_proven,
            connect=connect,
        )

    @contextmanager
    def open_history(self, path: str | None, run: int) -> Iterator[HistoryWriter | None]:
        """Open the history of a run."""
        if path is None:
            if self.scenario.table.existing and self.scenario.writes:
                raise RuntimeError("nothing is kept of the table that exists: the run has no directory")
            yield None
            return
        with HistoryWriter(
            Path(path),
            worker=self.worker,
            run=run,
            reads_primary=reads_primary(self.cluster),
            operations=self._operations(),
        ) as history:
            try:
                with connections_recorded(history, self.names):
                    yield history
            except* trio.Cancelled:
                history.close()  # it is complete: every user has recorded its last operation
                raise

    def _operations(self) -> list[MixOperation]:
        """For the header of a history."""
        listed = mix_operations(self.scenario, self.rows)
        if self.user_classes and not self.scenario.table.declared:
            codes = {one.code for one in listed}
            listed += [one for one in ROW_OPERATIONS if one.code not in codes]
        return listed

    def scribe(self, history: HistoryWriter | None) -> Scribe | None:
        """The scribe of a run's history. Without an audit it has only events."""
        if history is None or not self.scenario.audited:
            return None
        return Scribe(history, self.scenario.audit.reads, self.names)
