"""What a user does: executes the operations that are drawn, and records their results. The engine's hot path."""

from __future__ import annotations

import bisect
import time
import weakref
from collections.abc import Callable, Iterator, Mapping

import trio

import trio_hs
from hs_drill.metrics import NOT_STARTED, NOT_THERE, UNANSWERED
from hs_drill.workload import Drawn

from ._bound_operations import BoundOperation, Call, Intent
from ._meter import Meter
from ._pace import Turn, User
from ._scribe import Scribe

__all__ = ["Performer", "Taken"]

PAUSE_AFTER_CONNECTION_ERROR = 0.01
"""Seconds. A client without any server fails at once, and users would do nothing but count errors."""


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
_Parts = tuple[Recorder, BoundOperation, Call, int, Callable[[int], None]]


class Performer:
    """What all users share.

    `draw` returns the next operation. `turn` waits for its time; None: at once. `scribe` keeps the history, if there is one.
    `meter` counts refusals by server.

    Results are counted by the generation in which their operation began, or should have begun. `cut` begins a new generation.
    """

    def __init__(
        self,
        bound: Mapping[str, BoundOperation],
        draw: Callable[[], tuple[str, Drawn]],
        turn: Turn | None,
        scribe: Scribe | None,
        meter: Meter,
    ) -> None:
        self._bound = bound
        self._cuts: list[int] = []
        """When each generation began, in nanoseconds of the monotonic clock."""
        self._tallies: dict[int, dict[str, _Tally]] = {}
        """By generation: the newest, and those with operations that may still end."""
        # What the hot path needs of each operation. Looking these up there was measured to take a fifth of its time.
        self._parts: dict[str, _Parts] = {}
        self._draw = draw
        self.turn = turn
        self._scribe = scribe
        self._meter = meter
        self.cut()

    def cut(self) -> None:
        """Begin a new generation of operations. Costs the hot path nothing: each operation looks up its recorder when it
        begins."""
        self._cuts.append(time.monotonic_ns())
        self._tallies[len(self._cuts) - 1] = tallies = {name: _Tally() for name in self._bound}
        for name, bound in self._bound.items():
            recorder = tallies[name].recorder
            self._parts[name] = recorder, bound, bound.call, bound.code, recorder.ok.append

    def take(self) -> Iterator[tuple[int, int | None, dict[str, Taken]]]:
        """The operations that have ended since the last time, by generation, the oldest first: since when and until when they
        began, in nanoseconds of the monotonic clock, and their results. The newest is always there, with None for its end."""
        newest = len(self._cuts) - 1
        for number in sorted(self._tallies):
            tallies = self._tallies[number]
            if number != newest and all(tally.final for tally in tallies.values()):
                del self._tallies[number]
            taken = {name: tally.take() for name, tally in tallies.items()}
            if number == newest or any(ok or failed for ok, failed, _ in taken.values()):
                yield self._cuts[number], self._cuts[number + 1] if number != newest else None, taken

    def _recorder_at(self, name: str, intended: int) -> Recorder:
        """The recorder of an operation that should have begun then."""
        number = max(bisect.bisect_right(self._cuts, intended) - 1, 0)
        tallies = self._tallies.setdefault(number, {})
        return tallies.setdefault(name, _Tally()).recorder

    async def perform(self, user: User) -> None:
        """One operation after the other, as long as the user is active and has a turn."""
        draw, parts, turn, scribe, cuts = self._draw, self._parts, self.turn, self._scribe, self._cuts
        clock = time.monotonic_ns  # the history's: one for all processes of the machine
        intent, number = Intent(), user.number
        while user.active:
            intended = None
            if turn is not None and (intended := await turn(user)) is None:
                break
            name, key = draw()
            recorder, bound, call, intent.operation, succeeded = parts[name]
            intent.key = key
            begin = clock()
            if intended is None:
                intended = begin
            else:
                intent.delay = begin - intended
                if intended < cuts[-1]:  # it belongs to that generation's load, and its latency counts from then
                    recorder = self._recorder_at(name, intended)
                    succeeded = recorder.ok.append
            try:
                answer = await call(key, intent)
            except trio_hs.HandlerSocketError as error:
                end = clock()
                recorder.failed.append(end - intended)
                recorder.errors.append(f"{type(error).__name__}: {error}")
                if scribe is not None:
                    scribe.failed(bound, error, intent, begin, end, number)
                if isinstance(error, trio_hs.OperationalError):
                    self._meter.refused(error, end - begin)
                elif isinstance(error, trio_hs.ConnectionError):
                    await trio.sleep(PAUSE_AFTER_CONNECTION_ERROR)
            except trio.Cancelled:
                # Only at the end of a run, after a grace period. A user that is stopped finishes its operation.
                end = clock()
                recorder.failed.append(end - intended)
                recorder.errors.append(UNANSWERED)
                if scribe is not None:
                    scribe.cancelled(bound, intent, begin, end, number)
                raise
            else:
                end = clock()
                if answer or bound.may_be_empty:
                    succeeded(end - intended)
                    if scribe is not None:
                        scribe.succeeded(bound, intent, answer, begin, end, number)
                else:
                    recorder.failed.append(end - intended)
                    recorder.errors.append(NOT_THERE)
                    if scribe is not None:
                        scribe.not_there(bound, intent, answer, begin, end, number)

    def give_up(self, intended: int) -> None:
        """Count the next operation, which should have started then, as never started."""
        recorder = self._recorder_at(self._draw()[0], intended)
        recorder.failed.append(time.monotonic_ns() - intended)
        recorder.errors.append(NOT_STARTED)
