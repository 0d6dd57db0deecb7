"""Instruments watch what a client does: their interface, and the list that calls them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from .exceptions import HandlerSocketError, OperationalError

if TYPE_CHECKING:
    from ._network import ConnectionPool

logger = logging.getLogger("trio_hs")


class Call(NamedTuple):
    """A call of an operation of a Manager or of one of its tables."""

    operation: str
    """The name of the method, such as ``insert_many``."""
    db: str
    """The database. For a write that ``write_databases`` redirects, the one that it goes to."""
    table: str
    """The table's name."""
    rows: int
    """How many keys ``get_many`` was given, or rows ``insert_many``; 1 for the other operations."""
    changes: bool
    """Whether it changes data."""


class Outcome(NamedTuple):
    """How a call ended, or one of its requests."""

    seconds: float
    """How long it took. For a call, with all repetitions and all waiting."""
    server: str | None
    """The server of the request, or of the call's last request. None if nothing was sent, or if the error is that none of
    several servers was usable."""
    error: BaseException | None = None
    """None for a success. Otherwise what the caller gets, of ``insert_many`` the first error among the rows; of a request its
    first refusal, or why no answer came. ``trio.Cancelled`` if the caller was cancelled. A :class:`DecodingError`, and what
    ``row=`` raises, may hold values of rows."""
    maybe_applied: bool = False
    """True if it would change data, did not succeed, and may have been applied. Known also for what was cancelled."""
    failed: int = 0
    """How many rows of ``insert_many``, or lines of the request, have an error; 0 for a success, otherwise at least 1."""
    retries: int = 0
    """How many failed attempts of the call were followed by another one. Of a request always 0."""

    @property
    def cancelled(self) -> bool:
        """Whether the caller was cancelled, as by a deadline. It had waited for ``seconds`` then."""
        return isinstance(self.error, trio.Cancelled)

    @property
    def code(self) -> str | None:
        """What the server answered when it refused, such as ``"1 121"`` for a duplicate key (docs/errors.md), or None."""
        return f"{self.error.code} {self.error.message}" if isinstance(self.error, OperationalError) else None

    @property
    def answered(self) -> bool:
        """Whether the server answered. A refusal is an answer."""
        return self.error is None or isinstance(self.error, OperationalError)


class Instrument:
    """Watches a Manager or a socket, with a method for each event. Subclass it, and override the methods that you need.

    Give instances to ``open_manager(instruments=[...])``. The methods are called in the trio thread, between two steps of
    the program: they must be quick, and must not block. An instrument that raises is logged, and not called again. (If it
    raises SystemExit or KeyboardInterrupt, the block that opened the client ends with that.) Servers have the names of
    ``statistics()``.

    A *call* is what the program asked for: ``await hs.get(...)``. It sends one *request* or several: ``get_many`` and
    ``insert_many`` send many lines in some requests, and a failed request may be followed by another one. Sockets report
    neither. A call is cheaper if no instrument watches calls and requests.
    """

    def pool_opened(self, pool: ConnectionPool) -> None:
        """The client was opened. A Manager has a pool for reads and one for writes, a socket has one. It has connected to no
        server yet. Until ``pool_closed``, ``pool`` says at any time how its servers are doing."""

    def pool_closed(self, pool: ConnectionPool) -> None:
        """The client is being closed. ``pool`` is the object that ``pool_opened`` got."""

    def connection_up(self, server: str) -> None:
        """A connection was made, and the server answered on it."""

    def connection_down(self, server: str, reason: BaseException) -> None:
        """A connection that was up was lost. (Not called when the client closes one on purpose.)"""

    def connect_failed(self, server: str, reason: BaseException) -> None:
        """An attempt to connect failed. This includes each further attempt to reach a server that is down."""

    def failover(self, servers: tuple[str, ...]) -> None:
        """Another set of servers takes the requests now: a server went down or came back, stalls, or refuses writes, or there
        are other servers since :meth:`Manager.set_servers`.

        The next requests go to ``servers``, in no order; empty while no server is usable. Not called when a connection is only
        renewed: because the server closed it while it was idle, or by ``purge`` or ``suspended``.
        """

    def call_started(self, call: Call) -> Any:
        """A call begins, with arguments that can be sent. ``call_ended`` gets what this returns."""

    def call_ended(self, call: Call, outcome: Outcome, context: Any) -> None:
        """A call has ended, after all its attempts: it succeeded, failed for good, or was cancelled.

        ``context`` is what ``call_started`` returned.
        """

    def request_started(self, call: Call, server: str, lines: int, context: Any) -> Any:
        """A request of the call is about to be sent to ``server``. ``request_ended`` gets what this returns.

        Args:
          lines: how many lines of the protocol are sent together: 1, or more for ``get_many`` and ``insert_many``.
          context: what ``call_started`` returned.

        A hedged read is one request, although it may ask two servers.
        """

    def request_ended(self, call: Call, lines: int, outcome: Outcome, context: Any) -> None:
        """A request was answered or lost, or its caller no longer waits. ``context`` is what ``request_started`` returned.

        ``outcome.server`` is the server that answered: of a hedged read perhaps another one. By default this calls
        ``request_done``, unless the request was cancelled.
        """
        if not outcome.cancelled:
            failed, table = not outcome.answered, f"{call.db}.{call.table}"
            self.request_done(outcome.server or "", call.operation, table, lines, outcome.seconds, failed)

    def request_done(self, server: str, operation: str, table: str, requests: int, seconds: float, failed: bool) -> None:
        """A request was answered or lost: the short form of ``request_ended``.

        Args:
          server: the server that it was sent to.
          operation: the method's name: ``get``, ``insert_many``, ...
          table: ``database.table``.
          requests: how many lines of the protocol were sent together.
          seconds: from handing it to the connection to the answer.
          failed: True when no answer came. A refusal by the server is an answer.
        """

    def retry(self, operation: str, table: str, attempt: int, error: HandlerSocketError) -> None:
        """Attempt number ``attempt`` (1 is the first) failed with ``error``, and another one follows."""


