"""The checker of the replicas: at the end each of them holds what the primary holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from hs_drill.store import FinalState, WrongRow

from ._checker import Check, Checker, Context, Validity
from ._table import AuditedTable, never_written

__all__ = ["check_replicas"]


def check_replicas(primary: FinalState | None, replicas: Iterable[FinalState], context: Context) -> Check:
    """Compare the replicas with the primary. A row counts once for each replica that differs."""
    checker = _Replicas(context)
    if context.alone:
        return Check(checker.name, Validity.NOT_APPLICABLE, "there is no server but the primary")
    if primary is None or context.final_unusable:
        return checker.result()
    unread: list[str] = []
    read = 0
    for replica in replicas:
        if replica.complete:
            read += 1
            checker.compare(primary, replica)
        else:
            unread.append(replica.damage or f"{replica.server} could not be read back")
    checker.unread = unread or ([] if read else ["no replica was read back"])
    return checker.result()


class _Replicas(Checker):
    name = "replicas"
    good = "every replica holds what the primary holds"
    bad = ("row differs from the primary's", "rows differ from the primary's")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.unread: list[str] = []
        self.differing: dict[str, int] = defaultdict(int)

    def compare(self, primary: FinalState, replica: FinalState) -> None:
        self._keep()  # those of another replica, while the context is that one's
        self.context = replace(self.context, wrong={**replica.wrong, **primary.wrong})
        for key, ours, theirs in _side_by_side(primary, replica):
            columns = _differing(self.context.table, ours, theirs)
            if ours == theirs:
                columns = _differently_wrong(primary.wrong.get(key), replica.wrong.get(key))
                if not columns:
                    continue
            self.differing[replica.server] += 1
            here, there = (self._described(state, server, key) for state, server in ((ours, primary), (theirs, replica)))
            unshown = [column for column in columns if column in self.context.table.extras]
            also = f"; they differ in {', '.join(unshown)}" if unshown else ""
            self.add_finding(key, f"{replica.server} has {there}; {primary.server} has {here}{also}", None, columns=columns)

    def _described(self, state: _State, server: FinalState, key: int) -> str:
        if state is None:
            return "no row"
        table = self.context.table
        row = table.describe(state[0], server.wrong.get(key))
        return ", ".join([row, *(f"{column} {n}" for column, n in zip(table.counters, state[1:], strict=False))])

    def result(self) -> Check:
        self.measured = dict(self.differing)
        # What the histories lack does not matter here: only final states are compared.
        self.context = replace(self.context, missing=self.unread)
        return super().result()


_State = tuple[int, ...] | None


def _differing(table: AuditedTable, ours: _State, theirs: _State) -> list[str]:
    """The columns in which two rows of the same version differ, as far as that is known."""
    if ours is None or theirs is None or ours[0] != theirs[0]:
        return []
    columns = (*table.counters, *table.extras)
    return [column for column, one, other in zip(columns, ours[1:], theirs[1:], strict=True) if one != other]


def _differently_wrong(ours: WrongRow | None, theirs: WrongRow | None) -> list[str]:
    """The columns in which two rows that no write left differ, as far as that was kept."""
    if ours is None or theirs is None:
        return []
    return list(dict.fromkeys(column for column, *_ in sorted({*ours.columns} ^ {*theirs.columns})))


def _side_by_side(one: FinalState, other: FinalState) -> Iterable[tuple[int, _State, _State]]:
    """The rows that differ, or of which their states do not tell: key, and what each of the two holds."""
    ours, theirs = iter(one), iter(other)
    a, b = next(ours, None), next(theirs, None)
    while a is not None or b is not None:
        if a == b and a is not None and not never_written(a[1]):
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
