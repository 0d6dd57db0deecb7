"""Python's SQL clients, each in every mode that may be its best.

Text: the client writes the values into the statement. Prepared: the server has prepared the statement, and gets the values in
binary form. PyMySQL, aiomysql, trio-mysql and mysqlclient have no prepared statements (mysqlclient 2.3 calls nothing of that in
MariaDB's library). asyncmy has a cache of them, which is off unless asked for.

An open cursor per connection, autocommit, and nothing around it but a semaphore where tasks have to share connections.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar

from ._base import ASYNCIO, BATCH, COUNTED, DATABASE, FILLED, INSERTED, READ, SQL, THREADS, TRIO, Contender, check

TEXT, PREPARED = "text", "prepared"
UNLOGGED = "SET SESSION sql_log_bin = 0"  # HandlerSocket's writes are not logged either


class Statements:
    """The statements, with `mark` in the place of each value."""

    def __init__(self, mark: str) -> None:
        row = f"({mark}, {mark}, {mark})"
        self.get = f"SELECT id, n, payload FROM {READ} WHERE id = {mark}"
        self.get_many = f"SELECT id, n, payload FROM {READ} WHERE id IN ({', '.join([mark] * BATCH)})"
        self.insert = f"INSERT INTO {FILLED} (id, n, payload) VALUES {row}"
        self.insert_rows = f"INSERT INTO {FILLED} (id, n, payload) VALUES {', '.join([row] * BATCH)}"
        self.incr = f"UPDATE {COUNTED} SET n = n + 1 WHERE id = {mark}"


class SqlContender(Contender):
    kind = SQL
    mode = TEXT
    sql: ClassVar[Statements] = Statements("%s")

    @property
    def login(self) -> dict[str, Any]:
        target = self.target
        return {"host": target.host, "port": target.sql_port, "user": target.user, "password": target.password}


class AsyncSql(SqlContender):
    """A client with async cursors."""

    async def connect(self) -> tuple[Any, Any]:
        """A connection and a cursor on it."""
        raise NotImplementedError

    async def close(self, connection: Any) -> None:
        await connection.ensure_closed()

    @asynccontextmanager
    async def open(self, pool: int) -> AsyncIterator[list[Any]]:
        opened = [await self.connect() for _ in range(pool)]
        for _, cursor in opened:
            await cursor.execute(UNLOGGED)
        yield [cursor for _, cursor in opened]
        for connection, _ in opened:
            await self.close(connection)

    async def get(self, cursor: Any) -> int:
        key = self.next_key()
        await cursor.execute(self.sql.get, (key,))
        row = await cursor.fetchone()
        check(row, self.rows[key])
        return 1

    async def get_many(self, cursor: Any) -> int:
        keys, expected = self.next_sample()
        await cursor.execute(self.sql.get_many, keys)
        rows = await cursor.fetchall()
        self.check_many(rows, expected)
        return BATCH

    async def insert(self, cursor: Any) -> int:
        await cursor.execute(self.sql.insert, (self.next_new(), 0, INSERTED))
        check(cursor.rowcount, 1)
        return 1

    async def insert_many(self, cursor: Any) -> int:
        await cursor.executemany(self.sql.insert, self.new_rows())
        check(cursor.rowcount, BATCH)
        return BATCH

    async def incr(self, cursor: Any) -> int:
        await cursor.execute(self.sql.incr, (self.next_key(),))
        check(cursor.rowcount, 1)
        return 1


class Asyncmy(AsyncSql):
    name, distributions, runtime = "asyncmy", ("asyncmy",), ASYNCIO
    options: ClassVar[dict[str, Any]] = {}

    async def connect(self) -> tuple[Any, Any]:
        import asyncmy

        connection = await asyncmy.connect(**self.login, db=DATABASE, autocommit=True, **self.options)
        return connection, connection.cursor()


class AsyncmyPrepared(Asyncmy):
    mode = PREPARED
    options: ClassVar[dict[str, Any]] = {"stmt_cache_size": 16}


class Aiomysql(AsyncSql):
    name, distributions, runtime = "aiomysql", ("aiomysql",), ASYNCIO

    async def connect(self) -> tuple[Any, Any]:
        import aiomysql

        connection = await aiomysql.connect(**self.login, db=DATABASE, autocommit=True)
        return connection, await connection.cursor()


class TrioMysql(AsyncSql):
    name, distributions, runtime = "trio-mysql", ("trio-mysql",), TRIO

    async def connect(self) -> tuple[Any, Any]:
        import trio_mysql

        connection = trio_mysql.connect(**self.login, db=DATABASE, autocommit=True, use_unicode=True)
        await connection.connect()
        return connection, connection.cursor()

    async def close(self, connection: Any) -> None:
        await connection.aclose()


class ThreadSql(SqlContender):
    """A blocking client: as many threads as connections, one each. More threads would only wait."""

    runtime = THREADS

    def connect(self) -> Any:
        raise NotImplementedError

    @contextmanager
    def open(self, pool: int) -> Iterator[list[Any]]:
        connections = [self.connect() for _ in range(pool)]
        cursors = [connection.cursor() for connection in connections]
        for cursor in cursors:
            cursor.execute(UNLOGGED)
        yield cursors
        for connection in connections:
            connection.close()

    def get(self, cursor: Any) -> int:
        key = self.next_key()
        cursor.execute(self.sql.get, (key,))
        row = cursor.fetchone()
        check(row, self.rows[key])
        return 1

    def get_many(self, cursor: Any) -> int:
        keys, expected = self.next_sample()
        cursor.execute(self.sql.get_many, keys)
        rows = cursor.fetchall()
        self.check_many(rows, expected)
        return BATCH

    def insert(self, cursor: Any) -> int:
        cursor.execute(self.sql.insert, (self.next_new(), 0, INSERTED))
        check(cursor.rowcount, 1)
        return 1

    def insert_many(self, cursor: Any) -> int:
        cursor.executemany(self.sql.insert, self.new_rows())
        check(cursor.rowcount, BATCH)
        return BATCH

    def incr(self, cursor: Any) -> int:
        cursor.execute(self.sql.incr, (self.next_key(),))
        check(cursor.rowcount, 1)
        return 1


class PyMySQL(ThreadSql):
    name, distributions = "PyMySQL", ("PyMySQL",)

    def connect(self) -> Any:
        import pymysql

        return pymysql.connect(**self.login, database=DATABASE, autocommit=True)


class Mysqlclient(ThreadSql):
    name, distributions = "mysqlclient", ("mysqlclient",)

    def connect(self) -> Any:
        import MySQLdb

        return MySQLdb.connect(**self.login, database=DATABASE, autocommit=True)
