"""Histories for tests: written by hand, or by a small simulated store."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hs_drill.audit._audit import Audit, audit
from hs_drill.audit._table import DRILL_TABLE, AuditedTable
from hs_drill.store import (
    NO_COUNT,
    Event,
    FinalState,
    History,
    HistoryWriter,
    MixOperation,
    Operation,
    Outcome,
    WrongRow,
    write_final_state,
)
from hs_drill.workload import ABSENT, first_insert_key

US = 1000
"""Nanoseconds: the resolution of a history's durations."""


@dataclass(frozen=True)
class Op:
    """One operation; times in microseconds."""

    operation: str
    """Its name in the mix."""
    key: int
    value: int = 0
    start: int = 0
    end: int = 0
    outcome: str = "ok"
    user: int = 0
    worker: int = 0
    n: int = NO_COUNT
    """The counter that a read saw."""


Rows = Mapping[int, tuple[int, ...]]
"""Version, counters and extras by the row's number."""
KINDS = tuple(MixOperation(kind, kind.name.lower(), kind, 0) for kind in Operation if kind < Operation.ERROR)
"""The mix of the drill's own table, which a history need not list."""


def write_history(
    folder: Path,
    worker: int,
    ops: Iterable[Op],
    *,
    cut: bool = False,
    events: Iterable[Event] = (),
    reads_primary: bool = False,
    mix: Sequence[MixOperation] = KINDS,
) -> History:
    """A worker's history with these operations. With `cut` it has no closing record."""
    path = folder / f"history-{worker}.bin"
    now = 0
    listed = () if mix is KINDS else mix
    writer = HistoryWriter(path, worker=worker, reads_primary=reads_primary, operations=listed, clock=lambda: now)
    codes = {operation.name: operation.code for operation in mix}
    for event in events:
        now = event.time * US
        writer.event(event.kind, event.name, **event.details)
    for op in sorted(ops, key=lambda op: op.end):
        outcome = Outcome[op.outcome.upper()]
        writer.append(codes[op.operation], outcome, op.key, op.value, op.start * US, op.end * US, op.user, n=op.n)
    if cut:
        writer.abandon()
    else:
        writer.close()
    return History(path)


def write_state(
    folder: Path, server: str, rows: Rows, table: AuditedTable = DRILL_TABLE, wrong: Iterable[WrongRow] = ()
) -> FinalState:
    path = folder / f"final-{server}.bin"
    states = ((key, *rows[key]) for key in sorted(rows))
    write_final_state(path, states, counters=table.counters, extras=table.extras, wrong=wrong)
    return FinalState(path, server)


def audit_of(
    folder: Path,
    ops: Sequence[Op],
    final: Rows | None,
    *,
    loaded: int = 0,
    cut: Sequence[int] = (),
    events: Sequence[Event] = (),
    primary: str = "writer",
    reads_primary: bool = False,
    mix: Sequence[MixOperation] = KINDS,
    table: AuditedTable = DRILL_TABLE,
    wrong: Iterable[WrongRow] = (),
    **more: Any,
) -> Audit:
    """Write the histories and the final state, and audit them."""
    workers = sorted({op.worker for op in ops} | set(cut) | {0})
    histories = [
        write_history(folder, w, [op for op in ops if op.worker == w], cut=w in cut, reads_primary=reads_primary, mix=mix)
        for w in workers
    ]
    if events:
        histories.append(write_history(folder, -1, (), events=events))
    state = None if final is None else write_state(folder, primary, final, table, wrong)
    return audit(histories, state, loaded=loaded, table=table, **more)


@dataclass
class _Running:
    op: Op
    applied: bool = False
    seen: int = ABSENT
    n: int = NO_COUNT
    refused: bool = False


