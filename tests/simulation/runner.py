"""One run: draws a world from a seed, lets faults strike, heals, and judges. The same seed gives the same run, step by step."""

from __future__ import annotations

import contextlib
import logging
import random
import traceback
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import trio
import trio._core._run
import trio.testing

import trio_hs
from trio_hs import Instrument, open_manager, open_read_socket, open_write_socket
from trio_hs._network import Pool, _pool
from trio_hs.testing import network, open_server

from . import invariants
from .cluster import SimulatedCluster
from .faults import SimulatedNemesis
from .model import Model
from .network import Network
from .topology import TABLES, Topology, draw_topology
from .workload import Clients, SimulatedTask

COUNTERS = 5
#: Virtual seconds after which a run is stuck.
LONGEST_RUN = 3600.0


@dataclass(frozen=True)
class Result:
    """The result of a run. ``log`` has one line per event."""

    seed: str
    violations: tuple[str, ...]
    log: tuple[str, ...]


@contextmanager
def deterministic(seed: str) -> Iterator[None]:
    """Within the block, the seed determines the order in which trio runs tasks, the client's jitter, and how it chooses
    connections: among few, or as among many."""
    before = random.getstate()
    scheduling = trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio._core._run._r.seed(f"{seed}/trio")
    random.seed(f"{seed}/client")
    few, _pool.FEW = _pool.FEW, random.Random(f"{seed}/few").choice((1, _pool.FEW))
    try:
        yield
    finally:
        _pool.FEW = few
        random.setstate(before)
        trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = scheduling  # type: ignore[misc]


