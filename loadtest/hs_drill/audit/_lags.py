"""How far reads were behind, over time. Pure, and in bounded memory however long the run was."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from hs_drill.metrics import percentile

__all__ = ["Lags"]

SLOT = 250_000_000
"""Nanoseconds of a slot at first. It doubles whenever there are more than `MAX_SLOTS`."""
MAX_SLOTS = 600
BITS = 6
"""Lags are kept to so many binary digits, rounded up: to 3 %. The longest of each slot is kept exactly."""


class Lags:
    """Takes the reads that could have been stale, in any order. Times count from the beginning of the history."""

    def __init__(self) -> None:
        self._slot = SLOT
        self._examined = Counter[int]()
        """How many reads, by slot."""
        self._stale: defaultdict[int, Counter[int]] = defaultdict(Counter)
        """By slot: lag in microseconds -> how many reads."""
        self._longest: dict[int, int] = {}

    def examined(self, time: int) -> None:
        """A read that began at this time (nanoseconds) was examined."""
        index = time // self._slot
        self._examined[index] += 1
        while len(self._examined) > MAX_SLOTS:
            self._widen()

    def stale(self, time: int, behind: int) -> None:
        """A read that was examined was behind by so many nanoseconds."""
        index, lag = time // self._slot, behind // 1000
        shift = max(lag.bit_length() - BITS, 0)
        self._stale[index][lag | (1 << shift) - 1] += 1
        self._longest[index] = max(lag, self._longest.get(index, 0))

    def _widen(self) -> None:
        self._slot *= 2
        examined, stale, longest = self._examined, self._stale, self._longest
        self._examined, self._stale, self._longest = Counter(), defaultdict(Counter), {}
        for index, count in examined.items():
            self._examined[index // 2] += count
        for index, lags in stale.items():
            self._stale[index // 2].update(lags)
        for index, lag in longest.items():
            self._longest[index // 2] = max(lag, self._longest.get(index // 2, 0))

    def merge(self, other: Lags) -> None:
        """Take over the reads of another one."""
        while self._slot < other._slot:
            self._widen()
        while self._slot > other._slot:
            other._widen()
        self._examined.update(other._examined)
        for index, lags in other._stale.items():
            self._stale[index].update(lags)
        for index, lag in other._longest.items():
            self._longest[index] = max(lag, self._longest.get(index, 0))
        while len(self._examined) > MAX_SLOTS:
            self._widen()

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the slots in which reads were examined, by time. Times and lags in seconds."""
        slots = []
        for index, examined in sorted(self._examined.items()):
            lags = self._stale.get(index, Counter())
            longest = self._longest.get(index, 0)
            slots.append(
                {
                    "start": index * self._slot / 1e9,
                    "examined": examined,
                    "stale": lags.total(),
                    "p50": min(percentile(lags, 50.0), longest) / 1e6 if lags else None,
                    "max": longest / 1e6 if lags else None,
                }
            )
        return {"slot": self._slot / 1e9, "slots": slots}
