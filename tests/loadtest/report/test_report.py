"""The report: its content, that it loads and trusts nothing, and how a browser draws it."""

from __future__ import annotations

import html
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_hs
from hs_drill import __main__ as commands
from hs_drill._cluster import Cluster, Server
from hs_drill.engine._bound_operations import Intent
from hs_drill.engine._scribe import Scribe
from hs_drill.engine._server_names import connections_recorded, in_names, names_of_servers, server_of
from hs_drill.metrics import ALL, NOT_STARTED, Batch, OperationBatch, TimeAxis, axis_of, series_of
from hs_drill.report._charts import Backdrop, draw_faults, draw_latency
from hs_drill.report._kept_run import FaultSeen, KeptRun, Mark, faults_seen, marks_seen
from hs_drill.report._markup import el, to_html
from hs_drill.report._page import write_report
from hs_drill.store import Event, History, HistoryWriter, RunDirectory
from hs_drill.verdict._judge_run import judge_run
from tests.loadtest.support.browser import Browser
from tests.loadtest.support.kept_runs import FAULT, SCENARIO, SECOND, HandMade
from tests.loadtest.support.locust_process import SCENARIO as SHORT
from tests.loadtest.support.locust_process import Locust
from tests.support.patience import patience
from trio_hs.testing import Table, open_server


