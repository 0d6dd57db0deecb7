"""What a run can do to its servers while they serve: kill, pause, promote, rejoin. The same for every kind of server.

A `Cluster` is data that travels between processes; a `Control` stays in the process that opened the servers (`open_servers`).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill._process_end import describe_exit
from trio_hs.testing import Table

from ._instance import Instance, State

if TYPE_CHECKING:
    from ._by_command import ByCommand
    from ._fencing import FormerPrimary
    from ._primary_watch import PrimaryWatch
    from ._semisync import Lapse

Row: TypeAlias = tuple[Any, ...]
"""A value for each column of a table: as `trio_hs.Column` takes it, or as the server's driver gives it."""

WAIT_UP_SECONDS = 30.0
POLL_SECONDS = 0.02
ANSWER_SECONDS = 10.0
"""How long a server may take to say whether it is read-only."""
LOG_SECONDS = 5.0
"""How long reading the log of a dead server may take."""


@dataclass(frozen=True)
class ReplicationStatus:
    """The state of one server's replication."""

    source: str | None
    """The name of the server that it replicates from; None if it is not a replica."""
    running: bool
    """Whether it both fetches and applies transactions."""
    lag: float | None
    """Its own estimate of how many seconds it is behind (whole seconds on MariaDB); None if it has none."""
    delay: int
    """Seconds by which it delays applying: see `Control.set_lag`."""
    error: str
    """Why it does not run, in the server's words; may be empty."""


@dataclass(frozen=True)
class Rejoined:
    """How a server came back as a replica of the primary."""

    rebuilt: bool
    """Whether its data were discarded and rebuilt from the primary's."""
    reason: str
    """One line: why it was rebuilt, or why that was not necessary."""


@dataclass(frozen=True)
class Death:
    """The unexpected end of a server."""

    server: str
    ending: str
    """How its process ended, in words."""
    seen: float
    """When we noticed: `CLOCK_MONOTONIC`, in seconds."""
    log: str
    """What it wrote to its log since its last start; empty if that cannot be read."""


@dataclass(frozen=True)
class Promotion:
    """A server has become the primary, and this was seen. Times are of `CLOCK_MONOTONIC`, in seconds."""

    server: str
    seen: float
    """When it was first seen to be the primary."""
    otherwise: float
    """When it was last seen not to be the primary. It was promoted in between."""


