"""`locust -f loadtest/`, headless: that it measures, says so, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import trio

from hs_drill import __main__ as command
from hs_drill._cluster import ClusterError
from hs_drill.servers._processes import find_installation
from tests.loadtest.support.locust_process import SCENARIO, Locust, result_of
from tests.loadtest.support.server_kinds import EVERY_REPLICATION

pytestmark = pytest.mark.process

OPERATIONS = ["get", "find", "insert", "incr", "decr", "update", "delete"]
ROW = re.compile(r"^  (\w+) +([\d,]+) +([\d,]+) +([\d,]+)((?: +\d+\.\d{3}){5}) *$", re.MULTILINE)


def rows(text: str) -> dict[str, tuple[int, int, list[float]]]:
    """Count, failures and the latencies in milliseconds of each operation in the result."""
    return {
        name: (int(count.replace(",", "")), int(failures.replace(",", "")), list(map(float, latencies.split())))
        for name, count, failures, _, latencies in ROW.findall(text)
    }


def assert_good_result(locust: Locust, text: str) -> None:
    found = rows(text)
    assert list(found) == [*OPERATIONS, "all"], locust.describe()
    for count, failures, latencies in found.values():
        assert count > 0
        assert failures == 0
        assert latencies == sorted(latencies)
    assert found["all"][0] == sum(count for name, (count, _, _) in found.items() if name != "all")
    assert "WARNING" not in locust.stderr, locust.describe()
    assert "Traceback" not in locust.stderr, locust.describe()


@EVERY_REPLICATION
def test_a_run_prints_one_row_per_operation_and_exits_0(kind: str) -> None:
    """In the topology with most parts: writes go through SQL, and a standby acknowledges them. Containers run 11.8."""
    more = "standby: true, topology: write-through, replication: semisync"
    scenario = SCENARIO.replace("{readers: 1}", f"{{readers: 1, {more}}}")
    version = ["--server-version", "11.8"] if kind == "docker" else []
    with Locust("--headless", "--only-summary", "--cluster", kind, *version, scenario=scenario) as locust:
        assert locust.finish() == 0, locust.describe()
        assert_good_result(locust, locust.stdout)
        (servers,) = re.findall("^servers: (.*)$", locust.stdout, re.MULTILINE)
        assert result_of(locust)["server"] == servers
        assert servers.endswith(f" ({kind})")
        assert servers.startswith("11.8." if version else "")
        assert "3 servers are up" in locust.stderr
        assert "8 total users" in locust.stderr
        assert "Run time limit set to 2 seconds" in locust.stderr
        # Locust's own tables of whole milliseconds would only be noise.
        assert "Response time percentiles" not in locust.stderr


def test_the_command_line_and_the_environment_overrule_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "five.yaml").write_text(SCENARIO.replace("name: short", "name: five").replace("users: 8", "users: 5"))
    env = {"LOCUST_SCENARIO": str(tmp_path / "five.yaml"), "LOCUST_RUN_TIME": "1s"}
    with Locust("--headless", "--only-summary", "-u", "3", scenario=None, env=env) as locust:
        assert locust.finish() == 0, locust.describe()
        assert locust.run.name.endswith("-five")
        assert "3 total users" in locust.stderr
        assert "Run time limit set to 1 seconds" in locust.stderr


def test_without_options_it_is_the_mixed_scenario() -> None:
    with Locust("--headless", "--only-summary", scenario=None) as locust:
        locust.wait_for("Ramping to 64 users")
        assert "starting 3 embedded servers" in locust.stderr


def test_two_workers_are_merged_in_the_master() -> None:
    with Locust("--headless", "--only-summary", "--json", "--processes", "2", "-t", "0") as locust:
        locust.wait_for_load()
        assert len(locust.processes("hs_drill.engine")) == 2
        assert len(locust.processes("hs_drill.controller")) == 1
        locust.wait_until(lambda: locust.written_by_each_worker(5_000), "little load")
        locust.interrupt()
        assert locust.finish() == 0, locust.describe()
        assert_good_result(locust, locust.stderr)
        # Locust's own count, of what its workers reported to it, is the same to the last operation.
        counted = {entry["name"]: entry["num_requests"] for entry in json.loads(locust.stdout)}
        assert counted == {name: rows(locust.stderr)[name][0] for name in OPERATIONS}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_locust_while_servers_start_nothing_stays_behind(signum: signal.Signals) -> None:
    """(Once they are up: test_ended_runs.py.)"""
    with Locust("--headless", "--only-summary", "-t", "10m") as locust:
        locust.wait_for("starting 2 embedded servers")
        assert len(locust.processes()) > 2, "or this test looks for the wrong processes"
        if signum == signal.SIGINT:
            os.killpg(locust.process.pid, signum)  # as a terminal does
        else:
            os.kill(locust.process.pid, signum)
        locust.exit_code()
        assert "Traceback" not in locust.stderr, locust.describe()


def test_workers_end_with_a_master_that_was_killed() -> None:
    with Locust("--headless", "--only-summary", "--processes", "2", "-t", "10m") as locust:
        locust.wait_for_load()
        assert len(locust.processes("-m locust")) == 3


@pytest.mark.parametrize("processes", [[], ["--processes", "2"]], ids=["alone", "workers"])
def test_an_engine_that_dies_is_reported_and_fails_the_run(processes: list[str]) -> None:
    with Locust("--headless", "--only-summary", "-t", "10m", *processes) as locust:
        locust.wait_for_load()
        engine = locust.processes("hs_drill.engine")[0]
        os.kill(engine, signal.SIGKILL)
        assert locust.finish() == 1, locust.describe()
        died = f"the load engine (process {engine}) died: killed by SIGKILL"
        assert died in locust.stderr
        result = json.loads((locust.run / "result.json").read_text())
        assert result["exit_code"] == 1
        assert result["verdict"].startswith("fail: ")
        assert died in result["verdict"]
        assert "Traceback" not in locust.stderr, locust.describe()


UNSTATED = """\
name: unstated
cluster: {kind: embedded, readers: 1}
table: {rows: 500, value_size: 30}
load: {users: 8, think_time: 20ms}
mix: {get: 60, insert: 40}
faults: [{fault: kill, target: writer, at: 500ms, for: 1m}]
"""


@pytest.mark.parametrize(
    "arguments, code, verdict",
    [
        (["--processes", "2"], 1, r"fail: [\d,]+ operations failed, and nothing was expected"),
        (["--exit-code-on-error", "0"], 0, r"pass: all \d expectations hold"),
    ],
    ids=["workers", "failures allowed"],
)
def test_a_run_has_one_verdict_wherever_it_is_told(
    arguments: list[str], code: int, verdict: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Locust("--headless", "--only-summary", "-t", "0", *arguments, scenario=UNSTATED) as locust:
        locust.wait_for_failures("insert")
        locust.interrupt()
        assert locust.finish() == code, locust.describe()
        count, failed, _ = rows(locust.stdout)["all"]
        assert 0 < failed < count
        assert rows(locust.stdout)["get"][1] == 0, "the reader is alive"
        assert re.search(r"[\d,]+ x insert: \w*ConnectionError: ", locust.stdout), locust.describe()
        (told,) = re.findall("^verdict: (.*)$", locust.stdout, re.MULTILINE)
        assert re.match(verdict, told), told
        result = json.loads((locust.run / "result.json").read_text())
        assert (result["verdict"], result["exit_code"]) == (told, code)
        assert f"<h1>{told}</h1>" in (locust.run / "report.html").read_text()
        assert f"Exit code {code}:" in (locust.run / "report.html").read_text()
        assert command.main(["analyze", str(locust.run), "--junit", str(tmp_path / "j.xml")]) == code
        assert f"verdict: {told}\n" in capsys.readouterr().out
        failures = ElementTree.parse(tmp_path / "j.xml").findall(".//failure")
        assert len(failures) == code
        assert all(told.startswith(f"fail: {failure.get('message')}") for failure in failures)


def test_auto_takes_embedded_servers_where_nothing_else_works_and_says_why() -> None:
    without_docker = {"DOCKER_HOST": "unix:///nonexistent"}
    arguments = ("--headless", "--only-summary", "-t", "1s", "--cluster", "auto")
    with Locust(*arguments, env=without_docker, wrapper=without_mariadb()) as locust:
        assert locust.finish() == 0, locust.describe()
        assert_good_result(locust, locust.stdout)
        (said,) = re.findall(r"servers ready: (.*)", locust.stderr)
        assert said.startswith("embedded (no other kind works here: no container engine answers"), locust.describe()
        assert "; mariadbd not found in PATH" in said


def without_mariadb() -> list[str]:
    """What to put before a command so that it finds no MariaDB. Root hides an installed one, in a mount namespace."""
    try:
        installed = Path(trio.run(find_installation).mariadbd)
    except ClusterError:
        return []
    hide = ["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"', str(installed)]
    if subprocess.run([*hide, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("to hide the installed MariaDB needs root and a mount namespace")
    return hide
