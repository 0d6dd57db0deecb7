"""A fault as it happened on one server, and the steps that inject and heal it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

__all__ = ["Step", "Strike"]

Step = Callable[[], Awaitable[object]]
"""Injects a fault, or heals it."""


@dataclass
class Strike:
    """A fault on one server, as it happened. Times are `CLOCK_MONOTONIC` in seconds."""

    number: int
    """The fault's index in the scenario."""
    fault: str
    server: str
    start: float
    """When the nemesis began to inject it."""
    struck: float | None = None
    """When it was on, or done if it happens at once."""
    end: float | None = None
    """When it had healed."""
    error: str = ""
    """Why it could not be injected or healed."""
    note: str = ""
    """Details for the user."""
    effects: int | None = None
    """How many replies or connections it has hit; None if that is not counted."""
    occurrence: int = 0
    """Which repetition of the fault it is, from 0."""
    healing: float | None = None
    """When its healing began; None for a fault that happens at once."""
