"""How far reads were behind over time, as the report draws it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hs_drill.report._page import write_report
from hs_drill.verdict._judge_run import judge_run
from tests.loadtest.support.kept_runs import HandMade
from tests.loadtest.support.report_pages import Page


def drawn(tmp_path: Path, *slots: dict[str, Any]) -> Page:
    directory = HandMade().keep(tmp_path)
    result = judge_run(directory)
    assert result["lags"] == {"began": pytest.approx(result["lags"]["began"]), "slot": 0.25, "slots": []}, "it read nothing"
    made = {**result["lags"], "slot": 1.0, "slots": slots}
    return Page(write_report(directory, {**result, "lags": made}))


def slot(start: float, stale: int = 0, p50: float | None = None, most: float | None = None) -> dict[str, Any]:
    return {"start": start, "examined": 10, "stale": stale, "p50": p50, "max": most}


def steps(page: Page, kind: str) -> list[tuple[float, float, float]]:
    """From where to where, and how high."""
    (path,) = re.findall(rf'class="line {kind}" d="([^"]*)"', page.source)
    return [tuple(map(float, found)) for found in re.findall(r"M([\d.]+),([\d.]+)H([\d.]+)", path)]  # type: ignore[misc]


def test_the_most_and_the_median_are_drawn_where_and_when_reads_were_behind(tmp_path: Path) -> None:
    page = drawn(tmp_path, slot(2.0), slot(6.0, 3, 0.01, 1.0), slot(10.0, 1, 0.1, 0.1))
    (first, second), (low, same) = steps(page, "most"), steps(page, "median")
    assert first[0] == low[0]
    assert first[1] < second[1] == same[1] < low[1], "further up is further behind"
    width = second[2] - second[0]
    # Each place is rounded to a tenth, so the width of a slot is off by a tenth at most, and four of them by four. Only
    # distances are that exact: the axis begins with the statistics, and their clock was read at another moment.
    assert second[0] - first[0] == pytest.approx(4 * width, abs=0.5)
    examined = steps(page, "examined")
    assert [round((left - 66) / width) for left, _, _ in examined] == [2, 6, 10]
    assert [left for left, _, _ in examined[1:]] == [first[0], second[0]]
    assert "4 of 30 reads of rows that had been changed were stale, by at most 1.000 s." in page.text
    assert "How far reads were behind. 4 of 30 reads" in page.source, "for screen readers"


def test_a_run_without_stale_reads_has_words_and_one_without_reads_nothing(tmp_path: Path) -> None:
    assert "None of 10 reads of rows that had been changed was stale." in drawn(tmp_path / "fresh", slot(1.0)).text
    assert "How far reads were behind" not in drawn(tmp_path / "none").text


def test_the_report_of_an_older_run_has_no_lags(tmp_path: Path) -> None:
    directory = HandMade().keep(tmp_path)
    result = judge_run(directory)
    del result["lags"]
    assert "How far reads were behind" not in Page(write_report(directory, result)).text
