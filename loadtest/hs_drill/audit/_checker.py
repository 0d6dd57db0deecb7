"""What a checker of the audit is: it takes one row after the other, and in the end is true, false, unknown or not applicable.

- True needs complete histories, the final state where it matters, and something that could have violated the check.
- Not applicable: the data is complete, but nothing in it could have violated the check.
- False needs one finding that missing data cannot explain.
- Everything else is unknown.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

from hs_drill._counted import counted
from hs_drill.store import MOST_WRONG_ROWS, Former, HistoryFaultWindow, Operation, TwoPrimaries, WrongRow
from hs_drill.workload import DAMAGED, worker_of

from ._counter_history import MiscountedRead
from ._primaries import Primaries
from ._register import ENDLESS, Read, Write
from ._row_histories import LeftOut
from ._row_history import RowHistory
from ._table import DRILL_TABLE, AuditedTable
from ._takeover import Takeover

__all__ = ["MAX_FINDINGS", "Check", "Checker", "Context", "Finding", "NotExaminedError", "Validity"]

MAX_FINDINGS = 20
_P = TypeVar("_P")


class NotExaminedError(Exception):
    """Why rows were not examined; one line."""


class Validity(Enum):
    """The result of a check."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not applicable"
    """Nothing in the run could have violated the check."""


@dataclass(frozen=True)
class Finding:
    """A row that violates a check, or may."""

    key: int
    """The row's number."""
    line: str
    time: float | None = None
    """Seconds since the history began; None when unknown."""
    faults: tuple[str, ...] = ()
    """The faults that were on at that time."""
    after: str = ""
    """When no fault was on: how long after which promotion or end of a fault. "" when neither came before."""
    columns: tuple[str, ...] = ()
    """The columns that are wrong; empty if it is about the whole row."""
    primary: str = ""
    """The row's primary key in words; "" if that is its number."""


