"""When the operations of an open loop arrive. Pure: given the time, it returns what should have started by then.

Arrivals are drawn on a scale with one arrival per unit on average: one unit apart, or as a Poisson process. The current rate
converts time to units. So the rate may change at any time, and the same seed draws the same arrivals.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise, repeat
from random import Random
from typing import Literal

__all__ = ["Arrivals", "Course"]

BULK = 4096


class Course:
    """A rate over time: straight lines from one (second, rate) to the next; constant after the last."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self._points = list(points)
        self._at = [at for at, _ in points]
        self._before = [0.0]
        """The integral up to each point."""
        for (at, rate), (until, rate_then) in pairwise(points):
            self._before.append(self._before[-1] + (until - at) * (rate + rate_then) / 2)

    def rate(self, second: float) -> float:
        index = bisect_right(self._at, second) - 1
        at, rate = self._points[index]
        if index + 1 == len(self._points):
            return rate
        until, rate_then = self._points[index + 1]
        return rate + (rate_then - rate) * (second - at) / (until - at)

    def integral(self, second: float) -> float:
        """The number of arrivals from second 0 to this one."""
        index = bisect_right(self._at, second) - 1
        at, rate = self._points[index]
        return self._before[index] + (second - at) * (rate + self.rate(second)) / 2


class Arrivals:
    """The arrivals at one worker. Times are nanoseconds of the clock of `start`. The worker's share of the rate begins at 0.

    Attributes:
      now: until when the arrivals have been given.
    """

    def __init__(self, course: Course, kind: Literal["poisson", "even"], rng: Random, start: int) -> None:
        self._course = course
        self._start = start
        self._share = 0.0
        self.now = start
        self._units = 0.0
        """The current position on the scale of units."""
        # Each worker begins at a random place in its first unit, so that workers do not send in step.
        self._gaps = repeat(1.0) if kind == "even" else chain.from_iterable(_poisson(rng))
        self._next = rng.random() if kind == "even" else next(self._gaps)

    def until(self, now: int) -> list[int]:
        """The times of the arrivals since the last call, in order."""
        since, before = self.now, self._units
        course, start = self._course, self._start
        units = (course.integral((now - start) / 1e9) - course.integral((since - start) / 1e9)) * self._share
        self.now, self._units = now, before + units
        found: list[int] = []
        upcoming, end = self._next, self._units
        if upcoming <= end:
            # The rate is almost constant within so short a time.
            per_unit = (now - since) / units
            while upcoming <= end:
                found.append(since + int((upcoming - before) * per_unit))
                upcoming += next(self._gaps)
            self._next = upcoming
        return found

    def set_share(self, share: float, now: int) -> list[int]:
        """Set which share of the rate (0 to 1) arrives here from now on. Returns earlier arrivals, like `until`."""
        found = self.until(now)
        self._share = share
        return found

    def wait(self) -> float:
        """Seconds from the last call of `until` to the next arrival at the current rate; may be infinite."""
        rate = self._course.rate((self.now - self._start) / 1e9) * self._share
        return (self._next - self._units) / rate if rate > 0 else math.inf


def _poisson(rng: Random) -> Iterator[list[float]]:
    log, random = math.log, rng.random
    while True:
        yield [-log(1.0 - random()) for _ in range(BULK)]
