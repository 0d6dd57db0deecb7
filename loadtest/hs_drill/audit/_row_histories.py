"""Regroups a run's histories and final state by row.

A run may have more records than fit into memory as objects. So they are distributed over buckets by key, in one temporary file,
and the rows of one bucket after the other are put together.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import IO, NamedTuple

from hs_drill.store import (
    READS,
    RECORD,
    REMOVALS,
    STEPS,
    Event,
    FinalState,
    History,
    HistoryError,
    MixOperation,
    Operation,
    Outcome,
    TwoPrimaries,
    WrongRow,
    primaries_at_once,
)
from hs_drill.workload import ABSENT, INITIAL, UNSEEN

from ._register import ENDLESS, Read, Write
from ._row_history import RowCounter, RowHistory
from ._table import AuditedTable

__all__ = ["LeftOut", "operations_listed", "rows_of"]

BUCKET_ENTRIES = 100_000
"""Of one bucket; as objects about 50 MB."""
SPILL_ENTRIES = 400_000
"""Of all buckets together, before they are written to the file."""
FIELDS = 7
"""Integers of an operation: key, code, value, start, end, user_id, n."""
_FINAL, _BEFORE = -1, -2
"""Kinds of states. A state is key, kind, version, counters and extras."""
_NO_OPERATIONS = array("q")


class _Meaning(NamedTuple):
    """What a record's code says. Looked up, because making these of numbers took a tenth of the audit's time."""

    operation: MixOperation
    outcome: Outcome
    reads: bool
    removes: bool
    step: int
    """The sign of a step; 0 if it is none."""
    counter: int


def operations_listed(histories: Iterable[History]) -> dict[int, MixOperation]:
    """What the codes of records mean, without their outcomes. Raises `HistoryError` if the histories do not agree."""
    kinds = [kind for kind in Operation if kind < Operation.ERROR]
    meant = {kind.value: MixOperation(kind.value, kind.name.lower(), kind, 0) for kind in kinds}
    listed: dict[int, MixOperation] = {}
    for history in histories:
        for operation in history.header.operations:
            if listed.setdefault(operation.code, operation) != operation:
                raise HistoryError(f"{history.path}: lists other operations than the histories of other workers")
    return meant | listed


def _meanings(histories: Iterable[History]) -> dict[int, _Meaning]:
    """By code. Raises `HistoryError` if the histories do not agree."""
    return {
        code << 2 | outcome: _Meaning(
            operation,
            outcome,
            operation.do in READS,
            operation.do in REMOVALS,
            STEPS.get(operation.do, 0),
            operation.counter or 0,
        )
        for code, operation in operations_listed(histories).items()
        for outcome in Outcome
    }


@dataclass
class LeftOut:
    """What `rows_of` leaves out."""

    inserts: int = 0
    """Rows that were inserted once, acknowledged, and never changed. Not those of a time when two servers took writes at
    once: which server acknowledged them is told."""
    at_once: Sequence[TwoPrimaries] = ()
    """These times."""
    reign_of: Callable[[Sequence[Event]], tuple[int, int] | None] = lambda events: None
    """Takes the run's events, by time. Returns the times between which the newest of these inserts is wanted, if it is."""
    newest: tuple[int, int] | None = None
    """When it began, and its key."""


def rows_of(
    histories: Iterable[History],
    final: FinalState | None,
    *,
    loaded: int,
    before: FinalState | None = None,
    table: AuditedTable,
    left_out: LeftOut | None = None,
) -> Iterator[RowHistory]:
    """Every row that a history or a final state mentions, but for two kinds that cannot violate a check: rows that no operation
    touched, and rows that were inserted once and never changed. The latter are counted in `left_out`. Their extras need no
    look: whoever read them back compared what the write of their version must have left.

    `loaded` rows (numbers from 1) were as `table` says before the run, with version `INITIAL`, unless `before` says what there
    was.
    """
    left_out = left_out if left_out is not None else LeftOut()
    histories = list(histories)
    states = [state for state in (final, before) if state is not None]
    for state in states:
        if state.rows and (state.counters, state.extras) != (table.counters, table.extras):
            raise ValueError(f"{state.path} is of a table with other columns")
    count = _entries(histories, states) // BUCKET_ENTRIES + 1
    meanings = _meanings(histories)
    reads = frozenset(code for code, meaning in meanings.items() if meaning.reads)
    wrong = (before.wrong if before is not None else {}, final.wrong if final is not None else {})
    regrouped = _Regrouped(meanings, table, range(1, loaded + 1) if before is None else range(0), left_out, wrong)
    # Beside the histories, because the system's directory for temporary files may be in memory.
    folder = histories[0].path.parent if histories else None
    with tempfile.TemporaryFile(dir=folder) as file:
        operations, held = _Buckets(file, count), _Buckets(file, count)
        for history in histories:
            operations.deal(history, reads)
        events = sorted((event for history in histories for event in history.events), key=lambda event: event.time)
        left_out.at_once = primaries_at_once(events)
        reign = left_out.reign_of(events)
        if reign is not None:
            regrouped.reign = reign
        if before is not None:
            held.deal_state(before, _BEFORE)
        if final is not None:
            held.deal_state(_changed(final, loaded, table) if before is None else final, _FINAL)
        for some, ends in zip(operations.take(), held.take(), strict=True):
            yield from regrouped.rows_in(some, ends)


