"""What a run did over time, for judging it: batches of all engines put into slots of equal length, and slots into phases."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from loadtest._batch import Batch, OperationBatch
from loadtest._history import FaultWindow, Header

__all__ = ["Fault", "Timeline", "percentile", "rank", "unix_faults"]

SLOT = 0.25
"""Seconds: as often as engines report. Wider where some batch is."""


class Fault(NamedTuple):
    """From when to when a fault was on, in Unix time."""

    name: str
    start: float
    end: float | None
    """None when it was on until the end of the run."""


def unix_faults(windows: Iterable[FaultWindow], header: Header) -> list[Fault]:
    """The windows of a history, by the clock that batches use. `header` is that of any history of the same machine."""
    return [Fault(name, header.unix(start), None if end is None else header.unix(end)) for name, start, end in windows]


def percentile(latencies: Counter[int], percent: float) -> int:
    """The smallest of the counted latencies that at least `percent` of 100 do not exceed. Raises ValueError for none."""
    total = latencies.total()
    if not total:
        raise ValueError("there are no latencies")
    left = rank(total, percent)
    for latency in sorted(latencies):
        left -= latencies[latency]
        if left <= 0:
            return latency
    raise AssertionError("a Counter counted less than its total")


def rank(total: int, percent: float) -> int:
    """How many of so many latencies a percentile may not be below."""
    # Rounded first, for 99.9 % of 1000 is 999 and not 999.0000000000001.
    return max(math.ceil(round(total * percent / 100, 6)), 1)


class Done(NamedTuple):
    """How many operations of a kind ended within a slot."""

    ok: int
    failed: int


NOTHING = Done(0, 0)


class Timeline:
    """The batches of a run, of all engines and in any order; all empty batches in between belong to it, for they tell of
    silence. No batch should be longer than a second: its share of each fraction of that is not known.

    `batches` is gone through twice, and not kept: of a long run there are more than fit into memory.
    """

    def __init__(self, batches: Iterable[Batch], faults: Sequence[Fault]) -> None:
        self.faults = sorted(faults, key=lambda fault: fault.start)
        start, self.end, longest = math.inf, 0.0, 0.0
        for batch in batches:
            start, self.end = min(start, batch.start), max(self.end, batch.end)
            longest = max(longest, batch.end - batch.start)
        self.start = start if start < math.inf else 0.0
        # A batch may be late by the time that an engine is busy: what is nearly a slot is one.
        self.slot = SLOT * max(math.ceil(longest / SLOT - 0.5), 1)
        count = self._index(self.end - 1e-6) + 1 if start < math.inf else 0
        self.slots: list[dict[str, Done]] = [{} for _ in range(count)]
        self.phases = [self._phase_of(index) for index in range(count)]
        self._totals: dict[tuple[str, str], OperationBatch] = {}
        for batch in batches:
            self._add(batch)

    def _add(self, batch: Batch) -> None:
        slot = self.slots[self._index((batch.start + batch.end) / 2)]
        for phase, name, operation in self.dealt(batch):
            before = slot.get(name, NOTHING)
            slot[name] = Done(before.ok + operation.ok.total(), before.failed + operation.failed.total())
            self._totals.setdefault((phase, name), OperationBatch()).add(operation)

    def dealt(self, batch: Batch) -> Iterator[tuple[str, str, OperationBatch]]:
        """What a batch holds: the phase in which it counts, the operation, and what that did."""
        phase = self.phase_at((batch.start + batch.end) / 2)
        for name, operation in batch.operations.items():
            yield phase, name, operation

    @property
    def counted(self) -> bool:
        """Whether there was any operation at all; a run in which there was none has shown nothing."""
        return any(self._totals.values())

    def names(self) -> list[str]:
        """The operations that were carried out at least once."""
        return sorted({name for _, name in self._totals})

    def total(self, phase: str, operation: str = "all") -> tuple[OperationBatch, float]:
        """What an operation, or all of them, did in a phase (`run` is all of them), and how many seconds that lasted."""
        total = OperationBatch()
        for (when, name), done in self._totals.items():
            if phase in ("run", when) and operation in ("all", name):
                total.add(done)
        return total, sum(
            min(self.until(index), self.end) - max(self.since(index), self.start)
            for index, when in enumerate(self.phases)
            if phase in ("run", when)
        )

    def phase_at(self, moment: float) -> str:
        """The phase that a moment (Unix time) is in."""
        return self.phases[min(self._index(moment), len(self.phases) - 1)]

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

    def _phase_of(self, index: int) -> str:
        since, until = self.since(index), self.until(index)
        if any(fault.start < until and (fault.end is None or fault.end > since) for fault in self.faults):
            return "during"
        return "after" if self.faults and self.faults[0].start < since else "before"
