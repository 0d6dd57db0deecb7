"""Ctrl-C, to a process of Locust: the first one ends it in order, and those that follow must not cost the run its verdict.

Imports nothing that takes time: `hs-drill` needs the exit code before it knows what else it needs.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from hs_drill._exit_codes import ExitCode
from hs_drill.store import analyze_command

__all__ = ["Interrupts"]

IGNORED = 2
"""So many are ignored behind the first: who presses twice, or whose `make` passes each on once more, has not given up."""
PATIENCE = 30.0
"""Seconds after which none is ignored."""


def _end_process() -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ExitCode.INTERRUPTED)  # what it has started ends with it, as when it is killed


class Interrupts:
    """What each Ctrl-C means.

    The first calls `end`, which is to end the process in order. While that goes on, or after `ending` has said that it does, a
    further one is answered with a line and ignored; but not for ever: the third of them, or one after half a minute, ends the
    process at once.
    """

    def __init__(
        self,
        end: Callable[[], object],
        end_at_once: Callable[[], object] = _end_process,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._end = end
        self._end_at_once = end_at_once
        self._clock = clock
        self._since: float | None = None
        self._further = 0
        self.doing = "ending"
        """What takes so long."""
        self.kept: str | None = None
        """The directory of the run, if one has begun."""
        self.judged = False
        """Whether its verdict has been told."""
        self.quiet = False
        """Whether another process does the talking."""

    def ending(self) -> None:
        """The process ends, for whatever reason."""
        if self._since is None:
            self._since = self._clock()

    def take(self) -> None:
        """There was one."""
        if self._since is None:
            self.ending()
            self._end()
            return
        self._further += 1
        if self._further > IGNORED or self._clock() - self._since > PATIENCE:
            self._tell(self._given_up())
            self._end_at_once()
            return
        more = "once" if self._further == IGNORED else "twice"
        kept = f"; the run is kept in {self.kept}" if self.kept is not None else ""
        self._tell(f"finishing: {self.doing}{kept} (Ctrl-C {more} more ends this at once)")

    def _given_up(self) -> str:
        if self.kept is None:
            return f"given up: {self.doing}"
        if self.judged:
            return f"given up: {self.doing}; the run is kept in {self.kept}"
        return f"given up without a verdict: the run is kept in {self.kept}; to judge it: {analyze_command(self.kept)}"

    def _tell(self, line: str) -> None:
        if not self.quiet:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
