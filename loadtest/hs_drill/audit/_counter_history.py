"""When a counter went up and down, as far as that is certain, and which reads contradict that."""

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

__all__ = ["CounterHistory", "MiscountedRead"]


class MiscountedRead(NamedTuple):
    """A read that saw a counter which the primary cannot have held at that time."""

    read: Read
    low: int
    high: int
    """The bounds of what the primary may have held."""
    since: int
    """From this time on, at the latest, the primary no longer held what the read saw; `-ENDLESS`: since before the run."""
    impossible: bool
    """No server that started from the row before the run can have held this, however far behind: no steps lead to it."""


class _Times(NamedTuple):
    """The sorted times of the steps of one amount."""

    amount: int
    times: array[int]


class CounterHistory:
    """When a counter went up and down, as far as that is certain.

    A step (an increment or decrement) takes effect at any moment between its start and its end; one of unknown outcome may also
    take effect at any later moment, or never. `steps` are (amount, start, end): the amount of a decrement is negative, the end
    of an unknown one is `ENDLESS`. Each takes 16 bytes, because all steps of a run may be on one row.
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
        """Every sum of steps is a multiple of this."""
        self._up_started, self._down_started = _up_and_down(started)
        self._up_ended, self._down_ended = _up_and_down(ended)
        self.only_up = not self._down_started
        """There was no decrement."""
        ends = [times[0] for _, times in (*self._up_ended, *self._down_ended)]
        self.first_end = min(ends, default=ENDLESS)
        """When the first acknowledged step ended, `ENDLESS` without one."""

    def check(self, read: Read) -> MiscountedRead | None:
        """How the counter that a read saw is wrong; None when the primary may have held it."""
        n, last = read.n, read.start - 1
        least = most = self.base
        # Most counters go one way only, or never change. Before these conditions a fifth of the audit's time was spent here.
        if self._up_started:
            most += _until(self._up_started, read.end)
        if self._down_started:
            least += _until(self._down_started, read.end)
        low = least + _until(self._up_ended, last) if self._up_ended else least
        high = most + _until(self._down_ended, last) if self._down_ended else most
        between = (n - self.base) % self._unit != 0
        if low <= n <= high:
            return MiscountedRead(read, low, high, -ENDLESS, impossible=True) if between else None
        since = _passed(self._up_ended, n - least) if n < low else _passed(self._down_ended, most - n)
        return MiscountedRead(read, low, high, since, between or not least <= n <= most)


def _up_and_down(times: dict[int, array[int]]) -> tuple[list[_Times], list[_Times]]:
    ordered = [_Times(amount, array("q", sorted(times[amount]))) for amount in sorted(times)]
    return [one for one in ordered if one.amount > 0], [one for one in ordered if one.amount < 0]


def _until(steps: list[_Times], time: int) -> int:
    """The sum of the steps up to and including this time."""
    total = 0
    for amount, times in steps:
        total += amount * bisect_right(times, time)
    return total


def _passed(steps: list[_Times], by: int) -> int:
    """When the steps, which all go the same way, together exceeded `by`; `-ENDLESS` if no step is needed for that."""
    if by < 0:
        return -ENDLESS
    if len(steps) == 1:  # the usual case: a mix has one amount
        ((amount, times),) = steps
        return times[by // abs(amount)]
    ordered = heapq.merge(*([(time, abs(amount)) for time in times] for amount, times in steps))
    totals = itertools.accumulate(ordered, lambda total, step: (step[0], total[1] + step[1]))
    return next(int(time) for time, total in totals if total > by)
