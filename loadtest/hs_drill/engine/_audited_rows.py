"""What the code of users may do with rows of the scenario's table so that the audit knows of it: `self.rows`."""

from __future__ import annotations

import time
from typing import Any

import trio

import trio_hs

from ._binding import BoundOperation, Intent
from ._row_operations import RowOperations
from ._scribe import Scribe

__all__ = ["AuditedRows"]


class AuditedRows:
    """Operations of one user on rows of the scenario's table, which the history records as it does the mix's.

    Rows have numbers: the loaded ones from 1 to `count`, an inserted one that which `insert` returned. The user is one session:
    it does one operation after the other. All raise `trio_hs.HandlerSocketError`, as the client does; after one with
    `maybe_applied` the audit allows both. What the audit could not follow raises ValueError or RuntimeError, and sends nothing.

    On a table with columns of its own, operations are those of the scenario's mix: what they read, set or step is what it says.
    `operation` names one of them; it may be left out where the mix has only one of that kind.
    """

    def __init__(self, operations: RowOperations, scribe: Scribe, user: int) -> None:
        self.count = operations.loaded
        self._operations = operations
        self._scribe = scribe
        self._user = user
        self._busy = False

    def draw(self) -> int:
        """The number of a loaded row, drawn as the scenario's `keys` say; uniformly for `latest`."""
        return next(self._operations.drawn)

    def key(self, number: int) -> tuple[Any, ...]:
        """The values of a row's primary key."""
        self._require(_is_whole(number), number, "is that of a row")
        return self._operations.key(number)

    async def get(self, number: int, *, operation: str | None = None) -> trio_hs.Row:
        """Read a row: pairs of column and value, or `[]` if it is not there. Values of the harness's own table are text."""
        self._require(_is_whole(number), number, "is that of a row")
        bound = self._operations.named("get", operation)
        row: trio_hs.Row = self._operations.shown(bound, await self._execute(bound, number, number))
        return row

    async def insert(self, *, operation: str | None = None) -> int:
        """Insert a row, and return its number."""
        intent = Intent()
        await self._execute(self._operations.named("insert", operation), 0, 0, intent)
        return int(intent.key)

    async def update(self, number: int, *, operation: str | None = None) -> bool:
        """Write new values into a row, a loaded one or one that this engine has inserted. Returns whether it is there."""
        self._require_written(number)
        return bool(await self._execute(self._operations.named("update", operation), number, number))

    async def incr(self, number: int, step: int | None = None, *, operation: str | None = None) -> bool:
        """Add to a counter of such a row: to `n` of the harness's own table `step`, 1 to 1,000,000 and 1 if left out. Returns
        whether the row is there."""
        return await self._step("incr", number, step, operation)

    async def decr(self, number: int, *, operation: str | None = None) -> bool:
        """Subtract from a counter of such a row, unless it would change its sign. Not on the harness's own table."""
        return await self._step("decr", number, None, operation)

    async def _step(self, do: str, number: int, step: int | None, operation: str | None) -> bool:
        self._require_written(number)
        bound, drawn = self._operations.named(do, operation), self._operations.step(number, step)
        return bool(await self._execute(bound, number, drawn))

    async def delete(self, number: int, *, operation: str | None = None) -> bool:
        """Delete a row that this engine has inserted in this run. Returns whether it was there."""
        self._require(_is_whole(number) and self._operations.has_inserted(number), number, "was inserted by this engine")
        return bool(await self._execute(self._operations.named("delete", operation), number, number))

    def _require_written(self, number: int) -> None:
        known = _is_whole(number) and (number <= self.count or self._operations.has_inserted(number))
        self._require(known, number, "was loaded, or inserted by this engine")

    def _require(self, holds: bool, number: object, what: str) -> None:
        if not holds:
            raise ValueError(f"self.rows needs a number that {what}, as draw and insert return them, not {number!r}")

    async def _execute(self, bound: BoundOperation, number: int, drawn: Any, intent: Intent | None = None) -> Any:
        if self._busy:
            raise RuntimeError("self.rows is one session, and does one operation after the other")
        intent = intent or Intent()
        intent.operation, intent.key, self._busy = bound.code, number, True
        scribe, user, begin = self._scribe, self._user, time.monotonic_ns()
        try:
            answer = await bound.call(drawn, intent)
        except trio_hs.HandlerSocketError as error:
            scribe.failed(bound, error, intent, begin, time.monotonic_ns(), user)
            raise
        except trio.Cancelled:
            scribe.cancelled(bound, intent, begin, time.monotonic_ns(), user)
            raise
        finally:
            self._busy = False
        record = scribe.succeeded if answer else scribe.not_there
        record(bound, intent, answer, begin, time.monotonic_ns(), user)
        return answer


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number > 0
