"""What happened to the rows that findings are about: their operations around each finding, as the histories have them. Pure.

A second pass over the histories, made only if there are findings. It holds a few operations of a few rows, however long the
run was, and however many operations fell on one row.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, zip_longest
from typing import NamedTuple

from hs_drill.store import NO_COUNT, READS, REMOVALS, STEPS, FinalState, History, HistoryFaultWindow, MixOperation, Outcome
from hs_drill.workload import ABSENT, UNSEEN

from ._checker import Check, Context, Finding
from ._primaries import either
from ._register import ENDLESS
from ._row_histories import operations_listed
from ._table import versions_in

__all__ = ["RowTimeline", "Timelines", "timelines_of"]

MAX_ROWS = 20
"""The first row of each check comes before the second of any."""
MAX_MOMENTS = 3
"""Findings of one row around whose times operations are shown."""
BEFORE, AFTER = 8, 5
"""Operations that are shown before a finding, and during and after it."""
MAX_NAMED = 8
"""Operations that are shown because a finding names their version, or began or ended at its time."""
MAX_EVENTS = 8
OUTCOMES = {Outcome.OK: "ok", Outcome.FAIL: "fail", Outcome.INFO: "unknown"}


@dataclass(frozen=True)
class RowOperation:
    """An operation on the row. Times are seconds since the history began."""

    start: float
    end: float
    """When its user had the answer, or gave up. A write of unknown outcome may be applied later."""
    worker: int
    user: int
    name: str
    reads: bool
    outcome: str
    """`ok`, `fail` or `unknown`."""
    value: str
    """What it wrote or saw, in words."""
    server: str = ""
    """The server that answered, in words; "" if that is not known. It never is of a read that succeeded."""
    error: str = ""
    about: bool = False
    """A finding of the row is about it: it began or ended at the finding's time, or wrote a version that the finding names."""


class RowEvent(NamedTuple):
    """A fault or a promotion. Times are seconds since the history began."""

    what: str
    start: float
    end: float | None
    """None: it lasted until the end of the run."""


@dataclass(frozen=True)
class RowTimeline:
    """The operations of one row around its findings."""

    key: int
    primary: str
    """See `Finding.primary`."""
    findings: Sequence[tuple[str, float | None]]
    """The check and the time of each finding of the row."""
    operations: Sequence[RowOperation]
    """By their starts. There may be more in between, if the findings are at several times."""
    kept: int
    """How many operations of the row the histories have, without reads that saw nothing."""
    events: Sequence[RowEvent] = ()
    """The faults and promotions of that time, at most `MAX_EVENTS`."""
    final: str | None = None
    """What the row held at the end, in words; None if that is not known."""


@dataclass(frozen=True)
class Timelines:
    """The timelines of a run."""

    rows: Sequence[RowTimeline] = ()
    left_out: int = 0
    """How many more rows have findings."""
    failed: str = ""
    """Why there are none, although there are findings."""


class _Entry(NamedTuple):
    """A record of the histories. Times in nanoseconds."""

    start: int
    end: int
    worker: int
    user: int
    code: int
    value: int
    n: int
    error: str
    server: str


@dataclass
class _Row:
    """What is kept of one row."""

    findings: list[tuple[str, Finding]]
    moments: list[int]
    """The times of its findings; `ENDLESS` stands for the end of the run."""
    versions: frozenset[int]
    """Those that its findings name."""
    kept: int = 0
    named: list[_Entry] = field(default_factory=list)
    before: list[list[tuple[int, int, _Entry]]] = field(default_factory=list)
    """For each moment, a heap of the last ones that had ended."""
    after: list[list[tuple[int, int, _Entry]]] = field(default_factory=list)
    """For each moment, a heap of the first ones that had not."""

    def add(self, entry: _Entry, number: int, *, reads: bool) -> None:
        self.kept += 1
        if len(self.named) < MAX_NAMED and self.is_about(entry, reads=reads):
            self.named.append(entry)
        for moment, before, after in zip(self.moments, self.before, self.after, strict=True):
            if entry.end <= moment:
                _push(before, (entry.end, -number, entry), BEFORE)
            else:
                _push(after, (-entry.start, -number, entry), AFTER)

    def is_about(self, entry: _Entry, *, reads: bool) -> bool:
        if entry.start in self.moments or entry.end in self.moments:
            return True
        return not reads and entry.value in self.versions

    def chosen(self) -> list[_Entry]:
        around = (entry for heap in chain(self.before, self.after) for _, _, entry in heap)
        return sorted({*self.named, *around})


def _push(heap: list[tuple[int, int, _Entry]], item: tuple[int, int, _Entry], most: int) -> None:
    if len(heap) < most:
        heapq.heappush(heap, item)
    else:
        heapq.heappushpop(heap, item)


