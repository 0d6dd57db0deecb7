"""Our own totals of a run, beside Locust's: latencies in microseconds, mergeable without loss."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable

with warnings.catch_warnings():
    # hdrhistogram 0.10.8 declares packed structures as Python 3.14 deprecates it. Users cannot change that.
    warnings.filterwarnings("ignore", "Due to '_pack_', the '.*' Structure will use memory layout", DeprecationWarning)
    from hdrh.histogram import HdrHistogram

from ._batch import NOT_STARTED, Batch
from ._percentiles import rank

__all__ = ["Latencies", "OperationTotals", "RunTotals"]

HIGHEST = 60_000_000
"""Microseconds. Longer latencies count as this, except in `Latencies.max`."""
DIGITS = 3


class _Histogram(HdrHistogram):  # type: ignore[misc]
    """With percentiles by nearest rank. The library rounds the rank, so that p95 of eleven samples would be the tenth."""

    def get_target_count_at_percentile(self, percentile: float) -> int:
        return rank(self.total_count, percentile)


class Latencies:
    """A distribution of microseconds, exact below 2.048 ms and to three digits above."""

    def __init__(self) -> None:
        self._histogram = _Histogram(1, HIGHEST, DIGITS)
        self.count = 0
        self.max = 0
        """The longest latency, exactly."""

    def record(self, latencies: Iterable[tuple[int, int]]) -> None:
        """Add pairs of microseconds and count."""
        for latency, count in latencies:
            self._histogram.record_value(min(latency, HIGHEST), count)
            self.count += count
            self.max = max(self.max, latency)

    def add(self, other: Latencies) -> None:
        self._histogram.add(other._histogram)
        self.count += other.count
        self.max = max(self.max, other.max)

    def percentile(self, percent: float) -> int:
        """Microseconds that `percent` of the latencies do not exceed; 0 when there are none."""
        return min(int(self._histogram.get_value_at_percentile(percent)), self.max) if self.count else 0


class OperationTotals:
    """What one operation did over the whole run."""

    def __init__(self) -> None:
        self.ok = Latencies()
        self.failed = Latencies()
        self.errors: Counter[str] = Counter()

    @property
    def not_started(self) -> int:
        """How many of the failed operations were never started."""
        return self.errors[NOT_STARTED]

    def add(self, other: OperationTotals) -> None:
        self.ok.add(other.ok)
        self.failed.add(other.failed)
        self.errors.update(other.errors)


class RunTotals:
    """What all operations did over the whole run."""

    def __init__(self) -> None:
        self.operations: dict[str, OperationTotals] = {}
        self.start = 0.0
        """Unix time at which the first batch starts."""
        self.end = 0.0
        """When the load stopped. Operations that ended later had begun before."""

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def failures(self) -> int:
        return sum(operation.failed.count for operation in self.operations.values())

    @property
    def not_started(self) -> int:
        return sum(operation.not_started for operation in self.operations.values())

    def merge(self, batch: Batch) -> None:
        """Add a batch of any engine."""
        self.start = min(self.start, batch.start) if self.end else batch.start
        self.end = max(self.end, batch.under_load[1])
        for name, operation in batch.operations.items():
            total = self.operations.setdefault(name, OperationTotals())
            total.ok.record(operation.ok.items())
            total.failed.record(operation.failed.items())
            total.errors.update(operation.errors)
