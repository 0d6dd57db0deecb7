"""Comparing runs: which gates are missed, what few or different runs leave open, and how often noise alone fails a gate."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from random import Random
from typing import Any

import pytest

from hs_drill.verdict import Comparison, ComparisonError, Gate, RunFigures, compare, obstacles_to, parts_of
from hs_drill.verdict._comparison import MATTERS

ENVIRONMENT = dict.fromkeys((*MATTERS, "trio-hs", "trio", "locust", "kernel", "memory"), "same")
SCENARIO: Mapping[str, Any] = {"load.users": 4, "mix.get.weight": 1.0}
NUMBERS = count()
P99 = "get.p99 > +10%"


def run_of(figures: Mapping[str, float], **changes: Any) -> RunFigures:
    number = next(NUMBERS)
    made = RunFigures(f"run-{number}", f"{number}", "pass", 0, "", None, "", ENVIRONMENT, SCENARIO, figures)
    return replace(made, **changes)


def side(values: Iterable[float], figure: str = "get.p99", **changes: Any) -> list[RunFigures]:
    return [run_of({figure: value}, **changes) for value in values]


def noisy(rng: Random, runs: int, spread: float, times: float = 1.0) -> list[RunFigures]:
    """Runs whose p99 is about 1 ms, with this standard deviation between runs as a share."""
    return side(times * math.exp(rng.gauss(0, spread)) for _ in range(runs))


def judged(a: Sequence[RunFigures], b: Sequence[RunFigures], *gates: str, **options: Any) -> Comparison:
    return compare(a, b, gates=[Gate.parse(gate) for gate in gates], **options)


FIVE = (1.00, 1.02, 0.98, 1.01, 0.99)


# ---- how often it is right


@pytest.mark.parametrize("runs, spread", [(3, 0.03), (5, 0.05), (10, 0.07)])
def test_of_20_equal_pairs_none_fails_and_of_20_that_became_a_fifth_slower_at_least_19_do(runs: int, spread: float) -> None:
    rng = Random(24)
    same = [judged(noisy(rng, runs, spread), noisy(rng, runs, spread), P99) for _ in range(20)]
    slow = [judged(noisy(rng, runs, spread), noisy(rng, runs, spread, 1.2), P99) for _ in range(20)]
    assert [one.exit_code for one in same].count(1) == 0
    assert [one.exit_code for one in slow].count(1) >= 19


def test_noise_alone_shows_a_difference_in_at_most_one_of_twenty() -> None:
    rng = Random(5)
    found = [judged(noisy(rng, 6, 0.05), noisy(rng, 6, 0.05)).figures["get.p99"].difference for _ in range(200)]
    assert set(found) == {"better", "worse", "none shown"}
    assert found.count("none shown") >= 180


# ---- gates


@pytest.mark.parametrize(
    "gate, figure, times, code",
    [
        ("get.p99 > +10%", "get.p99", 1.2, 1),
        ("get.p99>10 %", "get.p99", 1.2, 1),
        ("get.p99 > +10%", "get.p99", 1.08, 0),
        ("get.p99 > +10%", "get.p99", 0.5, 0),
        ("get.p99 < -10%", "get.p99", 0.8, 1),
        ("all.throughput < -5%", "all.throughput", 0.9, 1),
        ("all.throughput < -5%", "all.throughput", 2.0, 0),
        ("get.p99.9.during > +0%", "get.p99.9.during", 1.2, 1),
        ("GET /cars/a > b.p99 > +10%", "GET /cars/a > b.p99", 1.2, 1),
    ],
)
def test_a_gate_fails_beyond_its_limit(gate: str, figure: str, times: float, code: int) -> None:
    found = judged(side(FIVE, figure), side([times * value for value in FIVE], figure), gate)
    assert found.exit_code == code, found.gates
    assert found.line == ("fail: 1 of 1 gate missed" if code else "pass: 1 gate holds")
    assert found.gates[0].figure == figure


@pytest.mark.parametrize(
    "text", ["get.p99", "get.p99 > 10", "get.p99 > -10%", "get.p99 < 10%", "> +10%", "get.p99 >= +10%", ""]
)
def test_what_is_no_gate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ComparisonError, match=r"is not a gate: write it as 'get\.p99 > \+10%' or 'all\.throughput < -5%'"):
        Gate.parse(text)


@pytest.mark.parametrize("gate, value", [("get.p99 > +10%", 11.0), ("get.p99 < -5%", 9.5), ("get.p99 > +30%", 13.0)])
def test_a_change_of_just_the_limit_is_not_beyond_it(gate: str, value: float) -> None:
    """11 / 10 - 1 is more than 0.1 by the error of rounding."""
    assert judged(side([10.0] * 5), side([value] * 5), gate).exit_code == 0
    assert judged(side([10.0] * 5), side([10 + 1.001 * (value - 10)] * 5), gate).exit_code == 1


@pytest.mark.parametrize("text", ["get.p99 < -100%", "get.p99 < -250%", f"get.p99 > +{'9' * 400}%", f"get.p99 < -{'9' * 400}%"])
def test_a_gate_that_nothing_can_miss_is_refused(text: str) -> None:
    with pytest.raises(ComparisonError, match=r"is a gate that nothing can miss: no figure can (rise|fall) by more"):
        Gate.parse(text)
    Gate.parse("get.p99 < -99.9%")


def test_a_gate_is_told_in_one_line() -> None:
    assert Gate.parse("\tget.p99\n>  +10%\n").text == "get.p99 > +10%"


@pytest.mark.parametrize("sizes", [(1, 1), (1, 10), (2, 2), (2, 3), (2, 4), (1, 19), (19, 1), (2, 9)])
def test_a_gate_that_so_few_runs_cannot_miss_is_unknown_whatever_they_measured(sizes: tuple[int, int]) -> None:
    for times in (1, 9):
        found = judged(side([1.0] * sizes[0]), side([1.0 * times] * sizes[1]), P99)
        assert found.exit_code == 4
        assert "cannot show a change, however large it is: take at least 3 on each side" in found.gates[0].line
        assert found.figures["get.p99"].difference == "too few runs"
    assert found.line == "inconclusive: 1 of 1 gate could not be judged"


def test_three_runs_on_each_side_can_miss_a_gate_and_an_interval_needs_five() -> None:
    found = judged(side(FIVE[:3]), side([1.3, 1.2, 1.4]), P99)
    assert found.exit_code == 1
    assert found.gates[0].line == "+30.0 %, one-sided p = 0.05"
    assert found.figures["get.p99"].interval is None
    assert found.shown.startswith("3 runs and 3 runs cannot show a difference, however large it is: take at least 4")


def test_a_change_beyond_the_limit_that_may_be_chance_is_unknown() -> None:
    found = judged(side([1.0, 1.4, 0.7, 1.1, 0.9]), side([1.2, 1.5, 0.8, 1.25, 0.6]), P99)
    assert found.exit_code == 4
    assert "beyond the limit, but such runs may differ by chance; take more" in found.gates[0].line


def test_a_gate_that_holds_says_if_the_runs_do_not_exclude_more() -> None:
    wide = judged(side([1.0, 1.2, 0.8, 1.1, 0.9]), side([1.02, 1.2, 0.8, 1.1, 0.9]), P99)
    assert wide.exit_code == 0
    assert wide.gates[0].line.endswith("these runs do not exclude more than the limit")
    narrow = judged(side(FIVE), side(FIVE), P99)
    assert narrow.exit_code == 0
    assert "exclude" not in narrow.gates[0].line
    assert narrow.shown == "no difference that these runs can show"


def test_a_figure_that_a_run_lacks_leaves_its_gate_unknown() -> None:
    b = [*side([2.0] * 4), run_of({"get.errors": 100.0})]
    found = judged(side(FIVE), b, P99)
    assert (found.exit_code, found.gates[0].line) == (4, "measured in only 5 of 5 runs and 4 of 5 runs")
    found = judged(side(FIVE), side(FIVE, "get.errors"), P99)
    assert (found.exit_code, found.gates[0].line) == (4, "measured in only 5 of 5 runs and 0 of 5 runs")


@pytest.mark.parametrize(
    "figure, told",
    [
        ("get.p98", r"; did you mean get\.p99\?"),
        ("gte.p99", r"; did you mean get\.p99\?"),
        ("get.steady", ""),
        ("recovery.steady.during", ""),
        ("get.p99.before.during", ""),
        ("zzz", r"; there are, among others, get\.p99$"),
    ],
)
def test_a_gate_of_what_is_no_figure_is_refused(figure: str, told: str) -> None:
    with pytest.raises(ComparisonError, match=rf"{figure} > \+10%: no run has the figure {re.escape(figure)}{told}"):
        judged(side(FIVE), side(FIVE), f"{figure} > +10%")


@pytest.mark.parametrize("figure", ["get.p99.during", "get.max", "all.errors", "recovery.steady", "read all.p50"])
def test_a_gate_of_a_figure_that_was_never_measured_is_unknown(figure: str) -> None:
    """Such as the latency of an operation of the mix that has always failed."""
    scenario = {**SCENARIO, "mix.read all.weight": 1.0}
    found = judged(side(FIVE, scenario=scenario), side(FIVE, scenario=scenario), f"{figure} > +10%")
    assert (found.exit_code, found.gates[0].line) == (4, "measured in only 0 of 5 runs and 0 of 5 runs")


def test_errors_where_there_were_none_are_a_change_beyond_every_limit() -> None:
    found = judged(side([0.0] * 5, "all.errors"), side([0.1, 0.2, 0.1, 0.3, 0.1], "all.errors"), "all.errors > +500%")
    assert found.exit_code == 1
    assert found.gates[0].line.startswith("from 0, one-sided p = ")
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["figures"]["all.errors"]["change"] is None
    assert judged(side([0.0] * 5, "all.errors"), side([0.0] * 5, "all.errors"), "all.errors > +0%").exit_code == 0


def test_a_gate_without_an_interval_because_of_zeros_says_so() -> None:
    """It said that an interval needs five runs on each side, which there are."""
    a, b = side([0, 0, 0, 0.1, 0.1, 0], "all.errors"), side([0, 0, 0.1, 0, 0, 0.1], "all.errors")
    found = judged(a, b, "all.errors > +10%")
    assert (found.exit_code, found.figures["all.errors"].interval) == (0, None)
    assert found.gates[0].line.endswith(
        ", no interval, for runs of A measured 0; these runs do not exclude more than the limit"
    )
    few = judged(side(FIVE[:4]), side(FIVE[:4]), P99)
    assert few.gates[0].line.endswith("; an interval needs 5 runs on each side")


def test_where_nothing_could_be_compared_it_says_why() -> None:
    nothing = [run_of({}) for _ in range(5)], [run_of({}) for _ in range(5)]
    assert judged(*nothing).shown == "no run has measured anything, so there is nothing to compare"
    assert judged(side(FIVE), nothing[1]).shown == "no figure was measured in enough runs of both sides to show a difference"


def test_the_gravest_gate_decides() -> None:
    a = [run_of({"get.p99": value, "get.p50": value}) for value in FIVE]
    b = [run_of({"get.p99": 2 * value, "get.p50": value}) for value in FIVE]
    assert judged(a, b, "get.p50 > +10%", P99).line == "fail: 1 of 2 gates missed"
    assert judged(a, b, "get.p50 > +10%", "get.p50 > +20%").line == "pass: 2 gates hold"
    b[0] = replace(b[0], figures={"get.p99": 2.0})
    assert judged(a, b, "get.p50 > +10%").exit_code == 4
    assert judged(a, b, "get.p50 > +10%", P99).exit_code == 1


# ---- what makes runs incomparable


@pytest.mark.parametrize("name", MATTERS)
@pytest.mark.parametrize("value", ["other", None])
def test_an_environment_that_differs_or_is_not_recorded_leaves_everything_open(name: str, value: str | None) -> None:
    other = {key: one for key, one in {**ENVIRONMENT, name: value}.items() if one is not None}
    slow = side([2 * one for one in FIVE], environment=other)
    found = judged(side(FIVE), slow, P99)
    assert (found.exit_code, found.line) == (4, f"inconclusive: the runs differ in {name}")
    assert [(one.name, one.a, one.b) for one in found.differences] == [(name, ["same"], [value or "not recorded"])]
    assert judged(side(FIVE), slow).exit_code == 4, "also without a gate"
    assert judged(side(FIVE), slow, P99, may_differ=[name]).exit_code == 1


def test_what_no_run_has_recorded_may_differ() -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "cores"}
    a, b = side(FIVE, environment=environment), side(FIVE, environment=environment)
    assert judged(a, b).line == "inconclusive: the runs differ in cores"


def test_runs_of_one_side_that_differ_among_themselves_are_told() -> None:
    mixed = [*side(FIVE[:4]), *side(FIVE[4:], scenario={**SCENARIO, "load.users": 8})]
    found = judged(mixed, side(FIVE))
    assert found.line == "inconclusive: the runs differ in scenario.load.users"
    assert found.differences[0].a == ["4", "8"]
    for allowed in ("scenario", "scenario.load", "scenario.load.users"):
        assert judged(mixed, side(FIVE), may_differ=[allowed]).exit_code == 0
    assert judged(mixed, side(FIVE), may_differ=["scenario.lo"]).exit_code == 4
    assert obstacles_to(mixed) == ["the runs differ in scenario.load.users"]
    assert obstacles_to(side(FIVE)) == []


def test_a_value_that_looks_like_none_is_one() -> None:
    other = side(FIVE, scenario={**SCENARIO, "table.columns.a.default": "-"})
    assert judged(side(FIVE), other).line == "inconclusive: the runs differ in scenario.table.columns.a.default"


def test_an_unknown_name_of_what_may_differ_is_refused() -> None:
    with pytest.raises(ComparisonError, match="'core' is nothing that may differ: name server, "):
        judged(side(FIVE), side(FIVE), may_differ=["core"])


def test_an_incomplete_run_leaves_everything_open() -> None:
    slow = [*side([2.0] * 4), *side([2.0], incomplete="SIGTERM ended it before its time")]
    found = judged(side(FIVE), slow, P99)
    assert (found.exit_code, found.gates[0].line) == (4, "not judged")
    assert found.line == f"inconclusive: {slow[4].run} is incomplete: SIGTERM ended it before its time"
    assert judged(slow, side(FIVE)).exit_code == 4
    slow[4] = replace(slow[4], seconds=0.5, environment={**ENVIRONMENT, "engines": "not recorded"})
    assert judged(side(FIVE, seconds=20.0), slow).line.startswith(f"inconclusive: {slow[4].run} is incomplete: ")


def test_runs_of_different_lengths_are_not_compared() -> None:
    assert judged(side(FIVE, seconds=20.0), side(FIVE, seconds=20.9), P99).exit_code == 0
    found = judged(side(FIVE, seconds=20.0), [*side(FIVE[1:], seconds=20.0), *side([1.0], seconds=2.0)], P99)
    assert (found.exit_code, found.line) == (4, "inconclusive: the runs lasted between 2.0 and 20.0 s")


def test_runs_whose_scenarios_say_different_lengths_may_be_compared_if_asked() -> None:
    short, long = ({**SCENARIO, "load.duration": length} for length in (10.0, 20.0))
    sides = side(FIVE, seconds=10.0, scenario=short), side(FIVE, seconds=20.0, scenario=long)
    assert judged(*sides, P99).exit_code == 4
    assert judged(*sides, P99, may_differ=["scenario.load"]).exit_code == 0
    ended = [*side(FIVE[:4], seconds=20.0, scenario=long), *side([1.0], seconds=12.0, scenario=long)]
    found = judged(sides[0], ended, P99, may_differ=["scenario.load"])
    assert (found.exit_code, found.obstacles) == (4, ["the runs lasted between 12.0 and 20.0 s"])
    users = {**SCENARIO, "load.users": 8}
    found = judged(side(FIVE, seconds=20.0), side(FIVE, seconds=2.0, scenario=users), P99, may_differ=["scenario.load"])
    assert found.obstacles == ["the runs lasted between 2.0 and 20.0 s"]


def test_a_run_counts_once() -> None:
    a = side(FIVE)
    copy = replace(a[0], run="copy")
    for sides in ((a, [*side(FIVE), a[0]]), ([*a, copy], side(FIVE))):
        with pytest.raises(ComparisonError, match=r"is named more than once, or is a copy: a run counts once, on one side"):
            judged(*sides)


def test_remarks_tell_what_else_may_be_the_cause() -> None:
    b = side(FIVE, engine_limit="The load engine was the limit", environment={**ENVIRONMENT, "kernel": "6.2"}, exit_code=1)
    told = judged(side(FIVE), b, names=("baseline main", "B")).remarks
    assert told == [
        "B: 5 of 5 runs did not pass; a change of latency does not tell why",
        "B: in 5 of 5 runs the load engine was the limit, so a change may be the engine's and not the servers'",
        "the runs differ in kernel, which may matter: 6.2, same",
    ]
    assert judged(side(FIVE), side(FIVE)).remarks == []


@pytest.mark.parametrize(
    "figure, parts",
    [
        ("get.p99", ("get", "p99", "run")),
        ("get.p99.9.during", ("get", "p99.9", "during")),
        ("all.throughput.after", ("all", "throughput", "after")),
        ("recovery.first_success", ("recovery", "first_success", "run")),
        ("GET /a.b.max", ("GET /a.b", "max", "run")),
    ],
)
def test_the_parts_of_a_figures_name(figure: str, parts: tuple[str, str, str]) -> None:
    assert parts_of(figure) == parts


def test_more_throughput_is_better_and_more_latency_is_worse() -> None:
    more = [2 * value for value in FIVE]
    for figure, found in (
        ("get.p99", "worse"),
        ("get.throughput", "better"),
        ("get.errors", "worse"),
        ("recovery.steady", "worse"),
    ):
        assert judged(side(FIVE, figure), side(more, figure)).figures[figure].difference == found
    assert judged(side(more), side(FIVE)).figures["get.p99"].difference == "better"
    assert judged(side(more), side(FIVE)).shown == "1 of 1 figure differs; even if nothing had changed, about 5 % of them would"
