"""Spans and metrics for OpenTelemetry, by its conventions for MariaDB. Needs the extra ``otel``.

The names of spans, metrics and attributes are those of OpenTelemetry's semantic conventions for database clients, of which the
spans and ``db.client.operation.duration`` are stable. No attribute has a value of a row, a secret, or the text of an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

try:
    from opentelemetry import metrics, trace
except ImportError as error:  # pragma: no cover  (the tests have it)
    raise ImportError("trio_hs.opentelemetry needs opentelemetry-api: pip install 'trio-hs[otel]'") from error

import trio_hs

from ._instruments import Call, Instrument, Outcome
from ._network import ConnectionPool
from .exceptions import WORDS, ConnectionError, OperationalError

__all__ = ["OpenTelemetryInstrument"]

#: The version of the conventions in which those for databases became stable.
SCHEMA_URL = "https://opentelemetry.io/schemas/1.33.0"
#: Bounds of the histogram's buckets in seconds, as the conventions recommend them.
BOUNDARIES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)

_Attributes = Mapping[str, str | int]


class OpenTelemetryInstrument(Instrument):
    """Reports every call as a span and in a histogram, and the connections of every pool.

    ``open_manager(instruments=[OpenTelemetryInstrument()])``. Make one and give it to every Manager. By default it uses the
    providers that the program has set, now or later, and reports nothing while there are none.

    Args:
      tracer_provider: makes the spans. ``opentelemetry.trace.NoOpTracerProvider()`` turns them off.
      meter_provider: takes the metrics. ``opentelemetry.metrics.NoOpMeterProvider()`` turns them off.
      pool_name: the pools are ``NAME.reads`` and ``NAME.writes`` in ``db.client.connection.pool.name``. Pools of one name are
        added up.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        pool_name: str = "trio_hs",
    ) -> None:
        self._tracer = trace.get_tracer("trio_hs", trio_hs.__version__, tracer_provider, SCHEMA_URL)
        meter = metrics.get_meter("trio_hs", trio_hs.__version__, meter_provider, SCHEMA_URL)
        self._duration = meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of database client operations.",
            explicit_bucket_boundaries_advisory=BOUNDARIES,
        )
        self._pool_name = pool_name
        key = meter_provider or _GLOBAL
        if key not in _POOLS:
            _POOLS[key] = _Pools(meter)
        self._pools = _POOLS[key]

    def pool_opened(self, pool: ConnectionPool) -> None:
        self._pools.open.append((f"{self._pool_name}.{'writes' if pool.for_writes else 'reads'}", pool))

    def pool_closed(self, pool: ConnectionPool) -> None:
        self._pools.open = [(name, other) for name, other in self._pools.open if other is not pool]

    def call_started(self, call: Call) -> trace.Span:
        operation = _operation(call)
        attributes = _attributes(operation, call.db, call.table, None)
        if call.rows > 1:
            attributes = {**attributes, "db.operation.batch.size": call.rows}
        return self._tracer.start_span(f"{operation} {call.table}", kind=trace.SpanKind.CLIENT, attributes=attributes)

    def call_ended(self, call: Call, outcome: Outcome, context: trace.Span) -> None:
        span = context
        attributes = _attributes(_operation(call), call.db, call.table, outcome.server)
        failure = _failure(outcome) if outcome.error is not None else {}
        if failure:
            attributes = {**attributes, **failure}
        if not span.is_recording():
            self._duration.record(outcome.seconds, attributes)
            return
        self._duration.record(outcome.seconds, attributes, trace.set_span_in_context(span))  # for exemplars
        if outcome.server is not None:
            span.set_attributes(_address(outcome.server))
        if outcome.retries:
            span.set_attribute("trio_hs.retries", outcome.retries)
        if outcome.error is not None:
            span.set_attributes(failure)
            if call.changes:
                span.set_attribute("trio_hs.maybe_applied", outcome.maybe_applied)
            if call.rows > 1 and call.changes:
                span.set_attribute("trio_hs.failed_rows", outcome.failed)
            span.set_status(trace.StatusCode.ERROR, _description(outcome.error))
        span.end()