class Page(HTMLParser):
    """A parsed report."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.lasttag in ("td", "th") and self.rows:
            self.rows[-1][-1] += data

    def row(self, *beginning: str) -> list[str]:
        return next(row for row in self.rows if row[: len(beginning)] == list(beginning))


def report_of(directory: RunDirectory) -> Path:
    return write_report(directory, judge_run(directory))


def page_of(made: HandMade, tmp_path: Path) -> Page:
    return Page(report_of(made.keep(tmp_path)))


# ---- what stands in it


@pytest.mark.parametrize(
    "made, words",
    [
        (HandMade(), ["✓", "pass: all 6 expectations hold", "Exit code 0: every expectation holds."]),
        (
            HandMade(scenario=SCENARIO.replace("90%", "100%")),
            ["✗", "fail: 1 of 6 expectations missed", "Exit code 1: an expectation was missed,"],
        ),
        (HandMade(lost=[70]), ["✗", "Exit code 3: the audit found writes that are not as acknowledged."]),
        (HandMade(cut=True), ["?", "inconclusive", "Exit code 4: something could not be judged."]),
    ],
    ids=["pass", "missed", "lost", "cut"],
)
def test_the_headline_is_the_verdict(tmp_path: Path, made: HandMade, words: list[str]) -> None:
    page = page_of(made, tmp_path)
    head = page.text[page.text.index("</title>") if "</title>" in page.text else 0 : page.text.index("Expectations")]
    assert [word for word in words if word not in head] == []


def test_results_have_a_sign_and_a_word_and_misses_come_first(tmp_path: Path) -> None:
    page = page_of(HandMade(scenario=SCENARIO.replace("90%", "100%"), cut=True), tmp_path)
    results = [row[0] for row in page.rows if row[0] in ("✗ miss", "? unknown", "✓ pass")]
    assert results[:8] == ["✗ miss"] + ["? unknown"] * 4 + ["✓ pass"] * 3
    assert page.row("✗ miss")[1:4] == ["availability", "99.65909 %", "100 %"]


def test_the_first_screen_shows_what_does_not_hold_and_what_to_do(tmp_path: Path) -> None:
    lost = HandMade(scenario=SCENARIO.replace("90%", "100%").replace("table:", "cluster: {standby: true}\ntable:"), lost=[70])
    directory = lost.keep(tmp_path)
    (directory.path / "primary").write_text("standby")
    (directory.final("writer")).rename(directory.final("standby"))
    page = Page(report_of(directory))
    head = page.text[: page.text.index("Expectations")]
    assert head.index("✗ lost: 1 acknowledged write is lost: key 45") < head.index("✗ availability: ")
    assert "standby took over without them. With cluster.topology: write-through" in head
    assert re.search(r"longest recovery1\.\d\d s", head)
    assert "What to do" not in page_of(HandMade(), tmp_path).text
    assert "Unknown is not a pass" in page_of(HandMade(cut=True), tmp_path).text


def test_the_audit_names_keys_and_the_fault_that_was_on(tmp_path: Path) -> None:
    page = page_of(HandMade(lost=[70]), tmp_path)
    assert page.row("✗ violated")[1:4] == ["lost", "1", "0"]
    finding = page.rows[page.rows.index(page.row("✗ violated")) + 1]
    assert finding[1].startswith("key 45")
    assert finding[2].startswith("at 7.001 s, during kill reader-1: ")
    assert not any("replicas" in row for row in page.rows), "they were not read back"


def test_not_applicable_has_its_own_colour_and_sign(tmp_path: Path) -> None:
    page = page_of(HandMade(), tmp_path)
    shown = {row[1] for row in page.rows if row and row[0] == "∅ not applicable"}
    assert shown == {"applied_twice", "counters", "recovered", "stale_reads", "monotonic_reads"}
    assert ("td", "class", "result not-applicable") in page.attributes
    assert ".not-applicable { --tone: var(--idle); }" in page.source


def test_a_check_without_an_expectation_is_found_and_not_violated(tmp_path: Path) -> None:
    directory = HandMade().keep(tmp_path)
    result = judge_run(directory)
    for name in ("stale_reads", "lost"):
        result["audit"][name]["verdict"] = "false"
    page = Page(write_report(directory, result))
    assert page.row("✗ found")[1] == "stale_reads"
    assert page.row("✗ violated")[1] == "lost"


def test_faults_are_shown_as_they_happened(tmp_path: Path) -> None:
    failed: tuple[tuple[float, str, str, dict[str, Any]], ...] = (
        (15.0, "fault-started", "restart reader-2", {"number": 1}),
        (
            15.8,
            "fault-failed",
            "restart reader-2",
            {"number": 1, "error": "it did not come up"},
        ),
    )
    useless: list[tuple[float, str, str, dict[str, Any]]] = [
        (16.0, f"fault-{what}", "reset standby", {"number": 2, "effects": 0}) for what in ("started", "ended")
    ]
    events = [*failed, *useless, (7.0, "promotion", "standby", {}), (9.0, "death", "writer", {"ending": "killed by SIGSEGV"})]
    page = page_of(HandMade(events=events), tmp_path)
    assert page.row("✓ struck") == ["✓ struck", "kill reader-1", "6.00 s", "0.050 s", "11.00 s", "5.00 s", ""]
    assert page.row("✗ failed")[1:] == ["restart reader-2", "15.00 s", "-", "-", "-", "it did not come up"]
    assert page.row("? no effect")[1:3] == ["reset standby", "16.00 s"]
    assert "promotion standby, 7.00 s" in page.text
    assert "death writer, 9.00 s" in page.text
    assert "restart reader-2, 15.00 s: failed" in page.text


def test_each_server_has_its_own_rows(tmp_path: Path) -> None:
    page = page_of(HandMade(), tmp_path)
    # 74 batches of 60 answers, and 6 of 5 requests that got none. Wholly in the fault are 14 and 5 of them; that in which it
    # struck is at the edge.
    assert page.row("reader-1", "whole run")[2:6] == ["4,440", "30", "222", "0.300"]
    assert page.row("during faults", "840", "25")[3:5] == ["177", "0.300"]
    assert page.row("at the edges", "60", "5")[3:5] == ["-", "0.300"]
    assert page.row("writer", "whole run")[2:6] == ["800", "0", "40", "0.200"]
    assert page.row("30", "reader-1") == ["30", "reader-1", "no answer: the connection ended"]
    labels = re.findall(r"<label[^>]*>([^<]*)</label>", page.source)
    assert labels == ["all operations", "get", "insert", "writer", "reader-1"]


def test_a_run_without_figures_of_its_servers_has_no_section_about_them(tmp_path: Path) -> None:
    directory = HandMade(seconds=0).keep(tmp_path)
    old = {"start": 1e9, "end": 1e9 + 0.25, "operations": {"get": [{400: 10}, {}, {}]}}
    directory.add_batch(old)
    page = Page(report_of(directory))
    assert page.row("get")[1] == "whole run"
    assert "by server" not in page.text


def test_how_busy_and_how_late_the_load_engine_was(tmp_path: Path) -> None:
    page = page_of(HandMade(busy=0.6), tmp_path)
    lags = ["0.080", "9.000", "9.000", "9.000"]
    assert page.row("whole run", "60%") == ["whole run", "60%", "0%", "0.0 of 20.0", *lags]
    assert page.row("during faults", "60%")[2:] == ["0%", page.row("during faults", "60%")[3], *lags]
    assert "How busy the load engine was. Between 60 and 60 % of the time." in page.source
    assert "was the limit" not in page.text


def test_the_first_screen_says_that_the_load_engine_was_the_limit(tmp_path: Path) -> None:
    page = page_of(HandMade(busy=0.98), tmp_path)
    assert "The load engine was the limit: " in page.text[: page.text.index("Expectations")]
    assert page.row("whole run", "98%")[3] == "20.0 of 20.0"


def test_a_run_without_figures_of_its_engine_has_no_section_about_it(tmp_path: Path) -> None:
    assert "Load engine" not in page_of(HandMade(), tmp_path).text


def test_operations_that_were_not_started_have_their_own_column_and_bars(tmp_path: Path) -> None:
    made = HandMade(scenario=SCENARIO.replace("users: 4, ", "rate: 400, "), error=NOT_STARTED)
    page = page_of(made, tmp_path)
    assert page.row("operation")[2:6] == ["count", "failures", "not started", "ops/s"]
    assert page.row("get", "whole run")[2:5] == ["8,000", "30", "30"]
    assert page.row("insert", "whole run")[2:5] == ["800", "0", "0"]
    assert "not started30" in page.text, "a tile"
    assert "Errors of get. 30 in all, at most 20 per second. Of these 30 were not started in time." in page.source
    assert len(re.findall('<path class="not-started" d="M', page.source)) == 2, "of get, and of all"
    assert "hollow: operations that were not started in time" in page.text
    closed = page_of(HandMade(), tmp_path / "closed")
    assert not [row for row in closed.rows if "not started" in row]
    assert "not started0" not in closed.text
    assert 'class="not-started"' not in closed.source


def test_the_report_shows_environment_scenario_and_files(tmp_path: Path) -> None:
    directory = HandMade().keep(tmp_path)
    page = Page(report_of(directory))
    assert page.row("server", "10.11 (by hand)")
    assert "target: reader-1" in page.text
    assert f"{directory.path.parent.name}/{directory.path.name}" in page.text


def test_a_run_without_operations_has_a_report(tmp_path: Path) -> None:
    bare = SCENARIO.partition("faults:")[0]
    page = page_of(HandMade(scenario=bare, seconds=0, fault=None, environment={}), tmp_path)
    assert "No operation was carried out." in page.text
    page = page_of(HandMade(scenario=bare, fault=None, errors=0), tmp_path)
    assert "no errors" in page.text
    assert not any(name == "data-fault" for _, name, _ in page.attributes)


# ---- what it needs and trusts

EVIL = """</script></style></title><script>alert(1)</script><img src=x onerror=alert(2)> & "'"""


