"""The report: its content, and that it loads and trusts nothing."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hs_drill.metrics import NOT_STARTED, Batch, OperationBatch
from hs_drill.report._page import write_report
from hs_drill.verdict._judge_run import judge_run
from tests.loadtest.support.kept_runs import SCENARIO, HandMade
from tests.loadtest.support.report_pages import Page, page_of, report_of

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


def test_a_run_whose_writes_cannot_be_audited_says_why(tmp_path: Path) -> None:
    own = "table: {name: own, rows: 200, columns: {id: {type: bigint, values: sequence}}, primary: [id]}"
    page = page_of(HandMade(scenario=SCENARIO.replace("table: {rows: 200}", own)), tmp_path)
    assert "The writes were measured and not audited: no column of drill.own says which write left a row; give one" in page.text
    page = page_of(HandMade(scenario=SCENARIO + "audit: false\n"), tmp_path)
    assert "This run kept no history, so there is no audit." in page.text


def test_a_finding_is_shown_by_the_rows_own_key(tmp_path: Path) -> None:
    directory = HandMade(lost=[70]).keep(tmp_path)
    result = judge_run(directory)
    (finding,) = result["audit"]["lost"]["findings"]
    result["audit"]["lost"]["findings"] = [{**finding, "primary": "'eu', 45"}]
    page = Page(write_report(directory, result))
    assert page.rows[page.rows.index(page.row("✗ violated")) + 1][1] == "key 'eu', 45"


def test_not_applicable_has_its_own_colour_and_sign(tmp_path: Path) -> None:
    page = page_of(HandMade(), tmp_path)
    shown = {row[1] for row in page.rows if row and row[0] == "∅ not applicable"}
    of_reads = {"stale_reads", "linearizable", "monotonic_reads", "read_your_writes", "monotonic_writes", "writes_follow_reads"}
    assert shown == {"applied_twice", "counters", "recovered", "no_resurrection", *of_reads}
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
    assert "No operation was executed." in page.text
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


def test_figures_stand_in_two_rows_and_one_that_was_missed_is_marked(tmp_path: Path) -> None:
    made = HandMade(scenario=SCENARIO.replace("expect:\n", "expect:\n  throughput: 1000000\n"))
    source = page_of(made, tmp_path).source
    rows = re.findall(r'<dl class="tiles" aria-label="(\w+)">(.*?)</dl>', source, re.DOTALL)
    assert [name for name, _ in rows] == ["Safety", "Speed"]
    marked = [re.findall(r'<div class="miss"><dt>(.*?)</dt>', row) for _, row in rows]
    assert "✗ throughput" in marked[1], marked
    assert "<dt>operations</dt>" in rows[1][1]
