"""Statistics that an engine sends to Locust: counts by latency, over a fraction of a second.

Latencies are whole microseconds: exact below 2.048 ms, and above that the highest value of the bucket that an HDR histogram of
three digits has. This bounds the number of different latencies. Nothing else is rounded, so batches can be merged in any order
with the same result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, NamedTuple, Self

__all__ = [
    "ALL",
    "NOT_STARTED",
    "NOT_THERE",
    "OTHER_ERRORS",
    "UNANSWERED",
    "Batch",
    "Begun",
    "EngineUse",
    "OperationBatch",
    "Standing",
    "add_operations",
    "collapse",
    "microseconds",
    "sum_of",
    "total_of",
]

PRECISION_BITS = 11
"""Above 2048 each power of two has 1024 buckets, as in an HDR histogram of three digits: exact to 1 in 1024."""
EXACT_BELOW = 1 << PRECISION_BITS
MAX_ERRORS = 100
"""Distinct error messages that are counted separately for each operation. The rest is counted together."""
ALL = "all"
"""The name for all operations together."""
OTHER_ERRORS = "(other errors)"
NOT_THERE = "the row is not there"
"""Error of an operation that did not find its row."""
NOT_STARTED = "not started in time"
"""Error of an operation of an open loop that was given up because it had waited too long."""
UNANSWERED = "no answer when the run ended"
"""Error of an operation that was still under way at the deadline for a run's last operations. All other errors begin with the
name of their class and a colon."""


@dataclass
class OperationBatch:
    """What one operation did in some time."""

    ok: Counter[int] = field(default_factory=Counter)
    """Latency in microseconds -> how many operations succeeded with it."""
    failed: Counter[int] = field(default_factory=Counter)
    """The same for operations that failed."""
    errors: Counter[str] = field(default_factory=Counter)
    """Error message -> how many operations failed with it. As many in total as `failed`."""

    @property
    def not_started(self) -> int:
        """How many of the failed operations were never started."""
        return self.errors[NOT_STARTED]

    def count(self, ok: Sequence[int], failed: Sequence[int], errors: Sequence[str]) -> None:
        """Add operations by their latencies in nanoseconds, without collapsing these."""
        self.ok.update([latency // 1000 for latency in ok])
        self.failed.update([latency // 1000 for latency in failed])
        self.errors.update(errors)

    def add(self, other: OperationBatch) -> None:
        self.ok.update(other.ok)
        self.failed.update(other.failed)
        for message, count in other.errors.items():
            known = message in self.errors or len(self.errors) < MAX_ERRORS or message in (NOT_STARTED, UNANSWERED)
            self.errors[message if known else OTHER_ERRORS] += count

    def __bool__(self) -> bool:
        return bool(self.ok or self.failed)


@dataclass(frozen=True)
class Standing:
    """The state of a server at one moment, as its client sees it."""

    connections: int = 0
    """Connections that take requests."""
    stalled: int = 0
    """Connections on which the server has been silent for suspiciously long."""
    outstanding: int = 0
    """Requests that wait for an answer or to be sent."""
    refusing: int = 0
    """Clients that avoid the server for now, because it takes no requests."""

    def plus(self, other: Standing) -> Standing:
        """The sum for two clients, or for the listeners for reads and writes."""
        return Standing(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


class Begun(NamedTuple):
    """Operations of a batch that began (or, in an open loop, should have begun) between two moments."""

    since: float
    """Unix time, seconds."""
    until: float
    operations: dict[str, OperationBatch]


@dataclass
class EngineUse:
    """How busy an engine was in some time, and how late its event loop was."""

    lag: Counter[int] = field(default_factory=Counter)
    """Microseconds by which the event loop was late -> number of samples. Samples are spread evenly over the time."""
    seconds: float = 0.0
    cpu: float = 0.0
    """Seconds of CPU time."""
    waited: float = 0.0
    """Seconds in which it was ready to run, but other processes had all cores."""

    @property
    def busy(self) -> float:
        """The share of the time in which it had work to do. At 1 it cannot carry more load."""
        return (self.cpu + self.waited) / self.seconds if self.seconds else 0.0

    def plus(self, other: EngineUse) -> EngineUse:
        """The sum of two times."""
        return EngineUse(self.lag + other.lag, self.seconds + other.seconds, self.cpu + other.cpu, self.waited + other.waited)


@dataclass
class Batch:
    """The operations that ended in an engine between two moments."""

    start: float
    """Unix time, seconds."""
    end: float
    operations: dict[str, OperationBatch] = field(default_factory=dict)
    servers: dict[str, OperationBatch] = field(default_factory=dict)
    """What each server did: its answers by the time they took, and the requests that failed there."""
    standings: dict[str, Standing] = field(default_factory=dict)
    """The state of each server at the end."""
    retries: int = 0
    """Attempts of the client that failed and were followed by another one."""
    begun: list[Begun] = field(default_factory=list)
    """The same operations by when they began, oldest first. Empty if only their latencies show that: in old kept runs, and in
    sums of batches."""
    load_end: float | None = None
    """When the load stopped, if before `end`. Operations that ended later had begun before."""
    engines: dict[int, EngineUse] = field(default_factory=dict)
    """How busy and how late each engine was, by its worker's number."""

    @property
    def under_load(self) -> tuple[float, float]:
        """The part of its time that had load. After the load has stopped, only the moment at which it stopped."""
        end = self.end if self.load_end is None else min(self.load_end, self.end)
        return min(self.start, end), end

    def add(self, other: Batch) -> None:
        ends = self.under_load[1], other.under_load[1]
        self.start = min(self.start, other.start)
        self.end = max(self.end, other.end)
        self.load_end = max(ends) if max(ends) < self.end else None
        self.begun.clear()
        add_operations(self.operations, other.operations)
        add_operations(self.servers, other.servers)
        self.standings |= other.standings
        self.retries += other.retries
        for worker, use in other.engines.items():
            self.engines[worker] = self.engines.get(worker, EngineUse()).plus(use)

    def of_servers(self) -> Batch:
        """The same time, with servers in place of operations."""
        return Batch(self.start, self.end, self.servers, load_end=self.load_end)

    def of_engines(self) -> Batch:
        """The same time, with the lag of the engines' event loops in place of operations."""
        lag: Counter[int] = Counter()
        for use in self.engines.values():
            lag.update(use.lag)
        return Batch(self.start, self.end, {"lag": OperationBatch(lag)} if lag else {}, load_end=self.load_end)

    def to_wire(self) -> dict[str, Any]:
        """For msgpack."""
        newest = self.begun[-1].operations if self.begun else self.operations
        return {
            "start": self.start,
            "end": self.end,
            "operations": _to_wire(newest),
            "begun": [self.begun[-1].since, self.begun[-1].until] if self.begun else None,
            "older": [[since, until, _to_wire(operations)] for since, until, operations in self.begun[:-1]],
            "load_end": self.load_end,
            "servers": _to_wire(self.servers),
            "standings": {name: astuple(standing) for name, standing in self.standings.items()},
            "retries": self.retries,
            "engines": {worker: [dict(use.lag), use.seconds, use.cpu, use.waited] for worker, use in self.engines.items()},
        }

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> Self:
        standings = {name: Standing(*standing) for name, standing in data.get("standings", {}).items()}
        servers = _from_wire(data.get("servers", {}))  # older kept runs lack some keys
        operations = _from_wire(data["operations"])
        begun = [Begun(since, until, _from_wire(older)) for since, until, older in data.get("older", ())]
        if data.get("begun") is not None:
            since, until = data["begun"]
            begun.append(Begun(since, until, operations))
        return cls(
            data["start"],
            data["end"],
            total_of(begun) if begun else operations,
            servers,
            standings,
            data.get("retries", 0),
            begun,
            data.get("load_end"),
            {worker: EngineUse(Counter(lag), *use) for worker, (lag, *use) in data.get("engines", {}).items()},
        )