def test_everything_is_escaped(tmp_path: Path) -> None:
    scenario = SCENARIO.replace("by-hand", json.dumps(EVIL)).replace("Made by a test.", json.dumps(EVIL))
    made = HandMade(
        scenario=scenario,
        error=f"ConnectionError: {EVIL}\x00\x1b[1m",
        fault=(f"kill {EVIL}", 6.0, 11.0),
        events=[(7.0, EVIL, EVIL, {})],
        environment={"cpu": EVIL, EVIL: 1},
    )
    page = page_of(made, tmp_path)
    assert page.tags["img"] == 0
    assert page.tags["script"] == 2
    assert page.tags["title"] == page_of(replace(made, fault=("kill x", 6.0, 11.0)), tmp_path / "b").tags["title"]
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert page.text.count(EVIL) > 8, "or it was not there at all"
    assert "\x00" not in page.source


def test_the_report_needs_no_network(tmp_path: Path) -> None:
    page = page_of(HandMade(), tmp_path)
    assert not {"link", "img", "iframe", "a", "use", "image"} & set(page.tags)
    assert not any(name in ("src", "href", "xlink:href", "style") for _, name, _ in page.attributes)
    assert "url(" not in page.source
    assert "@import" not in page.source


def test_each_chart_has_a_description_for_screen_readers(tmp_path: Path) -> None:
    page = page_of(HandMade(), tmp_path)
    charts = [value for tag, name, value in page.attributes if tag == "svg" and name == "aria-label"]
    assert len(charts) == page.tags["svg"] == page.tags["desc"] == 1 + 3 * 5  # all, get, insert, and two servers
    assert (
        "Throughput of all operations. Between 420 and 440 per second. Faults: kill reader-1 from 6.00 s to 11.00 s." in charts
    )
    assert "Errors of get. 30 in all, at most 20 per second. Faults: kill reader-1 from 6.00 s to 11.00 s." in charts
    assert (
        "Throughput of the server reader-1. Between 0 and 240 per second. Faults: kill reader-1 from 6.00 s to 11.00 s."
        in charts
    )
    assert page.tags["table"] == sum(value == "wide" for _, name, value in page.attributes if name == "class")
    assert sum(name == "scope" for _, name, _ in page.attributes) > 20


