"""What the code of users may do with rows of the scenario's table so that the audit knows of it: `self.rows`."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Iterator
from functools import partial
from typing import Any

import trio

import trio_hs
from hs_drill.scenario import Keys, OperationSpec, Scenario
from hs_drill.store import MixOperation, Operation
from hs_drill.workload import Rows, draw_keys, of_run, worker_of

from ._binding import Binding, BoundOperation, Intent, TableOf
from ._bound_reads import bind_read
from ._bound_writes import bind_insert, bind_update
from ._primary_reads import PrimaryReads
from ._scribe import Scribe

__all__ = ["ROW_OPERATIONS", "AuditedRows", "RowOperations"]

MOST_STEP = 1_000_000
COLUMNS = ("id", "grp", "n", "payload")
ROW_OPERATIONS = [
    MixOperation(Operation.GET, "get", Operation.GET, 0),
    MixOperation(Operation.INSERT, "insert", Operation.INSERT),
    MixOperation(Operation.UPDATE, "update", Operation.UPDATE, None, ("payload",)),
    MixOperation(Operation.DELETE, "delete", Operation.DELETE),
    MixOperation(Operation.INCR, "incr", Operation.INCR, 0),
]
"""For the header of a history. A mix's operations with these names do the same."""


class RowOperations:
    """The operations of an engine on the drill's own table, by a row's number. `numbers` and `versions` are shared with the
    mix: no two writes have the same."""

    def __init__(
        self,
        table_of: TableOf,
        scenario: Scenario,
        rows: Rows,
        run: int,
        worker: int,
        numbers: Iterator[int],
        versions: Iterator[int],
        primary: PrimaryReads | None = None,
    ) -> None:
        binding = Binding(table_of, scenario, rows, None)
        get = OperationSpec("get", "get", 1.0, columns=COLUMNS)
        read = partial(bind_read, spec=get, code=Operation.GET, latest=False, may_be_empty=False)
        update = OperationSpec("update", "update", 1.0, set=("payload",))
        # In the history it is the mix's operation of that name, so it goes where that one goes.
        of_primary = primary is not None and any(one.primary for one in scenario.operations if one.name == "get")
        self.get = primary.bound(binding, read) if primary is not None and of_primary else read(binding)
        self.insert = bind_insert(binding, Operation.INSERT, numbers, versions)
        self.update = bind_update(binding, update, Operation.UPDATE, versions)
        key, counter = binding.table(["id"]), binding.table(["n"])
        self.delete = BoundOperation(lambda number, _: key.delete("=", [number]), Operation.DELETE)

        def step(drawn: tuple[int, int], intent: Intent) -> Awaitable[Any]:
            number, intent.value = drawn
            return counter.incr("=", [number], [intent.value])

        self.incr = BoundOperation(step, Operation.INCR)
        self.loaded = scenario.table.rows
        keys = Keys() if scenario.keys.distribution == "latest" else scenario.keys  # by its number no row is the latest
        self.drawn = draw_keys(keys, self.loaded, random.Random(f"{scenario.seed}/{worker}/rows"), worker)
        self._run, self._worker = run, worker

    def has_inserted(self, number: int) -> bool:
        """Whether a row has a number of this engine's in this run. The audit relies on that no other deletes it."""
        return of_run(number, self._run) and worker_of(number) == self._worker


class AuditedRows:
    """Operations of one user on rows of the scenario's table, which the history records as it does the mix's.

    Rows have numbers: the loaded ones from 1 to `count`, an inserted one that which `insert` returned. The user is one session:
    it does one operation after the other. All raise `trio_hs.HandlerSocketError`, as the client does; after one with
    `maybe_applied` the audit allows both. What the audit could not follow raises ValueError or RuntimeError, and sends nothing.
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

    async def get(self, number: int) -> trio_hs.Row:
        """Read a row: pairs of column and text, or `[]` if it is not there."""
        self._require(_is_whole(number), number, "is the number of any row")
        row: trio_hs.Row = await self._execute(self._operations.get, number, number)
        return row

    async def insert(self) -> int:
        """Insert a row, and return its number."""
        intent = Intent()
        await self._execute(self._operations.insert, 0, 0, intent)
        return int(intent.key)

    async def update(self, number: int) -> bool:
        """Write a new payload into a row, a loaded one or one that this engine has inserted. Returns whether it is there."""
        self._require_written(number)
        return bool(await self._execute(self._operations.update, number, number))

    async def incr(self, number: int, step: int = 1) -> bool:
        """Add `step`, 1 to 1,000,000, to the counter `n` of such a row. Returns whether it is there."""
        self._require_written(number)
        if not _is_whole(step) or step > MOST_STEP:
            raise ValueError(f"the step of an incr must be a whole number from 1 to {MOST_STEP:,}, not {step!r}")
        return bool(await self._execute(self._operations.incr, number, (number, step)))

    async def delete(self, number: int) -> bool:
        """Delete a row that this engine has inserted in this run. Returns whether it was there."""
        self._require(_is_whole(number) and self._operations.has_inserted(number), number, "was inserted by this engine")
        return bool(await self._execute(self._operations.delete, number, number))

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
