"""The states that a row can have been in, and their order as far as it is certain."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hs_drill.store import NO_COUNT, MixOperation, Operation, Outcome

__all__ = ["ENDLESS", "Read", "Register", "Write"]

ENDLESS = 2**62
"""Later than any time: the end of a write of unknown outcome, which may be applied at any time or never."""


class Write(NamedTuple):
    """An insert, update or delete."""

    start: int
    end: int
    """`ENDLESS` when the outcome is info."""
    state: int
    """What it leaves: its version, or `ABSENT`."""
    operation: MixOperation
    outcome: Outcome
    user_id: int = 0
    """See `Read`."""

    def sets(self, column: str) -> bool:
        """Whether it leaves a value of its own in this column."""
        return self.operation.do is not Operation.UPDATE or column in self.operation.sets


class Read(NamedTuple):
    """A read that the histories keep."""

    start: int
    end: int
    state: int
    user_id: int
    """The worker in the upper 32 bits, its user in the lower."""
    n: int = NO_COUNT
    """The counter that it saw; `NO_COUNT` if it saw none."""
    counter: int = 0
    """The place of that counter in the table."""
    primary: bool = False
    """It went to the primary, as its engine knew it."""


class _Source(NamedTuple):
    """The earliest and latest time at which a state may have come about."""

    earliest: int
    latest: int


class Register:
    """The states that a row, or one of its columns, can have been in, and their order, as far as it is certain.

    A write takes effect at any moment between its start and its end. So one state certainly followed another only when their
    writes did not overlap. Several writes may leave the same state.
    """

    def __init__(self, before: int, writes: Iterable[Write]) -> None:
        self.before = before
        self.sources = {before: _Source(-ENDLESS, -ENDLESS)}
        self.shared: set[int] = set()
        """The states that have several sources."""
        self.failed: set[int] = set()
        self.acknowledged: list[Write] = []
        """By their starts."""
        self.unknown: list[Write] = []
        """Those of unknown outcome."""
        failed, acknowledged = Outcome.FAIL, Outcome.OK  # in Python 3.11 looking them up takes longer than all else here
        for write in writes:
            start, end, state, _, outcome, _ = write
            if outcome is failed:
                self.failed.add(state)
                continue
            known = self.sources.get(state)
            if known is not None:
                self.shared.add(state)
                start, end = min(start, known.earliest), max(end, known.latest)
            self.sources[state] = _Source(start, end)
            (self.acknowledged if outcome is acknowledged else self.unknown).append(write)
        self.acknowledged.sort()
        self._starts = [write.start for write in self.acknowledged]
        self._first_ends = list(_running_minimum(write.end for write in reversed(self.acknowledged)))
        self._first_ends.reverse()
        self.first_end = self._first_ends[0] if self._first_ends else ENDLESS
        """When the first acknowledged write ended; `ENDLESS` without one."""

    def successors(self, state: int) -> list[Write]:
        """The acknowledged writes that certainly came after the write that left this state."""
        return self.acknowledged[self._after(state) :]

    def replaced(self, state: int) -> int | None:
        """When, at the latest, another write had certainly replaced this state; None if none has."""
        first = self._after(state)
        return self._first_ends[first] if first < len(self._first_ends) else None

    def has_write_within(self, first: int, last: int) -> bool:
        """Whether an acknowledged write began after the first of these times, and ended before the last."""
        after = bisect_right(self._starts, first)
        return after < len(self._starts) and self._first_ends[after] < last

    def _after(self, state: int) -> int:
        source = self.sources.get(state)
        return bisect_right(self._starts, source.latest if source is not None else -ENDLESS)


def _running_minimum(values: Iterable[int]) -> Iterator[int]:
    least = ENDLESS
    for value in values:
        least = min(least, value)
        yield least
