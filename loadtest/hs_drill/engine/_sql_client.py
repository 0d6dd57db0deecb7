"""The operations of a mix by SQL: a scenario's `driver: sql` uses this in place of `trio_hs.Manager`.

mysqlclient has no coroutines. But it can send a query and read the answer in two steps, and it exposes its socket. So trio
waits for the socket, and only connecting needs a thread. (64 tasks that get a row by key, on two cores together with the
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
from hs_drill._sql_text import literal, quoted, table_name

try:
    import MySQLdb
    from MySQLdb.constants import CLIENT
except ImportError:
    MySQLdb = None

__all__ = ["SqlClient", "SqlTable", "open_sql_client"]

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


class _Pool:
    """The connections to one server."""

    def __init__(self, server: Server, most: int) -> None:
        self.name = server.name
        self._server = server
        self._idle: list[Any] = []
        self._free = most
        self._waiting = trio.lowlevel.ParkingLot()
        self.down_until = 0.0

    async def query(self, text: str, *, changes: bool) -> tuple[Sequence[Sequence[Any]], int]:
        """Returns the rows, and the number of rows that matched. Raises `trio_hs`'s errors."""
        while not self._free:
            await self._waiting.park()
        self._free -= 1
        try:
            return await self._query(text, changes)
        except trio_hs.ConnectionError:
            self.down_until = trio.current_time() + DOWN_SECONDS
            raise
        finally:
            self._free += 1
            self._waiting.unpark()

    async def _query(self, text: str, changes: bool) -> tuple[Sequence[Sequence[Any]], int]:
        connection = self._idle.pop() if self._idle else await self._connect()
        usable = False
        try:
            connection.send_query(text.encode())
            with trio.move_on_after(TIMEOUT) as patience:
                await trio.lowlevel.wait_readable(connection.fileno())
            if patience.cancelled_caught:
                raise self._lost(f"no answer for {TIMEOUT} s", changes)
            connection.read_query_result()
            result = connection.store_result()
            usable = True
            return (result.fetch_row(0) if result is not None else ()), connection.affected_rows()
        except MySQLdb.Error as error:
            translated = self._translate(error, changes)
            usable = isinstance(translated, trio_hs.OperationalError)
            raise translated from error
        finally:
            # After a cancellation the answer is still to come: don't reuse the connection.
            if usable:
                self._idle.append(connection)
            else:
                connection.close()

    async def _connect(self) -> Any:
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
        )
        try:
            return await trio.to_thread.run_sync(connect, abandon_on_cancel=True)
        except MySQLdb.Error as error:
            raise self._translate(error, False) from error

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
        answered: Mapping[str, Callable[[int], None]] | None = None,
    ) -> None:
        self._answered = answered or {}
        pools = {server.name: _Pool(server, connections) for server in (*readers, *writers)}
        self._readers = [pools[server.name] for server in readers]
        self._writers = [pools[server.name] for server in writers]
        self._pools = pools.values()

    def table(self, db: str, table: str, fields: Sequence[str], index_name: str | None = None) -> SqlTable:
        """Like `trio_hs.Manager.table`, for the operations of a mix."""
        return SqlTable(self, table_name(db, table), fields, index_name)

    async def read(self, text: str) -> Sequence[Sequence[Any]]:
        """Ask a reader, and the others if it is unavailable. Raises `trio_hs`'s errors."""
        now = trio.current_time()
        self._readers.append(self._readers.pop(0))
        for pool in (*(pool for pool in self._readers if pool.down_until <= now), *self._readers):
            try:
                return (await pool.query(text, changes=False))[0]
            except trio_hs.ConnectionError as error:
                failure = error
        raise failure

    async def write(self, text: str) -> int:
        """Returns the number of rows that matched. Moves on to another writer if the write was certainly not applied: a standby
        refuses until it is promoted. Raises `trio_hs`'s errors."""
        failure: trio_hs.HandlerSocketError | None = None
        for pool in list(self._writers):
            try:
                matched = (await pool.query(text, changes=True))[1]
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
    answered: Mapping[str, Callable[[int], None]] | None = None,
) -> AsyncIterator[SqlClient]:
    """Open a client with at most `connections` to each server. Further operations wait for a free one.

    Each server's function in `answered` is called with the time, in nanoseconds, when a write was acknowledged.
    """
    client = SqlClient(readers, writers, connections, answered)
    try:
        yield client
    finally:
        client.close()


class SqlTable:
    """The operations of a mix on the run's table. Its primary key is the column `id`."""

    def __init__(self, client: SqlClient, name: str, fields: Sequence[str], index_name: str | None) -> None:
        self._client = client
        self._fields = fields
        columns = ", ".join(map(quoted, fields))
        self._select = f"SELECT {columns} FROM {name}{f' FORCE INDEX ({quoted(index_name)})' if index_name else ''} WHERE "
        self._insert = f"INSERT INTO {name} ({columns}) VALUES ("
        self._update = f"UPDATE {name} SET {quoted(fields[0])} = "
        self._delete = f"DELETE FROM {name} WHERE "
        self._counter = quoted(fields[0])

    def _named(self, row: Sequence[Any]) -> trio_hs.Row:
        return list(zip(self._fields, row, strict=True))

    async def get(self, key: int) -> trio_hs.Row:
        rows = await self._client.read(f"{self._select}id = {key}")
        return self._named(rows[0]) if rows else []

    async def get_many(self, keys: Sequence[int]) -> list[trio_hs.Row]:
        rows = await self._client.read(f"{self._select}id IN ({', '.join(map(str, keys))})")
        found = {int(row[0]): self._named(row) for row in rows}
        return [found.get(key, []) for key in keys]

    async def find(self, operation: str, values: Sequence[int], *, limit: int) -> list[trio_hs.Row]:
        group, key = values
        # In this form the optimizer reads one range of the composite index; a row comparison it does not optimize.
        where = f"(grp = {group} AND id {operation} {key}) OR grp > {group} ORDER BY grp, id LIMIT {limit}"
        return [self._named(row) for row in await self._client.read(self._select + where)]

    async def insert(self, values: Sequence[int | str]) -> None:
        await self._client.write(f"{self._insert}{', '.join(map(literal, values))})")

    async def update(self, _: str, keys: Sequence[int], values: Sequence[int | str]) -> int:
        return await self._client.write(f"{self._update}{literal(values[0])} WHERE id = {keys[0]}")

    async def incr(self, _: str, keys: Sequence[int], step: Sequence[int]) -> int:
        return await self._client.write(f"{self._update}{self._counter} + {step[0]} WHERE id = {keys[0]}")

    async def decr(self, _: str, keys: Sequence[int], step: Sequence[int]) -> int:
        # As in HandlerSocket, a counter that would change its sign stays as it is.
        same = f"NOT ({self._counter} > 0 AND {self._counter} < {step[0]})"
        return await self._client.write(f"{self._update}{self._counter} - {step[0]} WHERE id = {keys[0]} AND {same}")

    async def delete(self, _: str, keys: Sequence[int]) -> int:
        return await self._client.write(f"{self._delete}id = {keys[0]}")
