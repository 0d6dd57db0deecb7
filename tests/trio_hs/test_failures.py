"""What callers see when real servers fail in real ways. With a second reader alive, no read may fail."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Awaitable, Callable

import pytest
import trio

import trio_hs
from loadtest._cluster import Cluster, Server, open_cluster
from loadtest._mariadb import create_table, execute_sql, wait_replicated
from trio_hs import Manager

ROWS = 100
TASKS = 64


def listener(server: Server) -> trio_hs.Server:
    return trio_hs.Server("inet", server.host, server.read_port, secret=server.read_secret)


async def fill(cluster: Cluster) -> None:
    await create_table(cluster, "cars", "trucks", "id INT NOT NULL PRIMARY KEY, model VARCHAR(40) NOT NULL")
    rows = ",".join(f"({number},'m{number}')" for number in range(ROWS))
    await execute_sql(cluster.writer, f"INSERT INTO cars.trucks VALUES {rows}")
    await wait_replicated(cluster)


async def read_while(hs: Manager, act: Callable[[], Awaitable[object]], seconds: float) -> list[float]:
    """Reads with many tasks before, during and after `act`; gives the latency of every call. An error or a wrong row fails."""
    table = hs.table("cars", "trucks", ["id", "model"])
    latencies: list[float] = []
    stop = False

    async def user(number: int) -> None:
        while not stop:
            number = (number * 7 + 1) % ROWS
            started = time.perf_counter()
            row = await table.get(number)
            latencies.append(time.perf_counter() - started)
            assert row == [("id", str(number)), ("model", f"m{number}")]

    await table.get(1)
    async with trio.open_nursery() as users:
        for number in range(TASKS):
            users.start_soon(user, number)
        await trio.sleep(0.5)
        await act()
        await trio.sleep(seconds)
        stop = True
    return latencies


@pytest.mark.mariadb
async def test_a_killed_reader_fails_no_read_and_delays_none() -> None:
    async with open_cluster("mariadb", readers=2) as cluster:
        await fill(cluster)
        one, _ = cluster.readers

        async def kill() -> None:
            assert one.pid is not None
            os.kill(one.pid, signal.SIGKILL)

        async with trio_hs.open_manager([listener(server) for server in cluster.readers]) as hs:
            latencies = await read_while(hs, kill, 1.5)
        assert len(latencies) > 1000
        assert max(latencies) < 0.5  # a guard against hanging on the dead one, wide enough for a busy machine


@pytest.mark.mariadb
async def test_a_paused_reader_fails_no_read() -> None:
    """What it had accepted waits for its timeout; everything else goes on elsewhere. It is used again when it answers."""
    async with open_cluster("mariadb", readers=2) as cluster:
        await fill(cluster)
        one, _ = cluster.readers
        assert one.pid is not None
        pid = one.pid

        async def pause_and_resume() -> None:
            os.kill(pid, signal.SIGSTOP)
            try:
                await trio.sleep(1.5)
            finally:
                os.kill(pid, signal.SIGCONT)

        async with trio_hs.open_manager([listener(server) for server in cluster.readers], timeout=0.5) as hs:
            latencies = await read_while(hs, pause_and_resume, 1.5)
            assert f"{one.host}:{one.read_port} up" in repr(hs)
        assert max(latencies) < 1.5


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


@pytest.mark.mariadb
@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(silent, id="accepts and never answers"),
        pytest.param(hang_up, id="accepts and hangs up"),
        pytest.param(reset, id="reset"),
        pytest.param(after_authentication(b"0\t1\n0\t2\t1", then_close=True), id="ends in the middle of an answer"),
        pytest.param(after_authentication(b"0\t1\n0\t2\t1", then_close=False), id="half an answer, then silence"),
        pytest.param(after_authentication(b"HTTP/1.1 400 Bad Request\r\n", then_close=False), id="garbage"),
        pytest.param(after_authentication(b"0\t1\n0\t9\t1\n", then_close=False), id="wrong number of columns"),
    ],
)
async def test_a_broken_server_beside_a_good_one(cluster: Cluster, nursery: trio.Nursery, handler: Handler) -> None:
    await fill(cluster)
    try:
        listeners = await nursery.start(trio.serve_tcp, handler, 0)
        port = listeners[0].socket.getsockname()[1]
        servers = [trio_hs.Server("inet", "127.0.0.1", port), listener(cluster.writer)]
        async with trio_hs.open_manager(servers, timeout=0.5) as hs:

            async def nothing() -> None:
                pass

            latencies = await read_while(hs, nothing, 1.0)
        assert max(latencies) < 1.5
    finally:
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await execute_sql(cluster.writer, "DROP DATABASE cars")
