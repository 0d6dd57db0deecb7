"""A run's histories and final state, regrouped: everything that is known about one row, row after row.

A run has more records than fit into memory as objects. So they are dealt out over buckets by key, in one temporary file, and
each bucket is then put together on its own.
"""

from __future__ import annotations

import tempfile
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, NamedTuple

from loadtest._final import FinalState
from loadtest._history import ABSENT, INITIAL, READS, RECORD, UNSEEN, History, Operation, Outcome

__all__ = ["ENDLESS", "Read", "Register", "RowHistory", "Untouched", "Write", "rows_of"]

ENDLESS = 2**62
"""Later than everything: the end of a write of which nobody knows when, or whether, it was applied."""
BUCKET_ENTRIES = 100_000
"""As objects some 50 MB."""
SPILL_ENTRIES = 400_000
FIELDS = 6
"""key, code, value, start, end, who; of a state: key, code, version, n."""

_FINAL, _BEFORE = -1, -2
_STEPS = {Operation.INCR: 1, Operation.DECR: -1}
_INSERT_OK = Operation.INSERT << 2 | Outcome.OK


class Write(NamedTuple):
    """An insert, update or delete."""

    start: int
    end: int
    """`ENDLESS` when the outcome is info."""
    state: int
    """What it leaves: its version, or `ABSENT`."""
    operation: Operation
    outcome: Outcome


class Read(NamedTuple):
    start: int
    end: int
    state: int
    who: int
    """Worker and user."""


class _Source(NamedTuple):
    """When a state may have come to be."""

    earliest: int
    latest: int


class Register:
    """The states that a row can have been in, and their order, as far as it is certain.

    A write may take effect at any moment between its start and its end. So one state certainly followed another only where
    the writes did not overlap.
    """

    def __init__(self, before: int, writes: Iterable[Write]) -> None:
        self.sources = {before: _Source(-ENDLESS, -ENDLESS)}
        self.failed: set[int] = set()
        self._acknowledged: list[Write] = []
        for write in writes:
            if write.outcome is Outcome.FAIL:
                self.failed.add(write.state)
                continue
            known = self.sources.get(write.state, _Source(ENDLESS, -ENDLESS))
            self.sources[write.state] = _Source(min(write.start, known.earliest), max(write.end, known.latest))
            if write.outcome is Outcome.OK:
                self._acknowledged.append(write)
        self._acknowledged.sort()
        self._starts = [write.start for write in self._acknowledged]
        self._first_ends = list(_running_minimum(write.end for write in reversed(self._acknowledged)))
        self._first_ends.reverse()
        self.first_end = self._first_ends[0] if self._first_ends else ENDLESS
        """When the first acknowledged write ended, `ENDLESS` without one."""

    def successors(self, state: int) -> list[Write]:
        """The acknowledged writes that certainly came after whatever left this state."""
        return self._acknowledged[self._after(state) :]

    def replaced(self, state: int) -> int | None:
        """When at the latest something else had certainly taken this state's place; None if never."""
        first = self._after(state)
        return self._first_ends[first] if first < len(self._first_ends) else None

    def _after(self, state: int) -> int:
        source = self.sources.get(state)
        return bisect_right(self._starts, source.latest if source is not None else -ENDLESS)


def _running_minimum(values: Iterable[int]) -> Iterator[int]:
    least = ENDLESS
    for value in values:
        least = min(least, value)
        yield least


@dataclass
class RowHistory:
    """Everything about one row, in the order of the ends within one worker."""

    key: int
    before: tuple[int, int] | None
    """(version, n) before the run; None when there was no row."""
    final: tuple[int, int] | None
    """(version, n) at the end, if that is known at all; None when there was no row."""
    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    steps: Counter[int] = field(default_factory=Counter)
    """Acknowledged increments, and with a negative amount decrements: amount -> how many. Not one by one, for all of a run
    may fall on one row."""
    doubtful_steps: Counter[int] = field(default_factory=Counter)
    """The same of those of which nobody knows."""
    last_step: int = 0
    """When the last of either ended."""

    @cached_property
    def register(self) -> Register:
        return Register(self.before[0] if self.before else ABSENT, self.writes)

    @property
    def final_state(self) -> int:
        return self.final[0] if self.final else ABSENT


@dataclass
class Untouched:
    """What `rows_of` leaves out."""

    inserts: int = 0
    """Rows that were inserted once, acknowledged, and are as they were inserted."""


