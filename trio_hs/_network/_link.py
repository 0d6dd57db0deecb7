"""One connection to one server, renewed for as long as its pool is open, with pauses between attempts to reach the server."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

import trio
from trio.lowlevel import enable_ki_protection

from .._instruments import Instruments
from ..exceptions import AuthenticationError
from ._addresses import Addresses
from ._connection import Connection
from ._failures import without_tracebacks
from ._reasons import is_refusal, reason_of
from ._secrets import Secret, SecretError, rotates, secret_now
from ._servers import Server
from ._transport import Connect

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


class LinkOwner(Protocol):
    """What a link needs from its pool."""

    timeout: float
    """Seconds that a server may be silent. An address may override it."""
    secret: Secret | None
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

    def failed(self, link: Link) -> None:
        """React to an attempt to connect that failed. If that changes what is usable, a call of ``changed`` follows."""

    def wanted(self) -> trio.Event:
        """An event that is set while callers wait for a usable server."""

    def close(self) -> None:
        """The block that opened the pool is being cancelled."""


class Contact(NamedTuple):
    """A connection on which the server has answered, at which of its addresses, and after how many seconds."""

    connection: Connection
    address: Server
    seconds: float


def _discard(contact: Contact) -> None:
    contact.connection.invalidate(OSError("the client closed the connection"))


class Link:
    """One connection to one server, renewed for as long as the pool is open.

    Attributes:
      connection: the connection in use, or None while there is none.
      error: why the last attempt to connect or the last connection failed, until the server has answered again.
      failed_at: when that was, on trio's clock.
      renewing: True while a connection that ended without harm is being replaced: the server had closed it while it was
        idle, or the client has retired it.
      attempted: set when the first attempt to connect has ended.
      failed_attempts: how many attempts to connect have failed.
      connected: how many attempts to connect have succeeded.
      answered: how many answers came on earlier connections.
      refusing: True for a while after the server answered that it cannot lock tables.
      removed: True once the server is no longer one of the pool's.
      ended: set when a removed one has nothing under way any more but the requests of its last connection.
      hopeful: True while the outcome of a first attempt is open. A preferred group is worth waiting for then.
    """

    def __init__(self, pool: LinkOwner, server: Server, addresses: Addresses) -> None:
        self.pool = pool
        self.server = server
        self.peer = str(server)
        self.connection: Connection | None = None
        self.error: BaseException | None = None
        self.failed_at = -math.inf
        self.renewing = False
        self.attempted = trio.Event()
        self.failed_attempts = 0
        self.connected = 0
        self.answered = 0
        self.hopeful = True
        self.refusing = False
        self.removed = False
        self.ended = trio.Event()
        self._started = False
        self._scope = trio.CancelScope()
        self._down = False  # it refused a connection, and has accepted none since
        self._refused_at: int | None = None  # `answers` when it was last known to refuse writes
        self._ended = False  # whether the server or the network ended the last connection; False if we did, for its silence
        self._shunning = FIRST_SHUNNING
        self._shunned_until = -math.inf
        self._disconnected = trio.Event()
        self._addresses = addresses
        self._address = server  # the one of the last connection
        self._connected_at = -math.inf
        self._doubtful = False  # whether it gave no answer to requests when it was last connected
        self._secret = pool.secret if server.secret is None else server.secret
        self._secret_due = False  # whether the last attempt to connect got as far as asking for the secret, and no further

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
    def secret_rotates(self) -> bool:
        """Whether the next connection may get another secret."""
        return rotates(self._secret)

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
    def start(self) -> None:
        """Starts to connect, unless that has begun."""
        if not self._started:
            self._started = True
            self.pool.start(self.run)

    @enable_ki_protection
    def remove(self) -> Connection | None:
        """The pool has no more use for it: ends attempts to connect, and retires the connection, which is returned."""
        connection = self.connection
        self.retire()
        self.removed = True
        self.attempted.set()
        self._scope.cancel()
        if not self._started:
            self.ended.set()
        return connection

    @enable_ki_protection
    async def run(self) -> None:
        """Connects, serves, and connects again, until it is removed; or until cancelled, and then the pool closes."""
        try:
            with self._scope:
                await self._run()
        finally:
            self.ended.set()
            if self.removed:
                self.pool.changed()
            else:
                self.pool.close()

    async def _run(self) -> None:
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
            with trio.move_on_after(pause * (1 - self.pool.random.random() / 2)):
                await trio.sleep(SHORTEST_PAUSE)
                await self.pool.wanted().wait()
            pause = min(pause * 2, LONGEST_PAUSE)

    @property
    def flaw(self) -> int:
        """0 if the server is fit for use, 1 if it stalls, 2 if it would refuse. Greater is worse."""
        if self.refusing:
            return 2
        connection = self.connection  # read once: instruments ask in other threads
        return int(connection is not None and connection.stalled)

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

    async def _contact(self, address: Server) -> Contact:
        transport = await self.pool.connect(address)
        try:
            connection = Connection(
                transport, self.peer, timeout=self.timeout, on_closed=self._closed, on_changed=self._connection_changed
            )
            # Not before the server is reached: a server that is down must not have the secret fetched each second.
            self._secret_due = True
            secret = await secret_now(self._secret)
            self._secret_due = False
            began = trio.current_time()
            await connection.authenticate(secret)
            return Contact(connection, address, trio.current_time() - began)
        except BaseException:
            transport.close()
            raise

    async def _reach(self) -> Contact:
        self._secret_due = False
        try:
            with trio.fail_after(self.timeout):
                return await self._addresses.first_answer(self._contact, _discard)
        except trio.TooSlowError:
            if self._secret_due:
                raise SecretError(f"the function for the secret took longer than {self.timeout:g} s") from None
            raise TimeoutError(f"no answer within {self.timeout:g} s") from None

    async def ping(self) -> float:
        """Seconds that the server takes to answer, on a connection that is closed again. Raises what is wrong."""
        contact = await self._reach()
        _discard(contact)
        return contact.seconds

    async def _connect(self) -> Connection | None:
        contact: Contact | None = None
        try:
            contact = await self._reach()
            if self.removed or not self.pool.resumed.is_set():
                return None
            connection = contact.connection
            self._connected(contact)
            contact = None
            return connection
        # IDNA refuses a name with a UnicodeError, a server a secret with an OperationalError, and a user's own `connect=` may
        # raise anything. None of them may end the block that opened the pool.
        except Exception as error:
            self._failed(error)
            return None
        finally:
            if contact is not None:
                _discard(contact)

    def _connected(self, contact: Contact) -> None:
        self.connection = contact.connection
        self._address = contact.address
        self._connected_at = trio.current_time()
        self.connected += 1
        self.hopeful = self._down = self.renewing = False
        if self._ended:  # it may have been restarted, and may be slow to answer its first write
            self._refused_at = None
            self._ended = False
        if not self._doubtful:
            self.error = None
        self.attempted.set()
        logger.info("%s: connected", self.peer, extra={"server": self.peer})
        self.pool.instruments.call("connection_up", self.peer)
        self.pool.changed()

    def _failed(self, error: Exception) -> None:
        # The first failure is news. Those of the attempts that follow are not.
        level = logging.WARNING if self.hopeful else logging.DEBUG
        logger.log(level, "%s: cannot connect: %s", self.peer, reason_of(error), extra={"server": self.peer})
        self.pool.instruments.call("connect_failed", self.peer, error)
        before = self.hopeful, self._down
        self.error = without_tracebacks(error)
        self.failed_at = trio.current_time()
        self.failed_attempts += 1
        self.hopeful = self.renewing = False
        # A server that was down and is silent now counts as down.
        # A secret that is refused while it rotates is late, here or at the server, which may take the writes of others.
        refused = is_refusal(error) and not (self.secret_rotates and isinstance(error, AuthenticationError))
        self._down = self._down or self.pool.moves_on_silence or refused
        self.attempted.set()
        self.pool.failed(self)
        if before != (self.hopeful, self._down):
            self.pool.changed()

    def retire(self) -> None:
        """Retires the connection: requests under way on it are still answered."""
        self.gives_way()  # while `answers` includes this connection's
        connection, self.connection = self.connection, None
        if connection is not None:
            self.hopeful = self.renewing = True
            self._disconnected.set()
            self.pool.retiring.add(connection)
            connection.retire()

    def _closed(self, connection: Connection) -> None:
        self.answered += connection.answered
        if connection.retired:
            self.pool.retiring.discard(connection)
            self.pool.changed()
        elif self.connection is connection:
            if connection.cancelled:
                self.pool.close()
            self._disconnected.set()
            self.connection = None
            self._lost(connection)
            self.pool.changed()

    def _lost(self, connection: Connection) -> None:
        reason = connection.reason
        silent = isinstance(reason, TimeoutError)
        self._doubtful = connection.fruitless or connection.stalled or silent
        # Don't wait for a server that accepts us and then drops every request, or that we were already avoiding.
        self.hopeful = not (connection.fruitless or connection.stalled or self.refusing)
        # That the server ended the connection says nothing yet. The next attempt to connect will.
        self._ended = not silent
        self._down = self.pool.moves_on_silence and silent
        # Servers close idle connections (handlersocket_timeout). One that served or lasted had no other reason to.
        lasted = trio.current_time() - self._connected_at > LONGEST_PAUSE
        harmless = isinstance(reason, OSError) and not silent and (connection.answered > 0 or lasted)
        self.renewing = connection.ended_idle and harmless
        if connection.fruitless:
            self.failed_attempts += 1
            self.pool.failed(self)
        if self._doubtful:
            self._addresses.failed(self._address)
        if self.pool.closed:
            return
        if not self.renewing:
            self.error = reason
            self.failed_at = trio.current_time()
        elif connection.answered:
            self.error = None
        level = logging.WARNING if silent else logging.INFO
        logger.log(level, "%s: connection lost: %s", self.peer, reason, extra={"server": self.peer})
        self.pool.instruments.call("connection_down", self.peer, reason)

    @property
    def problem(self) -> str | None:
        """Why the last attempt to connect failed or the last connection ended, until the server has answered again."""
        error, connection = self.error, self.connection  # read once: instruments ask in other threads
        if error is None or (connection is not None and connection.answered):
            return None
        return reason_of(error)

    def _connection_changed(self, connection: Connection) -> None:
        if connection.worn and self.connection is connection:
            self.retire()
        self.pool.changed()
