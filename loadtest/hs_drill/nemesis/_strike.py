"""A fault as it happened on one server, and the steps that put one on and take it off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

__all__ = ["Do", "Strike"]

Do = Callable[[], Awaitable[object]]


@dataclass
class Strike:
    """A fault on one server, as it happened. Times are `CLOCK_MONOTONIC` in seconds."""

    number: int
    """Which of the scenario's faults."""
    fault: str
    server: str
    start: float
    """When it was asked for."""
    struck: float | None = None
    """When it was on (or done, for one that happens at once)."""
    end: float | None = None
    """When it had healed."""
    error: str = ""
    """Why it could not be put on or taken off."""
    note: str = ""
    """What else is to be told."""
    effects: int | None = None
    """How many replies or connections it has hit; None where that is not counted."""
    occurrence: int = 0
    """Which time it is, counted from 0."""
    healing: float | None = None
    """When its healing began; None for one that happens at once."""
