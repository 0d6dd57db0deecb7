"""The requests of other users beside ours: in the terminal, in result.json, in the report and in the verdict."""

from __future__ import annotations

import json

import pytest
from locust.stats import RequestStats

from hs_drill.in_locust._locust_stats import METHOD
from hs_drill.in_locust._other_requests import other_requests
from hs_drill.store import RunDirectory
from hs_drill.verdict._judge_run import judge_run
from tests.loadtest.support.locust_process import HEADLESS, SCENARIO, Locust, result_of

HTTP_USER = """\
from locust import HttpUser, constant_throughput, task

class Web(HttpUser):
    host = "http://127.0.0.1:9"  # nobody listens there
    wait_time = constant_throughput(20)

    @task
    def page(self):
        self.client.get("/page")

    @task
    def broken(self):
        raise KeyError("what it lacks")
"""


def test_only_what_is_not_ours_counts() -> None:
    stats = RequestStats()
    stats.log_request(METHOD, "get", 1, 0)
    assert other_requests(stats, {}) is None
    for latency in (15, 25):
        stats.log_request("GET", "/page", latency, 10)
    stats.log_error("GET", "/page", OSError("refused"))
    others = other_requests(stats, {1: {"count": 2, "msg": "'x'", "traceback": "", "nodes": {"local"}}})
    assert others is not None
    (request,) = others["requests"]
    assert (request["method"], request["name"], request["count"], request["failures"]) == ("GET", "/page", 2, 1)
    assert request["max"] == 25
    assert others["errors"] == [{"method": "GET", "name": "/page", "error": "OSError('refused')", "count": 1}]
    assert others["exceptions"] == [{"error": "'x'", "count": 2}]
    json.dumps(others)


@pytest.mark.process
def test_an_http_user_beside_ours_is_shown_counted_and_kept() -> None:
    """Of a worker, as of Locust alone: test_only_what_is_not_ours_counts."""
    with Locust(
        *HEADLESS, "--cluster", "embedded", "--json", "--processes", "1", scenario=SCENARIO, beside=HTTP_USER
    ) as locust:
        assert locust.finish() == 1, locust.describe()
        # With --json, stdout is one JSON document; our summary is on stderr.
        assert "GET" in [entry["method"] for entry in json.loads(locust.stdout)]
        told = locust.stderr
        assert "Requests of other users" in told
        assert " x a task ended with an exception: 'what it lacks'" in told
        assert " x GET /page: " in told
        result = result_of(locust)
        (request,) = result["other_requests"]["requests"]
        assert request["failures"] == request["count"] > 0
        assert f"verdict: fail: {request['failures']:,} requests of other users and " in told
        assert RunDirectory.open(locust.run).environment()["options"] == "HandlerSocketUser weight 1; Web weight 1"
        assert judge_run(RunDirectory.open(locust.run))["verdict"] == result["verdict"]
        report = (locust.run / "report.html").read_text()
        assert "Requests of other users" in report
        assert "GET /page" in report
