"""Counts and latencies: in batches, added up, over time, and as percentiles. Imports no other package of ours."""

from __future__ import annotations

from ._batch import (
    ALL,
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
from ._outages import OFTEN, Outage
from ._percentiles import CHARTED, PERCENTILES, percentile, rank
from ._series import Series, TimeAxis, axis_of, busy_of, series_of
from ._timeline import EDGE, NOTHING, PHASES, FaultWindow, Timeline
from ._totals import Latencies, OperationTotals, RunTotals

__all__ = [
    "ALL",
    "CHARTED",
    "EDGE",
    "NOTHING",
    "NOT_STARTED",
    "NOT_THERE",
    "OFTEN",
    "OTHER_ERRORS",
    "PERCENTILES",
    "PHASES",
    "UNANSWERED",
    "Batch",
    "Begun",
    "EngineUse",
    "FaultWindow",
    "Latencies",
    "OperationBatch",
    "OperationTotals",
    "Outage",
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
