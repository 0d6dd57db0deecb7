"""Pools of connections to groups of servers.

The servers of a *group* can stand in for each other. Groups are in order of preference. A :class:`Link` keeps one connection to
one server alive for as long as the pool is open. :meth:`Pool.choose` decides which connection takes the next request, from the
state alone and without I/O. Everything that takes time happens in the tasks of the links.

Reads leave a group as soon as it is silent. Writes do not: a primary that is slow, or that only this client cannot reach, may
take the writes of others, and a standby that accepted ours would have rows that the primary never gets. So a pool for writes
moves on only when every server of the group has *given way*: it refused the connection, or the write. Silence is not enough.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import get_ident

import trio
from trio.lowlevel import enable_ki_protection

from .._instruments import Instruments
from .._protocol import Index
from ..exceptions import AuthenticationError, ConnectionError, HandlerSocketError, operational_error
from ._background import background_nursery
from ._connection import Connection
from ._link import Link, reason_of
from ._request import Request
from ._servers import Server, Servers, parse_servers
from ._settings import check_secret, check_settings, check_thread
from ._transport import Connect, connect_transport

#: Seconds that a server may be silent with requests outstanding, or take to accept a connection.
DEFAULT_TIMEOUT = 3.0

#: Seconds to wait for the preferred group while it is being connected, before the next group is asked.
GRACE = 0.25
#: An operation waits for a usable server this many seconds longer than the timeout. The attempt to connect may take the whole
#: timeout, and has to begin first.
MARGIN = 0.25


@dataclass(frozen=True)
class ServerStatistics:
    """How one server of a pool is doing, over all connections to it."""

    server: str
    """Its address."""
    connections: int
    """Connections that take requests now."""
    stalled: int
    """Connections whose server is suspiciously silent with requests outstanding."""
    outstanding: int
    """Requests that wait for an answer or for their turn. Long ones count for several."""
    answers: int
    """Answers since the pool was opened."""
    connected: int
    """How often a connection was made and the server answered on it."""
    failed_attempts: int
    """How often an attempt to connect failed."""
    refusing: bool
    """True while it is avoided because it answered ``lock_tables``. It is tried again after 0.1 s, later every second."""
    last_error: str | None
    """Why the last attempt failed or the last connection ended; None if nothing ever went wrong."""


class Patience:
    """How long one operation may still wait for a usable server, over all its attempts.

    Attributes:
      left: seconds; None before the first wait, where it is the pool's ``longest_wait``.
    """

    left: float | None = None  # most operations never wait, and None costs nothing

    @property
    def exhausted(self) -> bool:
        return self.left is not None and self.left <= 0


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
      thread: the id of the only thread that may use it.
      longest_wait: seconds for which one operation waits for a usable server, over all its attempts.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        servers: Servers,
        *,
        secret: str | None,
        timeout: float,
        connections: int,
        connect: Connect = connect_transport,
        instruments: Instruments | None = None,
        rng: random.Random | None = None,
        for_writes: bool = False,
        moves_on_silence: bool = False,
    ) -> None:
        check_secret("secret", secret)
        check_settings(timeout, connections, connect, moves_on_silence)
        self.thread = get_ident()
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
        self.groups = [[Link(self, server) for server in group for _ in range(connections)] for group in parse_servers(servers)]
        self.longest_wait = max(link.timeout for link in self._links()) + MARGIN
        self._nursery = nursery
        self.used = False
        self._live: deque[Connection] = deque()
        self.near = False  # whether `_live` is a single connection, to a server that is near
        self._in_use: frozenset[str] = frozenset()
        self._waiting = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Pool {' | '.join(' '.join(map(repr, group)) for group in self.groups)}>"

    # ---- deciding

    def choose(self) -> Connection | None:
        """The connection for the next request: the least loaded usable one, or None."""
        live = self._live
        if len(live) == 1:
            return live[0]
        live.rotate(1)  # equals take turns
        return min(live, key=_load, default=None)

    def choose_other(self, connection: Connection) -> Connection | None:
        """The least loaded connection to another server, in the most preferred group that has one fit for use."""
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
        for link in self._links():
            if link.peer == request.connection.peer and not link.refusing:
                link.refuse()
        self.changed()
        return any(link.connection in self._live or link.hopeful for link in self._links() if not link.refusing)

    def start(self, task: Callable[[], Awaitable[object]]) -> None:
        """Runs a task until it ends or the pool does."""
        self._nursery.start_soon(task)

    @property
    def size(self) -> int:
        """How many connections it keeps, at most."""
        return sum(map(len, self.groups))

    def _links(self) -> list[Link]:
        return [link for group in self.groups for link in group]

    def changed(self) -> None:
        """A link has changed: decide again which connections are usable, and wake the waiting callers."""
        self._live = deque(self._usable())
        self.near = len(self._live) == 1 and self._live[0].near
        if self.instruments:
            in_use = frozenset(connection.peer for connection in self._live)
            if in_use != self._in_use:
                self._in_use = in_use
                self.instruments.call("failover", tuple(sorted(in_use)))
        self._waiting.unpark_all()

    def _usable(self) -> list[Connection]:
        """The connections to fit servers of the first group that has any. If no group has, those to the least flawed servers,
        but none while a better one may still connect. Writes stay with the first group that has not given way."""
        stalled: list[Connection] = []
        refusing: list[Connection] = []
        for group in self.groups:
            connected = _connected(group)
            fit = [connection for flaw, connection in connected if not flaw]
            if fit:
                return fit
            stalled_here = [connection for flaw, connection in connected if flaw == 1]
            refusing += [connection for flaw, connection in connected if flaw == 2]
            if any(link.hopeful for link in group):
                return []
            if self._holds(group):
                return stalled_here or refusing
            stalled += stalled_here
        return stalled or refusing

    def _holds(self, group: Sequence[Link]) -> bool:
        """Whether writes stay with this group, usable or not."""
        return self.for_writes and not all(link.gives_way() for link in group)

    def _candidates(self) -> list[Link]:
        """The links to servers that requests may go to now."""
        links: list[Link] = []
        for group in self.groups:
            links += group
            if self._holds(group):
                break
        return links

    def statistics(self) -> tuple[ServerStatistics, ...]:
        """How every server is doing, in order of preference."""
        links: dict[Server, list[Link]] = {}
        for link in self._links():
            links.setdefault(link.server, []).append(link)
        return tuple(self._statistics_of(server, its_links) for server, its_links in links.items())

    def _statistics_of(self, server: Server, links: list[Link]) -> ServerStatistics:
        connections = [link.connection for link in links if link.connection is not None]
        errors = [reason_of(link.error) for link in links if link.error is not None]
        return ServerStatistics(
            server=str(server),
            connections=len(connections),
            stalled=sum(connection.stalled for connection in connections),
            outstanding=sum(connection.load for connection in connections),
            answers=sum(link.answered for link in links)
            + sum(each.answered for each in (*connections, *self.retiring) if each.peer == str(server)),
            connected=sum(link.connected for link in links),
            failed_attempts=sum(link.failed_attempts for link in links),
            refusing=any(link.refusing for link in links),
            last_error=errors[-1] if errors else None,
        )

    # ---- renewing

    @enable_ki_protection
    def renew(self) -> None:
        """Replaces every connection by a new one, with no index open. Requests under way are still answered."""
        check_thread(self.thread)
        for link in self._links():
            link.retire()
        self.changed()

    @enable_ki_protection
    def close(self) -> None:
        """Fails new requests, and those that wait for a server. Requests under way fail when the tasks end."""
        self.closed = True
        self.resumed.set()
        self._waiting.unpark_all()

    @asynccontextmanager
    @enable_ki_protection
    async def suspended(self) -> AsyncIterator[None]:
        """Closes every connection for the block. New requests wait for its end."""
        check_thread(self.thread)
        self._suspensions += 1
        if self.resumed.is_set():
            self.resumed = trio.Event()
        self.renew()
        try:
            await trio.lowlevel.checkpoint()
            while self.retiring:
                await self._waiting.park()
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
        request = await self.submit(index, tails)
        await request.wait()
        return request

    async def submit(self, index: Index, tails: Sequence[bytes], units: int = 0, patience: Patience | None = None) -> Request:
        """Like ``execute``, but returns when the request is on its way. The caller waits for it, or abandons it.

        ``units`` is what it counts for, by default its number of lines.
        """
        connection = await self.acquire(patience)
        request = Request(len(tails), units)
        connection.submit(request, index, tails)
        return request

    async def acquire(self, patience: Patience | None = None) -> Connection:
        """The connection for the next request, which must be submitted before anything else happens.

        Raises as ``execute`` does, when every server has failed once more, or ``patience`` (by default that of one wait) has
        run out.
        """
        await trio.lowlevel.checkpoint_if_cancelled()  # a caller that is cancelled already sends nothing
        return self.choose() or await self._wait_for_server(patience or Patience())

    @enable_ki_protection
    async def _wait_for_server(self, patience: Patience) -> Connection:
        """Waits until a server is usable, or until each server that may be asked has failed once more."""
        links = self._links()
        if not self.used and not self.closed:
            self.used = True
            for link in links:
                self.start(link.run)
        before = {link: link.failed_attempts for link in links}
        left = self.longest_wait if patience.left is None else patience.left
        began = trio.current_time()
        fall_back_at = began + GRACE
        try:
            while True:
                await trio.lowlevel.checkpoint_if_cancelled()
                if not self.resumed.is_set():
                    left -= trio.current_time() - began
                    await self.resumed.wait()
                    began = trio.current_time()
                    fall_back_at = began + GRACE
                if self.closed:
                    raise ConnectionError("the pool is closed: the block that opened it has ended")
                connection = self.choose()
                if connection is not None:
                    return connection
                ends = began + left
                if trio.current_time() >= ends or all(link.failed_attempts > before[link] for link in self._candidates()):
                    raise self._none_usable()
                for link in links:
                    link.want()
                with trio.move_on_at(min(fall_back_at, ends)) as wait:
                    await self._waiting.park()
                if wait.cancelled_caught and trio.current_time() >= fall_back_at:
                    fall_back_at = trio.current_time() + GRACE
                    # A lone group has nothing to fall back to but a server that is being avoided.
                    if len(self.groups) > 1 or any(link.connection is not None for link in links):
                        self._fall_back()
        finally:
            patience.left = left - (trio.current_time() - began)

    def _fall_back(self) -> None:
        """Stop waiting for the preferred group; fall back to the next."""
        for group in self.groups:
            if any(link.hopeful for link in group):
                for link in group:
                    link.hopeful = False
                break
        self.changed()

    def _none_usable(self) -> HandlerSocketError:
        asked = {link.server: link for link in self._candidates()}
        others = {link.server: None for link in self._links() if link.server not in asked}
        alone = str(next(iter(asked))) if len(asked) + len(others) == 1 else None
        errors = [link.error for link in asked.values()]
        if all(isinstance(error, AuthenticationError) for error in errors):
            first = errors[0]
            assert isinstance(first, AuthenticationError)
            return operational_error(first.code, first.message, ", ".join(map(str, asked)), alone)
        reasons = "; ".join(f"{server}: {link.trouble}" for server, link in asked.items())
        if others:
            reasons += f"; not asked, because no refusal came: {', '.join(map(str, others))}; see move_writes_on_silence"
        return ConnectionError(f"no server is usable ({reasons})", server=alone)


@asynccontextmanager
@enable_ki_protection
async def open_pool(
    servers: Servers,
    *,
    secret: str | None,
    timeout: float,
    connections: int,
    connect: Connect,
    instruments: Instruments,
    for_writes: bool = False,
    moves_on_silence: bool = False,
) -> AsyncIterator[Pool]:
    """A :class:`Pool` for the block. Afterwards it has no task and no socket left, and using it raises ConnectionError."""
    async with background_nursery() as nursery:
        pool = Pool(
            nursery,
            servers,
            secret=secret,
            timeout=timeout,
            connections=connections,
            connect=connect,
            instruments=instruments,
            for_writes=for_writes,
            moves_on_silence=moves_on_silence,
        )
        # An instrument may want to end the program. Its callers are in the middle of something, so a task of its own raises it.
        instruments.end = lambda error: nursery.start_soon(_raise, error)
        try:
            yield pool
        finally:
            instruments.end = None
            pool.close()


async def _raise(error: BaseException) -> None:
    raise error
