"""The load engine: a child process of every Locust process that carries load, `python -m hs_drill.engine FD`.

Trio does not survive in a process that gevent has patched, so the load runs here, one task per Locust user in one
`trio_hs.open_manager`. FD is a socket to Locust's process; the messages are `_wire.py`'s.

Down: `setup` (cluster, scenario, worker; each: whether every operation is told), `start` (run; history, the path of the file
to write, or none; elapsed, the seconds since others have begun it), `users` (count), `suspend` (number) and `resume`, `mark`
(a fault is about to change, or has changed), `stop`. Up: `ready`, `each` (every operation since the last time), `batch` (a
`Batch`, every quarter of a second once it is warm, and at every mark), `suspended` (number: no connection is open, and users
wait), `log` (a warning or error of the client), `stopped` (after the last batch of the run), `fatal` (one line for the user;
the process then ends).
The process ends when the socket does, and on SIGTERM. It ignores SIGINT: Ctrl-C is Locust's business.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

import trio_hs
from hs_drill._addresses import read_address, write_address
from hs_drill._cluster import Cluster
from hs_drill._trio_child import TrioChannel, one_line
from hs_drill._wire import Message
from hs_drill.metrics import Batch, Begun, OperationBatch, collapse, total_of
from hs_drill.scenario import Scenario, to_be_promoted
from hs_drill.store import HistoryWriter
from hs_drill.workload import operations

from ._arrivals import Arrivals, Course
from ._bound_operations import bind
from ._closed_loop import ClosedLoop
from ._lag import LagSampler
from ._meter import Meter
from ._open_loop import OpenLoop
from ._pace import turn_of
from ._performer import Performer, Taken
from ._scribe import Scribe
from ._server_names import connections_told, in_names, names_of_servers
from ._sql_client import SqlClient, open_sql_client

Client = trio_hs.Manager | SqlClient

BATCH_SECONDS = 0.25
GATHER_SECONDS = 0.02
"""So often is counted what was done: to count all of a batch at once holds the event loop, for 2 ms at 100,000 a second. In an
open loop that is nearly as fast as it can be, each such pause is in the latencies of many times as long."""
TIMEOUT = 3.0
"""Seconds after which the client gives an unanswered request up."""


class _Log(logging.Handler):
    """Keeps what the client warns of until the next batch; of a flood, the beginning."""

    MAX = 100

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._kept: list[Message] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._kept) < self.MAX:
            self._kept.append({"type": "log", "level": record.levelno, "line": one_line(record.getMessage())})

    def take(self) -> list[Message]:
        kept, self._kept = self._kept, []
        return kept


class _Run:
    """The users of one run, and what they did."""

    def __init__(
        self,
        channel: TrioChannel,
        nursery: trio.Nursery,
        hs: Client,
        setup: _Setup,
        start: Message,
        scribe: Scribe | None,
        meter: Meter,
    ) -> None:
        self._channel = channel
        self._nursery = nursery
        self._hs = hs
        self._log, self._names = setup.log, setup.names
        self._meter = meter
        self._scribe = scribe
        elapsed: float = start.get("elapsed", 0.0)
        self._warm_up = setup.scenario.load.warm_up - elapsed
        self._each = setup.each
        self._worker, self._lag = setup.worker, LagSampler()
        scenario, worker = setup.scenario, setup.worker
        bound = bind(hs.table, scenario, run=start["run"], worker=worker)
        rng, load = random.Random(f"{scenario.seed}/{worker}/pace"), scenario.load
        draw = operations(scenario, worker).__next__
        mix = {name: bound[name] for name in scenario.mix.weights()}
        self._performer = performer = Performer(mix, draw, turn_of(load, rng), scribe, meter)
        self._loop: ClosedLoop | OpenLoop = ClosedLoop(performer, nursery)
        if load.open:
            began = time.monotonic_ns() - int(elapsed * 1e9)
            arrivals = Arrivals(Course(load.course()), load.arrivals, rng, began)
            self._loop = OpenLoop(performer, arrivals, load, nursery)
        self.set_users = self._loop.set_users
        # One difference for the whole run, as the histories have it: the wall clock may be put right meanwhile.
        self._wall = time.time() - time.monotonic()
        self._batch_start = self._now()
        self._warm = self._batch_start + self._warm_up
        self._load_end: float | None = None
        self._retries = 0
        self._gathered: dict[int, tuple[int | None, dict[str, OperationBatch]]] = {}
        """Of the current batch, by the beginnings of the generations: when each ended, and what was done, in microseconds."""
        self._gathered_each: dict[str, Taken] = {}
        self._unsent: list[Message] = []
        self._finished = trio.Event()
        self._marked = trio.Event()
        self._suspension = trio.CancelScope()

    def _now(self) -> float:
        return time.monotonic() + self._wall

    def stop(self) -> None:
        """Have no operation begin any more, but those of an open loop that have arrived."""
        self._loop.stop()
        self.mark()
        self._load_end = self._batch_start

    def mark(self) -> None:
        """End the batch here, and tell what began before from what begins after: a fault is about to change, or has changed."""
        self._performer.cut()
        self._end_batch()
        self._marked.set()

    def finish(self) -> None:
        """All users have ended: let `report_until_finished` send the last batch."""
        self._loop.abandon()
        self._finished.set()
        self._marked.set()

    def suspend(self, number: int) -> None:
        """Close every connection and hold the users, until `resume`."""
        self.resume()
        self._suspension = trio.CancelScope()
        self._nursery.start_soon(self._hold, number, self._suspension)

    def resume(self) -> None:
        self._suspension.cancel()

    async def _hold(self, number: int, suspension: trio.CancelScope) -> None:
        with suspension:
            async with self._hs.suspended():
                with trio.CancelScope(shield=True):  # half a message would be the last that Locust understands
                    await self._channel.send({"type": "suspended", "number": number})
                await trio.sleep_forever()

    async def report_until_finished(self) -> None:
        """Send batches, and a last one after `finish`; of the warm-up none."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._lag.run)
            nursery.start_soon(self._gather_often)
            await self._report_until_finished()
            nursery.cancel_scope.cancel()

    async def _report_until_finished(self) -> None:
        while not self._finished.is_set():
            # On quarters of the wall clock's second, so that a batch belongs to one second.
            now = self._now()
            until = (math.floor(now / BATCH_SECONDS) + 1) * BATCH_SECONDS
            self._marked = trio.Event()
            with trio.move_on_after((min(until, self._warm) if now < self._warm else until) - now):
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
        """Count what has ended since the last time."""
        for since, until, taken in self._performer.take():
            _, counted = self._gathered.get(since, (None, {}))
            self._gathered[since] = until, counted
            for name, one in taken.items():
                counted.setdefault(name, OperationBatch()).count(*one)
                if self._each:
                    self._gathered_each[name] = self._joined(self._gathered_each.get(name, ([], [], [])), one)

    def _end_batch(self) -> None:
        """End the current batch, for `_send`, and begin the next one."""
        if self._scribe is not None:
            self._scribe.flush()
        end = self._now()
        self._gather()
        gathered, self._gathered = self._gathered, {}
        each, self._gathered_each = self._gathered_each, {}
        begun: list[Begun] = []
        for since, (until, by_name) in sorted(gathered.items()):
            done = {name: self._done(one) for name, one in by_name.items() if one}
            begun.append(Begun(since / 1e9 + self._wall, end if until is None else until / 1e9 + self._wall, done))
        statistics = self._hs.statistics()
        retries, self._retries = statistics.retries - self._retries, statistics.retries
        standings = self._meter.standings(statistics)
        operations = total_of(begun)
        servers, engines = self._meter.take(), {self._worker: self._lag.take()}
        batch = Batch(self._batch_start, end, operations, servers, standings, retries, begun, self._load_end, engines)
        counted = self._batch_start >= self._warm
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

    def _joined(self, before: Taken, more: Taken) -> Taken:
        """For Locust's listeners, in microseconds."""
        (ok, failed, errors), (more_ok, more_failed, more_errors) = before, more
        return (
            [*ok, *(latency // 1000 for latency in more_ok)],
            [*failed, *(latency // 1000 for latency in more_failed)],
            [*errors, *(in_names(message, self._names) for message in more_errors)],
        )

    def _done(self, counted: OperationBatch) -> OperationBatch:
        errors: Counter[str] = Counter()
        for message, count in counted.errors.items():
            errors[in_names(message, self._names)] += count
        return OperationBatch(collapse(counted.ok), collapse(counted.failed), errors)


def reads_primary(cluster: Cluster) -> bool:
    """Whether whatever is read comes from the server that takes the writes: there is no other, perhaps under several names."""
    writer = cluster.writer
    others = [server for server in cluster.servers if server.name != writer.name]
    return all(one.sql_port is not None and (one.host, one.sql_port) == (writer.host, writer.sql_port) for one in others)


class _Setup:
    def __init__(self, message: Message, log: _Log) -> None:
        self.log = log
        self.cluster = Cluster.from_dict(message["cluster"])
        self.scenario = Scenario.model_validate(message["scenario"])
        self.worker: int = message["worker"]
        self.each: bool = message["each"]
        self.names = names_of_servers(self.cluster)

    @asynccontextmanager
    async def open_client(self, meter: Meter) -> AsyncIterator[Client]:
        readers = self.cluster.readers or (self.cluster.writer,)
        # A replica refuses writes until it is promoted; the client moves over by itself then.
        promoted = to_be_promoted(self.scenario.faults, [server.name for server in self.cluster.readers])
        standby = [self.cluster.standby] if self.cluster.standby else []
        writers = [self.cluster.writer, *standby, *(server for server in self.cluster.readers if server.name in promoted)]
        if self.scenario.driver.name == "sql":
            async with open_sql_client(readers, writers, self.scenario.driver.connections) as client:
                yield client
            return
        async with trio_hs.open_manager(
            [read_address(server) for server in readers],
            [[write_address(server)] for server in writers],
            timeout=TIMEOUT,
            write_databases=dict(self.cluster.write_databases),
            # A drill pauses the primary or cuts it off, and promotes. Nobody knows whether a user's own standby refuses writes.
            move_writes_on_silence=self.cluster.kind != "external",
            connect=meter.connect,
        ) as hs:
            yield hs

    @contextmanager
    def open_scribe(self, path: str | None, run: int) -> Iterator[Scribe | None]:
        """What keeps the history of a run that is kept: of one that is not audited only what became of connections."""
        if path is None:
            yield None
            return
        with HistoryWriter(Path(path), worker=self.worker, run=run, reads_primary=reads_primary(self.cluster)) as history:
            try:
                with connections_told(history, self.names):
                    yield Scribe(history, self.scenario.audit.reads, self.names) if self.scenario.audited else None
            except* trio.Cancelled:
                history.close()  # nothing is missing: every user has said what became of its last operation
                raise


class Engine:
    def __init__(self, channel: TrioChannel, nursery: trio.Nursery) -> None:
        self._channel = channel
        self._nursery = nursery
        self._log = _Log()
        logging.getLogger().addHandler(self._log)
        self._setup: _Setup | None = None
        self._run: _Run | None = None
        self._stop = trio.Event()
        self._ended = trio.Event()

    async def serve(self) -> None:
        """Until Locust is gone."""
        while (message := await self._channel.receive()) is not None:
            await self._obey(message)

    async def _obey(self, message: Message) -> None:
        match message["type"]:
            case "setup":
                self._setup = _Setup(message, self._log)
                await self._channel.send({"type": "ready"})
            case "start":
                assert self._setup is not None
                assert self._run is None
                self._stop, self._ended = trio.Event(), trio.Event()
                self._run = await self._nursery.start(self._carry_out, self._setup, message)
            case "users":
                if self._run is not None:
                    self._run.set_users(message["count"])
            case "suspend":
                if self._run is not None:
                    self._run.suspend(message["number"])
            case "resume":
                if self._run is not None:
                    self._run.resume()
            case "mark":
                if self._run is not None:
                    self._run.mark()
            case "stop":
                if self._run is not None:
                    self._stop.set()
                    await self._ended.wait()
                    self._run = None
                await self._channel.send({"type": "stopped"})
            case unknown:
                raise AssertionError(f"no such message: {unknown}")

    async def _carry_out(
        self,
        setup: _Setup,
        start: Message,
        task_status: trio.TaskStatus[_Run] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        with setup.open_scribe(start.get("history"), start["run"]) as scribe:
            meter = Meter(setup.names)
            async with setup.open_client(meter) as hs:
                async with trio.open_nursery() as reports:
                    with trio.CancelScope() as users:
                        async with trio.open_nursery() as nursery:
                            run = _Run(self._channel, nursery, hs, setup, start, scribe, meter)
                            reports.start_soon(run.report_until_finished)
                            task_status.started(run)
                            await self._stop.wait()
                            run.stop()
                            run.resume()
                            # An operation that waits for its first answer ends by the client's timeout. One that the client
                            # tries again may not; it is counted as failed then, as each that is under way.
                            users.deadline = trio.current_time() + TIMEOUT + 1
                    run.finish()
        self._ended.set()
