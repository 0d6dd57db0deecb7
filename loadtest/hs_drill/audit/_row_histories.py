"""A run's histories and final state, regrouped: everything that is known about one row, row after row.

A run has more records than fit into memory as objects. So they are dealt out over buckets by key, in one temporary file, and
each bucket is then put together on its own.
"""

from __future__ import annotations

import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import IO

from hs_drill.store import NO_COUNT, READS, RECORD, FinalState, History, Operation, Outcome
from hs_drill.workload import ABSENT, INITIAL, UNSEEN

from ._counter_history import Counts, Miscounted
from ._register import ENDLESS, Read, Register, Write

__all__ = ["RowHistory", "Untouched", "rows_of"]

BUCKET_ENTRIES = 100_000
"""As objects some 50 MB."""
SPILL_ENTRIES = 400_000
FIELDS = 7
"""key, code, value, start, end, who, n; of a state: key, code, version, n."""

_FINAL, _BEFORE = -1, -2
_STEPS = {Operation.INCR: 1, Operation.DECR: -1}
_CODES = {operation << 2 | outcome: (operation, outcome) for operation in Operation for outcome in Outcome}
"""To make these of their numbers each time took a tenth of the audit's time."""
_INSERT_OK = Operation.INSERT << 2 | Outcome.OK


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
    step_times: array[int] = field(default_factory=partial(array, "q"), repr=False)
    """Of each of both amount, start and end, which is `ENDLESS` where nobody knows: 24 bytes."""

    @cached_property
    def register(self) -> Register:
        return Register(self.before[0] if self.before else ABSENT, self.writes)

    @property
    def final_state(self) -> int:
        return self.final[0] if self.final else ABSENT

    @cached_property
    def base(self) -> int | None:
        """What the counter was before the first step; None when a delete or a second insert makes that uncertain."""
        applied = [write for write in self.writes if write.outcome is not Outcome.FAIL]
        inserts = sum(write.operation is Operation.INSERT for write in applied)
        if any(write.state == ABSENT for write in applied) or inserts > (0 if self.before else 1):
            return None
        return self.before[1] if self.before else 0

    @cached_property
    def counts(self) -> Counts | None:
        """How the counter went, where that can be told."""
        fields = iter(self.step_times)
        return None if self.base is None else Counts(self.base, zip(fields, fields, fields, strict=True))

    @cached_property
    def miscounted(self) -> list[Miscounted]:
        """The reads whose counter was behind, or is one that no steps make, by their order here."""
        counts = self.counts if self.reads else None
        if counts is None:
            return []
        look = counts.look
        return [seen for read in self.reads if read.n != NO_COUNT and (seen := look(read)) is not None]


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
            for key, value, n, end, lasted, _, user, code, _, _ in history.entries(chunk):
                if value != UNSEEN:
                    buckets[key % count].extend((key, code, value, end - 1000 * lasted, end, worker | user, n))
            self._gathered += len(chunk) // RECORD.size
            self._spill()

    def deal_state(self, rows: Iterable[tuple[int, int, int]], code: int) -> None:
        buckets, count = self._open, len(self._open)
        for key, version, n in rows:
            buckets[key % count].extend((key, code, version, n, 0, 0, 0))
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
    return len(flat) == 12 and flat[0] == _INSERT_OK and flat[6] == _FINAL and flat[1] == flat[7] and not flat[8]


def _row(key: int, flat: array[int], before: tuple[int, int] | None) -> RowHistory:
    row = RowHistory(key, before, before)
    fields = iter(flat)
    for code, value, start, end, who, n in zip(*[fields] * (FIELDS - 1), strict=True):
        if code < 0:
            state = None if value == ABSENT else (value, start)
            if code == _BEFORE:
                row.before = state
            else:
                row.final = state
            continue
        operation, outcome = _CODES[code]
        if operation in READS:
            row.reads.append(Read(start, end, value, who, n))
        elif operation in _STEPS:
            if outcome is not Outcome.FAIL and value:
                (row.steps if outcome is Outcome.OK else row.doubtful_steps)[_STEPS[operation] * value] += 1
                row.last_step = max(row.last_step, end)
                row.step_times.extend((_STEPS[operation] * value, start, end if outcome is Outcome.OK else ENDLESS))
        else:
            until = ENDLESS if outcome is Outcome.INFO else end
            state_left = ABSENT if operation is Operation.DELETE else value
            row.writes.append(Write(start, until, state_left, operation, outcome))
    return row
