"""Counts and latencies: in batches, added up, over time, in percentiles. Imports nothing of ours."""

from __future__ import annotations

from ._batch import (
    NOT_STARTED,
    NOT_THERE,
    OTHER_ERRORS,
    UNANSWERED,
    Batch,
    Begun,
    EngineUse,
    OperationBatch,
    Standing,
    collapse,
    total_of,
)
from ._csv import totals_of, write_latencies
from ._series import ALL, PERCENTILES, Series, TimeAxis, axis_of, busy_of, series_of
from ._timeline import EDGE, NOTHING, FaultWindow, Timeline, percentile, rank
from ._totals import Latencies, OperationTotals, RunTotals

__all__ = [
    "ALL",
    "EDGE",
    "NOTHING",
    "NOT_STARTED",
    "NOT_THERE",
    "OTHER_ERRORS",
    "PERCENTILES",
    "UNANSWERED",
    "Batch",
    "Begun",
    "EngineUse",
    "FaultWindow",
    "Latencies",
    "OperationBatch",
    "OperationTotals",
    "RunTotals",
    "Series",
    "Standing",
    "TimeAxis",
    "Timeline",
    "axis_of",
    "busy_of",
    "collapse",
    "percentile",
    "rank",
    "series_of",
    "total_of",
    "totals_of",
    "write_latencies",
]
