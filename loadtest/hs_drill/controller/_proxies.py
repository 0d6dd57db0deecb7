"""The proxies of a test, if a fault of the scenario is in the network: one before every port that the load uses.

With `driver: sql` that is each server's SQL port, and otherwise its HandlerSocket listeners; if there is a router, those of the
router alone. The controller's own connections never pass a proxy.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

from hs_drill._cluster import Cluster, Server
from hs_drill.nemesis import Proxies
from hs_drill.proxy import Proxy, open_proxy
from hs_drill.scenario import NetworkFault, Scenario

__all__ = ["client_view", "open_proxies"]


@asynccontextmanager
async def open_proxies(cluster: Cluster, scenario: Scenario) -> AsyncIterator[Proxies]:
    """The proxies for the block; none unless the scenario has network faults."""
    by_sql = scenario.driver.name == "sql"
    async with AsyncExitStack() as stack:
        proxies: dict[tuple[str, str], Proxy] = {}
        if any(isinstance(fault, NetworkFault) for fault in scenario.faults):
            for server in cluster.servers if cluster.router is None else (cluster.router,):
                for name, port in _ports(server, by_sql=by_sql):
                    rng = random.Random(f"{scenario.seed}/{server.name}/{name}")
                    proxy = await stack.enter_async_context(open_proxy(server.host, port, rng=rng, sql=by_sql))
                    proxies[(server.name, name)] = proxy
        yield proxies


def _ports(server: Server, *, by_sql: bool) -> Iterable[tuple[str, int]]:
    """The names and ports of what the load uses. By SQL every server has its port: `require_load_account` has seen to that, and
    the scenario's checks to the router's."""
    if not by_sql:
        return [(listener, port) for listener, port, _ in server.listeners]
    assert server.sql_port is not None
    return [("sql", server.sql_port)]


def client_view(cluster: Cluster, proxies: Proxies) -> Cluster:
    """The cluster as clients see it: behind the proxies, if there are any."""
    router = cluster.router and _seen(cluster.router, proxies)
    return replace(cluster, servers=tuple(_seen(server, proxies) for server in cluster.servers), router=router)


def _seen(server: Server, proxies: Proxies) -> Server:
    ports = {name: proxy for (of, name), proxy in proxies.items() if of == server.name}
    if not ports:
        return server
    (host, *_) = (proxy.host for proxy in ports.values())
    changed: dict[str, Any] = {f"{name}_port": proxy.port for name, proxy in ports.items()}
    return replace(server, host=host, **changed)
