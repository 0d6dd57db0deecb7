"""What callers see when real servers fail in real ways. With a second reader alive, no read may fail.

Writes are judged by what is in the table afterwards: at least what was acknowledged, at most that and what was left unknown.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pymysql
import pytest
import trio

import trio_hs
from hs_drill._cluster import Cluster, Server
from hs_drill.servers import Control, _mariadbd, execute_sql, open_servers
from hs_drill.servers._replication import create_table, wait_replicated
from trio_hs import Manager

ROWS = 100
TASKS = 64


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
    """By list, where the last are missing also one by one."""
    rows = await table.get_many(range(number, number + 20))
    return [row for each, row in zip(range(number, number + 20), rows, strict=True) if row or each < ROWS]


async def find(table: trio_hs.Table, number: int) -> list[trio_hs.Row]:
    return await table.find(">=", [number], min(3, ROWS - number))


READS = (get, get_many, find)


async def read_while(
    hs: Manager, act: Callable[[], Awaitable[object]], seconds: float, waited: Callable[[], float] = lambda: 0.0
) -> list[tuple[float, float]]:
    """Reads with many tasks before, during and after `act`. An error or a wrong row fails.

    Gives the latency of every call, and by how much `waited()` grew meanwhile.
    """
    table = hs.table("cars", "trucks", ["id", "model"])
    latencies: list[tuple[float, float]] = []
    stop = False

    async def user(number: int) -> None:
        while not stop:
            number = (number * 7 + 1) % ROWS
            started, before = time.perf_counter(), waited()
            rows = await READS[number % len(READS)](table, number)
            latencies.append((time.perf_counter() - started, waited() - before))
            assert rows == [[("id", str(each)), ("model", f"m{each}")] for each in range(number, number + len(rows))]
            assert rows

    await table.get(1)
    async with trio.open_nursery() as users:
        for number in range(TASKS):
            users.start_soon(user, number)
        await trio.sleep(0.5)
        await act()
        await trio.sleep(seconds)
        stop = True
    return latencies


def slowest(latencies: list[tuple[float, float]]) -> float:
    return max(latency for latency, _ in latencies)


def configure(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Adds lines to the configuration of every server that this test starts."""
    original = _mariadbd.configuration

    def with_lines(*args: Any, **kwargs: Any) -> str:
        return original(*args, **kwargs) + "".join(f"{line}\n" for line in lines)

    monkeypatch.setattr(_mariadbd, "configuration", with_lines)


@asynccontextmanager
async def two_readers(timeout: float = 3.0) -> AsyncIterator[tuple[Control, Manager]]:
    """Servers with rows in them, and a Manager over the two readers."""
    async with open_servers("mariadb", readers=2) as control:
        await fill(control.cluster)
        async with trio_hs.open_manager([listener(server) for server in control.cluster.readers], timeout=timeout) as hs:
            yield control, hs


async def nothing() -> None:
    await trio.lowlevel.checkpoint()


# --- Readers that fail: no read does --------------------------------------------------------------------------------------


@contextmanager
def scheduling_delay() -> Iterator[Callable[[], float]]:
    """A clock of the seconds for which this thread was ready to run and the kernel ran others."""
    with open("/proc/thread-self/schedstat", "rb") as file:
        yield lambda: int(os.pread(file.fileno(), 100, 0).split()[1]) / 1e9


