"""One connection to one server, renewed for as long as its pool is open."""

from __future__ import annotations

import errno
import logging
import math
import random
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio
from trio.lowlevel import enable_ki_protection

from .._instruments import Instruments
from ..exceptions import OperationalError
from ._connection import Connection
from ._failures import without_tracebacks
from ._servers import Server
from ._transport import Connect, Transport

logger = logging.getLogger("trio_hs")

#: Seconds between attempts to reach a server that is down: they double from the first pause to the longest. Each is shortened
#: at random by up to a half, so that many clients do not come back at the same moment.
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
#: A caller that finds every server down cuts the pause short. This is the shortest pause, in seconds.
SHORTEST_PAUSE = 0.02

#: Seconds for which a server that refuses requests is avoided while another one is usable: doubling from the first to the
#: longest.
FIRST_SHUNNING = 0.1
LONGEST_SHUNNING = 1.0

#: The errors of connecting to an IPv6 address on a machine without IPv6. Each has an address that fails with the same error
#: then: ``::1`` where IPv6 is switched off, the other address where there is no route.
_NO_NETWORK = {errno.EAFNOSUPPORT: "::1", errno.EADDRNOTAVAIL: "::1", errno.ENETUNREACH: "2001:db8::1"}


def reason_of(error: BaseException | None) -> str:
    """The reason of a failed connection, in one line. Where a name has several addresses, trio hides their errors in a
    group."""
    cause = error.__cause__ if error is not None else None
    if isinstance(error, OSError) and isinstance(cause, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(reason_of(inner) for inner in cause.exceptions))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def _is_refusal(error: BaseException) -> bool:
    """Whether an attempt to connect failed because nothing listens there, or because the server refused it in an answer.

    No other failure shows that the server takes no writes from other clients: not a timeout, an unreachable host, a name that
    does not resolve, or a stream that ends before the answer, which a proxy or the network may have ended.
    """
    if isinstance(error, OperationalError):
        return True
    cause = error.__cause__
    errors = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (error,)  # a name may have several addresses
    relevant = [each for each in errors if not (isinstance(each, OSError) and _no_network(each.errno))]
    # A unix socket that is not there is FileNotFoundError.
    return bool(relevant) and all(isinstance(each, ConnectionRefusedError | FileNotFoundError) for each in relevant)


def _no_network(number: int | None) -> bool:
    """Whether an error only says that this machine has no IPv6, and so nothing about the server.

    A machine with IPv6 has the same errors when no local port is free, or a route is gone. Then the server may be up.
    """
    address = _NO_NETWORK.get(number) if number is not None else None
    return address is not None and _route_error(address) in _NO_NETWORK