def _operation(call: Call) -> str:
    """The name of the operation. Of many rows it is that of one row, as the conventions have it."""
    single = call.operation.removesuffix("_many")
    return f"BATCH {single}" if call.rows > 1 else single


@lru_cache(4096)
def _attributes(operation: str, db: str, table: str, server: str | None) -> _Attributes:
    attributes: dict[str, str | int] = {
        "db.system.name": "mariadb",
        "db.namespace": db,
        "db.collection.name": table,
        "db.operation.name": operation,
    }
    if server is not None:
        attributes.update(_address(server))
    return attributes


@lru_cache(4096)
def _address(server: str) -> _Attributes:
    """The attributes of a server, which is ``host:port``, ``[address]:port``, or the path of a socket."""
    host, colon, port = server.rpartition(":")
    if "/" in server or not colon or not port.isdecimal():
        return {"server.address": server}
    return {"server.address": host.removeprefix("[").removesuffix("]"), "server.port": int(port)}


def _failure(outcome: Outcome) -> dict[str, str]:
    error = outcome.error
    # A ConnectionError has subclasses that a program does not tell apart.
    failure = {"error.type": "ConnectionError" if isinstance(error, ConnectionError) else type(error).__qualname__}
    if isinstance(error, OperationalError):
        known = error.message in WORDS or re.fullmatch("[0-9]{1,6}", error.message)
        # Another word would be garbage, and might be anything.
        failure["db.response.status_code"] = f"{error.code} {error.message}" if known else str(error.code)
    return failure


def _description(error: BaseException) -> str | None:
    """What went wrong, in words of ours: the text of an error may quote what a user's own ``connect=`` raised."""
    if isinstance(error, OperationalError):
        return error.meaning
    return None if error.__cause__ is None else type(error.__cause__).__qualname__


class _Pools:
    """Reports the connections of open pools. There is one for each provider of meters, which ignores a second metric of a name.

    Attributes:
      open: the pools, with their names.
    """

    def __init__(self, meter: metrics.Meter) -> None:
        self.open: list[tuple[str, ConnectionPool]] = []
        meter.create_observable_up_down_counter(
            "db.client.connection.count",
            [self._count],
            unit="{connection}",
            description="The number of connections that are currently in state described by the state attribute.",
        )
        meter.create_observable_up_down_counter(
            "db.client.connection.max",
            [self._max],
            unit="{connection}",
            description="The maximum number of open connections allowed.",
        )
        meter.create_observable_up_down_counter(
            "db.client.connection.pending_requests",
            [self._pending],
            unit="{request}",
            description="The number of current pending requests for an open connection.",
        )

    # These run in the thread of the program's metric reader.

    def _count(self, _options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        return _added_up(
            (each, {**name, **_address(one.server), "db.client.connection.state": state})
            for name, pool in self._named()
            for one in pool.statistics()
            for state, each in (("idle", one.connections - one.busy), ("used", one.busy))
        )

    def _max(self, _options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        return _added_up(
            (one.max_connections, {**name, **_address(one.server)}) for name, pool in self._named() for one in pool.statistics()
        )

    def _pending(self, _options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        return _added_up((pool.waiting, name) for name, pool in self._named())

    def _named(self) -> Iterator[tuple[_Attributes, ConnectionPool]]:
        for name, pool in self.open:
            yield {"db.client.connection.pool.name": name}, pool


def _added_up(figures: Iterable[tuple[int, _Attributes]]) -> list[metrics.Observation]:
    """An observation of each set of attributes."""
    sums: dict[tuple[tuple[str, str | int], ...], int] = {}
    for number, attributes in figures:
        key = tuple(attributes.items())
        sums[key] = sums.get(key, 0) + number
    return [metrics.Observation(number, dict(key)) for key, number in sums.items()]


class _Global:
    """In the place of the provider that the program sets."""


_GLOBAL: Any = _Global()
_POOLS: WeakKeyDictionary[Any, _Pools] = WeakKeyDictionary()
