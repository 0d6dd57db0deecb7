"""Pools of connections to equal and to preferred servers.

A *group* is a list of servers that can stand in for each other; groups are in order of preference. :class:`Link` keeps one
connection to one server alive for as long as the pool is open. :meth:`Pool.choose` decides, from the state alone and
without I/O, which connection serves the next request; everything that takes time happens in the links' tasks.

Reads leave a group as soon as it is silent. Writes do not: a primary that is slow, or that this client alone cannot reach, may
take the writes of others, and a standby that accepted ours would have rows that the primary never gets. So a pool for writes
moves on only when every server of the group has *given way*: it refused the connection, or the write. Silence is no answer.
"""

from __future__ import annotations

import errno
import logging
import math
import random
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import trio
from trio.lowlevel import enable_ki_protection

from .._instruments import Instruments
from .._protocol import Index
from ..exceptions import AuthenticationError, ConnectionError, HandlerSocketError, OperationalError, operational_error
from ._connection import Connection, Request
from ._transport import Server, Transport, connect_transport

logger = logging.getLogger("trio_hs")

#: Seconds that a server may be silent with requests outstanding, or take to accept a connection.
DEFAULT_TIMEOUT = 3.0

#: Seconds between attempts to reach a server that is down: from the first to the last, doubling, each shortened at
#: random by up to a half so that many clients do not come back at the same moment.
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
#: A caller who finds every server down cuts the pause short, but no server is tried more often than this, in seconds.
SHORTEST_PAUSE = 0.02

#: Seconds for which a less preferred group is not yet asked while the preferred one is only just being (re)connected.
GRACE = 0.25
#: Seconds beyond the timeout for which an operation waits for a usable server: the attempt to connect, which may take the whole
#: timeout, has to begin first.
MARGIN = 0.25

#: Seconds for which a server that turns requests away is not asked while another may: from the first to the longest, doubling.
FIRST_SHUNNING = 0.1
LONGEST_SHUNNING = 1.0

#: What connecting to an address of a kind that this machine has no network for ends with, and for each an address of IPv6, the
#: kind that may be missing, that it then is the same with: ``::1`` where it is switched off, the other where no way leads out.
_NO_NETWORK = {errno.EAFNOSUPPORT: "::1", errno.EADDRNOTAVAIL: "::1", errno.ENETUNREACH: "2001:db8::1"}

AnyServer: TypeAlias = Server | tuple[str, str] | tuple[str, str, int | None] | tuple[str, str, int | None, float | None]
#: Equals that share the load, or groups of them in order of preference; one list does not mix the two.
Servers: TypeAlias = Sequence[AnyServer | Sequence[AnyServer]]
Connect: TypeAlias = Callable[[Server], Awaitable[Transport]]


def parse_server(server: object) -> Server:
    """A :class:`Server` from one, from ``("inet", host, port[, timeout])`` or from ``("unix", path[, None[, timeout]])``.

    Raises TypeError or ValueError that says what is wrong and what would be right.
    """
    forms = "a server is ('inet', host, port[, timeout]) or ('unix', path[, None, timeout])"
    secret = None
    if isinstance(server, Server):
        kind, host, port, timeout, secret = server.kind, server.host, server.port, server.timeout, server.secret
    elif isinstance(server, (tuple, list)) and 2 <= len(server) <= 4:
        kind, host, port, timeout = (*server, None, None)[:4]
    else:
        # Three items at most: a secret may stand behind them.
        raise TypeError(f"{forms}, not {tuple(server[:3]) if isinstance(server, (tuple, list)) else server!r}")
    if kind not in ("inet", "unix"):
        raise ValueError(f"{forms}, not {kind!r}")
    if not isinstance(host, str) or not host:
        raise ValueError(f"{forms}; {host!r} is no host or path")
    if kind == "inet" and (not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536):
        raise ValueError(f"{forms}; {port!r} is no port of {host}")
    if kind == "unix" and port is not None:
        raise ValueError(f"{forms}; a unix socket has no port, but {port!r} was given")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"{forms}; the timeout of {host} must be a positive number of seconds, not {timeout!r}")
    if secret is not None and not isinstance(secret, str):
        raise TypeError(f"the secret of {host} must be a str, not {type(secret).__name__}")
    return Server(kind, host, port, timeout, secret)


