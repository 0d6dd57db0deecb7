"""Instruments watch what a client does: their interface, and the list that calls them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from .exceptions import HandlerSocketError

logger = logging.getLogger("trio_hs")


class Instrument:
    """Watches a Manager or a socket, with a method for each event. Subclass it, and override the methods that you need.

    Give instances to ``open_manager(instruments=[...])``. The methods are called in the trio thread, between two steps of
    the program: they must be quick, and must not block. An instrument that raises is logged, and not called again. (If it
    raises SystemExit or KeyboardInterrupt, the block that opened the client ends with that.) Servers have the names of
    ``statistics()``.
    """

    def connection_up(self, server: str) -> None:
        """A connection was made, and the server answered on it."""

    def connection_down(self, server: str, reason: BaseException) -> None:
        """A connection that was up was lost. (Not called when the client closes one on purpose.)"""

    def connect_failed(self, server: str, reason: BaseException) -> None:
        """An attempt to connect failed. This includes each further attempt to reach a server that is down."""

    def failover(self, servers: tuple[str, ...]) -> None:
        """Another set of servers takes the requests now: a server went down or came back, stalls, or refuses writes.

        The next requests go to ``servers``, in no order; empty while no server is usable. Not called when a connection is only
        renewed: because the server closed it while it was idle, or by ``purge`` or ``suspended``.
        """

    def request_done(self, server: str, operation: str, table: str, requests: int, seconds: float, failed: bool) -> None:
        """A Manager's request was answered or lost. Each attempt of a retried request has a call of its own.

        Args:
          server: the server that it was sent to.
          operation: the method's name: ``get``, ``insert_many``, ...
          table: ``database.table``.
          requests: how many lines of the protocol were sent together: 1, or more for ``get_many`` and ``insert_many``.
          seconds: from handing it to the connection to the answer.
          failed: True when no answer came. A refusal by the server is an answer.
        """

    def retry(self, operation: str, table: str, attempt: int, error: HandlerSocketError) -> None:
        """Attempt number ``attempt`` (1 is the first) failed with ``error``, and another one follows."""


class Instruments:
    """The instruments of one Manager or socket. False if there are none, so that they cost one test then.

    Attributes:
      end: ends the block that opened the client, with the exception given; None when it has ended.
    """

    def __init__(self, instruments: Iterable[Instrument] = ()) -> None:
        if isinstance(instruments, str) or not isinstance(instruments, Iterable):
            raise TypeError(f"instruments must be a list of instances of trio_hs.Instrument, not {instruments!r}")
        self.end: Callable[[BaseException], object] | None = None
        self._instruments = list(instruments)
        for instrument in self._instruments:
            if not isinstance(instrument, Instrument):
                raise TypeError(f"instruments must hold instances of subclasses of trio_hs.Instrument, not {instrument!r}")

    def __bool__(self) -> bool:
        return bool(self._instruments)

    def call(self, event: str, *details: Any) -> None:
        """Calls every instrument. One that raises is dropped, so that it does not disturb the requests that it watches."""
        for instrument in self._instruments[:]:
            try:
                getattr(instrument, event)(*details)
            except BaseException as error:
                self._instruments = [other for other in self._instruments if other is not instrument]
                if isinstance(error, Exception):
                    logger.exception("the instrument %r failed in %s and is not used any more", instrument, event)
                elif self.end is not None:
                    self.end(error)
                else:
                    raise
