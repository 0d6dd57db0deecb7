"""Counts and latencies: in batches, added up, over time, as percentiles; and two samples compared. Imports nothing of ours."""

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
from ._two_samples import FEWEST_FOR_INTERVAL, p_higher, ratio_interval, ratio_of_medians, smallest_p

__all__ = [
    "ALL",
    "CHARTED",
    "EDGE",
    "FEWEST_FOR_INTERVAL",
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
    "p_higher",
    "percentile",
    "rank",
    "ratio_interval",
    "ratio_of_medians",
    "series_of",
    "smallest_p",
    "total_of",
    "totals_of",
    "write_latencies",
]
