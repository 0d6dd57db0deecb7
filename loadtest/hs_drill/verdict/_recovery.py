"""How long a run took to recover from each of its faults."""

from __future__ import annotations

from dataclasses import dataclass

from hs_drill.metrics import NOTHING, FaultWindow, Timeline
from hs_drill.scenario import BEFORE_SECONDS, kind_of

__all__ = ["OBSERVED_SECONDS", "FaultRecovery", "recoveries"]

OBSERVED_SECONDS = 1.0
"""A run counts as steady only after it was seen steady for this long; otherwise that is unknown."""
STEADY_SHARE = 0.25
"""The share of the throughput before the first fault that counts as steady. A stall makes no errors; only throughput shows it.
A quarter, because on a busy machine with two cores an undisturbed second had 0.37 of it, and a stall leaves nearly nothing."""

OFTEN = 20
"""An operation that comes this often per slot comes in every slot, so a single slot with too few of them shows a stall."""

MEASURED_SECONDS = BEFORE_SECONDS / 2
"""How much of the time before the first fault must have been measured: it loses a slot at either end."""


@dataclass(frozen=True)
class FaultRecovery:
    """Seconds from a fault's start, with a resolution of one slot of the timeline."""

    fault: str
    first_error: float | None
    """None when nothing failed."""
    first_success: float | None
    """Until each operation that failed had succeeded again. 0 when nothing failed; None when one has not succeeded, or when no
    operation was `counted`."""
    steady: float | None
    """0 when the run was never disturbed; None when it was not steady again, or too late to know, or is `incomparable`."""
    failed_until: float
    """Until the last failure that was observed; 0 when nothing failed."""
    observed: float
    """How long the recovery was observed: until the next fault that repairs nothing, or the end of the run. Faults that start
    within the length of a slot count as one."""
    until: str
    """What ended the observation, in words."""
    counted: bool
    """Whether any operation ended in that time. Where none ended, none can have failed."""
    incomparable: str = ""
    """Why it is not known what is steady, in words; "" when it is known."""


def recoveries(timeline: Timeline) -> list[FaultRecovery]:
    """One for each fault, in the order of their starts."""
    needed = {name: _rate_before(timeline, name) * STEADY_SHARE for name in timeline.names()}
    incomparable = _incomparable(timeline)
    return [_recovery(timeline, fault, needed, incomparable) for fault in timeline.faults]


def _rate_before(timeline: Timeline, name: str) -> float:
    return timeline.throughput("before", name) or 0.0


def _incomparable(timeline: Timeline) -> str:
    """Why there is no throughput to compare with; "" when there is one."""
    before, length = timeline.total("before")
    if round(length, 3) < MEASURED_SECONDS:
        return (
            f"only {length:.2f} s before the first fault were measured, too little to compare with: "
            f"start that fault {BEFORE_SECONDS:g} s or more after the load, and after its warm-up"
        )
    return "" if before.ok else "no operation succeeded before the first fault, so there is nothing to compare with"


def _recovery(timeline: Timeline, fault: FaultWindow, needed: dict[str, float], incomparable: str) -> FaultRecovery:
    end, until = _observed_until(timeline, fault)
    slots = [i for i in range(len(timeline.slots)) if timeline.until(i) > fault.start and timeline.since(i) < end]
    failing = [i for i in slots if any(done.failed for done in timeline.slots[i].values())]
    whole = [i for i in slots if timeline.since(i) >= fault.start]
    counted = bool(failing) or any(any(done) for i in whole for done in timeline.slots[i].values())
    return FaultRecovery(
        fault.name,
        first_error=max(timeline.since(failing[0]) - fault.start, 0.0) if failing else None,
        first_success=_first_success(timeline, fault, slots) if counted else None,
        steady=None if incomparable else _steady(timeline, fault, slots, needed),
        failed_until=timeline.until(failing[-1]) - fault.start if failing else 0.0,
        observed=end - fault.start,
        until=until,
        counted=counted,
        incomparable=incomparable,
    )


def _observed_until(timeline: Timeline, fault: FaultWindow) -> tuple[float, str]:
    # A fault of several servers strikes one a moment after the other, and is one fault.
    together = fault.start + timeline.slot
    later = [one for one in timeline.faults if one.start > together and not kind_of(one.name).repairs]
    if not later:
        return timeline.load_end, "the run ended"
    following = min(later, key=lambda one: one.start)
    return following.start, f"{following.name} began{' again' if following.name == fault.name else ''}"


def _first_success(timeline: Timeline, fault: FaultWindow, slots: list[int]) -> float | None:
    latest = 0.0
    for name in timeline.names():
        mine = [(i, timeline.slots[i][name]) for i in slots if name in timeline.slots[i]]
        errors = [i for i, done in mine if done.failed]
        if errors:
            after = [(i, done) for i, done in mine if i > errors[0]]
            # In the slot of the first error, successes may have come before it. They have if the next slot has errors alone.
            again = after if after and not after[0][1].ok else [one for one in mine if one[0] >= errors[0]]
            successes = [i for i, done in again if done.ok]
            if not successes:
                return None
            latest = max(latest, timeline.until(successes[0]) - fault.start)
    return latest


def _steady(timeline: Timeline, fault: FaultWindow, slots: list[int], needed: dict[str, float]) -> float | None:
    """Until the end of the last slot that was disturbed."""
    window = max(round(OBSERVED_SECONDS / timeline.slot), 1)
    disturbed = None
    for position, i in enumerate(slots):
        if any(operation.failed for operation in timeline.slots[i].values()):
            disturbed = max(i, disturbed or i)
        # Throughput is that of a second: rare operations do not come in every slot.
        recent = slots[position : position + window]
        if len(recent) < window:
            continue
        for name, rate in needed.items():
            done = [timeline.slots[j].get(name, NOTHING).ok for j in recent]
            if sum(done) / (window * timeline.slot) < rate:
                # The stall ends with its last slow slot, not with the first second that has enough throughput as a whole.
                often = rate / STEADY_SHARE * timeline.slot >= OFTEN
                slow = [j for j, ok in zip(recent, done, strict=True) if often and ok / timeline.slot < rate]
                disturbed = max(i, *slow, disturbed or i)
    if len(slots) < window:
        return None
    if disturbed is None:
        return 0.0
    if slots[-1] - disturbed < window:
        return None
    return timeline.until(disturbed) - fault.start
