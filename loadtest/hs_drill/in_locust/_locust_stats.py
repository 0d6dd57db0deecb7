"""Merges batches into Locust's own statistics, for its web UI, CSV files and master."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial

import gevent
from locust.env import Environment
from locust.stats import RequestStats, StatsEntry, StatsError

from hs_drill.metrics import Batch, OperationBatch

__all__ = ["METHOD", "OperationError", "fire_each", "merge", "milliseconds"]

EVENTS_AT_ONCE = 500
METHOD = "HS"
"""What Locust shows as the request's type."""


def milliseconds(microseconds: int) -> float:
    """A latency as the key of Locust's response times: three significant digits, so that percentiles below a millisecond
    survive while the number of keys stays below a few thousand."""
    if microseconds < 1000:
        return microseconds / 1000
    return float(f"{microseconds / 1000:.3g}")


def merge(batch: Batch, stats: RequestStats) -> None:
    """Add a batch, each operation as a request."""
    for name, operation in batch.operations.items():
        entry = _entry(batch, name, operation, stats)
        stats.entries[(name, METHOD)].extend(entry)
        stats.total.extend(entry)
        _add_errors(batch, name, operation.errors, stats)


class OperationError(Exception):
    """What Locust's listeners get for a failed operation; the text says why."""


def fire_each(operations: Mapping[str, tuple[list[int], list[int], list[str]]], environment: Environment) -> None:
    """Fire Locust's `request` event for every operation, which also feeds its statistics. Yields to other greenlets."""
    fire = partial(environment.events.request.fire, request_type=METHOD, response_length=0, context={})
    for name, (succeeded, failed, reasons) in operations.items():
        for number, latency in enumerate(succeeded):
            fire(name=name, response_time=latency / 1000, exception=None)
            if number % EVENTS_AT_ONCE == 0:
                gevent.sleep(0)
        for latency, reason in zip(failed, reasons, strict=True):
            fire(name=name, response_time=latency / 1000, exception=OperationError(reason))


def _entry(batch: Batch, name: str, operation: OperationBatch, stats: RequestStats) -> StatsEntry:
    # Like Locust, count a failed request as a request, and its time as a response time.
    latencies = operation.ok + operation.failed
    second = int((batch.start + batch.end) / 2)
    entry = StatsEntry(stats, name, METHOD)
    entry.start_time = batch.start
    entry.last_request_timestamp = batch.end
    entry.num_requests = latencies.total()
    entry.num_failures = operation.failed.total()
    entry.num_reqs_per_sec[second] = entry.num_requests
    if entry.num_failures:
        entry.num_fail_per_sec[second] = entry.num_failures
    if latencies:
        times: Counter[float] = Counter()
        for latency, count in latencies.items():
            times[milliseconds(latency)] += count
        # Locust's annotations say int; its arithmetic, JSON and messages accept floats.
        entry.response_times = times  # type: ignore[assignment]
        entry.total_response_time = sum(us * n for us, n in latencies.items()) / 1000  # type: ignore[assignment]
        entry.min_response_time = min(latencies) / 1000  # type: ignore[assignment]
        entry.max_response_time = max(latencies) / 1000  # type: ignore[assignment]
    return entry


def _add_errors(batch: Batch, name: str, errors: Counter[str], stats: RequestStats) -> None:
    for message, count in errors.items():
        key = StatsError.create_key(METHOD, name, message)
        if key not in stats.errors:
            stats.errors[key] = StatsError(METHOD, name, message)
            stats.errors[key].first_seen = batch.start  # older Locusts do not show it
        known = stats.errors[key]
        known.occurrences += count
        known.last_seen = batch.end
