"""From latencies to Locust's statistics and our summary: merging in any order gives the figures of the pooled samples."""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from fractions import Fraction
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from locust.event import Events
from locust.stats import (
    RequestStats,
    get_error_report_summary,
    get_percentile_stats_summary,
    get_stats_summary,
    setup_distributed_stats_event_listeners,
)
from rich.console import Console

from hs_drill.in_locust._locust_stats import METHOD, merge, milliseconds
from hs_drill.metrics import NOT_STARTED, OTHER_ERRORS, UNANSWERED, Batch, EngineUse, Latencies, OperationBatch, RunTotals
from hs_drill.metrics._batch import MAX_ERRORS, microseconds
from hs_drill.metrics._totals import HIGHEST
from hs_drill.report._terminal import print_summary, progress_line

_latencies = st.lists(st.integers(0, 80_000_000) | st.integers(0, 5000), max_size=60)


def batch(ok: list[int], failed: list[int] = [], start: float = 1000.25, name: str = "get") -> Batch:  # noqa: B006
    errors = Counter({"OperationalError: no": len(failed)} if failed else {})
    return Batch(start, start + 0.25, {name: OperationBatch(Counter(ok), Counter(failed), errors)} if ok or failed else {})


@given(st.lists(st.tuples(_latencies, _latencies), min_size=1, max_size=5), st.sampled_from([50.0, 95.0, 99.0, 99.9]))
@settings(deadline=None)  # making a histogram is slow
def test_merged_percentiles_are_those_of_the_pooled_samples(parts: list[tuple[list[int], list[int]]], percent: float) -> None:
    record = RunTotals()
    for ok, failed in parts:
        record.merge(Batch.from_wire(msgpack.unpackb(msgpack.packb(batch(ok, failed).to_wire()), strict_map_key=False)))
    for position, which in enumerate(["ok", "failed"]):
        pooled = sorted(latency for part in parts for latency in part[position])
        operation = record.operations.get("get")
        latencies: Latencies = getattr(operation, which) if operation else Latencies()
        assert latencies.count == len(pooled)
        assert latencies.max == max(pooled, default=0)
        if pooled:
            rank = math.ceil(len(pooled) * Fraction(str(percent)) / 100)
            exact = min(pooled[rank - 1], HIGHEST)
            assert exact <= latencies.percentile(percent) <= exact * 1.001 + (0 if exact < 2048 else 1)


@given(st.lists(_latencies, min_size=1, max_size=4))
@settings(deadline=None)
def test_collapsed_batches_give_the_same_statistics(parts: list[list[int]]) -> None:
    """Workers collapse batches between two reports to the master."""
    apart, together = RunTotals(), RunTotals()
    whole = batch(parts[0])
    for part in parts[1:]:
        whole.add(batch(part))
    for part in parts:
        apart.merge(batch(part))
    together.merge(whole)
    for percent in (1, 50, 99, 100):
        assert [r.ok.percentile(percent) for r in apart.operations.values()] == [
            r.ok.percentile(percent) for r in together.operations.values()
        ]
    assert (apart.start, apart.end) == (together.start, together.end)


def test_microseconds_are_cut_off_not_rounded() -> None:
    assert microseconds([999, 1000, 1999, 2000]) == {0: 1, 1: 2, 2: 1}


def test_error_messages_are_bounded() -> None:
    whole = OperationBatch()
    for number in range(3 * MAX_ERRORS):
        whole.add(OperationBatch(errors=Counter({f"error {number}": 2})))
    assert len(whole.errors) == MAX_ERRORS + 1
    assert whole.errors[OTHER_ERRORS] == 2 * 2 * MAX_ERRORS
    assert whole.errors.total() == 6 * MAX_ERRORS


@given(st.integers(0, 100_000_000))
def test_keys_for_locust_have_three_digits(latency: int) -> None:
    key = milliseconds(latency)
    assert key == pytest.approx(latency / 1000, rel=0.005)
    assert float(f"{key:.3g}") == key


def locust_statistics(*batches: Batch) -> RequestStats:
    stats = RequestStats()
    for one in batches:
        merge(one, stats)
    return stats


def test_locust_sees_requests() -> None:
    stats = locust_statistics(batch([100, 100, 2000], [50_000], start=1000.25), batch([300], start=1001.75))
    entry = stats.entries[("get", METHOD)]
    for seen in (entry, stats.total):
        assert (seen.num_requests, seen.num_failures) == (5, 1)
        assert seen.response_times == {0.1: 2, 2.0: 1, 50.0: 1, 0.3: 1}
        assert seen.num_reqs_per_sec == {1000: 4, 1001: 1}
        assert seen.num_fail_per_sec == {1000: 1}
        assert seen.total_response_time == pytest.approx(52.5)
        assert (seen.min_response_time, seen.max_response_time) == (0.1, 50.0)
        assert seen.last_request_timestamp == 1002.0
        assert seen.median_response_time == 0.3
        assert seen.start_time == 1000.25
    [error] = stats.errors.values()
    assert (error.name, error.method, error.error, error.occurrences) == ("get", METHOD, "OperationalError: no", 1)


