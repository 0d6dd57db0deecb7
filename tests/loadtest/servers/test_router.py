"""A router between clients and servers: whether it answers, which server it leads to, and which ones are refused."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
import trio

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill.servers import _one_server, _router, execute_sql
from hs_drill.servers._external import ExternalControl
from hs_drill.servers._followers import written_through
from hs_drill.servers._one_server import LOOKS, UNNAMED, Led, led_by_listener, led_by_sql
from hs_drill.servers._router import NEEDS_PORT, Behind, SeenRouter, _same, ask_router, require_router

ROUTER = Server("router", "ha", 8, 9, "r", "w", sql_port=33)
TO_WRITER = Behind(Led({"writer": 20}))
TO_STANDBY = Behind(Led({"standby": 20}), read_only=True)
UNKNOWN = Behind(trouble="the listener at ha:9: timed out")
GOOD = SeenRouter(ROUTER, {"read": "", "write": ""}, TO_WRITER, TO_WRITER)
BY_SQL = SeenRouter(ROUTER, {}, None, TO_WRITER)


@pytest.mark.parametrize(
    "seen, by_sql, writes, wrong",
    [
        (GOOD, False, True, []),
        (BY_SQL, True, True, []),
        (replace(GOOD, sql=TO_STANDBY), False, True, []),
        (
            replace(GOOD, listeners={"read": "", "write": "does not answer within 5 s"}, writes=None),
            False,
            True,
            ["router: the listener for writes at ha:9 does not answer within 5 s"],
        ),
        (replace(GOOD, listeners={"read": "", "write": "is broken"}, writes=None), False, False, []),
        (
            replace(GOOD, writes=TO_STANDBY),
            False,
            True,
            ["router: writes at ha:9 were led to standby in 20 of 20 connections (standby is read-only), and not to writer: "
             "let the router lead to the primary, and name that `writer`"],
        ),
        (replace(GOOD, writes=TO_STANDBY), False, False, []),
        (
            replace(GOOD, writes=replace(TO_WRITER, read_only=True)),
            False,
            True,
            ["router: writes at ha:9 were led to writer in 20 of 20 connections (writer is read-only), so no write gets "
             "through"],
        ),
        (
            replace(BY_SQL, sql=Behind(Led({"writer": 18, "standby": 2}))),
            True,
            True,
            ["router: writes by SQL at ha:33 were led to writer in 18 and to standby in 2 of 20 connections: let it pass "
             "writes on to the primary alone"],
        ),
        (replace(BY_SQL, sql=Behind(Led({"writer": 18, "standby": 2}))), True, False, []),
        (
            replace(GOOD, writes=Behind(Led({"writer": 118, UNNAMED: 122}, exact=False))),
            False,
            True,
            ["router: writes at ha:9 were led to writer in about 118 and to a server whose sql_port is not named here in about "
             "122 of 240 connections (more or less, for other clients' connections come and go): let it pass writes on to the "
             "primary alone"],
        ),
        (
            replace(GOOD, writes=UNKNOWN),
            False,
            True,
            ["router: writes at ha:9: which server they go to could not be checked, so they are not allowed (the listener at "
             "ha:9: timed out)"],
        ),
        (replace(GOOD, writes=UNKNOWN), False, False, []),
        (
            replace(BY_SQL, sql=Behind(trouble="SQL error 1045: Access denied")),
            True,
            False,
            ["router: SQL at ha:33: SQL error 1045: Access denied"],
        ),
        (replace(GOOD, sql=Behind(trouble="SQL error 1045: Access denied")), False, True, []),
        (
            replace(BY_SQL, same="localhost:33 is 127.0.0.1:33, a port of writer"),
            True,
            False,
            ["router: localhost:33 is 127.0.0.1:33, a port of writer, so no router: name the router's own address, or leave "
             "`router` out"],
        ),
    ],
)  # fmt: skip
def test_what_a_load_must_not_go_through(seen: SeenRouter, by_sql: bool, writes: bool, wrong: list[str]) -> None:
    assert list(seen.mistakes(by_sql=by_sql, writes=writes)) == wrong


@pytest.mark.parametrize("by_sql", [False, True])
def test_what_was_not_checked_is_told(by_sql: bool) -> None:
    seen = replace(BY_SQL, sql=NEEDS_PORT) if by_sql else replace(GOOD, writes=NEEDS_PORT)
    assert list(seen.mistakes(by_sql=by_sql, writes=True)) == []
    (line,) = seen.unknown(by_sql=by_sql, writes=True)
    assert line == "not checked: which server router passes writes to (that takes the writer's sql_port)"
    assert list(seen.unknown(by_sql=by_sql, writes=False)) == list(GOOD.unknown(by_sql=by_sql, writes=True)) == []
    assert "; which server is behind it is not known: that takes" in f"; {'; '.join(seen.lines())}".replace("33: ", "33; ")
    assert seen.answers


def test_a_router_may_lead_to_every_server_with_a_port_for_writes() -> None:
    """So each of them needs the twin."""
    servers = (replace(ROUTER, name="writer"), replace(ROUTER, name="standby"), replace(ROUTER, name="reader-1", write_port=0))
    cluster = Cluster("external", "", "", servers)
    assert [server.name for server in written_through(cluster)] == ["writer"]
    assert [server.name for server in written_through(replace(cluster, router=ROUTER))] == ["writer", "standby"]


@dataclass
class Fake:
    """A server, as far as it is asked here."""

    name: str
    id: int = 1
    locks: set[str] = field(default_factory=set)
    connections: int = 7

    def answer(self, statement: str, args: Sequence[Any]) -> list[dict[str, Any]]:
        if "GET_LOCK" in statement:
            self.locks.add(args[0])
        elif statement.startswith("SELECT IS_USED_LOCK"):
            return [{"owner": 5 if args[0] in self.locks else None}]
        elif "processlist" in statement:
            return [{"s": f"handlersocket: mode=wr, {self.connections} conns, 0 active"}]
        return []


@dataclass
class Servers:
    """The servers `writer` and `reader-1`, which share an id, and a router in front of servers."""

    each: dict[str, Fake]
    order: Iterator[Fake]
    """To which one the router passes its next connection on."""
    churn: Callable[[], None]
    """Other clients come and go."""

    @contextmanager
    def session(self, server: Server, *_: int) -> Iterator[Any]:
        fake, rows = self.each[server.name], list[dict[str, Any]]()

        class Cursor:
            def execute(self, statement: str, args: Sequence[Any] = ()) -> None:
                rows[:] = fake.answer(statement, args)

            def fetchall(self) -> list[dict[str, Any]]:
                return rows

        yield Cursor()

    def look(self, _: Server, statements: Sequence[str], *__: int) -> list[dict[str, Any]]:
        fake = next(self.order)
        asked = re.findall(r"IS_USED_LOCK\('(.+?)'\) AS (\w+)", statements[-1])
        return [{"id": fake.id, **{column: 5 if lock in fake.locks else None for lock, column in asked}}]

    @contextmanager
    def connected(self, *_: object) -> Iterator[None]:
        fake = next(self.order)
        fake.connections += 1
        self.churn()
        yield
        fake.connections -= 1


NAMED = [replace(ROUTER, name=name) for name in ("writer", "reader-1")]
Made = Callable[..., Servers]


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Made:
    def made(*behind: str, churn: Callable[[Fake], None] = lambda _: None, alias: bool = False) -> Servers:
        fakes = {name: Fake(name) for name in ("writer", "reader-1", "other")}
        if alias:
            fakes["reader-1"] = fakes["writer"]
        order = itertools.cycle([fakes[name] for name in behind])
        fake = Servers(fakes, order, lambda: churn(fakes["writer"]))
        monkeypatch.setattr(_one_server, "sql_session", fake.session)
        monkeypatch.setattr(_one_server, "run_sql", fake.look)
        monkeypatch.setattr(_one_server, "_connected", fake.connected)
        monkeypatch.setattr(_one_server, "PAUSE", 0)
        return fake

    return made


@pytest.mark.parametrize(
    "behind, told",
    [
        (["writer"], "led to writer in 20 of 20 connections"),
        (["reader-1"], "led to reader-1 in 20 of 20 connections"),
        (["other"], "led to a server whose sql_port is not named here (server id 1) in 20 of 20 connections"),
        (["writer"] * 9 + ["reader-1"], "led to writer in 18 and to reader-1 in 2 of 20 connections"),
    ],
    ids=["writer", "reader", "clone", "9 to 1"],
)
async def test_servers_with_one_id_are_told_apart_by_sql(servers: Made, behind: list[str], told: str) -> None:
    servers(*behind)
    led = await led_by_sql(NAMED, ROUTER)
    assert str(led) == told
    assert led.only == ("" if len(led.to) > 1 else next(iter(led.to)))
    assert sum(led.to.values()) == LOOKS


@pytest.mark.parametrize("server", ["writer", "reader-1", "other"])
async def test_servers_with_one_id_are_told_apart_by_connections(servers: Made, server: str) -> None:
    servers(server)
    led = await led_by_listener(NAMED, ROUTER, "write")
    assert led.only == (UNNAMED if server == "other" else server)
    assert led.to[led.only] >= _one_server.STEPS * _one_server.LEAST_MORE


async def test_of_two_names_of_one_server_the_first_one_counts(servers: Made) -> None:
    servers("writer", alias=True)
    assert (await led_by_listener(NAMED, ROUTER, "write")).only == "writer"
    assert (await led_by_sql(NAMED, ROUTER)).only == "writer"
    servers("writer", "other", alias=True)
    assert (await led_by_listener(NAMED, ROUTER, "write")).to.keys() == {"writer", UNNAMED}


@pytest.mark.parametrize("other", ["reader-1", "other"])
@pytest.mark.parametrize("share", [2, 10])
async def test_a_router_that_passes_some_connections_elsewhere_is_seen(servers: Made, other: str, share: int) -> None:
    servers(*["writer"] * (share - 1), other)
    led = await led_by_listener(NAMED, ROUTER, "write")
    assert (led.only, led.exact) == ("", False)
    total = sum(led.to.values())
    assert led.to.keys() == {"writer", UNNAMED if other == "other" else other}
    assert abs(led.to["writer"] - total * (share - 1) / share) < _one_server.ROUTED_ATTEMPTS * _one_server.STEPS


async def test_connections_are_found_while_others_come_and_go(servers: Made) -> None:
    """One comes after each tenth connection of ours, until five have come."""
    opened = itertools.count(1)

    def come(writer: Fake) -> None:
        writer.connections += next(opened) in range(10, 60, 10)

    servers("writer", churn=come)
    assert (await led_by_listener(NAMED, ROUTER, "write")).only == "writer"


async def test_it_is_not_known_where_connections_lead_if_others_come_all_the_time(servers: Made) -> None:
    def come(writer: Fake) -> None:
        writer.connections += 1

    servers("writer", churn=come)
    with pytest.raises(ClusterError, match=r"other clients' connections come and go: with .* of ours .* rose otherwise"):
        await led_by_listener(NAMED, ROUTER, "write")


async def test_a_limit_of_connections_is_told(servers: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = servers("writer")

    @contextmanager
    def at_most_five(*_: object) -> Iterator[None]:
        if fake.each["writer"].connections == 12:
            raise ClusterError("the listener at ha:9: timed out")
        with fake.connected():
            yield

    monkeypatch.setattr(_one_server, "_connected", at_most_five)
    with pytest.raises(ClusterError, match="timed out; the check opens up to 72 connections at once"):
        await led_by_listener(NAMED, ROUTER, "write")


@pytest.mark.parametrize(
    "host, port, same",
    [("localhost", 2, True), ("localhost", 4, False), ("db.example", 2, False), ("unknown", 2, False)],
)
async def test_another_name_of_this_machine_is_no_router(
    monkeypatch: pytest.MonkeyPatch, host: str, port: int, same: bool
) -> None:
    """A name that is not of this machine may move."""
    known = {"localhost": {("::1", 0), ("127.0.0.1", 0)}, "db.example": {("10.0.0.1", 0)}}

    async def addresses_of(host: str, _: int) -> set[Any]:
        return known.get(host, {(host, 0)} if host[0].isdigit() else set())

    monkeypatch.setattr(_router, "addresses_of", addresses_of)
    servers = [Server("reader-1", "10.0.0.1", 1, 2, "", ""), Server("writer", "127.0.0.1", 1, 2, "", "", sql_port=3)]
    found = await _same(Server("router", host, 0, port, "", ""), servers)
    assert found == (f"{host}:2 is 127.0.0.1:2, a port of writer" if same else "")


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
    assert f"router: SQL at 127.0.0.1:{router.sql_port}: writes were led to writer in 20 of 20 connections" in told
    at = f"127.0.0.1:{router.write_port}"
    led = rf"router: HandlerSocket for writes at {at}: answers; led to writer in (\d+) of \1 connections"
    assert any(re.fullmatch(led, line) for line in told) is not by_sql
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
            what = "writes by SQL" if by_sql else "writes"
            assert re.match(
                rf"router: {what} at 127.0.0.1:{port} were led to reader-1 in (\d+) of \1 connections \(reader-1 is "
                r"read-only\), and not to writer",
                str(refused.value),
            )
            assert str(refused.value).endswith("Nothing was written")


@pytest.mark.mariadb
async def test_a_router_that_spreads_writes_or_leads_elsewhere_is_refused(cluster: Cluster) -> None:
    writer, reader = cluster.servers
    async with routed(writer, reader) as router:
        with pytest.raises(ClusterError, match=r"were led to writer in about \d+ and to reader-1 in about \d+ of"):
            await required(cluster, router, by_sql=False, told=[])
    async with routed(reader) as router:
        seen = await ask_router(router, [writer], by_sql=False)
    (wrong,) = seen.mistakes(by_sql=False, writes=True)
    assert re.search(r"were led to a server whose sql_port is not named here in (\d+) of \1 connections, and not to", wrong)
    assert "led to a server whose sql_port is not named here (server id " in str(seen.sql)


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
