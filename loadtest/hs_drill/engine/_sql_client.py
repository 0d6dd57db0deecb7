"""The operations of a mix by SQL: a scenario's `driver: sql` uses this in place of `trio_hs.Manager`.

mysqlclient has no coroutines. But it can send a query and read the answer in two steps, and it exposes its socket. So trio
waits for the answer there, and only connecting needs a thread. (64 tasks that get a row by key, on two cores together with the
server: 37,000 a second. With trio-mysql 16,000, with mysqlclient in threads 9,000.)
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

import trio_hs
from hs_drill._cluster import Server

from ._sql_answer import Arrivals
from ._sql_statements import Layout, Statement
from ._sql_table import SqlTable

try:
    import MySQLdb
    from MySQLdb.constants import CLIENT
except ImportError:
    MySQLdb = None

__all__ = ["SqlClient", "open_sql_client"]

TIMEOUT = 3
"""Seconds of silence after which to drop a connection, as for HandlerSocket."""
DOWN_SECONDS = 0.5
"""How long to prefer other servers after one could not be reached."""

CONNECTING = frozenset((1040, 1129, 1203, 2002, 2003, 2005))
"""SQL errors while connecting: nothing has been sent yet."""
BROKEN = frozenset((1053, 1927, 2006, 2013, 2014, 2026, 2027, 2055))
KINDS: dict[int, type[trio_hs.OperationalError]] = {
    1044: trio_hs.AuthenticationError,
    1045: trio_hs.AuthenticationError,
    1049: trio_hs.TableNotFoundError,
    1054: trio_hs.ColumnNotFoundError,
    1062: trio_hs.DuplicateKeyError,
    1146: trio_hs.TableNotFoundError,
    1205: trio_hs.LockTimeoutError,
    1290: trio_hs.ReadOnlyError,
    1451: trio_hs.ForeignKeyError,
    1452: trio_hs.ForeignKeyError,
    1836: trio_hs.ReadOnlyError,
}
"""SQL error -> the exception for its HandlerSocket counterpart."""


TOO_MANY_PREPARED = 1461
"""The server's `max_prepared_stmt_count` is reached."""


class _Connection:
    """A connection, and the statements that are prepared on it."""

    def __init__(self, raw: Any, in_pieces: bool) -> None:
        self.raw = raw
        self.prepared: set[Statement] = set()
        self._arrivals = Arrivals(raw.fileno()) if in_pieces else None

    async def answered(self) -> bool:
        """Wait until the answer can be read. False: nothing came for too long."""
        if self._arrivals is not None:
            return await self._arrivals.wait(TIMEOUT)
        with trio.move_on_after(TIMEOUT) as patience:
            await trio.lowlevel.wait_readable(self.raw.fileno())
        return not patience.cancelled_caught

    def close(self) -> None:
        if self._arrivals is not None:
            self._arrivals.close()
        self.raw.close()


def _opened(connect: Callable[[], Any]) -> Any:
    """A new connection that returns text in the character sets of the columns, as HandlerSocket does. Blocking."""
    raw = connect()
    raw.query("SET character_set_results = NULL")
    return raw


class _Pool:
    """The connections to one server."""

    def __init__(self, server: Server, most: int, in_pieces: bool) -> None:
        self.name = server.name
        self._server = server
        self._in_pieces = in_pieces
        self._idle: list[_Connection] = []
        self._free = most
        self._waiting = trio.lowlevel.ParkingLot()
        self._threads = trio.CapacityLimiter(most)
        """Of its own: else the threads that wait for a silent server would keep others from being connected to."""
        self.down_until = 0.0

    async def execute(
        self, statement: Statement, arguments: Sequence[str], *, changes: bool
    ) -> tuple[Sequence[Sequence[Any]], int]:
        """Returns the rows, and the number of rows that matched. Raises `trio_hs`'s errors."""
        while not self._free:
            await self._waiting.park()
        self._free -= 1
        try:
            return await self._execute(statement, arguments, changes)
        except trio_hs.ConnectionError:
            self.down_until = trio.current_time() + DOWN_SECONDS
            raise
        finally:
            self._free += 1
            self._waiting.unpark()

    async def _execute(
        self, statement: Statement, arguments: Sequence[str], changes: bool
    ) -> tuple[Sequence[Sequence[Any]], int]:
        connection = self._idle.pop() if self._idle else await self._connect()
        usable = False
        try:
            prepared = statement in connection.prepared or await self._prepare(connection, statement)
            text = statement.executed_with(arguments) if prepared else statement.with_literals(arguments)
            found = await self._query(connection, text, changes=changes)
            usable = True
            return found
        except trio_hs.OperationalError:
            usable = True
            raise
        finally:
            # After a cancellation the answer is still to come: don't reuse the connection.
            if usable:
                self._idle.append(connection)
            else:
                connection.close()

    async def _prepare(self, connection: _Connection, statement: Statement) -> bool:
        """Whether the server prepares one more statement."""
        try:
            await self._query(connection, statement.prepared_by, changes=False)
        except trio_hs.OperationalError as error:
            if error.code != TOO_MANY_PREPARED:
                raise
            return False
        connection.prepared.add(statement)
        return True

    async def _query(self, connection: _Connection, text: str, *, changes: bool) -> tuple[Sequence[Sequence[Any]], int]:
        raw = connection.raw
        try:
            raw.send_query(text.encode())
            if not await connection.answered():
                raise self._lost(f"no answer for {TIMEOUT} s", changes)
            raw.read_query_result()
            result = raw.store_result()
            return (result.fetch_row(0) if result is not None else ()), raw.affected_rows()
        except MySQLdb.Error as error:
            raise self._translate(error, changes) from error

    async def _connect(self) -> _Connection:
        connect = partial(
            MySQLdb.connect,
            host=self._server.host,
            port=self._server.sql_port,
            user=self._server.load_user,
            password=self._server.load_password,
            autocommit=True,
            charset="utf8mb4",
            client_flag=CLIENT.FOUND_ROWS,
            connect_timeout=TIMEOUT,
            read_timeout=TIMEOUT,
            write_timeout=TIMEOUT,
            conv={},  # leave values as bytes
            use_unicode=False,
        )
        try:
            raw = await trio.to_thread.run_sync(_opened, connect, abandon_on_cancel=True, limiter=self._threads)
        except MySQLdb.Error as error:
            raise self._translate(error, False) from error
        return _Connection(raw, self._in_pieces)

    def _translate(self, error: Exception, changes: bool) -> trio_hs.HandlerSocketError:
        code, message = (*error.args, 0, "")[:2]
        if code in CONNECTING or code in BROKEN:
            return self._lost(f"SQL error {code}: {message}", changes and code in BROKEN)
        # Drop the server's message: it contains values.
        refusal = KINDS.get(code, trio_hs.OperationalError)(code, "by SQL", self._server.name)
        refusal.server = self._server.name
        return refusal

    def _lost(self, why: str, maybe_applied: bool) -> trio_hs.ConnectionError:
        name = self._server.name
        return trio_hs.ConnectionError(f"{name}: {why}", maybe_applied=maybe_applied, server=name)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


