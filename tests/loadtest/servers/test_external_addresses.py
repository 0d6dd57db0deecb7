"""How a user's own servers may be reached: over IPv6, with no listener for writes, with no SQL account given."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import trio

import trio_hs
from hs_drill._addresses import read_address, write_address
from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill.controller._proxies import client_view
from hs_drill.controller._table import fill_table
from hs_drill.proxy import open_proxy
from hs_drill.scenario import with_cluster
from hs_drill.servers import _mariadbd, check_replication
from hs_drill.servers._control import handlersocket_answers
from hs_drill.servers._opening import open_servers
from tests.loadtest.support.external import SCENARIO, TABLE, external
from trio_hs.testing import open_server


@asynccontextmanager
async def over_ipv6(*servers: Server) -> AsyncIterator[tuple[Server, ...]]:
    """The servers at ::1: what connects there is forwarded."""
    async with trio.open_nursery() as nursery:

        async def listen(port: int | None) -> int:
            if not port:
                return 0
            try:
                listeners = await trio.open_tcp_listeners(0, host="::1")
            except OSError as error:
                pytest.skip(f"this machine has no IPv6: {error}")
            nursery.start_soon(trio.serve_listeners, partial(_forward, port), listeners)
            return int(listeners[0].socket.getsockname()[1])

        yield tuple(
            [
                replace(
                    server,
                    host="::1",
                    read_port=await listen(server.read_port),
                    write_port=await listen(server.write_port),
                    sql_port=await listen(server.sql_port) or None,
                )
                for server in servers
            ]
        )
        nursery.cancel_scope.cancel()


async def _forward(port: int, client: trio.SocketStream) -> None:
    async def pipe(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        try:
            async for data in source:
                await sink.send_all(data)
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with client, await trio.open_tcp_stream("127.0.0.1", port) as server, trio.open_nursery() as nursery:
        nursery.start_soon(pipe, client, server)
        nursery.start_soon(pipe, server, client)


@pytest.mark.mariadb
async def test_a_reader_needs_no_listener_for_writes(temporary: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    listeners = _mariadbd._listeners

    def readers_only_read(server: Server, settings: Any) -> list[str]:
        lines = listeners(server, settings)
        return [line for line in lines if server.name == "writer" or not line.startswith("handlersocket_port_wr=")]

    async def answers_reads(server: Server) -> bool:
        return await handlersocket_answers(server if server.name == "writer" else replace(server, write_port=0))

    monkeypatch.setattr(_mariadbd, "_listeners", readers_only_read)
    monkeypatch.setattr(_mariadbd, "handlersocket_answers", answers_reads)
    async with open_servers("mariadb", readers=1, topology="write-through") as owner:
        await owner.create_table(TABLE)
        writer, reader = owner.cluster.servers
        given = replace(owner.cluster, servers=(writer, reader))
        with pytest.raises(
            ClusterError, match=r"for writes at .* cannot be reached: .*\(a reader needs none: leave its write_p"
        ):
            async with external(given):
                pass
        async with over_ipv6(writer, replace(reader, write_port=0)) as servers:
            told: list[str] = []
            async with external(replace(given, servers=servers), tell=told.append) as control:
                await fill_table(control, SCENARIO, told.append)
                assert "HandlerSocket's writes replicate here" in told
                check = await check_replication(control.cluster, TABLE, control.cluster.writer)
                assert check.replicates
                assert [name for name, _, _ in control.cluster.readers[0].listeners] == ["read"]
                named = ",".join(
                    [f"writer=[::1]:{servers[0].read_port}:{servers[0].write_port}", f"reader-1=[::1]:{servers[1].read_port}"]
                )
                parsed = [one.resolved() for one in with_cluster(SCENARIO, named, {}).cluster.servers]
                for one, server in zip(parsed, servers, strict=True):
                    assert (one.host, one.read_port, one.write_port) == (server.host, server.read_port, server.write_port)


def server_at(host: str, **changes: Any) -> Server:
    return replace(Server("reader-1", host, 1, 2, "r", "w", sql_port=3), **changes)


async def test_a_missing_sql_account_is_reported_with_how_to_give_it() -> None:
    servers = (server_at("127.0.0.1", name="writer"), server_at("::1"))
    with pytest.raises(ClusterError) as error:
        async with external(Cluster("external", "", "", servers)):
            pass
    assert str(error.value) == (
        "writer: SQL at 127.0.0.1:3 needs an account: set TRIO_HS_SQL_USER and TRIO_HS_SQL_PASSWORD in the environment, or "
        "sql_user and sql_password in the scenario; or leave the sql_port out"
    )


async def test_clients_reach_a_server_elsewhere_through_its_proxies() -> None:
    for write_port in (2, 0):
        server = server_at("192.0.2.1", name="writer", write_port=write_port)
        async with (
            open_proxy(server.host, server.read_port, rng=random.Random(0)) as reads,
            open_proxy(server.host, 2, rng=random.Random(0)) as writes,
        ):
            proxies = {("writer", "read"): reads} | ({("writer", "write"): writes} if write_port else {})
            (seen,) = client_view(Cluster("external", "", "", (server,)), proxies).servers
            assert (seen.host, seen.read_port, seen.write_port) == (reads.host, reads.port, writes.port if write_port else 0)


async def test_the_client_takes_an_ipv6_address_in_brackets() -> None:
    async with open_server([TABLE]) as server:
        try:
            await server.listen(("::1", 0), ("::1", 0))
        except OSError as error:
            pytest.skip(f"this machine has no IPv6: {error}")
        reads, writes = server.read_address, server.write_address
        async with trio_hs.open_manager([("inet", "[::1]", reads.port)], [("inet", "[::1]", writes.port)]) as hs:
            await hs.insert(TABLE.database, TABLE.name, [("id", 1), ("grp", 1), ("n", 0), ("payload", "x")])
            assert await hs.get(TABLE.database, TABLE.name, ["id"], 1) is not None
        ours = server_at("::1", read_port=reads.port, write_port=writes.port)
        assert str(read_address(ours)) == ours.at(reads.port)
        assert str(write_address(ours)) == ours.at(writes.port)
