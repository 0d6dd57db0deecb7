"""Clients' writes follow a promotion on the user's own servers. Embedded servers in memory, virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trio_hs
from hs_drill._cluster import Cluster, Server
from hs_drill.engine import _meter, _sql_client
from hs_drill.engine._binding import Binding, BoundOperation, Intent
from hs_drill.engine._meter import Meter
from hs_drill.engine._primary_reads import Acknowledged
from hs_drill.engine._server_names import names_of_servers
from hs_drill.engine._setup import TIMEOUT, PrimaryClients, Setup, WarningBuffer
from hs_drill.engine._sql_client import SqlClient
from hs_drill.engine._sql_statements import Layout, Statement
from hs_drill.scenario import parse_scenario
from hs_drill.store import Operation
from trio_hs.testing import EmbeddedServer, Table, network, open_server

TABLE = Table("drill", "t", {"id": "BIGINT NOT NULL"}, primary_key=["id"])
NAMES = ("writer", "reader-1", "reader-2")
SCENARIO = "name: x\ntable: {rows: 100}\nmix: {insert: 1}\n"


def server(name: str, *, host: str = "", write_port: int = 9999, sql_port: int | None = 3306) -> Server:
    return Server(name, host or name, 9998, write_port, "", "", sql_port=sql_port)


def cluster(*servers: Server, followers: Sequence[str] = ()) -> Cluster:
    return Cluster("external", "", "", servers, followers=tuple(followers))


def setup(described: Cluster, text: str = SCENARIO) -> Setup:
    scenario = parse_scenario(text, "x").model_dump(mode="json")
    return Setup({"cluster": described.to_dict(), "scenario": scenario, "worker": 0, "each": False}, WarningBuffer())


class Run:
    """A client that inserts rows, and the servers."""

    def __init__(
        self,
        hs: trio_hs.Manager,
        meter: Meter,
        servers: dict[str, EmbeddedServer],
        primary: PrimaryClients | None,
        rows: Binding,
    ) -> None:
        self.meter, self.servers, self.primary = meter, servers, primary
        self._binding = rows
        self._rows = hs.table("drill", "t", ["id"])
        self._next = 0

    async def insert(self) -> str:
        """Insert a row, and return the name of the server that took it."""
        self._next += 1
        before = {name: one.log.position for name, one in self.servers.items()}
        await self._rows.insert([self._next])
        changed = [name for name, one in self.servers.items() if one.log.position != before[name]]
        (took,) = [name for name in changed if not self.servers[name].replica.following]
        return took

    async def read(self) -> str:
        """Read from the primary, and return the name of the server that was asked."""
        assert self.primary is not None

        def bind(binding: Binding) -> BoundOperation:
            return BoundOperation(lambda number, _: binding.table(["id"]).get(number), Operation.GET)

        before = {name: one.statistics().requests for name, one in self.servers.items()}
        await self.primary.reads.bound(self._binding, bind).call(1, Intent())
        (asked,) = [name for name, one in self.servers.items() if one.statistics().requests != before[name]]
        return asked

    def answered(self) -> set[str]:
        """The servers of which the history says that they answered writes, since the last time."""
        return {name for name, *_ in self.meter.take_answered(everything=True)}


@asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch, described: Cluster, text: str = SCENARIO) -> AsyncIterator[Run]:
    """A writer with two replicas, and a client that has written once."""
    async with (
        open_server([TABLE], name="writer") as writer,
        open_server([TABLE], name="reader-1") as one,
        open_server([TABLE], name="reader-2") as other,
    ):
        for replica in (one, other):
            await replica.follow(writer)
        monkeypatch.setattr(_meter, "connect_transport", network(writer, one, other))
        engine = setup(described, text)
        meter = Meter(engine.names, engine.write_addresses, engine.acknowledged())
        async with engine.open_client(meter) as hs, engine.open_primary_clients(meter) as primary:
            assert isinstance(hs, trio_hs.Manager)
            rows = Binding(hs.table, engine.scenario, engine.rows, None)
            run = Run(hs, meter, dict(zip(NAMES, (writer, one, other), strict=True)), primary, rows)
            assert await run.insert() == "writer"
            await trio.sleep(1)
            run.answered()  # also of setting up the connections
            yield run


ALL = cluster(*map(server, NAMES), followers=NAMES[1:])


async def test_writes_go_to_the_promoted_reader_and_the_history_names_it(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with running(monkeypatch, ALL) as run:
        run.servers["writer"].crash()
        with pytest.raises(trio_hs.ReadOnlyError):
            await run.insert()
        run.answered()  # of opening the table
        with pytest.raises(trio_hs.ReadOnlyError):
            await run.insert()
        assert run.answered() == set(), "a refusal is no write"
        run.servers["reader-2"].promote()
        await trio.sleep(2)
        assert await run.insert() == "reader-2"
        assert run.answered() == {"reader-2"}


async def test_a_former_primary_gets_writes_again_only_if_it_takes_them(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """It is the client's first choice. So one that nobody has fenced splits the cluster."""
    async with running(monkeypatch, ALL) as run:
        writer, promoted, _ = run.servers.values()
        writer.crash()
        promoted.promote()
        assert await run.insert() == "reader-1"
        await writer.follow(promoted)
        writer.restart()
        await trio.sleep(5)  # the client has connected
        assert await run.insert() == "reader-1"
        run.answered()  # of opening the table
        for _ in range(3):
            await trio.sleep(5)  # it asks the former primary again
            assert await run.insert() == "reader-1"
        assert run.answered() == {"reader-1"}

        writer.promote()  # while the other one is the primary, too
        await trio.sleep(5)
        assert await run.insert() == "writer"
        assert run.answered() == {"writer"}


