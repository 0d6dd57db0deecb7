"""What a step's run says: who missed an objective, the servers or the load engine, and when the search cannot go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hs_drill._exit_codes import ExitCode
from hs_drill.cli._capacity_search import Outcome, Step
from hs_drill.cli._capacity_slo import Objective
from hs_drill.cli._capacity_step import StepFailed, Steps, step_of
from hs_drill.scenario import parse_scenario, with_keys
from hs_drill.verdict import RunFigures

HOLDS, MISSED, ENGINE = Outcome.HOLDS, Outcome.MISSED, Outcome.ENGINE
FIGURES = RunFigures("r", "f", "pass", 0, "", 12.0, "", {"cores": 2}, {}, {"all.throughput": 990.0, "get.p99": 3.0})


def one(name: str, result: str, measured: float | None, limit: float = 0.0) -> dict[str, Any]:
    return {"name": name, "result": result, "measured": measured, "limit": limit, "line": f"{name} by hand", "audit": False}


LATENCY = one("latency.get.p99", "miss", 0.0071, 0.005)
LATE = one("latency.get.p99", "unknown", 0.0071, 0.005)
NONE = one("latency.get.p99", "unknown", None, 0.005)
ERRORS = one("errors.all", "miss", 3)
SLOW = one("throughput.before", "miss", 800.0, 960.0)


def engine(share: float = 0.0, cpu: float = 0.4) -> dict[str, Any]:
    """An engine that had no time left for this share of the time."""
    return {
        "was_limit": share >= 0.2,
        "no_time_left_seconds": share * 12,
        "seconds": 12.0,
        "cpu": cpu,
        "waited_for_cpu": 0.0,
    }


def step(*wrong: dict[str, Any], of: dict[str, Any] | None = None, figures: RunFigures = FIGURES, **result: Any) -> Step:
    good = [one("latency.all.p50", "pass", 0.001), one("lost", "unknown", None)]
    whole = {
        "exit_code": 1,
        "verdict": "fail: by hand",
        "expectations": [*good, *wrong],
        "engine": {"phases": {"run": engine()} if of is None else {"run": of} if of else {}},
        "servers_cpu": {"writer": {"cores": 1.0, "thread": 0.5, "waited": 0.0}},
        **result,
    }
    return step_of(1000, 1, whole, figures, "runs/r")


@pytest.mark.parametrize(
    "wrong, share, outcome",
    [
        ([], 0.0, HOLDS),
        ([], 0.9, HOLDS),  # an engine can only add to a latency
        ([LATENCY], 0.0, MISSED),
        ([ERRORS], 0.0, MISSED),
        ([SLOW], 0.0, MISSED),
        ([LATENCY, ERRORS, SLOW], 0.0, MISSED),
        # The verdict found that the engine may be why the latency was too long.
        ([LATE], 0.0, ENGINE),
        ([LATE], 0.1, ENGINE),
        ([LATE, SLOW], 0.0, MISSED),
        ([LATE, SLOW], 0.1, ENGINE),
        # It may be why operations were too few, or not started in time.
        ([SLOW], 0.1, ENGINE),
        ([ERRORS], 0.1, ENGINE),
        # The verdict found that it is not why the latency was too long.
        ([LATENCY, SLOW], 0.1, MISSED),
        # An engine that could not keep its schedule says nothing about the servers.
        ([LATENCY], 0.2, ENGINE),
        ([LATENCY, ERRORS, SLOW], 0.9, ENGINE),
        # Nothing succeeded.
        ([NONE], 0.0, MISSED),
        ([NONE], 0.1, ENGINE),
    ],
)
def test_the_servers_are_blamed_only_for_what_the_engine_cannot_have_caused(
    wrong: list[dict[str, Any]], share: float, outcome: Outcome
) -> None:
    assert step(*wrong, of=engine(share)).outcome is outcome


def test_of_an_engine_of_which_nothing_is_known_anything_may_be() -> None:
    assert step(LATENCY, of={}).outcome is ENGINE
    assert step(of={}).outcome is HOLDS


@pytest.mark.parametrize("cpu, help", [(0.9, True), (0.3, False)])
def test_another_engine_helps_one_that_is_busy_and_not_one_that_waits(cpu: float, help: bool) -> None:
    assert step(LATE, of=engine(0.5, cpu)).more_engines_help == help


def test_why_is_said_in_short() -> None:
    found = step(LATENCY, ERRORS, SLOW, one("availability", "miss", 0.98, 0.999))
    assert found.why == [
        "get.p99 was 7.1 ms, not 5 ms",
        "3 operations failed",
        "only 800/s succeeded of 1,000/s",
        "2 % of the operations failed, not 0.1 %",
    ]
    assert step(NONE).why == ["latency.get.p99 by hand"]


def test_what_is_kept_of_a_step() -> None:
    found = step()
    assert found.details == {
        "run": "runs/r",
        "figures": FIGURES.figures,
        "engine": engine(),
        "servers_cpu": {"writer": {"cores": 1.0, "thread": 0.5, "waited": 0.0}},
        "seconds": 12.0,
        "environment": {"cores": 2},
    }


@pytest.mark.parametrize(
    "result, code, line",
    [
        ({"exit_code": 3}, ExitCode.AUDIT_FAILED, "at 1,000/s: fail: by hand (runs/r)"),
        ({"died": ["an engine died"]}, ExitCode.RUN_FAILED, "at 1,000/s: an engine died (runs/r)"),
        (
            {"troubles": ["reader-1 died unexpectedly"]},
            ExitCode.INCONCLUSIVE,
            "at 1,000/s: reader-1 died unexpectedly (runs/r)",
        ),
        ({"figures": replace(FIGURES, incomplete="a worker was lost")}, ExitCode.INCONCLUSIVE, "a worker was lost"),
        ({"figures": replace(FIGURES, figures={})}, ExitCode.INCONCLUSIVE, "no operation was counted"),
        (
            {"ended_by": "SIGTERM", "figures": replace(FIGURES, incomplete="SIGTERM ended it")},
            ExitCode.ENDED_EARLY,
            "SIGTERM ended it",
        ),
    ],
)
def test_a_step_that_says_nothing_ends_the_search(result: dict[str, Any], code: ExitCode, line: str) -> None:
    with pytest.raises(StepFailed) as failed:
        step(**result)
    assert failed.value.code == code
    assert line in str(failed.value)


# ---- the scenario of a step


def steps(load: str, *objectives: str, operations: int = 0, shortest: float = 10, warm_up: float = 2) -> Steps:
    scenario = parse_scenario(f"name: shop\nmix: {{get: 1}}\nload: {load}\nexpect: {{outage: 2s}}\n", "s.yaml")
    return Steps(Path("s.yaml"), scenario, [Objective.parse(text) for text in objectives], operations, shortest, warm_up)


@pytest.mark.parametrize("rate, lasts", [(100, 100), (1000, 10), (1e5, 10), (333, 31)])
def test_a_step_has_as_many_operations_as_it_needs(rate: float, lasts: float) -> None:
    made = steps("{users: 4}", operations=10_000)
    assert made.lasts(rate) == lasts
    assert made.keys(rate)["load"]["duration"] == lasts + 2


def test_the_load_of_a_scenario_is_replaced_and_what_it_expects_too() -> None:
    made = steps("{users: 4, think_time: 1s, duration: 1m}", "get.p99 <= 5ms")
    scenario = with_keys(made.scenario, made.keys(250))
    load = scenario.load
    assert (load.open, load.rate, load.lasts, load.warm_up, load.think_time, load.arrivals) == (
        True,
        250,
        12,
        2,
        None,
        "poisson",
    )
    assert scenario.name == "shop-at-250"
    assert scenario.expect.outage is None
    assert scenario.expect.latency.operations() == ["get"]


def test_what_an_open_loop_says_of_its_arrivals_holds() -> None:
    made = steps("{rate: 5, arrivals: even, max_in_flight: 7, max_wait: 1s, stages: [{for: 1m, rate: 9}]}", "errors = 0")
    load = with_keys(made.scenario, made.keys(250)).load
    assert (load.rate, load.stages, load.arrivals, load.max_in_flight, load.max_wait) == (250, [], "even", 7, 1)
    assert made.keys(250)["expect"]["throughput"] == {"before": 247.4}
