"""The nemesis: strikes servers and network with faults, each for a random time. All end before the run is judged."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import trio

from trio_hs.testing import EmbeddedServer

from .cluster import SimulatedCluster
from .network import Network
from .topology import Topology

Fault = Callable[["SimulatedNemesis", EmbeddedServer], Awaitable[None]]


class SimulatedNemesis:
    """Strikes at random for the topology's `fault_seconds`, sometimes with several faults at once."""

    def __init__(
        self, cluster: SimulatedCluster, network: Network, topology: Topology, rng: random.Random, log: Callable[..., None]
    ) -> None:
        self.cluster = cluster
        self.network = network
        self.topology = topology
        self.rng = rng
        self.log = log

    async def run(self) -> None:
        """Returns when the last fault has ended."""
        ends = trio.current_time() + self.topology.fault_seconds
        async with trio.open_nursery() as nursery:
            while True:
                pause = self.rng.expovariate(2.0)
                if trio.current_time() + pause >= ends:
                    return
                await trio.sleep(pause)
                name, fault = self.rng.choice(FAULTS)
                victim = self.rng.choice(list(self.cluster.servers.values()))
                if self.rng.random() < 0.4:
                    victim = self.cluster.primary
                if self.topology.open_standbys and self.displaces(fault, victim):
                    continue
                self.log("fault", name, victim.name)
                nursery.start_soon(fault, self, victim)

    def displaces(self, fault: Fault, victim: EmbeddedServer) -> bool:
        """Whether the fault makes the primary refuse connections or writes, so that a client may turn to a standby."""
        if fault in (SimulatedNemesis.refuse, SimulatedNemesis.crash):
            return victim is self.cluster.primary
        return fault in (SimulatedNemesis.read_only, SimulatedNemesis.fail_over, SimulatedNemesis.switch_over)

    async def some_time(self) -> None:
        """Sometimes less than the client's timeout, sometimes more."""
        await trio.sleep(self.rng.choice((0.01, 0.2, 1.0, 2.5)) * self.rng.uniform(0.5, 1.0))

    # ---- the network

    async def refuse(self, server: EmbeddedServer) -> None:
        server.faults.refuse()
        await self.some_time()
        server.faults.accept()

    async def unreachable(self, server: EmbeddedServer) -> None:
        self.network.unreachable.add(server.name)
        if self.rng.random() < 0.5:
            server.faults.reset_connections()
        await self.some_time()
        self.network.unreachable.discard(server.name)

    async def reset(self, server: EmbeddedServer) -> None:
        server.faults.reset_connections()

    async def drop(self, server: EmbeddedServer) -> None:
        server.faults.drop_answers(self.rng.randint(1, 3), silent=self.rng.random() < 0.3)

    async def cut(self, server: EmbeddedServer) -> None:
        server.faults.cut_answers(self.rng.randint(1, 3))

    async def delay(self, server: EmbeddedServer) -> None:
        most = self.rng.choice((0.01, 0.2, 0.9, 1.5)) * self.topology.timeout
        server.faults.delay(self.rng.uniform(0, most), most)
        await self.some_time()
        server.faults.delay(*self.topology.latency)

    # ---- the server

    async def stall(self, server: EmbeddedServer) -> None:
        listeners = self.rng.choice(((True, True), (True, False), (False, True)))
        server.faults.stall(reads=listeners[0], writes=listeners[1])
        await self.some_time()
        server.faults.resume()

    async def crash(self, server: EmbeddedServer) -> None:
        """A crash and a restart. A primary sometimes loses what no replica has."""
        if server is not self.cluster.primary:
            self.cluster.crash(server)
            await self.some_time()
            await self.restart(server)
            return
        async with self.cluster.changing:
            server = self.cluster.primary
            self.cluster.crash(server, lossy=self.rng.random() < 0.4)
            await self.some_time()
            await self.cluster.restart(server)
            for replica in self.cluster.replicas:
                if replica.running:
                    await self.cluster.follow(replica, rebuild=True)

    async def restart(self, server: EmbeddedServer) -> None:
        # If it is a primary that is just being replaced, it must not come back before its successor is promoted.
        async with self.cluster.changing:
            await self.cluster.restart(server)

    async def read_only(self, _server: EmbeddedServer) -> None:
        async with self.cluster.changing:
            server = self.cluster.primary
            server.database.read_only = True
            await self.some_time()
            server.database.read_only = False

    # ---- replication

    async def lag(self, server: EmbeddedServer) -> None:
        most = self.rng.choice((0.05, 0.5, 2.0))
        server.replica.transfer = self.rng.uniform(0, most / 2)
        server.replica.lag = (lambda: self.rng.uniform(0, most)) if self.rng.random() < 0.5 else most
        await self.some_time()
        server.replica.transfer = server.replica.lag = 0.0

    async def pause(self, server: EmbeddedServer) -> None:
        server.replica.paused = True
        await self.some_time()
        server.replica.paused = False

    async def fail_over(self, _server: EmbeddedServer) -> None:
        """The primary dies, the best standby takes its place, and the dead one comes back as a replica."""
        async with self.cluster.changing:
            old = self.cluster.primary
            self.cluster.crash(old)
            await self.some_time()
            best = self.cluster.best_standby()
            if best is not None:
                await self.cluster.promote(best)
                self.log("promoted", best.name)
        await self.some_time()
        await self.restart(old)

    async def switch_over(self, _server: EmbeddedServer) -> None:
        async with self.cluster.changing:
            if await self.cluster.switch_over(patience=1.0):
                self.log("promoted", self.cluster.primary.name)


FAULTS: list[tuple[str, Fault]] = [
    ("refuse", SimulatedNemesis.refuse),
    ("unreachable", SimulatedNemesis.unreachable),
    ("reset", SimulatedNemesis.reset),
    ("reset", SimulatedNemesis.reset),
    ("drop", SimulatedNemesis.drop),
    ("drop", SimulatedNemesis.drop),
    ("cut", SimulatedNemesis.cut),
    ("delay", SimulatedNemesis.delay),
    ("stall", SimulatedNemesis.stall),
    ("crash", SimulatedNemesis.crash),
    ("read_only", SimulatedNemesis.read_only),
    ("lag", SimulatedNemesis.lag),
    ("pause", SimulatedNemesis.pause),
    ("fail_over", SimulatedNemesis.fail_over),
    ("switch_over", SimulatedNemesis.switch_over),
]
