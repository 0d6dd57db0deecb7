"""What a user does: it carries out what is drawn, and notes what became of it. The hot path of the load engine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

import trio

import trio_hs
from loadtest._batch import NOT_STARTED, NOT_THERE, UNANSWERED, OperationBatch, microseconds
from loadtest._meter import Meter
from loadtest._operations import Bound, Intent
from loadtest._pace import Turn, User
from loadtest._scribe import Scribe
from loadtest._workload import Drawn

__all__ = ["Performer", "Recorder"]

PAUSE_AFTER_CONNECTION_ERROR = 0.01
"""Seconds. A client that has no server left fails at once; users would then count errors instead of waiting for one."""


class Recorder:
    """What one operation did since the last batch. The hot path only appends."""

    def __init__(self, bound: Bound) -> None:
        self.bound = bound
        self.ok: list[int] = []
        """Nanoseconds."""
        self.failed: list[int] = []
        self.errors: list[str] = []
        """Why each of these failed."""

    def each(self) -> tuple[list[int], list[int], list[str]]:
        """One by one, in the order of their ends: the microseconds of what succeeded and of what failed, and why that did."""
        return [latency // 1000 for latency in self.ok], [latency // 1000 for latency in self.failed], list(self.errors)

    def take(self) -> OperationBatch:
        """What it did, which begins anew."""
        batch = OperationBatch(microseconds(self.ok), microseconds(self.failed), Counter(self.errors))
        self.ok.clear()
        self.failed.clear()
        self.errors.clear()
        return batch


class Performer:
    """Users' common part: `draw` says what comes next, `turn` when, where it is not at once; `scribe` keeps the history, if
    there is one, and `meter` counts refusals by server."""

    def __init__(
        self,
        recorders: Mapping[str, Recorder],
        draw: Callable[[], tuple[str, Drawn]],
        turn: Turn | None,
        scribe: Scribe | None,
        meter: Meter,
    ) -> None:
        self._recorders = recorders
        # What the hot path needs of each: to look these up there was measured to be a fifth of its own time.
        self._parts = {
            name: (one, one.bound, one.bound.call, one.bound.operation, one.ok.append) for name, one in recorders.items()
        }
        self._draw = draw
        self.turn = turn
        self._scribe = scribe
        self._meter = meter

    async def perform(self, user: User) -> None:
        """One operation after the other, as long as the user is active and has a turn."""
        draw, parts, turn, scribe = self._draw, self._parts, self.turn, self._scribe
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
            try:
                answer = await call(key, intent)
            except trio_hs.HandlerSocketError as error:
                end = clock()
                recorder.failed.append(end - intended)
                recorder.errors.append(f"{type(error).__name__}: {error}")
                if scribe is not None:
                    scribe.failed(error, intent, begin, end, number)
                if isinstance(error, trio_hs.OperationalError):
                    self._meter.refused(error, end - begin)
                elif isinstance(error, trio_hs.ConnectionError):
                    await trio.sleep(PAUSE_AFTER_CONNECTION_ERROR)
            except trio.Cancelled:
                # Who is only told to stop does not come here: the run has ended, and has waited for the last ones long enough.
                end = clock()
                recorder.failed.append(end - intended)
                recorder.errors.append(UNANSWERED)
                if scribe is not None:
                    scribe.cancelled(intent, begin, end, number)
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
        """Count the next operation, which should have started then, as one that never was."""
        recorder = self._recorders[self._draw()[0]]
        recorder.failed.append(time.monotonic_ns() - intended)
        recorder.errors.append(NOT_STARTED)
