"""The contenders of `benchmarks.client`: each Python client behind one interface, and a bare socket as the floor.

A contender opens `pool` connections, and yields a handle for each. An operation takes a handle,
checks the answer (`WrongAnswer` fails the run), and returns how many rows it has read or written. Comparing 1,000 rows with the
expected ones takes up to a third of a client's own time, so that time is measured and subtracted. SQL clients are measured at
their best: an open cursor per connection, autocommit, and nothing around it but a semaphore where tasks have to share
connections.

Longer than most modules because each client has the same six operations.
"""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Any, ClassVar

import trio

import trio_hs

DATABASE = "bench"
FIELDS = ("id", "n", "payload")
COLUMNS_SQL = "id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL, payload VARCHAR(64) CHARACTER SET latin1 NOT NULL"
#: The table that is read, the one that is incremented, and the one that each measurement of inserts fills anew.
READ, COUNTED, FILLED = "rows_read", "rows_counted", "rows_filled"
ROWS = 20_000
BATCH = 1000
INSERTED = "x" * 48

GET = f"SELECT id, n, payload FROM {READ} WHERE id = %s"
GET_MANY = f"SELECT id, n, payload FROM {READ} WHERE id IN ({', '.join(['%s'] * BATCH)})"
INSERT = f"INSERT INTO {FILLED} (id, n, payload) VALUES (%s, %s, %s)"
INCR = f"UPDATE {COUNTED} SET n = n + 1 WHERE id = %s"

#: What a program's tasks are when it uses the client.
TRIO, ASYNCIO, THREADS = "trio", "asyncio", "threads"


def payload(key: int) -> str:
    """The text of a row to be read. It differs in each row, so that a wrong row is noticed."""
    return f"{key:016}" * 3


class WrongAnswer(Exception):
    """A contender gave a wrong or missing row, or did not change what it should have."""


def check(answer: object, expected: object) -> None:
    if answer != expected:
        raise WrongAnswer(f"{str(answer)[:200]} instead of {str(expected)[:200]}")


@dataclass(frozen=True)
class Target:
    """The server, and the process whose CPU time counts."""

    host: str
    read_port: int
    write_port: int
    sql_port: int
    read_secret: str = field(repr=False)
    write_secret: str = field(repr=False)
    user: str
    password: str = field(repr=False)
    pid: int


class Contender:
    """One client, and the drawing of keys that all share.

    Attributes:
      name: for people.
      distribution: the distribution to install for it; None if it needs none.
      runtime: what its tasks are.
      shared: whether any number of tasks may use one connection at once.
      operations: the names of its methods that can be measured.
      checking: seconds spent on checking batches since it was set to 0.
      checking_cpu: the CPU time of that, in seconds; less than `checking` where other programs use the cores.
    """

    name: ClassVar[str]
    distribution: ClassVar[str | None] = None
    runtime: ClassVar[str]
    shared: ClassVar[bool] = False
    operations: ClassVar[Sequence[str]] = ("get", "get_many", "insert", "insert_many", "incr")
    checking = 0.0
    checking_cpu = 0.0

    def __init__(self, target: Target) -> None:
        self.target = target
        draw = random.Random(8)
        keys = list(range(1, ROWS + 1))
        draw.shuffle(keys)
        self.rows = {key: self.expected(key) for key in keys}
        self.next_key = itertools.cycle(keys).__next__
        samples = [draw.sample(keys, BATCH) for _ in range(8)]
        self.next_sample = itertools.cycle([(sample, self.expected_many(sample)) for sample in samples]).__next__

    def begin(self, tasks: int) -> None:
        """Called before each measurement, when the table to be filled is empty."""
        self.tasks = tasks
        #: The key of the next row to insert; afterwards the run checks that none is missing.
        self.next_new = itertools.count(1).__next__

    def expected(self, key: int) -> Any:
        """The row of a key, as this client returns it."""
        return (key, 0, payload(key))

    def expected_many(self, keys: list[int]) -> Any:
        """The rows of many keys; for SQL a mapping by key, because the server chooses their order."""
        return {key: self.expected(key) for key in keys}

    def check_many(self, rows: Any, expected: Any) -> None:
        begun, busy = perf_counter(), process_time()
        check(self.comparable(rows), expected)
        self.checking += perf_counter() - begun
        self.checking_cpu += process_time() - busy

    def comparable(self, rows: Any) -> Any:
        """The rows of many keys, in the form of `expected_many`."""
        return {row[0]: row for row in rows}

    def new_rows(self) -> list[tuple[int, int, str]]:
        return [(self.next_new(), 0, INSERTED) for _ in range(BATCH)]

    def open(self, pool: int) -> Any:
        """A context manager that opens the handles for operations, one per connection; async if the tasks are."""
        raise NotImplementedError


