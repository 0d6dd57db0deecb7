"""However a block of `open_manager` ends, it leaves no task, no file descriptor and no thread behind."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

import trio_hs
from hs_drill._cluster import Cluster
from hs_drill.servers import execute_sql
from tests.support.patience import until
from tests.trio_hs.support.real_servers import WRITER_LOCK, sql_session
from trio_hs import Manager


class LeavingError(Exception):
    """An exception of the user's code."""


def tasks() -> set[trio.lowlevel.Task]:
    """Every task of this run."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    found, unseen = set(), [root]
    while unseen:
        task = unseen.pop()
        found.add(task)
        unseen += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


def descriptors() -> dict[str, str]:
    """Every open file of this process and what it is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the one that listed them
            pass
    return found


@asynccontextmanager
async def leaves_nothing() -> AsyncIterator[None]:
    before, threads = (tasks(), descriptors()), set(threading.enumerate())
    yield
    # Checked without another turn of the scheduler: leaving the block waits for everything.
    assert (tasks(), descriptors()) == before
    assert set(threading.enumerate()) <= threads  # an idle one of trio's may have ended meanwhile


Opens = Callable[..., AbstractAsyncContextManager[Manager]]


async def normally(opens: Opens) -> None:
    async with opens() as hs:
        assert await hs.get("left", "t", ["id"], 1) == [("id", "1")]
        assert await hs.update("left", "t", "=", ["n"], [1], [5]) == 1
        assert len(tasks()) > 2
        assert await hs.get_many("left", "t", ["id"], range(3)) == [[], [("id", "1")], []]


async def unused(opens: Opens) -> None:
    async with opens():
        pass


async def by_an_exception(opens: Opens) -> None:
    try:
        async with opens() as hs:
            await hs.get("left", "t", ["id"], 1)
            raise LeavingError
    except LeavingError:  # not wrapped in an exception group
        return
    raise AssertionError("the user's exception was lost")


async def by_cancellation(opens: Opens) -> None:
    with trio.CancelScope() as scope:
        async with opens() as hs:
            await hs.get("left", "t", ["id"], 1)
            scope.cancel()
            await hs.get("left", "t", ["id"], 1)
    assert scope.cancelled_caught


async def by_a_task_that_fails(opens: Opens) -> None:
    async def fail(hs: Manager) -> None:
        await hs.get("left", "t", ["id"], 1)
        raise LeavingError

    failed = 0
    try:
        async with opens() as hs, trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(fail, hs)
    except* LeavingError as group:
        failed = len(group.exceptions)
    assert 1 <= failed <= 5


async def out_of_suspended(opens: Opens) -> None:
    async with opens() as hs:
        await hs.get("left", "t", ["id"], 1)
        try:
            async with hs.suspended():
                raise LeavingError
        except LeavingError:
            return  # and with it the outer block


async def after_purge(opens: Opens) -> None:
    async with opens() as hs:
        for _ in range(3):
            await hs.get("left", "t", ["id"], 1)
            await hs.purge()


async def with_requests_in_flight(opens: Opens) -> None:
    """The tasks are outside the block. When it ends, their requests fail."""
    failures = 0
    async with trio.open_nursery() as users:
        async with opens() as hs:
            await hs.get("left", "t", ["id"], 1)

            async def read() -> None:
                nonlocal failures
                try:
                    while True:
                        await hs.get("left", "t", ["id"], 1)
                except trio_hs.ConnectionError:
                    failures += 1

            for _ in range(50):
                users.start_soon(read)
            await trio.sleep(0.02)
    assert failures == 50


ENDINGS = [
    normally,
    unused,
    by_an_exception,
    by_cancellation,
    by_a_task_that_fails,
    out_of_suspended,
    after_purge,
    with_requests_in_flight,
]


@pytest.fixture(scope="module")
def table(cluster: Cluster) -> Iterator[Cluster]:
    statements = [
        "CREATE DATABASE `left`",
        "CREATE TABLE `left`.t (id INT PRIMARY KEY, n INT NOT NULL)",
        "INSERT INTO `left`.t VALUES (1, 1)",
    ]
    trio.run(execute_sql, cluster.writer, *statements)
    yield cluster
    trio.run(execute_sql, cluster.writer, "DROP DATABASE `left`")


