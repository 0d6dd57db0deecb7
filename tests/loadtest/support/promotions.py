"""Events of promotions, for histories that are written by hand. Times are seconds, in events microseconds."""

from __future__ import annotations

from hs_drill.store import ANSWERED_WRITES, PROMOTION, Event

from .histories import US

SECOND = 1_000_000


def answered(server: str, first: float, last: float) -> Event:
    """A server answered on connections for writes between two seconds."""
    details = {"first": round(first * SECOND) * US, "last": round(last * SECOND) * US}
    return Event(round(last * SECOND), ANSWERED_WRITES, server, details)


def seen(server: str, at: float, within: float = 0.25) -> Event:
    """A promotion was seen from outside, at most `within` seconds after it had happened."""
    return Event(round(at * SECOND), PROMOTION, server, {"seen_within": within})
