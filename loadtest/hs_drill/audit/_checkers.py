"""The checkers of the audit: each looks at one row after the other and says true, false, unknown or not applicable in the end.

True needs everything: complete histories, where it matters the final state, and something that could have been found amiss;
without that last the check is not applicable. False needs one finding that nothing which may be missing explains. Everything
else is unknown.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import Any, ClassVar

from hs_drill.store import NO_COUNT, FinalState, HistoryFaultWindow, Operation, Outcome
from hs_drill.workload import ABSENT, DAMAGED, FOREIGN, INITIAL, of_run, worker_of

from ._row_histories import ENDLESS, Miscounted, Read, RowHistory
from ._split_brain import SplitBrain

__all__ = [
    "CHECKERS",
    "Check",
    "Checker",
    "Context",
    "Finding",
    "Validity",
    "check_replicas",
]

MAX_FINDINGS = 20
SPOILT = frozenset((FOREIGN, DAMAGED))
"""What no write can leave, told or untold."""
MAX_SUMS = 4096
"""Distinct sums of doubtful steps that are told apart for one row; with more, only their bounds count."""


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


class Lost(Checker):
    """An acknowledged write is lost when the row ended in a state that the write certainly came after."""

    name = "lost"
    good = "every acknowledged write is there at the end, or was superseded"
    bad = "acknowledged writes are lost"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.acknowledged = 0
        self.split = context.split if context.one_clock else None
        self.of_old_primary = 0
        self.perhaps_of_old_primary = 0
        """The same with the steps of which nobody knows whether they or earlier ones of their row are lost."""
        """Those that the old primary acknowledged after another server had been promoted."""

    def untouched(self, inserts: int) -> None:
        self.acknowledged += inserts

    def nothing(self) -> str:
        return "" if self.acknowledged else "no write was acknowledged, so there was none to lose"

    def row(self, row: RowHistory) -> None:
        context, register, state = self.context, row.register, row.final_state
        self.acknowledged += sum(write.outcome is Outcome.OK for write in row.writes) + row.steps.total()
        if context.no_final:
            return
        known = state in register.sources
        if known or state == ABSENT:
            # A delete that no history tells may be why the row is gone. A payload has one writer, and that one is known.
            certain = context.one_clock and not (state == ABSENT and context.may_be_untold(row.key))
            lost = register.successors(state)
            if lost:
                first = min(lost, key=lambda write: write.end)
                split = self.split
                theirs = sum(split.holds(write.start) for write in lost) if split is not None else 0
                self.of_old_primary += theirs
                self.perhaps_of_old_primary += theirs
                after = ""
                if split is not None and split.holds(first.start):
                    after = f" {(first.end - split.start) / 1e9:.3f} s after {split.promoted} had been promoted"
                line = f"{_describe(first.operation, first.state)} was acknowledged{after}; at the end {_show(state)}"
                self.add(row.key, line, first.end, len(lost), certain=certain)
            elif not known and row.before is not None:
                self.add(row.key, "the row was there before the run, nobody deleted it, and it is gone", None, certain=certain)
            if not known and row.steps:
                line = f"{row.steps.total():,} acknowledged changes of the counter are gone with the row"
                self.add(row.key, line, row.last_step, row.steps.total(), certain=certain)
                self._of_steps(row, row.steps.total(), certain)
        counted = counter(row)
        if counted is not None and counted.kind in (LOST, UNCLEAR):
            certain = counted.kind == LOST and not context.lacking
            self.add(row.key, counted.line, row.last_step, counted.count, certain=certain)
            self._of_steps(row, counted.count, certain)

    def _of_steps(self, row: RowHistory, lost: int, certain: bool) -> None:
        """Which steps of a row are lost nobody knows, only how many: at least those that the others cannot account for are of
        the old primary, and at most all that were acknowledged beside the new one."""
        if self.split is None or not certain:
            return
        fields = iter(row.step_times)
        steps = [start for _, start, end in zip(fields, fields, fields, strict=True) if end != ENDLESS]
        beside = sum(map(self.split.holds, steps))
        self.of_old_primary += max(0, lost - (len(steps) - beside))
        self.perhaps_of_old_primary += min(lost, beside)

    def check(self) -> Check:
        check, split = super().check(), self.split
        if split is None or not self.of_old_primary:
            return check
        self.measured["split_brain"] = self.of_old_primary
        self.measured["perhaps_split_brain"] = self.perhaps_of_old_primary
        count = f"{self.of_old_primary:,} of them were"
        if self.perhaps_of_old_primary > self.of_old_primary:
            count = f"between {self.of_old_primary:,} and {self.perhaps_of_old_primary:,} of them were"
        brain = (
            f"split brain: {count} acknowledged by {split.old} after {split.promoted} had been "
            f"promoted at {self.context.seconds(split.start):.3f} s"
        )
        return replace(check, explanation=f"{check.explanation}; {brain}")


class Recovered(Checker):
    """Counts the writes of unknown outcome that turned out to have been applied. Nothing is amiss with that."""

    name = "recovered"
    good = ""
    bad = ""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.applied = 0
        self.doubtful = 0

    def row(self, row: RowHistory) -> None:
        seen = {read.state for read in row.reads}
        if not self.context.no_final:
            seen.add(row.final_state)
        for write in row.writes:
            if write.outcome is Outcome.INFO:
                self.doubtful += 1
                self.applied += write.state in seen and (write.state != ABSENT or _only_by_delete(row))
        self.doubtful += row.doubtful_steps.total()
        if row.doubtful_steps and not self.context.no_final and row.final is not None and (base := row.base) is not None:
            beyond = row.final[1] - base - _sum(row.steps)
            same_way = [abs(step) for step in row.doubtful_steps if step * beyond > 0]
            if same_way:
                self.applied += min(-(-abs(beyond) // max(same_way)), row.doubtful_steps.total())

    def check(self) -> Check:
        lacking = [*self.context.lacking, *([self.context.no_final] if self.context.no_final else [])]
        explanation = f"of {self.doubtful:,} writes whose outcome nobody knew, at least {self.applied:,} were applied"
        self.measured = {"applied": self.applied, "doubtful": self.doubtful}
        if lacking:
            return self._is(Validity.UNKNOWN, f"{explanation}; {'; '.join(lacking)}")
        if not self.doubtful:
            return self._is(Validity.NOT_APPLICABLE, "there was no write whose outcome nobody knew")
        return self._is(Validity.TRUE, explanation)


class Unexpected(Checker):
    """What is there, or was read, must have been written: by a write that did not certainly fail, and not after the read."""

    name = "unexpected"
    good = "everything that was found or read had been written"
    bad = "rows or reads show what nobody wrote"

    def row(self, row: RowHistory) -> None:
        sources = row.register.sources
        if not self.context.no_final:
            if row.final is not None and row.final_state not in sources:
                self._unwritten(row, row.final_state, "at the end", None)
            counted = counter(row)
            if counted is not None and counted.kind == UNWRITTEN:
                self.add(row.key, counted.line, row.last_step or None, certain=not self.context.lacking)
        for read in row.reads:
            if read.state not in sources:
                if self._earlier(read.state):
                    continue
                self._unwritten(row, read.state, "a read", read.start)
            elif sources[read.state].earliest > read.end:
                line = f"a read saw {_show(read.state)} before it was written"
                self.add(row.key, line, read.start, certain=self.context.one_clock)
        for seen in row.miscounted:
            if self.context.impossible(seen):
                self.add(row.key, _seen(seen, "which nobody made it"), seen.read.start, certain=self.context.counts_are_certain)

    def _earlier(self, state: int) -> bool:
        """Whether a read may show what was there before this run began: on a replica that never got an earlier run's writes."""
        run = self.context.later_run
        return run is not None and state not in SPOILT and not of_run(state, run)

    def _unwritten(self, row: RowHistory, state: int, where: str, time: int | None) -> None:
        if state == ABSENT:
            line = f"{where} found no row, though nobody deleted it"
            self.add(row.key, line, time, certain=not self.context.may_be_untold(row.key))
        elif state in row.register.failed:
            self.add(row.key, f"{where}: {_show(state)}, whose write had certainly failed", time)
        else:
            certain = state in SPOILT or not self.context.may_be_untold(state)
            self.add(row.key, f"{where}: {_show(state)}, which nobody wrote here", time, certain=certain)


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
            line = _seen(seen, f"which should have been {_between(seen.low, seen.high)}{sums}")
            self.add(row.key, line, seen.read.start, certain=self.context.counts_are_certain)


