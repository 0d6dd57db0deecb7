"""Compares what the scenario expects with what happened (pass, miss or unknown, exit code, advice), and runs with runs."""

from __future__ import annotations

from ._audit_expectations import audit_expectations
from ._comparison import (
    CONFIDENCE,
    Comparison,
    ComparisonError,
    Difference,
    FigureChange,
    Gate,
    compare,
    obstacles_to,
    parts_of,
    percent,
)
from ._engine_limit import NO_TIME_LEFT
from ._judge_run import judge_run
from ._judged import Result
from ._recovery import FaultRecovery, recoveries
from ._run_figures import RECOVERY, RunFigures, figures_of, flat

__all__ = [
    "CONFIDENCE",
    "NO_TIME_LEFT",
    "RECOVERY",
    "Comparison",
    "ComparisonError",
    "Difference",
    "FaultRecovery",
    "FigureChange",
    "Gate",
    "Result",
    "RunFigures",
    "audit_expectations",
    "compare",
    "figures_of",
    "flat",
    "judge_run",
    "obstacles_to",
    "parts_of",
    "percent",
    "recoveries",
]
