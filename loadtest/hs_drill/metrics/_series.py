"""What each operation did over time, for charts: rates and percentiles for each slot."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from ._batch import ALL, Batch, EngineUse
from ._percentiles import CHARTED, percentiles

__all__ = ["Series", "TimeAxis", "axis_of", "busy_of", "series_of"]

LATE = 10.0
"""Seconds after which a batch is not expected any more. Workers report every three."""
SLOTS = ((0.25, 240), (0.5, 240), (1, 600), (2, 600), (5, 600), (10, 600), (30, 600), (60, 600), (300, 600), (1800, 600))
"""(Seconds, how many slots of this length a chart may have). A chart is about 900 points wide."""


@dataclass(frozen=True)
class TimeAxis:
    """The time of a run, divided into slots of equal length."""

    start: float
    """Unix time, seconds."""
    end: float
    slot: float
    """Seconds."""

    @property
    def count(self) -> int:
        return max(math.ceil(round((self.end - self.start) / self.slot, 6)), 0)

    def length(self, index: int) -> float:
        """Seconds of a slot that belong to the run: the last slot may be shorter."""
        return min(self.start + (index + 1) * self.slot, self.end) - (self.start + index * self.slot)


@dataclass
class Series:
    """One operation; each list has one item per slot."""

    rate: list[float]
    """Operations that succeeded, per second."""
    errors: list[float]
    """Operations that failed, per second."""
    not_started: list[float]
    """Those of the failed ones that never started."""
    latency: dict[str, list[float | None]]
    """`p50`, `p99`, `p99.9` of the operations that succeeded, in milliseconds; None if none did."""

    @classmethod
    def empty(cls, count: int) -> Self:
        return cls([0.0] * count, [0.0] * count, [0.0] * count, {percent: [None] * count for percent in CHARTED})


def axis_of(start: float, end: float, longest: float) -> TimeAxis:
    """An axis with slots of at least about the length of the longest batch."""
    fitting = (slot for slot, most in SLOTS if slot >= longest * 0.8 and (end - start) / slot <= most)
    return TimeAxis(start, end, next(fitting, SLOTS[-1][0]))


def series_of(batches: Iterable[Batch], axis: TimeAxis) -> dict[str, Series]:
    """The series of each operation, and of `all` together.

    A batch is about as long as a slot and overlaps two. Its counts are split by the share of its time in each; otherwise every
    few slots would look empty. Its latencies cannot be split, and go to the slot of its middle.

    `batches` come as they were reported. Percentiles leave out what comes more than `LATE` seconds after its time, so that only
    the latencies of that time are in memory.
    """
    series = {ALL: Series.empty(axis.count)}
    open_slots: dict[int, dict[str, Counter[int]]] = {}
    first_open = 0
    for batch in batches:
        shares = _shares(batch, axis)
        middle = min(int(((batch.start + batch.end) / 2 - axis.start) / axis.slot), axis.count - 1)
        slot = open_slots.setdefault(middle, {}) if middle >= first_open else {}
        for name, done in batch.operations.items():
            ok, failed = done.ok.total(), done.failed.total()
            for one in (name, ALL):
                made = series.setdefault(one, Series.empty(axis.count))
                slot.setdefault(one, Counter()).update(done.ok)
                for index, share in shares:
                    made.rate[index] += ok * share / axis.length(index)
                    made.errors[index] += failed * share / axis.length(index)
                    made.not_started[index] += done.not_started * share / axis.length(index)
        while first_open < middle - LATE / axis.slot:
            _close(series, open_slots.pop(first_open, {}), first_open)
            first_open += 1
    for index, slot in open_slots.items():
        _close(series, slot, index)
    return series


def busy_of(batches: Iterable[Batch], axis: TimeAxis) -> list[float]:
    """How busy the busiest engine was in each slot, in percent; 0 if nothing is known."""
    slots: list[dict[int, EngineUse]] = [{} for _ in range(axis.count)]
    for batch in batches:
        engines = slots[min(int(((batch.start + batch.end) / 2 - axis.start) / axis.slot), axis.count - 1)]
        for worker, use in batch.engines.items():
            engines[worker] = engines.get(worker, EngineUse()).plus(EngineUse(Counter(), use.seconds, use.cpu, use.waited))
    return [max((use.busy for use in engines.values()), default=0.0) * 100 for engines in slots]


def _close(series: dict[str, Series], slot: dict[str, Counter[int]], index: int) -> None:
    for name, counted in slot.items():
        if counted.total():
            for percent, latency in zip(CHARTED, percentiles(counted, CHARTED.values()), strict=True):
                series[name].latency[percent][index] = latency / 1000


def _shares(batch: Batch, axis: TimeAxis) -> list[tuple[int, float]]:
    """The slots that a batch overlaps, with the share of its time in each."""
    first = max(int((batch.start - axis.start) / axis.slot), 0)
    last = min(int((batch.end - axis.start) / axis.slot), axis.count - 1)
    length = batch.end - batch.start
    if length <= 0 or first >= last:
        return [(min(first, axis.count - 1), 1.0)]
    overlaps = []
    for index in range(first, last + 1):
        since = axis.start + index * axis.slot
        overlaps.append((index, (min(batch.end, since + axis.slot) - max(batch.start, since)) / length))
    return [(index, share) for index, share in overlaps if share > 0]