def test_ten_minutes_of_seven_operations_stay_below_a_megabyte(tmp_path: Path) -> None:
    directory = HandMade(seconds=0).keep(tmp_path)
    rng = random.Random(1)
    for number in range(2400):
        operations = {}
        for name in ("get", "find", "insert", "incr", "decr", "update", "delete"):
            latencies = Counter(int(rng.lognormvariate(7, 1)) for _ in range(20))
            operations[name] = OperationBatch(latencies, Counter({100: 1}), Counter({"ConnectionError: x": 1}))
        directory.add_batch(Batch(1e9 + number / 4, 1e9 + number / 4 + 0.25, operations).to_wire())
    report = report_of(directory)
    # Seven operations and all of them, 600 points each.
    assert 300_000 < report.stat().st_size < 1_000_000


# ---- its parts


def test_counts_are_shared_out_over_the_slots_of_a_batch() -> None:
    # Batches of 0.3 s in slots of 0.25 s: by their middles, every sixth slot would be empty.
    batches = [Batch(i * 0.3, (i + 1) * 0.3, {"get": OperationBatch(Counter({1000: 30}))}) for i in range(50)]
    axis = axis_of(0, 15, 0.3)
    assert axis.slot == 0.25
    series = series_of(batches, axis)
    assert series["get"].rate == pytest.approx([100.0] * 60)
    assert series[ALL].rate == pytest.approx([100.0] * 60)


def test_the_last_slot_may_be_cut_and_silence_is_a_gap() -> None:
    get = {"get": OperationBatch(Counter({1000: 9, 5000: 1}), Counter({7: 5}))}
    axis = TimeAxis(0, 4.5, 1)
    series = series_of([Batch(0, 1, get), Batch(3, 4, get), Batch(4, 4.5, get)], axis)["get"]
    assert axis.count == 5
    assert series.rate == pytest.approx([10, 0, 0, 10, 20])
    assert series.errors == pytest.approx([5, 0, 0, 5, 10])
    assert series.latency["p50"] == [1.0, None, None, 1.0, 1.0]
    assert series.latency["p99"] == [5.0, None, None, 5.0, 5.0]
    drawn = to_html(draw_latency(Backdrop(axis, [], []), series, "get"))
    path = re.search(r'class="line p50" d="([^"]*)"', drawn)
    assert path is not None
    assert path[1].count("M") == 2, "a line over the silence would say that something was measured"


