"""The checker of linearizability: reads that went to the primary, and the writes, could have happened one after the other.

A read of a replica that follows asynchronously need not show the latest write, so such reads are left out. (M. Herlihy and
J. Wing, "Linearizability: A Correctness Condition for Concurrent Objects", ACM TOPLAS 12, 1990. As it is a property of each
object by itself, each row is examined alone.)

What a row held at the end is the last read of it, because the primary was read back after every operation had ended. It is
used for rows of which another read was kept: without one it shows nothing but lost writes, and these have a check of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Self

from hs_drill._counted import counted
from hs_drill.store import Outcome
from hs_drill.workload import ABSENT, DAMAGED

from ._checker import Check, Checker, Context, Validity
from ._reads import sample_words, user_words
from ._register import ENDLESS, Read, Register, Write
from ._row_history import RowHistory
from ._zones import Contradiction, examine

__all__ = ["Linearizable"]

BECAUSE = {
    "unexpected": "of what `unexpected` found",
    "lost": "of what `lost` found",
    "promotion": "a promoted server lacked writes that later ones hide",
}
_AFTER_ALL = ENDLESS + 1
"""Later than the read-back, which is at `ENDLESS`: no operation whose end is known ends after it."""


class Linearizable(Checker):
    """What the primary showed of a row fits some order of its operations, each at a moment between its start and its end."""

    name = "linearizable"
    needs_final = False
    good = "an order of its writes explains what the primary showed of every row"
    bad = ("row shows what no order of its writes explains", "rows show what no order of their writes explains")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.rows = 0
        self.reads = 0
        self.of_primary = 0
        self.ends = 0
        """Rows of which it is known what they held at the end."""
        self.unknown_writes = 0
        self.elsewhere = dict.fromkeys(BECAUSE, 0)
        """Rows that are not linearizable for a reason that is told elsewhere."""

    def check_row(self, row: RowHistory) -> None:
        reads, register = self.context.of_primary(row.reads), row.register
        self.of_primary += len(reads)
        if not reads or not (register.acknowledged or register.unknown):
            return
        self.rows += 1
        self.reads += len(reads)
        self.ends += self._end_known(row)
        self.unknown_writes += len(register.unknown)
        found = examine(register, row.writes, reads)
        if found.undecided:
            deletes = sum(write.state == ABSENT and write.outcome is not Outcome.FAIL for write in row.writes)
            line = f"of {deletes:,} deletes it is not known which one a read saw"
            self.add_finding(row.key, line, None, certain=False)
        elif found.contradiction is not None:
            self._contradicts(row, found.contradiction, reads)
        elif not self._check_end(row, reads):
            self._told_elsewhere("unexpected", found.left_out)

    def _check_end(self, row: RowHistory, reads: Sequence[Read]) -> bool:
        """Examine the row with what it held at the end as one more read. Returns whether that contradicts the others."""
        if not self._end_known(row):
            return False
        register, state = row.register, row.final_version
        if state not in register.sources:
            self._told_elsewhere("lost" if state == ABSENT else "unexpected", True)
            return True
        if _nothing_follows(register, reads, state):
            return False
        reads = [*reads, Read(ENDLESS, ENDLESS, state, 0)]
        found = examine(register, row.writes, reads).contradiction
        if found is not None and register.successors(state):
            self._told_elsewhere("lost", True)
        elif found is not None:
            self._contradicts(row, found, reads)
        return found is not None

    def merge(self, other: Self) -> None:
        super().merge(other)
        self.rows += other.rows
        self.reads += other.reads
        self.of_primary += other.of_primary
        self.ends += other.ends
        self.unknown_writes += other.unknown_writes
        for check, rows in other.elsewhere.items():
            self.elsewhere[check] += rows

    def _end_known(self, row: RowHistory) -> bool:
        return not self.context.final_unusable and row.final_version > DAMAGED

    def _told_elsewhere(self, check: str, found: bool) -> None:
        self.elsewhere[check] += found and not self.context.missing

    def _losses_explain(self, row: RowHistory, reads: Sequence[Read]) -> bool:
        """Whether the row is linearizable but for writes that were lost: those that are not there at the end, and those that
        a server lacked when it was promoted. From then on the row may hold any state that it has had."""
        before, writes, promotions = row.register.before, _without_lost(row, self.context), self.context.promotions
        begins = [(-ENDLESS, -ENDLESS), *promotions, (_AFTER_ALL, _AFTER_ALL)]
        for (_, since), (until, _) in pairwise(begins):
            some = [read for read in reads if since < read.start and read.end < until]
            seen = {read.state for read in some}
            wrote = [write for write in writes if write.start > since or write.state in seen]
            if examine(Register(before, wrote), wrote, some).contradiction:
                return False
        return True

    def _contradicts(self, row: RowHistory, found: Contradiction, reads: Sequence[Read]) -> None:
        if self._losses_explain(row, reads):
            lost = self._end_known(row) and row.register.successors(row.final_version)
            self._told_elsewhere("lost" if lost else "promotion", True)
            return
        older, newer, newest, again = found
        shown = {older.state if older is not None else None, newer.state, again.state}
        # A missing history may hold a delete. It cannot hold a second write of a version.
        certain = self.context.one_clock and not (ABSENT in shown and self.context.may_be_missing(row.key))
        first = f"{self._told(older)} ended before {self._told(newer)} began, and " if older is not None else ""
        second = f"{'that' if older is not None and newest is newer else self._told(newest)} ended before"
        line = f"no order explains that {first}{second} {self._told(again)} began"
        self.add_finding(row.key, line, again.start, certain=certain)

    def _told(self, one: Write | Read) -> str:
        """An operation in words, with its times."""
        if one.start == ENDLESS:
            return f"the read-back of {self.context.table.describe(one.state)} (at the end)"
        since = f"{self.context.seconds(one.start):.6f}"
        times = f"from {since} s on" if one.end == ENDLESS else f"{since} to {self.context.seconds(one.end):.6f} s"
        by = user_words(one.user_id)
        if isinstance(one, Read):
            return f"a read of {self.context.table.describe(one.state)} by {by} ({times})"
        unknown = ", of unknown outcome" if one.outcome is Outcome.INFO else ""
        return f"{self.context.describe(one)} by {by} ({times}{unknown})"

    def why_not_applicable(self) -> str:
        if not self.of_primary:
            return "no read of the primary was kept"
        return "" if self.rows else f"{self._examined()}, none of them of a row that was written to"

    def _examined(self) -> str:
        of_rows = f"{counted(self.rows, 'row')} that {'was' if self.rows == 1 else 'were'} written to"
        reads = f"{counted(self.reads, 'read')} of the primary{sample_words(self.context)}"
        ends = f"what {counted(self.ends, 'row')} held at the end"
        return f"examined: {of_rows}, {reads}, {ends}, {counted(self.unknown_writes, 'write')} of unknown outcome"

    def result(self) -> Check:
        if not (self.context.alone or self.context.reads_primary or self.context.any_worker):
            why = "reads went to readers, and a reader need not show the latest write"
            if self.context.routed:
                why = (
                    "which reads went to the primary is not known behind a router, and a reader need not show the latest write"
                )
            return self._check(Validity.NOT_APPLICABLE, why)
        self.measured = {"rows": self.rows, "reads": self.reads, "ends": self.ends, "unknown_writes": self.unknown_writes}
        self.measured |= {f"{name}_rows": rows for name, rows in self.elsewhere.items()}
        check = super().result()
        if check.verdict is Validity.NOT_APPLICABLE:
            return check
        because = [f"{counted(rows, 'row')} because {BECAUSE[name]}" for name, rows in self.elsewhere.items() if rows]
        if because:
            told = f"not linearizable: {', '.join(because)}"
            explanation = f"{check.explanation}; also {told}" if check.count or check.possible else told
            check = replace(check, verdict=Validity.FALSE, explanation=explanation, elsewhere=sum(self.elsewhere.values()))
        return replace(check, explanation=f"{check.explanation}; {self._examined()}")


def _nothing_follows(register: Register, reads: Sequence[Read], state: int) -> bool:
    """Whether certainly nothing of another state began after this one was there, as in most rows: so it can be the last one."""
    there = register.sources[state].latest
    if register.unknown or there == -ENDLESS:
        return False
    later = -ENDLESS
    for start, end, shown, *_ in reads:
        if shown != state:
            if start > later:
                later = start
        elif end < there:
            there = end
    return later <= there and not register.has_write_within(there, ENDLESS)


def _without_lost(row: RowHistory, context: Context) -> Sequence[Write]:
    """The writes; those that are lost are of unknown outcome."""
    state = row.final_version
    if context.final_unusable or not (state in row.register.sources or state == ABSENT):
        return row.writes
    lost = set(row.register.successors(state))
    return [write._replace(end=ENDLESS, outcome=Outcome.INFO) if write in lost else write for write in row.writes]
