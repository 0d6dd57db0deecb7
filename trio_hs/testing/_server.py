"""The embedded server: two listeners on one set of tables, each served by a worker, with or without sockets.

A worker has the cycle of the real one: it takes the requests of all its connections, executes them, commits once, and only
then answers. So a batch sees one state of the tables, and an answer means a commit.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from .._network import Connect, Server, Transport, background_nursery, require_trio
from ._connection import ServerConnection
from ._declaration import Table
from ._faults import Faults
from ._journal import Journal
from ._listener import Listener
from ._local_source import LocalSource
from ._replication import Log, Position, Replica, Source, Transaction
from ._session import Session
from ._streams import BreakableTransport, memory_stream
from ._table import Database
from ._versions import DEFAULT_VERSION

READ_PORT = 9998
WRITE_PORT = 9999


@dataclass(frozen=True)
class ServerStatistics:
    """The state of an :class:`EmbeddedServer` at one moment."""

    running: bool
    """False between a crash and the restart."""
    connections: int
    """Open connections to both listeners."""
    requests: int
    """Requests executed since the server was made, across restarts."""
    most_pending: int
    """The most requests of one connection that ever waited to be executed."""
    position: Position
    """The last transaction that readers see."""
    received: Position
    """The last transaction that is safe here. On a replica it may be ahead of ``position``."""
    read_only: bool
    """Whether writers get ``lock_tables``."""
    replicating: bool
    """Whether it follows another server, and reaches it."""
    replication_error: str | None
    """Why replication has stopped for good, or None."""
    behind: float | None
    """Seconds that its readers are behind the writes that have arrived from another server; None if that is not known."""
    paused: bool
    """Whether replication is paused."""


class EmbeddedServer:
    """A HandlerSocket server in this process; :func:`open_server` makes and runs one.

    Attributes:
      name: the host in its addresses while it has no sockets, and its name for replicas.
      database: its tables.
      faults: its faults, see :class:`Faults`.
      version: the version of MariaDB that it answers as.
      replica: follows another server, with ``replica.lag`` and so on, see :meth:`follow`.
      logs_writes: False keeps clients' writes from replicas, as stock MariaDB does with HandlerSocket's (MDEV-33967).
    """

    def __init__(
        self,
        tables: Iterable[Table],
        nursery: trio.Nursery,
        *,
        name: str = "localhost",
        version: str = DEFAULT_VERSION,
        read_secret: str | None = None,
        write_secret: str | None = None,
        idle_timeout: float | None = None,
        synchronous: int = 0,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.database = Database(tables, version=version)
        self.log = Log()
        self.replica = Replica(name, self.database, self.log)
        self.faults = Faults(self._wake, self._reset_connections, rng)
        self.logs_writes = True
        self._synchronous = synchronous
        self.idle_timeout = idle_timeout
        self._nursery = nursery
        self._reads = Listener(False, read_secret)
        self._writes = Listener(True, write_secret)
        self._running = True
        self._life = 0
        self._requests = 0
        self._most_pending = 0
        self._acknowledged: dict[str, int] = {}
        self._replicated = trio.lowlevel.ParkingLot()
        self._source: Source | None = None
        for listener in (self._reads, self._writes):
            nursery.start_soon(self._work, listener)
        if idle_timeout is not None:
            nursery.start_soon(self._close_idle, idle_timeout)

    def __repr__(self) -> str:
        state = "running" if self._running else "down"
        return f"<EmbeddedServer {self.name} {state}, at {self.log.position}>"

    # ---- connections

    @property
    def read_address(self) -> Server:
        """The address of the listener for reads. Without a socket, only :meth:`connect` understands it."""
        return self._address(self._reads, READ_PORT)

    @property
    def write_address(self) -> Server:
        """The address of the listener for writes."""
        return self._address(self._writes, WRITE_PORT)

    def _address(self, listener: Listener, port: int) -> Server:
        secret = None if listener.secret is None else listener.secret.decode()
        if isinstance(listener.address, str):
            return Server("unix", listener.address, secret=secret)
        host, port = listener.address or (self.name, port)
        return Server("inet", host, port, secret=secret)

    async def connect(self, server: Server) -> Transport:
        """A stream in memory to one of the listeners, for ``open_manager(connect=server.connect)``.

        Raises OSError for an address of another server, and while this one is down or refuses.
        """
        await trio.lowlevel.checkpoint()
        for address, listener in ((self.read_address, self._reads), (self.write_address, self._writes)):
            if (server.kind, server.host, server.port) == (address.kind, address.host, address.port):
                if not self._running or self.faults.refusing:
                    raise ConnectionRefusedError(f"{server} refuses connections")
                ours, theirs = memory_stream()
                self._serve(ours, listener)
                return theirs
        raise ConnectionRefusedError(
            f"nothing listens on {server}; {self.name} is {self.read_address} and {self.write_address}"
        )

    async def listen(self, read: tuple[str, int] | str | Path, write: tuple[str, int] | str | Path) -> None:
        """Also listens on sockets: ``(host, port)`` (port 0 takes a free one) or the path of a unix socket.

        Raises OSError. The end of the server's block closes the sockets, and so does a crash until the restart.
        """
        await trio.lowlevel.checkpoint()
        self._reads.address = str(read) if isinstance(read, Path) else read
        self._writes.address = str(write) if isinstance(write, Path) else write
        self._open_sockets()

    def _open_sockets(self) -> None:
        for listener in (self._reads, self._writes):
            listener.open_socket(self._nursery, self._serve)

    def _close_sockets(self) -> None:
        for listener in (self._reads, self._writes):
            listener.close_socket()

    def _serve(self, transport: BreakableTransport, listener: Listener) -> None:
        session = Session(self.database, writable=listener.writable, secret=listener.secret)
        connection = ServerConnection(transport, session, self.faults, listener.on_ready)
        listener.connections[connection] = None
        self._nursery.start_soon(self._run_connection, connection, listener)

    async def _run_connection(self, connection: ServerConnection, listener: Listener) -> None:
        try:
            await connection.run()
        finally:
            listener.connections.pop(connection, None)
            listener.ready.pop(connection, None)

    async def _close_idle(self, timeout: float) -> None:
        """Checks now and then, like the real server, so a connection may live somewhat longer than the timeout."""
        while True:
            await trio.sleep(min(timeout / 3, 10))
            oldest = trio.current_time() - timeout
            for connection in self._connections():
                if connection.last_heard < oldest and not connection.pending:
                    connection.close()

    def _connections(self) -> list[ServerConnection]:
        return [*self._reads.connections, *self._writes.connections]

    # ---- requests

    def _wake(self) -> None:
        if self._running:
            if self.faults.refusing:
                self._close_sockets()
            else:
                self._open_sockets()
        self._reads.wake.unpark_all()
        self._writes.wake.unpark_all()

    async def _work(self, listener: Listener) -> None:
        while True:
            while not listener.ready or self.faults.stalls(listener.writable):
                await listener.wake.park()
            life = self._life
            batch = [(connection, self._execute(connection)) for connection in listener.ready]
            listener.ready.clear()
            if listener.writable:
                await self._commit(logged=self.logs_writes)
            if life == self._life:
                for connection, answers in batch:
                    connection.answer(answers)
            await trio.lowlevel.checkpoint()

    def _execute(self, connection: ServerConnection) -> bytes:
        self._most_pending = max(self._most_pending, connection.pending)
        lines = connection.take_lines()
        self._requests += len(lines)
        execute = connection.session.execute
        return b"".join([execute(line) for line in lines])

    async def _commit(self, *, logged: bool) -> None:
        changes = self.database.commit()
        if changes and not logged:
            if self.log.journal is not None:
                self.log.journal.keep(changes)
        elif changes:
            # After a crash that lost transactions their numbers are used again. A replica with the lost ones must see the
            # difference.
            origin = f"{self.name}+{self._life}" if self._life else self.name
            position = Position(self.log.position.number + 1, origin)
            self.log.append(Transaction(position, changes))
            life = self._life
            while life == self._life and self._copies(position) < self._synchronous:
                await self._replicated.park()

    def _copies(self, position: Position) -> int:
        """How many replicas have a transaction."""
        return sum(number >= position.number for number in self._acknowledged.values())

    # ---- replication

    async def follow(self, source: EmbeddedServer | Source, *, rebuild: bool = False) -> None:
        """Becomes a replica: read-only, and everything that ``source`` commits is applied here.

        It continues from its position. That is impossible if this server has transactions that the source does not have: then
        ``rebuild`` takes a copy of the source's tables. Without it replication stops, and ``statistics().replication_error``
        says so. The source may be down, crash and come back.
        """
        await trio.lowlevel.checkpoint()
        self.replica.stop()
        self.database.read_only = True
        self._source = source.as_source() if isinstance(source, EmbeddedServer) else source
        self._nursery.start_soon(self._follow, self._source, rebuild, self._life)

    async def _follow(self, source: Source, rebuild: bool, life: int) -> None:
        if self._source is source and self._life == life:  # not promoted or crashed meanwhile
            await self.replica.run(source, rebuild)

    def as_source(self) -> LocalSource:
        """This server, for replicas of this process."""
        return LocalSource(self)

    def detach(self) -> None:
        """Ends replication, and applies the transactions that have arrived. Still refuses writes."""
        self._source = None
        self.replica.stop()

    def promote(self) -> None:
        """Ends replication, applies the transactions that have arrived, and takes writes."""
        self.detach()
        self.database.read_only = False

    async def load(self, database: str, table: str, rows: Iterable[Sequence[int | str | None]]) -> None:
        """Stores rows, each with a value for every column, in one transaction. Replicas get it even without ``logs_writes``.

        Raises KeyError for an unknown table, and ValueError for a row that cannot be stored; none is stored then.
        """
        self.database.load((database, table), rows)
        await self._commit(logged=True)

    @property
    def synchronous(self) -> int:
        """How many replicas must have a write before it is answered. 0 answers at once. May be set at any time."""
        return self._synchronous

    @synchronous.setter
    def synchronous(self, replicas: int) -> None:
        self._synchronous = replicas
        self._replicated.unpark_all()

    @property
    def unreplicated(self) -> int:
        """How many of the last transactions are on no replica."""
        return self.log.position.number - max(self._acknowledged.values(), default=0)

    def acknowledge(self, replica: str, position: Position) -> None:
        """A replica has everything up to ``position``."""
        self._acknowledged[replica] = position.number
        self._replicated.unpark_all()

    # ---- crash and restart

    def keep(self, journal: Journal) -> None:
        """Brings the tables to the end of a journal, and writes to it from now on. Raises OSError and ValueError."""
        journal.replay(self.database, self.log)
        self.log.journal = journal

    def crash(self, *, lose: int = 0) -> None:
        """Dies at once: every connection ends, nothing more is answered, and the last ``lose`` transactions are lost.

        0 is a server that flushes every commit to its disk. ``server.unreplicated`` is one whose disk is lost, with all
        transactions that are on no replica.
        """
        if not lose >= 0:
            raise ValueError(f"lose is a number of transactions, not {lose!r}")
        if not self._running:
            return
        self._running = False
        self._life += 1
        self._close_sockets()
        self.replica.forget()
        for connection in self._connections():
            connection.close()
        self._reads.ready.clear()
        self._writes.ready.clear()
        self._acknowledged.clear()
        self._replicated.unpark_all()
        self.database.revert(self.database.commit())
        for transaction in self.log.take_back(lose):
            self.database.revert(transaction.changes)
        self.log.changed.unpark_all()

    def restart(self) -> None:
        """Starts again after a crash, with the rows that were left, and without open indexes.

        A replica continues to follow. A source does not know its replicas until they connect again.
        """
        if self._running:
            return
        self._running = True
        self._wake()
        if self._source is not None:
            self._nursery.start_soon(self._follow, self._source, False, self._life)

    def _reset_connections(self) -> None:
        for connection in self._connections():
            connection.reset()

    @property
    def running(self) -> bool:
        return self._running

    def statistics(self) -> ServerStatistics:
        """The state of the server now."""
        replicating = self.replica.following
        return ServerStatistics(
            running=self._running,
            connections=len(self._connections()),
            requests=self._requests,
            most_pending=self._most_pending,
            position=self.log.position,
            received=self.replica.received if replicating else self.log.position,
            read_only=self.database.read_only,
            replicating=replicating and self.replica.connected,
            replication_error=self.replica.error,
            behind=self.replica.behind if replicating else None,
            paused=self.replica.paused,
        )


def network(*servers: EmbeddedServer) -> Connect:
    """Reaches several servers in memory by their names, for ``open_manager(connect=...)``.

    Raises ValueError for two servers of one name.
    """
    by_name = {server.name: server for server in servers}
    if len(by_name) < len(servers):
        raise ValueError(f"servers need names of their own: {', '.join(server.name for server in servers)}")

    async def connect(address: Server) -> Transport:
        if address.host not in by_name:
            raise ConnectionRefusedError(f"there is no server {address.host}, but {', '.join(by_name)}")
        return await by_name[address.host].connect(address)

    return connect


@asynccontextmanager
async def open_server(
    tables: Iterable[Table],
    *,
    name: str = "localhost",
    version: str = DEFAULT_VERSION,
    read_secret: str | None = None,
    write_secret: str | None = None,
    idle_timeout: float | None = None,
    synchronous: int = 0,
    rng: random.Random | None = None,
) -> AsyncIterator[EmbeddedServer]:
    """``async with open_server([Table(...)]) as server:`` runs a server until the block ends.

    ``version`` is the version of MariaDB that it answers as, ``"10.11"`` or ``"11.8"``: docs/testing.md says where they
    differ.
    ``read_secret`` and ``write_secret`` are required from clients; None requires nothing. ``idle_timeout`` closes connections
    that were silent for this many seconds, as ``handlersocket_timeout`` does. ``synchronous`` replicas must have a write before
    it is answered. ``rng`` makes all random choices of the server's faults.

    Raises ValueError for wrong tables and for another version. Leaving the block, also by cancellation, ends every connection
    and task.
    """
    require_trio()
    async with background_nursery() as nursery:
        server = EmbeddedServer(
            tables,
            nursery,
            name=name,
            version=version,
            read_secret=read_secret,
            write_secret=write_secret,
            idle_timeout=idle_timeout,
            synchronous=synchronous,
            rng=rng,
        )
        try:
            yield server
        finally:
            server.crash()
