"""Pools of connections to groups of servers.

The servers of a *group* can stand in for each other. Groups are in order of preference. A :class:`Link` keeps one connection to
one server alive for as long as the pool is open. :meth:`Pool.choose` decides which connection takes the next request, from the
state alone and without I/O. Everything that takes time happens in the tasks of the links.

Reads leave a group as soon as it is silent. Writes do not: a primary that is slow, or that only this client cannot reach, may
take the writes of others, and a standby that accepted ours would have rows that the primary never gets. So a pool for writes
moves on only when every server of the group has *given way*: it refused the connection, or the write. Silence is not enough.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from threading import get_ident

import trio
from trio.lowlevel import enable_ki_protection

from .._instruments import Instruments
from .._protocol import Index
from ..exceptions import AuthenticationError, ConnectionError, HandlerSocketError, operational_error
from ._addresses import Resolve, addresses_of, only
from ._connection import Connection
from ._failover import InUse
from ._forks import end_with_fork
from ._link import Link
from ._members import Members, members_of
from ._none_usable import none_usable
from ._request import Request
from ._secrets import Secret, check_secret
from ._servers import Server, Servers, parse_servers
from ._settings import check_settings, check_thread
from ._statistics import ServerStatistics, statistics_of
from ._transport import Connect, connect_transport
from ._waiters import Patience, Waiters

#: Seconds that a server may be silent with requests outstanding, or take to accept a connection.
DEFAULT_TIMEOUT = 3.0

#: An operation waits for a usable server this many seconds longer than the timeout. The attempt to connect may take the whole
#: timeout, and has to begin first.
MARGIN = 0.25

#: Of up to FEW connections the least loaded one takes the next request. Of more it is the less loaded of the one whose turn it
#: is and DRAWN others, which costs the same for any number. A busy one is taken only if all that were drawn are as busy.
FEW = 4
DRAWN = 2


def _load(connection: Connection) -> int:
    return connection.load


def _connected(group: Sequence[Link]) -> list[tuple[int, Connection]]:
    """The connections of a group, each with the flaw of its server. If one connection to a server stalls, the others usually do
    too."""
    flaws: dict[str, int] = {}
    for link in group:
        flaws[link.peer] = max(link.flaw, flaws.get(link.peer, 0))
    return [(flaws[link.peer], link.connection) for link in group if link.connection is not None]


class Pool:
    """Connections to the servers for reads, or to those for writes. Its tasks run in the given nursery.

    It connects when it is first used. An open connection to a listener for writes, with a table open, makes
    ``SET GLOBAL read_only=1`` wait on the server, so a program that only reads must not hold one.

    Attributes:
      for_writes: whether requests move to a less preferred group only if every server before it has given way.
      moves_on_silence: whether silence for a whole timeout, and any other failure to connect, counts as giving way.
      thread: the id of the only thread that may use it; 0 in a child of ``os.fork()``.
      longest_wait: seconds for which one operation waits for a usable server, over all its attempts.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        servers: Servers,
        *,
        secret: Secret | None,
        timeout: float,
        connections: int,
        connect: Connect = connect_transport,
        resolve: Resolve | None = None,
        instruments: Instruments | None = None,
        rng: random.Random | None = None,
        for_writes: bool = False,
        moves_on_silence: bool = False,
    ) -> None:
        check_secret("secret", secret)
        check_settings(timeout, connections, connect, moves_on_silence)
        self.thread = get_ident()
        end_with_fork(self)
        self.secret = secret
        self.for_writes = for_writes
        self.moves_on_silence = moves_on_silence
        self.timeout = timeout
        self.connect = connect
        self.instruments = instruments or Instruments()
        self.random = rng or random.Random()
        self.resumed = trio.Event()
        self.resumed.set()
        self.retiring: set[Connection] = set()
        self.closed = False
        self._suspensions = 0
        self.watchers: list[Callable[[], object]] = []  # called at each change, and when an attempt to connect has failed
        self._connections = connections
        # A user's own `connect` gets the server as it was given, and sees to the addresses of its name.
        self._resolve = resolve or (addresses_of if connect is connect_transport else only)
        self._nursery = nursery
        self.used = False
        self._live: deque[Connection] = deque()
        self.near = False  # whether `_live` is a single connection, to a server that is near
        self._flaw = 0  # of the servers of `_live`, see `Link.flaw`
        self._in_use = InUse("writes" if for_writes else "reads", self.instruments)
        self._waiters: Waiters[Link] = Waiters(self._fall_back)
        self._none_retiring = trio.lowlevel.ParkingLot()
        self._explain: Callable[[], HandlerSocketError] | None = None  # the error of all callers until a link changes
        self.longest_wait = 0.0
        self._links: list[Link] = []
        self._links_to: dict[str, list[Link]] = {}
        self.put(self.members_of(parse_servers(servers)))

    def __repr__(self) -> str:
        return f"<Pool {' | '.join(' '.join(map(repr, group)) for group in self.groups) or 'no servers'}>"

    # ---- its servers

    def members_of(self, servers: Sequence[Sequence[Server]]) -> Members:
        """Links to the given servers. A server that is among those of now keeps its links."""
        return members_of(self, servers, self._connections, self._resolve, self._links)

    @enable_ki_protection
    def put(self, members: Members) -> None:
        """Sets the servers. The caller ends the links that are no longer needed, and then calls ``changed``."""
        self._in_use.remove(set(self._links_to) - set(members.to))
        self.groups, self._links, self._links_to, _ = members
        if not math.isinf(self.longest_wait):
            self.longest_wait = max((link.timeout for link in self._links), default=0.0) + MARGIN
        self._waiters.regroup(self.groups)
        if self.used:
            for link in self._links:
                link.start()

    @property
    def links(self) -> Sequence[Link]:
        """Those to all servers, in order of preference."""
        return self._links

    @property
    def serving(self) -> bool:
        """Whether requests have a server to go to, if need be after a reconnect that is under way."""
        return not self.closed and self.resumed.is_set() and bool(self._live or any(link.renewing for link in self._links))

    # ---- deciding

    def choose(self) -> Connection | None:
        """The connection for the next request, one of the least loaded; None if none is usable."""
        live = self._live
        if len(live) == 1:
            return live[0]
        if not live:
            return None
        live.rotate(1)  # equals take turns
        first = live[0]
        if not first.outstanding:
            return first
        if len(live) <= FEW:
            return min(live, key=_load)
        for _ in range(DRAWN):
            other = live[int(self.random.random() * len(live))]
            if other.load < first.load:
                first = other
        return first

    def choose_other(self, connection: Connection) -> Connection | None:
        """The least loaded connection to another server, in the most preferred group that has one fit for use."""
        chosen = self.choose()
        if chosen is not None and chosen.peer != connection.peer and not self._flaw:
            return chosen
        for group in self.groups:
            others = [other for flaw, other in _connected(group) if not flaw and other.peer != connection.peer]
            if others:
                return min(others, key=_load)
        return None

    @enable_ki_protection
    def refused(self, request: Request) -> bool:
        """Keeps requests away from the server that refused this one. Returns whether to ask another server, which may still be
        connecting."""
        if self.closed:
            return False
        refusing = [link for link in self._links_to.get(request.connection.peer, ()) if not link.refusing]
        for link in refusing:
            link.refuse()
        if refusing:
            self.changed()
        # Servers that refuse requests are used only where there is no other.
        return bool(self._live and self._flaw < 2) or any(link.hopeful and not link.refusing for link in self._links)

    def start(self, task: Callable[[], Awaitable[object]]) -> None:
        """Runs a task until it ends or the pool does."""
        self._nursery.start_soon(task)

    @property
    def size(self) -> int:
        """How many connections it keeps, at most."""
        return len(self._links)

    @property
    def secrets_rotate(self) -> bool:
        """Whether a server that has refused its secret may be offered another one soon."""
        return any(link.secret_rotates for link in self._links)

    def changed(self) -> None:
        """A link has changed: decide again which connections are usable, and wake the callers that can go on now."""
        self._flaw, usable = self._usable()
        self._live = deque(usable)
        self.near = len(usable) == 1 and usable[0].near
        self._explain = None
        if not self.closed:
            renewing = [link.peer for link in self._links if link.renewing and link.hopeful]
            self._in_use.update([connection.peer for connection in usable], renewing)
        if not self.retiring:
            self._none_retiring.unpark_all()
        if usable:
            self._waiters.wake_all()
        else:
            self._waiters.wake_hopeless(self._groups_asked())
        self._tell_watchers()

    def failed(self, link: Link) -> None:
        """An attempt to connect has failed: wake the callers that have seen every server fail now."""
        self._explain = None
        self._waiters.failed(link)
        self._waiters.wake_hopeless(self._groups_asked())
        self._tell_watchers()

    def _tell_watchers(self) -> None:
        for watcher in self.watchers:
            watcher()

    def wanted(self) -> trio.Event:
        """An event that is set while callers wait for a usable server."""
        return self._waiters.present

    def _usable(self) -> tuple[int, list[Connection]]:
        """The connections to fit servers of the first group that has any, and 0. If no group has, those to the least flawed
        servers, with their flaw, but none while a better one may still connect. Writes stay with the first group that has not
        given way."""
        stalled: list[Connection] = []
        refusing: list[Connection] = []
        for group in self.groups:
            connected = _connected(group)
            fit = [connection for flaw, connection in connected if not flaw]
            if fit:
                return 0, fit
            stalled_here = [connection for flaw, connection in connected if flaw == 1]
            refusing += [connection for flaw, connection in connected if flaw == 2]
            if any(link.hopeful for link in group):
                return 0, []
            if self._holds(group):
                return (1, stalled_here) if stalled_here else (2, refusing)
            stalled += stalled_here
        return (1, stalled) if stalled else (2, refusing)

    def _holds(self, group: Sequence[Link]) -> bool:
        """Whether writes stay with this group, usable or not."""
        return self.for_writes and not all(link.gives_way() for link in group)

    def _groups_asked(self) -> int:
        """How many groups, from the first, have the servers that requests may go to now."""
        if self.for_writes:
            for number, group in enumerate(self.groups, 1):
                if self._holds(group):
                    return number
        return len(self.groups)

    @property
    def waiting(self) -> int:
        """How many callers wait for a usable server."""
        return self._waiters.count

    def statistics(self) -> tuple[ServerStatistics, ...]:
        """How every server is doing, in order of preference."""
        return statistics_of(self._links, self.retiring)

    # ---- renewing

    @enable_ki_protection
    def renew(self) -> None:
        """Replaces every connection by a new one, with no index open. Requests under way are still answered."""
        check_thread(self.thread)
        for link in self._links:
            link.retire()
        self.changed()

    @enable_ki_protection
    def close(self) -> None:
        """Fails new requests, and those that wait for a server. Requests under way fail when the tasks end."""
        self.closed = True
        self.resumed.set()
        self._waiters.wake_all()
        for link in self._links:
            link.attempted.set()

    @asynccontextmanager
    @enable_ki_protection
    async def suspended(self) -> AsyncIterator[None]:
        """Closes every connection for the block. New requests wait for its end."""
        check_thread(self.thread)
        self._suspensions += 1
        if self.resumed.is_set():
            self.resumed = trio.Event()
        self.renew()
        self._waiters.wake_all()  # their time does not count meanwhile
        try:
            await trio.lowlevel.checkpoint()
            while self.retiring:
                await self._none_retiring.park()
            yield
        finally:
            self._suspensions -= 1
            if not self._suspensions:
                self.resumed.set()

    # ---- using

    async def execute(self, index: Index, tails: Sequence[bytes]) -> Request:
        """Sends one line per tail through one connection. Returns the request when its answers or its failure are there.

        Raises ConnectionError when no server is usable, or AuthenticationError if every server refused the secret; nothing
        was sent then. A cancelled call may have sent the request.
        """
        check_thread(self.thread)
        request = Request(len(tails))
        (await self.acquire()).submit(request, index, tails)
        await request.wait()
        return request

    async def acquire(self, patience: Patience | None = None) -> Connection:
        """The connection for the next request, which must be submitted before anything else happens.

        Raises as ``execute`` does, when every server has failed once more, or ``patience`` (by default that of one wait) has
        run out.
        """
        await trio.lowlevel.checkpoint_if_cancelled()  # a caller that is cancelled already sends nothing
        return self.choose() or await self._wait_for_server(patience or Patience())

    def check_open(self) -> None:
        """Raises ConnectionError if the pool is closed."""
        if self.closed:
            raise ConnectionError("the pool is closed: the block that opened it has ended, or was cancelled")

    def _check_servers(self) -> None:
        if not self._links:
            kind, where = ("writes", "write=") if self.for_writes else ("reads", "the host")
            raise ValueError(
                f"this Manager has no servers for {kind}: its URL has none ({where}), or the environment "
                f"(TRIO_HS_{kind[:-1].upper()}_SERVERS)"
            )

    @enable_ki_protection
    def begin(self) -> None:
        """Starts to connect, unless that has begun."""
        if not self.used and not self.closed:
            self.used = True
            for link in self._links:
                link.start()

    async def connect_now(self, since: float) -> None:
        """Connects to every server, and waits until each has answered, or has failed since then. A checkpoint.

        Raises AuthenticationError if any of them refused the secret, and ConnectionError if none is usable.
        """
        self._check_servers()
        self.begin()
        await trio.lowlevel.checkpoint()
        for link in self._links:
            await link.attempted.wait()
        for link in self._links:
            if link.connection is None and isinstance(link.error, AuthenticationError):
                raise operational_error(link.error.code, link.error.message, link.peer, link.peer)
        if not self._live and not self.closed and all(link.failed_at >= since for link in self._links):
            raise self._none_usable()
        await self.acquire()

    @property
    def ready(self) -> bool:
        """Whether a request would go out at once, to a server that is fit for it."""
        return bool(self._live) and not self._flaw and not self.closed

    @enable_ki_protection
    async def _wait_for_server(self, patience: Patience) -> Connection:
        """Waits until a server is usable, or until each server that may be asked has failed once more."""
        self._check_servers()
        self.begin()
        left = self.longest_wait if patience.left is None else patience.left
        began = trio.current_time()
        hopeless = False
        try:
            while True:
                await trio.lowlevel.checkpoint_if_cancelled()
                if not self.resumed.is_set():
                    left -= trio.current_time() - began
                    await self.resumed.wait()
                    began = trio.current_time()
                self.check_open()
                connection = self.choose()
                if connection is not None:
                    return connection
                if hopeless or trio.current_time() >= began + left:
                    raise self._none_usable()
                with trio.move_on_at(began + left):
                    hopeless = await self._waiters.wait(self.start)
        finally:
            patience.left = left - (trio.current_time() - began)

    def _fall_back(self) -> None:
        """Callers have waited for GRACE: stop waiting for the preferred group; fall back to the next."""
        # A lone group has nothing to fall back to but a server that is being avoided.
        if len(self.groups) == 1 and all(link.connection is None for link in self._links):
            return
        for group in self.groups:
            if any(link.hopeful for link in group):
                for link in group:
                    link.hopeful = False
                self.changed()
                break

    def _none_usable(self) -> HandlerSocketError:
        if self._explain is None:
            asked = [link for group in self.groups[: self._groups_asked()] for link in group]
            self._explain = none_usable(asked, self._links)
        return self._explain()
