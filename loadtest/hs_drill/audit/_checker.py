"""The checkers of the audit: each looks at one row after the other and says true, false, unknown or not applicable in the end.

True needs everything: complete histories, where it matters the final state, and something that could have been found amiss;
without that last the check is not applicable. False needs one finding that nothing which may be missing explains. Everything
else is unknown.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, ClassVar

from hs_drill.store import HistoryFaultWindow
from hs_drill.workload import worker_of

from ._counter_history import Miscounted
from ._register import ENDLESS
from ._row_histories import RowHistory
from ._split_brain import SplitBrain

__all__ = ["MAX_FINDINGS", "Check", "Checker", "Context", "Finding", "Validity"]

MAX_FINDINGS = 20


class Validity(Enum):
    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not applicable"
    """There was nothing that the check could have found amiss."""


@dataclass(frozen=True)
class Finding:
    """One row where something is amiss."""

    key: int
    line: str
    time: float | None = None
    """Seconds since the history began; None where no moment can be told."""
    faults: tuple[str, ...] = ()
    """The faults that were on at that time."""
    after: str = ""
    """Where none was on: the last promotion or end of a fault, and how long before it was. "" when there was none."""


@dataclass(frozen=True)
class Check:
    """What one checker says."""

    name: str
    verdict: Validity
    explanation: str
    """One line."""
    count: int = 0
    """How much is certainly amiss: writes, rows or reads, as the checker says."""
    possible: int = 0
    """How much more may be, for all that is known."""
    findings: tuple[Finding, ...] = ()
    """The first of them, at most 20."""
    measured: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "verdict": self.verdict.value}


@dataclass(frozen=True)
class Context:
    """What all checkers need to know about the run."""

    origin: int = 0
    """The time from which findings count their seconds."""
    later_run: int | None = None
    """The run's number, when it was not the first on its servers."""
    faults: Sequence[HistoryFaultWindow] = ()
    lacking: Sequence[str] = ()
    """What of the histories is missing, each in words; empty when nothing is."""
    cut: frozenset[int] = frozenset()
    """The workers whose histories are not complete."""
    anyone: bool = False
    """Any worker may have done what no history tells."""
    one_clock: bool = True
    """Times of different workers can be compared."""
    no_final: str = ""
    """Why the final state decides nothing; "" when it does."""
    staleness: float = 0.0
    """Seconds by which a read may lag."""
    sampled: float = 1.0
    """The share of the reads that is kept."""
    turns: Sequence[tuple[int, str]] = ()
    """Promotions and ends of faults, by time, in words."""
    split: SplitBrain | None = None
    reads_primary: bool = False
    """Every read came from the server that takes the writes."""
    begun: int = 0
    """The time before which no operation of this run began."""

    @property
    def counts_are_certain(self) -> bool:
        """Of a counter any step may be untold, by any worker whose history lacks something."""
        return self.one_clock and not self.lacking

    def impossible(self, seen: Miscounted) -> bool:
        """Whether no server can have shown a counter. What a replica held before a run that was not the first is not known: it
        may never have got an earlier run's steps."""
        return seen.impossible and (self.later_run is None or self.reads_primary)

    def behind(self, seen: Miscounted) -> bool:
        """Whether a counter lacks steps, as that of a replica may. What is more than all steps can make lacks none."""
        return not self.impossible(seen) and not (seen.impossible and seen.read.n > seen.high)

    def may_be_untold(self, number: int) -> bool:
        """Whether some history that is missing may tell of this key or version. (That of a loaded row may be in any.)"""
        writer = worker_of(number) if number > 0 else None
        return self.anyone or bool(self.cut) if writer is None else self.anyone or writer in self.cut

    def finding(self, key: int, line: str, time: int | None) -> Finding:
        if time is None or abs(time) >= ENDLESS:
            return Finding(key, line)
        on = tuple(one.name for one in self.faults if one.start <= time and (one.end is None or time <= one.end))
        return Finding(key, line, self.seconds(time), on, "" if on else self._after(time))

    def seconds(self, time: int) -> float:
        """As findings count them."""
        return (time - self.origin) / 1e9

    def _after(self, time: int) -> str:
        passed = bisect_right(self.turns, time, key=lambda turn: turn[0])
        if not passed:
            return ""
        when, what = self.turns[passed - 1]
        return f"{(time - when) / 1e9:.3f} s after {what}"


class Checker:
    """Looks at one row after the other and sums up."""

    name: ClassVar[str]
    good: str
    """The explanation of true."""
    bad: str
    """What `count` counts, in words that follow a number."""
    needs_final = True

    def __init__(self, context: Context) -> None:
        self.context = context
        self.count = 0
        self.possible = 0
        self._findings: list[tuple[bool, float, int, Finding]] = []
        self.measured: dict[str, float] = {}

    def row(self, row: RowHistory) -> None:
        raise NotImplementedError

    def untouched(self, inserts: int) -> None:
        """Take note of so many rows that were inserted, acknowledged, and are as they were inserted."""

    def nothing(self) -> str:
        """Why there was nothing that can have been found amiss; "" where there was something."""
        return ""

    def add(self, key: int, line: str, time: int | None, count: int = 1, *, certain: bool = True) -> None:
        if certain:
            self.count += count
        else:
            self.possible += count
        # What is certain first, and the earliest of that.
        place = not certain, math.inf if time is None or abs(time) >= ENDLESS else (time - self.context.origin) / 1e9, key
        if len(self._findings) == MAX_FINDINGS and place >= _order(self._findings[-1]):
            return  # of the reads of a run all may be stale
        finding = self.context.finding(key, line if certain else f"perhaps: {line}", time)
        insort(self._findings, (*place, finding), key=_order)
        del self._findings[MAX_FINDINGS:]

    def check(self) -> Check:
        lacking = list(self.context.lacking)
        if self.needs_final and self.context.no_final:
            lacking.append(self.context.no_final)
        if self.count:
            perhaps = f", perhaps {self.possible:,} more" if self.possible else ""
            return self._is(Validity.FALSE, f"{self.count:,} {self.bad}{perhaps}: {self._first()}")
        if self.possible:
            why = f" ({'; '.join(lacking)})" if lacking else ""
            return self._is(Validity.UNKNOWN, f"perhaps {self.possible:,} {self.bad}{why}: {self._first()}")
        if lacking:
            return self._is(Validity.UNKNOWN, f"cannot be told: {'; '.join(lacking)}")
        if why := self.nothing():
            return self._is(Validity.NOT_APPLICABLE, why)
        return self._is(Validity.TRUE, self.good)

    def crashed(self, error: Exception) -> Check:
        """What to say when the checker itself failed."""
        return self._is(Validity.UNKNOWN, f"the checker failed: {type(error).__name__}: {' '.join(str(error).split())}")

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for *_, finding in self._findings)

    def _first(self) -> str:
        found = self._findings[0][-1]
        when = f" at {found.time:.3f} s" if found.time is not None else ""
        during = f" during {', '.join(found.faults)}" if found.faults else f", {found.after}" if found.after else ""
        return f"key {found.key}{when}{during}: {found.line}"

    def _is(self, verdict: Validity, explanation: str) -> Check:
        return Check(self.name, verdict, explanation, self.count, self.possible, self.findings, self.measured)


def _order(entry: tuple[bool, float, int, Finding]) -> tuple[bool, float, int]:
    return entry[:3]
