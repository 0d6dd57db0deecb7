"""When operations of an open loop arrive. Pure: told what time it is, it says what should have started by then.

Arrivals are drawn on a scale on which one comes per unit on average, by steps of one unit or by a Poisson process's. Time goes
over into units at the rate of the moment; so a rate may change at any time, and the same seed draws the same arrivals.
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
    """A rate over time that goes in straight lines from one (second, rate) to the next, and then stays as it is."""

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
        """From second 0 on."""
        index = bisect_right(self._at, second) - 1
        at, rate = self._points[index]
        return self._before[index] + (second - at) * (rate + self.rate(second)) / 2


class Arrivals:
    """The arrivals of one worker. Times are nanoseconds of the clock that `start` is a moment of.

    A worker begins with no share of the rate.
    """

    def __init__(self, course: Course, kind: Literal["poisson", "even"], rng: Random, start: int) -> None:
        self._course = course
        self._start = start
        self._share = 0.0
        self._now = start
        self._units = 0.0
        """How far it has come."""
        # Workers must not send in step: each begins somewhere within its first unit.
        self._gaps = repeat(1.0) if kind == "even" else chain.from_iterable(_poisson(rng))
        self._next = rng.random() if kind == "even" else next(self._gaps)

    def until(self, now: int) -> list[int]:
        """The moments of the arrivals since the last call, in order."""
        since, before = self._now, self._units
        course, start = self._course, self._start
        units = (course.integral((now - start) / 1e9) - course.integral((since - start) / 1e9)) * self._share
        self._now, self._units = now, before + units
        found: list[int] = []
        upcoming, end = self._next, self._units
        if upcoming <= end:
            # Within so short a time the rate is as good as constant.
            per_unit = (now - since) / units
            while upcoming <= end:
                found.append(since + int((upcoming - before) * per_unit))
                upcoming += next(self._gaps)
            self._next = upcoming
        return found

    def share(self, share: float, now: int) -> list[int]:
        """From now on this share of the rate arrives here. Gives what arrived before, as `until` does."""
        found = self.until(now)
        self._share = share
        return found

    def wait(self) -> float:
        """Seconds from the last call of `until` to the next arrival, if the rate stays as it is; may be infinite."""
        rate = self._course.rate((self._now - self._start) / 1e9) * self._share
        return (self._next - self._units) / rate if rate > 0 else math.inf


def _poisson(rng: Random) -> Iterator[list[float]]:
    log, random = math.log, rng.random
    while True:
        yield [-log(1.0 - random()) for _ in range(BULK)]
