"""The snippets of docs/observability.md work as printed. Fake servers, virtual time."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import trio
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from trio.testing import MockClock

import trio_hs
from tests.trio_hs.support.clients import managed
from tests.trio_hs.support.fake import echo, kill

PAGE = Path(__file__).parents[2] / "docs" / "observability.md"


def blocks() -> list[str]:
    """The Python blocks of the page."""
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def names_of(beginning: str, **given: Any) -> dict[str, Any]:
    """What the only block that begins so defines."""
    (block,) = (block for block in blocks() if block.startswith(beginning))
    exec(compile(block, str(PAGE), "exec"), given)
    return given


async def test_the_instrument_prints_what_is_slow_or_fails(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    printed: list[str] = []
    names = names_of("class SlowCalls", trio_hs=trio_hs, print=printed.append)
    async with managed(nursery, instruments=[names["SlowCalls"]()]) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        assert printed == []
        fakes[3].answer = lambda line: b"1\t1\t121\n" if line[:1].isdigit() else echo(line)
        with pytest.raises(trio_hs.DuplicateKeyError):
            await hs.insert("d", "t", [("id", 1)])
        fakes[3].answer = lambda line: None if line[:1].isdigit() else echo(line)
        with trio.move_on_after(0.5):
            await hs.insert("d", "t", [("id", 1)])
        kill(fakes[1])
        kill(fakes[2])
        with pytest.raises(trio_hs.ConnectionError):
            await hs.get("d", "t", ["id"], 1)
    assert printed == [
        "insert t: DuplicateKeyError 1 121 at fake:3",
        "insert t: cancelled after 0.50 s",
        "get t: ConnectionError None at None",
    ]


async def test_the_formatter_writes_the_attributes(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    lines: list[Any] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(json.loads(handler.format(record)))  # type: ignore[method-assign]
    handler.setFormatter(names_of("class AsJson", json=json, logging=logging)["AsJson"]())
    logger = logging.getLogger("trio_hs")
    logger.addHandler(handler)
    try:
        async with managed(nursery) as (hs, fakes):
            await hs.connect()
            kill(fakes[1])
            await trio.sleep(1)
    finally:
        logger.removeHandler(handler)
    assert {"level": "WARNING", "message": "fake:1: cannot connect: Connection refused", "server": "fake:1"} in lines
    failover = "failover: reads go to fake:2, and no longer to fake:1"
    assert {"level": "WARNING", "message": failover, "servers": ["fake:2"]} in lines


async def test_opentelemetry_is_set_up_as_the_page_says(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """With an exporter and readers in memory in the place of those that print."""
    to_providers_of_the_program, to_named_ones, with_a_view = (block for block in blocks() if "opentelemetry" in block)
    spans = InMemorySpanExporter()
    names: dict[str, Any] = {"trio_hs": trio_hs, "spans": spans}

    async def run(original: str) -> str:
        names["reader"] = InMemoryMetricReader()
        block = original.replace("ConsoleSpanExporter()", "spans")
        exec(block.replace("PeriodicExportingMetricReader(ConsoleMetricExporter())", "reader"), names)
        telemetry = names["telemetry"]
        if original is with_a_view:
            telemetry = names["OpenTelemetryInstrument"](meter_provider=names["meters"])
        async with managed(nursery, instruments=[telemetry]) as (hs, _):
            await hs.get("d", "t", ["id"], 1)
        data = names["reader"].get_metrics_data() if "meters" in names else None
        return "" if data is None else data.to_json(indent=None)

    assert await run(to_providers_of_the_program) == ""
    assert "db.client.operation.duration" in await run(to_named_ones)
    names["tracers"].force_flush()
    assert [span.name for span in spans.get_finished_spans()] == ["get t"]
    names["tracers"].shutdown()
    names["meters"].shutdown()
    assert '"explicit_bounds": [0.0001, 0.0002' in await run(with_a_view)
    names["meters"].shutdown()
