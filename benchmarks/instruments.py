"""Measure what instruments cost a call: `Table.get` by 64 tasks, with different ones. `./dev bench instruments`

The server is another process that answers at once. Prints the CPU time of the client's process per get, the least of a few
rounds, in which the settings alternate. Spans go through a batch processor to nowhere.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import trio
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import NoOpTracerProvider
from rich.console import Console
from rich.table import Table

import trio_hs
from trio_hs.opentelemetry import OpenTelemetryInstrument

from .stops import server

TASKS = 64
Instruments = list[trio_hs.Instrument]


class Connections(trio_hs.Instrument):
    def connection_up(self, server: str) -> None:
        pass


class Requests(trio_hs.Instrument):
    def request_done(self, server: str, operation: str, table: str, requests: int, seconds: float, failed: bool) -> None:
        pass


class Calls(trio_hs.Instrument):
    def call_ended(self, call: trio_hs.Call, outcome: trio_hs.Outcome, context: object) -> None:
        pass


class Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def metrics() -> Instruments:
    return [OpenTelemetryInstrument(tracer_provider=NoOpTracerProvider(), meter_provider=meters())]


def spans(sampler: Sampler) -> Instruments:
    tracers = TracerProvider(sampler=sampler)
    tracers.add_span_processor(BatchSpanProcessor(Nowhere()))
    return [OpenTelemetryInstrument(tracer_provider=tracers, meter_provider=meters())]


def meters() -> MeterProvider:
    return MeterProvider([InMemoryMetricReader()])


SETTINGS: dict[str, Callable[[], Instruments]] = {
    "no instrument": list,
    "one that watches connections": lambda: [Connections()],
    "one that watches requests": lambda: [Requests()],
    "one that watches calls": lambda: [Calls()],
    "OpenTelemetry, switched off": lambda: [
        OpenTelemetryInstrument(tracer_provider=NoOpTracerProvider(), meter_provider=NoOpMeterProvider())
    ],
    "OpenTelemetry, metrics": metrics,
    "OpenTelemetry, metrics and spans of which none is sampled": lambda: spans(ALWAYS_OFF),
    "OpenTelemetry, metrics and all spans": lambda: spans(ALWAYS_ON),
}


async def measure(port: int, instruments: Instruments, gets: int) -> float:
    """Microseconds of CPU time per get."""
    address = [("inet", "127.0.0.1", port)]
    async with trio_hs.open_manager(address, address, instruments=instruments) as hs:
        table = hs.table("d", "t", ["id", "n", "payload"])
        await table.get(0)

        async def work() -> None:
            for key in range(gets // TASKS):
                await table.get(key)

        began = time.process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(TASKS):
                nursery.start_soon(work)
        return (time.process_time() - began) / (gets // TASKS * TASKS) * 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench instruments", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gets", type=int, default=20_000, help="per measurement")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    if options.gets < TASKS or options.rounds < 1:
        parser.error(f"--gets must be at least {TASKS}, and --rounds at least 1")
    least: dict[str, float] = {}
    with server() as port:
        for _ in range(options.rounds):
            for name, make in SETTINGS.items():
                least[name] = min(trio.run(measure, port, make(), options.gets), least.get(name, float("inf")))
    table = Table("instruments", "µs per get", "more")
    for name, microseconds in least.items():
        table.add_row(name, f"{microseconds:.1f}", f"{microseconds - least['no instrument']:.1f}")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
