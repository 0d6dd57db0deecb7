"""What can be done to the servers of a run while they serve: the same for processes, containers and embedded servers.

A `Cluster` is data that travels; a `Control` stays with whoever opened the servers (`open_servers`).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

import trio

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill._process_end import describe_exit
from trio_hs.testing import Table

from ._instance import Instance, State

Row: TypeAlias = tuple[int | str | None, ...]
"""A value for each column of a table."""

WAIT_UP_SECONDS = 30.0
POLL_SECONDS = 0.02
LOG_SECONDS = 5.0
"""What it may take to read the log of a server that died."""


@dataclass(frozen=True)
class ReplicationStatus:
    """How one server replicates, at one moment."""

    source: str | None
    """The name of the server that it replicates from; None when it replicates from nobody."""
    running: bool
    """Whether it both fetches and applies."""
    lag: float | None
    """Seconds that it is behind, as it says itself (whole seconds, on MariaDB); None when nobody knows."""
    delay: int
    """Seconds that it holds back what it applies: see `Control.set_lag`."""
    error: str
    """Why it does not run, in the server's words; empty when it said nothing."""


@dataclass(frozen=True)
class Rejoined:
    """How a server came back as a replica of the primary."""

    rebuilt: bool
    """Whether its data were thrown away and made anew from the primary's."""
    reason: str
    """One line: why it was rebuilt, or why it did not have to be."""


@dataclass(frozen=True)
class Death:
    """The end of a server that nobody here has ordered."""

    server: str
    ending: str
    """How its process ended, in words."""
    seen: float
    """When that was noticed: `CLOCK_MONOTONIC`, in seconds."""
    log: str
    """What it had written since its last start; empty when that cannot be read."""


