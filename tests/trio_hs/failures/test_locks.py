"""Locks on a real server delay requests: which get an answer, and which are left in doubt."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

import trio_hs
from hs_drill._cluster import Cluster, Server
from hs_drill.servers import execute_sql, open_servers
from hs_drill.servers._replication import create_table, wait_replicated
from tests.support.patience import Patience, patience, until
from tests.trio_hs.support.real_servers import (
    WRITER_LOCK,
    configure,
    counters_of,
    create_counter,
    fill,
    listener,
    reading,
    sql_session,
    write_listener,
)


@asynccontextmanager
async def counter(cluster: Cluster, timeout: float) -> AsyncIterator[tuple[Server, trio_hs.Table]]:
    """A counter at 0 on a server, and a handle on it."""
    await create_counter(cluster)
    server = cluster.writer
    try:
        async with trio_hs.open_manager([listener(server)], [write_listener(server)], timeout=timeout) as hs:
            yield server, hs.table("drill", "counters", ["value"])
    finally:
        with trio.CancelScope(shield=True):
            await execute_sql(server, "DROP DATABASE drill")


async def come(server: Server, expected: dict[int, int]) -> bool:
    """Whether the counters reach these values."""
    bound = Patience(5)
    while await counters_of(server) != expected:
        if bound.ended():
            return False
        await trio.sleep(0.05)
    return True


async def one_waits_for_a_row(server: Server) -> None:
    """Not by `innodb_trx`: it shows an old state for as long as it is read at least every 0.1 s."""
    waits = "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'"
    with trio.fail_after(patience(20)):
        while (await execute_sql(server, waits))[0]["Value"] == "0":  # noqa: ASYNC110  (the server is asked)
            await trio.sleep(0.02)


@pytest.mark.mariadb
async def test_a_lock_that_times_out_before_the_client_is_a_refusal_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, "handlersocket_wrlock_timeout=2", "innodb-lock-wait-timeout=1")  # the defaults are 12 and 50
    async with open_servers("mariadb", readers=0) as control, counter(control.cluster, timeout=30) as (server, table):
        assert await table.incr("=", [1]) == 1
        async with sql_session(server, WRITER_LOCK):
            started = time.monotonic()
            with pytest.raises(trio_hs.ReadOnlyError, match="lock_tables"):
                await table.incr("=", [1])
            assert time.monotonic() - started > 1.5
            assert await table.get(1)  # reads go on
        assert await counters_of(server) == {1: 1}  # a refused write had no effect
        assert await table.incr("=", [1]) == 1
        async with sql_session(server, "BEGIN", "SELECT * FROM drill.counters WHERE id = 1 FOR UPDATE"):
            with pytest.raises(trio_hs.LockTimeoutError):
                await table.incr("=", [1])
        assert await counters_of(server) == {1: 2}


@pytest.mark.mariadb
async def test_a_writer_lock_that_outlasts_the_client_leaves_a_write_in_doubt(cluster: Cluster) -> None:
    """The server waits 12 s by default. Once the lock is free it executes the write, long after the error."""
    async with counter(cluster, timeout=patience(0.5)) as (server, table):
        assert await table.incr("=", [1]) == 1
        async with sql_session(server, WRITER_LOCK):
            with pytest.raises(trio_hs.ConnectionError, match="may have been applied") as caught:
                await table.incr("=", [1])
            assert caught.value.maybe_applied
            assert await counters_of(server) == {1: 1}
        assert await come(server, {1: 2})


@pytest.mark.mariadb
async def test_a_locked_row_holds_every_write_and_leaves_them_in_doubt(cluster: Cluster) -> None:
    # Long enough for both to be sent on one connection.
    async with counter(cluster, timeout=patience(0.5)) as (server, table):
        await execute_sql(server, "INSERT INTO drill.counters VALUES (2, 0)")
        assert await table.incr("=", [1]) == 1
        async with sql_session(server, "BEGIN", "SELECT * FROM drill.counters WHERE id = 1 FOR UPDATE"):
            outcomes: list[trio_hs.ConnectionError] = []

            async def increment(id: int) -> None:
                with pytest.raises(trio_hs.ConnectionError) as caught:
                    await table.incr("=", [id])
                outcomes.append(caught.value)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(increment, 1)
                await one_waits_for_a_row(server)
                nursery.start_soon(increment, 2)  # another row, but the server has a single writer thread
            assert [error.maybe_applied for error in outcomes] == [True, True]
            assert await table.get(1)  # the listener for reads does not lock
        assert await come(server, {1: 2, 2: 1})  # in doubt, and applied


@pytest.mark.mariadb
async def test_a_locked_row_moves_no_write_to_a_standby_that_would_take_it() -> None:
    """The standby is not read-only, as MariaDB's replicas are by default. It used to acknowledge writes of that time."""
    async with open_servers("mariadb", readers=0, standby=True) as control:
        await create_counter(control.cluster)
        await create_table(control.cluster, "drill", "rows", "id INT NOT NULL PRIMARY KEY")
        await wait_replicated(control.cluster)
        primary, standby = control.server("writer"), control.server("standby")
        await execute_sql(standby, "SET GLOBAL read_only=0")
        groups = [[write_listener(primary)], [write_listener(standby)]]
        async with trio_hs.open_manager([listener(primary)], groups, timeout=8.0) as hs:
            counters, rows = hs.table("drill", "counters", ["value"]), hs.table("drill", "rows", ["id"])
            assert await counters.incr("=", [1]) == 1
            async with trio.open_nursery() as nursery:
                async with sql_session(primary, "BEGIN", "SELECT * FROM drill.counters WHERE id = 1 FOR UPDATE"):
                    nursery.start_soon(counters.incr, "=", [1])
                    await until(lambda: bool(hs.statistics().writers[0].stalled), "the primary is not stalled")
                    for number in range(10):
                        nursery.start_soon(rows.insert, [number])
                    await until(lambda: hs.statistics().writers[0].outstanding > 10, "the writes do not wait for the primary")
        assert await counters_of(primary) == {1: 2}
        there = {
            server.name: await execute_sql(server, "SELECT id FROM drill.rows ORDER BY id") for server in (primary, standby)
        }
        assert there == {"writer": [{"id": number} for number in range(10)], "standby": []}


@pytest.mark.mariadb
async def test_alter_table_inside_suspended_under_load(cluster: Cluster) -> None:
    await fill(cluster)
    server = cluster.writer
    try:
        async with trio_hs.open_manager([listener(server)], [write_listener(server)]) as hs:
            table = hs.table("cars", "trucks", ["id", "model"])
            written = 0
            done = False

            async def write() -> None:
                nonlocal written
                while not done:
                    written += 1
                    await table.insert([1000 + written, "w"])

            async with trio.open_nursery() as writers:
                writers.start_soon(write)
                async with reading(hs) as reads:
                    for column in range(3):
                        async with hs.suspended():
                            with trio.fail_after(patience(5)):  # with an index open it would wait forever
                                await execute_sql(
                                    server, f"ALTER TABLE cars.trucks ADD COLUMN c{column} INT NOT NULL DEFAULT 0"
                                )
                        await reads.more()
                done = True
            found = await execute_sql(server, "SELECT COUNT(*) AS n, SUM(c2) AS c2 FROM cars.trucks WHERE id > 1000")
            assert found[0]["n"] == written > 10
    finally:
        with trio.CancelScope(shield=True):
            await execute_sql(server, "DROP DATABASE cars")
