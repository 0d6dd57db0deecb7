"""The checkers of writes: lost ones, those whose outcome nobody knew, and what nobody wrote."""

from __future__ import annotations

from dataclasses import replace

from hs_drill.store import Operation, Outcome
from hs_drill.workload import ABSENT, DAMAGED, FOREIGN, of_run

from ._checker import Check, Checker, Context, Validity
from ._counters import LOST, UNCLEAR, UNWRITTEN, counter, seen_counter, sum_of
from ._register import ENDLESS, show
from ._row_histories import RowHistory

__all__ = ["Lost", "Recovered", "Unexpected"]

SPOILT = frozenset((FOREIGN, DAMAGED))
"""What no write can leave, told or untold."""


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
                line = f"{_describe(first.operation, first.state)} was acknowledged{after}; at the end {show(state)}"
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
            beyond = row.final[1] - base - sum_of(row.steps)
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
                line = f"a read saw {show(read.state)} before it was written"
                self.add(row.key, line, read.start, certain=self.context.one_clock)
        for seen in row.miscounted:
            if self.context.impossible(seen):
                self.add(
                    row.key,
                    seen_counter(seen, "which nobody made it"),
                    seen.read.start,
                    certain=self.context.counts_are_certain,
                )

    def _earlier(self, state: int) -> bool:
        """Whether a read may show what was there before this run began: on a replica that never got an earlier run's writes."""
        run = self.context.later_run
        return run is not None and state not in SPOILT and not of_run(state, run)

    def _unwritten(self, row: RowHistory, state: int, where: str, time: int | None) -> None:
        if state == ABSENT:
            line = f"{where} found no row, though nobody deleted it"
            self.add(row.key, line, time, certain=not self.context.may_be_untold(row.key))
        elif state in row.register.failed:
            self.add(row.key, f"{where}: {show(state)}, whose write had certainly failed", time)
        else:
            certain = state in SPOILT or not self.context.may_be_untold(state)
            self.add(row.key, f"{where}: {show(state)}, which nobody wrote here", time, certain=certain)


def _only_by_delete(row: RowHistory) -> bool:
    """The row was there once, and no acknowledged delete removed it."""
    there = row.before is not None or any(write.state != ABSENT and write.outcome is Outcome.OK for write in row.writes)
    return there and not any(write.state == ABSENT and write.outcome is Outcome.OK for write in row.writes)


def _describe(operation: Operation, state: int) -> str:
    return "a delete" if operation is Operation.DELETE else f"the {operation.name.lower()} of {show(state)}"
