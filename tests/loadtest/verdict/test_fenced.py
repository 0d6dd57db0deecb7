"""Whether a former primary was fenced, and whether semi-synchronous replication lapsed: what verdict and report show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hs_drill.report._words import exit_code_of
from hs_drill.store import FORMER_PRIMARY, PROMOTION, SEMISYNC_OFF
from tests.loadtest.support.kept_runs import SCENARIO, SECOND, HandMade
from tests.loadtest.support.report_pages import Page, report_of

Told = tuple[float, str, str, dict[str, Any]]
PROMOTED: Told = (8.0, PROMOTION, "standby", {"seen_within": 0.25})
EXPECTED = HandMade(scenario=SCENARIO + "  fenced: true\n")


def former(**details: Any) -> Told:
    closed = [[1008 * SECOND, 1019 * SECOND]]
    return (19.5, FORMER_PRIMARY, "writer", {"promoted": "standby", "known": True, "open": [], "closed": closed, **details})


def lapse(first: float, last: float | None, commits: int = 0) -> Told:
    times = {"first": round((1000 + first) * SECOND), "last": None if last is None else round((1000 + last) * SECOND)}
    return (19.6, SEMISYNC_OFF, "writer", {**times, "commits": commits})


def judged(tmp_path: Path, made: HandMade) -> tuple[dict[str, Any], dict[str, Any]]:
    result = made.keep(tmp_path).result()
    assert result is not None
    return result, next((one for one in result["expectations"] if one["name"] == "fenced"), {})


def test_a_closed_former_primary_passes(tmp_path: Path) -> None:
    result, fenced = judged(tmp_path, replace(EXPECTED, events=[PROMOTED, former()]))
    assert (result["exit_code"], fenced["result"]) == (0, "pass")


def test_an_open_one_is_a_failure_of_the_audit(tmp_path: Path) -> None:
    opened = former(open=[[1009 * SECOND, 1012 * SECOND]])
    result, fenced = judged(tmp_path, replace(EXPECTED, events=[PROMOTED, opened]))
    assert (result["exit_code"], fenced["result"]) == (3, "miss")
    assert result["verdict"].startswith("fail: a former primary was not fenced; ")
    assert exit_code_of(3, result["expectations"]) == "a former primary was not fenced"
    assert any(line.startswith("Fence the old primary") for line in result["advice"])


@pytest.mark.parametrize("events", [[], [PROMOTED, former(known=False, closed=[])]], ids=["no promotion", "never seen"])
def test_without_a_former_primary_that_was_seen_it_is_unknown(tmp_path: Path, events: list[Told]) -> None:
    result, fenced = judged(tmp_path, replace(EXPECTED, events=events))
    assert (result["exit_code"], fenced["result"]) == (4, "unknown")


def test_a_scenario_that_does_not_ask_is_not_judged_by_it(tmp_path: Path) -> None:
    opened = former(open=[[1009 * SECOND, 1012 * SECOND]])
    result, fenced = judged(tmp_path, HandMade(events=[PROMOTED, opened]))
    assert (result["exit_code"], fenced) == (0, {})
    assert result["audit"]["fenced"]["verdict"] == "false"


def test_lapses_are_told_and_decide_nothing(tmp_path: Path) -> None:
    made = HandMade(events=[lapse(9, None), lapse(2, 3.5, commits=12)])
    directory = made.keep(tmp_path)
    result = directory.result()
    assert result is not None
    assert result["exit_code"] == 0
    (line,) = result["advice"]
    assert line.startswith(
        "Semi-synchronous replication was off: on writer between 2.000 and 3.500 s, for at least 12 transactions; on writer "
        "after 9.000 s until the end. What was acknowledged meanwhile may be on one server only."
    )
    page = Page(report_of(directory)).text
    assert "Semi-synchronous replication was off" in page
    assert "semisync off writer" in page


def test_many_lapses_are_told_in_one_line(tmp_path: Path) -> None:
    result, _ = judged(tmp_path, HandMade(events=[lapse(second, second + 0.5) for second in range(1, 9)]))
    assert "; and 5 more times. " in result["advice"][0]
