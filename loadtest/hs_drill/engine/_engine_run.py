"""One run in the engine: puts its parts together, and sends batches of what its users did."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial

import trio

import trio_hs
from hs_drill._trio_child import TrioChannel
from hs_drill._wire import Message
from hs_drill.metrics import Batch, Begun, OperationBatch, collapse, total_of
from hs_drill.store import HistoryWriter
from hs_drill.workload import operations

from ._arrivals import Arrivals, Course
from ._audited_rows import AuditedRows
from ._binding import Numbers
from ._bound_operations import bind
from ._closed_loop import ClosedLoop
from ._lag import LagSampler
from ._meter import Meter
from ._open_loop import OpenLoop
from ._pace import turn_of
from ._performer import Performer
from ._row_operations import DeclaredOperations, DrillOperations
from ._server_names import in_names
from ._setup import Client, PrimaryClients, Setup
from ._tallies import Taken
from ._user_code import UserCode
from ._user_loop import Users
from ._user_results import UserResults

__all__ = ["EngineRun"]

BATCH_SECONDS = 0.25
GATHER_SECONDS = 0.02
"""How often to count finished operations. Counting a whole batch at once would block the event loop for 2 ms at 100,000
operations a second. In an open loop near its limit, each such pause adds many times its length to latencies."""


class EngineRun:
    """One run: its users, and the batches of what they did."""

    def __init__(
        self,
        channel: TrioChannel,
        nursery: trio.Nursery,
        users: trio.CancelScope,
        hs: Client,
        users_hs: trio_hs.Manager | None,
        primary: PrimaryClients | None,
        setup: Setup,
        start: Message,
        history: HistoryWriter | None,
        meter: Meter,
    ) -> None:
        self._channel = channel
        self._nursery = nursery
        self._log, self._names = setup.log, setup.names
        self._meter = meter
        self._scribe = scribe = setup.scribe(history)
        elapsed: float = start.get("elapsed", 0.0)
        self._each = setup.each
        self._worker, self._lag = setup.worker, LagSampler()
        scenario, worker = setup.scenario, setup.worker
        reads = None if primary is None else primary.reads
        writes = Numbers(scenario, start["run"], worker)
        bound = bind(hs.table, scenario, setup.rows, writes, as_=setup.as_, primary=reads)
        rng, load = random.Random(f"{scenario.seed}/{worker}/pace"), scenario.load
        draw = operations(scenario, worker).__next__
        self._performer = performer = Performer(bound, draw, turn_of(load, rng), scribe, meter)
        numbers = itertools.count()
        self._loop: ClosedLoop | OpenLoop = ClosedLoop(performer, nursery, numbers)
        if load.open:
            began = time.monotonic_ns() - int(elapsed * 1e9)
            arrivals = Arrivals(Course(load.course()), load.arrivals, rng, began)
            self._loop = OpenLoop(performer, arrivals, load, nursery)
        shared = None
        if users_hs is not None:
            rows = None
            if scribe is not None and not scenario.table.existing:
                kind = DeclaredOperations if scenario.table.declared else DrillOperations
                rows = partial(AuditedRows, kind(hs.table, scenario, setup.rows, writes, setup.as_, reads), scribe)
            results = UserResults(performer.tallies, setup.user_files, meter, lambda: users.cancel_called)
            shared = Users(scenario, worker, users_hs, results, numbers, history, rows, start.get("tasks", {}))
        self._code = UserCode(setup, shared, nursery)
        self._clients = [hs, *([] if users_hs is None else [users_hs]), *(() if primary is None else primary.clients)]
        # One offset for the whole run, like in the histories: the wall clock may be adjusted meanwhile.
        self._wall_offset = time.time() - time.monotonic()
        self._batch_start = self._now()
        self._warm_at = self._batch_start + load.warm_up - elapsed
        self._load_end: float | None = None
        self._retries = 0
        self._gathered: dict[int, tuple[int | None, dict[str, OperationBatch]]] = {}
        """The current batch, by when each generation began: when it ended, and its operations, in microseconds."""
        self._gathered_each: dict[str, Taken] = {}
        self._unsent: list[Message] = []
        self._finished = trio.Event()
        self._marked = trio.Event()
        self._suspension = trio.CancelScope()

    def _now(self) -> float:
        return time.monotonic() + self._wall_offset

    def set_users(self, count: int, code: Mapping[str, int]) -> None:
        """Set how many users execute the mix, and how many there are of each class of users in Python."""
        self._loop.set_users(count)
        self._code.set_users(code)

    def stop(self) -> None:
        """Start no more operations, except those of an open loop that have arrived already."""
        self._loop.stop()
        self._code.stop()
        self.mark()
        self._load_end = self._batch_start

    def mark(self) -> None:
        """End the batch, and begin a new generation: a fault is about to change, or has changed."""
        self._performer.cut()
        self._code.cut()
        self._end_batch()
        self._marked.set()

    def finish(self) -> None:
        """Have `report_until_finished` send the last batch. All users have ended."""
        self._loop.abandon()
        self._finished.set()
        self._marked.set()

    def suspend(self, number: int) -> None:
        """Close every connection, and make users wait until `resume`."""
        self.resume()
        self._suspension = trio.CancelScope()
        self._nursery.start_soon(self._suspend, number, self._suspension)

    def resume(self) -> None:
        self._suspension.cancel()

    async def _suspend(self, number: int, suspension: trio.CancelScope) -> None:
        with suspension:
            async with AsyncExitStack() as closed:
                for client in self._clients:
                    await closed.enter_async_context(client.suspended())
                with trio.CancelScope(shield=True):  # after half a message Locust could not read any more
                    await self._channel.send({"type": "suspended", "number": number})
                await trio.sleep_forever()

    async def report_until_finished(self) -> None:
        """Send batches, and a last one after `finish`; none during the warm-up."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._lag.run)
            nursery.start_soon(self._gather_often)
            nursery.start_soon(self._code.watch)
            await self._send_batches()
            nursery.cancel_scope.cancel()

    async def _send_batches(self) -> None:
        while not self._finished.is_set():
            # Batches end on quarters of the wall clock's second, so that each belongs to one second.
            now = self._now()
            until = (math.floor(now / BATCH_SECONDS) + 1) * BATCH_SECONDS
            self._marked = trio.Event()
            with trio.move_on_after((min(until, self._warm_at) if now < self._warm_at else until) - now):
                await self._marked.wait()
            if not self._marked.is_set():
                self._end_batch()
            await self._send()
        self._end_batch()
        await self._send()

    async def _gather_often(self) -> None:
        while True:
            await trio.sleep(GATHER_SECONDS)
            self._gather()

    def _gather(self) -> None:
        """Count the operations that have ended since the last time."""
        for since, until, taken in self._performer.take():
            _, counted = self._gathered.get(since, (None, {}))
            self._gathered[since] = until, counted
            for name, one in taken.items():
                counted.setdefault(name, OperationBatch()).count(*one)
                if self._each:
                    self._gathered_each[name] = self._append_each(self._gathered_each.get(name, ([], [], [])), one)

    def _end_batch(self) -> None:
        """End the current batch, for `_send`, and begin the next one."""
        if self._scribe is not None:
            self._scribe.flush()
            self._scribe.answered(self._meter.take_answered(everything=self._finished.is_set()))
        end = self._now()
        self._gather()
        gathered, self._gathered = self._gathered, {}
        each, self._gathered_each = self._gathered_each, {}
        begun: list[Begun] = []
        for since, (until, by_name) in sorted(gathered.items()):
            done = {name: self._with_names(one) for name, one in by_name.items() if one}
            begun.append(
                Begun(since / 1e9 + self._wall_offset, end if until is None else until / 1e9 + self._wall_offset, done)
            )
        statistics = [client.statistics() for client in self._clients]
        before, self._retries = self._retries, sum(one.retries for one in statistics)
        retries, standings = self._retries - before, self._meter.standings(*statistics)
        operations = total_of(begun)
        servers, engines = self._meter.take(), {self._worker: self._lag.take()}
        batch = Batch(self._batch_start, end, operations, servers, standings, retries, begun, self._load_end, engines)
        counted = self._batch_start >= self._warm_at
        self._batch_start = end
        self._unsent += [{**line, "line": in_names(line["line"], self._names)} for line in self._log.take()]
        if counted and each:
            self._unsent.append({"type": "each", "operations": each})
        if counted:
            self._unsent.append({"type": "batch", **batch.to_wire()})

    async def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        for message in unsent:
            await self._channel.send(message)

    def _append_each(self, before: Taken, more: Taken) -> Taken:
        """Both together, `more` converted to microseconds and servers' names: for Locust's listeners."""
        (ok, failed, errors), (more_ok, more_failed, more_errors) = before, more
        return (
            [*ok, *(latency // 1000 for latency in more_ok)],
            [*failed, *(latency // 1000 for latency in more_failed)],
            [*errors, *(in_names(message, self._names) for message in more_errors)],
        )

    def _with_names(self, counted: OperationBatch) -> OperationBatch:
        errors: Counter[str] = Counter()
        for message, count in counted.errors.items():
            errors[in_names(message, self._names)] += count
        return OperationBatch(collapse(counted.ok), collapse(counted.failed), errors)