@contextmanager
def small_heap() -> Iterator[None]:
    """The garbage collector leaves alone what is there now: all tests that pytest has collected, which took it 70 ms."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@pytest.mark.mariadb
async def test_a_killed_reader_fails_no_read_and_delays_none() -> None:
    async with two_readers() as (control, hs):
        with small_heap(), scheduling_delay() as waited:
            latencies = await read_while(hs, lambda: control.kill("reader-1"), 1.5, waited)
    assert len(latencies) > 1000
    # The bound is for the client: what the kernel gave to others, while a call ran, is not its doing. What the servers
    # had to wait for is not taken off.
    worst = max(latencies, key=lambda pair: pair[0] - pair[1])
    print(
        f"{len(latencies)} calls, the slowest {slowest(latencies) * 1e3:.1f} ms; "
        f"without waiting for the CPU {(worst[0] - worst[1]) * 1e3:.1f} ms"
    )
    assert worst[0] - worst[1] < 0.1


async def kill_and_start(control: Control) -> None:
    await control.kill("reader-1")
    await trio.sleep(0.2)
    await control.start("reader-1")


async def pause_and_resume(control: Control) -> None:
    await control.pause("reader-1")
    await trio.sleep(1.2)
    await control.resume("reader-1")


async def stop(control: Control) -> None:
    await control.stop("reader-1")


async def restart(control: Control) -> None:
    await control.restart("reader-1")  # on the same port: every index id is forgotten


async def hold_the_writer_lock(control: Control) -> None:
    async with sql_session(control.server("reader-1"), WRITER_LOCK):
        await trio.sleep(0.5)


async def lock_a_row(control: Control) -> None:
    async with sql_session(control.server("reader-1"), "BEGIN", "SELECT * FROM cars.trucks FOR UPDATE"):
        await trio.sleep(0.5)


@pytest.mark.mariadb
@pytest.mark.parametrize("act", [stop, kill_and_start, restart, pause_and_resume, hold_the_writer_lock, lock_a_row])
async def test_one_of_two_readers_in_trouble_fails_no_read(act: Callable[[Control], Awaitable[None]]) -> None:
    """What it had accepted waits for its timeout at most; everything else goes on elsewhere. It is used again afterwards."""
    async with two_readers(timeout=0.5) as (control, hs):
        latencies = await read_while(hs, lambda: act(control), 1.5)
        one = control.server("reader-1")
        state = "up" if control.state("reader-1") == "running" else "down"
        assert f"{one.host}:{one.read_port} {state}" in repr(hs)
    assert slowest(latencies) < 1.5


@pytest.mark.mariadb
async def test_a_restarted_lone_reader_is_asked_with_new_index_ids() -> None:
    async with open_servers("mariadb", readers=0) as control:
        await fill(control.cluster)
        async with trio_hs.open_manager([listener(control.server("writer"))]) as hs:
            table = hs.table("cars", "trucks", ["id", "model"])
            assert await table.get(1) == [("id", "1"), ("model", "m1")]
            await control.restart("writer")
            assert await table.get(2) == [("id", "2"), ("model", "m2")]


@pytest.mark.mariadb
async def test_a_secret_that_changed_is_named_and_a_client_with_the_new_one_works() -> None:
    async with open_servers("mariadb", readers=0) as control:
        await fill(control.cluster)
        old = control.server("writer")
        async with trio_hs.open_manager([listener(old)], [write_listener(old)]) as hs:
            table = hs.table("cars", "trucks", ["id", "model"])
            await table.get(1)
            assert await table.insert([1000, "before"]) is None
            new = await control.restart("writer", new_secrets=True)
            for attempt in (table.get(1), table.insert([1001, "never"])):
                with pytest.raises(trio_hs.AuthenticationError, match="wrong secret") as caught:
                    await attempt
                assert old.read_secret not in str(caught.value)
                assert old.write_secret not in str(caught.value)
        async with trio_hs.open_manager([listener(new)], [write_listener(new)]) as hs:
            table = hs.table("cars", "trucks", ["id", "model"])
            assert await table.insert([1002, "after"]) is None
            assert [bool(await table.get(id)) for id in (1000, 1001, 1002)] == [True, False, True]


@pytest.mark.mariadb
async def test_connections_that_the_server_closes_when_idle_cost_no_caller_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The server takes less for 30, silently, and looks every few seconds.
    configure(monkeypatch, "handlersocket_timeout=30")
    async with open_servers("mariadb", readers=0) as control:
        await fill(control.cluster)
        server = control.server("writer")
        async with trio_hs.open_manager([listener(server)], [write_listener(server)]) as hs:
            table = hs.table("cars", "trucks", ["id", "model"])

            def renewed() -> bool:
                statistics = hs.statistics()
                return all(s.connected == 2 for s in (*statistics.readers, *statistics.writers))

            assert await table.get(1)
            assert await table.insert([1000, "v"]) is None
            assert not renewed()
            with trio.fail_after(50):
                while not renewed():  # noqa: ASYNC110  (the server's clock, not trio's)
                    await trio.sleep(0.1)
            assert await table.get(1000) == [("id", "1000"), ("model", "v")]  # on an index that has to be opened again
            assert await table.insert([1001, "v"]) is None


Handler = Callable[[trio.SocketStream], Awaitable[None]]


async def silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


def after_authentication(answer: bytes, *, then_close: bool) -> Handler:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"0\t1\n")
        await stream.receive_some()
        await stream.send_all(answer)
        if not then_close:
            await trio.sleep_forever()

    return handler


async def hang_up(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def reset(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"0\t1\n")
    await stream.receive_some()
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await stream.aclose()


async def reset_mid_answer(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"0\t1\n")
    await stream.receive_some()
    await stream.send_all(b"0\t1\n0\t2\t1")
    await trio.sleep(0.05)  # else the reset overtakes what was sent
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await stream.aclose()


BROKEN = [
    pytest.param(silent, id="accepts and never answers"),
    pytest.param(hang_up, id="accepts and hangs up"),
    pytest.param(reset, id="reset"),
    pytest.param(reset_mid_answer, id="reset in the middle of an answer"),
    pytest.param(after_authentication(b"0\t1\n0\t2\t1", then_close=True), id="ends in the middle of an answer"),
    pytest.param(after_authentication(b"0\t1\n0\t2\t1", then_close=False), id="half an answer, then silence"),
    pytest.param(after_authentication(b"HTTP/1.1 400 Bad Request\r\n", then_close=False), id="garbage"),
    pytest.param(after_authentication(b"0\t1\n0\t9\t1\n", then_close=False), id="wrong number of columns"),
]


@pytest.mark.mariadb
@pytest.mark.parametrize("handler", BROKEN)
async def test_a_broken_server_beside_a_good_one(cluster: Cluster, nursery: trio.Nursery, handler: Handler) -> None:
    await fill(cluster)
    try:
        listeners = await nursery.start(trio.serve_tcp, handler, 0)
        port = listeners[0].socket.getsockname()[1]
        servers = [trio_hs.Server("inet", "127.0.0.1", port), listener(cluster.writer)]
        async with trio_hs.open_manager(servers, timeout=0.5) as hs:
            latencies = await read_while(hs, nothing, 1.0)
        assert slowest(latencies) < 1.5
    finally:
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await execute_sql(cluster.writer, "DROP DATABASE cars")


@pytest.mark.mariadb
@pytest.mark.parametrize(
    "broken, alone",
    [
        pytest.param(lambda good: closed_port(), (trio_hs.ConnectionError, "refused"), id="port closed"),
        pytest.param(
            lambda good: trio_hs.Server("inet", "no-such-host.invalid", 9998),
            (trio_hs.ConnectionError, "no-such-host.invalid"),
            id="name does not resolve",
        ),
        pytest.param(
            lambda good: dataclasses.replace(good, secret="wrong"),
            (trio_hs.AuthenticationError, "wrong secret"),
            id="wrong secret",
        ),
    ],
)
async def test_a_server_that_cannot_be_had(
    cluster: Cluster,
    broken: Callable[[trio_hs.Server], trio_hs.Server],
    alone: tuple[type[Exception], str],
) -> None:
    await fill(cluster)
    good = listener(cluster.writer)
    bad = broken(good)
    try:
        async with trio_hs.open_manager([bad, good]) as hs:
            assert slowest(await read_while(hs, nothing, 0.5)) < 1.5
        # By itself it is an error that says so, for reads and for writes, and nothing was applied.
        async with trio_hs.open_manager([bad], [bad]) as hs:
            table = hs.table("cars", "trucks", ["id", "model"])
            for attempt in (table.get(1), table.insert([1, "x"])):
                with trio.fail_after(15), pytest.raises(alone[0], match=alone[1]) as caught:
                    await attempt
                assert not getattr(caught.value, "maybe_applied", False)
    finally:
        with trio.CancelScope(shield=True):
            await execute_sql(cluster.writer, "DROP DATABASE cars")


def closed_port() -> trio_hs.Server:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    return trio_hs.Server("inet", "127.0.0.1", port)


# --- A write is sent once, and its end told as it is -----------------------------------------------------------------------


@pytest.mark.parametrize("handler", [*BROKEN[:1], *BROKEN[2:]])
async def test_a_write_that_was_sent_to_a_broken_server_is_unknown_and_not_repeated(
    nursery: trio.Nursery, handler: Handler
) -> None:
    lines: list[bytes] = []

    async def noting(stream: trio.SocketStream) -> None:
        receive = stream.receive_some

        async def note(max_bytes: int | None = None) -> bytes:
            data = bytes(await receive(max_bytes))
            lines.extend(line for line in data.split(b"\n") if b"\t+\t1\t5" in line)
            return data

        stream.receive_some = note  # type: ignore[method-assign]
        await handler(stream)

    listeners = await nursery.start(trio.serve_tcp, noting, 0)
    port = listeners[0].socket.getsockname()[1]
    server = trio_hs.Server("inet", "127.0.0.1", port, secret="s")
    async with trio_hs.open_manager([server], [server], timeout=0.3) as hs:
        with trio.fail_after(10), pytest.raises(trio_hs.ConnectionError) as caught:
            await hs.insert("cars", "trucks", [("id", 5)])
    nursery.cancel_scope.cancel()
    # One that never got past authentication was never sent the request.
    assert (len(lines), caught.value.maybe_applied) == ((1, True) if handler is not silent else (0, False))


WRITER_LOCK = "DO GET_LOCK('handlersocket_wr', 5)"


@asynccontextmanager
async def sql_session(server: Server, *statements: str) -> AsyncIterator[None]:
    """A SQL connection that stays open for the block, with what the statements lock."""

    def connect() -> pymysql.connections.Connection[pymysql.cursors.Cursor]:
        assert server.sql_port is not None
        connection = pymysql.connect(
            host=server.host, port=server.sql_port, user=server.admin_user, password=server.admin_password, read_timeout=20
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


@asynccontextmanager
async def counter(timeout: float) -> AsyncIterator[tuple[Server, trio_hs.Table]]:
    """A server of its own with one counter at 0, and a handle on it."""
    async with open_servers("mariadb", readers=0) as control:
        await create_counter(control.cluster)
        server = control.server("writer")
        async with trio_hs.open_manager([listener(server)], [write_listener(server)], timeout=timeout) as hs:
            yield server, hs.table("drill", "counters", ["value"])


async def create_counter(cluster: Cluster) -> None:
    await create_table(cluster, "drill", "counters", "id INT NOT NULL PRIMARY KEY, value INT NOT NULL")
    await execute_sql(cluster.writer, "INSERT INTO drill.counters VALUES (1, 0)")


async def counters_of(server: Server) -> dict[int, int]:
    return {row["id"]: row["value"] for row in await execute_sql(server, "SELECT id, value FROM drill.counters")}


async def come(server: Server, expected: dict[int, int]) -> bool:
    """Whether the counters have these values within five seconds."""
    with trio.move_on_after(5):
        while await counters_of(server) != expected:  # noqa: ASYNC110  (the server is asked)
            await trio.sleep(0.05)
        return True
    return False


@pytest.mark.mariadb
async def test_the_writer_lock_held_for_short_of_the_clients_patience_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, "handlersocket_wrlock_timeout=2")  # the default is 12
    async with counter(timeout=5) as (server, table):
        assert await table.incr("=", [1]) == 1
        async with sql_session(server, WRITER_LOCK):
            started = time.monotonic()
            with pytest.raises(trio_hs.ReadOnlyError, match="lock_tables"):
                await table.incr("=", [1])
            assert 1.5 < time.monotonic() - started < 4.5
            assert await table.get(1)  # reads go on
        assert await counters_of(server) == {1: 1}  # an answer "no" is a no
        assert await table.incr("=", [1]) == 1


@pytest.mark.mariadb
async def test_the_writer_lock_held_longer_than_the_client_waits_leaves_a_write_unknown() -> None:
    """With the server's own 12 s. Let go meanwhile, the server carries out what it was sent, long after the error."""
    async with counter(timeout=0.5) as (server, table):
        assert await table.incr("=", [1]) == 1
        async with sql_session(server, WRITER_LOCK):
            with pytest.raises(trio_hs.ConnectionError, match="may have been carried out") as caught:
                await table.incr("=", [1])
            assert caught.value.maybe_applied
            assert await counters_of(server) == {1: 1}
        assert await come(server, {1: 2})


