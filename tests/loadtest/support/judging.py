"""Batches, faults and expectations by hand, and what the verdict makes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hs_drill.metrics import EDGE, PHASES, Batch, FaultWindow, OperationBatch, Timeline
from hs_drill.scenario import Expect
from hs_drill.verdict._judge import judge
from hs_drill.verdict._judged import Judged, Result

T0 = 1_700_000_000.0
PASS, MISS, UNKNOWN = Result.PASS, Result.MISS, Result.UNKNOWN


def batch(
    at: float, ok: int, failed: int = 0, *, us: int = 1000, name: str = "get", error: str = "ConnectionError: x"
) -> Batch:
    """A quarter of a second that begins `at` seconds into the run."""
    done = OperationBatch(
        Counter({us: ok} if ok else {}), Counter({5: failed} if failed else {}), Counter({error: failed} if failed else {})
    )
    return Batch(T0 + at, T0 + at + 0.25, {name: done} if ok or failed else {})


def steady(start: float, end: float, ok: int = 100, **more: Any) -> list[Batch]:
    return [batch(start + i * 0.25, ok, **more) for i in range(round((end - start) * 4))]


def fault(start: float, end: float | None, name: str = "kill") -> FaultWindow:
    return FaultWindow(name, T0 + start, None if end is None else T0 + end)


# One second good, one second of the fault with a tenth failing and slow answers, two seconds good.
RUN = [*steady(0, 1), *steady(1, 2, 90, failed=10, us=50_000), *steady(2, 4)]
KILL = [fault(1.0, 2.0)]


def judged(expect: dict[str, Any], batches: Sequence[Batch] = RUN, faults: Sequence[FaultWindow] = KILL) -> list[Judged]:
    result = judge(Expect.model_validate(expect), batches, faults, None, audited=False)
    for one in result.judged:
        assert one.line
        assert "\n" not in one.line
    return list(result.judged)


def phases(batches: Sequence[Batch], faults: Sequence[FaultWindow]) -> dict[str, tuple[int, float]]:
    """How many operations each phase has, and how many seconds."""
    timeline = Timeline(batches, faults)
    found = {phase: timeline.total(phase) for phase in (*PHASES, EDGE)}
    return {phase: (done.ok.total() + done.failed.total(), round(length, 6)) for phase, (done, length) in found.items()}
