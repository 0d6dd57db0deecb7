"""What `--metrics` shows Prometheus, from handmade batches."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from locust.env import Environment

from hs_drill._cluster import Cluster, Server
from hs_drill.in_locust import _hooks
from hs_drill.in_locust._live import Seen
from hs_drill.metrics import NOT_STARTED, NOT_THERE, OTHER_ERRORS, Batch, EngineUse, OperationBatch, collapse
from tests.loadtest.support.prometheus import INSTALLED, Samples

if not INSTALLED:
    pytest.skip("needs prometheus-client: trio-hs-drill[metrics]", allow_module_level=True)

from prometheus_client import CollectorRegistry, generate_latest

from hs_drill.in_locust._metrics import BOUNDS, MOST_NAMES, Metrics

SECRET = "hunter2"
SERVERS = tuple(
    Server(name, "127.0.0.1", 1, 2, SECRET, SECRET, admin_password=SECRET, load_password=SECRET)
    for name in ("writer", "standby")
)
CLUSTER = Cluster("embedded", "asked for", "11.8.3", SERVERS, "root", SECRET, replication_password=SECRET).to_dict()
SEEN = Seen(
    "a drill",
    CLUSTER,
    users=8,
    active=True,
    primary="standby",
    states={"writer": ("stalled", 3), "standby": ("not used", 0)},
    faults={("pause", "writer"): (True, 1_700_000_000.1234), ("promote", "standby"): (False, 1_700_000_001.0)},
)


def told(*batches: Batch, seen: Seen | None = SEEN) -> Samples:
    metrics = Metrics(lambda: seen)
    for batch in batches:
        metrics.count(batch)
    registry = CollectorRegistry()
    registry.register(metrics)
    return Samples(generate_latest(registry).decode())


def batch(**more: Any) -> Batch:
    return Batch(1_700_000_000.0, 1_700_000_000.25, **more)


def of_operations(**operations: OperationBatch) -> Batch:
    return batch(operations=operations)


def done(ok: int = 0, errors: dict[str, int] | None = None) -> OperationBatch:
    failed = Counter(errors or {})
    return OperationBatch(Counter({500: ok}), Counter({3000: failed.total()}), failed)


def test_operations_add_up_by_name_and_outcome() -> None:
    samples = told(of_operations(get=done(10), insert=done(4, {"ConnectionError: x": 2})), of_operations(get=done(5)))
    total = "hs_drill_operations_total"
    assert samples(total, operation="get", outcome="ok") == 15
    assert samples(total, operation="get", outcome="failed") == 0
    assert samples(total, operation="insert", outcome="ok") == 4
    assert samples(total, operation="insert", outcome="failed") == 2
    assert samples("hs_drill_operation_duration_seconds_sum", operation="get", outcome="ok") == pytest.approx(15 * 500e-6)


latencies = st.dictionaries(st.integers(0, 100_000_000), st.integers(1, 1000), max_size=20)


def rounded_up(latency: int) -> float:
    """What a batch makes of it at most."""
    return latency if latency < 2048 else latency * 1025 / 1024


@given(st.lists(latencies, max_size=4))
def test_a_histogram_counts_each_latency_below_its_bound(several: list[dict[int, int]]) -> None:
    """Exactly below 2.048 ms, else to 1 in 1024, whatever batches it came in."""
    samples = told(*(of_operations(get=OperationBatch(collapse(one))) for one in several))
    exact: Counter[int] = Counter()
    for one in several:
        exact.update(one)
    name = "hs_drill_operation_duration_seconds_bucket"
    for bound in (*BOUNDS, float("inf")):
        found = samples(name, operation="get", outcome="ok", le="+Inf" if bound == float("inf") else str(bound)) or 0
        least = sum(count for latency, count in exact.items() if rounded_up(latency) <= bound * 1e6)
        most = sum(count for latency, count in exact.items() if latency <= bound * 1e6)
        assert least <= found <= most
    assert (samples("hs_drill_operation_duration_seconds_count", operation="get", outcome="ok") or 0) == exact.total()


def test_errors_are_counted_by_class_and_no_message_is_shown() -> None:
    errors = {
        f"ConnectionError: {SECRET} one": 3,
        f"ConnectionError: {SECRET} two": 4,
        NOT_STARTED: 5,
        NOT_THERE: 6,
        OTHER_ERRORS: 7,
        f"{SECRET} without a class": 8,
    }
    samples = told(of_operations(get=done(1, errors)))
    kinds = {dict(labels)["kind"]: count for labels, count in samples.of("hs_drill_errors_total").items()}
    assert kinds == {"ConnectionError": 7, "not_started": 5, "not_there": 6, "other": 15}
    assert SECRET not in samples.text, "neither a message nor a server's secret"


def test_labels_are_bounded() -> None:
    """Users in Python name their operations as they like."""
    many = MOST_NAMES + 50
    samples = told(
        of_operations(**{f"op {number}": done(1) for number in range(many)}),
        of_operations(get=done(0, {f"Error{number}: x": 1 for number in range(many)})),
    )
    total = samples.of("hs_drill_operations_total")
    assert sum(total.values()) == 2 * many
    assert len(total) == 2 * (MOST_NAMES + 1)
    assert samples("hs_drill_operations_total", operation="other", outcome="ok") == 50
    assert len(samples.of("hs_drill_errors_total")) == MOST_NAMES + 1


def test_servers_retries_and_engines_add_up() -> None:
    one = batch(
        servers={"writer": done(7, {"ReadOnlyError: x": 2})},
        retries=3,
        engines={0: EngineUse(Counter(), 0.25, 0.1, 0.05), 1: EngineUse(Counter(), 0.25, 0.2)},
    )
    samples = told(one, one)
    assert samples("hs_drill_server_requests_total", server="writer", outcome="ok") == 14
    assert samples("hs_drill_server_requests_total", server="writer", outcome="failed") == 4
    assert samples("hs_drill_retries_total") == 6
    assert samples("hs_drill_engine_busy_seconds_total", worker="0") == pytest.approx(0.3)
    assert samples("hs_drill_engine_busy_seconds_total", worker="1") == pytest.approx(0.4)


def test_what_is_so_now() -> None:
    samples = told()
    about = {"scenario": "a drill", "kind": "embedded", "version": "11.8.3", "replication": "async"}
    assert samples("hs_drill_run_info", **about) == 1
    assert samples("hs_drill_run_active") == 1
    assert samples("hs_drill_users") == 8
    assert samples("hs_drill_primary", server="standby") == 1
    assert samples("hs_drill_primary", server="writer") == 0
    states = {labels for labels, value in samples.of("hs_drill_server_state").items() if value}
    assert states == {
        frozenset({("server", "writer"), ("state", "stalled")}),
        frozenset({("server", "standby"), ("state", "not used")}),
    }
    assert samples("hs_drill_server_requests_in_flight", server="writer") == 3
    assert samples("hs_drill_fault_active", fault="pause", target="writer") == 1
    assert samples("hs_drill_fault_active", fault="promote", target="standby") == 0
    assert samples("hs_drill_fault_start_timestamp_seconds", fault="pause", target="writer") == 1_700_000_000.123


def test_what_is_not_known_is_not_shown() -> None:
    starting = told(seen=None)
    assert starting.names == {"hs_drill_retries_total"}
    assert told(seen=replace(SEEN, cluster={})).names == starting.names
    before = told(seen=replace(SEEN, primary="", states={}, faults={}, active=False))
    assert before.names == {"hs_drill_retries_total", "hs_drill_run_info", "hs_drill_run_active", "hs_drill_users"}


def test_names_follow_the_conventions_of_prometheus() -> None:
    samples = everything()
    kinds = dict(line.split()[2:] for line in samples.text.splitlines() if line.startswith("# TYPE"))
    assert len(kinds) == 14
    for name, kind in kinds.items():
        assert name.startswith("hs_drill_")
        assert name.endswith("_total") == (kind == "counter"), name
        assert name.endswith("_seconds") or not name.endswith(("_ms", "_us", "_time")), name


@pytest.mark.parametrize("host", ["", "127.0.0.1:", "localhost:"])
def test_a_taken_port_is_reported_before_servers_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    monkeypatch.setattr(_hooks, "open_session", lambda _: pytest.fail("the servers are starting"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        options = SimpleNamespace(metrics=f"{host}{port}")
        environment = SimpleNamespace(parsed_options=options, runner=None, web_ui=None, user_classes=[])
        with pytest.raises(SystemExit) as ended:
            _hooks._open_session(cast("Environment", environment))
    assert ended.value.code == 2
    where = f"{host or '127.0.0.1:'}{port}"
    told = f"--metrics cannot listen on {where}: Address already in use; choose another port or host\n"
    assert capsys.readouterr().err == told


# ---- what is said of them elsewhere

ROOT = Path(__file__).parents[3]
DASHBOARD = json.loads((ROOT / "examples/grafana/drill.json").read_text())


def everything() -> Samples:
    errors = {"E: x": 1}
    return told(batch(operations={"get": done(1, errors)}, servers={"writer": done(1)}, engines={0: EngineUse(Counter(), 1.0)}))


def expressions() -> list[str]:
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    annotations = [one["expr"] for one in DASHBOARD["annotations"]["list"]]
    variables = [one["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    return [*queries, *annotations, *variables]


def test_the_dashboard_queries_what_there_is() -> None:
    samples = everything()
    queried = {name for expression in expressions() for name in re.findall(r"\bhs_drill_\w+", expression)}
    assert queried <= samples.names, "what Prometheus would not have"
    assert samples.names == queried, "what nobody would see"
    labels = {label for name in samples.names for sample in samples.of(name) for label, _ in sample} | {"instance"}
    for expression in expressions():
        used = re.findall(r'(\w+)=~?"', expression) + re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression)))
        assert {*used} <= labels, expression
    formats = re.findall(r"\{\{(\w+)\}\}", json.dumps(DASHBOARD))
    assert {*formats} <= labels
    assert {*formats} >= {"operation", "kind", "server", "state", "fault", "target"}


def test_faults_are_annotations() -> None:
    on, begin = DASHBOARD["annotations"]["list"]
    assert on["expr"].startswith("hs_drill_fault_active{")
    assert not on.get("useValueForTime")
    assert begin["useValueForTime"]
    assert begin["expr"].endswith(" * 1000"), "Grafana takes milliseconds"
    assert {one["titleFormat"] for one in (on, begin)} == {"{{fault}} {{target}}"}


def test_the_page_has_every_metric_with_its_labels() -> None:
    page = (ROOT / "docs/drills.md").read_text()
    rows = re.findall(r"^\| (`hs_drill_.*?) \| (.*?) \|", page, re.MULTILINE)
    said = {
        name: {*re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", labels))}
        for names, labels in rows
        for name in re.findall(r"`(\w+)`", names)
    }
    samples = everything()
    there = {
        re.sub(r"_(bucket|sum|count)$", "", name): {label for labels in samples.of(name) for label, _ in labels} - {"le"}
        for name in samples.names
    }
    assert said == there