class OfReads(Checker):
    """Looks at the reads that were kept, of which only some can show what it looks for."""

    needs_final = False
    could: ClassVar[str]
    """What reads can show it, in words that follow a number of them."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.reads = 0
        self.telling = 0
        """How many of them could have been found amiss."""

    def row(self, row: RowHistory) -> None:
        self.reads += len(row.reads)

    def nothing(self) -> str:
        if not self.reads:
            return "no read was kept"
        return "" if self.telling else f"{self._examined()}, none of them {self.could}"

    def check(self) -> Check:
        self.measured.update(reads=self.reads, telling=self.telling)
        check = super().check()
        if check.verdict is Validity.NOT_APPLICABLE:
            return check
        return replace(check, explanation=f"{check.explanation}; {self._examined()}, {self.telling:,} of them {self.could}")

    def _examined(self) -> str:
        sample = f", a sample of {self.context.sampled * 100:.3g} %" if self.context.sampled < 1 else ""
        return f"{self.reads:,} reads were examined{sample}"


class StaleReads(OfReads):
    """A read is stale when it began after the acknowledgement of a write that certainly replaced what it shows."""

    name = "stale_reads"
    could = "after an acknowledged change of their row"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.stale = 0
        self.longest = 0
        within = f"lagged by more than {context.staleness:g} s" if context.staleness else "was stale"
        self.good = f"no read {within}"
        self.bad = f"reads lagged by more than {context.staleness:g} s" if context.staleness else "reads were stale"

    def row(self, row: RowHistory) -> None:
        super().row(row)
        if not row.reads:
            return
        context, register = self.context, row.register
        counted = row.counts.first_end if row.counts is not None else ENDLESS
        miscounted = {id(seen.read): seen for seen in row.miscounted if context.behind(seen)}
        for read in row.reads:
            self.telling += register.first_end < read.start or (counted < read.start and read.n != NO_COUNT)
            replaced = register.replaced(read.state) if read.state in register.sources else None
            if replaced is not None and replaced < read.start:
                # A delete that is not told may explain why a row was gone; nothing else makes an old state new again.
                certain = context.one_clock and not (read.state == ABSENT and context.may_be_untold(row.key))
                self._stale(row, read, replaced, f"{_show(read.state)}, replaced", certain)
            elif (seen := miscounted.get(id(read))) is not None:
                since = max(seen.since, context.begun)
                self._stale(
                    row, read, since, f"the counter at {read.n}, without a step acknowledged", context.counts_are_certain
                )

    def _stale(self, row: RowHistory, read: Read, since: int, what: str, certain: bool) -> None:
        behind = read.start - since
        self.stale += 1
        self.longest = max(self.longest, behind)
        if behind > round(self.context.staleness * 1e9):
            self.add(row.key, f"a read saw {what} {behind / 1e9:.6f} s before", read.start, certain=certain)

    def check(self) -> Check:
        self.measured = {"max_seconds": self.longest / 1e9, "stale": self.stale, "beyond": self.count}
        return super().check()


class MonotonicReads(OfReads):
    """Of one user's reads of one row, none shows a state that certainly came before what an earlier one showed."""

    name = "monotonic_reads"
    could = "after the same user saw their row changed"
    good = "no user saw a row go back in time"
    bad = "reads went back in time"

    def row(self, row: RowHistory) -> None:
        super().row(row)
        if len(row.reads) < 2:
            return
        sources = row.register.sources
        counts = row.counts if row.counts is not None and row.counts.only_up else None
        newest: dict[int, tuple[int, int]] = {}
        highest: dict[int, int] = {}
        for read in sorted(row.reads):
            source = sources.get(read.state)
            if source is None:
                continue
            seen = earliest, state = newest.get(read.who, (-ENDLESS, INITIAL))
            telling = earliest > -ENDLESS
            if source.latest < earliest:
                self._back(row, read, state)
            newest[read.who] = max(seen, (source.earliest, read.state))
            if counts is not None and read.n != NO_COUNT:
                counted = highest.get(read.who, counts.base)
                telling = telling or counted > counts.base
                if read.n >= counted:
                    highest[read.who] = read.n
                elif source.latest >= earliest:
                    self._counted_back(row, read, counted)
            self.telling += telling

    def _counted_back(self, row: RowHistory, read: Read, counted: int) -> None:
        """Though nobody has counted it down."""
        line = f"{_user(read)} saw the counter at {counted} and then at {read.n}, which is older"
        self.add(row.key, line, read.start, certain=self.context.counts_are_certain)

    def _back(self, row: RowHistory, read: Read, state: int) -> None:
        line = f"{_user(read)} saw {_show(state)} and then {_show(read.state)}, which is older"
        certain = self.context.one_clock and not (ABSENT in (state, read.state) and self.context.may_be_untold(row.key))
        self.add(row.key, line, read.start, certain=certain)


