"""Regroups a run's histories and final state by row.

A run may have more records than fit into memory as objects. So they are distributed over buckets by key, in one temporary file,
and the rows of one bucket after the other are put together.
"""

from __future__ import annotations

import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import IO

from hs_drill.store import NO_COUNT, READS, RECORD, REMOVALS, STEPS, FinalState, History, Operation, Outcome
from hs_drill.workload import ABSENT, INITIAL, UNSEEN

from ._counter_history import CounterHistory, MiscountedRead
from ._register import ENDLESS, Read, Register, Write

__all__ = ["LeftOut", "RowHistory", "rows_of"]

BUCKET_ENTRIES = 100_000
"""Of one bucket; as objects about 50 MB."""
SPILL_ENTRIES = 400_000
"""Of all buckets together, before they are written to the file."""
FIELDS = 7
"""Integers of an entry: key, code, value, start, end, user_id, n; of a state: key, code, version, n and padding."""

_FINAL, _BEFORE = -1, -2
_CODES = {operation << 2 | outcome: (operation, outcome) for operation in Operation for outcome in Outcome}
"""Looked up, because making these enums of numbers took a tenth of the audit's time."""
_REMOVAL_CODES = frozenset(operation << 2 | outcome for operation in REMOVALS for outcome in Outcome)
_INSERT_OK = Operation.INSERT << 2 | Outcome.OK


@dataclass
class RowHistory:
    """Everything about one row. The operations of each worker are in the order of their ends."""

    key: int
    before: tuple[int, int] | None
    """(version, n) before the run; None when there was no row."""
    final: tuple[int, int] | None
    """(version, n) at the end, if there is a final state; None when there was no row."""
    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    steps: Counter[int] = field(default_factory=Counter)
    """Acknowledged increments and, with a negative amount, decrements: amount -> how many. Not one by one, because all steps
    of a run may fall on one row."""
    unknown_steps: Counter[int] = field(default_factory=Counter)
    """The same for steps of unknown outcome."""
    last_step: int = 0
    """When the last step of either kind ended."""
    step_times: array[int] = field(default_factory=partial(array, "q"), repr=False)
    """Amount, start and end of every step, in 24 bytes. The end of an unknown one is `ENDLESS`."""

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
    def counter_history(self) -> CounterHistory | None:
        """None when `base` is."""
        fields = iter(self.step_times)
        return None if self.base is None else CounterHistory(self.base, zip(fields, fields, fields, strict=True))

    @cached_property
    def miscounted_reads(self) -> list[MiscountedRead]:
        """The reads that saw a counter which the primary cannot have held then, in the order of `reads`."""
        history = self.counter_history if self.reads else None
        if history is None:
            return []
        check = history.check
        return [seen for read in self.reads if read.n != NO_COUNT and (seen := check(read)) is not None]


@dataclass
class LeftOut:
    """What `rows_of` leaves out."""

    inserts: int = 0
    """Rows that were inserted once, acknowledged, and never changed."""


def rows_of(
    histories: Iterable[History],
    final: FinalState | None,
    *,
    loaded: int,
    before: FinalState | None = None,
    left_out: LeftOut | None = None,
) -> Iterator[RowHistory]:
    """Every row that a history or a final state mentions, but for two kinds that cannot violate a check: rows that no operation
    touched, and rows that were inserted once and never changed. The latter are counted in `left_out`.

    `loaded` rows (ids from 1) had version `INITIAL` and n 0 before the run, unless `before` says what there was.
    """
    left_out = left_out if left_out is not None else LeftOut()
    histories = list(histories)
    states = [state for state in (final, before) if state is not None]
    entries = sum(history.path.stat().st_size // RECORD.size for history in histories) + sum(state.rows for state in states)
    # Beside the histories, because the system's directory for temporary files may be in memory.
    with tempfile.TemporaryFile(dir=histories[0].path.parent if histories else None) as file:
        buckets = _Buckets(file, entries // BUCKET_ENTRIES + 1)
        for history in histories:
            buckets.deal(history)
        if before is not None:
            buckets.deal_state(before, _BEFORE)
        if final is not None:
            buckets.deal_state(_changed(final, loaded) if before is None else final, _FINAL)
        for bucket in buckets.take():
            yield from _rows_in(bucket, range(1, loaded + 1) if before is None else range(0), left_out)


class _Buckets:
    """Entries by key, in memory and in a file."""

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

    def deal_state(self, rows: Iterable[tuple[int, ...]], code: int) -> None:
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


def _changed(final: FinalState, loaded: int) -> Iterator[tuple[int, ...]]:
    """The rows of a final state that differ from the loaded ones. A loaded row that is gone is `ABSENT`."""
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


def _rows_in(bucket: array[int], loaded: range, left_out: LeftOut) -> Iterator[RowHistory]:
    entries: dict[int, array[int]] = {}
    for at in range(0, len(bucket), FIELDS):
        key = bucket[at]
        known = entries.get(key)
        if known is None:
            known = entries[key] = array("q")
        known.extend(bucket[at + 1 : at + FIELDS])
    for key, flat in entries.items():
        if key not in loaded and _inserted_and_unchanged(flat):
            left_out.inserts += 1
        else:
            yield _row(key, flat, (INITIAL, 0) if key in loaded else None)


def _inserted_and_unchanged(flat: array[int]) -> bool:
    """The most frequent row: one acknowledged insert, and the final state that it left."""
    return len(flat) == 12 and flat[0] == _INSERT_OK and flat[6] == _FINAL and flat[1] == flat[7] and not flat[8]


def _row(key: int, flat: array[int], before: tuple[int, int] | None) -> RowHistory:
    row = RowHistory(key, before, before)
    fields = iter(flat)
    for code, value, start, end, user_id, n in zip(*[fields] * (FIELDS - 1), strict=True):
        if code < 0:
            state = None if value == ABSENT else (value, start)
            if code == _BEFORE:
                row.before = state
            else:
                row.final = state
            continue
        operation, outcome = _CODES[code]
        if operation in READS:
            row.reads.append(Read(start, end, value, user_id, n))
        elif operation in STEPS:
            if outcome is not Outcome.FAIL and value:
                (row.steps if outcome is Outcome.OK else row.unknown_steps)[STEPS[operation] * value] += 1
                row.last_step = max(row.last_step, end)
                row.step_times.extend((STEPS[operation] * value, start, end if outcome is Outcome.OK else ENDLESS))
        else:
            until = ENDLESS if outcome is Outcome.INFO else end
            state_left = ABSENT if code in _REMOVAL_CODES else value
            row.writes.append(Write(start, until, state_left, operation, outcome))
    return row
