"""One run on servers that are up: its faults and its history, and after the load the read-back and the verdict."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import trio

from hs_drill._cluster import ClusterError
from hs_drill.metrics import write_latencies
from hs_drill.nemesis import Actions, Nemesis, Proxies, Strike, Suspended
from hs_drill.report import write_report
from hs_drill.scenario import Scenario
from hs_drill.servers import Control, CpuTime, FormerPrimary, Lapse, TableLock
from hs_drill.store import CONTROLLER, FORMER_PRIMARY, SEMISYNC_OFF, HistoryWriter, RunDirectory, environment
from hs_drill.verdict import judge_run

from ._before_image import keep_before_image
from ._existing import Existing
from ._read_back import read_back
from ._table import row_condition

__all__ = ["Drill", "DrillListener"]

logger = logging.getLogger("hs_drill.drill")

SETTLE_SECONDS = 60.0
"""Limit for replicas to catch up before they are read back."""
WATCH_SECONDS = 0.2
"""How often to look for servers that died."""


class DrillListener(Protocol):
    """Gets what a drill reports. Its methods are called from the drill's tasks and must not block."""

    def on_line(self, line: str) -> None:
        """A line for the user: what happens now, or what became of a fault."""

    def on_alarm(self, line: str) -> None:
        """A line for the user: a server died unexpectedly."""

    def on_fault(self, strike: Strike) -> None:
        """A fault begins on a server, or its strike has changed."""

    def on_primary(self, server: str) -> None:
        """The primary as the run begins, and after each promotion that it makes or sees."""

    def on_mark(self) -> None:
        """A fault is about to change, or has changed: the engines must begin a new batch, at once."""