def total_of(begun: Sequence[Begun]) -> dict[str, OperationBatch]:
    """The sum of all generations of a batch. A single generation is returned itself, not copied."""
    if len(begun) == 1:
        return begun[0].operations
    total: dict[str, OperationBatch] = {}
    for one in begun:
        add_operations(total, one.operations)
    return total


def add_operations(total: dict[str, OperationBatch], more: Mapping[str, OperationBatch]) -> None:
    """Add what each operation did to `total`."""
    for name, done in more.items():
        total.setdefault(name, OperationBatch()).add(done)


def sum_of(batches: Iterable[OperationBatch]) -> OperationBatch:
    """Several operations together."""
    total = OperationBatch()
    for batch in batches:
        total.add(batch)
    return total


def _to_wire(done: dict[str, OperationBatch]) -> dict[str, Any]:
    return {name: [dict(one.ok), dict(one.failed), dict(one.errors)] for name, one in done.items()}


def _from_wire(data: dict[str, Any]) -> dict[str, OperationBatch]:
    return {name: OperationBatch(*map(Counter, parts)) for name, parts in data.items()}


def microseconds(nanoseconds: Iterable[int]) -> Counter[int]:
    """Collapse latencies measured in nanoseconds."""
    return collapse(Counter([latency // 1000 for latency in nanoseconds]))


def collapse(exact: Mapping[int, int]) -> Counter[int]:
    """Round latencies (microseconds -> count) to the values that batches keep."""
    collapsed: Counter[int] = Counter({latency: count for latency, count in exact.items() if latency < EXACT_BELOW})
    if len(collapsed) < len(exact):
        for latency, count in exact.items():
            if latency >= EXACT_BELOW:
                collapsed[latency | (1 << latency.bit_length() - PRECISION_BITS) - 1] += count
    return collapsed
