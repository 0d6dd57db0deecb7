"""Objectives of a search: how they are written, what a step must show, and how many operations that takes."""

from __future__ import annotations

import math
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_drill.cli._capacity_slo import BEYOND, Objective, ObjectiveError, expectations, needed, parse_objectives
from hs_drill.scenario import parse_scenario, with_keys
from tests.support.amount import amount

SCENARIO = parse_scenario("name: x\nmix: {get: 9, product page: {do: find, weight: 1}}\n", "x.yaml")


@pytest.mark.parametrize(
    "text, operation, percentile, limit",
    [
        ("get.p99 <= 5ms", "get", "p99", 0.005),
        ("  all.p99.9<=1.5s ", "all", "p99.9", 1.5),
        ("product page.p50 <= 1s500ms", "product page", "p50", 1.5),
        ("errors = 0", "all", "", 0.0),
        ("errors <= 0", "all", "", 0.0),
        ("all.errors == 0", "all", "", 0.0),
        ("errors <= 0.1%", "all", "", 0.001),
    ],
)
def test_an_objective(text: str, operation: str, percentile: str, limit: float) -> None:
    one = Objective.parse(text)
    assert (one.operation, one.percentile) == (operation, percentile)
    assert one.limit == pytest.approx(limit)
    assert one.figure == f"{operation}.{percentile or 'errors'}"
    assert parse_objectives([text], SCENARIO) == [one]


@pytest.mark.parametrize(
    "text, wrong",
    [
        ("", "'' is not an objective: write it as 'get.p99 <= 5ms'"),
        ("get.p99", "'get.p99' is not an objective"),
        ("get.p99 > +10%", "get.p99 > +10%: limit a latency as '<= 5ms'"),
        ("get.p99 <= 5", "get.p99 <= 5: limit a latency as '<= 5ms'"),
        ("get.p99 <= 0ms", "limit a latency"),
        ("get.p99 >= 5ms", "limit a latency"),
        ("get.p98 <= 5ms", "get.p98 cannot be an objective; limit OPERATION.p50|p90|p95|p99|p99.9, or errors"),
        ("get.max <= 5ms", "the longest of all operations grows with their number"),
        ("get.p99.after <= 5ms", "a search has no faults, so there is nothing after them: leave .after out"),
        ("all.throughput >= 5", "all.throughput cannot be an objective"),
        ("recovery.steady <= 5s", "recovery.steady cannot be an objective"),
        ("errors = 1", "limit errors as 'errors = 0' or 'errors <= 0.1%'"),
        ("errors <= 5", "limit errors as"),
        ("errors <= 100%", "limit errors as"),
        ("errors > 1%", "limit errors as"),
        ("get.errors = 0", "errors of one operation cannot be an objective"),
        ("insert.p99 <= 5ms", "the mix has no insert; there are all, get, product page"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(text: str, wrong: str) -> None:
    with pytest.raises(ObjectiveError) as refused:
        parse_objectives([text], SCENARIO)
    assert wrong in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_figure_has_one_limit() -> None:
    with pytest.raises(ObjectiveError, match=r"all.errors <= 1%: all.errors has a limit already: errors = 0"):
        parse_objectives(["errors = 0", "all.errors <= 1%"], SCENARIO)


PIECES = [
    "get",
    "all",
    "errors",
    ".p99",
    ".max",
    ".errors",
    "<=",
    "=",
    ">",
    "0",
    "5",
    "5ms",
    "0.1%",
    "100%",
    " ",
    "x",
    "\x1b",
    "é",
]


@settings(max_examples=amount(200, 5000))
@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
def test_any_text_is_an_objective_or_is_refused(text: str) -> None:
    with suppress(ObjectiveError):
        one = Objective.parse(text)
        assert one.limit > 0 if one.percentile else 0 <= one.limit < 1


# ---- what a step must show


def test_objectives_are_expectations_of_the_steps_scenario() -> None:
    objectives = parse_objectives(["get.p99 <= 5ms", "get.p50 <= 1ms", "all.p99.9 <= 1s", "errors = 0"], SCENARIO)
    expect = expectations(objectives, 1000, 10, poisson=False)
    assert expect == {
        "latency": {"get": {"p99": 0.005, "p50": 0.001}, "all": {"p99.9": 1.0}},
        "errors": {"all": 0},
        "throughput": {"before": 989.9},
    }
    changed = with_keys(SCENARIO, {"name": "other", "load": {"rate": 1000.0, "duration": 10}, "expect": expect})
    assert (changed.name, changed.load.rate, changed.weights) == ("other", 1000, SCENARIO.weights)
    assert changed.expect.latency.limits()["get"]["p99"] == {"run": 0.005}


def test_errors_that_may_happen_need_not_succeed() -> None:
    expect = expectations([Objective.parse("errors <= 2%")], 1000, 10, poisson=False)
    assert expect == {"availability": 0.98, "throughput": {"before": pytest.approx(1000 * 0.99 * 0.98 - 0.1)}}


def test_fewer_random_arrivals_than_the_rate_says_are_no_miss() -> None:
    for seed in range(amount(200, 2000)):
        rng = Random(seed)
        rate, lasts = 10 ** rng.uniform(1.5, 3), 5.0
        least = expectations([], rate, lasts, poisson=True)["throughput"]["before"]
        arrived, at = 0, 0.0
        while (at := at + rng.expovariate(rate)) < lasts:
            arrived += 1
        assert arrived / lasts >= least, seed
    assert expectations([], 1, 5, poisson=True)["throughput"]["before"] == 0.0


# ---- how many operations that takes


@pytest.mark.parametrize(
    "objectives, precision, poisson, operations, why",
    [
        ([], 0.05, False, 0, ""),
        (["errors = 0"], 0.05, False, 0, ""),
        (["errors = 0"], 0.05, True, 14_400, "by chance 14,400 random arrivals are up to 2.5 % more or fewer"),
        (["all.p99 <= 1s"], 0.1, True, 10_000, "100 operations beyond all.p99 need 10,000 in all"),
        (["get.p99 <= 1s"], 0.05, False, 11_112, "100 operations beyond get.p99 need 11,112 in all"),
        (["get.p99 <= 1s", "product page.p99 <= 1s"], 0.05, False, 100_000, "100 operations beyond product page.p99"),
        (["all.p99.9 <= 1s"], 0.05, False, 100_000, "100 operations beyond all.p99.9"),
        (["errors <= 0.5%"], 0.05, False, 20_000, "100 operations that may fail need 20,000 in all"),
    ],
)
def test_needed(objectives: list[str], precision: float, poisson: bool, operations: int, why: str) -> None:
    found = needed(parse_objectives(objectives, SCENARIO), SCENARIO.weights, precision, poisson=poisson)
    assert found[0] == operations
    assert found[1].startswith(why)


@settings(max_examples=amount(20, 300), deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["p50", "p90", "p99"]))
def test_a_percentile_of_so_many_operations_is_within_a_tenth_of_its_tail(seed: int, percentile: str) -> None:
    """What is measured as p99 has between 0.7 and 1.3 % of all operations beyond it: three times the tenth that is one standard
    deviation."""
    count, _ = needed([Objective.parse(f"all.{percentile} <= 1s")], {"get": 1}, 0.05, poisson=False)
    tail = 1 - float(percentile[1:]) / 100
    assert count == pytest.approx(BEYOND / tail)
    rng = Random(seed)
    ordered = sorted(rng.random() for _ in range(count))
    measured = ordered[math.ceil(round(count * (1 - tail), 6)) - 1]
    assert 1 - measured == pytest.approx(tail, rel=0.4)
