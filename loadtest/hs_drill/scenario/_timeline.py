"""When the faults of a scenario strike and heal (`at`, `for`, `every`), and which schedules are refused."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from ._faults import Fault

__all__ = ["Moment", "clash", "timeline", "too_many"]

MOST_MOMENTS = 10_000
"""The most starts and healings of faults in a run: every 30 s for a day makes 5,760."""


@dataclass(frozen=True)
class Moment:
    """A fault's start or its healing."""

    at: float
    """Seconds after the load has begun."""
    number: int
    """Which of the scenario's faults, counted from 0."""
    occurrence: int
    """Which of its repetitions, counted from 0."""
    heals: bool


def timeline(faults: Sequence[Fault], duration: float) -> Iterator[Moment]:
    """Every start and healing within a run of `duration` seconds, in order. At the same moment, healing comes first.

    Endless when `duration` is infinite (a run in the web UI, until it is stopped) and a fault repeats.
    """
    each = [_moments(number, fault, duration) for number, fault in enumerate(faults)]
    return heapq.merge(*each, key=lambda moment: (moment.at, not moment.heals, moment.number))


def _moments(number: int, fault: Fault, duration: float) -> Iterator[Moment]:
    for occurrence in range(1) if fault.every is None else count():
        start = fault.at + occurrence * (fault.every or 0)
        if start >= duration:
            return
        yield Moment(start, number, occurrence, heals=False)
        if fault.lasts and fault.for_ is not None and start + fault.for_ < duration:
            yield Moment(start + fault.for_, number, occurrence, heals=True)


def too_many(faults: Sequence[Fault], duration: float) -> tuple[int, str] | None:
    """The first fault that would strike or heal too often in a run of `duration` seconds: its number from 0, and a message."""
    counts = [_count(fault, duration) for fault in faults]
    if sum(counts) <= MOST_MOMENTS:
        return None
    number = counts.index(max(counts))
    every = faults[number].every or duration
    return number, (
        f"is too short: every {every:g} s makes {counts[number]:,} starts and healings in {duration:g} s, and a run has "
        f"at most {MOST_MOMENTS:,}"
    )


def _count(fault: Fault, duration: float) -> int:
    """How many moments `_moments` gives, within one."""
    left = duration - fault.at
    starts = 1 if fault.every is None else math.ceil(left / fault.every)
    return starts * (2 if fault.lasts and fault.for_ is not None else 1)


def clash(faults: Sequence[Fault], readers: int, duration: float) -> tuple[int, str] | None:
    """The first fault that certainly strikes while one of its own kind is on, on the same server: its number from 0, and a
    message. None when there is none.

    Such a fault cannot strike, or its healing would end the other one as well. Faults of the network add up.
    """
    on: set[int] = set()
    for moment in timeline(faults, duration):
        fault = faults[moment.number]
        if moment.heals:
            on.discard(moment.number)
        elif fault.lasts and not fault.adds_up:
            for number in sorted(on):
                if _same(fault, faults[number]) and _certain(fault, faults, readers) & _certain(
                    faults[number], faults, readers
                ):
                    what = f"is {fault} already" if fault.untargeted else f"already has {fault.name} on the same server"
                    is_on = f"faults.{number} {what}, {moment.at:g} s after the start"
                    return moment.number, f"{is_on}: let one heal before the other strikes"
            on.add(moment.number)
    return None


def _same(one: Fault, other: Fault) -> bool:
    """Whether only one of the two can be on at a time."""
    return one.name == other.name and getattr(one, "key", None) == getattr(other, "key", None)


def _certain(fault: Fault, faults: Sequence[Fault], readers: int) -> set[str]:
    """The servers on which a fault is certainly on until it heals, whatever is drawn and whatever other faults do. A fault
    without a target is on itself."""
    if fault.untargeted:
        return {str(fault)}
    if any(one.unsettles and one.name != fault.name for one in faults):
        return set()
    all_readers = {f"reader-{number + 1}" for number in range(readers)}
    match fault.target:
        case "all readers":
            return all_readers
        case "one reader":
            return all_readers if readers == 1 else set()
        case "primary":
            return {"writer"}
        case name:
            return {name}
