"""Watching what a client does: the interface, and the list that calls it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from .exceptions import HandlerSocketError

logger = logging.getLogger("trio_hs")


class Instrument:
    """What happens in a Manager or a socket, as it happens. Subclass it and override what is of interest.

    Give instances to ``open_manager(instruments=[...])``. The methods are called in the trio thread, between two steps of
    the program: they must be quick and must not block. One that raises is logged and not called again. Servers are named
    as in ``statistics()``.
    """

    def connection_up(self, server: str) -> None:
        """A connection was made, and the server answered on it."""

    def connection_down(self, server: str, reason: BaseException) -> None:
        """A connection that was up ended by itself. (One that the client closes on purpose is not told.)"""

    def connect_failed(self, server: str, reason: BaseException) -> None:
        """An attempt to connect failed; also each of the probes of a server that is down."""

    def failover(self, servers: tuple[str, ...]) -> None:
        """Another set of servers takes the requests now: one went down or came back, stalls, or refuses writes.

        ``servers`` are those that the next requests go to, in no order; empty while there is none.
        """

    def request_done(self, server: str, operation: str, table: str, requests: int, seconds: float, failed: bool) -> None:
        """A Manager's request was answered or lost; when it is retried, the next attempt is told by itself.

        Args:
          server: where it was sent.
          operation: the method's name: ``get``, ``insert_many``, ...
          table: ``database.table``.
          requests: how many lines of the protocol went out together; 1 but for ``get_many`` and ``insert_many``.
          seconds: from handing it to the connection to the answer.
          failed: True when no answer came. A refusal by the server is an answer.
        """

    def retry(self, operation: str, table: str, attempt: int, error: HandlerSocketError) -> None:
        """Attempt number ``attempt`` (1 is the first) failed for ``error``, and there will be another."""


class Instruments:
    """The instruments of one Manager or socket; false when there are none, so that unused ones cost one test."""

    def __init__(self, instruments: Iterable[Instrument] = ()) -> None:
        self._instruments = list(instruments)
        for instrument in self._instruments:
            if not isinstance(instrument, Instrument):
                raise TypeError(f"an instrument is an instance of a subclass of trio_hs.Instrument, not {instrument!r}")

    def __bool__(self) -> bool:
        return bool(self._instruments)

    def call(self, event: str, *details: Any) -> None:
        """Tells every instrument. A faulty one must not disturb the requests that it watches, so it is dropped."""
        for instrument in self._instruments[:]:
            try:
                getattr(instrument, event)(*details)
            except Exception:
                self._instruments = [other for other in self._instruments if other is not instrument]
                logger.exception("the instrument %r failed in %s and is not used any more", instrument, event)
