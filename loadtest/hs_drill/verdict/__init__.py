"""Compares what the scenario expects with what happened: pass, miss or unknown, the exit code, and advice."""

from __future__ import annotations

from ._audit_expectations import audit_expectations
from ._engine_limit import NO_TIME_LEFT
from ._judge_run import judge_run
from ._recovery import FaultRecovery, recoveries

__all__ = [
    "NO_TIME_LEFT",
    "FaultRecovery",
    "audit_expectations",
    "judge_run",
    "recoveries",
]