@pytest.mark.parametrize("seconds, slot", [(2, 0.25), (60, 0.25), (61, 0.5), (121, 1), (600, 1), (601, 2), (86_400, 300)])
def test_a_chart_has_at_most_600_points(seconds: float, slot: float) -> None:
    axis = axis_of(0, seconds, 0.25)
    assert axis.slot == slot
    assert axis.count <= 600
    assert axis_of(0, 60, 1.01).slot == 1


def events(*described: tuple[float, str, str]) -> list[tuple[float, Event]]:
    return [(time, Event(round(time * SECOND), kind, name, {"number": 0})) for time, kind, name in described]


@pytest.mark.parametrize(
    "described, expected",
    [
        ([(1, "fault-started", "a")], [FaultSeen("a", 1)]),
        ([(1, "fault-started", "a"), (2, "fault-ended", "a")], [FaultSeen("a", 1, 2, 2)]),
        (
            [(1, "fault-started", "a"), (2, "fault-struck", "a"), (3, "fault-failed", "a")],
            [FaultSeen("a", 1, 2, None, error="for an unknown reason")],
        ),
        (
            [(1, "fault-started", "a"), (2, "fault-ended", "a"), (3, "fault-started", "a"), (4, "promotion", "b")],
            [FaultSeen("a", 1, 2, 2), FaultSeen("a", 3)],
        ),
        ([(1, "fault-ended", "a")], []),
    ],
)
def test_faults_out_of_events(described: Sequence[tuple[float, str, str]], expected: list[FaultSeen]) -> None:
    assert faults_seen(events(*described)) == expected


async def test_the_client_tells_of_its_connections(tmp_path: Path) -> None:
    table = Table("drill", "t", {"id": "BIGINT NOT NULL"}, primary_key=["id"])
    path = tmp_path / "h.bin"
    async with open_server([table]) as server:
        read, write = server.read_address, server.write_address
        cluster = Cluster("embedded", "", "", (Server("reader-1", read.host, read.port or 0, write.port or 0, "", ""),))
        names = names_of_servers(cluster)
        with HistoryWriter(path, worker=0) as history, connections_recorded(history, names):
            scribe = Scribe(history, 1.0, names)
            async with trio_hs.open_manager([read], [write], connect=server.connect) as hs:
                await hs.get("drill", "t", ["id"], 1)
                with pytest.raises(trio_hs.IndexNotFoundError) as refused:
                    await hs.find("drill", "t", "=", ["id"], [1], "no-such-index")
                scribe.failed(refused.value, Intent(), 0, 1, 0)
                server.crash()
                with pytest.raises(trio_hs.ConnectionError) as nobody, trio.fail_after(patience(5)):
                    await hs.insert("drill", "t", [("id", 1)])
                scribe.failed(nobody.value, Intent(), 0, 1, 0)
    assert server_of(trio_hs.ConnectionError("lost", server="reader-1"), names) == "reader-1", "as the SQL client has it"
    assert server_of(trio_hs.ConnectionError("no server is usable"), names) == ""
    kept = History(path)
    assert [(record.error, record.server) for record in kept.records()] == [
        ("IndexNotFoundError", "reader-1"),
        ("ConnectionError", "reader-1"),  # the only one was not usable
    ]
    assert [(event.kind, event.name) for event in kept.events] == [
        ("connection-up", "reader-1"),
        ("connection-lost", "reader-1"),
    ]


@pytest.mark.parametrize(
    "message, expected",
    [
        ("ReadOnlyError: 127.0.0.1:9: incr t: no", "ReadOnlyError: standby: incr t: no"),
        ("127.0.0.1:9: cannot connect: refused", "standby: cannot connect: refused"),
        ("ConnectionError: 127.0.0.1:8: x: 127.0.0.1:9: y", "ConnectionError: 127.0.0.1:8: x: 127.0.0.1:9: y"),
        ("the row is not there", "the row is not there"),
    ],
)
def test_messages_name_servers_by_their_names(message: str, expected: str) -> None:
    assert in_names(message, {"127.0.0.1:9": "standby"}) == expected


