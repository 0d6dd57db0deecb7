"""Regroups a run's histories and final state by row: deals them to buckets, and makes rows of a bucket."""

from __future__ import annotations

import struct
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO, NamedTuple

from hs_drill.store import (
    READS,
    RECORD,
    REMOVALS,
    STEPS,
    FinalState,
    History,
    HistoryError,
    MixOperation,
    Operation,
    Outcome,
    TwoPrimaries,
)
from hs_drill.workload import ABSENT, INITIAL, UNSEEN

from ._buckets import Buckets, Piece, pieces
from ._register import ENDLESS, Read, Write
from ._row_history import RowCounter, RowHistory
from ._table import AuditedTable

__all__ = ["Bucket", "Dealt", "LeftOut", "RowMaker", "deal", "operations_in", "operations_listed"]

BUCKET_ENTRIES = 100_000
"""Of one bucket; as objects about 50 MB."""
CHUNK_ROWS = 8192
_FINAL, _BEFORE = 0, 1
"""Sources of rows. Those of records are the workers."""


class _Meaning(NamedTuple):
    """What a record's code says. Looked up, because making these of numbers took a tenth of the audit's time."""

    operation: MixOperation
    outcome: Outcome
    reads: bool
    removes: bool
    step: int
    """The sign of a step; 0 if it is none."""
    counter: int
    primary: bool


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
            operation.primary,
        )
        for code, operation in operations_listed(histories).items()
        for outcome in Outcome
    }


@dataclass
class LeftOut:
    """What `RowMaker` leaves out."""

    inserts: int = 0
    """Rows that were inserted once, acknowledged, and never changed. Not those of a time when two servers took writes at
    once: which server acknowledged them is told."""
    newest: tuple[int, int] | None = None
    """The newest of these inserts within `RowMaker.reign`: when it began, and its key."""

    def merge(self, other: LeftOut) -> None:
        self.inserts += other.inserts
        self.newest = max(filter(None, (self.newest, other.newest)), default=None)


class Bucket(NamedTuple):
    """Where everything about some rows is in the temporary file."""

    operations: Sequence[Piece]
    states: Sequence[Piece]

    @property
    def operations_count(self) -> int:
        return sum(piece.length for piece in self.operations) // RECORD.size


class Dealt(NamedTuple):
    """A run in the temporary file."""

    file: int = -1
    """Its descriptor."""
    buckets: Sequence[Bucket] = ()
    meanings: Mapping[int, _Meaning] = {}
    failure: Exception | None = None
    """Why it could not be read."""


