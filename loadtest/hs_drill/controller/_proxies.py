"""The proxies of a test: one before every listener, if a fault of the scenario is in the network."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from hs_drill._cluster import Cluster
from hs_drill.nemesis import Proxies
from hs_drill.proxy import Proxy, open_proxy
from hs_drill.scenario import NetworkFault, Scenario

__all__ = ["client_view", "open_proxies"]


@asynccontextmanager
async def open_proxies(cluster: Cluster, scenario: Scenario) -> AsyncIterator[Proxies]:
    """A proxy before every listener for the block; none unless the scenario has network faults."""
    async with AsyncExitStack() as stack:
        proxies: dict[tuple[str, str], Proxy] = {}
        if any(isinstance(fault, NetworkFault) for fault in scenario.faults):
            for server in cluster.servers:
                for listener, port, _ in server.listeners:
                    rng = random.Random(f"{scenario.seed}/{server.name}/{listener}")
                    proxy = await stack.enter_async_context(open_proxy(server.host, port, rng=rng))
                    proxies[(server.name, listener)] = proxy
        yield proxies


def client_view(cluster: Cluster, proxies: Proxies) -> Cluster:
    """The cluster as clients see it: behind the proxies, if there are any."""
    servers = tuple(
        replace(
            server,
            host=proxies[(server.name, "read")].host,
            read_port=proxies[(server.name, "read")].port,
            write_port=proxies[(server.name, "write")].port if (server.name, "write") in proxies else 0,
        )
        if (server.name, "read") in proxies
        else server
        for server in cluster.servers
    )
    return replace(cluster, servers=servers)