@dataclass(frozen=True)
class Check:
    """The result of one checker."""

    name: str
    verdict: Validity
    explanation: str
    """One line."""
    count: int = 0
    """How many writes, rows or reads certainly violate the check. In `unexpected`, reads that saw the same in a row count once,
    together with the row if it ended like that. In `split_brain`, how many times two servers were open for writes at once."""
    possible: int = 0
    """How many more may violate it: missing data could explain them."""
    findings: tuple[Finding, ...] = ()
    """The first ones, at most `MAX_FINDINGS`. A row's second one comes after the first ones of all others."""
    measured: dict[str, float] = field(default_factory=dict)
    elsewhere: int = 0
    """How many more violate it because of what another check found. They are no findings of this one."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "verdict": self.verdict.value}


@dataclass(frozen=True)
class Context:
    """What all checkers know about the run."""

    origin: int = 0
    """The time from which findings count their seconds."""
    later_run: int | None = None
    """The run's number, when it was not the first on its servers."""
    faults: Sequence[HistoryFaultWindow] = ()
    missing: Sequence[str] = ()
    """What the histories lack, in words; empty when they are complete."""
    incomplete: frozenset[int] = frozenset()
    """The workers whose histories are not complete."""
    any_worker: bool = False
    """Operations of any worker may be missing from the histories."""
    one_clock: bool = True
    """Whether times of different workers can be compared."""
    final_unusable: str = ""
    """Why the final state cannot be used; "" when it can."""
    staleness: float = 0.0
    """Seconds by which a read may lag."""
    sampled: float = 1.0
    """The share of the reads that the histories keep."""
    landmarks: Sequence[tuple[int, str]] = ()
    """Promotions and ends of faults, by time, in words."""
    takeover: Takeover | None = None
    reign: tuple[int, int] | None = None
    """See `reign_before`."""
    primaries: Primaries = field(default_factory=Primaries)
    promotions: Sequence[tuple[int, int]] = ()
    """When servers were promoted: from when on each may have been the primary, and from when on it was."""
    two_primaries: Sequence[TwoPrimaries] = ()
    """When two servers were open for writes at once."""
    former: Sequence[Former] = ()
    """What was seen of each former primary."""
    alone: bool = False
    """The primary is the only server, so that every read came from it."""
    reads_primary: bool = False
    """It is not the only one, but operations of the mix read from it."""
    routed: bool = False
    """Clients reached the servers through a router: which server answered is not known."""
    earliest_start: int = 0
    """No operation of this run began before this time."""
    table: AuditedTable = DRILL_TABLE
    wrong: Mapping[int, WrongRow] = field(default_factory=dict)
    """What is wrong in the first rows of the primary that no write can have left."""

    def of_primary(self, reads: Sequence[Read]) -> Sequence[Read]:
        """Those of these reads that went to the primary."""
        if self.alone:
            return reads
        return [read for read in reads if read.primary] if self.reads_primary else ()

    @property
    def counters_complete(self) -> bool:
        """Whether every step of every counter is known. A worker with an incomplete history may have changed any counter."""
        return self.one_clock and not self.missing

    def impossible(self, seen: MiscountedRead) -> bool:
        """Whether no server can have shown this counter. Before a later run a replica may have lacked steps of an
        earlier one."""
        return seen.impossible and (self.later_run is None or self.alone)

    def behind(self, seen: MiscountedRead) -> bool:
        """Whether the counter lacks steps, as a replica's may. A counter above all steps together lacks none."""
        return not self.impossible(seen) and not (seen.impossible and seen.read.n > seen.high)

    def may_be_missing(self, number: int) -> bool:
        """Whether a missing history may explain this key or version. For a loaded row that may be any worker's."""
        writer = worker_of(number) if number > 0 else None
        return self.any_worker or bool(self.incomplete) if writer is None else self.any_worker or writer in self.incomplete

    def is_undescribed(self, key: int, state: int) -> bool:
        """Whether it is not known which version a damaged row names, since too many are damaged."""
        return state == DAMAGED and key not in self.wrong and len(self.wrong) >= MOST_WRONG_ROWS

    def finding(self, key: int, line: str, time: int | None, columns: Iterable[str] = ()) -> Finding:
        primary = self.wrong[key].key if key in self.wrong else ""
        primary = primary or self.table.key_of(key)
        if time is None or abs(time) >= ENDLESS:
            return Finding(key, line, columns=tuple(columns), primary=primary)
        on = tuple(one.name for one in self.faults if one.start <= time and (one.end is None or time <= one.end))
        return Finding(key, line, self.seconds(time), on, "" if on else self._after(time), tuple(columns), primary)

    def describe(self, write: Write) -> str:
        """A write in words."""
        operation = write.operation
        kind = operation.do.name.lower()
        named = kind if operation.name == kind else f"{kind} `{operation.name}`"
        return f"a {named}" if operation.do is Operation.DELETE else f"the {named} of {self.table.describe(write.state)}"

    def seconds(self, time: int) -> float:
        """Seconds from the origin."""
        return (time - self.origin) / 1e9

    def _after(self, time: int) -> str:
        passed = bisect_right(self.landmarks, time, key=lambda landmark: landmark[0])
        if not passed:
            return ""
        when, what = self.landmarks[passed - 1]
        return f"{(time - when) / 1e9:.3f} s after {what}"