@pytest.mark.mariadb
async def test_a_locked_row_holds_every_writer_and_leaves_its_own_write_unknown() -> None:
    async with counter(timeout=0.5) as (server, table):
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
                await trio.sleep(0.1)  # it must be the first to arrive
                nursery.start_soon(increment, 2)  # another row, the same and only writer thread
            assert [error.maybe_applied for error in outcomes] == [True, True]
            assert await table.get(1)  # the listener for reads does not lock
        assert await come(server, {1: 2, 2: 1})  # unknown to us, and carried out


@pytest.mark.mariadb
async def test_a_locked_row_moves_no_write_to_a_standby_that_would_take_it() -> None:
    """A standby is not read-only here, as MariaDB's replicas are by default. It used to acknowledge what came in meanwhile."""
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
                    with trio.fail_after(10):
                        while not hs.statistics().writers[0].stalled:  # noqa: ASYNC110  (nothing tells of it)
                            await trio.sleep(0.05)
                    for number in range(10):
                        nursery.start_soon(rows.insert, [number])
                    await trio.sleep(0.5)
        assert await counters_of(primary) == {1: 2}
        there = {
            server.name: await execute_sql(server, "SELECT id FROM drill.rows ORDER BY id") for server in (primary, standby)
        }
        assert there == {"writer": [{"id": number} for number in range(10)], "standby": []}


