"""What an engine is set up with: the servers, the scenario and its own number; and what each run opens by it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

import trio_hs
from hs_drill._addresses import read_address, write_address
from hs_drill._cluster import Cluster
from hs_drill._trio_child import one_line
from hs_drill._wire import Message
from hs_drill.scenario import Scenario, to_be_promoted
from hs_drill.store import HistoryWriter

from ._meter import Meter
from ._scribe import Scribe
from ._server_names import connections_told, names_of_servers
from ._sql_client import SqlClient, open_sql_client

__all__ = ["TIMEOUT", "Client", "ClientLog", "Setup", "reads_primary"]

Client = trio_hs.Manager | SqlClient

TIMEOUT = 3.0
"""Seconds after which the client gives an unanswered request up."""


class ClientLog(logging.Handler):
    """Keeps what the client warns of until the next batch; of a flood, the beginning."""

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
    """Whether whatever is read comes from the server that takes the writes: there is no other, perhaps under several names."""
    writer = cluster.writer
    others = [server for server in cluster.servers if server.name != writer.name]
    return all(one.sql_port is not None and (one.host, one.sql_port) == (writer.host, writer.sql_port) for one in others)


class Setup:
    def __init__(self, message: Message, log: ClientLog) -> None:
        self.log = log
        self.cluster = Cluster.from_dict(message["cluster"])
        self.scenario = Scenario.model_validate(message["scenario"])
        self.worker: int = message["worker"]
        self.each: bool = message["each"]
        self.names = names_of_servers(self.cluster)

    @asynccontextmanager
    async def open_client(self, meter: Meter) -> AsyncIterator[Client]:
        readers = self.cluster.readers or (self.cluster.writer,)
        # A replica refuses writes until it is promoted; the client moves over by itself then.
        promoted = to_be_promoted(self.scenario.faults, [server.name for server in self.cluster.readers])
        standby = [self.cluster.standby] if self.cluster.standby else []
        writers = [self.cluster.writer, *standby, *(server for server in self.cluster.readers if server.name in promoted)]
        if self.scenario.driver.name == "sql":
            async with open_sql_client(readers, writers, self.scenario.driver.connections) as client:
                yield client
            return
        async with trio_hs.open_manager(
            [read_address(server) for server in readers],
            [[write_address(server)] for server in writers],
            timeout=TIMEOUT,
            write_databases=dict(self.cluster.write_databases),
            # A drill pauses the primary or cuts it off, and promotes. Nobody knows whether a user's own standby refuses writes.
            move_writes_on_silence=self.cluster.kind != "external",
            connect=meter.connect,
        ) as hs:
            yield hs

    @contextmanager
    def open_scribe(self, path: str | None, run: int) -> Iterator[Scribe | None]:
        """What keeps the history of a run that is kept: of one that is not audited only what became of connections."""
        if path is None:
            yield None
            return
        with HistoryWriter(Path(path), worker=self.worker, run=run, reads_primary=reads_primary(self.cluster)) as history:
            try:
                with connections_told(history, self.names):
                    yield Scribe(history, self.scenario.audit.reads, self.names) if self.scenario.audited else None
            except* trio.Cancelled:
                history.close()  # nothing is missing: every user has said what became of its last operation
                raise