class Checker:
    """Takes one row after the other, then gives a `Check`."""

    name: ClassVar[str]
    good: str
    """The explanation when the check is true."""
    bad: tuple[str, str]
    """What `count` counts, in words that follow a number."""
    needs_final = True

    def __init__(self, context: Context) -> None:
        self.context = context
        self.count = 0
        self.possible = 0
        self._findings: list[tuple[_Place, Finding]] = []
        self._of_row: list[tuple[tuple[bool, float], _Raw]] = []
        """What was found in the row that is being checked: the best findings first."""
        self.measured: dict[str, float] = {}

    def check_row(self, row: RowHistory) -> None:
        raise NotImplementedError

    def merge(self, other: Self) -> None:
        """Take over what another one has found in other rows of the same run."""
        self.count += other.count
        self.possible += other.possible
        self._keep()
        other._keep()
        self._findings = sorted([*self._findings, *other._findings], key=_place)[:MAX_FINDINGS]

    def add_left_out(self, left_out: LeftOut) -> None:
        """Take note of the rows that were left out, once all others were checked."""

    def why_not_applicable(self) -> str:
        """Why nothing in the run could have violated the check; "" when something could."""
        return ""

    def add_finding(
        self, key: int, line: str, time: int | None, count: int = 1, *, certain: bool = True, columns: Iterable[str] = ()
    ) -> None:
        if certain:
            self.count += count
        else:
            self.possible += count
        if self._of_row and self._of_row[0][1].key != key:
            self._keep()
        place = not certain, math.inf if time is None or abs(time) >= ENDLESS else self.context.seconds(time)
        # Every read of a run may be stale: go on only with what may be kept.
        if len(self._findings) == MAX_FINDINGS and (place[0], 0, place[1], key) >= self._findings[-1][0]:
            return
        if len(self._of_row) == MAX_FINDINGS and place >= self._of_row[-1][0]:
            return
        insort(self._of_row, (place, _Raw(key, line if certain else f"perhaps: {line}", time, columns)), key=_place)
        del self._of_row[MAX_FINDINGS:]

    def _keep(self) -> None:
        """Take the findings of a row over. Certain ones come first, then one of each row, then the earliest."""
        for rank, ((uncertain, seconds), raw) in enumerate(self._of_row):
            place = uncertain, rank, seconds, raw.key
            if len(self._findings) < MAX_FINDINGS or place < self._findings[-1][0]:
                insort(self._findings, (place, self.context.finding(*raw)), key=_place)
                del self._findings[MAX_FINDINGS:]
        self._of_row.clear()

    def result(self) -> Check:
        missing = list(self.context.missing)
        if self.needs_final and self.context.final_unusable:
            missing.append(self.context.final_unusable)
        if self.count:
            perhaps = f", perhaps {self.possible:,} more" if self.possible else ""
            return self._check(Validity.FALSE, f"{counted(self.count, *self.bad)}{perhaps}: {self._first()}")
        if self.possible:
            why = f" ({'; '.join(missing)})" if missing else ""
            return self._check(Validity.UNKNOWN, f"perhaps {counted(self.possible, *self.bad)}{why}: {self._first()}")
        if missing:
            return self._check(Validity.UNKNOWN, f"cannot be checked: {'; '.join(missing)}")
        if why := self.why_not_applicable():
            return self._check(Validity.NOT_APPLICABLE, why)
        return self._check(Validity.TRUE, self.good)

    def crashed(self, error: Exception) -> Check:
        """The result when the checker itself failed."""
        what = "cannot be checked" if isinstance(error, NotExaminedError) else f"the checker failed: {type(error).__name__}"
        return self._check(Validity.UNKNOWN, f"{what}: {' '.join(str(error).split())}")

    @property
    def findings(self) -> tuple[Finding, ...]:
        self._keep()
        return tuple(finding for _, finding in self._findings)

    def _first(self) -> str:
        found = self.findings[0]
        when = f" at {found.time:.3f} s" if found.time is not None else ""
        during = f" during {', '.join(found.faults)}" if found.faults else f", {found.after}" if found.after else ""
        return f"key {found.primary or found.key}{when}{during}: {found.line}"

    def _check(self, verdict: Validity, explanation: str) -> Check:
        return Check(self.name, verdict, explanation, self.count, self.possible, self.findings, self.measured)


class _Raw(NamedTuple):
    """What a finding is made from, if it is kept: see `Context.finding`."""

    key: int
    line: str
    time: int | None
    columns: Iterable[str]


_Place = tuple[bool, int, float, int]
"""Whether it is uncertain, its rank among the findings of its row, seconds and key."""


def _place(entry: tuple[_P, object]) -> _P:
    return entry[0]