@pytest.mark.mariadb
async def test_a_locked_row_is_an_answer_when_the_server_gives_up_first(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, "innodb-lock-wait-timeout=1")
    async with counter(timeout=5) as (server, table):
        assert await table.incr("=", [1]) == 1
        async with sql_session(server, "BEGIN", "SELECT * FROM drill.counters WHERE id = 1 FOR UPDATE"):
            with pytest.raises(trio_hs.LockTimeoutError):
                await table.incr("=", [1])
        assert await counters_of(server) == {1: 1}


@pytest.mark.mariadb
async def test_alter_table_inside_suspended_under_load() -> None:
    async with open_servers("mariadb", readers=0) as control:
        await fill(control.cluster)
        server = control.server("writer")
        async with trio_hs.open_manager([listener(server)], [write_listener(server)]) as hs:
            table = hs.table("cars", "trucks", ["id", "model"])
            written = 0
            done = False

            async def write() -> None:
                nonlocal written
                while not done:
                    written += 1
                    await table.insert([1000 + written, "w"])

            async def alter() -> None:
                for column in range(3):
                    async with hs.suspended():
                        with trio.fail_after(5):  # it would wait for ever for an open index
                            await execute_sql(server, f"ALTER TABLE cars.trucks ADD COLUMN c{column} INT NOT NULL DEFAULT 0")

            async with trio.open_nursery() as writers:
                writers.start_soon(write)
                latencies = await read_while(hs, alter, 0.5)
                done = True
            found = await execute_sql(server, "SELECT COUNT(*) AS n, SUM(c2) AS c2 FROM cars.trucks WHERE id > 1000")
            assert found[0]["n"] == written > 10
            assert len(latencies) > 1000


