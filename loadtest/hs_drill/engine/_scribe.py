"""Writes the history of an engine's users. Decides the outcome of each operation, and which reads to keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import trio_hs
from hs_drill.metrics import NOT_THERE
from hs_drill.store import ANOTHER, ANSWERED_WRITES, READS, HistoryWriter, Outcome
from hs_drill.workload import UNSEEN

from ._bound_operations import BoundOperation, Intent
from ._server_names import server_of

__all__ = ["Scribe", "outcome_of"]

CANCELLED = "cancelled"


def outcome_of(error: trio_hs.HandlerSocketError) -> Outcome:
    """The outcome of a write of one row that failed with this error."""
    match error:
        case trio_hs.OperationalError():
            # A refusal is certain, except from a FEDERATED table, which may lose its remote server midway.
            return Outcome.INFO if isinstance(error, trio_hs.RemoteTableError) else Outcome.FAIL
        case trio_hs.ConnectionError():
            return Outcome.INFO if error.maybe_applied else Outcome.FAIL
        case _:
            return Outcome.INFO


class Scribe:
    """Keeps every write, every failed read, and the share `reads` (0 to 1) of the other reads.

    `names` are the servers' names by address. The client names the server only in errors, so only failures have one. Which
    servers answered writes at all, and when, is in events.
    """

    def __init__(self, history: HistoryWriter, reads: float, names: Mapping[str, str]) -> None:
        self._history = history
        self._append = history.append
        self._share = reads
        self._names = names
        self._due = 0.0

    def flush(self) -> None:
        """Write buffered operations to the file."""
        self._history.flush()

    def answered(self, servers: Iterable[tuple[str, int, int]]) -> None:
        """Servers answered on connections for writes, each from its first to its last answer."""
        for name, first, last in servers:
            self._history.event(ANSWERED_WRITES, name, first=first, last=last)

    def succeeded(self, bound: BoundOperation, intent: Intent, answer: Any, start: int, end: int, user: int) -> None:
        """The operation succeeded."""
        if bound.observe is None:
            self._append(intent.operation, Outcome.OK, intent.key, intent.value, start, end, user, delay=intent.delay)
            return
        self._due += self._share
        if self._due >= 1:
            self._due -= 1
            key, version, n = bound.observe(intent.key, answer)
            self._append(intent.operation, Outcome.OK, key, version, start, end, user, n=n, delay=intent.delay)

    def not_there(self, bound: BoundOperation, intent: Intent, answer: Any, start: int, end: int, user: int) -> None:
        """There is no such row: nothing was changed."""
        value = intent.value
        if bound.observe is not None:
            # Not into the intent, which is the user's next write's too: a delete has no value of its own.
            intent.key, value, _ = bound.observe(intent.key, answer)
        self._failed(Outcome.FAIL, NOT_THERE, intent, value, start, end, user)

    def failed(self, error: trio_hs.HandlerSocketError, intent: Intent, start: int, end: int, user: int) -> None:
        """The client raised an error."""
        reads = intent.operation in READS
        outcome = Outcome.FAIL if reads else outcome_of(error)
        value = UNSEEN if reads else intent.value
        self._failed(outcome, type(error).__name__, intent, value, start, end, user, server_of(error, self._names))

    def cancelled(self, intent: Intent, start: int, end: int, user: int) -> None:
        """The operation was cancelled before its answer arrived."""
        reads = intent.operation in READS
        value = UNSEEN if reads else intent.value
        self._failed(Outcome.FAIL if reads else Outcome.INFO, CANCELLED, intent, value, start, end, user)

    def _failed(
        self, outcome: Outcome, kind: str, intent: Intent, value: int, start: int, end: int, user: int, name: str = ""
    ) -> None:
        error = self._history.error(kind)
        server = self._history.server(name) if name else ANOTHER
        key = intent.key if isinstance(intent.key, int) else intent.key[0]
        delay = intent.delay
        self._append(intent.operation, outcome, key, value, start, end, user, delay=delay, error=error, server=server)