class Control(ABC):
    """Faults and failover for the servers of one cluster. Operations take a server's name.

    Every operation takes a bounded time. It raises `ClusterError`, which names the server, if it is impossible (no such
    server, or one in the wrong state) or takes too long. A cancelled operation may be half done; the servers' processes are
    recorded all the same, and end with the cluster. Operations may run concurrently: if a server is killed while it starts,
    `start` fails.

    Attributes:
      cluster: the servers as they are now. A start changes a server's `pid`, and perhaps its secrets.
      primary: the name of the server that takes the writes: the writer, until another server is promoted.
      deaths: what `look_for_deaths` has found. The caller that reports them takes them out.
      unlogged_writes: whether clients may make writes that are in no binary log, as they do when they write straight to
        InnoDB. Set it to False if they do not write, or write by SQL.
      foreign_rows: a SQL condition for rows of the table that no write of the run can leave. A table with such rows is not
        dropped at the end. Set it before `create_table`; until then every row counts as such.
      report_left: called with what stays on the user's own servers if this process dies from now on, in words.
      promotions: what was seen of promotions on servers of the user's own, whoever ordered them, in their order. After each,
        `primary` is that server. Add to it with `note_promotion`.
      on_promotion: called with each of them: the server, when it was seen, and when it was last seen otherwise.
      on_two_primaries: called when two servers were seen to take writes at once: the one that was promoted earlier, the other,
        from when and until when that is certain; None if until the end.
      on_seen: called with each lapse of semi-synchronous replication, and with what was seen of each former primary.
      on_notice: called with a line for the user about who is the primary.
      primary_watch: sees who is the primary. None on the run's own servers, on servers that do not replicate, and on Galera.
      by_command: injects faults by commands of the user's own; None on the run's own servers, and if there are no commands.
      on_galera: whether the writer is a node of a Galera cluster, where a write straight to InnoDB does harm.
    """

    _instances: Mapping[str, Instance]

    def __init__(self, cluster: Cluster, instances: Mapping[str, Instance]) -> None:
        self.cluster = cluster
        self._instances = instances
        self.primary = cluster.writer.name
        self.deaths: list[Death] = []
        self.unlogged_writes = not cluster.write_databases
        self.foreign_rows = "TRUE"
        self.report_left: Callable[[str], None] = lambda left: None
        self.promotions: list[Promotion] = []
        self.on_promotion: Callable[[str, float, float], None] = lambda server, seen, otherwise: None
        self.on_two_primaries: Callable[[str, str, float, float | None], None] = lambda old, new, since, until: None
        self.on_seen: Callable[[FormerPrimary | Lapse], None] = lambda seen: None
        self.on_notice: Callable[[str], None] = lambda line: None
        self.on_galera = False
        self.by_command: ByCommand | None = None
        self.primary_watch: PrimaryWatch | None = None
        self._promoted = trio.Event()
        """Set at the next promotion, and then replaced."""
        self._once_primary = {self.primary}
        """The servers that have been the primary, and may hold writes that no other server has."""
        self._opened = {self.primary}
        """The servers that this run has left open for writes: the primary, and old ones that were never fenced."""
        self._serving: set[str] = set()
        """The instances that have come up, and that we have neither killed nor stopped since."""

    def server(self, name: str) -> Server:
        """The server of this name. Raises `ClusterError`."""
        for server in self.cluster.servers:
            if server.name == name:
                return server
        names = ", ".join(server.name for server in self.cluster.servers)
        raise ClusterError(f"no server {name!r} in this cluster (one of {names})")

    def require(self, name: str, *states: State) -> Server:
        """The server of this name. Raises `ClusterError` unless it is in one of the states."""
        server, state = self.server(name), self.state(name)
        if state not in states:
            raise ClusterError(f"{name} is {state}, but must be {' or '.join(states)}")
        return server

    def _to_fill(self) -> list[Server]:
        """The servers to which `fill` writes. Raises `ClusterError` unless they run."""
        alone = self.cluster.replication == "none"
        names = [server.name for server in self.cluster.servers] if alone else [self.primary]
        return [self.require(name, "running") for name in names]

    def _update(self, changed: Server) -> None:
        """Record in `cluster` what a start has changed."""
        servers = tuple(changed if server.name == changed.name else server for server in self.cluster.servers)
        self.cluster = replace(self.cluster, servers=servers)

    async def require_primary(self) -> None:
        """Raise `ClusterError` if a run must not begin, because others have changed the servers and clients must not write to
        `primary` now. Nobody does that to the run's own servers."""
        await trio.lowlevel.checkpoint()

    async def watch(self) -> None:
        """Notice what others do to the servers while the load runs, until cancelled. Nothing to do for the run's own."""
        await trio.lowlevel.checkpoint()

    async def look_at_primary(self) -> None:
        """Look now who is the primary, so that `primary` and `promotions` say it. Nothing to do for the run's own servers."""
        await trio.lowlevel.checkpoint()

    async def end_watch(self) -> None:
        """The run is over, and its last look taken: report two primaries that are there until the end."""
        await trio.lowlevel.checkpoint()

    async def why_primary_unknown(self) -> str:
        """Why it is unknown which server took the last writes; "" if it was certainly `primary`.

        It asks every server that runs: somebody else may have promoted one. (An old primary that was never fenced takes writes,
        too: that is a split brain, which the audit knows.)
        """
        for name in (server.name for server in self.cluster.servers):
            if self.state(name) != "running":
                continue
            try:
                with bounded(f"asking {name} whether it is read-only", ANSWER_SECONDS):
                    takes_writes = await self._takes_writes(name)
            except ClusterError as error:
                return f"cannot check whether {name} takes writes: {error}"
            if takes_writes and name not in self._opened:
                return f"{name} takes writes, although this run did not promote it"
            if name == self.primary and not takes_writes and name in self._opened:
                return f"{name} takes no writes any more, although it is the primary of this run"
        return ""

    def note_promotion(self, promotion: Promotion) -> None:
        """A server was seen to have become the primary. Tells `on_promotion` and those that wait for one."""
        self.promotions.append(promotion)
        self.primary = promotion.server
        if self.by_command is not None:
            self.by_command.primary_changed()
        self.on_promotion(promotion.server, promotion.seen, promotion.otherwise)
        promoted, self._promoted = self._promoted, trio.Event()
        promoted.set()

    async def wait_promotion(self, after: int = 0) -> Promotion:
        """Wait until more than `after` promotions were seen, and return the first of those. For one that is yet to be seen,
        `after` is `len(promotions)`."""
        while len(self.promotions) <= after:
            await self._promoted.wait()
        return self.promotions[after]

    @abstractmethod
    async def _takes_writes(self, name: str) -> bool:
        """Whether a running server takes writes of clients; of the primary, also whether it replicates from no other server."""

    async def look_for_deaths(self) -> None:
        """Add to `deaths` each server that came up and then died unexpectedly, once for each death.

        Every start calls this first, so that no death is missed because the server is up again.
        """
        seen = time.monotonic()
        dead = {name: self._instances[name].exit_code() for name in sorted(self._serving) if self.state(name) == "down"}
        self._serving -= dead.keys()  # before the first await, so that no other task reports them too
        for name, code in dead.items():
            log = ""
            try:
                with trio.move_on_after(LOG_SECONDS, shield=True):
                    log = await self._instances[name].read_log()
            except ClusterError:
                pass
            self.deaths.append(Death(name, "exit code unknown" if code is None else describe_exit(code), seen, log))

    def instance(self, name: str) -> Instance:
        """A server that the run has started. To end it, use `kill` or `stop` here: else its end counts as a death."""
        if name not in self._instances:
            raise self._refusal(name)
        return self._instances[name]

    def _refusal(self, name: str) -> ClusterError:
        return ClusterError(f"{self.server(name).name} is not a server of this run: do that by your own means")

    def state(self, name: str) -> State:
        """The state of the server's process: a crashed server is down. A server that is not the run's counts as running."""
        instance = self._instances.get(self.server(name).name)
        return "running" if instance is None else instance.state

    async def kill(self, name: str) -> None:
        """End a running or paused server at once, as SIGKILL does, and wait until its process is gone."""
        instance = self.instance(name)
        self.require(name, "running", "paused")
        self._serving.discard(name)
        await instance.kill()

    async def stop(self, name: str) -> None:
        """Shut a running server down cleanly, and wait until its process is gone."""
        instance = self.instance(name)
        self.require(name, "running")
        self._serving.discard(name)
        await instance.stop()

    @abstractmethod
    async def start(self, name: str, *, new_secrets: bool = False) -> Server:
        """Start a server that is down, with its data and on its ports, wait until it is up, and return it as it is now.

        A server that is not the primary starts read-only, whatever it was before. With `new_secrets` its HandlerSocket
        listeners get new secrets, as those of a server without configured secrets do at every start.
        """

    async def pause(self, name: str) -> None:
        """Freeze a running server, as SIGSTOP does: the kernel still accepts connections for it, but it answers nothing."""
        instance = self.instance(name)
        self.require(name, "running")
        await instance.pause()

    async def resume(self, name: str) -> None:
        """Let a paused server run again. It executes the requests that it has received meanwhile."""
        instance = self.instance(name)
        self.require(name, "paused")
        await instance.resume()

    @abstractmethod
    async def promote(self, name: str) -> None:
        """Make a replica the primary. This does not contact the old primary, which may be dead or unreachable.

        The replica first applies everything that any running replica has fetched. Then the other running replicas replicate
        from it; those that are paused or down have to `rejoin` later.
        """

    async def stop_serving(self, name: str) -> None:
        """Make a running server close its clients' connections cleanly, and accept none until it is started again.

        Do this before an orderly shutdown of a primary, on servers whose shutdown alone loses writes that they acknowledge
        meanwhile. By default no server does, and this does nothing.
        """
        self.require(name, "running")
        await trio.lowlevel.checkpoint()

    @abstractmethod
    async def close_for_writes(self) -> None:
        """Make the running primary refuse writes, so that another server can be promoted and it can rejoin without a restart.

        MariaDB waits until no HandlerSocket client has a table open for writing: make the clients close their connections.
        """

    @abstractmethod
    async def open_for_writes(self) -> None:
        """Undo `close_for_writes`, if no other server was promoted."""

    @abstractmethod
    async def rejoin(self, name: str) -> Rejoined:
        """Make any server but the primary a replica of the primary, and wait until it has caught up.

        If it is down, start it. If it holds writes that the primary never received, rebuild it: those writes are lost. A lag
        that was set is removed.
        """

    @abstractmethod
    async def stop_replication(self, name: str) -> None:
        """Make a replica neither fetch nor apply. It discards what it has fetched and not applied, and must fetch that again.

        So do not promote it then if the primary is dead: writes that it alone had acknowledged (semisync) would be lost.
        """

    @abstractmethod
    async def start_replication(self, name: str) -> None:
        """Make a replica fetch and apply again, and wait until it does."""

    @abstractmethod
    async def set_lag(self, name: str, seconds: int) -> None:
        """Make a replica apply everything `seconds` after the primary; 0 ends that. Its source must be running."""

    @abstractmethod
    async def replication_status(self, name: str) -> ReplicationStatus:
        """The state of a running server's replication."""

    @abstractmethod
    async def create_table(self, table: Table) -> None:
        """Create an empty table on every server, and the twin that clients write to (`cluster.write_databases`), if any.

        All servers must run, and the writer must be the primary. Clients must not open the table before this returns: opening
        a missing table on a write port spoils that thread of MariaDB (inserts fail with error 167) until the server restarts.
        """

    @abstractmethod
    async def fill(self, table: Table, rows: Iterable[Row]) -> None:
        """Insert rows on the primary, in a way that replicates in every topology, so not through HandlerSocket. Servers that do
        not replicate get them each."""

    @abstractmethod
    async def wait_replicated(self, within: float = 10.0) -> None:
        """Wait until every running replica has applied everything that the primary has logged by now.

        It does not wait for direct HandlerSocket writes (plain topology), which are not logged, and does nothing if the
        cluster does not replicate.
        """

    @abstractmethod
    async def read_rows(self, name: str, table: Table, *, after: Sequence[Any] | None = None, limit: int = 10_000) -> list[Row]:
        """Read at most `limit` rows from a running server without HandlerSocket, in the order of the primary key.

        To read all rows page by page, pass the primary key of the last row seen as `after` (`key_of`).
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


def chunked(rows: Iterable[Row], most: int) -> Iterator[list[Row]]:
    """The rows in lists of about `most` characters each."""
    chunk: list[Row] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += sum(len(str(value)) + 4 for value in row)
        if size >= most:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


@contextmanager
def bounded(what: str, seconds: float) -> Iterator[None]:
    """Cancel the block after `seconds`, and raise `ClusterError` that says `what` took too long."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise ClusterError(f"{what} took more than {seconds:g} s")


async def handlersocket_answers(server: Server) -> bool:
    """Whether both listeners accept their secrets. A connection alone proves nothing: the kernel accepts it itself."""
    try:
        return all([await _authenticates(server.host, port, secret) for _, port, secret in server.listeners])
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
