"""The search for the highest rate that meets every objective. Pure: `measure` does the work, and takes the time.

1. Double the rate, from the lowest on, until one does not hold. Until then the range is as wide as the unknown.
2. Bisect between the highest rate that holds and the lowest that does not. Rates are compared by their ratio, so the middle is
   the geometric one, and a precision of 5 % means the same at 100 and at 100,000 operations a second.
3. Repeat the two rates that decide, as they stand on one step each, until two steps agree: the rate then counts as the two do.
   A repetition that turns one of them over moves the range, and the search goes on. The lower rate comes first: there it shows
   what servers that outlive a step still have to do after too high a rate.

A step whose load engine was the limit says nothing about the servers. If it had no time of its own left, the same rate is
measured again with twice as many engines, as long as there may be more. Where there may not, the rate counts as too high, and
the result says that the engine is why.

Rates are assumed to be ordered: what holds at one holds at all lower ones. Where steps contradict that, the lowest rate that
does not hold counts.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

__all__ = ["AGREE", "End", "Finding", "Outcome", "Range", "Search", "Step"]

AGREE = 2
"""How many steps at one rate must agree. With at most three steps, two do."""


class Outcome(Enum):
    """What a step says of its rate."""

    HOLDS = "holds"
    MISSED = "missed"
    """The servers missed an objective."""
    ENGINE = "engine"
    """An objective was missed, and the load engine may be why."""


@dataclass(frozen=True)
class Step:
    """A load at one rate, measured."""

    rate: float
    """Operations per second that were offered."""
    outcome: Outcome
    why: Sequence[str] = ()
    """What was missed, in words."""
    engines: int = 1
    """How many load engines shared the rate."""
    more_engines_help: bool = False
    """Whether the engines lacked time of their own, and not a core of the machine."""
    details: dict[str, Any] = field(default_factory=dict)
    """What else is known of the step; the search ignores it."""


@dataclass(frozen=True)
class Range:
    """Where to search, and how exactly."""

    lowest: float
    highest: float
    precision: float
    """The largest ratio between a rate that holds and one that does not, less 1: 0.05 for 5 %."""
    most_engines: int = 1


class End(Enum):
    """How a search ended."""

    FOUND = "found"
    LOWEST_MISSES = "lowest misses"
    """Not even the lowest rate holds."""
    HIGHEST_HOLDS = "highest holds"
    """Even the highest rate holds."""
    ENGINE = "engine"
    """The engines could not offer more."""
    UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Finding:
    """What the steps of a search show."""

    end: End
    holds: float | None
    """The highest rate that holds, of those below the lowest that does not; None if there is none."""
    fails: float | None
    """The lowest rate that does not hold; None if there is none."""
    below: float | None
    """Every step at this rate or a lower one held; None if there is no such rate."""
    above: float | None
    """No step at this rate or a higher one held; None if there is no such rate."""
    steps: Sequence[Step]
    """In the order in which they were taken, without those that more engines repeated."""

    def at(self, rate: float | None) -> list[Step]:
        """The steps at a rate."""
        return [step for step in self.steps if step.rate == rate]

    @property
    def decisive(self) -> Step | None:
        """The last step that shows why the lowest rate that does not hold does not."""
        failed = [step for step in self.at(self.fails) if step.outcome is not Outcome.HOLDS]
        cause = _cause(failed)
        return next((step for step in reversed(failed) if step.outcome is cause), None)


class Search:
    """Searches a range. `steps` and `finding` are there at any moment, also when `run` was cancelled."""

    def __init__(self, range_: Range, measure: Callable[[float, int], Awaitable[Step]]) -> None:
        """`measure` takes the rate and how many engines share it."""
        self._range = range_
        self._measure = measure
        self.engines = 1
        self.steps: list[Step] = []
        """All of them, in the order in which they were taken."""

    async def run(self) -> Finding:
        """Take steps until the answer is known. What `measure` raises goes through."""
        while (rate := self._next()) is not None:
            step = await self._measure(rate, self.engines)
            self.steps.append(step)
            if step.outcome is Outcome.ENGINE and step.more_engines_help:
                self.engines = min(self.engines * 2, self._range.most_engines)
        return self.finding()

    def finding(self) -> Finding:
        """What is known until now."""
        steps = self._counting()
        holds, fails = self._bounds()
        rates = sorted({step.rate for step in steps})
        held = [rate for rate in rates if all(step.outcome is Outcome.HOLDS for step in steps if step.rate <= rate)]
        failed = [rate for rate in rates if all(step.outcome is not Outcome.HOLDS for step in steps if step.rate >= rate)]
        ends = max(held, default=None), min(failed, default=None)
        return Finding(self._end(holds, fails), holds, fails, *ends, steps)

    def _end(self, holds: float | None, fails: float | None) -> End:
        if self._next() is not None:
            return End.UNFINISHED
        if fails is None:
            return End.HIGHEST_HOLDS
        if _cause(self._at(fails)) is Outcome.ENGINE:
            return End.ENGINE
        return End.LOWEST_MISSES if holds is None else End.FOUND

    def _next(self) -> float | None:
        """The rate to measure next; None if the answer is known."""
        holds, fails = self._bounds()
        if fails is None:
            if holds is None:
                return self._range.lowest
            if holds < self._range.highest:
                return min(holds * 2, self._range.highest)
            return self._unsettled(holds)
        if holds is None:
            return self._unsettled(fails)
        if fails > holds * (1 + self._range.precision):
            return _between(holds, fails)
        return self._unsettled(holds, fails)

    def _unsettled(self, *rates: float) -> float | None:
        """The first of these rates of which too few steps agree."""
        for rate in rates:
            held = [step.outcome is Outcome.HOLDS for step in self._at(rate)]
            if max(held.count(True), held.count(False)) < AGREE:
                return rate
        return None

    def _bounds(self) -> tuple[float | None, float | None]:
        """The highest rate that holds, of those below the lowest that does not; and that one. A tie does not hold."""
        holding: list[float] = []
        failing: list[float] = []
        for rate in {step.rate for step in self._counting()}:
            held = [step.outcome is Outcome.HOLDS for step in self._at(rate)]
            (holding if held.count(True) > held.count(False) else failing).append(rate)
        fails = min(failing, default=None)
        return max((rate for rate in holding if fails is None or rate < fails), default=None), fails

    def _at(self, rate: float) -> list[Step]:
        return [step for step in self._counting() if step.rate == rate]

    def _counting(self) -> list[Step]:
        """Without those that fewer engines limited."""
        return [step for step in self.steps if step.outcome is not Outcome.ENGINE or step.engines == self.engines]


def _cause(steps: Sequence[Step]) -> Outcome | None:
    """Why a rate does not hold, by the steps at it; None if every one held. The servers, if more steps say so than not."""
    outcomes = [step.outcome for step in steps if step.outcome is not Outcome.HOLDS]
    if not outcomes:
        return None
    return Outcome.MISSED if outcomes.count(Outcome.MISSED) > outcomes.count(Outcome.ENGINE) else Outcome.ENGINE


def _between(low: float, high: float) -> float:
    """The geometric middle, rounded where there is room for that."""
    middle = math.sqrt(low * high)
    for digits in range(1, 16):
        rounded = float(f"{middle:.{digits}g}")
        # So near to the middle that each part is at most six tenths of the whole.
        if abs(math.log(rounded / middle)) <= math.log(high / low) / 10:
            return rounded
    return middle
