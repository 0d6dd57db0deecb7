"""What `--metrics` shows Prometheus of the runs of this process. The only module that needs prometheus-client.

Counters count since the process began, over all its runs, and come from the same batches as a run's result. Latencies are as
exact as those of a batch: a histogram's bound is wrong by at most 1 us below 2.048 ms, and by 1 in 1024 above. Labels have few
values: names from the scenario and the classes of errors, but never their messages, which may hold anything.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric

from hs_drill.metrics import NOT_STARTED, NOT_THERE, UNANSWERED, Batch, OperationBatch

from ._live import STATES, Seen

__all__ = ["BOUNDS", "Metrics"]

BOUNDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""The histograms' upper bounds, in seconds: from a get over loopback to what waits for a failover."""
MOST_NAMES = 100
"""Different values of a label that come from users in Python or from errors. The rest is counted together."""
OTHER = "other"
PREFIX = "hs_drill_"
DURATION = f"{PREFIX}operation_duration_seconds"
HELP = {
    "operations": "Operations that have ended, ok or failed.",
    "errors": "Failed operations, by the class of their error.",
    "retries": "Attempts of the clients that failed and were followed by another one.",
    "server_requests": "Requests that a server answered, and requests that failed there.",
    "engine_busy_seconds": "Time in which a load engine had work to do: 1 a second is its limit.",
    "run_active": "1 while the load is on.",
    "users": "Locust's users.",
    "server_state": "1 for the state of a server as the clients see it. Only while the load is on.",
    "server_requests_in_flight": "Requests that wait for an answer or to be sent. Only while the load is on.",
    "primary": "1 for the primary: the first one, or the last that a run promoted or saw promoted.",
    "fault_active": "1 while a fault is on, 0 after it.",
    "fault_start_timestamp_seconds": "When a fault last began, also one that happens at once.",
}
"""What the counters and gauges mean, by their names without the prefix."""
_BOUNDS = [round(bound * 1e6) for bound in BOUNDS]
_OWN_KINDS = {NOT_STARTED: "not_started", NOT_THERE: "not_there", UNANSWERED: "unanswered"}
_CLASS = re.compile(r"([A-Za-z_]\w{0,99}):")


class _Latencies:
    """A histogram."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.microseconds = 0

    def add(self, latencies: Mapping[int, int]) -> None:
        for latency, count in latencies.items():
            self.counts[bisect_left(_BOUNDS, latency)] += count
            self.microseconds += latency * count


class Metrics:
    """Adds batches up, and makes metrics of them whenever it is asked: a collector of prometheus-client.

    `look` gives what else is known at that moment, None until there is a session.
    """

    def __init__(self, look: Callable[[], Seen | None]) -> None:
        self._look = look
        self._latencies: dict[tuple[str, str], _Latencies] = {}
        self._errors: Counter[tuple[str, str]] = Counter()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._busy: dict[str, float] = {}
        """By worker, in seconds."""
        self._retries = 0
        self._names: set[str] = set()
        self._kinds: set[str] = set()

    def count(self, batch: Batch) -> None:
        """Add a batch of any worker's engine."""
        for name, done in batch.operations.items():
            operation = _bounded(name, self._names)
            for outcome, latencies in _outcomes(done):
                self._latencies.setdefault((operation, outcome), _Latencies()).add(latencies)
            for message, count in done.errors.items():
                self._errors[operation, _bounded(_kind(message), self._kinds)] += count
        for server, done in batch.servers.items():
            for outcome, latencies in _outcomes(done):
                self._requests[server, outcome] += sum(latencies.values())
        for worker, use in batch.engines.items():
            self._busy[str(worker)] = self._busy.get(str(worker), 0.0) + use.cpu + use.waited
        self._retries += batch.retries

    def collect(self) -> Iterator[Metric]:
        """All metrics now."""
        operations = {key: sum(one.counts) for key, one in self._latencies.items()}
        yield _counter("operations", "operation outcome", operations.items())
        yield self._histogram()
        yield _counter("errors", "operation kind", self._errors.items())
        yield _counter("retries", "", [((), self._retries)])
        yield _counter("server_requests", "server outcome", self._requests.items())
        yield _counter("engine_busy_seconds", "worker", (((worker,), seconds) for worker, seconds in self._busy.items()))
        if (seen := self._look()) is not None and seen.cluster:
            yield from _of_run(seen)

    def _histogram(self) -> Metric:
        help_text = "How long operations took, in an open loop from when they should have begun. Exact to 1 us or 1 in 1024."
        histogram = HistogramMetricFamily(DURATION, help_text, labels=["operation", "outcome"])
        bounds = [*map(str, BOUNDS), "+Inf"]
        for key, one in self._latencies.items():
            histogram.add_metric(key, list(zip(bounds, accumulate(one.counts), strict=True)), one.microseconds / 1e6)
        return histogram


def _of_run(seen: Seen) -> Iterator[Metric]:
    about = InfoMetricFamily(f"{PREFIX}run", "The current or next run: its scenario, and its servers' kind and version.")
    cluster = {name: str(seen.cluster[name]) for name in ("kind", "version", "replication")}  # it has secrets, too
    about.add_metric([], {"scenario": seen.scenario, **cluster})
    yield about
    yield _gauge("run_active", "", [((), seen.active)])
    yield _gauge("users", "", [((), seen.users)])
    states = seen.states.items()
    yield _gauge("server_state", "server state", (((name, one), one == now) for name, (now, _) in states for one in STATES))
    yield _gauge("server_requests_in_flight", "server", (((name,), waiting) for name, (_, waiting) in states))
    servers = [server["name"] for server in seen.cluster["servers"]] if seen.primary else []
    yield _gauge("primary", "server", (((name,), name == seen.primary) for name in servers))
    faults = seen.faults.items()
    yield _gauge("fault_active", "fault target", ((fault, on) for fault, (on, _) in faults))
    yield _gauge("fault_start_timestamp_seconds", "fault target", ((fault, round(start, 3)) for fault, (_, start) in faults))


def _counter(name: str, labels: str, values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    return _filled(CounterMetricFamily(PREFIX + name, HELP[name], labels=labels.split()), values)


def _gauge(name: str, labels: str, values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    return _filled(GaugeMetricFamily(PREFIX + name, HELP[name], labels=labels.split()), values)


def _filled(
    family: CounterMetricFamily | GaugeMetricFamily, values: Iterable[tuple[Sequence[str], float]]
) -> CounterMetricFamily | GaugeMetricFamily:
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def _outcomes(done: OperationBatch) -> Collection[tuple[str, Mapping[int, int]]]:
    return ("ok", done.ok), ("failed", done.failed)


def _kind(message: str) -> str:
    """The class of an error. A message is never a label."""
    found = _CLASS.match(message)
    return found[1] if found else _OWN_KINDS.get(message, OTHER)


def _bounded(name: str, known: set[str]) -> str:
    if name not in known and len(known) >= MOST_NAMES:
        return OTHER
    known.add(name)
    return name