class _Recorder(Instrument):
    """Writes the client's own events into the log, and judges why connections end, and whether each start has its end."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.open: set[object] = set()
        self.pools = 0

    def pool_opened(self, pool: trio_hs.ConnectionPool) -> None:
        self.pools += 1

    def pool_closed(self, pool: trio_hs.ConnectionPool) -> None:
        self.pools -= 1
        if self.open and not self.pools:
            self.run.model.violated(f"instruments were not told how {len(self.open)} calls and requests ended")

    def _begin(self, *details: object) -> object:
        context = (*details, object())
        self.open.add(context)
        return context

    def call_started(self, call: trio_hs.Call) -> object:
        return self._begin(call)

    def call_ended(self, call: trio_hs.Call, outcome: trio_hs.Outcome, context: object) -> None:
        self.open.remove(context)

    def request_started(self, call: trio_hs.Call, server: str, lines: int, context: object) -> object:
        return self._begin(call, server)

    def request_ended(self, call: trio_hs.Call, lines: int, outcome: trio_hs.Outcome, context: object) -> None:
        self.open.remove(context)

    def connection_up(self, server: str) -> None:
        self.run.note("up", server)

    def connection_down(self, server: str, reason: BaseException) -> None:
        self.run.note("down", server, reason)
        if not isinstance(reason, OSError):
            self.run.model.violated(f"the connection to {server} ended for {reason!r}")

    def failover(self, servers: tuple[str, ...]) -> None:
        self.run.note("serving", *servers)

    def retry(self, operation: str, table: str, attempt: int, error: trio_hs.HandlerSocketError) -> None:
        self.run.note("retry", operation, table, attempt, error)


class Run:
    """See :func:`run`."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.topology: Topology = draw_topology(self.rng("topology"))
        self.model = Model(COUNTERS)
        self.events: list[tuple[float, tuple[Any, ...]]] = []

    def rng(self, purpose: str) -> random.Random:
        """A separate random stream for each purpose, so that a change to one does not affect the others."""
        return random.Random(f"{self.seed}/{purpose}")

    def note(self, *event: Any) -> None:
        self.events.append((trio.current_time(), event))

    async def main(self) -> None:
        self.note("topology", self.topology)
        with trio.move_on_after(LONGEST_RUN) as scope:
            async with AsyncExitStack() as stack:
                cluster = await self.open_cluster(stack)
                streams = Network(network(*cluster.servers.values()), self.topology.narrow, self.rng("network"))
                try:
                    await self.play(cluster, streams)
                finally:
                    invariants.check_closed(streams, self.model)
        if scope.cancelled_caught:
            self.model.violated(f"the run did not end within {LONGEST_RUN:g} virtual seconds")

    async def open_cluster(self, stack: AsyncExitStack) -> SimulatedCluster:
        topology = self.topology
        servers = {
            name: await stack.enter_async_context(
                open_server(
                    TABLES,
                    name=name,
                    read_secret=topology.secret,
                    write_secret=topology.secret,
                    idle_timeout=topology.idle_timeout,
                    rng=self.rng(f"server {name}"),
                )
            )
            for name in topology.servers
        }
        for server in servers.values():
            server.faults.delay(*topology.latency)
        return SimulatedCluster(servers, topology, self.model)

    async def play(self, cluster: SimulatedCluster, streams: Network) -> None:
        topology, model = self.topology, self.model
        async with AsyncExitStack() as stack:
            clients, pools = await self.open_clients(stack, cluster, streams)
            nemesis = SimulatedNemesis(cluster, streams, topology, self.rng("faults"), self.note)
            async with trio.open_nursery() as nursery:
                callers = [
                    SimulatedTask(number, clients, model, topology, self.rng(f"caller {number}"), self.note, nursery)
                    for number in range(topology.tasks)
                ]
                await cluster.start()
                for caller in callers:
                    nursery.start_soon(caller.run)
                if not topology.calm:
                    nursery.start_soon(nemesis.run)
                if topology.flood:
                    nursery.start_soon(self.flood, cluster, callers)
            self.note("healing")
            streams.unreachable.clear()
            await cluster.heal()
            await trio.sleep(invariants.settling_seconds(topology))
            await self.judge(clients, pools, cluster)

    async def flood(self, cluster: SimulatedCluster, callers: list[SimulatedTask]) -> None:
        await trio.sleep(self.rng("flood").choice((0.0, self.topology.fault_seconds / 2)))
        faults = cluster.servers[self.topology.reader_groups[0][0]].faults
        faults.stall(writes=False)
        async with trio.open_nursery() as nursery:
            for caller in callers:
                nursery.start_soon(caller.flood)
            await trio.sleep(self.topology.timeout / 4)
            faults.resume()

    async def open_clients(
        self, stack: AsyncExitStack, cluster: SimulatedCluster, streams: Network
    ) -> tuple[Clients, list[Pool]]:
        """The pools come in pairs: for reads, for writes."""
        topology = self.topology
        read_servers = [[cluster.servers[name].read_address for name in group] for group in topology.reader_groups]
        write_servers = [[cluster.servers[name].write_address for name in group] for group in topology.writer_groups]
        common: dict[str, Any] = {
            "timeout": topology.timeout,
            "connections": topology.connections,
            "connect": streams.connect,
            "instruments": [_Recorder(self)] if topology.instrumented else [],
        }
        manager = await stack.enter_async_context(
            open_manager(
                read_servers,
                write_servers,
                read_secret=topology.secret,
                write_secret=topology.secret,
                retry=topology.retry,
                move_writes_on_silence=topology.moves_on_silence,
                **common,
            )
        )
        clients = Clients(manager, None, None)
        pools = [manager._dispatcher.reader, manager._dispatcher.writer]
        if topology.low_level:
            clients.reader = await stack.enter_async_context(open_read_socket(read_servers, topology.secret, **common))
            clients.writer = await stack.enter_async_context(
                open_write_socket(write_servers, topology.secret, move_writes_on_silence=topology.moves_on_silence, **common)
            )
            pools += [clients.reader._pool, clients.writer._pool]
        for number, pool in enumerate(pools):
            pool.random = self.rng(f"pool {number}")
        return clients, pools

    async def until_losers_are_answered(self, pools: list[Pool]) -> None:
        """Wait for the dropped answers of the last hedged reads. Over narrow streams they take a few seconds."""
        if self.topology.retry.hedge_after is not None:
            with trio.move_on_after(10.0):
                while any(  # noqa: ASYNC110  (there is no event for it)
                    statistics.outstanding for pool in pools for statistics in pool.statistics()
                ):
                    await trio.sleep(0.05)

    async def judge(self, clients: Clients, pools: list[Pool], cluster: SimulatedCluster) -> None:
        topology, model = self.topology, self.model
        self.note("judging")
        await invariants.check_in_step(cluster, model)
        invariants.check_survivors(cluster, model)
        await invariants.check_recovered(clients, cluster, topology, model)
        await trio.sleep(0.5)
        await self.until_losers_are_answered(pools)
        invariants.check_survivors(cluster, model)
        for number, pool in enumerate(pools):
            invariants.check_pool(pool, topology, cluster, model, writes=number % 2 == 1)
        invariants.check_back_pressure(list(cluster.servers.values()), model)


def run(seed: str) -> Result:
    """Plays one run from beginning to end. Raises nothing: every error is among the violations."""
    simulation = Run(seed)
    with deterministic(seed), _quiet():
        try:
            trio.run(simulation.main, clock=trio.testing.MockClock(autojump_threshold=0))
        except Exception:
            simulation.model.violated(f"the program died:\n{traceback.format_exc()}")
    log = tuple(f"{when:10.6f} {' '.join(map(str, event))}" for when, event in simulation.events)
    return Result(seed, tuple(simulation.model.violations), log)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the client's log within the block: thousands of servers fail in it."""
    logger = logging.getLogger("trio_hs")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
