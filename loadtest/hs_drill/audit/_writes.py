"""The checkers of writes: lost ones, recovered ones, and data that no write left."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hs_drill._counted import counted
from hs_drill.store import Operation, Outcome
from hs_drill.workload import ABSENT, DAMAGED, FOREIGN, of_run

from ._checker import Check, Checker, Context, Validity
from ._counters import Cause, deviation_of, miscounted_line, sum_of
from ._register import ENDLESS, Write, describe_state
from ._row_histories import RowHistory
from ._takeover import By, Share

__all__ = ["Lost", "Recovered", "Unexpected"]

NEVER_WRITTEN = frozenset((FOREIGN, DAMAGED))
"""States that no write leaves, not even one that is missing from the histories."""


class Lost(Checker):
    """A write is lost when it was acknowledged, and the row ended in a state that is certainly older than the write."""

    name = "lost"
    good = "every acknowledged write is there at the end, or was superseded"
    bad = ("acknowledged write is lost", "acknowledged writes are lost")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.acknowledged = 0
        self.takeover = context.takeover if context.one_clock else None
        self.shares = {by: Share() for by in (By.EARLIER, By.OLD, By.PROMOTED)}
        """Which server acknowledged the lost writes. Of a row's steps it is known how many are lost, but not which."""
        self.after = Share()
        """Lost writes that began after the promotion."""

    def add_unchanged_inserts(self, count: int) -> None:
        self.acknowledged += count

    def why_not_applicable(self) -> str:
        return "" if self.acknowledged else "no write was acknowledged, so none could be lost"

    def check_row(self, row: RowHistory) -> None:
        context, register, state = self.context, row.register, row.final_state
        self.acknowledged += sum(write.outcome is Outcome.OK for write in row.writes) + row.steps.total()
        if context.final_unusable:
            return
        known = state in register.sources
        if known or state == ABSENT:
            # A missing history may hold a delete of the row. It cannot explain a payload: each names its one writer.
            certain = context.one_clock and not (state == ABSENT and context.may_be_missing(row.key))
            lost = register.successors(state)
            if lost:
                first = min(lost, key=lambda write: write.end)
                by = self._by(first)
                if certain and self.takeover is not None:
                    for write in lost:
                        self._share_out(Counter([self.takeover.acknowledged_by(write.start, write.end)]), 1)
                line = f"{_describe_write(first)} was acknowledged{by}; the final state has {describe_state(state)}"
                self.add_finding(row.key, line, first.end, len(lost), certain=certain)
            elif not known and row.before is not None:
                line = "the row existed before the run and is gone, although no operation deleted it"
                self.add_finding(row.key, line, None, certain=certain)
            if not known and row.steps:
                line = f"{row.steps.total():,} acknowledged increments or decrements are gone with the row"
                self.add_finding(row.key, line, row.last_step, row.steps.total(), certain=certain)
                self._add_steps(row, row.steps.total(), certain)
        deviation = deviation_of(row)
        if deviation is not None and deviation.cause in (Cause.LOST, Cause.LOST_OR_TWICE):
            certain = deviation.cause is Cause.LOST and not context.missing
            self.add_finding(row.key, deviation.line, row.last_step, deviation.count, certain=certain)
            self._add_steps(row, deviation.count, certain)

    def _by(self, write: Write) -> str:
        """Which server acknowledged a write and when, in words that follow "was acknowledged"; "" before a promotion."""
        takeover = self.takeover
        if takeover is None:
            return ""
        by, seconds = takeover.acknowledged_by(write.start, write.end), f"{(write.end - takeover.start) / 1e9:.3f} s"
        match by:
            case By.EARLIER:
                return ""
            case By.PROMOTED:
                return f" by {takeover.promoted} {seconds} after its promotion"
            case _:
                server = f" by {takeover.old}" if by is By.OLD else ""
                return f"{server} {seconds} after {takeover.promoted} had been promoted"

    def _add_steps(self, row: RowHistory, lost: int, certain: bool) -> None:
        if self.takeover is None or not certain:
            return
        fields = iter(row.step_times)
        steps = [(start, end) for _, start, end in zip(fields, fields, fields, strict=True) if end != ENDLESS]
        self._share_out(Counter(self.takeover.acknowledged_by(*step) for step in steps), lost)

    def _share_out(self, acknowledged: Counter[By], lost: int) -> None:
        """Note whose the lost ones of these writes may be. A server's are at least those that all others cannot account for."""
        self.after.add(max(0, lost - acknowledged[By.EARLIER]), min(lost, acknowledged.total() - acknowledged[By.EARLIER]))
        for by, share in self.shares.items():
            unknown = acknowledged[By.UNKNOWN] if by is not By.EARLIER else 0
            others = acknowledged.total() - acknowledged[by]
            share.add(max(0, lost - others), min(lost, acknowledged[by] + unknown))

    def result(self) -> Check:
        check, takeover = super().result(), self.takeover
        earlier, old, promoted = (self.shares[by] for by in (By.EARLIER, By.OLD, By.PROMOTED))
        if takeover is None or not (earlier.most or old.most or promoted.most):
            return check
        self.measured["before_promotion"], self.measured["perhaps_before_promotion"] = earlier.least, earlier.most
        self.measured["split_brain"], self.measured["perhaps_split_brain"] = old.least, old.most
        self.measured["lost_by_promoted"], self.measured["perhaps_lost_by_promoted"] = promoted.least, promoted.most
        after = f"after {takeover.promoted} had been promoted at {self.context.seconds(takeover.start):.3f} s"
        lines = [check.explanation]
        if old.least:
            lines.append(f"split brain: {old} of them {old.were} acknowledged by {takeover.old} {after}")
        if promoted.least:
            lines.append(f"{promoted} of them {promoted.were} acknowledged by {takeover.promoted} itself {after}")
        if not old.least and not promoted.least and old.most and promoted.most:
            either = f"either by {takeover.old}, which is a split brain, or by {takeover.promoted} itself"
            lines.append(f"{self.after} of them {self.after.were} acknowledged {after}: {either}")
        return replace(check, explanation="; ".join(lines))


