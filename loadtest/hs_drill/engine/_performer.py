"""What a user does: it carries out what is drawn, and notes what became of it. The hot path of the load engine."""

from __future__ import annotations

import bisect
import time
import weakref
from collections.abc import Callable, Iterator, Mapping

import trio

import trio_hs
from hs_drill.metrics import NOT_STARTED, NOT_THERE, UNANSWERED
from hs_drill.store import Operation
from hs_drill.workload import Drawn

from ._bound_operations import BoundOperation, Call, Intent
from ._meter import Meter
from ._pace import Turn, User
from ._scribe import Scribe

__all__ = ["Performer", "Taken"]

PAUSE_AFTER_CONNECTION_ERROR = 0.01
"""Seconds. A client that has no server left fails at once; users would then count errors instead of waiting for one."""


class Recorder:
    """Where what one operation does is appended. An operation keeps the one that was there when it began until it ends: while
    one is alive, more may come."""

    __slots__ = ("__weakref__", "errors", "failed", "ok")

    def __init__(self, tally: _Tally) -> None:
        self.ok, self.failed, self.errors = tally.ok, tally.failed, tally.errors


class _Tally:
    """What became of one operation of a generation since the last batch. The hot path only appends."""

    def __init__(self) -> None:
        self.ok: list[int] = []
        """Nanoseconds."""
        self.failed: list[int] = []
        self.errors: list[str] = []
        """Why each of these failed."""
        self._recorder: weakref.ref[Recorder] | None = None

    @property
    def recorder(self) -> Recorder:
        """The one that appends to this."""
        recorder = None if self._recorder is None else self._recorder()
        if recorder is None:
            recorder = Recorder(self)
            self._recorder = weakref.ref(recorder)
        return recorder

    @property
    def final(self) -> bool:
        """Whether nobody is left who may append."""
        return self._recorder is None or self._recorder() is None

    def take(self) -> Taken:
        """One by one, in the order of their ends: the nanoseconds of what succeeded and of what failed, and why that did. The
        tally begins anew."""
        taken = list(self.ok), list(self.failed), list(self.errors)
        self.ok.clear()
        self.failed.clear()
        self.errors.clear()
        return taken


Taken = tuple[list[int], list[int], list[str]]
_Parts = tuple[Recorder, BoundOperation, Call, Operation, Callable[[int], None]]


class Performer:
    """Users' common part: `draw` says what comes next, `turn` when, where it is not at once; `scribe` keeps the history, if
    there is one, and `meter` counts refusals by server.

    What operations do is told apart by the generation in which they began (or should have begun). `cut` begins a new one.
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
        """By generation: those of the newest, and those in which something may still come to its end."""
        # What the hot path needs of each operation: to look these up there was measured to be a fifth of its own time.
        self._parts: dict[str, _Parts] = {}
        self._draw = draw
        self.turn = turn
        self._scribe = scribe
        self._meter = meter
        self.cut()

    def cut(self) -> None:
        """Count what begins from now on as another generation. Costs the hot path nothing: each operation looks its recorder
        up when it begins."""
        self._cuts.append(time.monotonic_ns())
        self._tallies[len(self._cuts) - 1] = tallies = {name: _Tally() for name in self._bound}
        for name, bound in self._bound.items():
            recorder = tallies[name].recorder
            self._parts[name] = recorder, bound, bound.call, bound.operation, recorder.ok.append

    def take(self) -> Iterator[tuple[int, int | None, dict[str, Taken]]]:
        """What has ended since the last time, by generation, the oldest first: since when and until when its operations began,
        in nanoseconds of the monotonic clock, and what each did. The newest is there in any case, with None for its end."""
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
                if intended < cuts[-1]:  # it is of the load of then: its latency counts from there
                    recorder = self._recorder_at(name, intended)
                    succeeded = recorder.ok.append
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
        recorder = self._recorder_at(self._draw()[0], intended)
        recorder.failed.append(time.monotonic_ns() - intended)
        recorder.errors.append(NOT_STARTED)
