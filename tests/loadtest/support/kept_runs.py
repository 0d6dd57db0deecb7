"""Kept runs made by hand: what engines and controller would have written, without any server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hs_drill.engine._meter import NO_ANSWER
from hs_drill.metrics import Batch, EngineUse, OperationBatch
from hs_drill.scenario import parse_scenario
from hs_drill.store import CONTROLLER, History, HistoryWriter, Operation, Outcome, RunDirectory, write_final_state
from hs_drill.verdict._judge_run import judge_run
from hs_drill.workload import first_insert_key

SCENARIO = """\
name: by-hand
description: Made by a test.
table: {rows: 200}
load: {users: 4, duration: 20s}
mix: {get: 90, insert: 10}
faults:
  - {fault: kill, target: reader-1, at: 6s, for: 5s}
expect:
  availability: 90%
  errors: {all: 1000}
  recovery: {steady: 3s}
  latency: {get: {p99: {during: 200ms}}}
"""
EVERY_EXPECTATION = """\
name: x
mix: {get: 1, insert: 1}
expect:
  availability: {run: 99%, before: 1, during: 99.9%, after: 100%}
  throughput: {run: 10, after: 5}
  latency: {all: {max: 1s}, get: {p99.9: {during: 5ms}}}
  errors: {all: 3, ReadOnlyError: 0}
  recovery: {first_success: 1s, steady: 2s}
  lost: any
  applied_twice: 2
  staleness: 1s
  monotonic_reads: true
  replicas_agree: true
  fenced: true
"""
SECOND = 1_000_000_000
BATCH = 0.25
FAULT = ("kill reader-1", 6.0, 11.0)
ERROR = "ConnectionError: reader-1: connection lost"
FAILING_SECONDS = 1.5
ENVIRONMENT = {"started": "2026-01-31T12:00:00+0000", "server": "10.11 (by hand)", "trio": "0.1", "cores": 2}


@dataclass
class Clock:
    """A history's clock, in seconds since its beginning."""

    now: float = 0.0

    def __call__(self) -> int:
        return round((1000 + self.now) * SECOND)


@dataclass
class HandMade:
    """The description of a run, from which `keep` writes its files."""

    scenario: str = SCENARIO
    seconds: float = 20.0
    fault: tuple[str, float, float] | None = FAULT
    """Name, and when it was asked for and had healed, in seconds."""
    events: Sequence[tuple[float, str, str, dict[str, Any]]] = ()
    """More events: when, kind, name and details."""
    errors: int = 5
    """Reads that fail in each batch of the first 1.5 s of the fault."""
    error: str = ERROR
    lost: Iterable[int] = ()
    """Which of the inserts, counted from 0, are missing at the end."""
    silent: tuple[float, float] = (0.0, 0.0)
    """From when to when no operation ends."""
    idle: bool = False
    """Whether the run has no operations at all."""
    busy: float | None = None
    """The share of the time in which the engine was busy. None leaves it out, as older runs do."""
    cut: bool = False
    """The worker's history lacks its end."""
    judged: bool = True
    names: tuple[str, str] = ("get", "insert")
    """Those of the operations that read and insert."""
    late: float = 0.0
    """Seconds from the run's start to the first batch."""
    slower: float = 1.0
    """How many times as long the reads take."""
    environment: dict[str, Any] = field(default_factory=lambda: dict(ENVIRONMENT))

    def keep(self, base: Path) -> RunDirectory:
        directory = RunDirectory.create(parse_scenario(self.scenario, "by-hand.yaml"), base)
        directory.write_environment(self.environment)
        start = self._write_events(directory)
        for number in range(round(self.seconds / BATCH)):
            directory.add_batch(self._batch(start + self.late, number * BATCH).to_wire())
        directory.close_batches()
        inserted = self._write_history(directory)
        rows = [(key, 0, 0) for key in range(1, directory.scenario().table.rows + 1)] + [(key, key, 0) for key in inserted]
        missing = {inserted[number] for number in self.lost}
        write_final_state(directory.final("writer"), [row for row in rows if row[0] not in missing])
        if self.judged:
            directory.write_result({**judge_run(directory, workers={0}, troubles=[]), "workers": [0]})
        return directory

    def _write_events(self, directory: RunDirectory) -> float:
        """Gives the Unix time of the run's start."""
        clock = Clock()
        path = directory.history(CONTROLLER)
        events = list(self.events)
        if self.fault is not None:
            name, since, until = self.fault
            events.append((since, "fault-started", name, {"number": 0}))
            events.append((since + 0.05, "fault-struck", name, {"number": 0}))
            events.append((until, "fault-ended", name, {"number": 0}))
        with HistoryWriter(path, worker=CONTROLLER, clock=clock) as history:
            for clock.now, kind, name, details in sorted(events, key=lambda event: event[0]):
                history.event(kind, name, **details)
        return History(path).header.unix(Clock()())

    def _batch(self, start: float, at: float) -> Batch:
        if self.idle or self.silent[0] <= at < self.silent[1]:
            return Batch(start + at, start + at + BATCH)
        failing = self.fault is not None and self.fault[1] <= at < self.fault[1] + FAILING_SECONDS
        ok = Counter({400: 50, 600: 40, 900: 9, 4000: 1} if not failing else {700: 50, 90_000: 40, 150_000: 5})
        get = OperationBatch(Counter({round(latency * self.slower): count for latency, count in ok.items()}))
        if failing:
            get.failed[2_000] = get.errors[self.error] = self.errors
        servers = {"reader-1": OperationBatch(Counter({300: 60})), "writer": OperationBatch(Counter({200: 10}))}
        if failing:
            servers["reader-1"] = OperationBatch(Counter(), Counter({2_000: self.errors}), Counter({NO_ANSWER: self.errors}))
        done = dict(zip(self.names, (get, OperationBatch(Counter({800: 10}))), strict=True))
        engines = {} if self.busy is None else {0: EngineUse(Counter({80: 24, 9000: 1}), BATCH, self.busy * BATCH)}
        return Batch(start + at, start + at + BATCH, done, servers, engines=engines)

    def _write_history(self, directory: RunDirectory) -> list[int]:
        """Ten inserts a second, each acknowledged; gives their keys."""
        clock = Clock()
        keys = []
        history = HistoryWriter(directory.history(0), worker=0, clock=clock)
        for number in range(0 if self.idle else round(self.seconds * 10)):
            clock.now = number / 10
            key = first_insert_key(1, 0) + number
            history.append(Operation.INSERT, Outcome.OK, key, key, clock(), clock() + 800_000, 0)
            keys.append(key)
        if self.cut:
            history.abandon()
        else:
            history.close()
        return keys