def rows_of(
    histories: Iterable[History],
    final: FinalState | None,
    *,
    loaded: int,
    before: FinalState | None = None,
    untouched: Untouched | None = None,
) -> Iterator[RowHistory]:
    """Every row that a history or a final state says something about, but for those where nothing can be amiss: rows that
    nobody touched, and rows inserted once and still as they were inserted.

    `loaded` rows (ids from 1) had version `INITIAL` and n 0 before the run; `before` says otherwise where there is one.
    What is left out is counted in `untouched`.
    """
    untouched = untouched if untouched is not None else Untouched()
    histories = list(histories)
    states = [state for state in (final, before) if state is not None]
    entries = sum(history.path.stat().st_size // RECORD.size for history in histories) + sum(state.rows for state in states)
    # Beside the histories: the system's directory for temporary files may be memory.
    with tempfile.TemporaryFile(dir=histories[0].path.parent if histories else None) as file:
        buckets = _Buckets(file, entries // BUCKET_ENTRIES + 1)
        for history in histories:
            buckets.deal(history)
        if before is not None:
            buckets.deal_state(before, _BEFORE)
        if final is not None:
            buckets.deal_state(_changed(final, loaded) if before is None else final, _FINAL)
        for bucket in buckets.take():
            yield from _rows_in(bucket, range(1, loaded + 1) if before is None else range(0), untouched)


class _Buckets:
    def __init__(self, file: IO[bytes], count: int) -> None:
        self._file = file
        self._open = [array("q") for _ in range(count)]
        self._gathered = 0
        self._places: list[list[tuple[int, int]]] = [[] for _ in range(count)]

    def deal(self, history: History) -> None:
        worker = history.header.worker << 32
        buckets, count = self._open, len(self._open)
        for chunk in history.readable():
            for key, value, _, end, lasted, _, user, code, _, _ in history.entries(chunk):
                if value != UNSEEN:
                    buckets[key % count].extend((key, code, value, end - 1000 * lasted, end, worker | user))
            self._gathered += len(chunk) // RECORD.size
            self._spill()

    def deal_state(self, rows: Iterable[tuple[int, int, int]], code: int) -> None:
        buckets, count = self._open, len(self._open)
        for key, version, n in rows:
            buckets[key % count].extend((key, code, version, n, 0, 0))
            self._gathered += 1
            if self._gathered >= SPILL_ENTRIES:
                self._spill()

    def _spill(self) -> None:
        if self._gathered < SPILL_ENTRIES:
            return
        for index, bucket in enumerate(self._open):
            if bucket:
                self._places[index].append((self._file.tell(), len(bucket)))
                bucket.tofile(self._file)
                del bucket[:]
        self._gathered = 0

    def take(self) -> Iterator[array[int]]:
        for index, rest in enumerate(self._open):
            bucket = array("q")
            for place, length in self._places[index]:
                self._file.seek(place)
                bucket.fromfile(self._file, length)
            bucket.extend(rest)
            self._open[index] = array("q")
            yield bucket


def _changed(final: FinalState, loaded: int) -> Iterator[tuple[int, int, int]]:
    """The final state as its difference to the loaded rows: what is as it was is left out, what is missing is `ABSENT`."""
    expected = 1
    for row in final:
        key = row[0]
        if 0 < expected <= loaded:
            for missing in range(expected, min(key, loaded + 1)):
                yield missing, ABSENT, 0
        if key >= expected:
            expected = key + 1
        if not (1 <= key <= loaded and row[1:] == (INITIAL, 0)):
            yield row
    for missing in range(expected, loaded + 1):
        yield missing, ABSENT, 0


def _rows_in(bucket: array[int], loaded: range, untouched: Untouched) -> Iterator[RowHistory]:
    entries: dict[int, array[int]] = {}
    for at in range(0, len(bucket), FIELDS):
        key = bucket[at]
        known = entries.get(key)
        if known is None:
            known = entries[key] = array("q")
        known.extend(bucket[at + 1 : at + FIELDS])
    for key, flat in entries.items():
        if key not in loaded and _inserted_and_there(flat):
            untouched.inserts += 1
        else:
            yield _row(key, flat, (INITIAL, 0) if key in loaded else None)


def _inserted_and_there(flat: array[int]) -> bool:
    """The most usual row, and nothing is amiss with it: one acknowledged insert, and at the end just that."""
    return len(flat) == 10 and flat[0] == _INSERT_OK and flat[5] == _FINAL and flat[1] == flat[6] and not flat[7]


def _row(key: int, flat: array[int], before: tuple[int, int] | None) -> RowHistory:
    row = RowHistory(key, before, before)
    fields = iter(flat)
    for code, value, start, end, who in zip(*[fields] * (FIELDS - 1), strict=True):
        if code < 0:
            state = None if value == ABSENT else (value, start)
            if code == _BEFORE:
                row.before = state
            else:
                row.final = state
            continue
        operation, outcome = Operation(code >> 2), Outcome(code & 3)
        if operation in READS:
            row.reads.append(Read(start, end, value, who))
        elif operation in _STEPS:
            if outcome is not Outcome.FAIL and value:
                (row.steps if outcome is Outcome.OK else row.doubtful_steps)[_STEPS[operation] * value] += 1
                row.last_step = max(row.last_step, end)
        else:
            until = ENDLESS if outcome is Outcome.INFO else end
            state_left = ABSENT if operation is Operation.DELETE else value
            row.writes.append(Write(start, until, state_left, operation, outcome))
    return row
