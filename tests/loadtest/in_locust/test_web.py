"""The web UI: it opens on a ready cluster with the scenario's numbers filled in, and runs tests one after the other."""

from __future__ import annotations

import json
import os
import signal
import socket
from functools import partial

import pytest

from tests.loadtest.support.locust_process import SCENARIO, Locust, free_port
from tests.loadtest.support.web_ui import WebUi

pytestmark = pytest.mark.process


@pytest.mark.parametrize("processes", [[], ["--processes", "2"]])
def test_a_taken_port_is_reported_before_servers_start(processes: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with Locust("--web-host", "127.0.0.1", "--web-port", str(port), *processes) as locust:
            assert locust.exit_code() == 2, locust.describe()  # workers exit a moment later
            told = locust.stderr
    assert f"\nthe web UI cannot listen on 127.0.0.1:{port}: Address already in use; --web-port chooses another" in told
    assert "Traceback" not in told
    assert "embedded servers" not in told


def test_the_form_is_filled_in_and_runs_follow_each_other() -> None:
    port = free_port()
    with Locust("--web-host", "127.0.0.1", "--web-port", str(port), "--processes", "2") as locust:
        web = WebUi(locust, port)
        locust.wait_until(web.answers, "the web UI does not answer")
        form = web.template()
        assert (form["num_users"], form["spawn_rate"], form["run_time"]) == (8, 100, 2)

        for users in (6, 3):
            assert json.loads(web.fetch("/swarm", user_count=users, spawn_rate=100))["success"]
            locust.wait_until(partial(web.has_users, users), "no users")
            locust.wait_until(lambda: web.count("insert") > 25, "no load")
            seen = web.statistics()
            assert seen["fail_ratio"] == 0, seen["errors"]
            total = next(entry for entry in seen["stats"] if entry["name"] == "Aggregated")
            assert 0 < total["median_response_time"] <= total["response_time_percentile_0.95"]
            if users == 6:  # change the number while it runs
                for changed in (9, 2):
                    web.fetch("/swarm", user_count=changed, spawn_rate=100)
                    locust.wait_until(partial(web.has_users, changed), "the number of users is wrong")
            assert json.loads(web.fetch("/stop"))["success"]
            locust.wait_until(lambda: web.statistics()["state"] in ("stopped", "ready"), "it does not stop")
            at_rest = web.count("get")
            assert at_rest > 0
        assert web.count("get") == at_rest
        assert web.statistics()["errors"] == []
        assert locust.stdout.count("short: ") == 2, locust.describe()

        locust.process.terminate()
        assert locust.finish() == 0, locust.describe()
        assert "Traceback" not in locust.stderr, locust.describe()


def test_the_command_line_fills_the_form_and_a_later_mistake_in_the_scenario_does_not_break_the_page() -> None:
    port = free_port()
    with Locust("--web-host", "127.0.0.1", "--web-port", str(port), "-u", "5", "-r", "2", "-t", "1m") as locust:
        web = WebUi(locust, port)
        locust.wait_until(web.answers, "the web UI does not answer")
        form = web.template()
        assert (form["num_users"], form["spawn_rate"], form["run_time"]) == (5, 2, 60)
        (locust.directory / "short.yaml").write_text(SCENARIO + "oops: 1\n")
        assert web.template()["num_users"] == 5


def test_a_run_after_the_engine_died_has_a_new_engine() -> None:
    port = free_port()
    with Locust("--web-host", "127.0.0.1", "--web-port", str(port)) as locust:
        web = WebUi(locust, port)
        locust.wait_until(web.answers, "the web UI does not answer")
        web.fetch("/swarm", user_count=4, spawn_rate=100)
        locust.wait_until(lambda: web.count("get") > 25, "no load")
        os.kill(locust.processes("hs_drill.engine")[0], signal.SIGKILL)
        locust.wait_for("the load engine")
        locust.wait_until(lambda: web.statistics()["state"] == "stopped", "it does not stop")
        web.fetch("/swarm", user_count=4, spawn_rate=100)
        locust.wait_until(lambda: web.statistics()["state"] == "running" and web.count("get") > 25, "no load")
        web.fetch("/stop")
        locust.process.terminate()
        assert locust.finish() == 1, "a run has failed"
