"""The checkers of writes: lost ones, recovered ones, and data that no write left."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from typing import Self

from hs_drill._counted import counted
from hs_drill.store import WrongRow
from hs_drill.workload import ABSENT, DAMAGED, of_run

from ._checker import Check, Checker, Context, Validity
from ._counters import Cause, deviation_of, miscounted_line, sum_of
from ._order_of_loss import OrderOfLoss
from ._register import ENDLESS, Write
from ._row_histories import LeftOut
from ._row_history import RowCounter, RowHistory
from ._table import never_written
from ._takeover import NOT_KNOWN, By, Share

__all__ = ["Lost", "Recovered", "Unexpected"]


class Lost(Checker):
    """A write is lost when it was acknowledged, and the row ended in a state that is certainly older than the write."""

    name = "lost"
    good = "every acknowledged write is there at the end, or was superseded"
    bad = ("acknowledged write is lost", "acknowledged writes are lost")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.acknowledged = 0
        self.takeover = context.takeover if context.one_clock else None
        self.order = OrderOfLoss(context.reign)
        self.shares = {by: Share() for by in (By.EARLIER, By.OLD, By.PROMOTED)}
        """Which server acknowledged the lost writes. Of a row's steps it is known how many are lost, but not which."""
        self.after = Share()
        """Lost writes from after the promotion, by whichever server."""
        self.around = Share()
        """Those of which it is not known whether they are from before or after it."""

    def merge(self, other: Self) -> None:
        super().merge(other)
        self.acknowledged += other.acknowledged
        self.order.merge(other.order)
        for by, share in other.shares.items():
            self.shares[by].add(share.least, share.most)
        self.after.add(other.after.least, other.after.most)
        self.around.add(other.around.least, other.around.most)

    def add_left_out(self, left_out: LeftOut) -> None:
        self.acknowledged += left_out.inserts
        if left_out.newest is not None:
            start, key = left_out.newest
            self.order.survived(key, start, start)

    def why_not_applicable(self) -> str:
        return "" if self.acknowledged else "no write was acknowledged, so none could be lost"

    def check_row(self, row: RowHistory) -> None:
        self.acknowledged += len(row.register.acknowledged)
        self.acknowledged += sum(counter.steps.total() for counter in row.counters if counter.step_times)
        if self.context.final_unusable:
            return
        lost = self._check_writes(row)
        for counter in row.counters:
            self._check_counter(row, counter)
        if self.context.table.extras:
            self._check_extras(row, lost)

    def _check_writes(self, row: RowHistory) -> list[Write]:
        """Returns the lost ones."""
        context, register, state = self.context, row.register, row.final_version
        known = state in register.sources
        if not known and state != ABSENT:
            return []
        # A missing history may hold a delete of the row. It cannot explain a payload: each names its one writer.
        certain = context.one_clock and not (state == ABSENT and context.may_be_missing(row.key))
        certain = certain and not context.is_undescribed(row.key, state)
        lost = register.successors(state)
        if context.reign is not None:
            self._note_order(row, lost)
        if lost:
            self._add_lost(row, lost, f"the final state has {context.table.describe(state)}", certain=certain)
        elif not known and row.before is not None:
            line = "the row existed before the run and is gone, although no operation deleted it"
            self.add_finding(row.key, line, None, certain=certain)
        for counter in () if known else row.counters:
            if gone := counter.steps.total():
                line = f"{gone:,} acknowledged increments or decrements are gone with the row"
                self.add_finding(row.key, line, counter.last_step, gone, certain=certain, columns=[counter.column])
                self._add_steps(counter, gone, certain)
        return lost

    def _note_order(self, row: RowHistory, lost: Sequence[Write]) -> None:
        for write in lost:
            self.order.lost(write)
        for write in row.register.acknowledged:
            # A row that is gone says nothing: several deletes leave that.
            if write.state == row.final_version != ABSENT:
                self.order.survived(row.key, write.start, write.end)

    def _check_counter(self, row: RowHistory, counter: RowCounter) -> None:
        deviation = deviation_of(counter)
        if deviation is not None and deviation.cause in (Cause.LOST, Cause.LOST_OR_TWICE):
            certain = deviation.cause is Cause.LOST and not self.context.missing
            self.add_finding(
                row.key, deviation.line, counter.last_step, deviation.count, certain=certain, columns=[counter.column]
            )
            self._add_steps(counter, deviation.count, certain)

    def _check_extras(self, row: RowHistory, lost: list[Write]) -> None:
        """Writes that are lost in one column. `lost` are those of which more is lost."""
        known = set(lost)
        for extra in row.extras:
            also = [write for write in extra.lost if write not in known] if extra.final in extra.register.sources else []
            if also:
                # Unlike a version, a value may have been written again, by a write that is missing.
                certain = not self.context.missing
                instead = f"at the end {extra.column} has an older value"
                self._add_lost(row, also, instead, certain=certain, columns=[extra.column])

    def _add_lost(
        self, row: RowHistory, lost: list[Write], instead: str, *, certain: bool, columns: Sequence[str] = ()
    ) -> None:
        first = min(lost, key=lambda write: write.end)
        if certain and self.takeover is not None:
            for write in lost:
                self._share_out(Counter([self.takeover.acknowledged_by(write.start, write.end)]), 1)
        by = self.takeover.told(first.start, first.end, self.context.origin) if self.takeover is not None else ""
        line = f"{self.context.describe(first)} was acknowledged{by}; {instead}"
        self.add_finding(row.key, line, first.end, len(lost), certain=certain, columns=columns)

    def _add_steps(self, counter: RowCounter, lost: int, certain: bool) -> None:
        if self.takeover is None or not certain:
            return
        fields = iter(counter.step_times)
        steps = [(start, end) for _, start, end in zip(fields, fields, fields, strict=True) if end != ENDLESS]
        self._share_out(Counter(self.takeover.acknowledged_by(*step) for step in steps), lost)

    def _share_out(self, acknowledged: Counter[By], lost: int) -> None:
        """Note whose the lost ones of these writes may be. A server's are at least those that all others cannot account for."""

        def add(share: Share, certain: Container[By], possible: Container[By]) -> None:
            others = sum(count for by, count in acknowledged.items() if by not in certain)
            share.add(max(0, lost - others), min(lost, sum(count for by, count in acknowledged.items() if by in possible)))

        for one, share in self.shares.items():
            add(share, {one}, {by for by in acknowledged if one in by})
        around = {by for by in acknowledged if By.EARLIER in by and by is not By.EARLIER}
        add(self.around, around, around)
        add(
            self.after, {by for by in acknowledged if By.EARLIER not in by}, {by for by in acknowledged if by is not By.EARLIER}
        )

    def result(self) -> Check:
        check, takeover = super().result(), self.takeover
        earlier, old, promoted = (self.shares[by] for by in (By.EARLIER, By.OLD, By.PROMOTED))
        if takeover is None or not (earlier.most or old.most or promoted.most):
            return check
        self.measured["before_promotion"], self.measured["perhaps_before_promotion"] = earlier.least, earlier.most
        self.measured["split_brain"], self.measured["perhaps_split_brain"] = old.least, old.most
        self.measured["lost_by_promoted"], self.measured["perhaps_lost_by_promoted"] = promoted.least, promoted.most
        when = f"{takeover.promoted} had been promoted {takeover.moment(self.context.origin)}"
        lines = [check.explanation]
        if takeover.seen and earlier.least:
            lines.append(f"{earlier} of them {earlier.were} acknowledged before {when}")
        if takeover.seen and self.around.most:
            about = f"about when {when}, before or after that"
            lines.append(f"{self.around} of them {self.around.were} acknowledged {about}")
        if old.least:
            lines.append(f"split brain: {old} of them {old.were} acknowledged by {takeover.old} after {when}")
        if promoted.least:
            lines.append(f"{promoted} of them {promoted.were} acknowledged by {takeover.promoted} itself after {when}")
        in_doubt = not old.least and not promoted.least and old.most and promoted.most
        if in_doubt and (self.after.least or not takeover.seen):
            either = f"either by {takeover.old}, which is a split brain, or by {takeover.promoted} itself"
            either = NOT_KNOWN if takeover.primaries.routed else either
            lines.append(f"{self.after} of them {self.after.were} acknowledged after {when}: {either}")
        lines += self._order_words(takeover.promoted)
        return replace(check, explanation="; ".join(lines))

    def _order_words(self, promoted: str) -> Iterator[str]:
        order = self.order
        if not order.known:
            return
        self.measured["holes"] = order.holes
        newest = self.context.finding(order.newest_key, "", order.newest)
        yield order.words(promoted, f"key {newest.primary or newest.key} at {newest.time:.3f} s")


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
        unknown = row.register.unknown
        if unknown:
            seen = {read.state for read in row.reads}
            if not self.context.final_unusable:
                seen.add(row.final_version)
            self.unknown += len(unknown)
            self.applied += sum(
                write.state in seen and (write.state != ABSENT or _only_unknown_deletes(row)) for write in unknown
            )
        for counter in row.counters:
            if counter.step_times and counter.unknown_steps:
                self._check_counter(counter)

    def merge(self, other: Self) -> None:
        super().merge(other)
        self.applied += other.applied
        self.unknown += other.unknown

    def _check_counter(self, counter: RowCounter) -> None:
        unknown = counter.unknown_steps
        self.unknown += unknown.total()
        if self.context.final_unusable or counter.final is None or counter.base is None:
            return
        beyond = counter.final - counter.base - sum_of(counter.steps)
        same_way = [abs(step) for step in unknown if step * beyond > 0]
        if same_way:
            self.applied += min(-(-abs(beyond) // max(same_way)), unknown.total())

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
        seen = self._check_reads(row)
        if not self.context.final_unusable:
            self._check_final(row, seen)
        for state, times in seen.items():
            self._unwritten(row, state, "a read" if len(times) == 1 else f"{len(times):,} reads", min(times))
        self._check_counters_seen(row)

    def _check_reads(self, row: RowHistory) -> dict[int, list[int]]:
        """Returns when reads saw a state that no write left, by state."""
        sources, seen, early = row.register.sources, defaultdict[int, list[int]](list), dict[int, int]()
        for start, end, state, *_ in row.reads:
            source = sources.get(state)
            if source is None:
                if not self._is_old(row, state):
                    seen[state].append(start)
            elif source.earliest > end:
                early[state] = min(start, early.get(state, start))
        for state, time in early.items():
            line = f"a read saw {self.context.table.describe(state)} before it was written"
            self.add_finding(row.key, line, time, certain=self.context.one_clock)
        return seen

    def _check_final(self, row: RowHistory, seen: dict[int, list[int]]) -> None:
        if row.final is not None and row.final_state not in row.register.sources:
            self._check_final_state(row, seen)
        for counter in row.counters:
            deviation = deviation_of(counter)
            if deviation is not None and deviation.cause is Cause.UNEXPLAINED:
                time, certain = counter.last_step or None, not self.context.missing
                self.add_finding(row.key, deviation.line, time, certain=certain, columns=[counter.column])
        if self.context.table.extras:
            self._check_extras(row)

    def _check_final_state(self, row: RowHistory, seen: dict[int, list[int]]) -> None:
        """Reads that saw what is wrong in the row at the end are reported with it, and taken out of `seen`."""
        table, final = self.context.table, row.final_state
        columns = set(table.wrong_columns(final, row.wrong))
        if final <= DAMAGED and row.was_damaged(columns):
            return
        same = [
            state
            for state in seen
            if state == final or (max(state, final) <= DAMAGED and columns.issuperset(table.wrong_columns(state)))
        ]
        times = [time for state in same for time in seen.pop(state)]
        where = f"{counted(len(times), 'read')}, and the row at the end" if times else "at the end"
        self._unwritten(row, final, where, min(times, default=None), row.wrong)

    def _check_extras(self, row: RowHistory) -> None:
        told = {column for column, *_ in row.wrong.columns} if row.wrong is not None else set()
        for extra in row.extras:
            if extra.final not in extra.register.sources and extra.column not in told:
                failed = extra.final in extra.register.failed
                whose = "whose write certainly failed" if failed else "which no write left in this row"
                line = f"at the end: a value in {extra.column}, {whose}"
                # Unlike a version, a value may have been written by a write that is missing.
                self.add_finding(row.key, line, None, certain=not self.context.missing, columns=[extra.column])

    def _check_counters_seen(self, row: RowHistory) -> None:
        """A counter counts once, however many reads saw a wrong value."""
        if not row.miscounted_reads:
            return
        impossible = [(counter, seen) for counter, seen in row.miscounted_reads if self.context.impossible(seen)]
        told: set[str] = set()
        for counter, seen in sorted(impossible, key=lambda one: one[1].read.start):
            if counter.column not in told:
                told.add(counter.column)
                line = miscounted_line(counter, seen, "which no increments and decrements lead to")
                certain = self.context.counters_complete
                self.add_finding(row.key, line, seen.read.start, certain=certain, columns=[counter.column])

    def _is_old(self, row: RowHistory, state: int) -> bool:
        """Whether a read may show an earlier run's state: on a replica that lacks later writes of that run, or if the row was
        damaged then."""
        if state <= DAMAGED:
            return row.was_damaged(self.context.table.wrong_columns(state))
        run = self.context.later_run
        return run is not None and not never_written(state) and not of_run(state, run)

    def _unwritten(self, row: RowHistory, state: int, where: str, time: int | None, wrong: WrongRow | None = None) -> None:
        shown = self.context.table.describe(state, wrong, number=row.key)
        columns = self.context.table.wrong_columns(state, wrong, number=row.key)
        if state == ABSENT:
            line = f"{where} found no row, although no operation deleted it"
            self.add_finding(row.key, line, time, certain=not self.context.may_be_missing(row.key))
        elif state in row.register.failed:
            self.add_finding(row.key, f"{where}: {shown}, whose write certainly failed", time)
        else:
            certain = never_written(state) or not self.context.may_be_missing(state)
            line = f"{where}: {shown}, which no write left in this row"
            self.add_finding(row.key, line, time, certain=certain, columns=columns)


def _only_unknown_deletes(row: RowHistory) -> bool:
    """The row existed, and no acknowledged delete removed it."""
    acknowledged = row.register.acknowledged
    there = row.before is not None or any(write.state != ABSENT for write in acknowledged)
    return there and not any(write.state == ABSENT for write in acknowledged)