def _entries(histories: Iterable[History], states: Iterable[FinalState]) -> int:
    return sum(history.path.stat().st_size // RECORD.size for history in histories) + sum(state.rows for state in states)


class _Buckets:
    """Entries by key, in memory and in a file. Several may share the file."""

    def __init__(self, file: IO[bytes], count: int) -> None:
        self._file = file
        self._open = [array("q") for _ in range(count)]
        self._gathered = 0
        self._places: list[list[tuple[int, int]]] = [[] for _ in range(count)]

    def deal(self, history: History, reads: Set[int]) -> None:
        """`reads`: the codes of reads, of which those that saw nothing are left out."""
        worker = history.header.worker << 32
        buckets, count = self._open, len(self._open)
        for chunk in history.readable():
            for key, value, n, end, lasted, _, user, code, _, _ in history.entries(chunk):
                if value != UNSEEN or code not in reads:
                    buckets[key % count].extend((key, code, value, end - 1000 * lasted, end, worker | user, n))
            self._gathered += len(chunk) // RECORD.size
            self._spill()

    def deal_state(self, rows: Iterable[Sequence[int]], kind: int) -> None:
        buckets, count = self._open, len(self._open)
        for row in rows:
            buckets[row[0] % count].extend((row[0], kind, *row[1:]))
            self._gathered += 1
            if self._gathered >= SPILL_ENTRIES:
                self._spill()

    def _spill(self) -> None:
        if self._gathered < SPILL_ENTRIES:
            return
        self._file.seek(0, 2)
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


def _changed(final: FinalState, loaded: int, table: AuditedTable) -> Iterator[tuple[int, ...]]:
    """The rows of a final state that differ from the loaded ones. A loaded row that is gone is `ABSENT`."""
    expected, initial, counters_end = 1, table.initial, 2 + len(table.counters)
    nothing = (ABSENT, *[0] * (len(table.counters) + len(table.extras)))
    for row in final:
        key = row[0]
        if 0 < expected <= loaded:
            for missing in range(expected, min(key, loaded + 1)):
                yield missing, *nothing
        if key >= expected:
            expected = key + 1
        if row[1] != INITIAL or not 1 <= key <= loaded or row[2:counters_end] != initial(key):
            yield row
    for missing in range(expected, loaded + 1):
        yield missing, *nothing


class _Regrouped:
    """Makes rows of buckets."""

    def __init__(
        self,
        meanings: Mapping[int, _Meaning],
        table: AuditedTable,
        loaded: range,
        left_out: LeftOut,
        wrong: tuple[Mapping[int, WrongRow], Mapping[int, WrongRow]],
    ) -> None:
        self._meanings = meanings
        self._table = table
        self._loaded = loaded
        self._left_out = left_out
        self._wrong = wrong
        self.reign = (ENDLESS, ENDLESS)
        """Between which times the newest unchanged insert is wanted."""
        self._newest = -ENDLESS

    def rows_in(self, operations: array[int], states: array[int]) -> Iterator[RowHistory]:
        """Every row of a bucket of operations and one of states."""
        entries: dict[int, array[int]] = {}
        for at in range(0, len(operations), FIELDS):
            key = operations[at]
            known = entries.get(key)
            if known is None:
                known = entries[key] = array("q")
            known.extend(operations[at + 1 : at + FIELDS])
        before: dict[int, tuple[int, ...]] = {}
        final: dict[int, tuple[int, ...]] = {}
        width = 3 + len(self._table.counters) + len(self._table.extras)
        for at in range(0, len(states), width):
            key = states[at]
            (final if states[at + 1] == _FINAL else before)[key] = tuple(states[at + 2 : at + width])
            entries.setdefault(key, _NO_OPERATIONS)
        for key, flat in entries.items():
            loaded = key in self._loaded
            if not loaded and self._inserted_and_unchanged(key, flat, final.get(key)) and key not in before:
                self._left_out.inserts += 1
                if self.reign[0] < flat[2] and flat[3] < self.reign[1] and flat[2] > self._newest:
                    self._newest = flat[2]
                    self._left_out.newest = flat[2], key
                continue
            untouched = self._table.loaded(key) if loaded else None
            ended = final.get(key, untouched)
            began = before.get(key, untouched)
            yield self._row(key, flat, began, None if ended is None or ended[0] == ABSENT else ended)

    def _inserted_and_unchanged(self, key: int, flat: array[int], final: tuple[int, ...] | None) -> bool:
        """The most frequent row: one acknowledged insert, and the final state that it left."""
        if len(flat) != FIELDS - 1 or final is None or flat[1] != final[0]:
            return False
        only = self._meanings[flat[0]]
        if only.operation.do is not Operation.INSERT or only.outcome is not Outcome.OK:
            return False
        if any(one.holds(flat[3]) for one in self._left_out.at_once):
            return False
        return final[1 : 1 + len(self._table.counters)] == self._table.initial(key)

    def _row(self, key: int, flat: array[int], before: tuple[int, ...] | None, final: tuple[int, ...] | None) -> RowHistory:
        ends = self._table.counter_ends
        counters = [RowCounter(column, ends.get(column)) for column in self._table.counters]
        wrong_before, wrong = (known.get(key) for known in self._wrong)
        row = RowHistory(key, self._table, counters, before, final, wrong_before, wrong)
        meanings, fields = self._meanings, iter(flat)
        for code, value, start, end, user_id, n in zip(*[fields] * (FIELDS - 1), strict=True):
            operation, outcome, reads, removes, step, place = meanings[code]
            if reads:
                row.reads.append(Read(start, end, value, user_id, n, place))
            elif step:
                if outcome is not Outcome.FAIL and value:
                    counter = counters[place]
                    counter.last_step = max(counter.last_step, end)
                    counter.step_times.extend((step * value, start, end if outcome is Outcome.OK else ENDLESS))
            else:
                until = ENDLESS if outcome is Outcome.INFO else end
                row.writes.append(Write(start, until, ABSENT if removes else value, operation, outcome, user_id))
        row.set_counters()
        return row