READING = "name: x\ntable: {rows: 100}\nmix: {insert: 1, get: {from: primary, weight: 1}}\n"


async def test_reads_of_the_primary_go_where_the_last_write_was_acknowledged(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Not to a former primary, although it answers, nor to a replica that clients ask whether it takes writes."""
    async with running(monkeypatch, ALL, READING) as run:
        writer, promoted, _ = run.servers.values()
        assert await run.read() == "writer"
        writer.faults.stall(reads=False)
        for _ in range(2):
            with pytest.raises(trio_hs.HandlerSocketError):
                await run.insert()
        assert run.answered() == {"reader-1", "reader-2"}, "they were asked, and opened the table"
        assert await run.read() == "writer"
        promoted.promote()
        await trio.sleep(2)
        assert await run.insert() == "reader-1"
        assert await run.read() == "reader-1"
        writer.faults.resume()
        await trio.sleep(5)
        assert await run.insert() == "writer", "nobody has fenced it"
        assert await run.read() == "writer"


async def test_without_such_reads_nothing_is_opened_for_them(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with running(monkeypatch, ALL) as run:
        assert run.primary is None
        assert run.meter.acknowledged is None


@pytest.mark.parametrize("sql_port", [3306, None])
async def test_writes_leave_a_silent_primary_only_if_every_follower_was_proven_read_only(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, sql_port: int | None
) -> None:
    described = cluster(server("writer"), server("reader-1"), server("reader-2", sql_port=sql_port), followers=NAMES[1:])
    async with running(monkeypatch, described) as run:
        run.servers["writer"].faults.stall()
        run.servers["reader-1"].promote()
        with pytest.raises(trio_hs.ConnectionError) as doubt:
            await run.insert()
        assert doubt.value.maybe_applied
        if sql_port is not None:
            assert await run.insert() == "reader-1"
            return
        with pytest.raises(trio_hs.ConnectionError, match="not asked, because no refusal came: reader-1:9999, reader-2:9999"):
            await run.insert()
        assert run.answered() == set()


async def test_a_server_that_is_no_follower_gets_no_write(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    """Although it takes writes: it has no port for them in the scenario, or is refused for another reason."""
    described = cluster(server("writer"), server("reader-1", write_port=0), server("reader-2"))
    async with running(monkeypatch, described) as run:
        for reader in ("reader-1", "reader-2"):
            run.servers[reader].promote()
        before = [one.log.position for one in run.servers.values()]
        run.servers["writer"].crash()
        for _ in range(3):
            with pytest.raises(trio_hs.ConnectionError):
                await run.insert()
            await trio.sleep(TIMEOUT)
        assert [one.log.position for one in run.servers.values()] == before
        assert run.answered() == set()


def test_only_the_followers_are_further_writers_whatever_the_faults_promote() -> None:
    servers = (server("writer"), server("standby"), server("reader-1", write_port=0))
    faults = "faults: [{fault: promote, target: reader-1, at: 1s}]\n"
    followed = setup(cluster(*servers, followers=["standby"]))
    assert followed.write_addresses == ["writer:9999", "standby:9999"]
    assert setup(cluster(*servers)).write_addresses == ["writer:9999"]
    own = Cluster("mariadb", "", "", (server("writer"), server("standby"), server("reader-1"), server("reader-2")))
    assert setup(own, SCENARIO + faults).write_addresses == ["writer:9999", "standby:9999", "reader-1:9999"]


def test_a_server_under_several_names_takes_writes_by_the_first_one() -> None:
    """So the history does not say that a reader answered what the writer did."""
    servers = (
        server("reader-1", host="a"),
        server("standby", host="b"),
        server("reader-2", host="b"),
        server("writer", host="a"),
    )
    assert names_of_servers(cluster(*servers)) == {
        "a:9999": "writer",
        "b:9999": "standby",
        "a:9998": "reader-1",
        "b:9998": "reader-2",
    }


def test_followers_survive_serialization() -> None:
    again = Cluster.from_dict(ALL.to_dict() | {"followers": list(ALL.followers)})
    assert again == ALL
    assert ALL.followers_proven
    assert not cluster(*map(server, NAMES)).followers_proven, "there are none"
    other = server("reader-3", sql_port=None)
    assert cluster(*ALL.servers, other, followers=NAMES[1:]).followers_proven, "no write goes to it"
    old = {key: value for key, value in ALL.to_dict().items() if key != "followers"}
    assert Cluster.from_dict(old).followers == ()


# --- By SQL ----------------------------------------------------------------------------------------------------------

UPDATE = Statement("UPDATE t SET n = 1")


class SqlServers:
    """What each server does with a write: take it, or raise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.raises: dict[str, Exception | None] = dict.fromkeys(NAMES)
        self.asked: list[str] = []
        self.answered: list[str] = []

        async def execute(pool: Any, *args: object, **options: object) -> tuple[list[Any], int]:
            await trio.lowlevel.checkpoint()
            self.asked.append(pool.name)
            if (error := self.raises[pool.name]) is not None:
                raise error
            return [], 1

        monkeypatch.setattr(_sql_client._Pool, "execute", execute)
        answered = {name: partial(self._note, name) for name in NAMES}
        servers = [server(name) for name in NAMES]
        self._client = SqlClient(servers[1:], servers, 1, Layout(["id"]), answered)

    def _note(self, name: str, when: int) -> None:
        self.answered.append(name)

    def refuse(self, *names: str) -> None:
        self.raises |= {name: trio_hs.ReadOnlyError(1290, "by SQL", name) for name in names}

    def lose(self, name: str, *, maybe_applied: bool) -> None:
        self.raises[name] = trio_hs.ConnectionError(f"{name} is gone", maybe_applied=maybe_applied, server=name)

    async def write(self) -> list[str]:
        """The servers that were asked, in order."""
        self.asked.clear()
        await self._client.write(UPDATE, [])
        return list(self.asked)


async def test_by_sql_writes_stay_with_the_promoted_server(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = SqlServers(monkeypatch)
    servers.refuse("reader-1", "reader-2")
    assert await servers.write() == ["writer"]
    servers.lose("writer", maybe_applied=False)
    with pytest.raises(trio_hs.ConnectionError, match="writer is gone"):  # it explains more than the others' refusals
        await servers.write()
    assert servers.asked == list(NAMES)
    servers.raises["reader-2"] = None
    assert (await servers.write())[-1] == "reader-2"
    assert await servers.write() == ["reader-2"]
    servers.refuse("writer")  # it comes back
    assert await servers.write() == ["reader-2"]
    servers.raises["writer"] = None  # nobody has fenced it, but the promoted one still takes writes
    assert await servers.write() == ["reader-2"]
    servers.refuse("reader-2")
    assert (await servers.write())[-1] == "writer"
    assert servers.answered == ["writer", *["reader-2"] * 4, "writer"]


async def test_by_sql_the_server_that_acknowledged_the_last_write_is_noted() -> None:
    meter = Meter({}, (), Acknowledged("writer"))
    meter.note_acknowledged("reader-1")(7)
    assert meter.acknowledged == Acknowledged("reader-1")
    assert list(meter.take_answered(everything=True)) == [("reader-1", 7, 7)]


async def test_by_sql_reads_of_the_primary_go_where_the_last_write_was_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = SqlServers(monkeypatch)
    engine = setup(ALL, READING + "driver: sql\n")
    meter = Meter(engine.names, engine.write_addresses, engine.acknowledged())
    async with engine.open_client(meter) as client, engine.open_primary_clients(meter) as primary:
        assert isinstance(client, SqlClient)
        assert primary is not None
        read = primary.reads.bound(
            Binding(client.table, engine.scenario, engine.rows, None),
            lambda binding: BoundOperation(lambda number, _: binding.table(["id"]).get(number), Operation.GET),
        )
        for refusing in (("reader-1", "reader-2"), ("writer", "reader-1")):
            servers.raises = dict.fromkeys(NAMES)
            servers.refuse(*refusing)
            await client.write(UPDATE, [])
            servers.raises = dict.fromkeys(NAMES)
            servers.asked.clear()
            await read.call(1, Intent())
            assert set(servers.asked) == set(NAMES).difference(refusing)


async def test_by_sql_a_write_that_may_have_been_applied_is_sent_to_no_other_server(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = SqlServers(monkeypatch)
    servers.lose("writer", maybe_applied=True)
    with pytest.raises(trio_hs.ConnectionError):
        await servers.write()
    assert servers.asked == ["writer"]
    assert servers.answered == []
    assert await servers.write() == ["reader-1"]


async def test_by_sql_many_writes_at_once_find_the_promoted_server(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = SqlServers(monkeypatch)
    servers.refuse("writer", "reader-1")
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(servers.write)
    assert servers.answered == ["reader-2"] * 20
    assert await servers.write() == ["reader-2"]
