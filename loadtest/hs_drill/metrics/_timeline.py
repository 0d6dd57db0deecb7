"""What a run did over time, for judging it: its operations by the phase that they belong to, and in slots of equal length.

A fault is on for certain between having struck and the beginning of its healing; before and after that, while it strikes and
heals, nobody knows. An operation lasts from when it began (or, in an open loop, should have begun) to its end. It belongs

- to `during` when it was under way while a fault was certainly on;
- to `before` or `after` when no fault was even partly on from its beginning to its end;
- to no phase otherwise: it was at the edge of one. It counts for the whole run only.

A batch says of its operations between which moments they began, and between which they ended (see `_batch.Begun`). They count
for a phase when all that may have begun and ended so belongs to it, else they are at the edge. Engines end their batches where
faults strike and heal, so few are.

Throughput is of what ended: the operations that succeeded in the time of a phase, by its length. There is no load any more
once it has been stopped: that time has no length and is of no phase, so what ends in it counts for the whole run only. (Of an
open loop that has fallen behind, seconds of load may end in it.)

Every figure by phase comes from here, that of the verdict as well as that of the report.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ._batch import ALL, Batch, Begun, OperationBatch, sum_of

__all__ = ["EDGE", "NOTHING", "PHASES", "FaultWindow", "Timeline"]

PHASES = ("run", "before", "during", "after")
"""The phases of a run, the whole first."""
EDGE = "edge"
"""What belongs to no phase, beside the phases."""
SLOT = 0.25
"""Seconds: as often as engines report. Wider where some batch is."""


class FaultWindow(NamedTuple):
    """From when to when a fault was on, in Unix time."""

    name: str
    start: float
    """Before, it was not on, not even in part."""
    end: float | None
    """After that neither. None when it was on until the end of the run."""
    struck: float | None = None
    """From then on it was certainly on; None: from `start` on."""
    healing: float | None = None
    """Until then; None: until `end`."""

    @property
    def certain(self) -> tuple[float, float]:
        """From when to when it was certainly on: not at all where that begins after its end."""
        until = self.end if self.healing is None else self.healing
        return self.start if self.struck is None else self.struck, math.inf if until is None else until


class Done(NamedTuple):
    """How many operations of a kind ended within a slot."""

    ok: int
    failed: int


NOTHING = Done(0, 0)


class _Span:
    """Time, as the union of intervals that come in about their order."""

    MOST = 1000

    def __init__(self) -> None:
        self._parts: list[tuple[float, float]] = []

    def add(self, start: float, end: float) -> None:
        if end > start:
            self._parts.append((start, end))
            if len(self._parts) > self.MOST:
                self._join()

    @property
    def seconds(self) -> float:
        self._join()
        return sum(end - start for start, end in self._parts)

    def _join(self) -> None:
        joined: list[tuple[float, float]] = []
        for start, end in sorted(self._parts):
            if joined and start <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(joined[-1][1], end)
            else:
                joined.append((start, end))
        self._parts = joined


class _Windows:
    """Intervals, of which there may be thousands: a fault may come every second."""

    def __init__(self, intervals: Iterable[tuple[float, float]]) -> None:
        ordered = sorted(intervals)
        self._starts = [start for start, _ in ordered]
        self._latest = list(itertools.accumulate((end for _, end in ordered), max))

    def hold(self, since: float, until: float) -> bool:
        """Whether one has begun by `since` and not ended before `until`."""
        return self._end_of(bisect.bisect_right(self._starts, since)) >= until

    def touch(self, since: float, until: float) -> bool:
        """Whether one has time in common with this one."""
        return self._end_of(bisect.bisect_left(self._starts, until)) > since

    def _end_of(self, count: int) -> float:
        """The latest end of the first so many."""
        return self._latest[count - 1] if count else -math.inf


class Timeline:
    """The batches of a run, of all engines and in any order; all empty batches in between belong to it, for they tell of
    silence. No batch should be longer than a second: its share of each fraction of that is not known.

    `batches` is gone through twice, and not kept: of a long run there are more than fit into memory.
    """

    def __init__(self, batches: Iterable[Batch], faults: Sequence[FaultWindow]) -> None:
        self.faults = sorted(faults, key=lambda fault: fault.start)
        self._perhaps = _Windows((fault.start, math.inf if fault.end is None else fault.end) for fault in faults)
        certain = (fault.certain for fault in faults)
        self._certain = _Windows((since, until) for since, until in certain if since <= until)
        start, self.end, self.load_end, longest = math.inf, 0.0, 0.0, 0.0
        for batch in batches:
            start, self.end = min(start, batch.start), max(self.end, batch.end)
            self.load_end = max(self.load_end, batch.under_load[1])
            longest = max(longest, batch.end - batch.start)
        self.start = start if start < math.inf else 0.0
        # A batch may be late by the time that an engine is busy: what is nearly a slot is one.
        self.slot = SLOT * max(math.ceil(longest / SLOT - 0.5), 1)
        count = self._index(self.load_end - 1e-6) + 1 if start < math.inf else 0
        self.slots: list[dict[str, Done]] = [{} for _ in range(count)]
        """What ended in each, until the load did."""
        self._totals: dict[tuple[str, str], OperationBatch] = {}
        self._ended: Counter[tuple[str, str]] = Counter()
        """By phase and operation: what succeeded in the time of the phase."""
        self._lasted: dict[str, _Span] = {}
        for batch in batches:
            self._add(batch)

    def _add(self, batch: Batch) -> None:
        since, until = batch.under_load
        slot = self.slots[min(self._index((since + until) / 2), len(self.slots) - 1)]
        time = self._phase_of_time(since, until) if since < until else EDGE
        self._lasted.setdefault(time, _Span()).add(since, until)
        for name, operation in batch.operations.items():
            before, ok = slot.get(name, NOTHING), operation.ok.total()
            slot[name] = Done(before.ok + ok, before.failed + operation.failed.total())
            self._ended[time, name] += ok
        for phase, name, operation in self.dealt(batch):
            self._totals.setdefault((phase, name), OperationBatch()).add(operation)

    def dealt(self, batch: Batch) -> Iterator[tuple[str, str, OperationBatch]]:
        """What a batch holds: the phase in which it counts, the operation, and what that did."""
        for begun in batch.begun or [Begun(-math.inf, batch.end, batch.operations)]:
            phase = self._phase_of(batch, begun)
            for name, operation in begun.operations.items():
                yield phase, name, operation

    @property
    def counted(self) -> bool:
        """Whether there was any operation at all; a run in which there was none has shown nothing."""
        return any(self._totals.values())

    @property
    def seconds(self) -> float:
        """How long there was load."""
        return self.load_end - self.start

    def names(self) -> list[str]:
        """The operations that were carried out at least once."""
        return sorted({name for _, name in self._totals})

    def total(self, phase: str, operation: str = ALL) -> tuple[OperationBatch, float]:
        """What an operation, or all of them, did in a phase (`run` is all of them, and the edges), and how many seconds of load
        that had."""
        total = OperationBatch()
        for (when, name), done in self._totals.items():
            if phase in ("run", when) and operation in (ALL, name):
                total.add(done)
        return total, self._length(phase)

    def throughput(self, phase: str, operation: str = ALL) -> float | None:
        """How many succeeded per second in the time of a phase; None where that had no time."""
        length = self._length(phase)
        ok = sum(n for (when, name), n in self._ended.items() if phase in ("run", when) and operation in (ALL, name))
        return ok / length if length else None

    def totals(self) -> dict[tuple[str, str], tuple[OperationBatch, float]]:
        """`total` of every phase (and `EDGE`) and operation (and `ALL`). Adds each operation up only once."""
        apart = (*PHASES[1:], EDGE)
        totals = {(phase, name): self.total(phase, name) for phase in apart for name in self.names()}
        for phase in apart:
            totals[phase, ALL] = sum_of(totals[phase, name][0] for name in self.names()), self._length(phase)
        for name in (*self.names(), ALL):
            totals["run", name] = sum_of(totals[phase, name][0] for phase in apart), self.seconds
        return totals

    def throughputs(self) -> dict[tuple[str, str], float | None]:
        """`throughput` of every phase and operation (and `ALL`)."""
        return {(phase, name): self.throughput(phase, name) for phase in PHASES for name in (*self.names(), ALL)}

    def _length(self, phase: str) -> float:
        if phase == "run":
            return self.seconds
        return self._lasted[phase].seconds if phase in self._lasted else 0.0

    def phase_at(self, moment: float) -> str:
        """The phase that a moment (Unix time) is in, or `EDGE`."""
        return self._phase_of_time(moment, moment)

    def since(self, index: int) -> float:
        """When a slot begins."""
        return self._origin + index * self.slot

    def until(self, index: int) -> float:
        """When a slot ends."""
        return self._origin + (index + 1) * self.slot

    @property
    def _origin(self) -> float:
        return math.floor(self.start / self.slot) * self.slot

    def _index(self, moment: float) -> int:
        return max(math.floor((moment - self._origin) / self.slot), 0)

    def _phase_of(self, batch: Batch, begun: Begun) -> str:
        """The phase that each of these operations belongs to, however early or late in its time it began and ended."""
        if self._certain.hold(batch.start, begun.until):
            return "during"
        if not self.faults:
            return "before"
        # None is older than the longest of them. (Latencies are whole microseconds, rounded down where they are short.)
        longest = max((max(one, default=0) for done in begun.operations.values() for one in (done.ok, done.failed)), default=0)
        return self._without_fault(max(begun.since, batch.start - (longest + 1) / 1e6), batch.end)

    def _phase_of_time(self, since: float, until: float) -> str:
        if self._certain.hold(since, until):
            return "during"
        return self._without_fault(since, until)

    def _without_fault(self, since: float, until: float) -> str:
        if self._perhaps.touch(since, until):
            return EDGE
        return "after" if self.faults and self.faults[0].start <= since else "before"