def timelines_of(
    histories: Sequence[History], final: FinalState | None, checks: Mapping[str, Check], context: Context
) -> Timelines:
    """The timelines of the rows that the checks' findings are about. Blocking, and reads the files only if there are any."""
    by_key: dict[int, list[tuple[str, Finding]]] = {}
    tiers = zip_longest(*([(name, finding) for finding in check.findings] for name, check in checks.items()))
    for one in chain.from_iterable(tiers):
        if one is not None:
            by_key.setdefault(one[1].key, []).append(one)
    if not by_key:
        return Timelines()
    shown = dict(list(by_key.items())[:MAX_ROWS])
    try:
        rows = {key: _row(found, context) for key, found in shown.items()}
        operations = operations_listed(histories)
        _fill(rows, histories, operations)
        ends = _ends(final, rows)
        timelines = [_timeline(key, row, operations, ends.get(key), context) for key, row in rows.items()]
    except Exception as error:  # the findings stand without them
        return Timelines((), len(by_key), f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Timelines(timelines, len(by_key) - len(shown))


def _row(found: list[tuple[str, Finding]], context: Context) -> _Row:
    times = (ENDLESS if one.time is None else round(one.time * 1e9) + context.origin for _, one in found)
    moments = list(dict.fromkeys(times))[:MAX_MOMENTS]
    versions = frozenset(chain.from_iterable(versions_in(one.line) for _, one in found))
    empty: tuple[list[list[tuple[int, int, _Entry]]], ...] = ([[] for _ in moments], [[] for _ in moments])
    return _Row(found, moments, versions, before=empty[0], after=empty[1])


def _fill(rows: Mapping[int, _Row], histories: Iterable[History], operations: Mapping[int, MixOperation]) -> None:
    reads = {code for code, operation in operations.items() if operation.do in READS}
    numbers = count()
    for history in histories:
        worker = history.header.worker
        for chunk in history.readable():
            for key, value, n, end, lasted, _, user, code, error, server in history.entries(chunk):
                row = rows.get(key)
                if row is not None and (value != UNSEEN or code >> 2 not in reads):
                    names = history.errors.get(error, ""), history.servers.get(server, "")
                    entry = _Entry(end - 1000 * lasted, end, worker, user, code, value, n, *names)
                    row.add(entry, next(numbers), reads=code >> 2 in reads)


def _ends(final: FinalState | None, keys: Collection[int]) -> dict[int, tuple[int, ...]]:
    """What rows held at the end: version, counters, extras. `ABSENT` for one that was not there."""
    if final is None:
        return {}
    ends: dict[int, tuple[int, ...]] = dict.fromkeys(keys, (ABSENT,)) if final.complete else {}
    ends.update((row[0], row[1:]) for row in final if row[0] in keys)
    return ends


def _timeline(
    key: int, row: _Row, operations: Mapping[int, MixOperation], end: tuple[int, ...] | None, context: Context
) -> RowTimeline:
    shown = [_operation(entry, row, operations[entry.code >> 2], context) for entry in row.chosen()]
    events = list(_events(shown, context))
    findings = [(name, finding.time) for name, finding in row.findings]
    final = None if end is None else _state(end[0], dict(zip(context.table.counters, end[1:], strict=False)), key, context)
    return RowTimeline(key, row.findings[0][1].primary, findings, shown, row.kept, events, final)


def _operation(entry: _Entry, row: _Row, operation: MixOperation, context: Context) -> RowOperation:
    reads, outcome = operation.do in READS, Outcome(entry.code & 3)
    server = entry.server
    if not server and not reads and outcome is Outcome.OK and context.one_clock:
        names = context.primaries.acknowledgers(entry.start, entry.end)
        server = either(names) if names else ""
    return RowOperation(
        context.seconds(entry.start),
        context.seconds(entry.end),
        entry.worker,
        entry.user,
        operation.name,
        reads,
        OUTCOMES[outcome],
        _value(entry, operation, context),
        server,
        entry.error,
        row.is_about(entry, reads=reads),
    )


def _value(entry: _Entry, operation: MixOperation, context: Context) -> str:
    counters, place = context.table.counters, operation.counter or 0
    column = counters[place] if place < len(counters) else "n"
    if operation.do in STEPS:
        return f"{column} {STEPS[operation.do] * entry.value:+d}"
    if operation.do in REMOVALS:
        return context.table.describe(ABSENT)
    return _state(entry.value, {column: entry.n}, 0, context)


def _state(state: int, counters: Mapping[str, int], key: int, context: Context) -> str:
    seen = [f"{column} = {n}" for column, n in counters.items() if n != NO_COUNT and state != ABSENT]
    return ", ".join([context.table.describe(state, context.wrong.get(key), number=key), *seen])


def _events(operations: Sequence[RowOperation], context: Context) -> Iterator[RowEvent]:
    """The faults and promotions from the first operation's start to the last one's end."""
    if not operations or not context.one_clock:
        return
    first, last = operations[0].start, max(one.end for one in operations)
    promotions = [
        HistoryFaultWindow(f"promotion of {one.server}", one.earliest, one.latest) for one in context.primaries.promotions
    ]
    both = [
        HistoryFaultWindow(f"{one.old} and {one.new} open for writes", one.first, one.last) for one in context.two_primaries
    ]
    found = []
    for one in (*context.faults, *promotions, *both):
        since, until = context.seconds(one.start), None if one.end is None else context.seconds(one.end)
        if since <= last and (until is None or until >= first):
            found.append(RowEvent(one.name, since, until))
    yield from sorted(found, key=lambda event: event.start)[:MAX_EVENTS]
