"""Seconds without any success: measured from batches, judged, and told."""

from __future__ import annotations

import io
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hs_drill.metrics import ALL, Batch, OperationBatch, Timeline
from hs_drill.metrics._outages import Covered
from hs_drill.report._terminal import print_verdict
from hs_drill.report._words import longest_outage, outages
from hs_drill.verdict._outage import outages_result
from tests.loadtest.support.judging import KILL, MISS, PASS, RUN, T0, UNKNOWN, batch, fault, judged, steady
from tests.loadtest.support.kept_runs import HandMade
from tests.loadtest.support.report_pages import page_of
from tests.loadtest.support.scenarios import assert_mistake

SILENT = [*steady(0, 2), *steady(2, 6, 0), *steady(6, 8)]
"""Four seconds without an answer, in which nothing fails either, as in a closed loop."""


def measured(batches: list[Batch], *faults: Any) -> dict[str, dict[str, Any]]:
    return outages_result(Timeline(batches, list(faults)).outages())


# ---- what is measured


def test_a_time_in_which_nothing_succeeds_is_seen_although_nothing_fails() -> None:
    found = measured(SILENT, fault(2.5, 5.5))
    assert found["get"] == found[ALL]
    assert found["get"] == {
        "seconds": 4.0,
        "at_most": 4.5,
        "start": 2.0,
        "end": 6.0,
        "shows": True,
        "never": False,
        "faults": ["kill"],
    }
    assert measured(RUN)["get"]["seconds"] == 0
    assert measured([]) == {}


def test_each_operation_is_measured_apart() -> None:
    found = measured([*SILENT, *steady(0, 8, name="insert")], fault(7, 7.5))
    assert {name: one["seconds"] for name, one in found.items()} == {"get": 4.0, "insert": 0, ALL: 0}
    assert found["get"]["faults"] == []


def test_the_beginning_and_the_end_of_the_load_count_and_what_comes_after_it_does_not() -> None:
    found = measured([*steady(0, 1, 0), *steady(1, 2), *steady(2, 5, 0)])
    assert (found["get"]["start"], found["get"]["end"]) == (2.0, 5.0)
    late = Batch(T0 + 5, T0 + 9, {"get": OperationBatch(Counter({1000: 7}))}, load_end=T0 + 5)
    assert measured([*steady(0, 1), *steady(1, 5, 0), late])["get"]["seconds"] == 4.0


def test_an_operation_that_never_succeeds_is_known_as_such() -> None:
    found = measured([*steady(0, 3), *steady(0, 3, 0, failed=3, name="delete")])
    assert found["delete"]["never"]
    assert found["delete"]["seconds"] == 3.0
    assert not found[ALL]["never"]


def test_a_rare_operation_shows_nothing() -> None:
    rare = [batch(at, 1, name="delete") for at in (0, 5)]
    found = measured([*steady(0, 8), *rare])
    assert (found["delete"]["seconds"], found["delete"]["shows"]) == (4.75, False)


times = st.floats(0, 10, allow_nan=False)


@given(st.lists(st.tuples(times, times)))
def test_the_longest_gap_is_that_of_the_union_of_all_intervals(intervals: list[tuple[float, float]]) -> None:
    covered = Covered()
    ordered = [(round(min(pair), 2), round(max(pair), 2)) for pair in intervals]
    for since, until in ordered:
        covered.add(since, until)
    gap, reached = 0.0, 0.0
    for since, until in [*sorted(ordered), (10, 10)]:
        gap, reached = max(gap, since - reached), max(reached, until)
    start, end = covered.longest_gap(0, 10)
    assert end - start == pytest.approx(gap, abs=1e-9)
    assert not any(since < end and start < until for since, until in ordered)


@given(st.lists(st.floats(0, 9.99), min_size=1), st.integers(1, 3), st.randoms(use_true_random=False))
def test_the_true_time_is_never_below_what_is_measured_and_never_above_the_most(
    moments: list[float], engines: int, rng: Any
) -> None:
    """Each success comes to one engine; batches of different engines have other beginnings, and may come late."""
    batches = []
    for engine in range(engines):
        mine = [moment for moment in moments if int(moment * 1e6) % engines == engine]
        shift = 0.25 * engine / engines
        edges = [0.0, *(shift + 0.25 * place for place in range(1, 40)), 10.0]
        for since, until in pairwise(edges):
            ok = sum(since <= moment < until for moment in mine)
            batches.append(
                Batch(T0 + since, T0 + until, {"get": OperationBatch(Counter({9: ok}))} if ok else {}, load_end=T0 + 10)
            )
    rng.shuffle(batches)
    ordered = [0.0, *sorted(moments), 10.0]
    true = max(until - since for since, until in pairwise(ordered))
    found = measured(batches)["get"]
    assert found["seconds"] - 0.003 <= true <= found["at_most"] + 0.003