class Control(ABC):
    """Faults and failover for the servers of one cluster, each by its name.

    Every operation ends within a bounded time, and raises `ClusterError` that names the server when it is impossible (no
    such server, not in the state for it) or takes too long. A cancelled operation may have been carried out in part;
    the servers' processes are accounted for all the same, and end with the cluster. Operations may run concurrently:
    a server that is killed while it starts makes `start` fail.

    Attributes:
      cluster: the servers as they are now. A start changes a server's `pid`, and perhaps its secrets.
      primary: the name of the server that takes the writes: the writer, until another is promoted.
      deaths: what `look_for_deaths` has found, for whoever tells of it to take out.
      unlogged_writes: whether clients may write what is in no binary log. So it is where they write straight to InnoDB;
        who knows that they do not write, or write by SQL, may set it to False.
      aliases: names that mean the writer's server once more.
    """

    _instances: Mapping[str, Instance]

    def __init__(self, cluster: Cluster, instances: Mapping[str, Instance]) -> None:
        self.cluster = cluster
        self._instances = instances
        self.primary = cluster.writer.name
        self.deaths: list[Death] = []
        self.unlogged_writes = not cluster.write_databases
        self.aliases: frozenset[str] = frozenset()
        self._serving: set[str] = set()
        """The servers that have come up and that nobody has told to end; none where their processes are not ours."""

    def server(self, name: str) -> Server:
        for server in self.cluster.servers:
            if server.name == name:
                return server
        names = ", ".join(server.name for server in self.cluster.servers)
        raise ClusterError(f"no server {name!r} in this cluster (one of {names})")

    def require(self, name: str, *states: State) -> Server:
        """The server, if it is in one of the states."""
        server, state = self.server(name), self.state(name)
        if state not in states:
            raise ClusterError(f"{name} is {state}, and would have to be {' or '.join(states)}")
        return server

    def _update(self, changed: Server) -> None:
        """Tell `cluster` what a start has changed."""
        servers = tuple(changed if server.name == changed.name else server for server in self.cluster.servers)
        self.cluster = replace(self.cluster, servers=servers)

    async def why_primary_unknown(self) -> str:
        """Why nobody here can say which server took the last writes; "" where that is `primary`."""
        await trio.lowlevel.checkpoint()
        return ""

    async def look_for_deaths(self) -> None:
        """Put into `deaths` each server that came up and is down now, though nobody has told it to end. Once for each death.

        A start looks first, so that none goes unseen because the server is up again.
        """
        seen = time.monotonic()
        dead = {name: self._instances[name].exit_code() for name in sorted(self._serving) if self.state(name) == "down"}
        self._serving -= dead.keys()  # before anything is waited for: each is to be told once, and not of its next life
        for name, code in dead.items():
            log = ""
            try:
                with trio.move_on_after(LOG_SECONDS, shield=True):
                    log = await self._instances[name].read_log()
            except ClusterError:
                pass
            self.deaths.append(Death(name, "nobody knows how" if code is None else describe_exit(code), seen, log))

    def _instance(self, name: str) -> Instance:
        if name not in self._instances:
            raise self._refusal(name)
        return self._instances[name]

    def _refusal(self, name: str) -> ClusterError:
        return ClusterError(f"{self.server(name).name} is not a server of this run: do that by your own means")

    def state(self, name: str) -> State:
        """What the server's process does. A server that crashed is down; one that the run has not started counts as running."""
        instance = self._instances.get(self.server(name).name)
        return "running" if instance is None else instance.state

    async def kill(self, name: str) -> None:
        """End a running or paused server at once, as SIGKILL does, and wait until it is gone."""
        instance = self._instance(name)
        self.require(name, "running", "paused")
        self._serving.discard(name)
        await instance.kill()

    async def stop(self, name: str) -> None:
        """Shut a running server down in order, and wait until it is gone."""
        instance = self._instance(name)
        self.require(name, "running")
        self._serving.discard(name)
        await instance.stop()

    @abstractmethod
    async def start(self, name: str, *, new_secrets: bool = False) -> Server:
        """Start a server that is down, with its data and on its ports, and wait until it is up; the server as it is now.

        A server that is not the primary starts read-only, whatever it was before. `new_secrets` gives its HandlerSocket
        listeners other secrets, as a server without configured ones does at every start.
        """

    async def pause(self, name: str) -> None:
        """Freeze a running server, as SIGSTOP does: the kernel still accepts connections for it, and nothing is answered."""
        instance = self._instance(name)
        self.require(name, "running")
        await instance.pause()

    async def resume(self, name: str) -> None:
        """Let a paused server go on. It carries out what it was sent meanwhile."""
        instance = self._instance(name)
        self.require(name, "paused")
        await instance.resume()

    @abstractmethod
    async def promote(self, name: str) -> None:
        """Make a replica the primary. The old one is neither asked nor told: it may be dead, or unreachable.

        The replica first applies all that any running replica has fetched. Then the others that run replicate from it;
        one that is paused or down has to `rejoin` later.
        """

    async def stop_serving(self, name: str) -> None:
        """Make a running server end its clients' connections in order, and take no new ones until it is started again.

        To be done before an orderly shutdown of a server that takes writes, where a shutdown alone would not keep all of
        what it acknowledges meanwhile. Here that is nobody.
        """
        self.require(name, "running")
        await trio.lowlevel.checkpoint()

    @abstractmethod
    async def close_for_writes(self) -> None:
        """Make the primary refuse writes where it is, so that another can be promoted and it can rejoin without a restart.

        On MariaDB that waits for every HandlerSocket client that has a table open for writing: they must have let go.
        """

    @abstractmethod
    async def open_for_writes(self) -> None:
        """Undo `close_for_writes`, where nobody was promoted."""

    @abstractmethod
    async def rejoin(self, name: str) -> Rejoined:
        """Make any server but the primary a replica of the primary, and wait until it has what the primary had.

        It is started if it is down. One that holds writes which the primary never got is rebuilt: they are lost. A lag
        that was set is gone.
        """

    @abstractmethod
    async def stop_replication(self, name: str) -> None:
        """Make a replica neither fetch nor apply. What it had fetched and not applied, it has to fetch again.

        So do not promote it then if the primary is dead: what it alone had acknowledged (semisync) would be lost.
        """

    @abstractmethod
    async def start_replication(self, name: str) -> None:
        """Make a replica fetch and apply again, and wait until it does."""

    @abstractmethod
    async def set_lag(self, name: str, seconds: int) -> None:
        """Make a replica apply everything `seconds` after the primary did; 0 ends that. Its primary must be running."""

    @abstractmethod
    async def replication_status(self, name: str) -> ReplicationStatus:
        """How a running server replicates."""

    @abstractmethod
    async def create_table(self, table: Table) -> None:
        """Create an empty table on every server, and what clients need to write to it (`cluster.write_databases`).

        All servers must run, and the writer be the primary. Clients must not open it before this returns: to open a
        missing table on a write port spoils that thread of MariaDB (inserts fail with error 167) until it restarts.
        """

    @abstractmethod
    async def fill(self, table: Table, rows: Iterable[Row]) -> None:
        """Insert rows on the primary, not through HandlerSocket, so that they replicate in every topology."""

    @abstractmethod
    async def wait_replicated(self, within: float = 10.0) -> None:
        """Wait until every running replica has applied all that the primary has logged by now; see `Cluster.replication`.

        What clients write straight to the tables of the plain topology is not logged, and so not waited for.
        """

    @abstractmethod
    async def read_rows(self, name: str, table: Table, *, after: int | None = None, limit: int = 10_000) -> list[Row]:
        """Rows that a running server holds, read without HandlerSocket: at most `limit`, in the order of the primary key.

        That must be a single integer column; `after` gives those above a key. So all rows are read page by page.
        """

    async def restart(self, name: str, *, new_secrets: bool = False) -> Server:
        """`stop`, then `start`."""
        await self.stop(name)
        return await self.start(name, new_secrets=new_secrets)

    async def wait_up(self, name: str, within: float = WAIT_UP_SECONDS) -> None:
        """Wait until both HandlerSocket listeners of the server answer a request, at most `within` seconds."""
        with bounded(f"waiting for {name} to answer", within):
            while not await handlersocket_answers(self.require(name, "running")):  # noqa: ASYNC110  (the network is asked)
                await trio.sleep(POLL_SECONDS)