def test_a_connection_counts_only_after_one_was_lost() -> None:
    up, lost = "connection-up", "connection-lost"
    seen = list(marks_seen(events((0.0, up, "a"), (1.0, lost, "a"), (2.0, up, "a"), (3.0, "fault-started", "a"))))
    assert [(mark.time, mark.kind) for mark in seen] == [(1.0, "connection-lost"), (2.0, "connection-up")]


def test_labels_stay_on_the_page() -> None:
    axis = TimeAxis(0, 20, 1)
    late = FaultSeen("kill reader-1", 18, 18.1, 20)
    whole = FaultSeen("stop-replication reader-2", 0, 0.1, 20)
    drawn = draw_faults(Backdrop(axis, [late, whole, late], [Mark(10, "promotion", "standby")]))
    assert drawn is not None
    labels = {label.text: label for label in drawn.iter("text") if label.get("class") == "label"}
    assert labels["kill reader-1, 2 times"].get("text-anchor") == "end"
    assert labels["promotion standby, 10.00 s"].get("text-anchor") is None
    assert float(labels["stop-replication reader-2, 0.00 s to 20.00 s"].get("x", "0")) < 100
    assert draw_faults(Backdrop(axis, [], [])) is None


def test_text_and_attributes_are_escaped_and_cleaned() -> None:
    made = to_html(el("p", "a<b", [el("i", "&"), "c\x00"], None, class_='"x"', data_x=1.25, hidden=None))
    assert made == '<!DOCTYPE html>\n<p class="&quot;x&quot;" data-x="1.2">a&lt;b<i>&amp;</i>c\N{REPLACEMENT CHARACTER}</p>\n'


def test_judging_draws_no_report(tmp_path: Path) -> None:
    directory = HandMade().keep(tmp_path)
    run = KeptRun.read(directory, judge_run(directory))
    assert run.exit_code == 0
    assert not directory.report.exists(), "judging draws nothing"


# ---- as a browser draws it


MEASURE = """<script>
const panel = document.querySelector("#panel-0"), chart = panel.querySelector("svg");
const box = (one) => one.getBoundingClientRect().toJSON();
const axis = box(chart.querySelector(".axis"));
const ticks = [...chart.querySelectorAll(".tick[text-anchor=middle]")];
chart.dispatchEvent(new PointerEvent("pointermove", {clientX: axis.left + axis.width * 6.3 / 20}));
document.body.dataset.measured = JSON.stringify({
  axis,
  ticks: Object.fromEntries(ticks.map((one) => [one.textContent, box(one).left + box(one).width / 2])),
  bands: [...chart.querySelectorAll(".band")].map((one) => ({fault: one.dataset.fault, ...box(one)})),
  panels: [...document.querySelectorAll(".panel")].map((one) => one.getClientRects().length > 0),
  readout: panel.querySelector(".readout").textContent,
  stepped: ["Home", "ArrowRight"].map((key) => {
    chart.dispatchEvent(new KeyboardEvent("keydown", {key}));
    return panel.querySelector(".readout").textContent;
  }),
});
</script>"""


def measured(browser: Browser, report: Path) -> dict[str, Any]:
    """What the browser says about the first chart, with positions in pixels."""
    page = report.read_text()
    # The report's policy lets no script run but its own.
    opened = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert opened != page
    copy = report.with_name("measured.html")
    copy.write_text(opened.replace("</body>", f"{MEASURE}</body>"))
    found = re.search(r'<body data-measured="([^"]*)"', browser.dom(copy))
    assert found is not None
    result: dict[str, Any] = json.loads(html.unescape(found[1]))
    return result


