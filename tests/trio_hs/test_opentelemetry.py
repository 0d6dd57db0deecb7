"""What OpenTelemetry gets of the client, in the SDK's exporters in memory. Fake servers, virtual time."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, Metric
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import A, managed
from tests.trio_hs.support.fake import FakeServer, black_hole, die_on_the_first_request, echo, kill
from trio_hs import Server
from trio_hs.opentelemetry import BOUNDARIES, OpenTelemetryInstrument, _address

GET = {"db.system.name": "mariadb", "db.namespace": "d", "db.collection.name": "t", "db.operation.name": "get"}
DURATION = "db.client.operation.duration"


class Exported:
    """Providers of the SDK, and what was exported by them."""

    def __init__(self, sampler: sampling.Sampler = sampling.ALWAYS_ON) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)

    def instrument(self, **options: Any) -> OpenTelemetryInstrument:
        return OpenTelemetryInstrument(tracer_provider=self.tracers, meter_provider=self.meters, **options)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def span(self) -> ReadableSpan:
        """The only one since the last call."""
        (span,) = self.spans
        self.exporter.clear()
        return span

    def metric(self, name: str) -> Metric | None:
        data = self.reader.get_metrics_data()
        if data is None:
            return None
        found = [metric for one in data.resource_metrics for scope in one.scope_metrics for metric in scope.metrics]
        return next((metric for metric in found if metric.name == name), None)

    def durations(self) -> list[HistogramDataPoint]:
        metric = self.metric(DURATION)
        return [] if metric is None else [point for point in metric.data.data_points if isinstance(point, HistogramDataPoint)]

    def figures(self, name: str, *attributes: str) -> dict[tuple[Any, ...], Any]:
        """The values of a metric, by some of its attributes."""
        metric = self.metric(name)
        points: list[Any] = [] if metric is None else list(metric.data.data_points)
        by_attributes = {tuple(point.attributes.get(one) for one in attributes): point.value for point in points}
        assert len(by_attributes) == len(points)
        return by_attributes

    def close(self) -> None:
        self.tracers.shutdown()
        self.meters.shutdown()


@pytest.fixture
def exported() -> Iterator[Exported]:
    exported = Exported()
    yield exported
    exported.close()


def answering(answer: bytes | None) -> Callable[[bytes], bytes | None]:
    return lambda line: answer if line[:1].isdigit() else echo(line)


async def test_a_call_is_a_span_and_a_duration(nursery: trio.Nursery, autojump_clock: MockClock, exported: Exported) -> None:
    async with managed(nursery, instruments=[exported.instrument()]) as (hs, fakes):
        kill(fakes[2])
        await hs.get("d", "t", ["id"], 1)
        span = exported.span()
        attributes = {**GET, "server.address": "fake", "server.port": 1}
        assert (span.name, span.kind, span.parent) == ("get t", SpanKind.CLIENT, None)
        assert span.attributes == attributes
        assert span.status.status_code == StatusCode.UNSET
        assert span.instrumentation_scope is not None
        assert (span.instrumentation_scope.name, span.instrumentation_scope.version) == ("trio_hs", trio_hs.__version__)
        assert span.instrumentation_scope.schema_url == "https://opentelemetry.io/schemas/1.33.0"
        (point,) = exported.durations()
        assert point.attributes == attributes
        assert (point.count, tuple(point.explicit_bounds)) == (1, BOUNDARIES)
        metric = exported.metric(DURATION)
        assert metric is not None
        assert metric.unit == "s"
        await hs.get("d", "t", ["id"], 1)  # which finds its connection
        assert exported.span().attributes == attributes


@pytest.mark.parametrize(
    "answer,kind,code,description",
    [
        (b"1\t1\t121\n", "DuplicateKeyError", "1 121", "duplicate key"),
        (b"1\t1\tlock_tables\n", "ReadOnlyError", "1 lock_tables", "the server takes no writes here"),
        (b"1\t1\t4711\n", "OperationalError", "1 4711", "the server refused the request"),
        (b"1\t1\tword\n", "OperationalError", "1", "the server refused the request"),
        (b"0\t9\tx\n", "ConnectionError", None, "ProtocolError"),
    ],
)
async def test_an_error_has_its_class_and_code(
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    exported: Exported,
    answer: bytes,
    kind: str,
    code: str | None,
    description: str,
) -> None:
    async with managed(nursery, instruments=[exported.instrument()]) as (hs, fakes):
        fakes[3].answer = fakes[4].answer = answering(answer)
        with pytest.raises(trio_hs.HandlerSocketError) as caught:
            await hs.insert("d", "t", [("id", 1)])
    span = exported.span()
    failure = {"error.type": kind, **({"db.response.status_code": code} if code else {})}
    assert span.attributes is not None
    assert {name: value for name, value in span.attributes.items() if name in failure} == failure
    assert span.attributes["trio_hs.maybe_applied"] == getattr(caught.value, "maybe_applied", False)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, description)
    assert span.events == ()
    (point,) = exported.durations()
    assert point.attributes is not None
    assert {name: value for name, value in point.attributes.items() if "type" in name or "code" in name} == failure


async def test_lost_unavailable_and_cancelled_are_errors_too(
    nursery: trio.Nursery, autojump_clock: MockClock, exported: Exported
) -> None:
    async with managed(nursery, instruments=[exported.instrument()]) as (hs, fakes):
        die_on_the_first_request(fakes[3])
        with pytest.raises(trio_hs.ConnectionError):
            await hs.insert("d", "t", [("id", 1)])
        lost = exported.span()
        fakes[3].answer = answering(None)
        with trio.move_on_after(0.5):
            await hs.insert("d", "t", [("id", 1)])
        cancelled = exported.span()
        kill(fakes[1])
        kill(fakes[2])
        with pytest.raises(trio_hs.ConnectionError):
            await hs.get("d", "t", ["id"], 1)
        nobody = exported.span()
    table = [(span.status.description, dict(span.attributes or {})) for span in (lost, cancelled, nobody)]
    insert = {**GET, "db.operation.name": "insert", "server.address": "fake", "server.port": 3}
    assert table == [
        ("ConnectionResetError", {**insert, "error.type": "ConnectionError", "trio_hs.maybe_applied": True}),
        (None, {**insert, "error.type": "Cancelled", "trio_hs.maybe_applied": True}),
        (None, {**GET, "error.type": "ConnectionError", "trio_hs.retries": 4}),
    ]
    (seconds,) = (point.sum for point in exported.durations() if (point.attributes or {}).get("error.type") == "Cancelled")
    assert seconds == 0.5


async def test_many_rows_are_a_batch(nursery: trio.Nursery, autojump_clock: MockClock, exported: Exported) -> None:
    async with managed(nursery, instruments=[exported.instrument()]) as (hs, fakes):
        await hs.get_many("d", "t", ["id"], range(3000))
        span = exported.span()
        assert span.attributes is not None
        assert (span.name, span.attributes["db.operation.name"]) == ("BATCH get t", "BATCH get")
        assert span.attributes["db.operation.batch.size"] == 3000
        fakes[3].answer = answering(b"1\t1\t121\n")
        await hs.insert_many("d", "t", ["id"], [[1], [2], [3]])
        span = exported.span()
        assert span.attributes is not None
        assert (span.name, span.attributes["db.operation.batch.size"]) == ("BATCH insert t", 3)
        assert (span.attributes["error.type"], span.attributes["trio_hs.failed_rows"]) == ("DuplicateKeyError", 3)
        await hs.get_many("d", "t", ["id"], [1])
        span = exported.span()
        assert span.attributes is not None
        assert (span.name, span.attributes.get("db.operation.batch.size")) == ("get t", None)
        assert all("db.operation.batch.size" not in (point.attributes or {}) for point in exported.durations())


async def test_one_span_covers_all_attempts(nursery: trio.Nursery, autojump_clock: MockClock, exported: Exported) -> None:
    async with managed(nursery, instruments=[exported.instrument()]) as (hs, fakes):
        await hs.connect()
        die_on_the_first_request(fakes[1], fakes[2])
        await hs.get("d", "t", ["id"], 1)
    span = exported.span()
    assert span.attributes is not None
    assert span.attributes["trio_hs.retries"] == 1
    assert "error.type" not in span.attributes
    assert span.status.status_code == StatusCode.UNSET


async def test_a_span_is_a_child_of_its_callers(nursery: trio.Nursery, autojump_clock: MockClock, exported: Exported) -> None:
    tracer = exported.tracers.get_tracer("program")

    async def caller(name: str) -> None:
        with tracer.start_as_current_span(name):
            await trio.lowlevel.checkpoint()
            await hs.get("d", name, ["id"], 1)

    async with managed(nursery, instruments=[exported.instrument()]) as (hs, _):
        async with trio.open_nursery() as callers:
            for number in range(8):
                callers.start_soon(caller, f"t{number}")
    parents = {span.context.span_id: span.name for span in exported.spans if span.parent is None}
    children = [(span.name, parents[span.parent.span_id]) for span in exported.spans if span.parent is not None]
    assert sorted(children) == [(f"get t{number}", f"t{number}") for number in range(8)]


async def test_spans_that_are_not_sampled_still_count(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    exported = Exported(sampling.ALWAYS_OFF)
    async with managed(nursery, instruments=[exported.instrument()]) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        fakes[3].answer = answering(b"1\t1\t121\n")
        with pytest.raises(trio_hs.DuplicateKeyError):
            await hs.insert("d", "t", [("id", 1)])
    assert exported.spans == ()
    kinds = [(point.attributes or {}).get("error.type") for point in exported.durations()]
    assert sorted(map(str, kinds)) == ["DuplicateKeyError", "None"]
    exported.close()


@pytest.mark.parametrize(
    "options", [{}, {"tracer_provider": NoOpTracerProvider(), "meter_provider": NoOpMeterProvider()}], ids=["none", "off"]
)
async def test_without_providers_nothing_is_reported(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    async with managed(nursery, instruments=[OpenTelemetryInstrument(**options)]) as (hs, _):
        assert await hs.get("d", "t", ["id"], 1) == [("id", "1")]
        assert await hs.insert_many("d", "t", ["id"], [[1], [2]]) == [1, 1]
    assert "not used any more" not in caplog.text


# ---- pools


async def test_the_connections_of_pools_are_counted(
    nursery: trio.Nursery, autojump_clock: MockClock, exported: Exported
) -> None:
    pool, state = "db.client.connection.pool.name", "db.client.connection.state"
    async with managed(nursery, instruments=[exported.instrument(pool_name="shop")], connections=2) as (hs, fakes):
        await hs.connect()
        count = exported.figures("db.client.connection.count", pool, "server.port", state)
        assert count == {
            (f"shop.{kind}", port, state): 2 * (state == "idle")
            for kind, ports in (("reads", (1, 2)), ("writes", (3, 4)))
            for port in ports
            for state in ("idle", "used")
        }
        assert set(exported.figures("db.client.connection.max", pool, "server.port").values()) == {2}
        for port in (1, 2):
            black_hole(fakes[port])
            for connection in fakes[port].open:
                connection.reset()
        fakes[3].answer = answering(None)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as callers:
            for _ in range(3):
                callers.start_soon(hs.get, "d", "t", ["id"], 1)
            callers.start_soon(hs.insert, "d", "t", [("id", 1)])
            await wait_all_tasks_blocked()
            count = exported.figures("db.client.connection.count", pool, "server.port", state)
            assert [count["shop.reads", port, "idle"] for port in (1, 2)] == [0, 0]
            assert [count["shop.writes", 3, state] for state in ("idle", "used")] == [1, 1]
            pending = exported.figures("db.client.connection.pending_requests", pool)
            assert pending == {("shop.reads",): 3, ("shop.writes",): 0}
            callers.cancel_scope.cancel()
        assert await trio.to_thread.run_sync(exported.figures, "db.client.connection.pending_requests", pool)
    for name in ("count", "max", "pending_requests"):
        assert exported.figures(f"db.client.connection.{name}", pool) == {}


async def test_the_pools_of_several_managers_are_added_up(
    nursery: trio.Nursery, autojump_clock: MockClock, exported: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    def most() -> dict[tuple[Any, ...], Any]:
        return exported.figures("db.client.connection.max", "db.client.connection.pool.name", "server.port")

    shared = exported.instrument()
    async with managed(nursery, instruments=[shared]), managed(nursery, instruments=[shared], connections=2):
        assert most()["trio_hs.reads", 1] == 3
        async with managed(nursery, instruments=[exported.instrument()]):  # the SDK would ignore its metrics
            assert most()["trio_hs.reads", 1] == 4
            async with managed(nursery, instruments=[exported.instrument(pool_name="other")]):
                assert (most()["trio_hs.reads", 1], most()["other.reads", 1]) == (4, 1)
        assert most()["trio_hs.reads", 1] == 3
    assert most() == {}
    assert caplog.text == ""


# ---- what must never be exported

SECRET = "hunter2"


async def test_neither_secrets_nor_values_are_exported(
    nursery: trio.Nursery, autojump_clock: MockClock, exported: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    """Each way in which a call can end, with a secret and values that are the same text."""
    caplog.set_level(logging.DEBUG)

    def leak(**values: str) -> None:
        raise RuntimeError(f"cannot use {values}")

    async def end(answer: bytes | None, fakes: dict[int, FakeServer], hs: trio_hs.Manager) -> None:
        for fake in fakes.values():
            fake.answer = echo if answer == b"" else answering(answer)
        table = hs.table("d", "t", ["id"], row=leak)
        calls: list[Callable[[], Any]] = [
            lambda: hs.get("d", "t", ["id"], SECRET),
            lambda: hs.get_many("d", "t", ["id"], [SECRET] * 20),
            lambda: hs.insert("d", "t", [("id", SECRET)]),
            lambda: hs.insert_many("d", "t", ["id"], [[SECRET]]),
            lambda: hs.update("d", "t", "=", ["id"], [SECRET], [SECRET], return_original=True),
            lambda: table.find("=", [SECRET]),
        ]
        for call in calls:
            with trio.move_on_after(0.3):
                try:
                    await call()
                except (trio_hs.HandlerSocketError, RuntimeError):
                    pass

    text = SECRET.encode()
    columns: dict[str, Any] = {"read_secret": SECRET, "write_secret": SECRET, "instruments": [exported.instrument()]}
    for answer in (b"", None, b"1\t1\t121\n", b"1\t1\t" + text + b"\n", text + b"\n", b"0\t1\t" + text + b"\xff\n"):
        async with managed(nursery, retry=trio_hs.RetryPolicy(attempts=2, repeat_writes=["insert"]), **columns) as (hs, fakes):
            await end(answer, fakes, hs)
            await end(b"0\t2\t" + text + b"\t" + text + b"\n", fakes, hs)

    assert SECRET not in caplog.text

    async def refuse(server: Server) -> trio_hs.Transport:
        raise OSError(f"the proxy does not take the password {SECRET}")

    async with trio_hs.open_manager([A], [A], connect=refuse, instruments=[exported.instrument()]) as hs:
        with pytest.raises(trio_hs.ConnectionError, match=SECRET):
            await hs.get("d", "t", ["id"], SECRET)
    kinds = {str((span.attributes or {}).get("error.type")) for span in exported.spans}
    assert {"None", "Cancelled", "DuplicateKeyError", "OperationalError", "ConnectionError", "DecodingError"} < kinds
    assert "RuntimeError" in kinds
    data = exported.reader.get_metrics_data()
    assert data is not None
    assert SECRET not in data.to_json() + "".join(span.to_json() for span in exported.spans)


@given(
    st.one_of(
        st.builds(
            Server,
            st.just("inet"),
            st.sampled_from(["localhost", "db1.example", "10.0.0.1", "::1", "fe80::1:2"]),
            st.integers(1, 65535),
        ),
        st.builds(Server, st.just("unix"), st.sampled_from(["/run/hs.sock", "/run/hs:9998", "./a:1", "hs.sock"])),
    )
)
def test_a_server_is_an_address_and_a_port(server: Server) -> None:
    expected = {"server.address": server.host} | ({} if server.port is None else {"server.port": server.port})
    assert _address(str(server)) == expected


def test_without_the_extra_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "trio_hs.opentelemetry")
    with pytest.raises(ImportError, match=r"pip install 'trio-hs\[otel\]'"):
        importlib.import_module("trio_hs.opentelemetry")
