"""The history of a run for programs of others, such as notebooks: `read_history`. Needs neither trio nor Locust."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from hs_drill.scenario import Scenario
from hs_drill.workload import ABSENT, DAMAGED, FOREIGN, UNSEEN, Rows, rows_of

from ._events import Event
from ._history import Header, History, HistoryError
from ._records import NO_COUNT, READS, REMOVALS, STEPS, MixOperation, Operation, Outcome
from ._run_directory import RunDirectory

__all__ = ["RecordedOperation", "RunHistory", "read_history", "state_of"]

_SPECIAL = {ABSENT: "absent", FOREIGN: "foreign", UNSEEN: "unseen"}


class RecordedOperation(NamedTuple):
    """One operation that the history keeps: every write, every read that failed, and a share of the other reads."""

    worker: int
    """The number of the worker whose load engine executed it."""
    user: int
    """Who executed it. Numbers begin at 0 in each worker. A user does one operation after the other."""
    name: str
    """Its name in the scenario's mix."""
    kind: str
    """`get`, `find`, `get_many`, `insert`, `update`, `delete`, `incr` or `decr`."""
    outcome: str
    """`ok`; `fail`: certainly not applied, or a read that failed; `info`: nobody knows whether it was or will be applied."""
    row: int
    """The row's number, from which its primary key follows (`RunHistory.key_of`). 0 if it is not known, below 0 if no run makes
    the row's key. A `find` or `get_many` is recorded for one of its rows."""
    state: str
    """What `value` is:

    - `version`: what a write left or a read saw; 0 is that of loaded rows;
    - `step`: what an incr adds, or a decr takes away; 0 of a decr that would have changed the counter's sign, and did nothing;
    - `absent`: no row, which is what a delete leaves, or a read saw;
    - `foreign`: a read saw a row that names no write;
    - `damaged`: a read saw a row that is not the one written with its version;
    - `unseen`: the read failed, or shows no version.
    """
    value: int
    """See `state`. Below 0 where it is neither a version nor a step."""
    counter: int | None
    """The counter that a read saw; None if it saw none."""
    counter_column: str
    """The counter's name, of reads that saw one and of steps; "" if unknown, as when a single file is read."""
    columns: tuple[str, ...]
    """The columns that an update sets, of a table with declared columns."""
    intended: int
    """When it should have started. In a closed loop this is `start`."""
    start: int
    """In nanoseconds of the run's clock, up to a microsecond before the true start: no interval is too short."""
    end: int
    """When it was acknowledged, or its user gave it up. Of outcome `info` it may be applied later, too."""
    error: str
    """The kind of error; "" if there was none."""
    server: str
    """The server that failed it; "" of all others, because the client names a server only in errors."""


class _Meaning(NamedTuple):
    """What a record's code says, looked up because it is the same for millions of records."""

    name: str
    kind: str
    outcome: str
    reads: bool
    removes: bool
    steps: bool
    column: str
    sets: tuple[str, ...]


def _meanings(path: Path, header: Header, counters: Sequence[str]) -> Mapping[int, _Meaning]:
    listed = {kind.value: MixOperation(kind.value, kind.name.lower(), kind, 0) for kind in Operation if kind < Operation.ERROR}
    listed.update((operation.code, operation) for operation in header.operations)
    for operation in header.operations:
        if operation.counter is not None and counters and not 0 <= operation.counter < len(counters):
            raise HistoryError(f"{path}: names counter {operation.counter}, but the scenario's table has {len(counters)}")
    return {
        code << 2 | outcome: _Meaning(
            operation.name,
            operation.do.name.lower(),
            outcome.name.lower(),
            operation.do in READS,
            operation.do in REMOVALS,
            operation.do in STEPS,
            counters[operation.counter] if counters and operation.counter is not None else "",
            operation.sets,
        )
        for code, operation in listed.items()
        for outcome in Outcome
    }