def parse_servers(servers: Servers) -> list[list[Server]]:
    """Groups in order of preference. A flat list of servers is one group."""
    if isinstance(servers, str) or not isinstance(servers, Iterable) or not servers:
        raise TypeError(f"servers must be a list of servers, or a list of groups of them, not {servers!r}")
    groups = [[parse_server(server) for server in entry] for entry in servers if isinstance(entry, list)]
    if len(groups) == len(servers):
        if not all(groups):
            raise ValueError("a group of servers is empty")
        return groups
    return [[parse_server(server) for server in servers]]


def _reason(error: BaseException | None) -> str:
    """Why, in one line; trio hides the reasons of a failed connect to several addresses in a group."""
    cause = error.__cause__ if error is not None else None
    if isinstance(error, OSError) and isinstance(cause, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(_reason(inner) for inner in cause.exceptions))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def _refused(error: BaseException) -> bool:
    """Whether an attempt to connect failed because nothing listens there, or because the server answered no.

    No other failure shows that the server takes no writes from others: not a timeout, an unreachable host, a name that does not
    resolve, or a stream that ends before the answer, which a proxy or the network may have ended.
    """
    if isinstance(error, OperationalError):
        return True
    cause = error.__cause__
    errors = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (error,)  # a name may have several addresses
    telling = [each for each in errors if not (isinstance(each, OSError) and _no_network(each.errno))]
    # A unix socket that is not there is FileNotFoundError.
    return bool(telling) and all(isinstance(each, ConnectionRefusedError | FileNotFoundError) for each in telling)


def _no_network(number: int | None) -> bool:
    """Whether this machine lacks the kind of network that an error is about, so that it says nothing about the server.

    The same errors come where the machine has it: when no local port is free, or a route is gone. Then the server may live.
    """
    address = _NO_NETWORK.get(number) if number is not None else None
    return address is not None and _route_error(address) in _NO_NETWORK


