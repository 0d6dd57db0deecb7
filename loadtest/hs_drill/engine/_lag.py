"""How much of a latency is the engine's own: how late its event loop is, and how much of a core it uses.

An answer that has arrived waits until the event loop comes round to it, as a timer that has expired does. So a timer that
should fire every few milliseconds measures, by how late it fires, what the engine adds to every latency that it reports.
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
    """Measures the event loop that it runs in, and its process, while `run` runs."""

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
        """What was measured since the last time."""
        self._sample()  # of a loop that was blocked until now the timer has not told yet
        now, cpu, waited = time.monotonic(), time.process_time(), _waited_for_cpu()
        use = EngineUse(collapse(self._lags), now - self._since, cpu - self._cpu, waited - self._waited)
        self._lags.clear()
        self._since, self._cpu, self._waited = now, cpu, waited
        return use

    def _sample(self) -> None:
        """Count how late each moment is that is due. All of them: a loop that is blocked for a second is late for every answer
        that arrives in that second."""
        now, lags = time.monotonic_ns(), self._lags
        while self._due <= now:
            lag = (now - self._due) // 1000
            lags[lag] = lags.get(lag, 0) + 1
            self._slot += PERIOD
            # At a moment of its own within each period: what the engine does at regular intervals must not meet all or none.
            self._due = self._slot + int(self._random.random() * PERIOD)


def _waited_for_cpu() -> float:
    """Seconds that this process's main thread was ready to run and had no core; 0 where the kernel does not tell."""
    with suppress(OSError, ValueError, IndexError):
        fd = os.open("/proc/self/schedstat", os.O_RDONLY)
        try:
            return int(os.read(fd, 100).split()[1]) / 1e9
        finally:
            os.close(fd)
    return 0.0