class RunHistory:
    """The operations of a run. Iterate over it as often as wanted; one block of each worker's file is in memory at a time.

    They come by ascending `end`, those of all workers together, so each user's come in the order in which the user did them.
    It is the order in which their outcomes were known, not the one in which they were applied: that order is certain only where
    one operation ended before another one began. Of equal ends, any may come first.

    A file that a crash has cut is read as far as it goes; `problems` says so. Iterating raises `HistoryError` where a file is
    damaged, and OSError.
    """

    def __init__(self, paths: Sequence[Path], scenario: Scenario | None = None, missing: Sequence[str] = ()) -> None:
        self._scenario = scenario
        self._missing = missing
        self._histories = [History(path) for path in paths]
        headers = [history.header for history in self._histories]
        if len({header.clock for header in headers}) > 1:
            raise HistoryError("the histories come from different machines, whose clocks cannot be compared")
        self.workers = tuple(sorted(header.worker for header in headers if header.worker >= 0))
        """The workers whose histories are there. The controller's has events only."""
        first = min(headers, key=lambda header: header.monotonic_ns)
        self.origin = first.monotonic_ns
        """The run's beginning, in nanoseconds of its clock, which counts from the boot of its machine."""
        self.origin_unix = first.unix(first.monotonic_ns)
        """The same moment in Unix time, in seconds."""
        engines = [header for header in headers if header.worker >= 0]
        self.reads_primary = bool(engines) and all(header.reads_primary for header in engines)
        """All reads went to the server that takes the writes. Otherwise replicas answered reads, and may lag."""
        self.size = sum(
            path.stat().st_size // history.record_size for path, history in zip(paths, self._histories, strict=True)
        )
        """About how many operations there are, from the sizes of the files."""

    def __iter__(self) -> Iterator[RecordedOperation]:
        return heapq.merge(*map(self._of, self._histories), key=lambda operation: operation.end)

    def _of(self, opened: History) -> Iterator[RecordedOperation]:
        history = History(opened.path)  # with a state of its own, so that iterations do not disturb each other
        worker = history.header.worker
        meanings = _meanings(history.path, history.header, self._counters)
        for chunk in history.chunks():
            errors, servers = history.errors, history.servers
            for key, value, n, end, lasted, delay, user, code, error, server in history.entries(chunk):
                meant = meanings.get(code)
                if meant is None:
                    raise HistoryError(f"{history.path}: a damaged record, of an operation {code >> 2} with outcome {code & 3}")
                name, kind, outcome, reads, removes, steps, column, sets = meant
                seen = reads and n != NO_COUNT
                start = end - 1000 * lasted
                yield RecordedOperation(
                    worker,
                    user,
                    name,
                    kind,
                    outcome,
                    key,
                    "step" if steps else "absent" if removes else "version" if value >= 0 else state_of(value),
                    ABSENT if removes else value,  # a delete's record has the value of its user's write before
                    n if seen else None,
                    column if seen or steps else "",
                    sets,
                    start - 1000 * delay,
                    start,
                    end,
                    errors.get(error, ""),
                    servers.get(server, ""),
                )

    @cached_property
    def _counters(self) -> Sequence[str]:
        return () if self._rows is None else self._rows.counters

    @cached_property
    def _rows(self) -> Rows | None:
        return None if self._scenario is None else rows_of(self._scenario)

    def key_of(self, row: int) -> tuple[Any, ...]:
        """The values of a row's primary key, in the order of its columns.

        Raises ValueError if they do not follow from what was read: `row` is not above 0, a single file was read, or the table
        existed before the run.
        """
        if row <= 0:
            raise ValueError(f"row {row} is none that a run makes, so its key is not known")
        if self._scenario is None or self._rows is None:
            raise ValueError("a history file alone does not say what the keys are: read the run's directory")
        if self._scenario.table.existing:
            raise ValueError("the keys of a table that existed before the run are not in its history")
        return self._rows.key(row)

    @property
    def events(self) -> list[Event]:
        """Faults, promotions, lost connections, ... by time. Reads all files at the first call. Raises `HistoryError`."""
        return sorted((event for history in self._read for event in history.events), key=lambda event: event.time)

    @property
    def problems(self) -> list[str]:
        """Why operations may be missing, a line each; empty if the history is whole. Reads all files at the first call. Raises
        `HistoryError`."""
        cut = [
            f"{history.path}: is cut: what came after its end is not known" for history in self._read if not history.complete
        ]
        return [*self._missing, *cut]

    @cached_property
    def _read(self) -> Sequence[History]:
        for history in self._histories:
            for _ in history.chunks():
                pass
        return self._histories


def state_of(value: int) -> str:
    """What a version that a read saw, or a final state has, stands for: see `RecordedOperation.state`."""
    return "version" if value >= 0 else "damaged" if value <= DAMAGED else _SPECIAL[value]


def read_history(path: Path | str) -> RunHistory:
    """The history of a kept run: `path` is its directory, or one of its history files.

    Raises `RunDirectoryError` if it is no run's directory, `HistoryError` if a file is no history or its beginning is damaged,
    or if there is none, `ScenarioError` if the run's scenario cannot be read, and OSError.
    """
    path = Path(path)
    if path.is_file():
        return RunHistory([path])
    directory = RunDirectory.open(path)
    paths = directory.histories()
    if not paths:
        raise HistoryError(f"{path}: has no history: the run was not audited, or ended before it began")
    return RunHistory(paths, directory.scenario(), list(_missing(directory, paths)))


def _missing(directory: RunDirectory, paths: Sequence[Path]) -> Iterator[str]:
    kept = directory.result()
    if kept is None:
        yield f"{directory.path}: the run did not come to its end, so its last operations are not known"
        return
    for path in map(directory.history, kept.get("workers") or ()):
        if path not in paths:
            yield f"{path}: is missing"
    for worker in kept.get("lost_workers", ()):
        yield f"worker {worker} was lost during the run, so its last operations are not known"
