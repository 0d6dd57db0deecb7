"""The real client before real servers, with the proxy between them."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

import trio_hs
from hs_drill._cluster import Cluster, Server
from hs_drill.proxy._disturbances import DropReplies, Flapping
from hs_drill.proxy._proxy import Proxy, open_proxy
from hs_drill.servers import execute_sql
from hs_drill.servers._replication import wait_replicated
from tests.loadtest.support.proxied import EVERY_DISTURBANCE, hear_all
from tests.support.patience import patience, until

ROWS = 20
GETS = b"1\t=\t1\t1\n" * 3


@pytest.fixture
async def proxied(cluster: Cluster) -> AsyncIterator[Cluster]:
    """The cluster, with rows whose `n` is their `id`. HandlerSocket must not open the table before it is there."""
    rows = ",".join(f"({number},{number})" for number in range(ROWS))
    await execute_sql(
        cluster.writer,
        "DROP DATABASE IF EXISTS proxied",  # a test that failed has left it
        "CREATE DATABASE proxied",
        "CREATE TABLE proxied.t (id INT NOT NULL PRIMARY KEY, n INT NOT NULL)",
        f"INSERT INTO proxied.t VALUES {rows}",
    )
    await wait_replicated(cluster, patience(10))
    yield cluster
    await execute_sql(cluster.writer, "DROP DATABASE proxied")


def through(proxy: Proxy, server: Server, timeout: float) -> trio_hs.Server:
    return trio_hs.Server("inet", proxy.host, proxy.port, timeout=timeout, secret=server.read_secret)


@pytest.mark.mariadb
async def test_reads_through_two_readers_never_fail_whatever_disturbs_one(proxied: Cluster) -> None:
    servers = (proxied.writer, proxied.readers[0])
    rng = random.Random(1)
    timeout = patience(0.4)  # the healthy one must never seem silent
    async with (
        open_proxy(servers[0].host, servers[0].read_port, rng=rng) as healthy,
        open_proxy(servers[1].host, servers[1].read_port, rng=rng) as disturbed,
        trio_hs.open_manager([through(healthy, servers[0], timeout), through(disturbed, servers[1], timeout)]) as hs,
    ):
        handle = hs.table("proxied", "t", ["id", "n"])
        reads = 0

        async def user(number: int) -> None:
            nonlocal reads
            while True:
                number = (number * 7 + 1) % ROWS
                assert await handle.get(number) == [("id", str(number)), ("n", str(number))]
                reads += 1
                await trio.sleep(0.002)

        async def both_serve() -> None:
            goals = [(proxy, proxy.statistics().downstream_bytes + 1000) for proxy in (healthy, disturbed)]
            await until(lambda: all(proxy.statistics().downstream_bytes > goal for proxy, goal in goals))

        async with trio.open_nursery() as users:
            for number in range(16):
                users.start_soon(user, number)
            await both_serve()
            for disturbance in [*EVERY_DISTURBANCE[:-1], DropReplies(5), Flapping(0.1, 0.1)]:
                disturbed.start(disturbance)
                await trio.sleep(1.1 * timeout)  # what was under way has gone to the other one
                goal = reads + 100
                await until(lambda goal=goal: reads > goal)  # type: ignore[misc]
                disturbed.heal()
                await both_serve()
            users.cancel_scope.cancel()


@pytest.mark.mariadb
@pytest.mark.parametrize("disturbance", [DropReplies(3), DropReplies(7, "total", "middle", "close")], ids=["reset", "close"])
async def test_increments_whose_answers_are_lost_are_reported_as_maybe_applied(
    proxied: Cluster, disturbance: DropReplies
) -> None:
    server = proxied.writer
    acknowledged = unknown = refused = 0
    async with (
        open_proxy(server.host, server.write_port, rng=random.Random(1)) as proxy,
        trio_hs.open_manager(
            [("inet", server.host, server.read_port)],
            [("inet", proxy.host, proxy.port)],
            read_secret=server.read_secret,
            write_secret=server.write_secret,
        ) as hs,
    ):

        async def user() -> None:
            nonlocal acknowledged, unknown, refused
            for _ in range(15):
                try:
                    await hs.incr("proxied", "t", "=", ["n"], ["0"], index_name="PRIMARY")
                    acknowledged += 1
                except trio_hs.ConnectionError as error:
                    unknown += error.maybe_applied
                    refused += not error.maybe_applied

        proxy.start(disturbance)
        async with trio.open_nursery() as users:
            for _ in range(4):
                users.start_soon(user)
        cuts = proxy.statistics().cut
        proxy.heal()
        counter = int(dict(await hs.get("proxied", "t", ["id", "n"], "0"))["n"])
    assert cuts >= 3
    assert acknowledged > 0
    assert acknowledged + unknown + refused == 60
    assert acknowledged + cuts <= counter <= acknowledged + unknown  # each cut hides an increment that was applied


@pytest.mark.mariadb
async def test_a_client_that_closes_before_a_busy_server_has_read_leaves_no_table_open(proxied: Cluster) -> None:
    """HandlerSocket overlooks an end that it reads together with requests. While a connection is there, ALTER TABLE waits."""
    server = proxied.writer
    assert server.pid is not None
    async with open_proxy(server.host, server.read_port, rng=random.Random(1)) as proxy:
        streams = [await trio.open_tcp_stream(proxy.host, proxy.port) for _ in range(4)]
        for stream in streams:
            await stream.send_all(b"A\t1\t%s\nP\t1\tproxied\tt\tPRIMARY\tid,n\n" % server.read_secret.encode())
            assert await hear_all(stream, 8) == b"0\t1\n0\t1\n"
        goal = proxy.statistics().upstream_bytes + len(GETS) * len(streams)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            for stream in streams:
                await stream.send_all(GETS)
                await stream.aclose()
            await until(lambda: proxy.statistics().upstream_bytes == goal)
            await trio.sleep(0.1)  # the end follows
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await until(lambda: proxy.statistics().open == 0)
        await execute_sql(
            server, f"SET SESSION lock_wait_timeout={round(patience(10))}", "ALTER TABLE proxied.t COMMENT 'closed'"
        )