CHECKERS: tuple[type[Checker], ...] = (Lost, Recovered, Unexpected, AppliedTwice, Counters, StaleReads, MonotonicReads)


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
    acknowledged = base + _sum(row.steps)
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


def _sum(steps: Counter[int]) -> int:
    return sum(step * count for step, count in steps.items())


def _sums(steps: Counter[int]) -> set[int] | None:
    """Every sum that some of the steps make; None when there are too many."""
    sums = {0}
    for step, count in steps.items():
        if len(sums) * (count + 1) > MAX_SUMS:
            return None
        sums = {total + step * times for total in sums for times in range(count + 1)}
    return sums


def _only_by_delete(row: RowHistory) -> bool:
    """The row was there once, and no acknowledged delete removed it."""
    there = row.before is not None or any(write.state != ABSENT and write.outcome is Outcome.OK for write in row.writes)
    return there and not any(write.state == ABSENT and write.outcome is Outcome.OK for write in row.writes)


def _show(state: int) -> str:
    if state == ABSENT:
        return "no row"
    if state == FOREIGN:
        return "a payload without a version"
    if state == DAMAGED:
        return "a row whose payload or group is not what was written there"
    return f"version v{state:016x}" if state != INITIAL else "the version from before the run"


def _user(read: Read) -> str:
    return f"user {read.who & 0xFFFFFFFF} of worker {read.who >> 32}"