# ---- SQL --------------------------------------------------------------------------------------------------------------


class AsyncSql(Contender):
    """A client with async cursors."""

    async def connect(self) -> tuple[Any, Any]:
        """A connection and a cursor on it."""
        raise NotImplementedError

    async def close(self, connection: Any) -> None:
        await connection.ensure_closed()

    @property
    def login(self) -> dict[str, Any]:
        target = self.target
        return {"host": target.host, "port": target.sql_port, "user": target.user, "password": target.password}

    @asynccontextmanager
    async def open(self, pool: int) -> AsyncIterator[list[Any]]:
        opened = [await self.connect() for _ in range(pool)]
        for _, cursor in opened:
            await cursor.execute("SET SESSION sql_log_bin = 0")  # HandlerSocket's writes are not logged either
        yield [cursor for _, cursor in opened]
        for connection, _ in opened:
            await self.close(connection)

    async def get(self, cursor: Any) -> int:
        key = self.next_key()
        await cursor.execute(GET, (key,))
        row = await cursor.fetchone()
        check(row, self.rows[key])
        return 1

    async def get_many(self, cursor: Any) -> int:
        keys, expected = self.next_sample()
        await cursor.execute(GET_MANY, keys)
        rows = await cursor.fetchall()
        self.check_many(rows, expected)
        return BATCH

    async def insert(self, cursor: Any) -> int:
        count = await cursor.execute(INSERT, (self.next_new(), 0, INSERTED))
        check(count, 1)
        return 1

    async def insert_many(self, cursor: Any) -> int:
        count = await cursor.executemany(INSERT, self.new_rows())
        check(count, BATCH)
        return BATCH

    async def incr(self, cursor: Any) -> int:
        count = await cursor.execute(INCR, (self.next_key(),))
        check(count, 1)
        return 1


class Asyncmy(AsyncSql):
    name, distribution, runtime = "asyncmy", "asyncmy", ASYNCIO

    async def connect(self) -> tuple[Any, Any]:
        import asyncmy

        connection = await asyncmy.connect(**self.login, db=DATABASE, autocommit=True)
        return connection, connection.cursor()


class Aiomysql(AsyncSql):
    name, distribution, runtime = "aiomysql", "aiomysql", ASYNCIO

    async def connect(self) -> tuple[Any, Any]:
        import aiomysql

        connection = await aiomysql.connect(**self.login, db=DATABASE, autocommit=True)
        return connection, await connection.cursor()


class TrioMysql(AsyncSql):
    name, distribution, runtime = "trio-mysql", "trio-mysql", TRIO

    async def connect(self) -> tuple[Any, Any]:
        import trio_mysql

        connection = trio_mysql.connect(**self.login, db=DATABASE, autocommit=True, use_unicode=True)
        await connection.connect()
        return connection, connection.cursor()

    async def close(self, connection: Any) -> None:
        await connection.aclose()


class ThreadSql(Contender):
    """A blocking client: as many threads as connections, one each. More threads would only wait."""

    runtime = THREADS

    def connect(self) -> Any:
        raise NotImplementedError

    def open(self, pool: int) -> Any:
        return _closing([self.connect() for _ in range(pool)])

    def get(self, cursor: Any) -> int:
        key = self.next_key()
        cursor.execute(GET, (key,))
        row = cursor.fetchone()
        check(row, self.rows[key])
        return 1

    def get_many(self, cursor: Any) -> int:
        keys, expected = self.next_sample()
        cursor.execute(GET_MANY, keys)
        rows = cursor.fetchall()
        self.check_many(rows, expected)
        return BATCH

    def insert(self, cursor: Any) -> int:
        count = cursor.execute(INSERT, (self.next_new(), 0, INSERTED))
        check(count, 1)
        return 1

    def insert_many(self, cursor: Any) -> int:
        count = cursor.executemany(INSERT, self.new_rows())
        check(count, BATCH)
        return BATCH

    def incr(self, cursor: Any) -> int:
        count = cursor.execute(INCR, (self.next_key(),))
        check(count, 1)
        return 1


