"""Live figures of the current run, for the line in the terminal and the page in the web UI.

They cover the last two minutes, second by second. They live in the process that owns the servers.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hs_drill.metrics import CHARTED, Batch, OperationBatch, Standing, percentile
from hs_drill.scenario import Fault
from hs_drill.verdict import NO_TIME_LEFT

__all__ = ["STATES", "Live", "Seen"]

KEPT_SECONDS = 120
RECENT_SECONDS = 5
STATES = ("up", "stalled", "refusing", "down", "not used")
"""What a server may be, as the clients see it."""


@dataclass(frozen=True)
class Seen:
    """What the process that owns the servers knows at one moment, besides what batches say. For `--metrics`."""

    scenario: str
    cluster: Mapping[str, Any]
    """`Cluster.to_dict`, with its secrets; empty until the servers are up."""
    users: int
    active: bool
    """Whether the load is on."""
    primary: str
    """The primary's name; "" before the first run."""
    states: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """`Live.states`."""
    faults: Mapping[tuple[str, str], tuple[bool, float]] = field(default_factory=dict)
    """`Live.faults`."""


class _Second:
    """One second, and its point in the charts, computed when it is asked for."""

    def __init__(self, start: float) -> None:
        self.batch = Batch(start, start + 1)
        self.point: dict[str, float | None] | None = None

    def add(self, batch: Batch) -> None:
        start, end = self.batch.start, self.batch.end
        self.batch.add(batch)
        self.batch.start, self.batch.end = start, end
        self.point = None


