"""The checker of the replicas: at the end each of them holds what the primary holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from hs_drill.store import FinalState

from ._checker import Check, Checker, Context, Validity
from ._register import describe_state

__all__ = ["check_replicas"]


def check_replicas(
    primary: FinalState | None, replicas: Iterable[FinalState], context: Context, *, alone: bool = False
) -> Check:
    """Compare the replicas with the primary. A row counts once for each replica that differs.

    `alone`: the primary is the only server.
    """
    checker = _Replicas(context)
    if alone:
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
        for key, ours, theirs in _side_by_side(primary, replica):
            self.differing[replica.server] += 1
            here, there = (describe_state(row[0]) + f", n {row[1]}" if row else "no row" for row in (ours, theirs))
            self.add_finding(key, f"{replica.server} has {there}; {primary.server} has {here}", None)

    def result(self) -> Check:
        self.measured = dict(self.differing)
        # What the histories lack does not matter here: only final states are compared.
        self.context = Context(final_unusable=self.context.final_unusable, missing=self.unread)
        return super().result()


_State = tuple[int, ...] | None


def _side_by_side(one: FinalState, other: FinalState) -> Iterable[tuple[int, _State, _State]]:
    """The rows that differ: key, and what each of the two holds."""
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
