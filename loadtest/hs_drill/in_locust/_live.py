"""What a run does just now, for those who watch: the line in the terminal and the page in the web UI.

Kept for two minutes, second by second, in the process that workers report to.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hs_drill.metrics import CHARTED, Batch, OperationBatch, Standing, percentile
from hs_drill.scenario import Fault
from hs_drill.verdict import NO_TIME_LEFT

__all__ = ["Live"]

KEPT_SECONDS = 120
RECENT_SECONDS = 5


class _Second:
    """One second, and what was made of it for drawing, until more comes in."""

    def __init__(self, start: float) -> None:
        self.batch = Batch(start, start + 1)
        self.point: dict[str, float | None] | None = None

    def add(self, batch: Batch) -> None:
        start, end = self.batch.start, self.batch.end
        self.batch.add(batch)
        self.batch.start, self.batch.end = start, end
        self.point = None


class Live:
    """One run.

    Args:
      servers: the names of those that there are.
      schedule: the scenario's faults.
      clock: tells the time of faults' events: CLOCK_MONOTONIC, in seconds.
    """

    def __init__(self, servers: Iterable[str], schedule: Iterable[Fault], clock: Callable[[], float] = time.monotonic) -> None:
        self._servers = list(servers)
        self._schedule = list(schedule)
        self._clock = clock
        self._begun = clock()
        self._ended: float | None = None
        self._seconds: dict[int, _Second] = {}
        self._standings: dict[int, Mapping[str, Standing]] = {}
        self._events: dict[tuple[int, str, float], dict[str, Any]] = {}
        self._failures = self._not_started = self._repeated = 0

    def count(self, worker: int, batch: Batch) -> None:
        """What the engine of a worker did."""
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
        """The load has ended. Without effect the second time."""
        if self._ended is None:
            self._ended = self._clock()

    def happened(self, event: dict[str, Any]) -> None:
        """A fault has begun or changed: the fields of a nemesis's `Event`."""
        self._events[event["number"], event["server"], event["start"]] = event

    # ---- what is to be told

    @property
    def seconds(self) -> float:
        """Since the run began, until its load ended."""
        return (self._clock() if self._ended is None else self._ended) - self._begun

    @property
    def phase(self) -> str:
        """`before`, `during kill reader-1, lag reader-2` or `after` the faults; "" where the scenario has none."""
        if not self._schedule:
            return ""
        # One that could not be put on is none; one that does not heal goes on.
        events = [event for event in self._events.values() if event["struck"] is not None or not event["error"]]
        on = dict.fromkeys(_name(event) for event in events if event["end"] is None)
        return f"during {', '.join(on)}" if on else "after" if events else "before"

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON. Latencies are microseconds, times seconds since the run began."""
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
            "servers": self._told_servers(recent, length),
            "engine": _engine(recent),
            "faults": [*map(self._told_event, self._events.values()), *self._planned()],
            "points": self._points(),
        }

    def _recent(self) -> tuple[Batch, float]:
        """What the last whole seconds brought."""
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

    def _told_servers(self, recent: Batch, length: float) -> list[dict[str, Any]]:
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

    def _told_event(self, event: dict[str, Any]) -> dict[str, Any]:
        state = "failed" if event["error"] else "over" if event["end"] is not None else "on"
        end = None if event["end"] is None else event["end"] - self._begun
        told = "; ".join(part for part in (event["error"], event["note"]) if part)
        return {"name": _name(event), "state": state, "start": event["start"] - self._begun, "end": end, "told": told}

    def _planned(self) -> list[dict[str, Any]]:
        """Those whose first time is still to come."""
        begun = {event["number"] for event in self._events.values()}
        return [
            {"name": str(fault), "state": "planned", "start": fault.at, "end": None, "told": ""}
            for number, fault in enumerate(self._schedule)
            if number not in begun
        ]

    def _points(self) -> list[dict[str, float | None]]:
        """A point for each whole second. The newest one may still get more, from a worker that is behind."""
        now = self._clock() - time.time()  # from Unix time, which batches have
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
    """Rates per second, and microseconds of what succeeded."""
    return {
        "rate": done.ok.total() / length if length else 0.0,
        "failed": done.failed.total() / length if length else 0.0,
        **{name: percentile(done.ok, percent) if done.ok else None for name, percent in CHARTED.items()},
        "max": max(done.ok, default=None),
    }


def _engine(batch: Batch) -> dict[str, Any]:
    """How busy the busiest engine was, as a share of the time, and by how many microseconds the event loops of all were late;
    None where nothing is known."""
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