@pytest.mark.process
def test_the_fault_band_lies_where_the_fault_was(browser: Browser, tmp_path: Path) -> None:
    report = report_of(HandMade().keep(tmp_path))
    found = measured(browser, report)
    axis, ticks = found["axis"], found["ticks"]
    (band,) = found["bands"]
    assert band["fault"] == FAULT[0]

    def x(seconds: float) -> float:
        return float(axis["left"] + (axis["right"] - axis["left"]) * seconds / 20)

    # The labels are where they say, and the band is where they say that the fault was.
    assert ticks == pytest.approx({f"{seconds} s": x(seconds) for seconds in range(0, 21, 2)}, abs=1)
    assert (band["left"], band["right"]) == pytest.approx((ticks["6 s"], (ticks["10 s"] + ticks["12 s"]) / 2), abs=1)
    assert found["panels"] == [True, False, False, False, False], "one operation or server at a time"

    # And it is to be seen there: in a row between the top and the line, its colour is in these columns and no others.
    row = browser.picture(report).row(round(band["top"]) + 4)
    ground = row[5]
    tinted = [column for column, colour in enumerate(row) if _is_amber(colour, ground)]
    assert (tinted[0], tinted[-1]) == pytest.approx((x(6), x(11)), abs=2)
    assert len(tinted) > 0.9 * (x(11) - x(6))


def _is_amber(colour: Sequence[int], ground: Sequence[int]) -> bool:
    """More yellow than the page below it."""
    red, _, blue = (one - below for one, below in zip(colour, ground, strict=True))
    return red - blue > 20


@pytest.mark.process
def test_the_report_shows_the_same_in_the_dark_and_without_scripts(browser: Browser, tmp_path: Path) -> None:
    report = report_of(HandMade().keep(tmp_path))
    band = measured(browser, report)["bands"][0]
    # Chromium takes no picture with its scripts switched off, so they are cut out instead.
    bare = report.with_name("bare.html")
    bare.write_text(re.sub(r"(?s)<script.*?</script>", "", report.read_text()))
    assert "<script" not in bare.read_text()
    for page, scheme, ground in [(report, 0, (13, 17, 23)), (bare, 1, (255, 255, 255))]:
        row = browser.picture(page, f"--blink-settings=preferredColorScheme={scheme}").row(round(band["top"]) + 4)
        assert row[5] == ground
        tinted = [column for column, colour in enumerate(row) if _is_amber(colour, ground)]
        assert (tinted[0], tinted[-1]) == pytest.approx((band["left"], band["right"]), abs=2)


@pytest.mark.process
def test_pointing_at_a_chart_shows_its_numbers(browser: Browser, tmp_path: Path) -> None:
    report = report_of(HandMade().keep(tmp_path))
    assert measured(browser, report)["readout"] == (
        "6.25 to 6.50 s · 420 ops/s · p50 0.8 ms · p99 150 ms · p99.9 150 ms · 20 errors/s"
    )
    assert [one.partition(" · ")[0] for one in measured(browser, report)["stepped"]] == ["0.00 to 0.25 s", "0.25 to 0.50 s"]
    # Its script is the one that its policy names.
    assert 'class="cursor"' in browser.dom(report)


# ---- at the end of a run


@pytest.mark.process
def test_a_run_ends_with_its_report_and_is_judged_alike_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    scenario = SHORT.replace("duration: 2s", "duration: 4s") + (
        "faults: [{fault: kill, target: reader-1, at: 1s, for: 1s}]\nexpect: {availability: 100%}\n"
    )
    with Locust("--headless", "--only-summary", "--cluster", "embedded", scenario=scenario.replace("1}", "2}", 1)) as locust:
        code = locust.finish()
        printed = locust.stdout
        report, verdict = re.search(r"^report: (.*)$", printed, re.M), re.search(r"^verdict: .*$", printed, re.M)
        assert report is not None, printed
        assert verdict is not None, printed
        page = Page(Path(report[1]))
        assert page.row("✓ struck")[1] == "kill reader-1"
        assert [row[1] for row in page.rows if row[0] == "server"][-1].endswith("(embedded)")
        assert {"writer", "reader-1", "reader-2"} <= {row[0] for row in page.rows}
        assert "connection lost reader-1" in page.text
        assert f"Exit code {code}: " in page.text
        assert commands.main(["analyze", str(Path(report[1]).parent)]) == code
        assert verdict[0] in capsys.readouterr().out