# ---- what is judged


@pytest.mark.parametrize(
    "limit, result",
    [(3, MISS), (3.9, MISS), (4, UNKNOWN), (4.4, UNKNOWN), (4.5, PASS), (10, PASS)],
)
def test_the_limit(limit: float, result: Any) -> None:
    (one,) = judged({"outage": limit}, SILENT, [fault(2, 6)])
    assert (one.name, one.result, one.measured) == ("outage", result, 4.0)
    assert not one.audit
    assert (
        one.line == f"no operation succeeded for 4.00 to 4.50 s, from 2.00 to 6.00 s during kill; at most {limit:g} s expected"
    )


def test_an_operation_that_others_hide_is_named() -> None:
    (one,) = judged({"outage": 2}, [*SILENT, *steady(0, 8, name="insert")], [])
    assert one.result is MISS
    assert one.line.startswith("no get succeeded for 4.00 to 4.50 s, from 2.00 to 6.00 s; at most")


def test_rare_operations_are_not_judged_and_never_make_a_pass() -> None:
    rare = [batch(at, 1, name="delete") for at in (0, 7.75)]
    (one,) = judged({"outage": 2}, [*steady(0, 8), *rare], [])
    assert one.result is PASS
    assert "; 1 operation too rare to judge; " in one.line
    (one,) = judged({"outage": 2}, [*rare, *steady(0, 8, 0)], [])
    assert one.result is UNKNOWN
    assert one.line.startswith("no operation succeeds 20 times in 2 s, so a time without a success shows nothing")
    (one,) = judged({"outage": 2}, [], [])
    assert one.result is UNKNOWN
    (one,) = judged({"outage": 2}, steady(0, 8, 0, failed=4), KILL)
    assert one.result is MISS


def test_less_than_a_second_cannot_be_expected() -> None:
    scenario = "name: x\nmix: {get: 1}\nexpect: {outage: 500ms}\n"
    why = "because successes are counted in quarters of a second"
    assert_mistake(scenario, f"3: expect.outage: must be 1s or more, {why}, not 0.5 s")
    assert_mistake(scenario.replace("500ms", "0.5"), f"3: expect.outage: must be 1s or more, {why}, not 0.5 s")
    assert_mistake(scenario.replace("500ms", "1s"), None)


# ---- what is told


def told(**seconds: float) -> list[str]:
    one = {"start": 2.0, "shows": True, "never": False, "faults": ["kill writer"]}
    return outages({name: {**one, "seconds": long, "end": 2.0 + long} for name, long in seconds.items()})


def test_long_times_are_told_by_operation_and_once() -> None:
    assert told(get=4.2, insert=0.75, all=0.0) == ["nothing succeeded for 4.20 s: get, from 2.00 s on, during kill writer"]
    assert told(get=4.2, insert=4.0, all=4.0) == ["nothing succeeded for 4.00 s, from 2.00 s on, during kill writer"]
    assert told(get=9.0, all=4.0)[0].startswith("nothing succeeded for 9.00 s: get")
    assert len(told(get=9.0, all=4.0)) == 2
    rare = measured([*steady(0, 8), *(batch(at, 1, name="delete") for at in (0, 5))])
    assert (outages(rare), longest_outage(rare)) == ([], None)
    never = measured([*steady(0, 3), *steady(0, 3, 0, failed=3, name="delete")])
    assert outages(never) == ["nothing ever succeeded: delete"]
    assert outages(measured(steady(0, 3, 0, failed=3))) == ["nothing ever succeeded"]


def test_terminal_report_and_result_tell_it_and_a_run_without_it_does_not(tmp_path: Path) -> None:
    made = HandMade(silent=(6.0, 10.0), scenario=HandMade().scenario + "  outage: 2s\n")
    directory = made.keep(tmp_path)
    result = directory.result()
    assert result is not None
    assert result["outages"]["get"]["seconds"] == pytest.approx(4.0, abs=0.01)
    assert result["exit_code"] == 1
    out = io.StringIO()
    print_verdict(result, str(directory.path), explain=False, console=Console(file=out, width=200))
    line = "nothing succeeded for 4.00 s, from 6.00 s on, during kill reader-1"
    assert out.getvalue().splitlines()[0] == f"  {line}"
    page = page_of(made, tmp_path / "page")
    assert line in page.text
    assert "without any success4.00 s" in page.text
    assert page.row("✗ miss")[1:4] == ["outage", "4 s", "2 s"]
    assert "without any success" not in page_of(HandMade(), tmp_path / "clean").text.replace("Longest times without", "")
