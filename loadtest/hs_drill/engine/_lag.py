"""Measures the engine itself: how late its event loop is, and how much of a core it uses.

An answer that has arrived waits for the event loop, and so does a timer that has expired. So how late a timer fires, every few
milliseconds, is what the engine itself adds to the latencies that it reports.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress

from hs_drill.metrics import EngineUse, collapse

from ._timer import open_timer

__all__ = ["LagSampler"]

PERIOD = 10_000_000
"""Nanoseconds between two samples, on average. A sample costs about 25 µs."""


class LagSampler:
    """Measures its event loop and its process, while `run` runs."""

    def __init__(self) -> None:
        self._lags: dict[int, int] = {}
        self._random = random.Random()
        self._slot = time.monotonic_ns()
        self._due = self._slot + PERIOD
        self._since = time.monotonic()
        self._cpu = time.process_time()
        self._waited = _waited_for_cpu()

    async def run(self) -> None:
        """Sample until cancelled."""
        with open_timer() as timer:
            while True:
                await timer.sleep(max(self._due - time.monotonic_ns(), 0) / 1e9)
                self._sample()

    def take(self) -> EngineUse:
        """The measurements since the last time."""
        self._sample()  # if the loop was blocked until now, the timer has not fired yet
        now, cpu, waited = time.monotonic(), time.process_time(), _waited_for_cpu()
        use = EngineUse(collapse(self._lags), now - self._since, cpu - self._cpu, waited - self._waited)
        self._lags.clear()
        self._since, self._cpu, self._waited = now, cpu, waited
        return use

    def _sample(self) -> None:
        """Count by how much each due moment is late. Count all of them: a loop that is blocked for a second is late for every
        answer of that second."""
        now, lags = time.monotonic_ns(), self._lags
        while self._due <= now:
            lag = (now - self._due) // 1000
            lags[lag] = lags.get(lag, 0) + 1
            self._slot += PERIOD
            # At a random moment of each period: the engine's own regular work must not coincide with all samples, or with none.
            self._due = self._slot + int(self._random.random() * PERIOD)


def _waited_for_cpu() -> float:
    """Seconds that this process's main thread waited for a core; 0 where the kernel does not report it."""
    with suppress(OSError, ValueError, IndexError):
        fd = os.open("/proc/self/schedstat", os.O_RDONLY)
        try:
            return int(os.read(fd, 100).split()[1]) / 1e9
        finally:
            os.close(fd)
    return 0.0
