"""A run in which two servers were open for writes at once: its verdict, and what terminal, report and JUnit file show of it."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hs_drill.audit import Audit, Check, Validity
from hs_drill.report import junit
from hs_drill.report._kept_run import KeptRun
from hs_drill.report._terminal import print_verdict
from hs_drill.scenario import parse_scenario
from hs_drill.store import PROMOTION, TWO_PRIMARIES, RunDirectory
from hs_drill.verdict._advice import advice
from hs_drill.verdict._judge_run import judge_run
from hs_drill.verdict._judged import Judged, Result
from tests.loadtest.support.kept_runs import SCENARIO, SECOND, HandMade
from tests.loadtest.support.report_pages import Page, report_of

EVENTS: list[tuple[float, str, str, dict[str, Any]]] = [
    (8.0, PROMOTION, "standby", {"seen_within": 0.25}),
    (
        13.0,
        TWO_PRIMARIES,
        "standby",
        {"servers": ["writer", "standby"], "first": 1009 * SECOND, "last": 1012 * SECOND},
    ),
]
SPLIT = HandMade(events=EVENTS)
WHEN = "writer and standby were both open for writes from 9.000 to 12.000 s"
LINE = f"{WHEN}; 30 writes were acknowledged in that time; which server acknowledged them is not known"


def kept(made: HandMade, tmp_path: Path) -> tuple[RunDirectory, dict[str, Any]]:
    directory = made.keep(tmp_path)
    result = directory.result()
    assert result is not None
    return directory, result


def of_split_brain(result: dict[str, Any]) -> dict[str, Any]:
    (one,) = (one for one in result["expectations"] if one["name"] == "split_brain")
    return dict(one)


def test_the_run_fails_although_no_write_is_lost(tmp_path: Path) -> None:
    _, result = kept(SPLIT, tmp_path)
    assert result["exit_code"] == 3
    assert result["verdict"] == "fail: two servers were open for writes at once; 1 of 7 missed"
    assert of_split_brain(result) == {
        "name": "split_brain",
        "result": "miss",
        "measured": 1,
        "limit": 0,
        "line": LINE,
        "audit": True,
    }
    assert result["advice"][0].startswith(
        "Two servers were open for writes at once, and what one of them acknowledged the other may lack."
    )
    assert "Fence the old primary" in result["advice"][0]


def test_with_lost_writes_both_are_told(tmp_path: Path) -> None:
    _, result = kept(replace(SPLIT, lost=[100]), tmp_path)
    assert result["verdict"] == "fail: the audit found writes that are not as acknowledged; 2 of 7 missed"
    assert {one["name"] for one in result["expectations"] if one["result"] == "miss"} == {"lost", "split_brain"}


@pytest.mark.parametrize("without", ["audit: false\n", ""])
def test_a_run_without_an_audit_fails_too(tmp_path: Path, without: str) -> None:
    scenario = SCENARIO + without
    if not without:
        own = "table: {name: own, rows: 200, columns: {id: {type: bigint, values: sequence}}, primary: [id]}"
        scenario = SCENARIO.replace("table: {rows: 200}", own)
    _, result = kept(replace(SPLIT, scenario=scenario), tmp_path)
    assert result["audit"] is None
    assert (result["exit_code"], of_split_brain(result)["line"]) == (3, WHEN)


def test_without_such_a_time_nothing_is_said_of_it(tmp_path: Path) -> None:
    directory, result = kept(HandMade(events=EVENTS[:1]), tmp_path)
    assert "split_brain" not in str(result)
    assert "split brain" not in Page(report_of(directory)).text


def test_the_terminal_shows_it_with_the_first_writes(tmp_path: Path) -> None:
    directory, result = kept(SPLIT, tmp_path)
    out = io.StringIO()
    print_verdict(result, str(directory.path), explain=False, console=Console(file=out, width=300))
    shown = " ".join(out.getvalue().split())
    assert f"MISS split_brain {LINE}" in shown
    assert re.search(
        r"split_brain: key \d+ at 9.001 s, during kill reader-1: the insert of version \S+ was acknowledged while", shown
    )


def test_the_report_shows_it(tmp_path: Path) -> None:
    directory, _ = kept(SPLIT, tmp_path)
    page = Page(report_of(directory))
    assert "Exit code 3: two servers were open for writes at once." in page.text
    assert f"✗ split_brain: {LINE}" in page.text
    assert page.row("✗ violated")[1:4] == ["split_brain", "1", "0"]
    assert "split brain1" in page.text, "a tile"
    assert "promotion standby, 8.00 s" in page.text
    assert "two primaries writer and standby, 9.00 s" in page.text, "when it was first seen, not when that was noted"
    both = Page(report_of(replace(SPLIT, lost=[100]).keep(tmp_path / "both")))
    assert (
        "Exit code 3: the audit found writes that are not as acknowledged, and two servers were open for writes at once."
        in both.text
    )


def test_a_time_that_is_noted_twice_is_marked_once(tmp_path: Path) -> None:
    when, kind, name, details = EVENTS[1]
    twice = [*EVENTS, (when - 1, kind, name, {**details, "last": None})]
    directory, result = kept(HandMade(events=twice), tmp_path)
    assert of_split_brain(result)["measured"] == 1
    assert "two primaries writer and standby, 9.00 s" in Page(report_of(directory)).text


def test_the_junit_file_has_a_failure(tmp_path: Path) -> None:
    directory, result = kept(SPLIT, tmp_path)
    shown = junit(KeptRun.read(directory, result))
    assert 'name="split_brain"' in shown
    assert f'<failure message="{LINE}" type="missed">' in shown


def test_a_kept_run_is_judged_again_as_it_was(tmp_path: Path) -> None:
    directory, result = kept(SPLIT, tmp_path)
    again = json.loads(json.dumps(judge_run(directory)))
    assert {name: again[name] for name in ("verdict", "expectations", "audit", "advice")} == {
        name: result[name] for name in ("verdict", "expectations", "audit", "advice")
    }


def test_behind_a_router_it_is_not_known_which_server_answered(tmp_path: Path) -> None:
    servers = "[{name: writer, host: a}, {name: reader-1, host: b}]"
    router = "{host: ha, read_port: 8, write_port: 9}"
    external = f"name: x\ncluster: {{kind: external, servers: {servers}, router: {router}}}\nmix: {{get: 9, insert: 1}}\n"
    events = [(8.0, PROMOTION, "reader-1", {"seen_within": 0.25}), (9.0, PROMOTION, "writer", {"seen_within": 0.25})]
    _, result = kept(HandMade(external, fault=None, events=events, lost=[100]), tmp_path)
    assert "which reads went to the primary is not known behind a router" in result["audit"]["linearizable"]["explanation"]
    (finding,) = result["audit"]["lost"]["findings"]
    assert "was acknowledged, by which server is not known behind a router," in finding["line"]


def test_the_advice_to_fence_is_given_once() -> None:
    scenario = parse_scenario("name: x\nmix: {insert: 1}\n", "s.yaml")
    missed = [Judged(name, Result.MISS, 1, 0, "", audit=True) for name in ("lost", "split_brain")]
    measured = {"split_brain": 1.0, "perhaps_split_brain": 1.0}
    audit = Audit({"lost": Check("lost", Validity.FALSE, "", 1, measured=measured)}, (), (), 0)
    assert [line.partition(":")[0] for line in advice(scenario, missed, "writer", audit)][-1].startswith(
        "Two servers were open"
    )