def _route_error(address: str) -> int | None:
    """The error of routing to an IPv6 address, or None if there is a route. Nothing is sent."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError as error:
        return error.errno
    return None


class LinkOwner(Protocol):
    """What a link needs from its pool."""

    timeout: float
    """Seconds that a server may be silent. An address may override it."""
    secret: str | None
    """The secret of the servers. An address may override it."""
    moves_on_silence: bool
    """Whether silence and any failure to connect count as a refusal."""
    connect: Connect
    instruments: Instruments
    random: random.Random
    used: bool
    """Whether an operation has asked for a connection yet."""
    closed: bool
    resumed: trio.Event
    """Set while the pool is not suspended. No connection is made before."""
    retiring: set[Connection]
    """The connections that are retired and not closed yet."""

    def start(self, task: Callable[[], Awaitable[object]]) -> None:
        """Run a task until it ends or the pool does."""

    def changed(self) -> None:
        """React to a change of the link or its connection."""


class Link:
    """One connection to one server, renewed for as long as the pool is open.

    Attributes:
      connection: the connection in use, or None while there is none.
      error: why the last attempt to connect or the last connection failed.
      failed_attempts: how many attempts to connect have failed.
      connected: how many attempts to connect have succeeded.
      answered: how many answers came on earlier connections.
      refusing: True for a while after the server answered that it cannot lock tables.
      hopeful: True while the outcome of a first attempt is open. A preferred group is worth waiting for then.
    """

    def __init__(self, pool: LinkOwner, server: Server) -> None:
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
        self._down = False  # it refused a connection, and has accepted none since
        self._refused_at: int | None = None  # `answers` when it was last known to refuse writes
        self._ended = False  # whether the server or the network ended the last connection; False if we did, for its silence
        self._shunning = FIRST_SHUNNING
        self._shunned_until = -math.inf
        self._wanted = trio.Event()
        self._disconnected = trio.Event()

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
        return "no answer yet" if self.error is None else reason_of(self.error)

    @property
    def answers(self) -> int:
        return self.answered + (self.connection.answered if self.connection is not None else 0)

    def gives_way(self) -> bool:
        """Whether the server's last word was that it takes no writes.

        Either it refused a connection, and has accepted none since. Or it refused a write, and since then it has answered
        nothing else and was not restarted. Silence afterwards changes nothing.
        """
        if self._refused_at is not None and not self.refusing and self.answers > self._refused_at:
            self._refused_at = None
        return self._down or self.refusing or self._refused_at is not None

    def refuse(self) -> None:
        """The server answered that it takes no writes: keep requests away from it for a moment."""
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
                # In a task of its own: a retired connection may take long to end, and must not delay the next one.
                self._disconnected = trio.Event()
                self.pool.start(connection.run)
                await self._disconnected.wait()
                if connection.retired:
                    continue
            if not self.pool.resumed.is_set():
                continue
            # A connection that ends as soon as it is made counts as a failed attempt. One that served well is renewed at once,
            # because servers close idle connections (handlersocket_timeout).
            if connection is not None and trio.current_time() - started > LONGEST_PAUSE:
                pause = FIRST_PAUSE
                continue
            self._wanted = trio.Event()
            with trio.move_on_after(pause * (1 - self.pool.random.random() / 2)):
                await trio.sleep(SHORTEST_PAUSE)
                await self._wanted.wait()
            pause = min(pause * 2, LONGEST_PAUSE)

    def want(self) -> None:
        """A caller waits for this server: try to connect now."""
        self._wanted.set()

    @property
    def flaw(self) -> int:
        """0 if the server is fit for use, 1 if it stalls, 2 if it would refuse. Greater is worse."""
        if self.refusing:
            return 2
        return int(self.connection is not None and self.connection.stalled)

    @enable_ki_protection
    async def shun(self) -> None:
        """Keeps requests away from a server that refuses them, for a moment. The first request afterwards tries it again."""
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
            if self._ended:  # it may have been restarted, and may be slow to answer its first write
                self._refused_at = None
                self._ended = False
            logger.info("%s: connected", self.server)
            self.pool.instruments.call("connection_up", str(self.server))
            self.pool.changed()
            transport = None
            return connection
        except trio.TooSlowError:
            error = TimeoutError(f"no answer within {self.timeout:g} s")
        # IDNA refuses a name with a UnicodeError, a server a secret with an OperationalError, and a user's own `connect=` may
        # raise anything. None of them may end the block that opened the pool.
        except Exception as exc:
            error = exc
        finally:
            if transport is not None:
                transport.close()
        # The first failure is news. Those of the attempts that follow are not.
        logger.log(logging.WARNING if self.hopeful else logging.DEBUG, "%s: cannot connect: %s", self.server, reason_of(error))
        self.pool.instruments.call("connect_failed", str(self.server), error)
        self.error = without_tracebacks(error)
        self.failed_attempts += 1
        self.hopeful = False
        # A server that was down and is silent now counts as down.
        self._down = self._down or self.pool.moves_on_silence or _is_refusal(error)
        self.pool.changed()
        return None

    def retire(self) -> None:
        """Retires the connection: requests under way on it are still answered."""
        self.gives_way()  # while `answers` includes this connection's
        connection, self.connection = self.connection, None
        if connection is not None:
            self.hopeful = True
            self._disconnected.set()
            self.pool.retiring.add(connection)
            connection.retire()

    def _closed(self, connection: Connection) -> None:
        self.answered += connection.answered
        if connection.retired:
            self.pool.retiring.discard(connection)
            self.pool.changed()
        elif self.connection is connection:
            self._disconnected.set()
            self.connection = None
            # Don't wait for a server that accepts us and then drops every request, or that we were already avoiding.
            self.hopeful = not (connection.fruitless or connection.stalled or self.refusing)
            self.failed_attempts += connection.fruitless
            # That the server ended the connection says nothing yet. The next attempt to connect will.
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
