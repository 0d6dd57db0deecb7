"""Percentiles by nearest rank: the smallest sample that is not exceeded by at least that percentage of all samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

__all__ = ["CHARTED", "PERCENTILES", "percentile", "percentiles", "rank"]

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
"""Name -> percent, ascending."""
CHARTED = {name: PERCENTILES[name] for name in ("p50", "p99", "p99.9")}
"""Those that charts show over time."""


def rank(total: int, percent: float) -> int:
    """Which of `total` samples in ascending order a percentile is, counted from 1."""
    # Rounded before the ceiling: 99.9 % of 1000 is 999, not 999.0000000000001.
    return max(math.ceil(round(total * percent / 100, 6)), 1)


def percentile(latencies: Mapping[int, int], percent: float) -> int:
    """One percentile of latencies (latency -> count). Raises ValueError when there are none."""
    return percentiles(latencies, [percent])[0]


def percentiles(latencies: Mapping[int, int], percents: Iterable[float]) -> list[int]:
    """Several percentiles of latencies (latency -> count), in one pass. `percents` ascend.

    Raises ValueError when there are no latencies.
    """
    total = sum(latencies.values())
    if not total:
        raise ValueError("there are no latencies")
    ranks = [rank(total, percent) for percent in percents]
    found: list[int] = []
    seen = 0
    for latency in sorted(latencies):
        seen += latencies[latency]
        while len(found) < len(ranks) and seen >= ranks[len(found)]:
            found.append(latency)
    return found