class PyMySQL(ThreadSql):
    name, distribution = "PyMySQL", "PyMySQL"

    def connect(self) -> Any:
        import pymysql

        return _sql_connection(pymysql, self.target)


class Mysqlclient(ThreadSql):
    name, distribution = "mysqlclient", "mysqlclient"

    def connect(self) -> Any:
        import MySQLdb

        return _sql_connection(MySQLdb, self.target)


def _sql_connection(module: Any, target: Target) -> Any:
    connection = module.connect(
        host=target.host, port=target.sql_port, user=target.user, password=target.password, database=DATABASE, autocommit=True
    )
    connection.cursor().execute("SET SESSION sql_log_bin = 0")
    return connection


class _closing:
    def __init__(self, connections: list[Any]) -> None:
        self.connections = connections

    def __enter__(self) -> list[Any]:
        return [connection.cursor() for connection in self.connections]

    def __exit__(self, *exception: object) -> None:
        for connection in self.connections:
            connection.close()


# ---- trio_hs ----------------------------------------------------------------------------------------------------------


class _TrioHs(Contender):
    runtime = TRIO
    shared = True

    def expected(self, key: int) -> Any:
        return [("id", str(key)), ("n", "0"), ("payload", payload(key))]

    def expected_many(self, keys: list[int]) -> Any:
        return [self.expected(key) for key in keys]

    def comparable(self, rows: Any) -> Any:
        return rows

    def handles(self, hs: trio_hs.Manager) -> Any:
        """Return what the operations use."""
        raise NotImplementedError

    @asynccontextmanager
    async def open(self, pool: int) -> AsyncIterator[list[Any]]:
        target = self.target
        reader = trio_hs.Server("inet", target.host, target.read_port, secret=target.read_secret)
        writer = trio_hs.Server("inet", target.host, target.write_port, secret=target.write_secret)
        async with trio_hs.open_manager([reader], [writer], connections=pool) as hs:
            yield [self.handles(hs)]


class ManagerCalls(_TrioHs):
    name = "trio_hs, Manager"

    def handles(self, hs: trio_hs.Manager) -> Any:
        return hs

    async def get(self, hs: trio_hs.Manager) -> int:
        key = self.next_key()
        row = await hs.get(DATABASE, READ, FIELDS, key)
        check(row, self.rows[key])
        return 1

    async def get_many(self, hs: trio_hs.Manager) -> int:
        keys, expected = self.next_sample()
        rows = await hs.get_many(DATABASE, READ, FIELDS, keys)
        self.check_many(rows, expected)
        return BATCH

    async def insert(self, hs: trio_hs.Manager) -> int:
        await hs.insert(DATABASE, FILLED, [("id", self.next_new()), ("n", 0), ("payload", INSERTED)])
        return 1

    async def insert_many(self, hs: trio_hs.Manager) -> int:
        outcomes = await hs.insert_many(DATABASE, FILLED, FIELDS, self.new_rows())
        check(outcomes, [None] * BATCH)
        return BATCH

    async def incr(self, hs: trio_hs.Manager) -> int:
        count = await hs.incr(DATABASE, COUNTED, "=", ["n"], [self.next_key()])
        check(count, 1)
        return 1


@dataclass(frozen=True)
class _Tables:
    read: trio_hs.Table
    counted: trio_hs.Table
    filled: trio_hs.Table


class TableCalls(_TrioHs):
    name = "trio_hs, Table"
    operations = (*Contender.operations, "find_in")

    def handles(self, hs: trio_hs.Manager) -> Any:
        return _Tables(hs.table(DATABASE, READ, FIELDS), hs.table(DATABASE, COUNTED, ["n"]), hs.table(DATABASE, FILLED, FIELDS))

    async def get(self, tables: _Tables) -> int:
        key = self.next_key()
        row = await tables.read.get(key)
        check(row, self.rows[key])
        return 1

    async def get_many(self, tables: _Tables) -> int:
        keys, expected = self.next_sample()
        rows = await tables.read.get_many(keys)
        self.check_many(rows, expected)
        return BATCH

    async def find_in(self, tables: _Tables) -> int:
        keys, expected = self.next_sample()
        rows = await tables.read.find("=", [], in_=(0, keys))
        self.check_many(rows, expected)
        return BATCH

    async def insert(self, tables: _Tables) -> int:
        await tables.filled.insert((self.next_new(), 0, INSERTED))
        return 1

    async def insert_many(self, tables: _Tables) -> int:
        outcomes = await tables.filled.insert_many(self.new_rows())
        check(outcomes, [None] * BATCH)
        return BATCH

    async def incr(self, tables: _Tables) -> int:
        count = await tables.counted.incr("=", [self.next_key()])
        check(count, 1)
        return 1


