"""The report of a search for capacity: what is where in its charts, and its tables."""

from __future__ import annotations

import re
from typing import Any

from hs_drill.report import render_search
from hs_drill.report._frame import LEFT, PLOT

OBJECTIVES = [
    {"text": "get.p99 <= 20ms", "figure": "get.p99", "operation": "get", "percentile": "p99", "limit": 20.0},
    {"text": "errors <= 1%", "figure": "all.errors", "operation": "all", "percentile": "", "limit": 1.0},
]


def step(rate: float, outcome: str = "holds", p99: float | None = 2.0, **more: Any) -> dict[str, Any]:
    figures = {"all.throughput.before": rate, "all.errors": 0.25, **({} if p99 is None else {"get.p50": 1.0, "get.p99": p99})}
    return {
        "rate": rate,
        "outcome": outcome,
        "engines": 1,
        "counts": True,
        "why": [],
        "figures": figures,
        "run": f"/runs/r-at-{rate:g}",
        **more,
    }


def result(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "scenario": "shop",
        "result": "capacity: by hand",
        "exit_code": 0,
        "holds": 1000,
        "fails": 2000,
        "certain": [500, 2000],
        "objectives": OBJECTIVES,
        "range": {"from": 500, "to": 1e6, "precision": 0.05},
        "steps": list(steps),
        "runs": "../../runs",
        **more,
    }


def test_each_step_is_where_its_rate_and_its_latency_are() -> None:
    page = render_search(result(step(500), step(1000, p99=20.0), step(2000, "missed", 200.0)))
    latency, achieved = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    dots = re.findall(r'<circle class="point p99 holds" cx="([\d.]+)" cy="([\d.]+)"', latency)
    assert [float(x) for x, _ in dots] == [round(LEFT + PLOT * rate / 2000, 1) for rate in (500, 1000)]
    (limit,) = re.findall(r'<line class="limit-line"[^>]* y1="([\d.]+)"', latency)
    assert float(dots[1][1]) == float(limit) < float(dots[0][1]), "at the limit, and below it"
    assert len(re.findall(r'class="point p99 missed"', latency)) == 1
    (band,) = re.findall(r'<rect class="band" x="([\d.]+)" y="10" width="([\d.]+)"', latency)
    assert [float(one) for one in band] == [round(LEFT + PLOT / 4, 1), round(PLOT * 3 / 4, 1)]
    assert len(re.findall(r'class="point rate', achieved)) == 3


def test_steps_that_do_not_count_are_in_the_table_alone() -> None:
    page = render_search(result(step(500), step(1000, "engine", counts=False)))
    assert len(re.findall(r'class="point p99', page)) == 1
    assert "? engine, measured again with more engines" in page
    assert page.count('href="../../runs/r-at-') == 2


def test_a_step_in_which_nothing_succeeded_has_no_latency() -> None:
    page = render_search(result(step(500, "missed", None, why=["no get <succeeded>"]), holds=None, certain=[None, 500]))
    assert "Nothing succeeded." in page
    assert "no get &lt;succeeded&gt;" in page
    assert 'class="point p99' not in page
    assert 'class="band"' not in page


def test_without_an_objective_of_latency_that_of_all_operations_is_shown() -> None:
    page = render_search(result(step(500), objectives=OBJECTIVES[1:]))
    assert "Latency of all operations" in page
    assert "0.25 %" in page


def test_what_decides_is_told_of_the_servers_cpu() -> None:
    cpu = {"writer": {"cores": 1.25, "thread": 0.5, "waited": 0.0}}
    page = render_search(result(step(500, servers_cpu=cpu), step(1000, servers_cpu=cpu)))
    assert re.findall(r"writer [^;<]*", page) == ["writer 1.25 cores and 50% of one in its busiest thread at 1,000/s"]
    assert "not known" in render_search(result(step(1000)))
