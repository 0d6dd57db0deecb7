"""The checkers of reads: stale reads, and reads that went back in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Self

from hs_drill._counted import counted
from hs_drill.store import NO_COUNT
from hs_drill.workload import ABSENT, INITIAL

from ._checker import Check, Checker, Context, Validity
from ._lags import Lags
from ._register import ENDLESS, Read
from ._row_history import RowCounter, RowHistory

__all__ = ["MonotonicReads", "ReadChecker", "StaleReads", "sample_words", "user_words"]


class ReadChecker(Checker):
    """Checks the reads that the histories keep. Only some of them are relevant: those that could have violated the check."""

    needs_final = False
    relevant_when: ClassVar[str]
    """Which reads are relevant, in words that follow their number."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.reads = 0
        self.relevant = 0

    def check_row(self, row: RowHistory) -> None:
        self.reads += len(row.reads)

    def merge(self, other: Self) -> None:
        super().merge(other)
        self.reads += other.reads
        self.relevant += other.relevant

    def why_not_applicable(self) -> str:
        if not self.reads:
            return "no read was kept"
        return "" if self.relevant else f"{self._examined()}, none of them {self.relevant_when}"

    def result(self) -> Check:
        self.measured.update(reads=self.reads, telling=self.relevant)
        check = super().result()
        if check.verdict is Validity.NOT_APPLICABLE:
            return check
        return replace(
            check, explanation=f"{check.explanation}; {self._examined()}, {self.relevant:,} of them {self.relevant_when}"
        )

    def _examined(self) -> str:
        return f"{counted(self.reads, 'read was', 'reads were')} examined{sample_words(self.context)}"


class StaleReads(ReadChecker):
    """A read is stale when it began after the acknowledgement of a write that certainly replaced what it shows."""

    name = "stale_reads"
    relevant_when = "after an acknowledged change of their row"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.stale = 0
        self.longest = 0
        self.lags = Lags()
        within = f"lagged by more than {context.staleness:g} s" if context.staleness else "was stale"
        self.good = f"no read {within}"
        if context.staleness:
            late = f"lagged by more than {context.staleness:g} s"
            self.bad = (f"read {late}", f"reads {late}")
        else:
            self.bad = ("read was stale", "reads were stale")

    def check_row(self, row: RowHistory) -> None:
        super().check_row(row)
        if not row.reads:
            return
        context, register = self.context, row.register
        counted = [ENDLESS if counter.history is None else counter.history.first_end for counter in row.counters]
        behind = {id(seen.read): (counter, seen) for counter, seen in row.miscounted_reads if context.behind(seen)}
        for read in row.reads:
            if register.first_end < read.start or (read.n != NO_COUNT and counted[read.counter] < read.start):
                self.relevant += 1
                self.lags.examined(read.start - context.origin)
            replaced = register.replaced(read.state) if read.state in register.sources else None
            if replaced is not None and replaced < read.start:
                # A missing history may hold a delete, which explains why the row was gone. No write brings an old state back.
                certain = context.one_clock and not (read.state == ABSENT and context.may_be_missing(row.key))
                self._stale(row, read, replaced, f"{context.table.describe(read.state)}, replaced", certain)
            elif (found := behind.get(id(read))) is not None:
                counter, seen = found
                since = max(seen.since, context.earliest_start)
                what = f"the counter {counter.column} at {read.n}, without a step acknowledged"
                self._stale(row, read, since, what, context.counters_complete, [counter.column])

    def merge(self, other: Self) -> None:
        super().merge(other)
        self.stale += other.stale
        self.longest = max(self.longest, other.longest)
        self.lags.merge(other.lags)

    def _stale(self, row: RowHistory, read: Read, since: int, what: str, certain: bool, columns: Sequence[str] = ()) -> None:
        behind = read.start - since
        self.stale += 1
        self.longest = max(self.longest, behind)
        self.lags.stale(read.start - self.context.origin, behind)
        if behind > round(self.context.staleness * 1e9):
            line = f"a read saw {what} {behind / 1e9:.6f} s earlier"
            self.add_finding(row.key, line, read.start, certain=certain, columns=columns)

    def result(self) -> Check:
        self.measured = {"max_seconds": self.longest / 1e9, "stale": self.stale, "beyond": self.count}
        return super().result()


class MonotonicReads(ReadChecker):
    """No user reads a row in a state that is certainly older than what the same user read before."""

    name = "monotonic_reads"
    relevant_when = "after the same user saw their row changed"
    good = "no user saw a row go back in time"
    bad = ("read went back in time", "reads went back in time")

    def check_row(self, row: RowHistory) -> None:
        super().check_row(row)
        if len(row.reads) < 2:
            return
        sources = row.register.sources
        only_up = [counter.history is not None and counter.history.only_up for counter in row.counters]
        newest: dict[int, tuple[int, int]] = {}
        highest: dict[tuple[int, int], int] = {}
        for read in row.reads_in_order:
            source = sources.get(read.state)
            if source is None:
                continue
            seen = earliest, state = newest.get(read.user_id, (-ENDLESS, INITIAL))
            relevant = earliest > -ENDLESS
            if source.latest < earliest:
                self._back(row, read, state)
            newest[read.user_id] = max(seen, (source.earliest, read.state))
            if read.n != NO_COUNT and only_up[read.counter]:
                counter = row.counters[read.counter]
                base = counter.base or 0
                counted = highest.get((read.user_id, read.counter), base)
                relevant = relevant or counted > base
                if read.n >= counted:
                    highest[read.user_id, read.counter] = read.n
                elif source.latest >= earliest:
                    self._counted_back(row, counter, read, counted)
            self.relevant += relevant

    def _counted_back(self, row: RowHistory, counter: RowCounter, read: Read, counted: int) -> None:
        """The counter went down, although there was no decrement."""
        line = f"{user_words(read.user_id)} saw the counter {counter.column} at {counted} and then at {read.n}, which is older"
        self.add_finding(row.key, line, read.start, certain=self.context.counters_complete, columns=[counter.column])

    def _back(self, row: RowHistory, read: Read, state: int) -> None:
        seen, now = self.context.table.describe(state), self.context.table.describe(read.state)
        line = f"{user_words(read.user_id)} saw {seen} and then {now}, which is older"
        certain = self.context.one_clock and not (ABSENT in (state, read.state) and self.context.may_be_missing(row.key))
        self.add_finding(row.key, line, read.start, certain=certain)


def user_words(user_id: int) -> str:
    return f"user {user_id & 0xFFFFFFFF} of worker {user_id >> 32}"


def sample_words(context: Context) -> str:
    """What share of the reads was kept, in words that follow their number; "" if all were."""
    return f", a sample of {context.sampled * 100:.3g} %" if context.sampled < 1 else ""
