"""Simulated tasks of a user's program. They call every operation of the client, with deadlines and cancellations, and record
the outcomes in the model.

Longer than most modules because it has a method for each operation.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

import trio

import trio_hs
from trio_hs import Filter, FindModify, FindOperation, Insert, Manager, ReadSocket, WriteSocket
from trio_hs._protocol import Value

from .model import Model, Row
from .topology import GROUPS, Topology

DONE: Final = "done"
FAILED: Final = "failed"
DOUBTED: Final = "in doubt"


@dataclass
class Clients:
    """What the tasks share."""

    manager: Manager
    reader: ReadSocket | None
    writer: WriteSocket | None


@dataclass(frozen=True)
class Outcome:
    """How an operation ended: ``result`` is what it returned, ``error`` what it raised. Without either it was cancelled."""

    state: Literal["done", "failed", "in doubt"]
    result: Any = None
    error: trio_hs.HandlerSocketError | None = None


class SimulatedTask:
    """One task of the user's program, with rows of its own to write."""

    def __init__(
        self,
        number: int,
        clients: Clients,
        model: Model,
        topology: Topology,
        rng: random.Random,
        log: Callable[..., None],
        nursery: trio.Nursery,
    ) -> None:
        self.number = number
        self.clients = clients
        self.model = model
        self.topology = topology
        self.rng = rng
        self.log = log
        self.nursery = nursery
        self.next_key = number * 1000 + 1
        self.rows = [self._new_row() for _ in range(4)]
        for row in self.rows[:2]:  # these exist from the beginning
            row.done(row.next_value())

    def _new_row(self) -> Row:
        self.next_key += 1
        return self.model.new_row(self.next_key)

    async def run(self) -> None:
        actions, weights = zip(*_ACTIONS, strict=True)
        for _ in range(self.topology.operations):
            if self.rng.random() < 0.7:
                await trio.sleep(self.rng.expovariate(self.topology.operations / self.topology.fault_seconds))
            (action,) = self.rng.choices(actions, weights)
            if action in _LOW_LEVEL and not self.topology.low_level:
                action = SimulatedTask.get
            await action(self)

    # ---- one operation and its outcome

    async def perform(self, name: str, call: Callable[[], Awaitable[Any]], *, changes: bool, patience: float = 1.0) -> Outcome:
        """Executes an operation, sometimes with a deadline or cancelled in the middle, and checks how it ends."""
        epoch = self.model.losses
        limit = self.rng.uniform(0.0, 1.5) * self.topology.timeout if self.rng.random() < 0.12 else math.inf
        bound = self.topology.patience * patience
        passes = self.rng.randrange(15) if self.rng.random() < 0.12 else None
        started = trio.current_time()
        self.log("call", self.number, name)
        outcome = Outcome(DOUBTED)
        with trio.CancelScope(deadline=started + min(limit, bound)) as scope:
            if passes is not None:
                self.nursery.start_soon(_cancel_after, scope, passes)
            outcome = await self._outcome(name, call, changes)
        took = trio.current_time() - started
        if scope.cancelled_caught and passes is None and limit > bound:
            self.model.violated(f"{name} hung: no answer and no failure within {bound:.1f} s")
        if took > min(limit, bound) + 1e-6:
            self.model.violated(f"{name} took {took:.3f} s where the caller's deadline was {min(limit, bound):.3f} s")
        self.log("answer", self.number, name, outcome.state, outcome.result if outcome.error is None else str(outcome.error))
        if self.topology.calm and isinstance(outcome.error, trio_hs.ConnectionError):
            self.model.violated(f"{name} failed while nothing was wrong: {outcome.error}")
        if changes and outcome.state == DONE and epoch != self.model.losses:
            return Outcome(DOUBTED, outcome.result)  # acknowledged, and perhaps lost since
        return outcome

    async def _outcome(self, name: str, call: Callable[[], Awaitable[Any]], changes: bool) -> Outcome:
        try:
            return Outcome(DONE, await call())
        except trio_hs.ConnectionError as error:
            if error.maybe_applied and not changes:
                self.model.violated(f"{name}, a read, may have been applied: {error}")
            return Outcome(DOUBTED if error.maybe_applied else FAILED, error=error)
        except (trio_hs.DuplicateKeyError, trio_hs.ReadOnlyError) as error:
            if not changes:
                self.model.violated(f"{name}, a read, was refused: {error}")
            return Outcome(FAILED, error=error)
        except Exception as error:
            self.model.violated(f"{name} raised {error!r}")
            return Outcome(DOUBTED)

    # ---- reads

    def some_key(self) -> int:
        return self.rng.choice(list(self.model.rows)[-200:])

    def some_counter(self) -> int:
        return self.rng.choice(list(self.model.counters))

    async def get(self) -> None:
        hs, table, key, fields = self.clients.manager, "items", self.some_key(), self.rng.choice((["id", "grp", "v"], ["v"]))
        if self.rng.random() < 0.3:
            table, key, fields = "counters", self.some_counter(), self.rng.choice((["id", "n"], ["n"]))
        if self.rng.random() < 0.5:
            outcome = await self.perform(f"get {table} {key}", lambda: hs.get("sim", table, fields, key), changes=False)
        else:
            handle = hs.table("sim", table, fields)
            outcome = await self.perform(f"get {table} {key}", lambda: handle.get(key), changes=False)
        if outcome.state == DONE:
            self.check_row(table, key, outcome.result)

    def check_row(self, table: str, key: int, row: Any) -> None:
        if row:
            self.model.check_read(key, row)
        elif table == "counters":
            self.model.violated(f"the counter {key}, which was always there, was not found")

    async def get_many(self) -> None:
        # With few keys the client reads each by itself. With more it sends an IN list. Usually one is missing, sometimes none.
        keys = [self.some_key() for _ in range(self.rng.randint(1, 40))]
        if self.rng.random() < 0.3:
            keys = [self.rng.choice(keys)] * len(keys)
        handle = self.clients.manager.table("sim", "items", ["v", "grp"])
        outcome = await self.perform(f"get_many {keys}", lambda: handle.get_many(keys), changes=False)
        if outcome.state == DONE:
            if len(outcome.result) != len(keys):
                self.model.violated(f"get_many of {len(keys)} keys gave {len(outcome.result)} rows")
            for key, row in zip(keys, outcome.result, strict=False):
                self.check_row("items", key, row)

    async def find(self) -> None:
        """Rows by the secondary index, of a list of keys, or filtered."""
        hs, fields = self.clients.manager, ["id", "grp", "v"]
        group, key, limit = self.rng.randrange(GROUPS), self.some_key(), self.rng.randint(1, 8)
        keys = [self.some_key() for _ in range(3)]
        kind = self.rng.randrange(4)
        comparisons: tuple[FindOperation, ...] = (">=", "<", "<=", ">")
        comparison = self.rng.choice(comparisons)
        calls: Sequence[Callable[[], Awaitable[Any]]] = (
            lambda: hs.find("sim", "items", "=", fields, [group], "by_grp", limit),
            lambda: hs.find("sim", "items", comparison, fields, [group, key], "by_grp", limit, 1),
            lambda: hs.find("sim", "items", "=", fields, [""], in_=(0, keys)),
            lambda: hs.find("sim", "items", ">=", fields, [key], None, limit, filters=[Filter("grp", "=", group)]),
        )
        outcome = await self.perform(f"find {kind} {group} {key} {keys}", calls[kind], changes=False)
        if outcome.state != DONE:
            return
        for found in outcome.result:
            row = dict(found)
            number = int(row["id"])
            self.model.check_read(number, found)
            place = (int(row["grp"]), number)
            fits = (
                place[0] == group,
                {">=": place >= (group, key), ">": place > (group, key)}.get(comparison, place <= (group, key)),
                number in keys,
                number >= key and place[0] == group,
            )
            if not fits[kind]:
                self.model.violated(f"find {kind} of {group} {key} {keys} gave {row}")

    async def low_level_read(self) -> None:
        reader = self.clients.reader
        assert reader is not None
        keys = [self.some_key() for _ in range(self.rng.randint(1, 5))]

        async def call() -> Any:
            index = await reader.get_index_id("sim", "items", ["id", "v"])
            if len(keys) == 1:
                return [await reader.find(index, "=", keys)]
            return await reader.execute_many([trio_hs.Find(index, "=", [key]) for key in keys])

        outcome = await self.perform(f"socket.find {keys}", call, changes=False)
        for key, found in zip(keys, outcome.result or (), strict=False):
            if isinstance(found, trio_hs.ConnectionError) and not found.maybe_applied:
                continue
            if isinstance(found, Exception) or len(found) > 1:
                self.model.violated(f"socket.find {key} gave {found!r}")
            for values in found[:1]:
                self.model.check_read(key, zip(("id", "v"), values, strict=True))

    async def flood(self) -> None:
        """Many reads at once, most of which the client has to hold back."""
        keys = [self.some_key() for _ in range(8)] * 80
        handle = self.clients.manager.table("sim", "items", ["v"])
        # With NULL among them, each key is requested separately.
        outcome = await self.perform("flood", lambda: handle.get_many([None, *keys]), changes=False, patience=6.0)
        if outcome.state == DONE:
            for key, row in zip(keys, outcome.result[1:], strict=True):
                self.check_row("items", key, row)

    # ---- writes to rows of its own

    def own_row(self) -> Row:
        """One of this task's four rows. One with a write in doubt is usually replaced by a new row, whose state is certain."""
        position = self.rng.randrange(len(self.rows))
        if len(self.rows[position].possible) > 1 and self.rng.random() < 0.8:
            self.rows[position] = self._new_row()
        return self.rows[position]

    def repeats(self, operation: str) -> bool:
        return operation in self.topology.retry.repeat_writes

    def conclude(self, row: Row, value: str | None, outcome: Outcome, *, repeated: bool = False) -> None:
        """Record in the model the outcome of a write of ``value`` to the row."""
        if outcome.state == DONE:
            row.done(value, repeated=repeated)
        elif outcome.state == DOUBTED:
            row.doubted(value)
        elif not row.failed(value):
            self.model.violated(f"{value} was read, but its write had no effect: {outcome.error}")

    def expect(self, right: bool, what: str, row: Row, result: object) -> None:
        if not right:
            possible = sorted(map(str, row.possible))
            self.model.violated(f"{what} of row {row.key}, which may hold {' or '.join(possible)}, gave {result!r}")

    async def insert(self) -> None:
        row = self.own_row()
        value = row.next_value()
        fields: list[tuple[str, Value]] = [("id", row.key), ("grp", row.key % GROUPS), ("v", value)]
        writer = self.clients.writer
        low_level = writer is not None and self.rng.random() < 0.2

        async def low_level_call() -> Any:
            assert writer is not None
            index = await writer.get_index_id("sim", "items", ["id", "grp", "v"])
            return await writer.insert(index, [field for _, field in fields])

        hs = self.clients.manager
        outcome = await self.perform(
            f"insert {value}", low_level_call if low_level else lambda: hs.insert("sim", "items", fields), changes=True
        )
        repeated = self.repeats("insert") and not low_level
        self._inserted(row, value, outcome, repeated)

    def _inserted(self, row: Row, value: str, outcome: Outcome, repeated: bool = False) -> None:
        if outcome.state == DONE:
            self.expect(None in row.possible, "insert", row, outcome.result)
        if isinstance(outcome.error, trio_hs.DuplicateKeyError):
            self.expect(row.possible != {None}, "insert", row, outcome.error)
        self.conclude(row, value, outcome, repeated=repeated)

    async def insert_many(self) -> None:
        self.rows[2:] = [self._new_row(), self._new_row()]
        values = [row.next_value() for row in self.rows]
        lines: list[list[Value]] = [[row.key, row.key % GROUPS, value] for row, value in zip(self.rows, values, strict=True)]
        hs = self.clients.manager
        outcome = await self.perform(
            f"insert_many {values}", lambda: hs.insert_many("sim", "items", ["id", "grp", "v"], lines), changes=True
        )
        results = outcome.result or [None] * len(lines)
        for row, value, result in zip(self.rows, values, results, strict=True):
            each = outcome
            if outcome.state == FAILED:
                self.model.violated(f"insert_many raised {outcome.error!r}")
            if isinstance(result, trio_hs.ConnectionError):
                each = Outcome(DOUBTED if result.maybe_applied else FAILED, error=result)
            elif isinstance(result, (trio_hs.DuplicateKeyError, trio_hs.ReadOnlyError)):
                each = Outcome(FAILED, error=result)
            elif isinstance(result, Exception):
                self.model.violated(f"insert_many gave {result!r}")
            self._inserted(row, value, each)

    async def update(self) -> None:
        row = self.own_row()
        value = row.next_value()
        original = self.rng.random() < 0.4
        hs = self.clients.manager
        outcome = await self.perform(
            f"update {value}",
            lambda: hs.update("sim", "items", "=", ["v"], [row.key], [value], return_original=original),
            changes=True,
        )
        there = self._check_change("update", row, outcome, original)
        if there:
            self.conclude(row, value, outcome, repeated=self.repeats("update") and not original)
        else:
            row.failed(value)
            row.done(None, repeated=self.repeats("update"))

    async def delete(self) -> None:
        row = self.own_row()
        original = self.rng.random() < 0.4
        hs = self.clients.manager
        outcome = await self.perform(
            f"delete {row.key}",
            lambda: hs.delete("sim", "items", "=", ["v"], [row.key], return_original=original),
            changes=True,
        )
        self._check_change("delete", row, outcome, original)
        self.conclude(row, None, outcome, repeated=self.repeats("delete") and not original)

    def _check_change(self, what: str, row: Row, outcome: Outcome, original: bool) -> bool:
        """Whether the answer to a change fits what the row may have held; False when the row was not there."""
        if outcome.state != DONE:
            return True
        if original:
            before = [dict(found)["v"] for found in outcome.result] or [None]
            self.expect(len(before) == 1 and before[0] in row.possible, what, row, outcome.result)
            return before != [None]
        if outcome.result == 0:
            # The first of two attempts may have deleted it.
            self.expect(None in row.possible or (what == "delete" and self.repeats(what)), what, row, 0)
        else:
            self.expect(outcome.result == 1 and row.possible != {None}, what, row, outcome.result)
        return bool(outcome.result)

    # ---- counters, which all tasks change

    async def incr(self) -> None:
        hs = self.clients.manager
        key, step, up = self.some_counter(), self.rng.randint(1, 9), self.rng.random() < 0.7
        delta = step if up else -step
        original = self.rng.random() < 0.4
        change = hs.incr if up else hs.decr
        counter = self.model.counters[key]
        counter.begin(delta)
        outcome = await self.perform(
            f"incr {key} {delta}",
            lambda: change("sim", "counters", "=", ["n"], [key], [step], return_original=original),
            changes=True,
        )
        if outcome.state == DONE and original:
            if len(outcome.result) != 1 or not counter.may_be_read(int(outcome.result[0])):
                self.model.violated(f"incr of {key}, which may be {counter.bounds()}, found {outcome.result!r}")
        elif outcome.state == DONE and outcome.result != 1:
            self.model.violated(f"incr of {key} counted {outcome.result!r}")
        self._counted(key, delta, outcome)

    def _counted(self, key: int, delta: int, outcome: Outcome) -> None:
        if outcome.state == DONE:
            self.model.counters[key].done(delta)
        elif outcome.state == FAILED:
            self.model.counters[key].failed(delta)

    async def incr_several(self) -> None:
        """One request that changes several rows: all of them, or none."""
        keys = self.rng.sample(list(self.model.counters), 3)
        hs = self.clients.manager
        for key in keys:
            self.model.counters[key].begin(1)
        outcome = await self.perform(
            f"incr {keys}", lambda: hs.incr("sim", "counters", "=", ["n"], [""], in_=(0, keys)), changes=True
        )
        if outcome.state == DONE and outcome.result != len(keys):
            self.model.violated(f"incr of {keys} counted {outcome.result!r}")
        for key in keys:
            self._counted(key, 1, outcome)

    async def low_level_write(self) -> None:
        """A pipeline of an increment, an insert into a new row and an increment."""
        writer = self.clients.writer
        assert writer is not None
        key = self.some_counter()
        row = self.rows[0] = self._new_row()
        value = row.next_value()
        counter = self.model.counters[key]
        counter.begin(1)
        counter.begin(2)

        async def call() -> Any:
            items = await writer.get_index_id("sim", "items", ["id", "grp", "v"])
            counters = await writer.get_index_id("sim", "counters", ["n"])
            if counters == items:
                raise AssertionError("two indexes of one number")
            return await writer.execute_many(
                [
                    FindModify(counters, "=", [key], "+", [1]),
                    Insert(items, [row.key, row.key % GROUPS, value]),
                    FindModify(counters, "=", [key], "+?", [2]),
                ]
            )

        outcome = await self.perform(f"socket.execute_many {key} {value}", call, changes=True)
        results = outcome.result or [None] * 3
        each = [self._each(outcome, result) for result in results]
        self._counted(key, 1, each[0])
        self._inserted(row, value, each[1])
        self._counted(key, 2, each[2])

    def _each(self, outcome: Outcome, result: object) -> Outcome:
        if isinstance(result, trio_hs.ConnectionError):
            return Outcome(DOUBTED if result.maybe_applied else FAILED, error=result)
        if isinstance(result, trio_hs.ReadOnlyError):
            return Outcome(FAILED, error=result)
        if isinstance(result, Exception):
            self.model.violated(f"a request of a pipeline gave {result!r}")
        return outcome

    # ---- the rest

    async def renew(self) -> None:
        """Purges, suspends, or looks at the statistics."""
        hs, reader = self.clients.manager, self.clients.reader
        choice = self.rng.randrange(5)
        if choice == 0:
            await hs.purge()
        elif choice == 1 and reader is not None:
            await reader.purge_indexes()
        elif choice == 2 and reader is not None:
            index = await reader.get_index_id("sim", "items", ["id", "v"])
            with suppress(ValueError):  # another task may have purged it in between
                await reader.purge_index(index)
        elif choice == 3:
            self.log("suspending", self.number)
            with trio.move_on_after(self.topology.patience) as scope:
                async with hs.suspended():
                    await trio.sleep(self.rng.uniform(0, 0.2))
            if scope.cancelled_caught:
                self.model.violated("suspended() hung")
        else:
            hs.statistics()
            repr(hs)


async def _cancel_after(scope: trio.CancelScope, passes: int) -> None:
    """Cancels after this many passes of the scheduler, even if no virtual time passes."""
    for _ in range(passes):
        await trio.lowlevel.checkpoint()
    scope.cancel()


_LOW_LEVEL = {SimulatedTask.low_level_read, SimulatedTask.low_level_write}
_ACTIONS: Sequence[tuple[Callable[[SimulatedTask], Awaitable[None]], int]] = [
    (SimulatedTask.get, 20),
    (SimulatedTask.get_many, 8),
    (SimulatedTask.find, 10),
    (SimulatedTask.low_level_read, 6),
    (SimulatedTask.insert, 8),
    (SimulatedTask.insert_many, 4),
    (SimulatedTask.update, 12),
    (SimulatedTask.delete, 5),
    (SimulatedTask.incr, 20),
    (SimulatedTask.incr_several, 4),
    (SimulatedTask.low_level_write, 4),
    (SimulatedTask.renew, 2),
]
