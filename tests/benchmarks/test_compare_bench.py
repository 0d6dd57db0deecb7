"""`python -m benchmarks.compare`: quiet runs keep its claim, noisy ones do not."""

from __future__ import annotations

import pytest

from benchmarks.compare import PAIRS, results
from hs_drill.verdict import Gate, Result, RunFigures
from hs_drill.verdict._comparison import MATTERS

ENVIRONMENT = dict.fromkeys(MATTERS, "same")


@pytest.mark.parametrize("step, right", [(0.005, True), (0.2, False)])
def test_quiet_runs_keep_the_claim_and_noisy_ones_do_not(step: float, right: bool) -> None:
    runs = [
        RunFigures(f"{number}", f"{number}", "pass", 0, "", None, "", ENVIRONMENT, {}, {"all.p99": 1 + step * number})
        for number in range(10)
    ]
    same, slow = results(runs, Gate.parse("all.p99 > +10%"))
    assert (same[Result.MISS] == 0 and slow[Result.MISS] >= PAIRS - 1) is right
