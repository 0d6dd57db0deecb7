"""Real servers: rows in them, a load that reads these, a manager, and SQL."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pymysql
import pytest
import trio

import trio_hs
from hs_drill._cluster import Cluster, Server, series
from hs_drill.servers import _mariadbd, execute_sql
from hs_drill.servers._replication import create_table, wait_replicated
from tests.support.patience import patience, until
from trio_hs import Manager

ROWS = 100
TASKS = 64


def release(cluster: Cluster) -> tuple[int, ...]:
    """The servers' version, as (10, 11)."""
    return tuple(int(number) for number in series(cluster.version).split("."))


def listener(server: Server) -> trio_hs.Server:
    return trio_hs.Server("inet", server.host, server.read_port, secret=server.read_secret)


def write_listener(server: Server) -> trio_hs.Server:
    return trio_hs.Server("inet", server.host, server.write_port, secret=server.write_secret)


async def fill(cluster: Cluster) -> None:
    await create_table(cluster, "cars", "trucks", "id INT NOT NULL PRIMARY KEY, model VARCHAR(40) NOT NULL")
    rows = ",".join(f"({number},'m{number}')" for number in range(ROWS))
    await execute_sql(cluster.writer, f"INSERT INTO cars.trucks VALUES {rows}")
    await wait_replicated(cluster)


async def get(table: trio_hs.Table, number: int) -> list[trio_hs.Row]:
    return [await table.get(number)]


async def get_many(table: trio_hs.Table, number: int) -> list[trio_hs.Row]:
    """By a list of keys; near the end, where rows are missing, also one by one."""
    rows = await table.get_many(range(number, number + 20))
    return [row for each, row in zip(range(number, number + 20), rows, strict=True) if row or each < ROWS]


async def find(table: trio_hs.Table, number: int) -> list[trio_hs.Row]:
    return await table.find(">=", [number], min(3, ROWS - number))


READS = (get, get_many, find)


CALLS = 300
"""Some for each task, before and after what a test does."""


class Reading:
    """What the tasks of `reading` have measured.

    Attributes:
      latencies: of every call its seconds, and by how much `waited()` grew during it.
    """

    def __init__(self) -> None:
        self.latencies: list[tuple[float, float]] = []

    async def more(self, calls: int = CALLS) -> None:
        """Wait for so many more calls."""
        goal = len(self.latencies) + calls
        await until(lambda: len(self.latencies) >= goal, "no more reads")


@asynccontextmanager
async def reading(hs: Manager, waited: Callable[[], float] = lambda: 0.0) -> AsyncIterator[Reading]:
    """Read with many tasks before, during and after the block. An error or a wrong row fails."""
    table = hs.table("cars", "trucks", ["id", "model"])
    measured = Reading()
    stop = False

    async def user(number: int) -> None:
        while not stop:
            number = (number * 7 + 1) % ROWS
            started, before = time.perf_counter(), waited()
            rows = await READS[number % len(READS)](table, number)
            measured.latencies.append((time.perf_counter() - started, waited() - before))
            assert rows == [[("id", str(each)), ("model", f"m{each}")] for each in range(number, number + len(rows))]
            assert rows

    await table.get(1)
    async with trio.open_nursery() as users:
        for number in range(TASKS):
            users.start_soon(user, number)
        await measured.more()
        yield measured
        await measured.more()
        stop = True


def slowest(latencies: list[tuple[float, float]]) -> float:
    return max(latency for latency, _ in latencies)


def configure(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Add lines to the configuration of every server that this test starts."""
    original = _mariadbd.configuration

    def with_lines(*args: Any, **kwargs: Any) -> str:
        return original(*args, **kwargs) + "".join(f"{line}\n" for line in lines)

    monkeypatch.setattr(_mariadbd, "configuration", with_lines)


WRITER_LOCK = "DO GET_LOCK('handlersocket_wr', 5)"


@asynccontextmanager
async def sql_session(server: Server, *statements: str) -> AsyncIterator[None]:
    """A SQL connection that stays open for the block, with what the statements lock."""

    def connect() -> pymysql.connections.Connection[pymysql.cursors.Cursor]:
        assert server.sql_port is not None
        connection = pymysql.connect(
            host=server.host,
            port=server.sql_port,
            user=server.admin_user,
            password=server.admin_password,
            read_timeout=20,
            ssl_disabled=True,  # otherwise it reads all of the system's certificates
        )
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    connection = await trio.to_thread.run_sync(connect)
    try:
        yield
    finally:
        connection.close()


async def create_counter(cluster: Cluster) -> None:
    await create_table(cluster, "drill", "counters", "id INT NOT NULL PRIMARY KEY, value INT NOT NULL")
    await execute_sql(cluster.writer, "INSERT INTO drill.counters VALUES (1, 0)")


async def counters_of(server: Server) -> dict[int, int]:
    return {row["id"]: row["value"] for row in await execute_sql(server, "SELECT id, value FROM drill.counters")}


def manager(cluster: Cluster, **options: Any) -> AbstractAsyncContextManager[Manager]:
    """A manager that reads from the server that it writes to, because HandlerSocket's writes are not replicated."""
    server = cluster.writer
    secrets = {"read_secret": server.read_secret, "write_secret": server.write_secret}
    options = {**secrets, "timeout": patience(10), **options}
    return trio_hs.open_manager(
        [("inet", server.host, server.read_port)], [("inet", server.host, server.write_port)], **options
    )
