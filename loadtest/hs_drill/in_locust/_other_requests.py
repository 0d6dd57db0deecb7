"""The requests that are not ours: those of other users of Locust, such as an HTTP user in a second locustfile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from locust.stats import RequestStats, StatsEntry, StatsError

from ._locust_stats import METHOD

__all__ = ["other_requests"]

PERCENTILES = (50.0, 95.0, 99.0, 99.9)


def other_requests(stats: RequestStats, exceptions: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any] | None:
    """What `result.json` keeps about them. None if there are none.

    `exceptions` are those that ended tasks, as Locust's runner has them: they too make Locust exit with 1.
    """
    requests = [
        _figures(entry) for (_, method), entry in sorted(stats.entries.items()) if method != METHOD and entry.num_requests
    ]
    errors = [
        {"method": one.method, "name": one.name, "error": _text(one.error), "count": one.occurrences}
        for one in sorted(stats.errors.values(), key=lambda one: -one.occurrences)
        if one.method != METHOD
    ]
    raised = [{"error": one["msg"], "count": one["count"]} for one in exceptions.values()]
    return {"requests": requests, "errors": errors, "exceptions": raised} if requests or raised else None


def _text(error: Exception | str | None) -> str:
    """As a master has it from its workers."""
    return str(StatsError.parse_error(error)) if isinstance(error, Exception) else str(error)


def _figures(entry: StatsEntry) -> dict[str, Any]:
    """Latencies are in milliseconds, as precise as Locust keeps them, and include those of failures."""
    return {
        "method": entry.method,
        "name": entry.name,
        "count": entry.num_requests,
        "failures": entry.num_failures,
        "rate": entry.total_rps,
        "latencies": {f"p{percent:g}": entry.get_response_time_percentile(percent / 100) for percent in PERCENTILES},
        "max": entry.max_response_time,
    }
