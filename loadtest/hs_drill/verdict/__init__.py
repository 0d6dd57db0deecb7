"""What the scenario expects beside what happened: pass, miss or unknown, the exit code, and advice."""

from __future__ import annotations

from ._advice import advice
from ._engine_limit import NO_TIME_LEFT, told
from ._judge import HARNESS, Judged, Judgement, Result, judge
from ._recovery import FaultRecovery, recoveries

__all__ = [
    "HARNESS",
    "NO_TIME_LEFT",
    "FaultRecovery",
    "Judged",
    "Judgement",
    "Result",
    "advice",
    "judge",
    "recoveries",
    "told",
]