# ---- the floor --------------------------------------------------------------------------------------------------------


class RawSocket(Contender):
    """The minimum without a client: batches of prepared lines, one line per task, and their answers."""

    name = "raw socket"
    runtime = THREADS

    def expected(self, key: int) -> Any:
        return b"0\t3\t%d\t0\t%b\n" % (key, payload(key).encode())

    def open(self, pool: int) -> Any:
        return self

    def __enter__(self) -> list[Any]:
        target = self.target
        self.read = self._connect(target.read_port, target.read_secret, (READ, b"id,n,payload"))
        self.write = self._connect(target.write_port, target.write_secret, (FILLED, b"id,n,payload"), (COUNTED, b"n"))
        self.inserted = b"\t0\t" + INSERTED.encode() + b"\n"
        return [None]

    def __exit__(self, *exception: object) -> None:
        self.read.close()
        self.write.close()

    def _connect(self, port: int, secret: str, *indexes: tuple[str, bytes]) -> socket.socket:
        connection = socket.create_connection((self.target.host, port), timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opening = [b"A\t1\t%b\n" % secret.encode()]
        for number, (table, columns) in enumerate(indexes):
            opening.append(b"P\t%d\t%b\t%b\tPRIMARY\t%b\n" % (number, DATABASE.encode(), table.encode(), columns))
        _exchange(connection, b"".join(opening), b"0\t1\n" * len(opening))
        return connection

    def _get(self, lines: int) -> int:
        keys = [self.next_key() for _ in range(lines)]
        answers = self.rows
        _exchange(self.read, b"".join([b"0\t=\t1\t%d\n" % key for key in keys]), b"".join([answers[key] for key in keys]))
        return lines

    def _insert(self, lines: int) -> int:
        data = b"".join([b"0\t+\t3\t%d%b" % (self.next_new(), self.inserted) for _ in range(lines)])
        _exchange(self.write, data, b"0\t1\n" * lines)
        return lines

    def get(self, _: None) -> int:
        return self._get(self.tasks)

    def get_many(self, _: None) -> int:
        return self._get(BATCH)

    def insert(self, _: None) -> int:
        return self._insert(self.tasks)

    def insert_many(self, _: None) -> int:
        return self._insert(BATCH)

    def incr(self, _: None) -> int:
        data = b"".join([b"1\t=\t1\t%d\t1\t0\t+\t1\n" % self.next_key() for _ in range(self.tasks)])
        _exchange(self.write, data, b"0\t1\t1\n" * self.tasks)
        return self.tasks


def _exchange(connection: socket.socket, request: bytes, expected: bytes) -> None:
    connection.sendall(request)
    parts: list[bytes] = []
    missing = len(expected)
    while missing > 0:
        # If a wrong answer is too short, this waits until the connection's timeout.
        part = connection.recv(1 << 18)
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    check(b"".join(parts), expected)


class RawSocketInTrio(RawSocket):
    """The same in one trio task: the minimum for a client that waits the way trio does."""

    name = "raw socket in trio"
    runtime = TRIO
    operations = ("get",)

    @asynccontextmanager
    async def open(self, pool: int) -> AsyncIterator[list[Any]]:
        with self as opened:
            self.read.setblocking(False)
            yield opened

    async def get(self, _: None) -> int:  # type: ignore[override]
        keys = [self.next_key() for _ in range(self.tasks)]
        await _exchange_in_trio(
            self.read, b"".join([b"0\t=\t1\t%d\n" % key for key in keys]), b"".join([self.rows[key] for key in keys])
        )
        return self.tasks


async def _exchange_in_trio(connection: socket.socket, request: bytes, expected: bytes) -> None:
    assert connection.send(request) == len(request)  # a few kilobytes: the kernel takes them at once
    answer = b""
    while len(answer) < len(expected):
        await trio.lowlevel.wait_readable(connection)
        part = connection.recv(1 << 18)
        if not part:
            break
        answer += part
    check(answer, expected)


CONTENDERS: dict[str, type[Contender]] = {
    contender.name: contender
    for contender in (RawSocket, RawSocketInTrio, TableCalls, ManagerCalls, Asyncmy, Aiomysql, TrioMysql, PyMySQL, Mysqlclient)
}
