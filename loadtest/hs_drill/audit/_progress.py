"""Says how far a long audit is."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Progress"]

QUIET_SECONDS = 2.0
"""Until the first line, and between two of them."""


class Progress:
    """`report` gets a line for the user, every two seconds. About so many `operations` there are."""

    def __init__(self, report: Callable[[str], None], operations: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._operations = operations
        self._clock = clock
        self._due = clock() + QUIET_SECONDS
        self._read = 0
        self._examined = 0

    def read(self, operations: int) -> None:
        """So many more were read."""
        self._read += operations
        self._tell(self._read, "read")

    def examined(self, operations: int) -> None:
        """So many more were examined. All were read by now."""
        self._examined += operations
        self._tell(self._examined, "examined")

    def _tell(self, done: int, what: str) -> None:
        if self._clock() >= self._due:
            self._report(f"audit: {done:,} of about {max(done, self._operations):,} operations {what}")
            self._due = self._clock() + QUIET_SECONDS
