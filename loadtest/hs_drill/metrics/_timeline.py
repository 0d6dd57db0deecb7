"""What a run did over time: its operations by phase, and in slots of equal length.

A fault is certainly on from when it has struck until its healing begins. While it strikes or heals, it may be on. An operation
lasts from when it began (or, in an open loop, should have begun) to its end. It belongs

- to `during` when it was under way while a fault was certainly on;
- to `before` or `after` when no fault was even partly on from its beginning to its end;
- to no phase otherwise: it was at the edge of one, and counts for the whole run only.

A batch says between which moments its operations began, and between which they ended (see `_batch.Begun`). They count for a
phase if every operation that began and ended between those moments would belong to it. Otherwise they are at the edge. Engines
end their batches when faults strike and heal, so few operations are.

Throughput counts operations by their end: those that succeeded in the time of a phase, divided by its length. The time after
the load was stopped has no length and belongs to no phase, so what ends then counts for the whole run only. (After an open
loop that has fallen behind, this can be seconds of load.)

Verdict and report take every figure by phase from here.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ._batch import ALL, Batch, Begun, OperationBatch, sum_of
from ._outages import Covered, Outage

__all__ = ["EDGE", "NOTHING", "PHASES", "FaultWindow", "Timeline"]

PHASES = ("run", "before", "during", "after")
"""The whole run, and its phases."""
EDGE = "edge"
"""The name for what belongs to no phase."""
SLOT = 0.25
"""Seconds of a slot: how often engines report. A run with longer batches has longer slots."""


class FaultWindow(NamedTuple):
    """From when to when a fault was on, in Unix time."""

    name: str
    start: float
    """Before this it was not on, not even partly."""
    end: float | None
    """After this it was not on either. None: it was on until the end of the run."""
    struck: float | None = None
    """From this moment it was certainly on. None: from `start`."""
    healing: float | None = None
    """Until this moment it was certainly on. None: until `end`."""

    @property
    def certain(self) -> tuple[float, float]:
        """From when to when it was certainly on. It never was if the first is later than the second."""
        until = self.end if self.healing is None else self.healing
        return self.start if self.struck is None else self.struck, math.inf if until is None else until


class Done(NamedTuple):
    """How many times an operation ended in a slot."""

    ok: int
    failed: int


NOTHING = Done(0, 0)


class _Union:
    """The union of intervals of time, which are added in about their order."""

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


class _Intervals:
    """Intervals to search quickly. There may be thousands: a fault may strike every second."""

    def __init__(self, intervals: Iterable[tuple[float, float]]) -> None:
        ordered = sorted(intervals)
        self._starts = [start for start, _ in ordered]
        self._latest = list(itertools.accumulate((end for _, end in ordered), max))

    def contain(self, since: float, until: float) -> bool:
        """Whether one of them contains this interval."""
        return self._end_of(bisect.bisect_right(self._starts, since)) >= until

    def overlap(self, since: float, until: float) -> bool:
        """Whether one of them overlaps this interval."""
        return self._end_of(bisect.bisect_left(self._starts, until)) > since

    def _end_of(self, count: int) -> float:
        """The latest end among the first `count`."""
        return self._latest[count - 1] if count else -math.inf


class Timeline:
    """The batches of a run, of all engines and in any order. Empty batches count: they show silence.

    No batch should be longer than a second, since it is not known when in that time its operations ended. `batches` is iterated
    twice and not kept: those of a long run do not fit into memory.
    """

    def __init__(self, batches: Iterable[Batch], faults: Sequence[FaultWindow]) -> None:
        self.faults = sorted(faults, key=lambda fault: fault.start)
        self._possible = _Intervals((fault.start, math.inf if fault.end is None else fault.end) for fault in faults)
        certain = (fault.certain for fault in faults)
        self._certain = _Intervals((since, until) for since, until in certain if since <= until)
        start, self.end, self.load_end, longest = math.inf, 0.0, 0.0, 0.0
        for batch in batches:
            start, self.end = min(start, batch.start), max(self.end, batch.end)
            self.load_end = max(self.load_end, batch.under_load[1])
            longest = max(longest, batch.end - batch.start)
        self._longest = longest
        self.start = start if start < math.inf else 0.0
        # A busy engine ends its batches late, so a batch somewhat longer than a slot counts as one slot.
        self.slot = SLOT * max(math.ceil(longest / SLOT - 0.5), 1)
        count = self._index(self.load_end - 1e-6) + 1 if start < math.inf else 0
        self.slots: list[dict[str, Done]] = [{} for _ in range(count)]
        """Operation -> what ended, for each slot until the end of the load."""
        self._totals: dict[tuple[str, str], OperationBatch] = {}
        self._ended: Counter[tuple[str, str]] = Counter()
        """By phase and operation: how many succeeded in the time of the phase."""
        self._lasted: dict[str, _Union] = {}
        self._succeeded: dict[str, Covered] = {ALL: Covered()}
        """When each operation may have succeeded, of the time under load."""
        for batch in batches:
            self._add(batch)

    def _add(self, batch: Batch) -> None:
        since, until = batch.under_load
        slot = self.slots[min(self._index((since + until) / 2), len(self.slots) - 1)]
        phase_of_time = self._phase_of_time(since, until) if since < until else EDGE
        self._lasted.setdefault(phase_of_time, _Union()).add(since, until)
        for name, operation in batch.operations.items():
            before, ok = slot.get(name, NOTHING), operation.ok.total()
            slot[name] = Done(before.ok + ok, before.failed + operation.failed.total())
            self._ended[phase_of_time, name] += ok
            if ok and since < until:
                for one in (name, ALL):
                    self._succeeded.setdefault(one, Covered()).add(since, until)
        for phase, name, operation in self.by_phase(batch):
            self._totals.setdefault((phase, name), OperationBatch()).add(operation)

    def by_phase(self, batch: Batch) -> Iterator[tuple[str, str, OperationBatch]]:
        """The operations of a batch: the phase for which they count, their name, and what they did."""
        for begun in batch.begun or [Begun(-math.inf, batch.end, batch.operations)]:
            phase = self._phase_of(batch, begun)
            for name, operation in begun.operations.items():
                yield phase, name, operation

    @property
    def counted(self) -> bool:
        """Whether there was any operation. A run without one has shown nothing."""
        return any(self._totals.values())

    @property
    def seconds(self) -> float:
        """How long the load lasted."""
        return self.load_end - self.start

    def names(self) -> list[str]:
        """The names of all operations that were executed."""
        return sorted({name for _, name in self._totals})

    def total(self, phase: str, operation: str = ALL) -> tuple[OperationBatch, float]:
        """What an operation, or `ALL`, did in a phase, and how many seconds of load the phase had. `run` includes the edges."""
        total = OperationBatch()
        for (when, name), done in self._totals.items():
            if phase in ("run", when) and operation in (ALL, name):
                total.add(done)
        return total, self._length(phase)

    def throughput(self, phase: str, operation: str = ALL) -> float | None:
        """Operations that succeeded per second in the time of a phase; None if it had no time."""
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

    def outages(self) -> dict[str, Outage]:
        """The longest time without a success of every operation that was executed, and of `ALL`; empty if none was."""
        return {name: self._outage(name) for name in (*self.names(), ALL)} if self.counted else {}

    def _outage(self, name: str) -> Outage:
        start, end = self._succeeded.get(name, Covered()).longest_gap(self.start, self.load_end)
        ok = sum(count for (_, one), count in self._ended.items() if name in (ALL, one))
        rest = self.seconds - (end - start)
        rate = ok / rest if rest > 0 else 0.0
        # The last success before it may have come at the start of its batch, and the first one after it at the end of its own.
        most = min(end - start + 2 * self._longest, self.seconds)
        on = {fault.name: None for fault in self.faults if fault.start < end and (fault.end is None or fault.end > start)}
        return Outage(start - self.start, end - self.start, most, rate, not ok, tuple(on) if end > start else ())

    def _length(self, phase: str) -> float:
        if phase == "run":
            return self.seconds
        return self._lasted[phase].seconds if phase in self._lasted else 0.0

    def phase_at(self, moment: float) -> str:
        """The phase of a moment (Unix time), or `EDGE`."""
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
        """The phase to which these operations belong whenever in their time they began and ended, or `EDGE`."""
        if self._certain.contain(batch.start, begun.until):
            return "during"
        if not self.faults:
            return "before"
        # None began earlier than the longest latency before. Short latencies are rounded down to microseconds, hence the + 1.
        longest = max((max(one, default=0) for done in begun.operations.values() for one in (done.ok, done.failed)), default=0)
        return self._without_fault(max(begun.since, batch.start - (longest + 1) / 1e6), batch.end)

    def _phase_of_time(self, since: float, until: float) -> str:
        if self._certain.contain(since, until):
            return "during"
        return self._without_fault(since, until)

    def _without_fault(self, since: float, until: float) -> str:
        if self._possible.overlap(since, until):
            return EDGE
        return "after" if self.faults and self.faults[0].start <= since else "before"