KILLS = 50


class Writers:
    """Tasks that increment one counter and insert rows, and what each write's end told them."""

    def __init__(self, hs: Manager) -> None:
        self._counters = hs.table("drill", "counters", ["value"])
        self._rows = hs.table("drill", "rows", ["id"])
        self._ids = iter(range(1, 1 << 30))
        self._stop = False
        self.acknowledged = 0
        self.unknown = 0
        self.inserted: set[int] = set()
        self.maybe_inserted: set[int] = set()

    @asynccontextmanager
    async def at_work(self, *, increments: int = 16, inserts: int = 4) -> AsyncIterator[None]:
        self._stop = False
        async with trio.open_nursery() as nursery:
            for _ in range(increments):
                nursery.start_soon(self._increment)
            for _ in range(inserts):
                nursery.start_soon(self._insert)
            yield
            self._stop = True

    async def _increment(self) -> None:
        while not self._stop:
            try:
                assert await self._counters.incr("=", [1]) == 1
                self.acknowledged += 1
            except trio_hs.ConnectionError as error:
                self.unknown += error.maybe_applied

    async def _insert(self) -> None:
        while not self._stop:
            id = next(self._ids)
            try:
                await self._rows.insert([id])
                self.inserted.add(id)
            except trio_hs.ConnectionError as error:
                if error.maybe_applied:
                    self.maybe_inserted.add(id)

    async def progress(self, acknowledged: int) -> None:
        """Wait for so many more acknowledged increments."""
        goal = self.acknowledged + acknowledged
        with trio.fail_after(10):
            while self.acknowledged < goal:  # noqa: ASYNC110  (an event per increment would slow the load down)
                await trio.sleep(0.005)


