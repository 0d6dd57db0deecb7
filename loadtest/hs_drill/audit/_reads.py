"""The checkers of reads: stale ones, and those that went back in time."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from hs_drill.store import NO_COUNT
from hs_drill.workload import ABSENT, INITIAL

from ._checker import Check, Checker, Context, Validity
from ._register import ENDLESS, Read, show
from ._row_histories import RowHistory

__all__ = ["MonotonicReads", "StaleReads"]


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
                self._stale(row, read, replaced, f"{show(read.state)}, replaced", certain)
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
        line = f"{_user(read)} saw {show(state)} and then {show(read.state)}, which is older"
        certain = self.context.one_clock and not (ABSENT in (state, read.state) and self.context.may_be_untold(row.key))
        self.add(row.key, line, read.start, certain=certain)


def _user(read: Read) -> str:
    return f"user {read.who & 0xFFFFFFFF} of worker {read.who >> 32}"