class Recovered(Checker):
    """Counts the writes of unknown outcome that turned out to have been applied. They violate nothing."""

    name = "recovered"
    good = ""
    bad = ("", "")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.applied = 0
        self.unknown = 0

    def check_row(self, row: RowHistory) -> None:
        seen = {read.state for read in row.reads}
        if not self.context.final_unusable:
            seen.add(row.final_state)
        for write in row.writes:
            if write.outcome is Outcome.INFO:
                self.unknown += 1
                self.applied += write.state in seen and (write.state != ABSENT or _only_unknown_deletes(row))
        self.unknown += row.unknown_steps.total()
        if row.unknown_steps and not self.context.final_unusable and row.final is not None and (base := row.base) is not None:
            beyond = row.final[1] - base - sum_of(row.steps)
            same_way = [abs(step) for step in row.unknown_steps if step * beyond > 0]
            if same_way:
                self.applied += min(-(-abs(beyond) // max(same_way)), row.unknown_steps.total())

    def result(self) -> Check:
        missing = [*self.context.missing, *([self.context.final_unusable] if self.context.final_unusable else [])]
        explanation = (
            f"of {counted(self.unknown, 'write')} of unknown outcome, at least {counted(self.applied, 'was', 'were')} applied"
        )
        self.measured = {"applied": self.applied, "doubtful": self.unknown}
        if missing:
            return self._check(Validity.UNKNOWN, f"{explanation}; {'; '.join(missing)}")
        if not self.unknown:
            return self._check(Validity.NOT_APPLICABLE, "no write had an unknown outcome")
        return self._check(Validity.TRUE, explanation)


class Unexpected(Checker):
    """Every row and every read shows what a write left that did not certainly fail, and that did not begin after the read."""

    name = "unexpected"
    good = "everything found in rows and reads had been written"
    bad = ("row or read shows data that no write left", "rows or reads show data that no write left")

    def check_row(self, row: RowHistory) -> None:
        sources = row.register.sources
        if not self.context.final_unusable:
            if row.final is not None and row.final_state not in sources:
                self._unwritten(row, row.final_state, "at the end", None)
            deviation = deviation_of(row)
            if deviation is not None and deviation.cause is Cause.UNEXPLAINED:
                self.add_finding(row.key, deviation.line, row.last_step or None, certain=not self.context.missing)
        for read in row.reads:
            if read.state not in sources:
                if self._from_earlier_run(read.state):
                    continue
                self._unwritten(row, read.state, "a read", read.start)
            elif sources[read.state].earliest > read.end:
                line = f"a read saw {describe_state(read.state)} before it was written"
                self.add_finding(row.key, line, read.start, certain=self.context.one_clock)
        for seen in row.miscounted_reads:
            if self.context.impossible(seen):
                line = miscounted_line(seen, "which no increments and decrements lead to")
                self.add_finding(row.key, line, seen.read.start, certain=self.context.counters_complete)

    def _from_earlier_run(self, state: int) -> bool:
        """Whether a read may show an earlier run's state: on a replica that lacks later writes of that run."""
        run = self.context.later_run
        return run is not None and state not in NEVER_WRITTEN and not of_run(state, run)

    def _unwritten(self, row: RowHistory, state: int, where: str, time: int | None) -> None:
        if state == ABSENT:
            line = f"{where} found no row, although no operation deleted it"
            self.add_finding(row.key, line, time, certain=not self.context.may_be_missing(row.key))
        elif state in row.register.failed:
            self.add_finding(row.key, f"{where}: {describe_state(state)}, whose write certainly failed", time)
        else:
            certain = state in NEVER_WRITTEN or not self.context.may_be_missing(state)
            self.add_finding(
                row.key, f"{where}: {describe_state(state)}, which no write left in this row", time, certain=certain
            )


def _only_unknown_deletes(row: RowHistory) -> bool:
    """The row existed, and no acknowledged delete removed it."""
    there = row.before is not None or any(write.state != ABSENT and write.outcome is Outcome.OK for write in row.writes)
    return there and not any(write.state == ABSENT and write.outcome is Outcome.OK for write in row.writes)


def _describe_write(write: Write) -> str:
    operation = write.operation
    return "a delete" if operation is Operation.DELETE else f"the {operation.name.lower()} of {describe_state(write.state)}"