class Live:
    """The figures of one run.

    Args:
      servers: the servers' names.
      schedule: the scenario's faults.
      clock: the clock of the faults' events: CLOCK_MONOTONIC, in seconds.
    """

    def __init__(self, servers: Iterable[str], schedule: Iterable[Fault], clock: Callable[[], float] = time.monotonic) -> None:
        self._servers = list(servers)
        self._schedule = list(schedule)
        self._clock = clock
        self._begun = clock()
        self._since_epoch = time.time() - self._begun
        """What makes Unix time of the clock's."""
        self._ended: float | None = None
        self._seconds: dict[int, _Second] = {}
        self._standings: dict[int, Mapping[str, Standing]] = {}
        self._events: dict[tuple[int, str, float], dict[str, Any]] = {}
        self._failures = self._not_started = self._repeated = 0

    def count(self, worker: int, batch: Batch) -> None:
        """Add a batch of a worker's engine."""
        start = int((batch.start + batch.end) / 2)
        self._seconds.setdefault(start, _Second(start)).add(batch)
        self._standings[worker] = batch.standings
        for done in batch.operations.values():
            self._failures += done.failed.total()
            self._not_started += done.not_started
        self._repeated += batch.retries
        for old in [second for second in self._seconds if second <= start - KEPT_SECONDS]:
            del self._seconds[old]

    def end(self) -> None:
        """Note that the load has ended. Does nothing the second time."""
        if self._ended is None:
            self._ended = self._clock()

    def fault_changed(self, event: dict[str, Any]) -> None:
        """Note that a fault began or changed: the fields of a `Strike`."""
        self._events[event["number"], event["server"], event["start"]] = event

    @property
    def seconds(self) -> float:
        """How long the load has lasted, in seconds."""
        return (self._clock() if self._ended is None else self._ended) - self._begun

    @property
    def phase(self) -> str:
        """`before`, `during kill reader-1, lag reader-2` or `after` the faults; "" where the scenario has none."""
        if not self._schedule:
            return ""
        events = self._struck()
        on = dict.fromkeys(_name(event) for event in events if event["end"] is None)
        return f"during {', '.join(on)}" if on else "after" if events else "before"

    def _struck(self) -> list[dict[str, Any]]:
        """The faults that count: not those that could not strike. One that never heals stays on."""
        return [event for event in self._events.values() if event["struck"] is not None or not event["error"]]

    def faults(self) -> dict[tuple[str, str], tuple[bool, float]]:
        """By fault and target, of those that have begun: whether it is on, and when it last began (Unix time, seconds)."""
        found: dict[tuple[str, str], tuple[bool, float]] = {}
        for event in self._struck():
            key = (event["fault"], event["server"])
            on, start = found.get(key, (False, 0.0))
            found[key] = (on or event["end"] is None, max(start, event["start"] + self._since_epoch))
        return found

    def states(self) -> dict[str, tuple[str, int]]:
        """Each server's state, one of `STATES`, and its requests in flight. Empty without load: then nobody sees it."""
        if self._ended is not None or not self._standings:
            return {}
        standing = self._standing()
        return {name: (_state(one := standing.get(name)), one.outstanding if one else 0) for name in self._servers}

    def to_dict(self) -> dict[str, Any]:
        """All figures, for JSON. Latencies are in microseconds, times in seconds since the run began."""
        recent, length = self._recent()
        return {
            "seconds": self.seconds,
            "ended": self._ended is not None,
            "phase": self.phase,
            "failures": self._failures,
            "not_started": self._not_started,
            "repeated": self._repeated,
            "in_flight": sum(standing.outstanding for standing in self._standing().values()),
            "all": _figures(_sum(recent.operations.values()), length),
            "operations": {name: _figures(done, length) for name, done in sorted(recent.operations.items())},
            "servers": self._servers_json(recent, length),
            "engine": _engine(recent),
            "faults": [*map(self._event_json, self._events.values()), *self._planned()],
            "points": self._points(),
        }

    def _recent(self) -> tuple[Batch, float]:
        """The last whole seconds as one batch, and how many they are."""
        whole = sorted(self._seconds)[:-1][-RECENT_SECONDS:]
        recent = Batch(0, 0)
        for second in whole:
            recent.add(self._seconds[second].batch)
        return recent, float(len(whole))

    def _standing(self) -> dict[str, Standing]:
        total: dict[str, Standing] = {}
        for standings in self._standings.values():
            for name, standing in standings.items():
                total[name] = total.get(name, Standing()).plus(standing)
        return total

    def _servers_json(self, recent: Batch, length: float) -> list[dict[str, Any]]:
        standing = self._standing()
        return [
            {
                "name": name,
                "state": _state(standing.get(name)),
                "in_flight": standing.get(name, Standing()).outstanding,
                **_figures(recent.servers.get(name, OperationBatch()), length),
            }
            for name in self._servers
        ]

    def _event_json(self, event: dict[str, Any]) -> dict[str, Any]:
        state = "failed" if event["error"] else "over" if event["end"] is not None else "on"
        end = None if event["end"] is None else event["end"] - self._begun
        told = "; ".join(part for part in (event["error"], event["note"]) if part)
        return {"name": _name(event), "state": state, "start": event["start"] - self._begun, "end": end, "told": told}

    def _planned(self) -> list[dict[str, Any]]:
        """The faults that have not struck yet."""
        begun = {event["number"] for event in self._events.values()}
        return [
            {"name": str(fault), "state": "planned", "start": fault.at, "end": None, "told": ""}
            for number, fault in enumerate(self._schedule)
            if number not in begun
        ]

    def _points(self) -> list[dict[str, float | None]]:
        """A point for each whole second. The newest second is left out: late batches may still add to it."""
        now = self._clock() - time.time()  # to convert from Unix time, which batches use
        points = []
        for start in sorted(self._seconds)[:-1]:
            second = self._seconds[start]
            if second.point is None:
                figures = _figures(_sum(second.batch.operations.values()), 1.0)
                engine = _engine(second.batch)
                second.point = {name: figures[name] for name in ("rate", "failed", *CHARTED)}
                second.point |= {"busy": engine["busy"], "lag_p50": engine["p50"], "lag_p99": engine["p99"]}
            points.append({"at": start + now - self._begun, **second.point})
        return points


def _name(event: Mapping[str, Any]) -> str:
    return f"{event['fault']} {event['server']}"


def _sum(several: Iterable[OperationBatch]) -> OperationBatch:
    total = OperationBatch()
    for one in several:
        total.add(one)
    return total


def _figures(done: OperationBatch, length: float) -> dict[str, float | None]:
    """Rates per second; latencies of successful operations in microseconds."""
    return {
        "rate": done.ok.total() / length if length else 0.0,
        "failed": done.failed.total() / length if length else 0.0,
        **{name: percentile(done.ok, percent) if done.ok else None for name, percent in CHARTED.items()},
        "max": max(done.ok, default=None),
    }


def _engine(batch: Batch) -> dict[str, Any]:
    """How busy the busiest engine was (0 to 1), and by how many microseconds the engines' event loops were late. None where
    unknown."""
    uses = batch.engines.values()
    lag: Counter[int] = Counter()
    for use in uses:
        lag.update(use.lag)
    busy = max((use.busy for use in uses), default=None)
    return {
        "busy": busy,
        "no_time_left": busy is not None and busy >= NO_TIME_LEFT,
        **{name: percentile(lag, percent) if lag else None for name, percent in CHARTED.items()},
        "max": max(lag, default=None),
    }


def _state(standing: Standing | None) -> str:
    if standing is None:
        return "not used"
    if not standing.connections:
        return "down"
    if standing.stalled:
        return "stalled"
    return "refusing" if standing.refusing else "up"