class Instruments:
    """The instruments of one Manager or socket. False if there are none, so that they cost one test then.

    Attributes:
      end: ends the block that opened the client, with the exception given; None when it has ended.
      watch_calls: whether any of them watches calls.
      watch_requests: whether any of them watches requests.
    """

    def __init__(self, instruments: Iterable[Instrument] = ()) -> None:
        if isinstance(instruments, str) or not isinstance(instruments, Iterable):
            raise TypeError(f"instruments must be a list of instances of trio_hs.Instrument, not {instruments!r}")
        self.end: Callable[[BaseException], object] | None = None
        self._instruments = list(instruments)
        self._dropped: list[Instrument] = []
        for instrument in self._instruments:
            if not isinstance(instrument, Instrument):
                raise TypeError(f"instruments must hold instances of subclasses of trio_hs.Instrument, not {instrument!r}")
        self.watch_calls = self._override("call_started", "call_ended")
        self.watch_requests = self._override("request_started", "request_ended", "request_done")

    def __bool__(self) -> bool:
        return bool(self._instruments)

    def _override(self, *events: str) -> bool:
        methods = [(getattr(one, event), getattr(Instrument, event)) for one in self._instruments for event in events]
        return any(getattr(method, "__func__", None) is not default for method, default in methods)

    def call(self, event: str, *details: Any) -> None:
        """Calls every instrument."""
        for instrument in self._instruments[:]:
            self.tell(instrument, event, *details)

    def begin(self, call: Call) -> list[tuple[Instrument, Any]]:
        """Reports the start of a call. Returns every instrument with the context that it wants to be given later."""
        if not self.watch_calls:
            return [(instrument, None) for instrument in self._instruments]
        return [(instrument, self.tell(instrument, "call_started", call)) for instrument in self._instruments[:]]

    def tell(self, instrument: Instrument, event: str, *details: Any) -> Any:
        """Calls an instrument. One that raises is dropped, so that it does not disturb the requests that it watches."""
        if self._dropped and any(one is instrument for one in self._dropped):
            return None
        try:
            return getattr(instrument, event)(*details)
        except BaseException as error:
            self._dropped.append(instrument)
            self._instruments = [other for other in self._instruments if other is not instrument]
            if isinstance(error, Exception):
                logger.exception("the instrument %r failed in %s and is not used any more", instrument, event)
            elif self.end is not None:
                self.end(error)
            else:
                raise
        return None
