"""What a user does: executes the operations that are drawn, and records their results. The engine's hot path."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import trio

import trio_hs
from hs_drill.metrics import NOT_STARTED, NOT_THERE, UNANSWERED
from hs_drill.workload import Drawn

from ._bound_operations import BoundOperation, Call, Intent
from ._meter import Meter
from ._pace import Turn, User
from ._scribe import Scribe
from ._tallies import Recorder, Tallies

__all__ = ["PAUSE_AFTER_CONNECTION_ERROR", "Performer"]

PAUSE_AFTER_CONNECTION_ERROR = 0.01
"""Seconds. A client without any server fails at once, and users would do nothing but count errors."""


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
        self.tallies = Tallies()
        self.take = self.tallies.take
        # What the hot path needs of each operation. Looking these up there was measured to take a fifth of its time.
        self._parts: dict[str, _Parts] = {}
        self._draw = draw
        self.turn = turn
        self._scribe = scribe
        self._meter = meter
        self._look_up()

    def cut(self) -> None:
        """Begin a new generation of operations. Costs the hot path nothing: each operation looks up its recorder when it
        begins."""
        self.tallies.cut()
        self._look_up()

    def _look_up(self) -> None:
        for name, bound in self._bound.items():
            recorder = self.tallies.recorder(name)
            self._parts[name] = recorder, bound, bound.call, bound.code, recorder.ok.append

    async def perform(self, user: User) -> None:
        """One operation after the other, as long as the user is active and has a turn."""
        draw, parts, turn, scribe, cuts = self._draw, self._parts, self.turn, self._scribe, self.tallies.cuts
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
                    recorder = self.tallies.recorder_at(name, intended)
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
        recorder = self.tallies.recorder_at(self._draw()[0], intended)
        recorder.failed.append(time.monotonic_ns() - intended)
        recorder.errors.append(NOT_STARTED)
