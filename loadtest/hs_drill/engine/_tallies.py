"""The results of operations, by the generation in which each began: the hot path appends them, and each batch takes them."""

from __future__ import annotations

import bisect
import time
import weakref
from collections.abc import Iterator

__all__ = ["Recorder", "Taken", "Tallies"]


class Recorder:
    """Where the hot path appends results of one operation of the mix. Each operation holds a reference to the recorder with
    which it began until it ends: as long as a recorder is alive, results may still arrive."""

    __slots__ = ("__weakref__", "errors", "failed", "ok")

    def __init__(self, tally: _Tally) -> None:
        self.ok, self.failed, self.errors = tally.ok, tally.failed, tally.errors


class _Tally:
    """The results of one operation of the mix in one generation, since the last batch. The hot path only appends."""

    def __init__(self) -> None:
        self.ok: list[int] = []
        """Nanoseconds."""
        self.failed: list[int] = []
        self.errors: list[str] = []
        """Why each of these failed."""
        self._recorder: weakref.ref[Recorder] | None = None

    @property
    def recorder(self) -> Recorder:
        """The recorder that appends to this tally."""
        recorder = None if self._recorder is None else self._recorder()
        if recorder is None:
            recorder = Recorder(self)
            self._recorder = weakref.ref(recorder)
        return recorder

    @property
    def final(self) -> bool:
        """Whether no operation is left that could append."""
        return self._recorder is None or self._recorder() is None

    def take(self) -> Taken:
        """The latencies of successes and failures in nanoseconds, and the failures' reasons, each in the order of their ends.
        Empties the tally."""
        taken = list(self.ok), list(self.failed), list(self.errors)
        self.ok.clear()
        self.failed.clear()
        self.errors.clear()
        return taken


Taken = tuple[list[int], list[int], list[str]]
"""What `_Tally.take` returns."""


class Tallies:
    """The results of all operations. `cut` begins a new generation.

    Attributes:
      cuts: when each generation began, in nanoseconds of the monotonic clock.
    """

    def __init__(self) -> None:
        self.cuts: list[int] = []
        self._tallies: dict[int, dict[str, _Tally]] = {}
        """By generation: the newest, and those with operations that may still end."""
        self._newest: dict[str, _Tally] = {}
        self.cut()

    def cut(self) -> None:
        """Begin a new generation of operations. Each operation looks up its recorder when it begins."""
        self.cuts.append(time.monotonic_ns())
        self._newest = self._tallies[len(self.cuts) - 1] = {}

    def recorder(self, name: str) -> Recorder:
        """The recorder of an operation that begins now."""
        tally = self._newest.get(name)
        if tally is None:
            tally = self._newest[name] = _Tally()
        return tally.recorder

    def recorder_at(self, name: str, intended: int) -> Recorder:
        """The recorder of an operation that should have begun then."""
        number = max(bisect.bisect_right(self.cuts, intended) - 1, 0)
        tallies = self._tallies.setdefault(number, {})
        return tallies.setdefault(name, _Tally()).recorder

    def take(self) -> Iterator[tuple[int, int | None, dict[str, Taken]]]:
        """The operations that have ended since the last time, by generation, the oldest first: since when and until when they
        began, in nanoseconds of the monotonic clock, and their results. The newest is always there, with None for its end."""
        newest = len(self.cuts) - 1
        for number in sorted(self._tallies):
            tallies = self._tallies[number]
            if number != newest and all(tally.final for tally in tallies.values()):
                del self._tallies[number]
            taken = {name: tally.take() for name, tally in tallies.items()}
            if number == newest or any(ok or failed for ok, failed, _ in taken.values()):
                yield self.cuts[number], self.cuts[number + 1] if number != newest else None, taken
