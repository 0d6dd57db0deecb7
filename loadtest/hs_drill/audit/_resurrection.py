"""The checker of deleted rows that come back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Self

from hs_drill._counted import counted
from hs_drill.store import Operation, Outcome
from hs_drill.workload import ABSENT

from ._checker import Check, Checker, Context, Validity
from ._reads import sample_words
from ._register import ENDLESS, Write
from ._row_history import RowHistory

__all__ = ["NoResurrection"]


class NoResurrection(Checker):
    """After the acknowledged delete of a row, the primary neither shows nor updates it, unless an insert may have come later.

    A reader that lags may show a deleted row, so its reads do not count. What is found here, other checks find too: a row that
    is there at the end is a lost delete, and what the primary showed of one is not linearizable.
    """

    name = "no_resurrection"
    good = "no deleted row came back"
    bad = ("deleted row came back", "deleted rows came back")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.rows = 0
        self.reads = 0

    def check_row(self, row: RowHistory) -> None:
        emptied = row.register.sources.get(ABSENT)
        if emptied is None or emptied.latest == -ENDLESS:  # most rows: nobody deleted them
            return
        deletes = [write for write in row.register.acknowledged if write.state == ABSENT]
        if not deletes:
            return
        self.rows += 1
        inserts = [one for one in row.writes if one.operation.do is Operation.INSERT and one.outcome is not Outcome.FAIL]
        for since, until, what in sorted(self._signs(row, min(delete.end for delete in deletes))):
            before = [delete for delete in deletes if delete.end < since]
            if before and _certainly_deleted(max(before), inserts, until):
                certain = self.context.one_clock and not self.context.may_be_missing(row.key)
                time = None if since == ENDLESS else since
                self.add_finding(row.key, f"its delete was acknowledged, and then {what}", time, certain=certain)
                return

    def merge(self, other: Self) -> None:
        super().merge(other)
        self.rows += other.rows
        self.reads += other.reads

    def _signs(self, row: RowHistory, deleted: int) -> Iterator[tuple[int, int, str]]:
        """What shows that the row was there after this time: from when to when, and in words."""
        sources, describe = row.register.sources, self.context.table.describe
        for read in self.context.of_primary(row.reads):
            if read.start > deleted:
                self.reads += 1
                if read.state != ABSENT and read.state in sources:
                    yield read.start, read.end, f"the primary showed {describe(read.state)}"
        for write in row.register.acknowledged:
            if write.start > deleted and write.operation.do is Operation.UPDATE:
                yield write.start, write.end, f"{self.context.describe(write)} was acknowledged"
        if not self.context.final_unusable and row.final is not None and row.final_version in sources:
            yield ENDLESS, ENDLESS, f"the row ended with {describe(row.final_version)}"

    def why_not_applicable(self) -> str:
        return "" if self.rows else "no delete was acknowledged"

    def result(self) -> Check:
        self.measured = {"rows": self.rows, "reads": self.reads}
        check = super().result()
        if check.verdict is Validity.NOT_APPLICABLE:
            return check
        reads = f"{counted(self.reads, 'read')} of the primary after it{sample_words(self.context)}"
        examined = f"examined: {counted(self.rows, 'row')} with an acknowledged delete, {reads}"
        return replace(check, explanation=f"{check.explanation}; {examined}")


def _certainly_deleted(delete: Write, inserts: list[Write], until: int) -> bool:
    """Whether no insert can have been applied after the delete and before this time."""
    return all(insert.end < delete.start or insert.start > until for insert in inserts)