class SqlClient:
    """Reads from the readers in turn, and writes to the first writer that accepts writes."""

    def __init__(
        self,
        readers: Sequence[Server],
        writers: Sequence[Server],
        connections: int,
        layout: Layout,
        answered: Mapping[str, Callable[[int], None]] | None = None,
        in_pieces: bool = False,
    ) -> None:
        self._layout = layout
        self._answered = answered or {}
        pools = {server.name: _Pool(server, connections, in_pieces) for server in (*readers, *writers)}
        self._readers = [pools[server.name] for server in readers]
        self._writers = [pools[server.name] for server in writers]
        self._pools = pools.values()

    def table(self, db: str, table: str, fields: Sequence[str], index_name: str | None = None) -> SqlTable:
        """Like `trio_hs.Manager.table`, for the operations of a mix."""
        return SqlTable(self, self._layout, db, table, fields, index_name)

    async def read(self, statement: Statement, arguments: Sequence[str]) -> Sequence[Sequence[Any]]:
        """Ask a reader, and the others if it is unavailable. Raises `trio_hs`'s errors."""
        now = trio.current_time()
        self._readers.append(self._readers.pop(0))
        for pool in (*(pool for pool in self._readers if pool.down_until <= now), *self._readers):
            try:
                return (await pool.execute(statement, arguments, changes=False))[0]
            except trio_hs.ConnectionError as error:
                failure = error
        raise failure

    async def write(self, statement: Statement, arguments: Sequence[str]) -> int:
        """Returns the number of rows that matched. Moves on to another writer if the write was certainly not applied: a standby
        refuses until it is promoted. Raises `trio_hs`'s errors."""
        failure: trio_hs.HandlerSocketError | None = None
        for pool in list(self._writers):
            try:
                matched = (await pool.execute(statement, arguments, changes=True))[1]
                if (note := self._answered.get(pool.name)) is not None:
                    note(time.monotonic_ns())
                return matched
            except (trio_hs.ReadOnlyError, trio_hs.ConnectionError) as error:
                self._writers.append(self._writers.pop(self._writers.index(pool)))
                if isinstance(error, trio_hs.ConnectionError) and error.maybe_applied:
                    raise
                # An unreachable primary explains more than a standby's refusal.
                if not isinstance(failure, trio_hs.ConnectionError):
                    failure = error
        assert failure is not None
        raise failure

    @asynccontextmanager
    async def suspended(self) -> AsyncIterator[None]:
        """Do nothing: an idle SQL connection holds no lock on a table."""
        yield

    def statistics(self) -> trio_hs.Statistics:
        return trio_hs.Statistics((), (), 0)

    def close(self) -> None:
        for pool in self._pools:
            pool.close()


@asynccontextmanager
async def open_sql_client(
    readers: Sequence[Server],
    writers: Sequence[Server],
    connections: int,
    layout: Layout,
    answered: Mapping[str, Callable[[int], None]] | None = None,
    in_pieces: bool = False,
) -> AsyncIterator[SqlClient]:
    """Open a client for a table, with at most `connections` to each server. Further operations wait for a free one.

    Each server's function in `answered` is called with the time, in nanoseconds, when a write was acknowledged.
    `in_pieces`: a slow network may deliver answers so; wait for the rest without blocking. A get takes about a fifth more CPU
    time then.
    """
    client = SqlClient(readers, writers, connections, layout, answered, in_pieces)
    try:
        yield client
    finally:
        client.close()
