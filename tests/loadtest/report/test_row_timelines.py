"""What happened to a row that a finding is about: drawn, and in lines of text."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hs_drill.report._page import write_report
from hs_drill.report._row_timelines import LEAST, WIDTH, timeline_lines
from hs_drill.report._terminal import print_verdict
from hs_drill.verdict._judge_run import judge_run
from tests.loadtest.support.kept_runs import HandMade
from tests.loadtest.support.report_pages import Page, page_of


def operation(user: int, start: float, end: float, value: str = "no row", **more: Any) -> dict[str, Any]:
    one = {"start": start, "end": end, "worker": 0, "user": user, "name": "update", "reads": False, "outcome": "ok"}
    return {**one, "value": value, "server": "", "error": "", "about": False, **more}


ROW: dict[str, Any] = {
    "key": 7,
    "primary": "'eu', 7",
    "findings": [["lost", 2.0], ["stale_reads", 2.5], ["stale_reads", 2.5]],
    "operations": [
        operation(1, 1.0, 1.001, "version v01", server="writer"),
        operation(2, 1.9, 2.0, "version v02", about=True, worker=3),
        operation(3, 1.95, 4.0, "version v03", outcome="unknown", error="ConnectionError", server="writer"),
        operation(4, 2.5, 2.501, "version v01, n = 0", reads=True, name="get"),
    ],
    "kept": 1200,
    "events": [["kill writer", 1.5, None], ["promotion of standby", 3.0, 3.0]],
    "final": "version v01, n = 0",
}


def drawn(tmp_path: Path, row: dict[str, Any] = ROW, **more: Any) -> Page:
    directory = HandMade(lost=[70]).keep(tmp_path)
    timelines = {"rows": [row], "left_out": 0, "failed": "", **more}
    return Page(write_report(directory, {**judge_run(directory), "timelines": timelines}))


def bars(page: Page) -> list[tuple[str, int, int]]:
    found = re.findall(r'class="step ([a-z ]+)" d="M(\d+) 2H(\d+)V8', page.source)
    return [(kind, int(left), int(right)) for kind, left, right in found]


def test_each_operation_is_a_line_and_a_bar_in_the_order_of_its_times(tmp_path: Path) -> None:
    page = drawn(tmp_path)
    assert "✓ user 1: update wrote v01, ok by writer, 1.000 ms" in page.text
    assert "✓ user 2 of worker 3: update wrote v02, ok, 100.000 ms" in page.text
    assert "? user 3: update wrote v03, unknown (ConnectionError at writer), 2,050.000 ms" in page.text
    assert "✓ user 4: get saw v01, n = 0, ok, 1.000 ms" in page.text
    assert "key 'eu', 7: lost at 2.000 s; stale_reads at 2.500 s" in page.text
    assert "4 of 1,200 operations on it. Shaded: kill writer, from 1.500 s until the end of the run; promotion" in page.text
    (a, a0, a1), (b, b0, b1), (c, c0, c1), (d, d0, d1) = bars(page)
    assert [a, b, c, d] == ["writes ok", "writes ok", "writes unknown", "reads ok"]
    assert 0 == a0 < a1 < b0 < c0 < b1 < d0 < d1 < c1 == WIDTH
    assert min(a1 - a0, d1 - d0) >= LEAST
    (band,) = {(int(left), int(right)) for left, right in re.findall(r'class="band" d="M(\d+) 0H(\d+)V10', page.source)}
    assert a1 < band[0] < b0
    assert band[1] == WIDTH
    (mark,) = {int(x) for x in re.findall(r'class="mark" d="M(\d+) 0V10"', page.source)}
    assert d1 < mark < c1
    assert page.attributes.count(("li", "class", "about")) == 1


@pytest.mark.parametrize("moment", [0.5, 1.0, 9.0])
def test_operations_that_take_no_time_and_lie_at_the_edge_are_seen(tmp_path: Path, moment: float) -> None:
    row = {**ROW, "operations": [operation(1, 1.0, 1.0), operation(2, moment, moment)], "events": []}
    for _, left, right in bars(drawn(tmp_path, row)):
        assert 0 <= left < right <= WIDTH
        assert right - left == LEAST
    lone = {**ROW, "operations": [], "kept": 0, "events": [["kill writer", 1.5, None]]}
    assert "The histories have no operation on it" in drawn(tmp_path / "lone", lone).text


def test_only_the_first_row_is_open_and_all_are_bounded(tmp_path: Path) -> None:
    many = [operation(place, place, place + 0.5, "version v" + "0" * 16) for place in range(40)]
    rows = [{**ROW, "operations": many}] * 20
    page = drawn(tmp_path, rows=rows, left_out=3)
    assert page.tags["details"] == 20
    assert sum(tag == "details" and name == "open" for tag, name, _ in page.attributes) == 1
    assert "3 more rows have findings." in page.text
    assert len(page.source) < 700_000


def test_a_real_finding_is_drawn_and_a_run_without_findings_or_of_an_older_version_is_not(tmp_path: Path) -> None:
    page = page_of(HandMade(lost=[70]), tmp_path / "lost")
    assert re.search(
        r"key 45\d+: lost at 7\.001 s1 of 1 operation on it\. Shaded: kill reader-1, 6\.000 to 11\.000 s\.", page.text
    )
    assert "at the endno row" in page.text
    assert "What happened to the rows" not in page_of(HandMade(), tmp_path / "clean").text
    directory = HandMade(lost=[70]).keep(tmp_path / "old")
    result = judge_run(directory)
    del result["timelines"]
    assert "What happened to the rows" not in Page(write_report(directory, result)).text


def test_a_search_that_failed_says_so(tmp_path: Path) -> None:
    page = drawn(tmp_path, rows=[], failed="OSError: gone")
    assert "The histories could not be searched for the rows with findings: OSError: gone" in page.text


# ---- as text


def test_the_short_form_keeps_what_the_finding_is_about_and_what_is_nearest() -> None:
    assert list(timeline_lines(ROW, 2)) == [
        "what happened to key 'eu', 7 (lost at 2.000 s; stale_reads at 2.500 s), 2 of 1,200 operations on it:",
        "      1.5000 s  kill writer, from 1.500 s until the end of the run",
        "      1.9000 s  user 2 of worker 3: update wrote v02, ok, 100.000 ms",
        "      2.5000 s  user 4: get saw v01, n = 0, ok, 1.000 ms",
        "    at the end  version v01, n = 0",
    ]
    assert len(list(timeline_lines(ROW, 9))) == 1 + 4 + 2 + 1


@pytest.mark.parametrize("explain, rows", [(False, 1), (True, 2)])
def test_the_terminal_shows_the_first_row_that_an_expectation_is_about(tmp_path: Path, explain: bool, rows: int) -> None:
    directory = HandMade(lost=[70]).keep(tmp_path)
    other = {**ROW, "primary": "other", "findings": [["monotonic_reads", 1.0]]}
    result = {**judge_run(directory), "timelines": {"rows": [other, ROW], "left_out": 0, "failed": ""}}
    for timelines, count in ((True, rows), (False, 0)):
        out = io.StringIO()
        console = Console(file=out, width=200)
        print_verdict(result, str(directory.path), explain=explain, timelines=timelines, console=console)
        told = re.findall(r"what happened to key (\S+)", out.getvalue())
        assert told == {0: [], 1: ["'eu',"], 2: ["other", "'eu',"]}[count]