@pytest.mark.mariadb
@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("ending", ENDINGS)
async def test_the_real_server(table: Cluster, ending: Callable[[Opens], Awaitable[None]], connections: int) -> None:
    server = table.writer
    opens = partial(
        trio_hs.open_manager,
        [("inet", server.host, server.read_port)],
        [("inet", server.host, server.write_port)],
        read_secret=server.read_secret,
        write_secret=server.write_secret,
        connections=connections,
    )
    async with leaves_nothing():
        await ending(opens)


@pytest.mark.mariadb
async def test_a_write_that_waits_for_a_lock(table: Cluster) -> None:
    """The server holds the request back. The block ends nevertheless, and the write is in doubt."""
    server = table.writer
    errors: list[trio_hs.ConnectionError] = []

    async def write(hs: Manager) -> None:
        with pytest.raises(trio_hs.ConnectionError) as caught:
            await hs.update("left", "t", "=", ["n"], [1], [6])
        errors.append(caught.value)

    def sent(hs: Manager) -> bool:
        connection = hs._dispatcher.writer.choose()
        return connection is not None and bool(connection._sent)

    # The plugin's own lock: its writer waits until this connection ends.
    async with sql_session(server, WRITER_LOCK):
        before = tasks(), descriptors()
        async with trio.open_nursery() as users:
            async with trio_hs.open_manager(
                write_servers=[("inet", server.host, server.write_port)], write_secret=server.write_secret
            ) as hs:
                users.start_soon(write, hs)
                await until(lambda: sent(hs), "the write is not sent")
        assert (tasks(), descriptors()) == before
    assert [error.maybe_applied for error in errors] == [True]


async def closed_port() -> int:
    with trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.mark.parametrize("patience", [0.0, 0.01, 10.0])
async def test_dead_servers(patience: float) -> None:
    servers: Any = [[("inet", "127.0.0.1", await closed_port()) for _ in range(3)], [("unix", "/nonexistent/socket")]]
    retry = trio_hs.RetryPolicy(attempts=3, backoff=0.01)
    async with leaves_nothing():
        with trio.move_on_after(patience):
            async with trio_hs.open_manager(servers, servers, retry=retry, connections=2) as hs:
                with pytest.raises(trio_hs.ConnectionError, match="refused"):
                    await hs.get("d", "t", ["id"], 1)
                with pytest.raises(trio_hs.ConnectionError, match="refused") as caught:
                    await hs.insert("d", "t", [("id", 1)])
                assert not caught.value.maybe_applied


@pytest.mark.parametrize("ending", ["exception", "cancellation", "normal"])
async def test_during_connect(ending: str) -> None:
    """The kernel accepts the connection, but no server answers."""
    with trio.socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen(10)
        servers: Any = [("inet", *listener.getsockname())]
        async with leaves_nothing():
            with trio.CancelScope() as scope:
                try:
                    async with trio.open_nursery() as users:
                        async with trio_hs.open_manager(servers, servers) as hs:
                            users.start_soon(expect_failure, hs)
                            await until(lambda: "connecting" in repr(hs))
                            if ending == "exception":
                                raise LeavingError
                            if ending == "cancellation":
                                scope.cancel()
                except* LeavingError:
                    assert ending == "exception"


async def expect_failure(hs: Manager) -> None:
    with pytest.raises(trio_hs.ConnectionError):
        await hs.get("d", "t", ["id"], 1)


@pytest.mark.parametrize(
    "wrong", [{"timeout": 0}, {"connections": 0}, {"encoding": "klingon"}, {"write_servers": [("inet", "x")]}]
)
async def test_settings_that_cannot_work(wrong: dict[str, Any]) -> None:
    async with leaves_nothing():
        with pytest.raises((ValueError, LookupError)):
            async with trio_hs.open_manager(**wrong):
                pass


async def test_the_low_level() -> None:
    servers: Any = [("inet", "127.0.0.1", await closed_port())]
    for opens in (trio_hs.open_read_socket, trio_hs.open_write_socket):
        async with leaves_nothing():
            async with opens(servers) as socket:
                index = await socket.get_index_id("d", "t", ["id"])
                with pytest.raises(trio_hs.ConnectionError):
                    await socket.find(index, "=", [1])