def test_every_consumer_accepts_fractions_of_milliseconds() -> None:
    stats = locust_statistics(batch([183, 183, 184], [5]))
    assert stats.total.get_response_time_percentile(0.5) == 0.183
    for lines in (
        get_stats_summary(stats, current=False),
        get_percentile_stats_summary(stats),
        get_error_report_summary(stats),
    ):
        assert lines
    told = json.loads(json.dumps(stats.total.to_dict()))
    assert told["median_response_time"] == 0.183
    assert told["response_time_percentile_0.99"] == 0.184


def test_a_master_adds_up_what_workers_send() -> None:
    worker = locust_statistics(batch([183], [900]))
    master = locust_statistics(batch([10]))
    new_events: Any = Events  # not typed
    events, sent = {"worker": new_events(), "master": new_events()}, dict[str, Any]()
    setup_distributed_stats_event_listeners(events["worker"], worker)
    setup_distributed_stats_event_listeners(events["master"], master)
    events["worker"].report_to_master.fire(client_id="1", data=sent)
    assert worker.entries[("get", METHOD)].num_requests == 0, "sending clears it"
    events["master"].worker_report.fire(client_id="1", data=msgpack.unpackb(msgpack.packb(sent), strict_map_key=False))
    assert master.entries[("get", METHOD)].response_times == {0.01: 1, 0.183: 1, 0.9: 1}


def summary(*batches: Batch, order: tuple[str, ...] = ("get", "find"), open_loop: bool = False) -> str:
    record = RunTotals()
    for one in batches:
        record.merge(one)
    out = io.StringIO()
    print_summary(record, "mixed: 1.0 s", list(order), Console(file=out, highlight=False), open_loop=open_loop)
    return out.getvalue()


def test_the_summary_shows_microseconds() -> None:
    text = summary(batch([183] * 98 + [2047, 1_234_567]), batch([5], [9], name="find"))
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows["operation"][1:4] == ["count", "failures", "ops/s"]
    assert rows["get"] == ["get", "100", "0", "400", "0.183", "0.183", "2.047", "1234.567", "1234.567"]
    assert rows["find"] == ["find", "2", "1", "4", "0.005", "0.005", "0.005", "0.005", "0.005"]
    assert rows["all"][:4] == ["all", "102", "1", "404"]
    assert "1 x find: OperationalError: no" in text
    assert text.index("get") < text.index("find")


def test_the_summary_does_not_call_failures_fast() -> None:
    text = summary(batch([], [7, 8]))
    assert "get  " in text
    assert "0.007" not in text
    assert "2 x get: OperationalError: no" in text


def test_the_summary_of_an_open_loop_counts_what_was_not_started() -> None:
    late = OperationBatch(Counter([3]), Counter([7, 8, 9]), Counter({NOT_STARTED: 2, "OperationalError: no": 1}))
    text = summary(Batch(100.0, 100.25, {"get": late}), batch([5], name="find"), open_loop=True)
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows["operation"][1:5] == ["count", "failures", "not", "started"]
    assert rows["get"][:4] == ["get", "4", "3", "2"]
    assert rows["find"][:4] == ["find", "1", "0", "0"]
    assert rows["all"][:4] == ["all", "5", "3", "2"]


def test_unanswered_operations_are_shown_beside_any_number_of_other_errors() -> None:
    done = OperationBatch(errors=Counter({f"OperationalError: {number}": 1 for number in range(MAX_ERRORS)}))
    done.add(OperationBatch(errors=Counter({NOT_STARTED: 5, UNANSWERED: 3, "OperationalError: one more": 2})))
    assert (done.not_started, done.errors[UNANSWERED], done.errors[OTHER_ERRORS]) == (5, 3, 2)


def test_the_summary_of_nothing_says_so() -> None:
    assert "no operation was executed" in summary()


def test_markup_in_an_error_is_text() -> None:
    one = Batch(0, 1, {"get": OperationBatch(failed=Counter([1]), errors=Counter({"bad [bold]value[/x]": 1}))})
    assert "bad [bold]value[/x]" in summary(one)


def test_the_line_of_progress() -> None:
    one = batch([183] * 99 + [20_000], [5])
    assert progress_line(one, 64, 15.2) == "  15 s  64 users  400 ops/s  p50 0.183 ms  p99 0.183 ms  1 failure"
    assert progress_line(one, 64, 15.2, "during kill reader-1").endswith("  1 failure  during kill reader-1")
    assert "0 ops/s" in progress_line(Batch(1.0, 1.0), 0, 0)
    one.engines = {0: EngineUse(seconds=1.0, cpu=0.4), 1: EngineUse(seconds=1.0, cpu=0.5, waited=0.2)}
    assert progress_line(one, 64, 15.2).endswith("  1 failure  engine 70% busy")
    one.engines[1].waited = 0.5
    assert progress_line(one, 64, 15.2, "before").endswith("  engine 100% busy (no time left)  before")
