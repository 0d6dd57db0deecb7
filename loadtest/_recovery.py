"""How long a run took to get over each of its faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loadtest._timeline import Fault, Timeline

__all__ = ["FaultRecovery", "recoveries"]

OBSERVED_SECONDS = 1.0
"""What is steady must have been so for as long, or nobody knows."""
STEADY_SHARE = 0.25
"""Of the throughput before the first fault: a stall makes no errors, and shows there alone. A quarter, for on a machine of two
cores that had other work the throughput of an undisturbed second was seen to sink to 0.37; a stall leaves nearly nothing."""


@dataclass(frozen=True)
class FaultRecovery:
    """Seconds from a fault's start, as exactly as a slot of the timeline is long, until the next fault starts."""

    fault: str
    first_error: float | None
    """None when nothing failed."""
    first_success: float | None
    """Until each operation that failed had succeeded again; 0 when nothing failed, None when one has not."""
    steady: float | None
    """0 when it was never disturbed; None when it was not steady again, or too late to tell."""


def recoveries(timeline: Timeline) -> list[FaultRecovery]:
    """One for each fault, in the order of their starts."""
    needed = {name: _rate_before(timeline, name) * STEADY_SHARE for name in timeline.names()}
    return [_recovery(timeline, fault, needed) for fault in timeline.faults]


def _rate_before(timeline: Timeline, name: str) -> float:
    total, length = timeline.total("before", name)
    return total.ok.total() / length if length else 0.0


def _recovery(timeline: Timeline, fault: Fault, needed: dict[str, float]) -> FaultRecovery:
    slots = list(_slots_of(timeline, fault))
    failing = [i for i in slots if any(done.failed for done in timeline.slots[i].values())]
    first_error = max(timeline.since(failing[0]) - fault.start, 0.0) if failing else None
    return FaultRecovery(
        fault.name, first_error, _first_success(timeline, fault, slots), _steady(timeline, fault, slots, needed)
    )


def _slots_of(timeline: Timeline, fault: Fault) -> Iterator[int]:
    later = [other.start for other in timeline.faults if other.start > fault.start]
    end = min(later, default=timeline.end)
    for index in range(len(timeline.slots)):
        if timeline.until(index) > fault.start and timeline.since(index) < end:
            yield index


def _first_success(timeline: Timeline, fault: Fault, slots: list[int]) -> float | None:
    latest = 0.0
    for name in timeline.names():
        mine = [(i, timeline.slots[i][name]) for i in slots if name in timeline.slots[i]]
        errors = [i for i, done in mine if done.failed]
        if errors:
            successes = [i for i, done in mine if done.ok and i >= errors[0]]
            if not successes:
                return None
            latest = max(latest, timeline.until(successes[0]) - fault.start)
    return latest


def _steady(timeline: Timeline, fault: Fault, slots: list[int], needed: dict[str, float]) -> float | None:
    """From the end of the last slot that was disturbed."""
    window = max(round(OBSERVED_SECONDS / timeline.slot), 1)
    disturbed = None
    for position, i in enumerate(slots):
        failed = any(done.failed for done in timeline.slots[i].values())
        # Throughput over a second: rare operations do not come in every slot.
        recent = slots[position : position + window]
        slow = len(recent) == window and any(
            sum(timeline.slots[j][name].ok for j in recent if name in timeline.slots[j]) / (window * timeline.slot) < rate
            for name, rate in needed.items()
        )
        if failed or slow:
            disturbed = i
    if len(slots) < window:
        return None
    if disturbed is None:
        return 0.0
    if slots[-1] - disturbed < window:
        return None
    return timeline.until(disturbed) - fault.start
