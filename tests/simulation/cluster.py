"""The servers of a run, and a careful operator who restarts and promotes them.

The operator promotes a standby only when the primary is dead or read-only, and chooses the one that has most of its log. Every
other server replicates from the primary. A server with transactions that the primary lacks is rebuilt.

With synchronous replication, writes acknowledged before a promotion may have no second copy until other servers have caught up
with the new primary. No topology promises anything in that time. So the new primary's disk does not fail then, and no standby
that has not caught up is promoted.

Open standbys are not read-only: they acknowledge every write that a client sends them.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from trio_hs.testing import EmbeddedServer, Position
from trio_hs.testing._table import Change

from .model import Model
from .topology import GROUPS, Topology


class SimulatedCluster:
    """
    Attributes:
      primary: the server that takes writes.
      changing: held while the primary is stopped or replaced.
    """

    def __init__(self, servers: Mapping[str, EmbeddedServer], topology: Topology, model: Model) -> None:
        self.servers = servers
        self.primary = servers["w0"]
        self.changing = trio.Lock()
        self._promoted_at = 0  # the number of the last transaction then
        self._topology = topology
        self._model = model
        if topology.open_standbys:
            for server in servers.values():
                self._watch(server)

    def _watch(self, server: EmbeddedServer) -> None:
        """With open standbys no fault makes the primary refuse anything, so no write may reach another server."""
        commit = server._commit

        async def watched(*, logged: bool) -> None:
            if server is not self.primary and server.database.uncommitted:
                self._model.violated(f"{server.name} took a write though {self.primary.name}, its primary, refused none")
            await commit(logged=logged)

        server._commit = watched  # type: ignore[method-assign]

    @property
    def replicas(self) -> list[EmbeddedServer]:
        return [server for server in self.servers.values() if server is not self.primary]

    async def start(self) -> None:
        """Gives every server the same rows and starts replication."""
        rows = [
            Change(("sim", "items"), None, (row.key, row.key % GROUPS, value.encode()))
            for row in self._model.rows.values()
            for value in row.possible
            if value is not None
        ]
        rows += [Change(("sim", "counters"), None, (counter.key, counter.start)) for counter in self._model.counters.values()]
        for server in self.servers.values():
            server.database.apply(rows)
        self.primary.synchronous = self._topology.synchronous
        for server in self.replicas:
            await self.follow(server)

    async def follow(self, server: EmbeddedServer, *, rebuild: bool = False) -> None:
        """Makes a server a replica of the primary."""
        await server.follow(self.primary, rebuild=rebuild)
        server.database.read_only = not self._topology.open_standbys

    def _end(self, server: EmbeddedServer) -> Position:
        """The last transaction that a server has, whether or not its readers see it yet."""
        return server.replica.received if server.replica.waiting else server.log.position

    def _in_lineage(self, server: EmbeddedServer) -> bool:
        """Whether everything that a server has is in the primary's log."""
        return self.primary.log.holds(server.log.position) and self.primary.log.holds(self._end(server))

    def crash(self, server: EmbeddedServer, *, lossy: bool = False) -> None:
        """Kills a server. A primary that crashes with loss (`lossy`) loses what no replica has. Without synchronous replication
        some of that was acknowledged."""
        lose = 0
        if lossy and server is self.primary and server.running:
            copied = max((self._end(r).number for r in self.replicas if self._in_lineage(r)), default=0)
            lose = server.log.position.number - max(copied, self._promoted_at if self._topology.synchronous else 0)
            if lose and not self._topology.synchronous:
                self._model.lose()
        server.crash(lose=lose)

    async def restart(self, server: EmbeddedServer) -> None:
        if not server.running:
            server.restart()
            if server is not self.primary:
                await self.follow(server, rebuild=True)

    def best_standby(self) -> EmbeddedServer | None:
        """The standby that has most of the primary's log; None when none has enough of it."""
        standbys = [self.servers[name] for name in self._topology.writers]
        candidates = [server for server in standbys if server is not self.primary and self._in_lineage(server)]
        best = max(candidates, key=lambda server: self._end(server).number, default=None)
        if best is not None and self._topology.synchronous and self._end(best).number < self._promoted_at:
            return None
        return best

    async def promote(self, best: EmbeddedServer) -> None:
        """Puts a standby in the place of a primary that is dead or read-only."""
        old = self.primary
        if self._end(best) != old.log.position and not self._topology.synchronous:
            self._model.lose()
        if not best.running:
            best.restart()
        old.database.read_only = True
        best.promote()
        self.primary = best
        self._promoted_at = best.log.position.number
        best.synchronous = self._topology.synchronous
        old.synchronous = 0
        for server in self.replicas:
            if server.running:
                await self.follow(server, rebuild=True)

    async def switch_over(self, patience: float) -> bool:
        """A planned failover: the primary takes no more writes, a standby catches up and is promoted.

        Returns False if none catches up in time.
        """
        old = self.primary
        old.database.read_only = True
        with trio.move_on_after(patience):
            while old.running:
                best = self.best_standby()
                if best is not None and self._end(best) == old.log.position:
                    await self.promote(best)
                    return True
                await trio.sleep(0.05)
        old.database.read_only = False
        return False

    async def heal(self) -> None:
        """Ends every fault, starts what is down, and lets the replicas catch up."""
        for server in self.servers.values():
            server.faults.heal()
            server.replica.paused = False
            server.replica.lag = server.replica.transfer = 0.0
        self.primary.database.read_only = False
        await self.restart(self.primary)
        for server in self.replicas:
            await self.restart(server)
            if not server.statistics().replicating:
                await self.follow(server, rebuild=True)

    @property
    def in_step(self) -> bool:
        """Whether every replica's readers see what the primary's do."""
        return all(server.log.position == self.primary.log.position for server in self.replicas)
