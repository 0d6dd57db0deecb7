"""Bounds that only catch a hang: seconds of an idle machine, stretched by how slow this one is at the moment.

A test that waits for an event needs a bound, so that a hang becomes a failure. The bound must not depend on the machine: what
takes 5 s on an idle one takes 30 s on one that shares its cores. `slowness` measures that with a fixed piece of work, and
`Patience` asks again while it waits, because load may come later.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import trio

WORK = 1_000_000
"""Additions: enough that other processes get the core in between, if there are any."""
REFERENCE = 0.018
"""Seconds that the work takes on an idle core of the machine on which the bounds were chosen."""
KEPT_FOR = 3.0
"""Seconds for which a measurement holds."""
MOST = 12.0
"""Beyond this a hang would be found too late."""

_measured_at = -math.inf
_slowness = 1.0


def slowness() -> float:
    """How many times longer than on an idle reference machine work takes here now; at least 1."""
    global _measured_at, _slowness
    if time.monotonic() - _measured_at > KEPT_FOR:
        began = time.perf_counter()
        work()
        taken = time.perf_counter() - began  # by the wall clock, so that waiting for a core counts
        _slowness = min(max(taken / REFERENCE, 1.0), MOST)
        _measured_at = time.monotonic()
    return _slowness


def core_slowness() -> float:
    """How many times longer than the reference machine's a core of this machine takes for the same work, whatever else it does:
    for a load that must be beyond what a core can do, however busy the others are."""
    began = time.process_time()
    work()
    return max((time.process_time() - began) / REFERENCE, 1.0)


def work() -> int:
    total = 0
    for number in range(WORK):
        total += number
    return total


def patience(seconds: float) -> float:
    """For a bound that is given once, such as `trio.fail_after(patience(10))`."""
    return seconds * slowness()


class Patience:
    """A bound that is checked in a loop. It lengthens when the machine slows down meanwhile, and never shortens."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = time.monotonic()
        self._allowed = seconds

    def ended(self) -> bool:
        waited = time.monotonic() - self._began
        if waited < self._allowed:
            return False
        self._allowed = max(self._allowed, patience(self._seconds))
        return waited >= self._allowed


def wait_until(condition: Callable[[], bool], what: Callable[[], str] | str, seconds: float = 20, every: float = 0.05) -> None:
    """Wait for an event of another process, which nothing reports; fail with `what` once patience has ended."""
    bound = Patience(seconds)
    while not condition():
        assert not bound.ended(), what if isinstance(what, str) else what()
        time.sleep(every)


async def until(condition: Callable[[], bool], what: str = "it never came", seconds: float = 20, every: float = 0.01) -> None:
    """`wait_until` in trio's real time."""
    bound = Patience(seconds)
    while not condition():
        assert not bound.ended(), what
        await trio.sleep(every)
