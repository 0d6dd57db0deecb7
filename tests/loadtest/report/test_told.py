"""One finding is told once, although several checks are about it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from hs_drill.report._page import write_report
from hs_drill.report._terminal import print_verdict
from hs_drill.report._told import Told, without_first
from hs_drill.store import HistoryWriter, Operation, Outcome, RunDirectory, write_final_state
from hs_drill.verdict._judge_run import judge_run
from tests.loadtest.support.audited import NEW, ONE, get, incr, update
from tests.loadtest.support.histories import audit_of
from tests.loadtest.support.kept_runs import Clock, HandMade
from tests.loadtest.support.report_pages import Page

LINE = "the counter n is 2 and should be 3"


def printed(result: dict[str, Any], directory: RunDirectory) -> str:
    out = io.StringIO()
    print_verdict(result, str(directory.path), explain=True, console=Console(file=out))
    return " ".join(out.getvalue().split())


def with_a_lost_step(base: Path) -> RunDirectory:
    """Three increments of row 7, of which one is lost: `lost` and `counters` are both about it."""
    directory = HandMade().keep(base)
    clock = Clock(6.5)
    directory.history(0).unlink()
    with HistoryWriter(directory.history(0), worker=0, clock=clock) as history:
        for _ in range(3):
            history.append(Operation.INCR, Outcome.OK, 7, 1, clock(), clock() + 1000, 0)
    directory.final("writer").unlink()
    write_final_state(directory.final("writer"), [(key, 0, 2 if key == 7 else 0) for key in range(1, 201)])
    return directory


def test_a_lost_step_is_told_under_lost_and_not_again_under_counters(tmp_path: Path) -> None:
    directory = with_a_lost_step(tmp_path)
    result = judge_run(directory)
    assert {name for name, check in result["audit"].items() if check["count"]} == {"lost", "counters"}
    out = printed(result, directory)
    assert out.count(LINE) == 1
    assert "counters 1 counter is off (key 7, told under lost); at most 0 expected" in out
    page = Page(write_report(directory, result))
    head, rest = page.text.split("Timeline", 1)
    summary, expectations = head.split("Expectations")
    assert (summary.count(LINE), expectations.count(LINE), rest.count(LINE)) == (1, 0, 1)
    assert page.row("✗ miss", "counters")[4] == "1 counter is off; at most 0 expected"
    assert page.row("✗ violated", "counters")[4] == "1 counter is off"
    assert [row[1:] for row in page.rows if row[1:2] == ["key 7"]] == [
        ["key 7", f"at 6.500 s, during kill reader-1: {LINE}"],
        ["key 7", "told under lost"],
    ]


def test_findings_that_differ_are_all_told(tmp_path: Path) -> None:
    directory = HandMade(lost=[70, 71, 72]).keep(tmp_path)
    result = judge_run(directory)
    out = printed(result, directory)
    assert out.count("was acknowledged; the final state has no row") == 3
    assert out.count("at 7.001 s") == 1
    page = Page(write_report(directory, result))
    assert page.text.partition("Audit of the writes")[2].count("was acknowledged; the final state has no row") == 3


def explanations(path: Path, *ops: Any, final: dict[int, tuple[int, ...]], **more: Any) -> dict[str, Any]:
    return audit_of(path, list(ops), final, **{**ONE, **more}).to_dict()


def test_the_words_are_those_of_the_audit(tmp_path: Path) -> None:
    """With and without a time, certain or perhaps."""
    cases = [
        explanations(_made(tmp_path / "a"), update(1, NEW + 1, 10, 20), get(1, 0, 30, 31), final={1: (0, 0)}),
        explanations(_made(tmp_path / "b"), incr(1, 1, 20), final={1: (0, 0)}, cut=[1]),
        explanations(_made(tmp_path / "c"), update(1, NEW + 1, 10, 20), final={1: (NEW + 1, 3)}),
    ]
    for checks in cases:
        found = {name: check for name, check in checks.items() if check["findings"] and name != "replicas"}
        assert found
        for check in found.values():
            assert check["findings"][0]["line"] in check["explanation"]
            assert check["findings"][0]["line"] not in without_first(check["explanation"], checks)
            told = Told(checks)
            assert told.line("first", check["explanation"]) == check["explanation"]
            assert "told under first)" in told.line("second", check["explanation"])
    assert without_first("as it was", None) == "as it was"


def _made(path: Path) -> Path:
    path.mkdir()
    return path