def _between(least: int, most: int) -> str:
    return f"{least}" if least == most else f"between {least} and {most}"


def _seen(miscounted: Miscounted, what: str) -> str:
    return f"a read saw the counter at {miscounted.read.n}, {what}"


def _describe(operation: Operation, state: int) -> str:
    return "a delete" if operation is Operation.DELETE else f"the {operation.name.lower()} of {_show(state)}"


def check_replicas(
    primary: FinalState | None, replicas: Iterable[FinalState], context: Context, *, alone: bool = False
) -> Check:
    """Whether every replica holds at the end what the primary holds. Rows count once per replica that differs.

    `alone` says that there is no server but the primary.
    """
    checker = _Replicas(context)
    if alone:
        return Check(checker.name, Validity.NOT_APPLICABLE, "there is no server but the primary")
    if primary is None or context.no_final:
        return checker.check()
    behind: list[str] = []
    read = 0
    for replica in replicas:
        if replica.complete:
            read += 1
            checker.compare(primary, replica)
        else:
            behind.append(replica.damage or f"{replica.server} could not be read back")
    checker.unread = behind or ([] if read else ["no replica was read back"])
    return checker.check()


class _Replicas(Checker):
    name = "replicas"
    good = "every replica holds what the primary holds"
    bad = "rows differ from the primary's"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.unread: list[str] = []
        self.differing: dict[str, int] = defaultdict(int)

    def compare(self, primary: FinalState, replica: FinalState) -> None:
        for key, ours, theirs in _side_by_side(primary, replica):
            self.differing[replica.server] += 1
            here, there = (_show(row[0]) + f", n {row[1]}" if row else "no row" for row in (ours, theirs))
            self.add(key, f"{replica.server} has {there}; {primary.server} has {here}", None)

    def check(self) -> Check:
        self.measured = dict(self.differing)
        # The histories have no part in it, so what they lack does not matter.
        self.context = Context(no_final=self.context.no_final, lacking=self.unread)
        return super().check()


_State = tuple[int, int] | None


def _side_by_side(one: FinalState, other: FinalState) -> Iterable[tuple[int, _State, _State]]:
    """The rows that are not the same in both."""
    ours, theirs = iter(one), iter(other)
    a, b = next(ours, None), next(theirs, None)
    while a is not None or b is not None:
        if a == b:
            a, b = next(ours, None), next(theirs, None)
        elif b is None or (a is not None and a[0] < b[0]):
            assert a is not None
            yield a[0], a[1:], None
            a = next(ours, None)
        elif a is None or b[0] < a[0]:
            yield b[0], None, b[1:]
            b = next(theirs, None)
        else:
            yield a[0], a[1:], b[1:]
            a, b = next(ours, None), next(theirs, None)
