"""A kept run with all that is told about it: what the report, `analyze` and `compare` draw on. Reads files, writes none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from hs_drill.metrics import ALL, Batch, OperationBatch, RunTotals, Timeline
from hs_drill.scenario import Scenario
from hs_drill.store import Batches, Event, History, RunDirectory, fault_key, fault_windows, unix_faults
from hs_drill.verdict import FaultRecovery, recoveries

__all__ = ["FaultSeen", "KeptRun", "Mark", "faults_seen", "marks_seen"]


@dataclass
class FaultSeen:
    """A fault on one server, as it happened. Times are Unix time in seconds."""

    name: str
    """What it was and on whom, such as `kill reader-1`."""
    asked: float
    struck: float | None = None
    """When it was on, or done; None when it never was, or the history does not tell."""
    ended: float | None = None
    """When it had healed; None when nothing tells of that."""
    note: str = ""
    error: str = ""
    effects: int | None = None
    """How many replies or connections it has hit; None where that is not counted."""


@dataclass(frozen=True)
class Mark:
    """Something that happened to the run at one moment."""

    time: float
    """Unix time, seconds."""
    kind: str
    """`promotion`, `connection-lost`, `connection-up`, or what else a history has."""
    name: str


@dataclass(frozen=True)
class KeptRun:
    """Everything, read once."""

    directory: RunDirectory
    scenario: Scenario
    result: dict[str, Any]
    """As `judge_run` gives it."""
    batches: Batches
    """Not in memory, for there may be more than fit into it."""
    timeline: Timeline
    totals: dict[tuple[str, str], tuple[OperationBatch, float]]
    """By phase and operation: see `Timeline.totals`."""
    server_totals: dict[tuple[str, str], tuple[OperationBatch, float]]
    """The same by phase and server, of what each of them did."""
    rates: dict[tuple[str, str], float | None]
    """By phase and operation: see `Timeline.throughputs`."""
    server_rates: dict[tuple[str, str], float | None]
    record: RunTotals
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
        record = RunTotals()
        # In one go: to record every batch by itself took most of a minute for a run of ten.
        record.merge(Batch(timeline.start, timeline.load_end, {name: totals["run", name][0] for name in timeline.names()}))
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
            record=record,
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
        """Those that were carried out, in the order of the mix."""
        order = list(self.scenario.mix.weights())
        return sorted(self.record.operations, key=lambda name: (order.index(name) if name in order else len(order), name))

    def servers(self) -> list[str]:
        """Those that the clients reached, or tried to."""
        names = {name for _, name in self.server_totals if name != ALL}
        return sorted(names, key=lambda name: (name.startswith("reader-"), len(name), name))

    def recoveries(self) -> list[FaultRecovery]:
        return recoveries(self.timeline)


def _events(histories: Iterable[History]) -> Iterator[tuple[float, Event]]:
    """With their Unix times."""
    for history in histories:
        history.read_through()  # the events are known then
        for event in history.events:
            yield history.header.unix(event.time), event


def marks_seen(events: Iterable[tuple[float, Event]]) -> Iterator[Mark]:
    """What is no fault, out of events in order of time. That a server is connected is news where a connection was lost."""
    lost = set()
    for time, event in events:
        match event.kind:
            case "connection-lost":
                lost.add(event.name)
            case "connection-up" if event.name not in lost:
                continue
        if not event.kind.startswith("fault-"):
            yield Mark(time, event.kind, event.name)


def faults_seen(events: Iterable[tuple[float, Event]]) -> list[FaultSeen]:
    """The faults among events in order of time, by their starts."""
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
                    fault.struck = fault.struck or time  # one that happens at once has struck when it is over
                    fault.ended = time
                    del on[key]
                case "fault-failed":
                    fault.error = event.details.get("error") or "for a reason that is not known"
                    del on[key]
    return seen