def require_lag(seconds: int) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 0:
        raise ValueError(f"a lag is a whole number of seconds, 0 or more, not {seconds!r}")


def by_size(rows: Iterable[Row], most: int) -> Iterator[list[Row]]:
    """The rows, as many together as have some `most` characters."""
    some: list[Row] = []
    size = 0
    for row in rows:
        some.append(row)
        size += sum(len(str(value)) + 4 for value in row)
        if size >= most:
            yield some
            some, size = [], 0
    if some:
        yield some


@contextmanager
def bounded(what: str, seconds: float) -> Iterator[None]:
    """Cancel the block after `seconds`, and raise `ClusterError` that says what took so long."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise ClusterError(f"{what} took more than {seconds:g} s")


async def handlersocket_answers(server: Server) -> bool:
    """Whether both listeners let us in. That a connection is accepted says nothing: a stopped worker's is, too."""
    try:
        return await _authenticates(server.host, server.read_port, server.read_secret) and (
            await _authenticates(server.host, server.write_port, server.write_secret)
        )
    except (OSError, trio.BrokenResourceError):
        return False


async def _authenticates(host: str, port: int, secret: str) -> bool:
    answer = b""
    with trio.move_on_after(1):
        async with await trio.open_tcp_stream(host, port) as stream:
            await stream.send_all(b"A\t1\t%s\n" % secret.encode())
            while not answer.endswith(b"\n"):
                received = await stream.receive_some()
                if not received:
                    break
                answer += received
    return answer == b"0\t1\n"