def deal(
    file: IO[bytes],
    histories: Sequence[History],
    final: FinalState | None,
    *,
    loaded: int,
    before: FinalState | None,
    table: AuditedTable,
    progress: Callable[[int], None],
) -> Dealt:
    """Read the histories to their ends, and deal everything that a row can be made of to buckets in the file.

    Of the final state, rows that are as they were loaded are left out. For the arguments see `audit`. `progress` is told how
    many more operations were read, again and again. Raises `HistoryError`, `ValueError` and OSError.
    """
    meanings = _meanings(histories)
    states = [state for state in (final, before) if state is not None]
    for state in states:
        if state.rows and (state.counters, state.extras) != (table.counters, table.extras):
            raise ValueError(f"{state.path} is of a table with other columns")
    row = _row_of(table)
    entries = operations_in(histories) + sum(state.rows for state in states)
    count = entries // BUCKET_ENTRIES + 1
    operations, held = Buckets(file, count, RECORD.size), Buckets(file, count, row.size)
    for history in histories:
        for length in operations.deal(history.header.worker, map(history.in_this_format, history.readable())):
            progress(length // RECORD.size)
    if before is not None:
        _exhaust(held.deal(_BEFORE, _packed(row, before)))
    if final is not None:
        rows = _changed(final, loaded, table) if before is None else final
        _exhaust(held.deal(_FINAL, _packed(row, rows)))
    return Dealt(file.fileno(), [Bucket(*both) for both in zip(operations.pieces, held.pieces, strict=True)], meanings)


def operations_in(histories: Iterable[History]) -> int:
    """About how many; a few less."""
    return sum(history.path.stat().st_size // RECORD.size for history in histories)


def _row_of(table: AuditedTable) -> struct.Struct:
    """The layout of a row in a bucket: number, version, counters and extras."""
    return struct.Struct(f"<{2 + len(table.counters) + len(table.extras)}q")


def _packed(layout: struct.Struct, rows: Iterable[Sequence[int]]) -> Iterator[bytes]:
    packed = (layout.pack(*row) for row in rows)
    while chunk := b"".join(islice(packed, CHUNK_ROWS)):
        yield chunk


def _exhaust(steps: Iterable[object]) -> None:
    for _ in steps:
        pass


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


class RowMaker:
    """Makes the rows of buckets: every row that a history or a final state mentions, but for two kinds that cannot violate a
    check. These are rows that no operation touched, and rows that were inserted once and never changed. The latter are counted
    in `left_out`. Their extras need no look: whoever read them back compared what the write of their version must have left.

    `loaded` rows (numbers from 1) were as `table` says before the run, with version `INITIAL`, unless `before` says what there
    was.
    """

    def __init__(
        self,
        meanings: Mapping[int, _Meaning],
        table: AuditedTable,
        *,
        loaded: int,
        before: FinalState | None,
        final: FinalState | None,
        at_once: Sequence[TwoPrimaries],
        reign: tuple[int, int] | None,
    ) -> None:
        """`at_once`: when two servers took writes at once. `reign`: the newest unchanged insert of this time is wanted."""
        self._meanings = meanings
        self._table = table
        self._loaded = range(1, loaded + 1) if before is None else range(0)
        self._wrong = (before.wrong if before is not None else {}, final.wrong if final is not None else {})
        self._at_once = at_once
        self._reign = reign if reign is not None else (ENDLESS, ENDLESS)

    def rows_in(self, bucket: Bucket, file: int, left_out: LeftOut) -> Iterator[RowHistory]:
        """Every row of a bucket, given the descriptor of the file."""
        states: tuple[dict[int, tuple[int, ...]], dict[int, tuple[int, ...]]] = {}, {}
        layout = _row_of(self._table)
        for source, data in pieces(file, bucket.states):
            into = states[source]
            for row in layout.iter_unpack(data):
                into[row[0]] = row[1:]
        final, before = states
        found = _Found()
        for worker, data in pieces(file, bucket.operations):
            found.add(worker, data, self._meanings)
        rows = found.rows
        for key in (*final, *before):
            if key not in rows:
                rows[key] = [], []
        for key, (writes, reads) in rows.items():
            loaded = key in self._loaded
            if len(writes) == 1 and not reads and not loaded and key not in before:
                ended = final.get(key)
                if ended is not None and key not in found.stepped and self._is_unchanged(key, writes[0], ended):
                    self._leave_out(left_out, key, writes[0])
                    continue
            untouched = self._table.loaded(key) if loaded else None
            began, ended = before.get(key, untouched), final.get(key, untouched)
            yield self._row(key, found, began, None if ended is None or ended[0] == ABSENT else ended)

    def _is_unchanged(self, key: int, only: Write, ended: tuple[int, ...]) -> bool:
        """Whether this is the most frequent row: one acknowledged insert, and the final state that it left."""
        if only.state != ended[0] or only.operation.do is not Operation.INSERT or only.outcome is not Outcome.OK:
            return False
        if any(one.holds(only.end) for one in self._at_once):
            return False
        return ended[1 : 1 + len(self._table.counters)] == self._table.initial(key)

    def _leave_out(self, left_out: LeftOut, key: int, insert: Write) -> None:
        left_out.inserts += 1
        if self._reign[0] < insert.start and insert.end < self._reign[1]:
            left_out.newest = max(left_out.newest or (-ENDLESS, 0), (insert.start, key))

    def _row(self, key: int, found: _Found, before: tuple[int, ...] | None, final: tuple[int, ...] | None) -> RowHistory:
        ends = self._table.counter_ends
        counters = [RowCounter(column, ends.get(column)) for column in self._table.counters]
        if key in found.stepped:
            for place, counter in enumerate(counters):
                counter.step_times = found.steps.get((key, place), counter.step_times)
                counter.last_step = found.last_steps.get((key, place), 0)
        wrong_before, wrong = (known.get(key) for known in self._wrong)
        writes, reads = found.rows[key]
        row = RowHistory(key, self._table, counters, before, final, wrong_before, wrong, writes, reads)
        row.set_counters()
        return row


class _Found:
    """The operations of a bucket, by row."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[list[Write], list[Read]]] = {}
        self.stepped: set[int] = set()
        """The rows with steps."""
        self.steps: dict[tuple[int, int], array[int]] = defaultdict(lambda: array("q"))
        """See `RowCounter.step_times`. By row and counter, as `last_steps` is."""
        self.last_steps: dict[tuple[int, int], int] = {}

    def add(self, worker: int, records: bytes, meanings: Mapping[int, _Meaning]) -> None:
        """Add records of a worker, of which reads that saw nothing are left out."""
        rows, worker = self.rows, worker << 32
        acknowledged, failed, unknown = Outcome
        new = tuple.__new__  # takes half as long as a call of the class
        for key, value, n, end, lasted, _, user, code, _, _ in RECORD.iter_unpack(records):
            operation, outcome, reads, removes, step, place, primary = meanings[code]
            if reads and value == UNSEEN:
                continue
            row = rows.get(key)
            if row is None:
                row = rows[key] = [], []
            start = end - 1000 * lasted
            if reads:
                row[1].append(new(Read, (start, end, value, worker | user, n, place, primary)))
            elif not step:
                until = ENDLESS if outcome is unknown else end
                state = ABSENT if removes else value
                row[0].append(new(Write, (start, until, state, operation, outcome, worker | user)))
            elif outcome is not failed and value:
                at = key, place
                self.stepped.add(key)
                self.last_steps[at] = max(self.last_steps.get(at, 0), end)
                self.steps[at].extend((step * value, start, end if outcome is acknowledged else ENDLESS))
