"""Clients behind a router: they know nothing else. Embedded servers in memory, virtual time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

import trio_hs
from hs_drill._cluster import Cluster, Server
from hs_drill.engine import _meter, _sql_client
from hs_drill.engine._meter import Meter
from hs_drill.engine._setup import Setup, WarningBuffer, reads_primary
from hs_drill.engine._sql_client import SqlClient
from hs_drill.engine._sql_statements import Layout
from hs_drill.scenario import parse_scenario
from trio_hs import Transport
from trio_hs.testing import EmbeddedServer, Table, network, open_server

TABLE = Table("drill", "t", {"id": "BIGINT NOT NULL"}, primary_key=["id"])
SERVERS = tuple(Server(name, name, 9998, 9999, "", "", sql_port=3306) for name in ("writer", "standby", "reader-1"))
ROUTER = Server("router", "ha", 98, 99, "", "", sql_port=33)
ROUTED = Cluster("external", "", "", SERVERS, followers=("standby",), router=ROUTER)


def setup(described: Cluster = ROUTED, driver: str = "handlersocket") -> Setup:
    text = f"name: x\ntable: {{rows: 100}}\nmix: {{get: 1, insert: 1}}\ndriver: {driver}\n"
    scenario = parse_scenario(text, "x").model_dump(mode="json")
    return Setup({"cluster": described.to_dict(), "scenario": scenario, "worker": 0, "each": False}, WarningBuffer())


class Router:
    """Passes connections on to one of several servers in memory."""

    def __init__(self, *servers: EmbeddedServer) -> None:
        self.leads_to = servers[0].name
        self.asked: set[str] = set()
        self._connect = network(*servers)

    async def connect(self, address: trio_hs.Server) -> Transport:
        self.asked.add(str(address))
        assert address.host == "ha"
        return await self._connect(trio_hs.Server("inet", self.leads_to, {98: 9998, 99: 9999}[int(address.port or 0)]))


async def test_clients_read_and_write_through_the_router_and_the_history_names_no_server(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with open_server([TABLE], name="writer") as writer, open_server([TABLE], name="standby") as standby:
        await standby.follow(writer)
        router = Router(writer, standby)
        monkeypatch.setattr(_meter, "connect_transport", router.connect)
        engine = setup()
        meter = Meter(engine.names, engine.write_addresses)
        async with engine.open_client(meter) as hs:
            assert isinstance(hs, trio_hs.Manager)
            rows = hs.table("drill", "t", ["id"])
            await rows.insert([1])
            assert await rows.get(1) == [("id", "1")]
            writer.crash()
            standby.promote()
            router.leads_to = "standby"
            await trio.sleep(5)
            await rows.insert([2])
            assert await rows.get(2) == [("id", "2")]
        assert router.asked == {"ha:98", "ha:99"}
        assert list(meter.take_answered(everything=True)) == [], "nobody but the router knows which server answered"
        assert set(meter.take()) == {"router"}
    assert engine.names == {"ha:98": "router", "ha:99": "router"}


async def test_by_sql_the_router_is_the_only_address(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[SqlClient] = []

    def client(*given: object) -> SqlClient:
        readers, writers, _, layout, answered, _ = given
        assert (readers, writers, answered) == ([ROUTER], [ROUTER], {})
        assert isinstance(layout, Layout)
        found.append(SqlClient([ROUTER], [ROUTER], 1, layout))
        return found[-1]

    monkeypatch.setattr(_sql_client, "SqlClient", client)
    engine = setup(driver="sql")
    async with engine.open_client(Meter(engine.names, engine.write_addresses)):
        assert found


def test_whether_reads_come_from_the_primary_is_not_known() -> None:
    alone = Cluster("external", "", "", (SERVERS[0], replace(SERVERS[0], name="reader-1")), aliases=("reader-1",))
    assert reads_primary(alone)
    assert not reads_primary(replace(alone, router=ROUTER))
