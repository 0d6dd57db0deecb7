"""A router between clients and servers: whether it answers, which server it leads to, and which ones are refused."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial

import pytest
import trio

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill.servers import _one_server, execute_sql
from hs_drill.servers._external import ExternalControl
from hs_drill.servers._followers import written_through
from hs_drill.servers._router import Behind, SeenRouter, ask_router, require_router

ROUTER = Server("router", "ha", 8, 9, "r", "w", sql_port=33)
GOOD = SeenRouter(ROUTER, {"read": "", "write": ""}, Behind(("writer",)), Behind(("writer",)))
BY_SQL = SeenRouter(ROUTER, {}, None, Behind(("writer",)))


@pytest.mark.parametrize(
    "seen, by_sql, writes, wrong",
    [
        (GOOD, False, True, []),
        (BY_SQL, True, True, []),
        (replace(GOOD, sql=Behind(("standby",), read_only=True)), False, True, []),
        (
            replace(GOOD, listeners={"read": "", "write": "does not answer within 5 s"}, writes=None),
            False,
            True,
            ["router: the listener for writes at ha:9 does not answer within 5 s"],
        ),
        (replace(GOOD, listeners={"read": "", "write": "is broken"}, writes=None), False, False, []),
        (
            replace(GOOD, writes=Behind(("standby",), read_only=True)),
            False,
            True,
            ["router: writes at ha:9 leads to standby, which is read-only, and not to writer: let the router lead to the "
             "primary, and name that `writer`"],
        ),
        (replace(GOOD, writes=Behind(("standby",), read_only=True)), False, False, []),
        (
            replace(GOOD, writes=Behind(("writer",), read_only=True)),
            False,
            True,
            ["router: writes at ha:9 leads to writer, which is read-only, so no write gets through"],
        ),
        (
            replace(BY_SQL, sql=Behind(("writer", "standby"))),
            True,
            True,
            ["router: SQL at ha:33 leads to writer and standby, a connection here and a connection there: let it pass "
             "writes on to the primary alone"],
        ),
        (replace(BY_SQL, sql=Behind(("writer", "standby"))), True, False, []),
        (
            replace(BY_SQL, sql=Behind(trouble="SQL error 1045: Access denied")),
            True,
            False,
            ["router: SQL at ha:33: SQL error 1045: Access denied"],
        ),
        (replace(GOOD, sql=Behind(trouble="SQL error 1045: Access denied")), False, True, []),
    ],
)  # fmt: skip
def test_what_a_load_must_not_go_through(seen: SeenRouter, by_sql: bool, writes: bool, wrong: list[str]) -> None:
    assert list(seen.mistakes(by_sql=by_sql, writes=writes)) == wrong


def test_what_was_not_checked_is_told() -> None:
    seen = replace(GOOD, writes=Behind(trouble="that takes the writer's sql_port"))
    assert list(seen.mistakes(by_sql=False, writes=True)) == []
    (line,) = seen.unknown(by_sql=False, writes=True)
    assert line == "not checked: which server router passes writes to (that takes the writer's sql_port)"
    assert list(seen.unknown(by_sql=False, writes=False)) == list(GOOD.unknown(by_sql=False, writes=True)) == []
    assert "HandlerSocket for writes at ha:9: answers; which server is behind it is not known: that takes" in "\n".join(
        seen.lines()
    )


def test_a_router_may_lead_to_every_server_with_a_port_for_writes() -> None:
    """So each of them needs the twin."""
    servers = (replace(ROUTER, name="writer"), replace(ROUTER, name="standby"), replace(ROUTER, name="reader-1", write_port=0))
    cluster = Cluster("external", "", "", servers)
    assert [server.name for server in written_through(cluster)] == ["writer"]
    assert [server.name for server in written_through(replace(cluster, router=ROUTER))] == ["writer", "standby"]


@pytest.mark.parametrize(
    "rise, behind",
    [
        ({"writer": lambda more: more}, ("writer",)),
        ({"writer": lambda more: more + 1, "standby": lambda _: 1}, ("writer",)),
        ({"writer": lambda more: more // 2, "standby": lambda more: more - more // 2}, ("writer", "standby")),
        ({"writer": lambda more: 3 * more}, ()),
        ({"writer": lambda _: 0, "standby": lambda _: -1}, ()),
    ],
    ids=["all", "others come and go", "spread", "others come in numbers", "none"],
)
def test_connections_are_found_by_how_the_servers_counts_rise(
    monkeypatch: pytest.MonkeyPatch, rise: dict[str, Callable[[int], int]], behind: tuple[str, ...]
) -> None:
    opened = 0

    def connected(*_: object) -> nullcontext[None]:
        nonlocal opened
        opened += 1
        return nullcontext()

    monkeypatch.setattr(_one_server, "_connected", connected)
    monkeypatch.setattr(_one_server, "_count", lambda server, *_: 7 + (rise[server.name](opened) if opened else 0))
    cursors = {name: (replace(ROUTER, name=name), None) for name in rise}
    assert _one_server._step(cursors, "wr", ("ha", 9), "w", ExitStack()) == behind
    assert opened >= _one_server.LEAST_MORE


# ---- real servers


@asynccontextmanager
async def passing_on(targets: Sequence[tuple[str, int]]) -> AsyncIterator[int]:
    """The port of a router that passes each connection on to the next one of these addresses."""
    order: Iterator[tuple[str, int]] = itertools.cycle(targets)

    async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        try:
            async for data in source:
                await sink.send_all(data)
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def carry(client: trio.SocketStream) -> None:
        async with client, await trio.open_tcp_stream(*next(order)) as server, trio.open_nursery() as nursery:
            nursery.start_soon(pump, client, server)
            nursery.start_soon(pump, server, client)

    async with trio.open_nursery() as nursery:
        (listener, *_) = await nursery.start(partial(trio.serve_tcp, carry, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def routed(*servers: Server) -> AsyncIterator[Server]:
    """A router in front of these servers, for HandlerSocket and SQL."""
    first = servers[0]
    async with (
        passing_on([(server.host, server.read_port) for server in servers]) as reads,
        passing_on([(server.host, server.write_port) for server in servers]) as writes,
        passing_on([(server.host, server.sql_port or 0) for server in servers]) as sql,
    ):
        yield replace(first, name="router", host="127.0.0.1", read_port=reads, write_port=writes, sql_port=sql)


async def required(cluster: Cluster, router: Server, *, by_sql: bool, told: list[str]) -> Cluster:
    control = ExternalControl(cluster, may_create=False, progress=told.append)
    return await require_router(control, router, by_sql=by_sql, writes=True, progress=told.append)


@pytest.mark.mariadb
@pytest.mark.parametrize("by_sql", [False, True])
async def test_a_router_that_leads_to_the_writer_is_taken(cluster: Cluster, by_sql: bool) -> None:
    told: list[str] = []
    async with routed(cluster.writer) as router:
        if by_sql:  # as the account of the load, which here is the administrator's
            router = replace(router, load_user=router.admin_user, load_password=router.admin_password, admin_user="nobody")
        assert (await required(cluster, router, by_sql=by_sql, told=told)).router == router
    assert f"router: SQL at 127.0.0.1:{router.sql_port}: leads to writer" in told
    writes = f"router: HandlerSocket for writes at 127.0.0.1:{router.write_port}: answers; leads to writer"
    assert (writes in told) is not by_sql
    assert "which server acknowledges a write is not known, for clients reach them through the router alone" in told


@pytest.mark.mariadb
async def test_a_router_that_leads_to_a_read_only_server_is_refused(cluster: Cluster) -> None:
    reader = cluster.servers[1]
    assert (await execute_sql(reader, "SELECT @@read_only AS r"))[0]["r"], "as the replicas of the tests' servers are"
    async with routed(reader) as router:
        for by_sql, port in ((False, router.write_port), (True, router.sql_port)):
            account = replace(router, load_user=router.admin_user, load_password=router.admin_password)
            with pytest.raises(ClusterError) as refused:
                await required(cluster, account, by_sql=by_sql, told=[])
            what = "SQL" if by_sql else "writes"
            assert str(refused.value).startswith(
                f"router: {what} at 127.0.0.1:{port} leads to reader-1, which is read-only, and not to writer"
            )
            assert str(refused.value).endswith("Nothing was written")


@pytest.mark.mariadb
async def test_a_router_that_spreads_writes_or_leads_elsewhere_is_refused(cluster: Cluster) -> None:
    writer, reader = cluster.servers
    async with routed(writer, reader) as router:
        with pytest.raises(ClusterError, match="leads to writer and reader-1, a connection here"):
            await required(cluster, router, by_sql=False, told=[])
    async with routed(reader) as router:
        seen = await ask_router(router, [writer], by_sql=False)
    (wrong,) = seen.mistakes(by_sql=False, writes=True)
    assert "leads to no server whose sql_port is named here, and not to writer" in wrong
    assert "leads to a server whose sql_port is not named here (server id " in str(seen.sql)


@pytest.mark.mariadb
async def test_a_router_that_does_not_answer_is_refused(cluster: Cluster) -> None:
    async with routed(cluster.writer) as router:
        pass
    with pytest.raises(ClusterError, match=rf"^router: the listener for reads at .*:{router.read_port} cannot be"):
        await required(cluster, router, by_sql=False, told=[])
    async with routed(cluster.writer) as router:
        swapped = replace(router, write_port=router.read_port, write_secret="wrong")
        with pytest.raises(ClusterError, match=r"the listener for writes at .* refuses the secret"):
            await required(cluster, swapped, by_sql=False, told=[])
        blind = replace(cluster, servers=tuple(replace(server, sql_port=None) for server in cluster.servers))
        told: list[str] = []
        await required(blind, router, by_sql=False, told=told)
        assert "not checked: which server router passes writes to (that takes the writer's sql_port)" in told