class Drill:
    """A run from its first operation to its verdict.

    Args:
      control: the servers.
      proxies: empty if no fault is in the network.
      run: the run's number on these servers, from 1.
      suspended: suspends all clients for a block.
      listener: gets what the drill reports.
      existing: the table, if it is not the run's own. What the run may change in it is kept first.
    """

    def __init__(
        self,
        control: Control,
        proxies: Proxies,
        scenario: Scenario,
        run: int,
        *,
        suspended: Suspended,
        listener: DrillListener,
        existing: Existing | None = None,
    ) -> None:
        self.directory = RunDirectory.create(scenario)
        if control.by_command is not None:
            control.by_command.output.path = self.directory.commands
        self._control = control
        self._scenario = scenario
        self._listener = listener
        self._existing = existing if scenario.writes else None
        table = scenario.table
        self._hold = self.directory.hold() if self._existing is not None else None  # restore refuses meanwhile
        self._lock = TableLock(control.cluster.writer, table.database, table.name)
        self._workers: set[int] = set()
        self._begun = math.inf
        """When the load began, by `CLOCK_MONOTONIC`; inf until then."""
        self._cpu = CpuTime(control.cluster)
        self._servers_cpu: dict[str, dict[str, float]] = {}
        """What the servers took until the load was told to end; see `CpuTime.until_now`."""
        self._died: list[str] = []
        """A line for each server that died unexpectedly."""
        self._history = HistoryWriter(self.directory.history(CONTROLLER), worker=CONTROLLER, run=run)
        self._nemesis = Nemesis(
            control,
            Actions(
                control,
                (table.database, table.name),
                proxies,
                row=row_condition(scenario),
                suspended=suspended,
                on_promotion=self._on_promotion,
            ),
            scenario.faults,
            rng=random.Random(f"{scenario.seed}/{run}/faults"),
            report=self._on_strike,
            mark=listener.on_mark,
        )
        self._promoted = control.primary
        """The server of the last promotion in the history, or the first primary."""
        control.on_promotion = self._on_seen_promotion
        control.on_two_primaries = self._on_two_primaries
        control.on_seen = self._on_seen
        control.on_notice = listener.on_alarm
        self._scope = trio.CancelScope()
        self._healed = trio.Event()

    async def prepare(self, run: int) -> None:
        """Get ready for the first operation; after an earlier run, read the table first.

        Raises what `keep_before_image` raises. The drill is then over: another one may be tried.
        """
        try:
            await self._prepare(run)
        except BaseException:
            self._close()
            raise

    async def _prepare(self, run: int) -> None:
        await self._note_deaths()
        await self._control.require_primary()  # in the web UI hours may have passed since the table was filled
        self._listener.on_primary(self._control.primary)
        if self._existing is not None:
            await self._lock.take()
            await keep_before_image(self._control, self._existing, self.directory, run, self._listener.on_line)
        if run > 1 and self._scenario.audited:
            # What replicas have yet to apply of the last run must not count as staleness of this one.
            await self._settle()
            report = self._listener.on_line
            await read_back(self._control, self._control.primary, self._scenario, self.directory.before, report)

    def keep_environment(self, options: str) -> None:
        """Keep where the run happens, as it begins. `options`: see `store.environment`."""
        self.directory.write_environment(environment(self._control.cluster, options))

    async def begin_writing(self) -> None:
        """Keep, and report, that from now on the run may write to a table that is not its own."""
        if self._existing is not None:
            self._control.report_left(self._existing.left_by(self.directory.path))
            await trio.to_thread.run_sync(self.directory.begin_writing)

    async def run_faults(self) -> None:
        """Inject faults as scheduled and watch the servers, until `finish` or `abandon`; everything has healed then."""
        self._begun = time.monotonic()
        self._cpu = CpuTime(self._control.cluster)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch)
                    nursery.start_soon(self._control.watch)
                    await self._nemesis.run(math.inf)
        finally:
            self._healed.set()

    def end_load(self) -> None:
        """The load was told to end: no more faults strike."""
        self._nemesis.end_strikes()
        self._servers_cpu = self._cpu.until_now(self._control.cluster)

    async def _watch(self) -> None:
        while True:
            await self._note_deaths()
            await trio.sleep(WATCH_SECONDS)

    async def _note_deaths(self) -> None:
        """Report servers that died unexpectedly; such a run cannot pass."""
        await self._control.look_for_deaths()
        while self._control.deaths:
            death = self._control.deaths.pop(0)
            seconds = death.seen - self._begun
            when = f"{seconds:.1f} s after the start of the load" if seconds >= 0 else "before the load began"
            line = f"{death.server} died unexpectedly {when} ({death.ending})"
            if death.log:
                line += f"; its log is {self.directory.keep_log(death.server, death.log).name} in the run's directory"
            self._died.append(line)
            self._history.event("death", death.server, ending=death.ending)
            self._listener.on_alarm(line)

    def take_part(self, worker: int) -> None:
        """A worker may write from now on. Its history must be there at the end, even if it never reports."""
        self._workers.add(worker)

    def count(self, worker: int, batch: Mapping[str, Any]) -> None:
        """Keep the batch of a worker's engine."""
        self._workers.add(worker)
        self.directory.add_batch(batch)

    async def abandon(self) -> None:
        """End the run without a verdict: heal, and close its files."""
        await self._heal()
        self._close()

    async def _heal(self) -> None:
        self._scope.cancel()
        await self._healed.wait()
        await self._note_deaths()
        self.directory.close_batches()
        self._release()

    def _close(self) -> None:
        self._control.on_promotion = lambda server, seen, otherwise: None
        self._control.on_two_primaries = lambda old, new, since, until: None
        self._control.on_seen = lambda seen: None
        self._history.close()
        self._release()

    def _release(self) -> None:
        if self._hold is not None:
            self._hold.release()
        self._lock.release()

    async def finish(
        self,
        lost: Sequence[int] = (),
        died: Sequence[str] = (),
        ran: float | None = None,
        ended_by: str | None = None,
        others: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """End the run after its last operation: heal, read back, judge. Returns what `result.json` holds.

        For the arguments see `judge_run`.
        """
        if any(strike.end is None for strike in self._nemesis.strikes):
            self._listener.on_line("healing")
        await self._heal()
        try:
            unread = await self._read_all_back() if self._scenario.audited else []
            await self._control.end_watch()
        finally:
            self._close()  # not before: reading back may show promotions
        self._listener.on_line("judging")
        result = await trio.to_thread.run_sync(
            lambda: judge_run(
                self.directory,
                workers=self._workers,
                lost=lost,
                troubles=[*self._troubles(), *unread],
                died=died,
                ran=ran,
                ended_by=ended_by,
                others=others,
                report=lambda line: trio.from_thread.run_sync(self._listener.on_line, line),
            )
        )
        result["faults"] = [vars(strike) for strike in self._nemesis.strikes]
        result["primary"] = self._control.primary
        result["servers_cpu"] = self._servers_cpu
        self.directory.write_result(result)
        await trio.to_thread.run_sync(self._write_views, result)
        return result

    def _write_views(self, result: dict[str, Any]) -> None:
        try:
            write_latencies(self.directory.latencies, self.directory.batches())
            write_report(self.directory, result)
        except Exception:  # the run keeps its verdict even without a report
            logger.exception("cannot write the report or the table of latencies")

    def _troubles(self) -> list[str]:
        failed = [f"{strike.fault} {strike.server}: {strike.error}" for strike in self._nemesis.strikes if strike.error]
        return [*failed, *self._nemesis.never_struck(), *self._nemesis.without_effect(), *self._died]

    def _on_strike(self, strike: Strike) -> None:
        self._listener.on_fault(strike)
        name = f"{strike.fault} {strike.server}"
        details = {name: getattr(strike, name) for name in ("number", "occurrence", "note", "error", "effects")}
        if (listener := getattr(self._scenario.faults[strike.number], "listener", None)) is not None:
            details["listener"] = listener
        if strike.error:
            self._history.event("fault-failed", name, **details)
            if strike.struck is None:
                self._history.event("fault-ended", name, **details)
            self._listener.on_line(f"fault failed: {name}: {strike.error}")
        elif strike.end is not None:
            self._history.event("fault-ended", name, **details)
            self._listener.on_line(f"fault over: {name}{f' ({strike.note})' if strike.note else ''}")
        elif strike.struck is None:
            self._history.event("fault-started", name, **details)
            self._listener.on_line(f"fault: {name}")
        elif strike.healing is not None:
            self._history.event("fault-healing", name, **details)
        else:
            self._history.event("fault-struck", name, **details)

    def _on_promotion(self, name: str) -> None:
        if name != self._promoted:  # else it was seen before the command that ordered it had ended
            self._note_promotion(name)

    def _on_seen_promotion(self, name: str, seen: float, otherwise: float) -> None:
        within = max(0.0, seen - otherwise)
        # Rounded away from each other: what was seen in between must not come out as before or after.
        at = math.ceil(seen * 1e9)
        self._note_promotion(name, at=at, seen_within=math.ceil(at / 1e6 - otherwise * 1e3) / 1e3)
        when = f"seen {seen - self._begun:.1f} s after the start of the load, at most {within:.2f} s after its promotion"
        self._listener.on_line(f"{name} is the primary now ({when})")

    def _note_promotion(self, name: str, *, at: int | None = None, **details: float) -> None:
        self._promoted = name
        self._listener.on_primary(name)
        self._history.event("promotion", name, at=at, **details)

    def _on_two_primaries(self, old: str, new: str, since: float, until: float | None) -> None:
        last = None if until is None else round(until * 1e9)
        self._history.event("two-primaries", new, servers=[old, new], first=round(since * 1e9), last=last)

    def _on_seen(self, seen: FormerPrimary | Lapse) -> None:
        if isinstance(seen, Lapse):
            last = None if seen.until is None else round(seen.until * 1e9)
            self._history.event(SEMISYNC_OFF, seen.server, first=round(seen.since * 1e9), last=last, commits=seen.commits)
            return
        looks = {"open": seen.open, "closed": seen.closed}
        times = {name: [[round(time * 1e9) for time in one] for one in given] for name, given in looks.items()}
        details: dict[str, Any] = {"promoted": seen.promoted, "known": seen.known, **times}
        self._history.event(FORMER_PRIMARY, seen.server, **details)

    # ---- reading back

    async def _read_all_back(self) -> list[str]:
        """Write every server's rows to its file. Returns a line for each problem."""
        troubles = []
        replicas_too = self._scenario.expect.replicas_agree
        unknown = await self._control.why_primary_unknown()
        primary = self._control.primary  # known only now: it may have been promoted a moment ago
        if unknown:  # then its rows prove nothing
            troubles.append(f"what became of the writes is unknown: {unknown}")
        else:
            await self._settle()
        for server in self._control.cluster.servers:
            wanted = server.name == primary or (replicas_too and server.name not in self._control.cluster.aliases)
            if wanted and not unknown:
                self._listener.on_line(f"reading back {server.name}")
                try:
                    path, report = self.directory.final(server.name), self._listener.on_line
                    await read_back(self._control, server.name, self._scenario, path, report)
                except ClusterError as error:
                    troubles.append(f"{server.name} was not read back: {error}")
        troubles += [] if unknown else await self._changed_meanwhile(primary)
        self.directory.write_primary(primary)
        return troubles

    async def _changed_meanwhile(self, primary: str) -> list[str]:
        """Why what was read back may be that of a server that is no primary any more."""
        unknown = await self._control.why_primary_unknown()
        if not unknown and self._control.primary != primary:
            unknown = f"{self._control.primary} was promoted while {primary} was read back"
        return [f"what became of the writes is unknown: {unknown}"] if unknown else []

    async def _settle(self) -> None:
        try:
            await self._control.wait_replicated(SETTLE_SECONDS)
        except ClusterError as error:
            self._listener.on_line(f"replicas have not caught up: {error}")
