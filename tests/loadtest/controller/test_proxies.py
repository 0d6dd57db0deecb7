"""Which ports of a scenario's servers get proxies, and what clients see of the servers then."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from hs_drill._cluster import Cluster, Server
from hs_drill.controller._proxies import client_view, open_proxies
from hs_drill.engine._setup import reads_primary
from hs_drill.nemesis import Strike
from hs_drill.nemesis._network import network_steps
from hs_drill.scenario import NetworkFault, Scenario, targets_of

LATENCY = {"fault": "latency", "target": "writer", "at": 1, "delay": 0.1}


def scenario(driver: str, *faults: dict[str, object]) -> Scenario:
    return Scenario.model_validate({"name": "x", "mix": {"get": 1}, "driver": driver, "faults": list(faults)})


def cluster(*hosts: str) -> Cluster:
    names = ("writer", "reader-1")
    servers = [Server(name, host, 1, 2, "r", "w", sql_port=3306) for name, host in zip(names, hosts, strict=True)]
    return Cluster("external", "", "", tuple(servers))


async def test_by_sql_the_sql_ports_have_proxies_and_otherwise_handlersockets() -> None:
    own = cluster("192.0.2.1", "192.0.2.2")
    async with open_proxies(own, scenario("sql", LATENCY)) as proxies:
        assert {*proxies} == {("writer", "sql"), ("reader-1", "sql")}
        assert "to 192.0.2.2:3306, undisturbed" in repr(proxies["reader-1", "sql"])
        for server in client_view(own, proxies).servers:
            assert (server.host, server.sql_port) == ("127.0.0.1", proxies[server.name, "sql"].port)
    async with open_proxies(own, scenario("handlersocket", LATENCY)) as proxies:
        assert {*proxies} == {(name, listener) for name in ("writer", "reader-1") for listener in ("read", "write")}
        for server in client_view(own, proxies).servers:
            ports = proxies[server.name, "read"].port, proxies[server.name, "write"].port
            assert (server.host, server.read_port, server.write_port) == ("127.0.0.1", *ports)


@pytest.mark.parametrize("driver, ports", [("sql", {"sql"}), ("handlersocket", {"read", "write"})])
async def test_of_servers_behind_a_router_only_that_has_proxies(driver: str, ports: set[str]) -> None:
    own = replace(cluster("192.0.2.1", "192.0.2.2"), router=Server("router", "192.0.2.3", 8, 9, "r", "w", sql_port=33))
    given = {"kind": "external", "router": {"host": "192.0.2.3", "read_port": 8, "write_port": 9, "sql_port": 33}}
    fault = {**LATENCY, "target": "router"}
    routed = Scenario.model_validate({"name": "x", "mix": {"get": 1}, "driver": driver, "faults": [fault], "cluster": given})
    async with open_proxies(own, routed) as proxies:
        assert {*proxies} == {("router", name) for name in ports}
        seen = Cluster.from_dict(client_view(own, proxies).to_dict())
        assert seen.servers == own.servers
        assert seen.router is not None
        for name in ports:
            assert (seen.router.host, getattr(seen.router, f"{name}_port")) == ("127.0.0.1", proxies["router", name].port)
        (struck,) = targets_of(routed.faults[0], ["writer", "reader-1"], "writer", random.Random(1))
        assert isinstance(routed.faults[0], NetworkFault)
        inject, heal = network_steps(routed.faults[0], proxies, Strike(0, "latency", struck, 0))
        await inject()
        assert all(proxy.statistics().disturbances for proxy in proxies.values())
        assert heal is not None
        await heal()
        assert not any(proxy.statistics().disturbances for proxy in proxies.values())


async def test_without_a_fault_of_the_network_there_is_none() -> None:
    own = cluster("192.0.2.1", "192.0.2.2")
    kill = {"fault": "kill", "target": "reader-1", "at": 1}
    async with open_proxies(own, scenario("sql", kill)) as proxies:
        assert not proxies
        assert client_view(own, proxies) == own


@pytest.mark.parametrize("driver", ["sql", "handlersocket"])
async def test_proxies_do_not_hide_which_names_are_of_one_server(driver: str) -> None:
    """Two servers are not one because proxies put them on one host."""
    own = cluster("192.0.2.1", "192.0.2.2")
    for one_server in (False, True):
        own = replace(own, aliases=("reader-1",) if one_server else ())
        async with open_proxies(own, scenario(driver, LATENCY)) as proxies:
            seen = Cluster.from_dict(client_view(own, proxies).to_dict())
        assert reads_primary(seen) is reads_primary(own) is one_server
