"""Statistics on their way from an engine to Locust: counts by latency, collapsed over a fraction of a second.

Latencies are whole microseconds: exact below 2.048 ms, and above that as an HDR histogram of three digits keeps them, the
highest value of its bucket. That bounds how many different ones there are. Nothing is rounded further on the way, so a batch
can be merged with any other, in any order, and say the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any, Self

__all__ = [
    "NOT_STARTED",
    "NOT_THERE",
    "OTHER_ERRORS",
    "UNANSWERED",
    "Batch",
    "OperationBatch",
    "Standing",
    "collapse",
    "microseconds",
]

PRECISION_BITS = 11
"""2048 values for each power of two above 2048, as HDR histograms have them for three digits: exact to 1 in 1024."""
MAX_ERRORS = 100
"""Distinct error messages that are kept apart per operation; the rest is counted together."""
OTHER_ERRORS = "(other errors)"
NOT_THERE = "the row is not there"
"""The message when an operation on a row found none."""
NOT_STARTED = "not started in time"
"""The message when an operation of an open loop had to wait so long that it was given up."""
UNANSWERED = "no answer when the run ended"
"""The message when an operation was still under way when the time was up that a run has for its last ones. All others begin
with the name of their class and a colon."""


@dataclass
class OperationBatch:
    """What one operation did."""

    ok: Counter[int] = field(default_factory=Counter)
    """Latency in microseconds -> how many operations succeeded with it."""
    failed: Counter[int] = field(default_factory=Counter)
    """The same for operations that failed."""
    errors: Counter[str] = field(default_factory=Counter)
    """Message -> how many operations failed with it. Its sum is that of `failed`."""

    @property
    def not_started(self) -> int:
        """How many of those that failed were never started."""
        return self.errors[NOT_STARTED]

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
    """How a server stands with the client at one moment."""

    connections: int = 0
    """Those that take requests."""
    stalled: int = 0
    """Those whose server is suspiciously silent."""
    outstanding: int = 0
    """Requests that wait for an answer, or for their turn."""
    refusing: int = 0
    """Clients that ask others for now, because it takes no requests."""

    def plus(self, other: Standing) -> Standing:
        """Of two clients, or of the listeners for reads and writes."""
        return Standing(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


@dataclass
class Batch:
    """What an engine did between two moments."""

    start: float
    """Unix time, seconds."""
    end: float
    operations: dict[str, OperationBatch] = field(default_factory=dict)
    servers: dict[str, OperationBatch] = field(default_factory=dict)
    """What each server did: its answers, by the time that they took, and the requests that failed there."""
    standings: dict[str, Standing] = field(default_factory=dict)
    """How each server stood at the end."""
    retries: int = 0
    """Attempts of the client that failed and were followed by another one."""

    def add(self, other: Batch) -> None:
        self.start = min(self.start, other.start)
        self.end = max(self.end, other.end)
        for mine, theirs in ((self.operations, other.operations), (self.servers, other.servers)):
            for name, done in theirs.items():
                mine.setdefault(name, OperationBatch()).add(done)
        self.standings |= other.standings
        self.retries += other.retries

    def of_servers(self) -> Batch:
        """The same time, with what each server did in the place of what each operation did."""
        return Batch(self.start, self.end, self.servers)

    def to_wire(self) -> dict[str, Any]:
        """For msgpack."""
        return {
            "start": self.start,
            "end": self.end,
            "operations": _to_wire(self.operations),
            "servers": _to_wire(self.servers),
            "standings": {name: astuple(standing) for name, standing in self.standings.items()},
            "retries": self.retries,
        }

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> Self:
        standings = {name: Standing(*standing) for name, standing in data.get("standings", {}).items()}
        servers = _from_wire(data.get("servers", {}))  # older kept runs have none of the three
        return cls(data["start"], data["end"], _from_wire(data["operations"]), servers, standings, data.get("retries", 0))


def _to_wire(done: dict[str, OperationBatch]) -> dict[str, Any]:
    return {name: [dict(one.ok), dict(one.failed), dict(one.errors)] for name, one in done.items()}


def _from_wire(data: dict[str, Any]) -> dict[str, OperationBatch]:
    return {name: OperationBatch(*map(Counter, parts)) for name, parts in data.items()}


def microseconds(nanoseconds: Iterable[int]) -> Counter[int]:
    """Collapse measured nanoseconds."""
    return collapse(Counter([latency // 1000 for latency in nanoseconds]))


def collapse(exact: Mapping[int, int]) -> Counter[int]:
    """Microseconds with how often each came, as they are kept."""
    collapsed: Counter[int] = Counter()
    for latency, count in exact.items():
        collapsed[latency | (1 << max(latency.bit_length() - PRECISION_BITS, 0)) - 1] += count
    return collapsed
