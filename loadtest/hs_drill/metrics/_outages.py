"""The longest time in which nothing succeeded, for each operation.

A share of operations hides an outage: users of a closed loop wait, so few operations fail however long it lasts. Batches say
that something succeeded between their start and their end, and not when. So nothing certainly succeeded only between the end of
one batch with a success and the start of the next one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

__all__ = ["OFTEN", "Covered", "Outage"]

TOUCH = 0.001
"""Seconds. What is less far apart is joined."""
OFTEN = 20
"""Without so many successes that usually come in that time, a time without any says nothing: the operation is rare."""


class Outage(NamedTuple):
    """The longest time without a success of an operation."""

    start: float
    """Seconds from the start of the load."""
    end: float
    most: float
    """Seconds. It cannot have been longer."""
    rate: float
    """How many succeed per second in the rest of the load."""
    never: bool
    """The operation never succeeded."""
    faults: tuple[str, ...] = ()
    """The faults that were on in that time."""

    @property
    def seconds(self) -> float:
        """It was at least so long."""
        return self.end - self.start

    @property
    def shows(self) -> bool:
        """Whether successes were to be expected in that time."""
        return self.never or self.rate * self.seconds >= OFTEN


class Covered:
    """The union of intervals of time. They come in about their order, and each takes the time of a search."""

    def __init__(self) -> None:
        self._starts: list[float] = []
        self._ends: list[float] = []

    def add(self, start: float, end: float) -> None:
        first = bisect_left(self._ends, start - TOUCH)
        last = bisect_right(self._starts, end + TOUCH)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def longest_gap(self, start: float, end: float) -> tuple[float, float]:
        """The longest part of the time from `start` to `end` that is not covered, the first one of several; empty if all is."""
        edges = zip((start, *self._ends), (*self._starts, end), strict=True)
        return max(((since, max(until, since)) for since, until in edges), key=lambda gap: gap[1] - gap[0])
