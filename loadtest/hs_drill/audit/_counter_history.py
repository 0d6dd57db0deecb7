"""When a counter went up and down, as far as that is certain, and which reads do not fit that."""

from __future__ import annotations

import heapq
import itertools
import math
from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from ._register import ENDLESS, Read

__all__ = ["Counts", "Miscounted"]


class Miscounted(NamedTuple):
    """A read whose n is not what it would have been on the server that took the writes."""

    read: Read
    low: int
    high: int
    """The least and the most that it may have been there."""
    since: int
    """When at the latest it had become certain that it was not what the read saw any more; `-ENDLESS`: before the run."""
    impossible: bool
    """No server that had the row as it was before the run can have shown this, however old: no steps make it."""


class _Times(NamedTuple):
    """The sorted times of the steps of one amount."""

    amount: int
    times: array[int]


class Counts:
    """When a counter went up and down, as far as that is certain.

    A step may take effect at any moment between its start and its end, one of unknown outcome at any later one as well. `steps`
    are (amount, start, end), with a negative amount for a decrement, and `ENDLESS` for an end where the outcome is unknown. Of
    each 16 bytes are kept: all steps of a run may be on one row.
    """

    def __init__(self, base: int, steps: Iterable[tuple[int, int, int]]) -> None:
        self.base = base
        started: dict[int, array[int]] = defaultdict(lambda: array("q"))
        ended: dict[int, array[int]] = defaultdict(lambda: array("q"))
        for amount, start, end in steps:
            started[amount].append(start)
            if end != ENDLESS:
                ended[amount].append(end)
        self._unit = math.gcd(*started) or 1
        """What every sum of steps is a multiple of."""
        self._up_started, self._down_started = _up_and_down(started)
        self._up_ended, self._down_ended = _up_and_down(ended)
        self.only_up = not self._down_started
        """It never goes down, for all that is known."""
        ends = [times[0] for _, times in (*self._up_ended, *self._down_ended)]
        self.first_end = min(ends, default=ENDLESS)
        """When the first acknowledged step ended, `ENDLESS` without one."""

    def look(self, read: Read) -> Miscounted | None:
        """What is amiss with the counter that a read saw; None where it may have been so on the server that took the writes."""
        n, last = read.n, read.start - 1
        least = most = self.base
        # Most rows are not counted both ways, or at all: a fifth of the audit's time was spent here before it looked at that.
        if self._up_started:
            most += _until(self._up_started, read.end)
        if self._down_started:
            least += _until(self._down_started, read.end)
        low = least + _until(self._up_ended, last) if self._up_ended else least
        high = most + _until(self._down_ended, last) if self._down_ended else most
        between = (n - self.base) % self._unit != 0
        if low <= n <= high:
            return Miscounted(read, low, high, -ENDLESS, impossible=True) if between else None
        since = _passed(self._up_ended, n - least) if n < low else _passed(self._down_ended, most - n)
        return Miscounted(read, low, high, since, between or not least <= n <= most)


def _up_and_down(times: dict[int, array[int]]) -> tuple[list[_Times], list[_Times]]:
    ordered = [_Times(amount, array("q", sorted(times[amount]))) for amount in sorted(times)]
    return [one for one in ordered if one.amount > 0], [one for one in ordered if one.amount < 0]


def _until(steps: list[_Times], time: int) -> int:
    """What the steps until then make together, that moment included."""
    total = 0
    for amount, times in steps:
        total += amount * bisect_right(times, time)
    return total


def _passed(steps: list[_Times], by: int) -> int:
    """When the steps, which all go the same way, came to more than `by`; `-ENDLESS` if nothing is more already."""
    if by < 0:
        return -ENDLESS
    if len(steps) == 1:  # as in every run of ours: its mix has one amount
        ((amount, times),) = steps
        return times[by // abs(amount)]
    ordered = heapq.merge(*([(time, abs(amount)) for time in times] for amount, times in steps))
    totals = itertools.accumulate(ordered, lambda total, step: (step[0], total[1] + step[1]))
    return next(int(time) for time, total in totals if total > by)
