"""The latencies of a run: percentiles, seconds and totals, from any number of workers."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_drill.metrics import _totals
from hs_drill.metrics._batch import NOT_STARTED, Batch, OperationBatch, microseconds
from hs_drill.metrics._csv import totals_of, write_latencies
from hs_drill.metrics._percentiles import PERCENTILES, percentile, percentiles
from hs_drill.metrics._totals import Latencies, RunTotals
from hs_drill.store import History, Outcome
from tests.loadtest.support.locust_process import Locust
from tests.support.patience import slowness

PERCENTS = {"p50_us": "50", "p90_us": "90", "p95_us": "95", "p99_us": "99", "p99.9_us": "99.9", "max_us": "100"}


def batch(second: float, **ok: list[int]) -> Batch:
    return Batch(second, second + 0.25, {name: OperationBatch(ok=Counter(latencies)) for name, latencies in ok.items()})


def rows(path: Path, *batches: Batch) -> dict[tuple[str, str, str], dict[str, str]]:
    write_latencies(path, batches)
    with path.open(newline="") as file:
        return {(row["second"], row["operation"], row["outcome"]): row for row in csv.DictReader(file)}


def test_seconds_and_totals_of_several_workers(tmp_path: Path) -> None:
    failed = OperationBatch(failed=Counter([7, 9]), errors=Counter({NOT_STARTED: 2}))
    found = rows(
        tmp_path / "latencies.csv",
        batch(100.0, get=[1, 2, 3], find=[50]),
        batch(101.25, get=[4]),
        Batch(101.5, 101.75, {"get": failed}),
        batch(100.5, get=[900]),  # from another worker, which reports later
        batch(120.0, get=[5]),
    )
    assert found["100", "get", "ok"]["count"] == "4"
    assert (found["100", "get", "ok"]["p50_us"], found["100", "get", "ok"]["max_us"]) == ("2", "900")
    assert found["100", "all", "ok"]["count"] == "5"
    assert found["101", "get", "failed"] == found["101", "all", "failed"] | {"operation": "get"}
    assert found["101", "get", "failed"]["max_us"] == "9"
    not_started = found["101", "get", "not started"]
    assert (not_started["count"], not_started["p50_us"], not_started["max_us"]) == ("2", "", "")
    assert found["total", "all", "not started"]["count"] == "2"
    assert ("100", "get", "not started") not in found
    assert found["total", "get", "ok"]["count"] == "6"
    assert found["total", "all", "failed"]["count"] == "2"
    assert list(dict.fromkeys(second for second, _, _ in found)) == ["100", "101", "120", "total"]
    assert ("101", "find", "ok") not in found


def test_totals_are_plain_data() -> None:
    failed = OperationBatch(failed=Counter([7]), errors=Counter({NOT_STARTED: 1}))
    totals = totals_of([batch(100.0, get=[1, 2]), Batch(100.25, 100.5, {"get": failed})])
    assert totals["get"]["ok"] == {"count": 2} | dict(zip(PERCENTS, [1, 2, 2, 2, 2, 2], strict=True))
    assert (totals["get"]["not_started"], totals["get"]["errors"]) == (1, {NOT_STARTED: 1})
    assert totals["all"]["failed"]["count"] == 1
    assert totals_of([])["all"]["ok"]["p50_us"] is None


def exact(pooled: list[int], percent: str) -> int:
    return sorted(pooled)[math.ceil(len(pooled) * Fraction(percent) / 100) - 1]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=200))
def test_percentiles_are_by_nearest_rank(samples: list[int]) -> None:
    expected = [exact(samples, f"{percent:g}") for percent in PERCENTILES.values()]
    assert percentiles(Counter(samples), PERCENTILES.values()) == expected
    assert [percentile(Counter(samples), percent) for percent in PERCENTILES.values()] == expected


_NANOSECONDS = st.lists(st.integers(0, 3_000_000) | st.integers(0, 20_000_000_000), min_size=1, max_size=200)


@given(st.lists(_NANOSECONDS, min_size=1, max_size=4))
@settings(deadline=None)
def test_merged_percentiles_of_workers_equal_those_of_the_pooled_samples(workers: list[list[int]]) -> None:
    """Exactly below 2.048 ms, and to 1 in 1024 above."""
    record, sent = RunTotals(), []
    for number, samples in enumerate(workers):
        one = Batch(number, number + 0.25, {"get": OperationBatch(ok=microseconds(samples))})
        sent.append(Batch.from_wire(msgpack.unpackb(msgpack.packb(one.to_wire()), strict_map_key=False)))
        record.merge(sent[-1])
    pooled = [nanoseconds // 1000 for samples in workers for nanoseconds in samples]
    reported: dict[str, Any] = totals_of(sent)["get"]["ok"]
    summary: Latencies = record.operations["get"].ok
    for name, percent in PERCENTS.items():
        true = exact(pooled, percent)
        assert true <= reported[name] <= true + true // 1024
        assert reported[name] == true or true >= 2048
        assert summary.percentile(float(percent)) == reported[name]


def test_a_histogram_has_a_bounded_number_of_values() -> None:
    wide = microseconds(range(0, 60_000_000_000, 1_000_003))
    assert len(wide) < 2048 + 1024 * 15
    assert wide.total() == 60_000


LISTENER = """\
from collections import Counter
import json, locust, os
seen = Counter()