def _route_error(address: str) -> int | None:
    """What keeps this machine from an address of IPv6, None for nothing. Nothing is sent."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError as error:
        return error.errno
    return None


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
    """Requests that wait for an answer, long ones counting for several, or for their turn."""
    answers: int
    """Answers that came since the pool was opened."""
    connected: int
    """How often a connection was made and the server answered on it."""
    failed_attempts: int
    """How often that was tried in vain."""
    refusing: bool
    """True while others are asked because it answered ``lock_tables``; it is tried again after 0.1 s, at last every second."""
    last_error: str | None
    """Why the last attempt failed or the last connection ended; None when nothing ever went wrong."""


class Patience:
    """How long one operation may still wait for a usable server, over all its attempts.

    Attributes:
      left: seconds; None until the first wait, before which it is the pool's ``longest_wait``.
    """

    left: float | None = None  # mostly it stays so, and costs nothing

    @property
    def exhausted(self) -> bool:
        return self.left is not None and self.left <= 0


class Link:
    """One connection to one server, renewed for as long as the pool is open.

    Attributes:
      connection: the connection in use, or None while there is none.
      error: why the last attempt or the last connection failed.
      failed_attempts: how many attempts to connect have failed so far.
      connected: how many have not.
      answered: how many answers came on earlier connections.
      refusing: True for a while after it answered that it cannot lock tables.
      hopeful: True while the outcome of a first attempt is open; a preferred group is worth waiting for then.
    """

    def __init__(self, pool: Pool, server: Server) -> None:
        self.pool = pool
        self.server = server
        self.peer = str(server)
        self.connection: Connection | None = None
        self.error: BaseException | None = None
        self.failed_attempts = 0
        self.connected = 0
        self.answered = 0
        self.hopeful = True
        self.refusing = False
        self._down = False  # connections to it were refused, and none was made since
        self._refused_at: int | None = None  # how many answers there were when it was last known to refuse writes
        self._ended = False  # whether the last connection was ended by the server or the network, not for its silence
        self._shunning = FIRST_SHUNNING
        self._shunned_until = -math.inf
        self._wanted = trio.Event()
        self._parted = trio.Event()

    def __repr__(self) -> str:
        if not self.pool.used:
            return f"<{self.server} not used yet>"
        if self.pool.closed:
            return f"<{self.server} closed>"
        return f"<{self.server} {'up' if self.connection else 'connecting' if self.hopeful else f'down: {self.trouble}'}>"

    @property
    def timeout(self) -> float:
        return self.server.timeout or self.pool.timeout

    @property
    def trouble(self) -> str:
        """Why it is not connected, in one line."""
        return "no answer yet" if self.error is None else _reason(self.error)

    @property
    def answers(self) -> int:
        return self.answered + (self.connection.answered if self.connection is not None else 0)

    def gives_way(self) -> bool:
        """Whether the server said that it takes no writes, and nothing else since: it refused the connection and accepted none
        after that, or it refused a write, and answered none and was not restarted after that. Silence afterwards changes
        nothing."""
        if self._refused_at is not None and not self.refusing and self.answers > self._refused_at:
            self._refused_at = None
        return self._down or self.refusing or self._refused_at is not None

    def refuse(self) -> None:
        """It answered that it takes no writes: keep requests away from it for a moment."""
        self.refusing = True
        self._refused_at = self.answers
        self.pool.start(self.shun)

    @enable_ki_protection
    async def run(self) -> None:
        """Connects, serves, and connects again, until cancelled."""
        pause = FIRST_PAUSE
        while True:
            await self.pool.resumed.wait()
            started = trio.current_time()
            connection = await self._connect()
            if connection is not None:
                # In a task of its own: one that is retired takes its time to end, and the next one must not wait for it.
                self._parted = trio.Event()
                self.pool.start(connection.run)
                await self._parted.wait()
                if connection.retired:
                    continue
            if not self.pool.resumed.is_set():
                continue
            # A connection that ends as soon as it is made is as bad as none; one that served well is renewed at once,
            # for servers close idle connections (handlersocket_timeout).
            if connection is not None and trio.current_time() - started > LONGEST_PAUSE:
                pause = FIRST_PAUSE
                continue
            self._wanted = trio.Event()
            with trio.move_on_after(pause * (1 - self.pool.random.random() / 2)):
                await trio.sleep(SHORTEST_PAUSE)
                await self._wanted.wait()
            pause = min(pause * 2, LONGEST_PAUSE)

    def want(self) -> None:
        """Somebody waits for this server: try it now."""
        self._wanted.set()

    @property
    def flaw(self) -> int:
        """0 for a server fit for use, 1 for one that stalls, 2 for one that would refuse. Greater is worse."""
        if self.refusing:
            return 2
        return int(self.connection is not None and self.connection.stalled)

    @enable_ki_protection
    async def shun(self) -> None:
        """Keeps requests away from a server that refuses them, for a moment; the first one afterwards tries it again."""
        again = trio.current_time() - self._shunned_until < 2 * LONGEST_SHUNNING
        self._shunning = min(self._shunning * 2, LONGEST_SHUNNING) if again else FIRST_SHUNNING
        await trio.sleep(self._shunning)
        self._shunned_until = trio.current_time()
        self.refusing = False
        if self._refused_at is not None:
            self._refused_at = self.answers
        self.pool.changed()

    async def _connect(self) -> Connection | None:
        transport: Transport | None = None
        error: BaseException
        try:
            with trio.fail_after(self.timeout):
                transport = await self.pool.connect(self.server)
                connection = Connection(
                    transport,
                    str(self.server),
                    timeout=self.timeout,
                    on_closed=self._closed,
                    on_changed=self._connection_changed,
                )
                await connection.authenticate(self.pool.secret if self.server.secret is None else self.server.secret)
            if not self.pool.resumed.is_set():
                return None
            self.connection = connection
            self.connected += 1
            self.hopeful = self._down = False
            if self._ended:  # it may have been restarted, and is slow to answer its first write then
                self._refused_at = None
                self._ended = False
            logger.info("%s: connected", self.server)
            self.pool.instruments.call("connection_up", str(self.server))
            self.pool.changed()
            transport = None
            return connection
        except trio.TooSlowError:
            error = TimeoutError(f"no answer within {self.timeout:g} s")
        # A name that IDNA refuses is a UnicodeError, a wrong secret an OperationalError; a caller's own connect may raise
        # anything. It must not end the block that opened the pool.
        except Exception as exc:
            error = exc
        finally:
            if transport is not None:
                transport.close()
        # The first failure is news, those of the probes behind it are not.
        logger.log(logging.WARNING if self.hopeful else logging.DEBUG, "%s: cannot connect: %s", self.server, _reason(error))
        self.pool.instruments.call("connect_failed", str(self.server), error)
        self.error = error
        self.failed_attempts += 1
        self.hopeful = False
        # A server that was down and is silent now has not come back, as far as anybody knows.
        self._down = self._down or self.pool.moves_on_silence or _refused(error)
        self.pool.changed()
        return None

    def retire(self) -> None:
        """Gives the connection up in peace: what is under way on it is still answered."""
        self.gives_way()  # while all answers are counted
        connection, self.connection = self.connection, None
        if connection is not None:
            self.hopeful = True
            self._parted.set()
            self.pool.retiring.add(connection)
            connection.retire()

    def _closed(self, connection: Connection) -> None:
        self.answered += connection.answered
        if connection.retired:
            self.pool.retiring.discard(connection)
            self.pool.changed()
        elif self.connection is connection:
            self._parted.set()
            self.connection = None
            # Who lets in and then dies of every request is not worth waiting for, nor is who was avoided before.
            self.hopeful = not (connection.fruitless or connection.stalled or self.refusing)
            self.failed_attempts += connection.fruitless
            # A connection that the server ended says nothing yet: the next attempt to connect will.
            self._ended = not isinstance(connection.reason, TimeoutError)
            self._down = self.pool.moves_on_silence and not self._ended
            if not self.pool.closed:
                self.error = connection.reason
                logger.info("%s: connection lost: %s", self.server, connection.reason)
                self.pool.instruments.call("connection_down", str(self.server), connection.reason)
            self.pool.changed()

    def _connection_changed(self, connection: Connection) -> None:
        if connection.worn and self.connection is connection:
            self.retire()
        self.pool.changed()


def _load(connection: Connection) -> int:
    return connection.load


def _connected(group: Sequence[Link]) -> list[tuple[int, Connection]]:
    """The connections of a group, each with the flaw of its server: what stalls one connection to it mostly stalls the
    others too."""
    flaws: dict[str, int] = {}
    for link in group:
        flaws[link.peer] = max(link.flaw, flaws.get(link.peer, 0))
    return [(flaws[link.peer], link.connection) for link in group if link.connection is not None]


class Pool:
    """Connections to the servers of one kind (for reads or for writes). Its tasks run in the nursery given to it.

    It connects when it is first used: an open connection to a listener for writes, with a table open, keeps
    ``SET GLOBAL read_only=1`` waiting on the server, so a program that only reads must not hold one.

    Attributes:
      for_writes: whether requests move to a less preferred group only when every server before it has given way.
      moves_on_silence: whether silence for a whole timeout, and any other failure to connect, counts as giving way.
      longest_wait: seconds for which one operation waits for a usable server, in all.
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
        if not timeout > 0:
            raise ValueError(f"timeout must be a positive number of seconds, not {timeout!r}")
        if connections < 1:
            raise ValueError(f"connections must be at least 1 per server, not {connections!r}")
        if secret is not None and not isinstance(secret, str):
            raise TypeError(f"a secret must be a str, not {type(secret).__name__}")
        if not isinstance(moves_on_silence, bool):
            raise TypeError(f"move_writes_on_silence must be a bool, not {moves_on_silence!r}")
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
        self.near = False  # whether that is a single one, to a server that is near
        self._in_use: frozenset[str] = frozenset()
        self._waiting = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Pool {' | '.join(' '.join(map(repr, group)) for group in self.groups)}>"

    # ---- deciding

    def choose(self) -> Connection | None:
        """The connection for the next request: the least loaded of those that serve now, or None when there is none."""
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
        """Keeps further requests away from the server that turned this one away, and says whether another is to be asked,
        which may be one that is only just being connected."""
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
        """Something happened to a link: decide anew who serves, and let those look who wait."""
        self._live = deque(self._usable())
        self.near = len(self._live) == 1 and self._live[0].near
        if self.instruments:
            in_use = frozenset(connection.peer for connection in self._live)
            if in_use != self._in_use:
                self._in_use = in_use
                self.instruments.call("failover", tuple(sorted(in_use)))
        self._waiting.unpark_all()

    def _usable(self) -> list[Connection]:
        """The connections of the first group with a server fit for use. Without one, those to the least flawed servers, but
        none while there is hope for a better one. Writes stay with the first group that has not given way."""
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
        """How every server is doing, in the order of preference."""
        links: dict[Server, list[Link]] = {}
        for link in self._links():
            links.setdefault(link.server, []).append(link)
        return tuple(self._statistics_of(server, its_links) for server, its_links in links.items())

    def _statistics_of(self, server: Server, links: list[Link]) -> ServerStatistics:
        connections = [link.connection for link in links if link.connection is not None]
        errors = [_reason(link.error) for link in links if link.error is not None]
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
        """Replaces every connection by a new one, on which no index is open yet; what is under way is still answered."""
        for link in self._links():
            link.retire()
        self.changed()

    @enable_ki_protection
    def close(self) -> None:
        """Refuses further requests, also those that wait for a server; what is under way fails when the tasks end."""
        self.closed = True
        self.resumed.set()
        self._waiting.unpark_all()

    @asynccontextmanager
    @enable_ki_protection
    async def suspended(self) -> AsyncIterator[None]:
        """No connection is open during the block, and new requests wait for its end."""
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
        """Sends one line per tail through one connection and returns the request when its answers or its failure are there.

        Raises ConnectionError (nothing was sent then) when no server is usable, and AuthenticationError when that is for
        the secret. A caller that is cancelled may have sent the request.
        """
        request = await self.submit(index, tails)
        await request.wait()
        return request

    async def submit(self, index: Index, tails: Sequence[bytes], units: int = 0, patience: Patience | None = None) -> Request:
        """Like ``execute``, but returns as soon as the request is on its way; the caller waits for it, or abandons it.

        ``units`` is what it counts for, by default its number of lines.
        """
        connection = await self.acquire(patience)
        request = Request(len(tails), units)
        connection.submit(request, index, tails)
        return request

    async def acquire(self, patience: Patience | None = None) -> Connection:
        """The connection for the next request; submit it before anything else happens. Raises as ``execute`` does, when every
        server has failed once more or ``patience`` has run out, by default that of one wait."""
        await trio.lowlevel.checkpoint_if_cancelled()  # a caller that is cancelled already sends nothing
        return self.choose() or await self._wait_for_server(patience or Patience())

    @enable_ki_protection
    async def _wait_for_server(self, patience: Patience) -> Connection:
        """Waits until a server is usable, or until each of those that may be asked has failed once more."""
        links = self._links()
        if not self.used and not self.closed:
            self.used = True
            for link in links:
                self.start(link.run)
        before = {link: link.failed_attempts for link in links}
        left = self.longest_wait if patience.left is None else patience.left
        began = trio.current_time()
        hope_ends = began + GRACE
        try:
            while True:
                await trio.lowlevel.checkpoint_if_cancelled()
                if not self.resumed.is_set():
                    left -= trio.current_time() - began
                    await self.resumed.wait()
                    began = trio.current_time()
                    hope_ends = began + GRACE
                if self.closed:
                    raise ConnectionError("the pool is closed: the block that opened it has ended")
                connection = self.choose()
                if connection is not None:
                    return connection
                ends = began + left
                if trio.current_time() >= ends or all(link.failed_attempts > before[link] for link in self._candidates()):
                    raise self._nobody()
                for link in links:
                    link.want()
                with trio.move_on_at(min(hope_ends, ends)) as wait:
                    await self._waiting.park()
                if wait.cancelled_caught and trio.current_time() >= hope_ends:
                    hope_ends = trio.current_time() + GRACE
                    # In a lone group there is nobody to turn to but who is avoided for now.
                    if len(self.groups) > 1 or any(link.connection is not None for link in links):
                        self._give_up_hope()
        finally:
            patience.left = left - (trio.current_time() - began)

    def _give_up_hope(self) -> None:
        """The most preferred group that may yet come has had its time: ask the next one."""
        for group in self.groups:
            if any(link.hopeful for link in group):
                for link in group:
                    link.hopeful = False
                break
        self.changed()

    def _nobody(self) -> HandlerSocketError:
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
async def background_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery whose tasks end with the block, and that never touches the block's own exception.

    Leaving cancels the tasks and waits for them, shielded: they stop at once, and what they hold is closed by then.
    (Left to itself, a nursery would wrap an exception of the user's code in a group.)
    """
    manager = trio.open_nursery()
    nursery = await manager.__aenter__()
    try:
        yield nursery
    finally:
        nursery.cancel_scope.shield = True
        nursery.cancel_scope.cancel()
        try:
            await manager.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            # Ctrl-C while the tasks were ending; they have.
            if group.split(KeyboardInterrupt)[1] is None:
                raise KeyboardInterrupt from None
            raise


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
    """A :class:`Pool` for the block. Afterwards no task and no socket of it is left, and using it is a ConnectionError."""
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
        try:
            yield pool
        finally:
            pool.close()
