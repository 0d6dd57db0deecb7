"""Ctrl-C in a process of Locust. The first one ends it cleanly. Further ones must not cost the run its verdict."""

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
"""How many Ctrl-C to ignore after the first: users press it twice, and `make` sends each a second time."""
PATIENCE = 30.0
"""Seconds after the first Ctrl-C. Later ones are not ignored."""


def _end_process() -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ExitCode.INTERRUPTED)  # our children end with us, as when we are killed


class Interrupts:
    """Decides what each Ctrl-C does.

    The first one calls `end`, which must end the process cleanly. While the process is ending, for that reason or another
    (see `ending`), a further one only prints a line. The third of those, or one after half a minute, ends the process at once.
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
        self.came = False
        """Whether a Ctrl-C was the first to end the process."""
        self.hung_up = False
        """Whether the terminal was closed."""
        self._further = 0
        self.doing = "ending"
        """What the process is doing, for the lines."""
        self.kept: str | None = None
        """The directory of the run; None before the first."""
        self.judged = False
        """Whether its verdict has been printed."""
        self.quiet = False
        """Whether to print nothing, because another process does."""

    def ending(self) -> None:
        """Note that the process is ending, for whatever reason."""
        if self._since is None:
            self._since = self._clock()

    def take(self) -> None:
        """Handle one Ctrl-C."""
        if self._since is None:
            self.ending()
            self.came = True
            self._end()
            return
        self._further += 1
        if self._further > IGNORED or self._clock() - self._since > PATIENCE:
            self._print(self._last_words())
            self._end_at_once()
            return
        more = "once" if self._further == IGNORED else "twice"
        kept = f"; the run is kept in {self.kept}" if self.kept is not None else ""
        self._print(f"finishing: {self.doing}{kept} (Ctrl-C {more} more ends this at once)")

    def _last_words(self) -> str:
        if self.kept is None:
            return f"aborted: {self.doing}"
        if self.judged:
            return f"aborted: {self.doing}; the run is kept in {self.kept}"
        return f"aborted without a verdict: the run is kept in {self.kept}; to judge it: {analyze_command(self.kept)}"

    def _print(self, line: str) -> None:
        if not self.quiet:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