@locust.events.request.add_listener
def on_request(request_type, name, response_time, exception, **_):
    assert isinstance(response_time, float)
    seen[f"{request_type} {name} {exception}"] += 1

@locust.events.quit.add_listener
def on_quit(**_):
    with open(f"seen-{os.getpid()}.json", "w") as file:
        json.dump(seen, file)
"""


SCENARIO = """\
name: workers
cluster: {kind: embedded, readers: 1}
table: {rows: 500}
load: {users: 4, think_time: 8ms, duration: 2s}
mix: {get: 80, insert: 20}
audit: {reads: 1}
"""


@pytest.mark.process
def test_listeners_get_each_counted_operation_on_request_and_percentiles_cover_all() -> None:
    unit = slowness()  # starting the workers takes so much longer
    scenario = SCENARIO.replace("duration: 2s", f"duration: {2 * unit:.1f}s")
    scenario += f"faults: [{{fault: reset, target: writer, at: {unit:.1f}s}}]\n"
    with Locust(
        "--headless", "--only-summary", "--hs-events", "each", "--processes", "2", scenario=scenario, beside=LISTENER
    ) as locust:
        locust.finish()
        seen: Counter[str] = Counter()
        for path in locust.directory.glob("seen-*.json"):
            seen.update(json.loads(path.read_text()))
        reported = json.loads((locust.run / "result.json").read_text())["operations"]
        expected: Counter[str] = Counter()
        assert reported.keys() >= {"get", "insert"}, locust.describe()
        for name in ("get", "insert"):
            expected[f"HS {name} None"] = reported[name]["ok"]["count"]
            expected.update({f"HS {name} {reason}": count for reason, count in reported[name]["errors"].items()})
        assert seen == expected, locust.describe()
        assert expected["HS get None"] > 10
        assert_percentiles(locust.run, [0, 1])


def assert_percentiles(run: Path, workers: Iterable[int]) -> None:
    """Compare them with every single operation in the histories of all workers."""
    histories = [History(run / f"history-{worker}.bin") for worker in workers]
    done = [[record for record in history.records() if record.outcome is Outcome.OK] for history in histories]
    assert all(done), "every worker took part"
    with (run / "latencies.csv").open(newline="") as file:
        reported = {row["operation"]: row for row in csv.DictReader(file) if (row["second"], row["outcome"]) == ("total", "ok")}
    for name in ("get", "insert"):
        mine = [record for each in done for record in each if record.operation.name == name.upper()]
        # A history rounds up to whole microseconds, statistics down.
        pooled = [(record.end - record.intended) // 1000 - 1 for record in mine]
        assert int(reported[name]["count"]) == len(pooled)
        for column, percent in PERCENTS.items():
            assert int(reported[name][column]) == pytest.approx(exact(pooled, percent), rel=1 / 1024, abs=1)


def test_a_warning_about_the_histograms_library_itself_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What Python 3.14 says when hdrhistogram 0.10.8 is imported.
    text = (
        "Due to '_pack_', the 'ExternalHeader' Structure will use memory layout compatible with MSVC (Windows). If this is "
        "intended, set _layout_ to 'ms'. The implicit default is deprecated and slated to become an error in Python 3.19."
    )
    library = tmp_path / "hdrh"
    library.mkdir()
    (library / "__init__.py").touch()
    source = "import warnings\nwarnings.warn({!r}, DeprecationWarning)\nclass HdrHistogram: pass\n"
    monkeypatch.syspath_prepend(tmp_path)
    for said, shown in [(text, 0), ("something else", 1)]:
        (library / "histogram.py").write_text(source.format(said))
        importlib.invalidate_caches()
        for name in [name for name in sys.modules if name.partition(".")[0] == "hdrh"]:
            monkeypatch.delitem(sys.modules, name)
        spec = importlib.util.spec_from_file_location("hs_drill.metrics._totals_again", _totals.__file__)
        assert spec is not None
        assert spec.loader is not None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
        assert len(caught) == shown