@pytest.mark.mariadb
async def test_what_survives_fifty_kills_is_what_was_acknowledged_and_at_most_the_unknown_besides() -> None:
    """kill -9 at a random moment under concurrent writes, then the same server again: every acknowledged write survived."""
    chance = random.Random(1)
    async with open_servers("mariadb", readers=0) as control:
        server = control.server("writer")
        await create_counter(control.cluster)
        await create_table(control.cluster, "drill", "rows", "id INT NOT NULL PRIMARY KEY")
        async with trio_hs.open_manager([listener(server)], [write_listener(server)]) as hs:
            writers = Writers(hs)
            for kill in range(1, KILLS + 1):
                async with writers.at_work():
                    await writers.progress(50)
                    await trio.sleep(chance.uniform(0, 0.05))
                    await control.kill("writer")
                    await control.start("writer")
                    await writers.progress(20)
                applied = (await counters_of(server))[1]
                told = f"kill {kill}: {applied} applied, {writers.acknowledged} acknowledged, {writers.unknown} unknown"
                assert writers.acknowledged <= applied <= writers.acknowledged + writers.unknown, told
        there = {row["id"] for row in await execute_sql(server, "SELECT id FROM drill.rows")}
    print(f"{told}; {len(writers.inserted)} rows acknowledged, {len(writers.maybe_inserted)} unknown")
    assert writers.inserted <= there, f"acknowledged and lost: {sorted(writers.inserted - there)[:10]}"
    assert there <= writers.inserted | writers.maybe_inserted
    # Else the kills hit nothing, and the bounds above held for want of anything between them.
    assert writers.unknown >= KILLS
    assert writers.maybe_inserted
