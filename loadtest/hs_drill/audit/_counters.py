"""The checkers of counters, and how a counter is wrong at the end of a run.

A *step* is an increment or a decrement; an *unknown* step is one of unknown outcome.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from hs_drill.store import NO_COUNT

from ._checker import Checker, Context
from ._counter_history import MiscountedRead
from ._row_history import RowCounter, RowHistory

__all__ = ["AppliedTwice", "Cause", "Counters", "deviation_of", "miscounted_line", "sum_of"]

MAX_SUMS = 4096
"""With more distinct sums of unknown steps than this, only the bounds of a row's counter are checked."""


class Cause(Enum):
    """Why a counter is off."""

    LOST = auto()
    """Steps are lost."""
    TWICE = auto()
    """Steps were applied twice."""
    LOST_OR_TWICE = auto()
    """One or the other, or both."""
    UNEXPLAINED = auto()
    """No lost or repeated step explains it."""
    UNKNOWN = auto()
    """It is not known what the counter should be."""


@dataclass(frozen=True)
class Deviation:
    """A counter that is not what it should be."""

    cause: Cause
    count: int
    """The least number of steps that explains it."""
    line: str


def deviation_of(counter: RowCounter) -> Deviation | None:
    """How a counter is wrong at the end; None when it is right, or when its row is gone."""
    n, base = counter.final, counter.base
    if n is None or n == NO_COUNT:  # no row, or no number: then the whole row is wrong
        return None
    if not counter.step_times and n in counter.usual:
        return None  # as nearly every counter is
    if base is None:
        line = f"the row was deleted or inserted again, so it is not known what its counter {counter.column} should be"
        return Deviation(Cause.UNKNOWN, 1, line)
    acknowledged = base + sum_of(counter.steps)
    least = acknowledged + sum(step * count for step, count in counter.unknown_steps.items() if step < 0)
    most = acknowledged + sum(step * count for step, count in counter.unknown_steps.items() if step > 0)
    if n == least == most:
        return None
    line = f"the counter {counter.column} is {n} and should be {_between(least, most)}"
    if counter.is_clipped(least, most):
        return Deviation(Cause.UNKNOWN, 1, f"{line}, but its type ends before that, where the server clips")
    up = [step for step in (*counter.steps, *counter.unknown_steps) if step > 0]
    down = [-step for step in (*counter.steps, *counter.unknown_steps) if step < 0]
    if n > most:
        return _off(n - most, up, [-step for step in counter.steps if step < 0], line)
    if n < least:
        return _off(least - n, down, [step for step in counter.steps if step > 0], line)
    sums = _sums(counter.unknown_steps)
    if sums is not None and n - acknowledged not in sums:
        return Deviation(Cause.LOST_OR_TWICE, 1, f"{line}, as a sum of its steps")
    return None


def _off(by: int, repeated: list[int], lost: list[int], line: str) -> Deviation:
    """Why a counter is off by `by`: steps in `repeated` were applied twice, or the opposite ones in `lost` are missing."""
    if repeated and lost:
        return Deviation(Cause.LOST_OR_TWICE, 1, line)
    if repeated:
        return Deviation(Cause.TWICE, -(-by // max(repeated)), line)
    if lost:
        return Deviation(Cause.LOST, -(-by // max(lost)), line)
    return Deviation(Cause.UNEXPLAINED, 1, line)


def sum_of(steps: Counter[int]) -> int:
    return sum(step * count for step, count in steps.items())


def _sums(steps: Counter[int]) -> set[int] | None:
    """Every sum of some of the steps; None when there are too many."""
    sums = {0}
    for step, count in steps.items():
        if len(sums) * (count + 1) > MAX_SUMS:
            return None
        sums = {total + step * times for total in sums for times in range(count + 1)}
    return sums


def _between(least: int, most: int) -> str:
    return f"{least}" if least == most else f"between {least} and {most}"


def miscounted_line(counter: RowCounter, miscounted: MiscountedRead, what: str) -> str:
    return f"a read saw the counter {counter.column} at {miscounted.read.n}, {what}"


class CounterChecker(Checker):
    """Checks counters that have steps. Only those whose right value is known at the end are relevant."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.steps = 0
        self.relevant = 0
        """Steps of relevant counters."""

    def check_row(self, row: RowHistory) -> None:
        for counter in row.counters:
            steps = len(counter.step_times) // 3
            self.steps += steps
            if counter.final is not None and counter.base is not None:
                self.relevant += steps
            self.check_counter(row, counter, deviation_of(counter) if not self.context.final_unusable else None)

    def merge(self, other: Self) -> None:
        super().merge(other)
        self.steps += other.steps
        self.relevant += other.relevant

    def check_counter(self, row: RowHistory, counter: RowCounter, deviation: Deviation | None) -> None:
        raise NotImplementedError

    def why_not_applicable(self) -> str:
        if not self.steps:
            return "no increment or decrement was acknowledged, and none is in doubt"
        return "" if self.relevant else "no counter with increments or decrements has a known right value"


class AppliedTwice(CounterChecker):
    """Only a counter shows that a write was applied twice. Any other write leaves the same row when it is repeated; if that
    undoes a write in between, that one is lost."""

    name = "applied_twice"
    good = "no increment or decrement was applied twice"
    bad = ("increment or decrement was applied twice", "increments or decrements were applied twice")

    def check_counter(self, row: RowHistory, counter: RowCounter, deviation: Deviation | None) -> None:
        if deviation is not None and deviation.cause in (Cause.TWICE, Cause.LOST_OR_TWICE):
            certain = deviation.cause is Cause.TWICE and not self.context.missing
            self.add_finding(
                row.key, deviation.line, counter.last_step, deviation.count, certain=certain, columns=[counter.column]
            )


class Counters(CounterChecker):
    """Each counter is the sum of the acknowledged steps and of some or none of the unknown ones."""

    name = "counters"
    good = "every counter is the sum of its acknowledged steps and of some or none of the unknown ones"
    bad = ("counter is off", "counters are off")

    def check_counter(self, row: RowHistory, counter: RowCounter, deviation: Deviation | None) -> None:
        context = self.context
        if deviation is not None:
            certain = deviation.cause is not Cause.UNKNOWN and not context.missing
            self.add_finding(row.key, deviation.line, counter.last_step or None, certain=certain, columns=[counter.column])
        elif context.alone or context.reads_primary:
            # A counter counts once, however many reads saw the wrong value.
            of_primary = (seen for miscounted, seen in row.miscounted_reads if miscounted is counter)
            seen = next((seen for seen in of_primary if context.alone or seen.read.primary), None)
            if seen is not None:
                sums = ", as a sum of its steps" if seen.low <= seen.read.n <= seen.high else ""
                line = miscounted_line(counter, seen, f"which should have been {_between(seen.low, seen.high)}{sums}")
                self.add_finding(row.key, line, seen.read.start, certain=context.counters_complete, columns=[counter.column])
