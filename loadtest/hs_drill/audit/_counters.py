"""The checkers of counters, and what is amiss with a counter at the end of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ._checker import Checker, Context
from ._counter_history import Miscounted
from ._row_histories import RowHistory

__all__ = ["LOST", "UNCLEAR", "UNWRITTEN", "AppliedTwice", "Counters", "counter", "seen_counter", "sum_of"]

MAX_SUMS = 4096
"""Distinct sums of doubtful steps that are told apart for one row; with more, only their bounds count."""


# What a counter that is off shows.
LOST, TWICE, UNWRITTEN, UNCLEAR, UNDECIDED = "lost", "twice", "unwritten", "unclear", "undecided"


@dataclass(frozen=True)
class Counted:
    """A counter that is not what it should be."""

    kind: str
    count: int
    """At least so many steps."""
    line: str


def counter(row: RowHistory) -> Counted | None:
    """What is amiss with a row's counter at the end, or None. The row's absence is not the counter's fault."""
    if row.final is None:
        return None
    n, base = row.final[1], row.base
    if base is None:
        if not row.steps and not row.doubtful_steps and n in (0, row.before[1] if row.before else 0):
            return None
        return Counted(UNDECIDED, 1, "the row was deleted or inserted again, so nobody can tell what its counter should be")
    acknowledged = base + sum_of(row.steps)
    least = acknowledged + sum(step * count for step, count in row.doubtful_steps.items() if step < 0)
    most = acknowledged + sum(step * count for step, count in row.doubtful_steps.items() if step > 0)
    line = f"the counter is {n} and should be {_between(least, most)}"
    up = [step for step in (*row.steps, *row.doubtful_steps) if step > 0]
    down = [-step for step in (*row.steps, *row.doubtful_steps) if step < 0]
    if n > most:
        return _off(n - most, up, [-step for step in row.steps if step < 0], line)
    if n < least:
        return _off(least - n, down, [step for step in row.steps if step > 0], line)
    sums = _sums(row.doubtful_steps)
    if sums is not None and n - acknowledged not in sums:
        return Counted(UNCLEAR, 1, f"{line}, as a sum of the steps")
    return None


def _off(by: int, again: list[int], undone: list[int], line: str) -> Counted:
    """A counter is off by so much: because steps this way were applied again, or because steps the other way were undone."""
    if again and undone:
        return Counted(UNCLEAR, 1, line)
    if again:
        return Counted(TWICE, -(-by // max(again)), line)
    if undone:
        return Counted(LOST, -(-by // max(undone)), line)
    return Counted(UNWRITTEN, 1, line)


def sum_of(steps: Counter[int]) -> int:
    return sum(step * count for step, count in steps.items())


def _sums(steps: Counter[int]) -> set[int] | None:
    """Every sum that some of the steps make; None when there are too many."""
    sums = {0}
    for step, count in steps.items():
        if len(sums) * (count + 1) > MAX_SUMS:
            return None
        sums = {total + step * times for total in sums for times in range(count + 1)}
    return sums


def _between(least: int, most: int) -> str:
    return f"{least}" if least == most else f"between {least} and {most}"


def seen_counter(miscounted: Miscounted, what: str) -> str:
    return f"a read saw the counter at {miscounted.read.n}, {what}"


class OfSteps(Checker):
    """Looks at the counters that were counted up or down and can be told at the end."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.steps = 0
        self.telling = 0
        """How many of them could have been found amiss."""

    def row(self, row: RowHistory) -> None:
        steps = row.steps.total() + row.doubtful_steps.total()
        self.steps += steps
        if row.final is not None and row.base is not None:
            self.telling += steps

    def nothing(self) -> str:
        if not self.steps:
            return "no increment or decrement was acknowledged, and none is in doubt"
        return "" if self.telling else "of no counter that was counted up or down can anybody tell what it should be"


class AppliedTwice(OfSteps):
    """Only a counter shows it: every other write leaves the same when it is applied twice, and when that undoes what came in
    between, it is that which is lost."""

    name = "applied_twice"
    good = "no increment or decrement was applied twice"
    bad = "increments or decrements were applied twice"

    def row(self, row: RowHistory) -> None:
        super().row(row)
        counted = counter(row) if not self.context.no_final else None
        if counted is not None and counted.kind in (TWICE, UNCLEAR):
            certain = counted.kind == TWICE and not self.context.lacking
            self.add(row.key, counted.line, row.last_step, counted.count, certain=certain)


class Counters(OfSteps):
    """Each counter ends between the acknowledged steps and these with those of unknown outcome, and at a sum of steps."""

    name = "counters"
    good = "every counter is what the acknowledged and perhaps some of the unknown steps make"
    bad = "counters are off"

    def row(self, row: RowHistory) -> None:
        super().row(row)
        counted = counter(row) if not self.context.no_final else None
        if counted is not None:
            certain = counted.kind != UNDECIDED and not self.context.lacking
            self.add(row.key, counted.line, row.last_step or None, certain=certain)
        elif row.miscounted and self.context.reads_primary:
            # Each row once, as at the end: a read of what is lost is no second loss.
            seen = row.miscounted[0]
            sums = ", as a sum of the steps" if seen.low <= seen.read.n <= seen.high else ""
            line = seen_counter(seen, f"which should have been {_between(seen.low, seen.high)}{sums}")
            self.add(row.key, line, seen.read.start, certain=self.context.counts_are_certain)
