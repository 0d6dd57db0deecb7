"""Whether the load engine was the limit of a run: did the servers cause what the run measured, or the engine? Pure.

Every engine measures, for each quarter of a second, how busy it was and how late its event loop was.

- An engine that has no time left cannot keep up. In an open loop operations then queue in the engine. Latency counts from the
  time at which an operation was due, so it includes the time in that queue. In a closed loop the engine limits the throughput.
- An operation waits for the event loop up to three times: to be started, to be sent, and for its answer to be noticed. That
  much of any latency may be the engine's.

What counts is the time at which an operation was due. While servers stall, an engine has little to do. So they caused the
latency of operations that were due then, however busy the engine is when all of those are answered at once. It is different
after a time in which an engine had no time left. Its queue is still there in the first quarter of a second that has time to
spare, and operations that were due then waited behind earlier ones. The due times of the operations that ended then show it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hs_drill.metrics import EDGE, Batch, EngineUse, percentile

__all__ = ["NO_TIME_LEFT", "EngineTotal", "Engines", "engine_result"]

SLOT = 0.25
"""Seconds: the interval at which engines report."""
NO_TIME_LEFT = 0.97
"""An engine that was busy for this share of a slot had no time left. Measured over runs: 0.99 to 1.00 when the p50 of an open
loop was 20 ms to 1.3 s beside another client's 0.1 ms (nine slots of ten were above 0.976), and 0.65 to 0.91 when it was below
1 ms."""
WAITS = 3
"""How often an operation waits for the event loop at most."""
LIMIT_SHARE = 0.2
"""The engine was the limit of a phase when it had no time left for this share of it."""
WAITED_SHARE = 0.05
"""From this share on the summary says that the engine waited for a core."""
LATENCY_IS_ITS_OWN = (
    "operations that were due while it had no time left waited for it, and not only for the servers. Lower the rate, or add "
    "engines (--processes where cores are free, or workers on other machines)."
)
THROUGHPUT_IS_ITS_OWN = (
    "the throughput is what the engine can do, and the servers may carry more. Add engines to find out (--processes, or "
    "workers on other machines)."
)
PERCENTILES = {"p50_us": 50.0, "p99_us": 99.0, "p99.9_us": 99.9, "max_us": 100.0}


@dataclass
class EngineTotal:
    """How busy and late the engines were in a phase, or in the whole run."""

    engines: dict[int, EngineUse] = field(default_factory=dict)
    """By worker."""
    seconds: float = 0.0
    """How long the phase was."""
    no_time_left: float = 0.0
    """Seconds of it in which at least one engine had no time left."""
    answers: Counter[int] = field(default_factory=Counter)
    """Microseconds between sending a request and its answer, of all servers: latency without the wait for the engine."""

    @property
    def busiest(self) -> EngineUse:
        return max(self.engines.values(), key=lambda use: use.busy, default=EngineUse())

    @property
    def lag(self) -> Counter[int]:
        """Of all engines, in microseconds."""
        total: Counter[int] = Counter()
        for use in self.engines.values():
            total.update(use.lag)
        return total

    @property
    def was_limit(self) -> bool:
        return self.no_time_left >= self.seconds * LIMIT_SHARE > 0

    def add(self, other: EngineTotal) -> None:
        self.seconds += other.seconds
        self.no_time_left += other.no_time_left
        self.answers.update(other.answers)
        for worker, use in other.engines.items():
            self.engines[worker] = self.engines.get(worker, EngineUse()).plus(use)

    def in_words(self) -> str:
        """One clause: the busiest engine, and how late all of them were."""
        use, lag = self.busiest, self.lag
        seconds = use.seconds or 1.0
        words = f"{use.cpu / seconds:.0%} of a core"
        if use.waited / seconds >= WAITED_SHARE:
            words += f", and {use.waited / seconds:.0%} of the time it waited for one"
        if lag:
            p50, p99, most = (percentile(lag, percent) / 1000 for percent in (50.0, 99.0, 100.0))
            words += f"; event loop late by {p50:.3f} ms (p50), {p99:.3f} ms (p99), {most:.3f} ms at most"
        if self.answers:
            p50, p99 = (percentile(self.answers, percent) / 1000 for percent in (50.0, 99.0))
            words += f"; from sending a request to its answer {p50:.3f} ms (p50), {p99:.3f} ms (p99)"
        return f"{words}; no time left in {self.no_time_left:.1f} of {self.seconds:.1f} s"

    def to_dict(self) -> dict[str, Any]:
        """For JSON. Shares of one core are those of the busiest engine."""
        lag, answers, busiest = self.lag, self.answers, self.busiest
        seconds = busiest.seconds or 1.0
        return {
            "was_limit": self.was_limit,
            "no_time_left_seconds": self.no_time_left,
            "seconds": self.seconds,
            "engines": len(self.engines),
            "cpu": busiest.cpu / seconds,
            "waited_for_cpu": busiest.waited / seconds,
            "lag": {name: percentile(lag, percent) if lag else None for name, percent in PERCENTILES.items()},
            "servers": {name: percentile(answers, percent) if answers else None for name, percent in PERCENTILES.items()},
        }


class Engines:
    """All engines of a run over time. Older kept runs have no figures of theirs; then an engine is never the cause.

    Args:
      batches: of all engines, in any order.
      phase_at: the phase that a moment (Unix time) is in.
    """

    def __init__(self, batches: Iterable[Batch], phase_at: Callable[[float], str], *, open_loop: bool) -> None:
        self._open_loop = open_loop
        self._lag: dict[int, int] = {}
        """The longest in each slot, in microseconds."""
        self._totals: dict[str, EngineTotal] = {}
        spent: dict[int, dict[int, EngineUse]] = {}
        due: list[tuple[int, int]] = []
        load_end = 0.0
        for batch in batches:
            due += _due(batch) if open_loop else ()
            since, until = batch.under_load
            load_end = max(load_end, until)
            # While an engine waits for the last answers it is not under load, so that time does not count.
            phase = phase_at((batch.start + batch.end) / 2)
            slots, total = _slots_of(batch), self._total(phase) if since < until else EngineTotal()
            for done in batch.servers.values():
                total.answers.update(done.ok)
            for worker, use in batch.engines.items():
                total.engines[worker] = total.engines.get(worker, EngineUse()).plus(use)
                # Without the lags, which would take too much memory in a long run.
                share = EngineUse(Counter(), *(time / len(slots) for time in (use.seconds, use.cpu, use.waited)))
                for slot in slots:
                    self._lag[slot] = max(self._lag.get(slot, 0), max(use.lag, default=0))
                    engines = spent.setdefault(slot, {})
                    engines[worker] = engines.get(worker, EngineUse()).plus(share)
        self._busy = {slot: max(use.busy for use in engines.values()) for slot, engines in spent.items()}
        self._first = min(self._busy, default=0)
        self._behind = {slot for slot, since in due if since < slot and self._busy.get(since, 0.0) >= NO_TIME_LEFT}
        """The slots in which an engine was still busy with operations that had been due while it had no time left."""
        for slot, engines in spent.items():
            if slot * SLOT >= load_end:
                continue
            seconds = max(use.seconds for use in engines.values())
            total = self._total(phase_at((slot + 0.5) * SLOT))
            total.seconds += seconds
            total.no_time_left += seconds if self._busy[slot] >= NO_TIME_LEFT else 0.0

    def _total(self, phase: str) -> EngineTotal:
        return self._totals.setdefault(phase, EngineTotal())

    def total(self, phase: str) -> EngineTotal:
        """The total of a phase; `run` is all of them."""
        total = EngineTotal()
        for name, one in self._totals.items():
            if phase in ("run", name):
                total.add(one)
        return total

    def by_phase(self) -> dict[str, EngineTotal]:
        """The totals of the run and of each phase; empty when the engines have no figures."""
        known = {phase: self.total(phase) for phase in ("run", *self._totals)}
        return {phase: total for phase, total in known.items() if total.engines}

    def may_explain(self, batch: Batch, latency: int, limit: float) -> bool:
        """Whether an operation that ended in the batch may have taken `latency` microseconds, which is more than `limit`,
        because of an engine."""
        due, end = self._due(batch, latency), _slot_of((batch.start + batch.end) / 2)
        if self._open_loop and any(self._busy.get(slot, 0.0) >= NO_TIME_LEFT or slot in self._behind for slot in due):
            return True
        return latency <= limit + WAITS * max(self._lag.get(slot, 0) for slot in (*due, end))

    def _due(self, batch: Batch, latency: int) -> Sequence[int]:
        """The slots in which an operation may have been due that ended in the batch. An engine without time reports late, so
        in a long batch they are many."""
        slots = _slots_within(batch.start - latency / 1e6, batch.end - latency / 1e6)
        if slots[0] >= self._first:
            return slots
        # Nothing was due before the load began. Part of its first slot may have been before it, when the engine had time.
        return range(self._first, max(slots[-1], self._first + 1) + 1)


def engine_result(totals: Mapping[str, EngineTotal], *, open_loop: bool) -> dict[str, Any]:
    """The part of `result.json` about the engines; `totals` are those of `Engines.by_phase`. `line` says how busy and late they
    were; `limit`, if they were the limit, what that means. Both are empty when there are no figures."""
    limited = [phase for phase, total in totals.items() if total.was_limit]
    known = [phase for phase in totals if phase not in ("run", EDGE)]
    phases = [phase for phase in limited if phase in known]
    when = f" {' and '.join(phases)} the faults" if 0 < len(phases) < len(known) else ""
    means = LATENCY_IS_ITS_OWN if open_loop else THROUGHPUT_IS_ITS_OWN
    return {
        "line": f"load engine: {totals['run'].in_words()}" if totals else "",
        "limit": f"The load engine was the limit{when}: {means}" if limited else "",
        "phases": {phase: total.to_dict() for phase, total in totals.items()},
    }


def _slot_of(moment: float) -> int:
    return math.floor(moment / SLOT)


def _due(batch: Batch) -> list[tuple[int, int]]:
    """The slots of a batch, each with the slot in which half of the operations that ended in the batch had been due."""
    done: Counter[int] = Counter()
    for operation in batch.operations.values():
        done.update(operation.ok)
    if not done:
        return []
    since = _slot_of((batch.start + batch.end) / 2 - percentile(done, 50.0) / 1e6)
    return [(slot, since) for slot in _slots_of(batch)]


def _slots_of(batch: Batch) -> Sequence[int]:
    """Several when an engine could not report in time."""
    return _slots_within(batch.start, batch.end)


def _slots_within(start: float, end: float) -> Sequence[int]:
    """The slots whose middle is between these moments, and at least one."""
    first, last = math.ceil(start / SLOT - 0.5), math.floor(end / SLOT - 0.5)
    return range(first, last + 1) or [_slot_of((start + end) / 2)]