@dataclass
class Store:
    """A correct store, used by several users at once, and the history that its users would have written.

    A write whose outcome its user never learns is applied at once, later, or never.
    """

    rng: random.Random
    loaded: int
    workers: int = 2
    users: int = 3
    info: float = 0.15
    general: bool = False
    """Whether any key may be deleted, inserted and counted. If not, users keep to the workload's rules, on which the audit of
    cut histories relies."""
    mix: Sequence[MixOperation] = KINDS
    table: AuditedTable = DRILL_TABLE
    rows: dict[int, tuple[int, ...]] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    now: int = 100
    _running: dict[tuple[int, int], _Running] = field(default_factory=dict)
    _pending: list[Op] = field(default_factory=list)
    _fresh: dict[int, int] = field(default_factory=dict)
    _inserted: dict[int, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows = {key: self.table.loaded(key) for key in range(1, self.loaded + 1)}
        self._named = {operation.name: operation for operation in self.mix}
        self._fresh = {worker: first_insert_key(1, worker) for worker in range(self.workers)}
        self._inserted = {worker: [] for worker in range(self.workers)}

    def version(self, worker: int) -> int:
        self._fresh[worker] += 1
        return self._fresh[worker]

    def run(self, steps: int, spare: int = 0) -> None:
        """`steps` steps of randomly chosen users, none of which touches the row `spare`. Then all operations end."""
        for _ in range(steps):
            who = (self.rng.randrange(self.workers), self.rng.randrange(self.users))
            self._tick()
            if who not in self._running:
                op = self._draw(*who)
                if op.key != spare:
                    self._running[who] = _Running(op)
            else:
                self._go_on(who)
            if self._pending and self.rng.random() < 0.3:
                self._apply(self._pending.pop(self.rng.randrange(len(self._pending))))
        while self._running:
            self._tick()
            self._go_on(self.rng.choice(list(self._running)))
        for op in self._pending:
            if self.rng.random() < 0.5:
                self._apply(op)
        self._pending.clear()

    def carry_out(self, op: Op, *, times: int = 1) -> Op:
        """One operation with no other in progress. It is recorded as acknowledged, but applied `times` times."""
        self._tick()
        started = replace(op, start=self.now)
        self._tick()
        running = _Running(started)
        for _ in range(times):
            self._apply(started, running)
        self._tick()
        value = running.seen if self._reads(op) else op.value
        done = replace(started, end=self.now, value=value, n=running.n)
        self.ops.append(done)
        return done

    def _tick(self) -> None:
        self.now += self.rng.randint(1, 3)

    def _draw(self, worker: int, user: int) -> Op:
        inserted = self._inserted[worker]
        operation = self.rng.choice(["get", "get", "insert", "update", "incr", "decr", "delete"])
        key = self.rng.randint(1, self.loaded)
        if self.general:
            key = self.rng.randint(1, self.loaded + 2)
        elif operation == "insert" or (operation == "delete" and not inserted):
            operation, key = "insert", self.version(worker)
        elif operation == "delete":
            key = inserted.pop()
        elif operation in ("get", "update") and inserted and self.rng.random() < 0.3:
            key = self.rng.choice(inserted)
        value = {"incr": self.rng.choice([1, 5]), "decr": 2, "insert": self.version(worker), "update": self.version(worker)}
        name = self.rng.choice([one.name for one in self.mix if one.do.name.lower() == operation])
        return Op(name, key, value.get(operation, 0), start=self.now, user=user, worker=worker)

    def _reads(self, op: Op) -> bool:
        return self._named[op.operation].do is Operation.GET

    def _go_on(self, who: tuple[int, int]) -> None:
        running = self._running[who]
        fate = self.rng.random()
        writes = not self._reads(running.op)
        if not running.applied and fate < self.info and writes:
            # Its outcome stays unknown: it may be applied later.
            self._pending.append(running.op)
            self._end(who, "info")
        elif not running.applied and fate < self.info + 0.05 and writes:
            self._end(who, "fail")
        elif not running.applied:
            self._apply(running.op, running)
        elif fate < self.info and writes:
            self._end(who, "info")
        else:
            self._end(who, "fail" if running.refused else "ok")

    def _end(self, who: tuple[int, int], outcome: str) -> None:
        running = self._running.pop(who)
        op = replace(running.op, end=self.now, outcome=outcome)
        if self._reads(op):
            op = replace(op, value=running.seen, n=running.n)
        if self._named[op.operation].do is Operation.INSERT and outcome == "ok":
            self._inserted[op.worker].append(op.key)
        self.ops.append(op)

    def _apply(self, op: Op, running: _Running | None = None) -> None:
        row, meant = self.rows.get(op.key), self._named[op.operation]
        running = running or _Running(op)
        running.applied = True
        place = 1 + (meant.counter or 0)
        if meant.do is Operation.GET:
            running.seen, running.n = (ABSENT, NO_COUNT) if row is None else (row[0], row[place])
        elif (row is None) != (meant.do is Operation.INSERT):
            running.refused = True
        elif row is None:
            self.rows[op.key] = self._written(op, self.table.initial(op.key), self.table.extras)
        elif meant.do is Operation.DELETE:
            self.rows.pop(op.key, None)
        elif meant.do is Operation.UPDATE:
            self.rows[op.key] = self._written(op, row[1:], meant.sets)
        else:
            step = op.value if meant.do is Operation.INCR else -op.value
            self.rows[op.key] = (*row[:place], row[place] + step, *row[place + 1 :])

    def _written(self, op: Op, row: tuple[int, ...], sets: Sequence[str]) -> tuple[int, ...]:
        """A row after a write of a version that sets these columns. `row`: its counters, and its extras if it has any."""
        table = self.table
        kept = dict(zip(table.extras, row[len(table.counters) :], strict=False))
        kept |= {column: table.fingerprint(column, op.key, op.value) for column in sets if column in table.extras}
        return (op.value, *row[: len(table.counters)], *(kept[column] for column in table.extras))


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
