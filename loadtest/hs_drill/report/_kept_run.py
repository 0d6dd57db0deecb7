"""A kept run with everything that the report, `analyze` and `compare` show. Reads files, writes none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from hs_drill.metrics import ALL, Batch, OperationBatch, RunTotals, Timeline
from hs_drill.scenario import Scenario
from hs_drill.store import (
    SEMISYNC_OFF,
    TWO_PRIMARIES,
    UNMARKED,
    Batches,
    Event,
    History,
    RunDirectory,
    fault_key,
    fault_windows,
    unix_faults,
)
from hs_drill.verdict import FaultRecovery, recoveries

__all__ = ["FaultSeen", "KeptRun", "Mark", "faults_seen", "marks_seen"]


@dataclass
class FaultSeen:
    """A fault on one server, as it happened. Times are Unix time in seconds."""

    name: str
    """The fault and its server, such as `kill reader-1`."""
    requested: float
    struck: float | None = None
    """When it was on, or done; None when it never was, or when the history does not say."""
    ended: float | None = None
    """When it had healed; None when the history does not say."""
    note: str = ""
    error: str = ""
    effects: int | None = None
    """How many replies or connections it has hit; None when that is not counted."""

    @property
    def without_effect(self) -> bool:
        """It was on and hit nothing."""
        return self.ended is not None and self.effects == 0


@dataclass(frozen=True)
class Mark:
    """Something that happened to the run at one moment."""

    time: float
    """Unix time, seconds."""
    kind: str
    """`promotion`, `connection-lost`, `connection-up`, or another kind of event that a history has."""
    name: str


@dataclass(frozen=True)
class KeptRun:
    """Everything about a run, read once."""

    directory: RunDirectory
    scenario: Scenario
    result: dict[str, Any]
    """As `judge_run` gives it."""
    batches: Batches
    """Not in memory: there may be more than fit."""
    timeline: Timeline
    totals: dict[tuple[str, str], tuple[OperationBatch, float]]
    """By phase and operation: see `Timeline.totals`."""
    server_totals: dict[tuple[str, str], tuple[OperationBatch, float]]
    """The same by phase and server, for what each server did."""
    rates: dict[tuple[str, str], float | None]
    """By phase and operation: see `Timeline.throughputs`."""
    server_rates: dict[tuple[str, str], float | None]
    run_totals: RunTotals
    faults: list[FaultSeen]
    marks: list[Mark]
    environment: dict[str, Any]

    @classmethod
    def read(cls, directory: RunDirectory, result: dict[str, Any]) -> KeptRun:
        """Blocking, for seconds when there were millions of operations. Raises `ScenarioError` and OSError."""
        scenario = directory.scenario()
        batches = directory.batches()
        histories, _ = directory.open_histories()  # the verdict reports the unreadable ones
        events = sorted(_events(histories), key=lambda pair: pair[0])
        windows = unix_faults(fault_windows(event for _, event in events), histories[0].header) if histories else []
        timeline = Timeline(batches, windows)
        totals = timeline.totals()
        run_totals = RunTotals()
        # All at once: merging every batch on its own took most of a minute for a run of ten minutes.
        run_totals.merge(Batch(timeline.start, timeline.load_end, {name: totals["run", name][0] for name in timeline.names()}))
        servers = Timeline(batches.of_servers(), windows)
        return cls(
            directory=directory,
            scenario=scenario,
            result=result,
            batches=batches,
            timeline=timeline,
            totals=totals,
            server_totals=servers.totals(),
            rates=timeline.throughputs(),
            server_rates=servers.throughputs(),
            run_totals=run_totals,
            faults=faults_seen(events),
            marks=[mark for mark in marks_seen(events) if mark.time <= timeline.end],
            environment=directory.environment(),
        )

    @property
    def exit_code(self) -> int:
        """As the run itself ended."""
        code: int = self.result["exit_code"]
        return code

    @property
    def verdict(self) -> str:
        """One line."""
        return str(self.result["verdict"])

    @property
    def checks(self) -> dict[str, dict[str, Any]] | None:
        """What the audit found, by check; None without an audit."""
        audit = self.result["audit"]
        if audit is None:
            return None
        # The other servers are read back only where they are expected to agree.
        left_out = () if self.scenario.expect.replicas_agree else ("replicas",)
        return {name: check for name, check in audit.items() if name not in left_out}

    def operations(self) -> list[str]:
        """The operations that were executed, in the order of the mix."""
        order = list(self.scenario.weights)
        return sorted(self.run_totals.operations, key=lambda name: (order.index(name) if name in order else len(order), name))

    def servers(self) -> list[str]:
        """The servers that the clients reached, or tried to reach."""
        names = {name for _, name in self.server_totals if name != ALL}
        return sorted(names, key=lambda name: (name.startswith("reader-"), len(name), name))

    def recoveries(self) -> list[FaultRecovery]:
        return recoveries(self.timeline)


def _events(histories: Iterable[History]) -> Iterator[tuple[float, Event]]:
    """All events with their Unix times."""
    for history in histories:
        history.read_through()  # its events are known only then
        for event in history.events:
            yield history.header.unix(event.time), event


def marks_seen(events: Iterable[tuple[float, Event]]) -> Iterator[Mark]:
    """The events that are not faults. Takes events in order of time. Leaves out connections that come up for the first time.

    Two primaries, and a lapse of semi-synchronous replication, are marked at the first moment at which they were seen.
    """
    lost = set()
    at_once = set()
    for time, event in events:
        name = event.name
        match event.kind:
            case "connection-lost":
                lost.add(event.name)
            case "connection-up" if event.name not in lost:
                continue
            case kind if kind == TWO_PRIMARIES:
                first = event.details["first"]
                if (event.name, first) in at_once:
                    continue
                at_once.add((event.name, first))
                time += (first - event.time) / 1e9
                name = " and ".join(event.details["servers"])
            case kind if kind == SEMISYNC_OFF:
                time += (event.details["first"] - event.time) / 1e9
        if not event.kind.startswith("fault-") and event.kind not in UNMARKED:
            yield Mark(time, event.kind, name)


def faults_seen(events: Iterable[tuple[float, Event]]) -> list[FaultSeen]:
    """The faults, by their starts. Takes events in order of time."""
    seen: list[FaultSeen] = []
    on: dict[tuple[object, ...], FaultSeen] = {}
    for time, event in events:
        key = fault_key(event)
        if event.kind == "fault-started":
            on[key] = FaultSeen(event.name, time)
            seen.append(on[key])
        elif key in on:
            fault = on[key]
            fault.note = event.details.get("note") or fault.note
            fault.effects = event.details.get("effects")
            match event.kind:
                case "fault-struck":
                    fault.struck = time
                case "fault-ended":
                    fault.struck = fault.struck or time  # a fault that happens at once strikes when it is over
                    fault.ended = time
                    del on[key]
                case "fault-failed":
                    fault.error = event.details.get("error") or "for an unknown reason"
                    del on[key]
    return seen
