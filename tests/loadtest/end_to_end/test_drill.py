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
from tests.loadtest.support.locust_process import SCENARIO, Locust
from tests.loadtest.support.server_kinds import EVERY_KIND

pytestmark = pytest.mark.process

OPERATIONS = ["get", "find", "insert", "incr", "decr", "update", "delete"]
ROW = re.compile(r"^  (\w+) +([\d,]+) +([\d,]+) +([\d,]+)((?: +\d+\.\d{3}){5}) *$", re.MULTILINE)


def rows(text: str) -> dict[str, tuple[int, int, list[float]]]:
    """Count, failures and the latencies in milliseconds of each operation in the result."""
    return {
        name: (int(count.replace(",", "")), int(failures.replace(",", "")), list(map(float, latencies.split())))
        for name, count, failures, _, latencies in ROW.findall(text)
    }


def assert_good_result(locust: Locust) -> None:
    found = rows(locust.stdout)
    assert list(found) == [*OPERATIONS, "all"], locust.describe()
    for count, failures, latencies in found.values():
        assert count > 0
        assert failures == 0
        assert latencies == sorted(latencies)
    assert found["all"][0] == sum(count for name, (count, _, _) in found.items() if name != "all")
    assert "WARNING" not in locust.stderr, locust.describe()
    assert "Traceback" not in locust.stderr, locust.describe()


@EVERY_KIND
def test_a_run_prints_one_row_per_operation_and_exits_0(kind: str) -> None:
    scenario = SCENARIO.replace("readers: 1", "readers: 2")
    with Locust("--headless", "--only-summary", "--cluster", kind, scenario=scenario) as locust:
        assert locust.finish() == 0, locust.describe()
        assert_good_result(locust)
        assert "8 total users" in locust.stderr
        assert "Run time limit set to 2 seconds" in locust.stderr
        # Locust's own tables of whole milliseconds would only be noise.
        assert "Response time percentiles" not in locust.stderr


@EVERY_KIND
def test_writes_go_through_sql_where_the_scenario_says_so(kind: str) -> None:
    more = "standby: true, topology: write-through, replication: semisync"
    scenario = SCENARIO.replace("{readers: 1}", f"{{readers: 1, {more}}}")
    with Locust("--headless", "--only-summary", "--cluster", kind, scenario=scenario) as locust:
        assert locust.finish() == 0, locust.describe()
        assert_good_result(locust)
        assert "3 servers are up" in locust.stderr


@pytest.mark.mariadb
def test_the_command_line_has_the_last_word_on_users_and_time() -> None:
    with Locust("--headless", "--only-summary", "-u", "3", "-t", "1s") as locust:
        assert locust.finish() == 0, locust.describe()
        assert "3 total users" in locust.stderr
        assert "Run time limit set to 1 seconds" in locust.stderr


@pytest.mark.mariadb
def test_without_options_it_is_the_mixed_scenario() -> None:
    with Locust("--headless", "--only-summary", scenario=None) as locust:
        locust.wait_for("Ramping to 64 users")
        assert "starting 3 MariaDB servers" in locust.stderr


@pytest.mark.mariadb
def test_the_environment_may_say_what_the_command_line_does_not(tmp_path: Path) -> None:
    (tmp_path / "five.yaml").write_text(SCENARIO.replace("users: 8", "users: 5"))
    env = {"LOCUST_SCENARIO": str(tmp_path / "five.yaml"), "LOCUST_RUN_TIME": "1s"}
    with Locust("--headless", "--only-summary", scenario=None, env=env) as locust:
        assert locust.finish() == 0, locust.describe()
        assert "5 total users" in locust.stderr
        assert "Run time limit set to 1 seconds" in locust.stderr


@pytest.mark.mariadb
def test_two_workers_are_merged_in_the_master() -> None:
    with Locust("--headless", "--only-summary", "--json", "--processes", "2", "-t", "4s") as locust:
        locust.wait_for("All users spawned")
        assert len(locust.processes("hs_drill.engine")) == 2
        assert len(locust.processes("hs_drill.controller")) == 1
        assert locust.finish() == 0, locust.describe()
        assert_good_result(locust)
        # Locust's own count, of what its workers reported to it, is the same to the last operation.
        for name in OPERATIONS:
            match = re.search(rf'"name": "{name}",.*?"num_requests": (\d+),', locust.stdout, re.DOTALL)
            assert match is not None, locust.describe()
            assert int(match[1]) == rows(locust.stdout)[name][0]


@pytest.mark.mariadb
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("moment", ["starting 2 MariaDB servers", "All users spawned"])
def test_whatever_ends_locust_nothing_stays_behind(signum: signal.Signals, moment: str) -> None:
    with Locust("--headless", "--only-summary", "-t", "60s") as locust:
        locust.wait_for(moment)
        assert len(locust.processes()) > 2, "or this test looks for the wrong processes"
        if signum == signal.SIGINT:
            os.killpg(locust.process.pid, signum)  # as a terminal does
        else:
            os.kill(locust.process.pid, signum)
        if moment == "All users spawned" and signum != signal.SIGKILL:
            assert locust.finish() == 0, locust.describe()
            assert "all" in rows(locust.stdout), locust.describe()
        else:
            locust.process.wait(20)
        assert "Traceback" not in locust.stderr, locust.describe()


@pytest.mark.mariadb
def test_workers_end_with_a_master_that_was_killed() -> None:
    with Locust("--headless", "--only-summary", "--processes", "2", "-t", "60s") as locust:
        locust.wait_for("All users spawned")
        assert len(locust.processes("-m locust")) == 3


@pytest.mark.mariadb
def test_ctrl_c_ends_master_and_workers_with_a_result() -> None:
    with Locust("--headless", "--only-summary", "--processes", "2", "-t", "60s") as locust:
        # Spawned are the users before the workers' engines are up, and without an operation there is no result.
        locust.wait_until(lambda: any(locust.directory.glob("runs/*/batches.bin")), "no load")
        os.killpg(locust.process.pid, signal.SIGINT)
        locust.process.wait(20)
        assert "all" in rows(locust.stdout), locust.describe()
        assert "Traceback" not in locust.stderr, locust.describe()


@pytest.mark.mariadb
@pytest.mark.parametrize("processes", [[], ["--processes", "2"]])
def test_an_engine_that_dies_is_reported_and_fails_the_run(processes: list[str]) -> None:
    with Locust("--headless", "--only-summary", "-t", "60s", *processes) as locust:
        locust.wait_for("All users spawned")
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


@pytest.mark.mariadb
def test_a_controller_that_dies_is_reported_and_fails_the_run() -> None:
    with Locust("--headless", "--only-summary", "-t", "60s") as locust:
        locust.wait_for("All users spawned")
        os.kill(locust.processes("hs_drill.controller")[0], signal.SIGKILL)
        assert locust.finish() == 1, locust.describe()
        assert "the controller of the servers died: killed by SIGKILL" in locust.stderr


# Not with containers: their processes are not Locust's, and the load knows nothing of what carries its servers.
@pytest.mark.parametrize("kind", ["embedded", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def test_failures_are_counted_named_and_give_exit_code_1(kind: str) -> None:
    with Locust("--headless", "--only-summary", "--cluster", kind, "-t", "5s") as locust:
        locust.wait_for("All users spawned")
        writer = [pid for pid in locust.processes("/writer/") if "_guardian.py" not in _command(pid)]
        assert len(writer) == 1, locust.describe()
        os.kill(writer[0], signal.SIGKILL)
        assert locust.finish() == 1, locust.describe()
        count, failures, _ = rows(locust.stdout)["all"]
        assert 0 < failures < count
        assert rows(locust.stdout)["get"][1] == 0, "the reader is alive"
        assert re.search(r"[\d,]+ x insert: \w*ConnectionError: ", locust.stdout), locust.describe()


UNSTATED = """\
name: unstated
cluster: {kind: embedded, readers: 1}
table: {rows: 500, value_size: 30}
load: {users: 8, duration: 4s}
mix: {get: 60, insert: 40}
faults: [{fault: kill, target: writer, at: 1s, for: 2s}]  # longer than the client tries
"""


@pytest.mark.parametrize(
    "arguments, code, verdict",
    [
        ([], 1, r"fail: [\d,]+ operations failed, and nothing was expected"),
        (["--processes", "2"], 1, r"fail: [\d,]+ operations failed, and nothing was expected"),
        (["--exit-code-on-error", "0"], 0, r"pass: all \d expectations hold"),
    ],
    ids=["alone", "workers", "failures allowed"],
)
def test_a_run_has_one_verdict_wherever_it_is_told(
    arguments: list[str], code: int, verdict: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Locust("--headless", "--only-summary", *arguments, scenario=UNSTATED) as locust:
        assert locust.finish(60) == code, locust.describe()
        assert rows(locust.stdout)["all"][1] > 0, "an operation failed"
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


def test_locust_that_is_killed_leaves_no_embedded_server() -> None:
    with Locust("--headless", "--only-summary", "--cluster", "embedded", "-t", "60s") as locust:
        locust.wait_for("All users spawned")
        assert len(locust.processes("trio_hs.testing")) == 2
        locust.process.kill()
        locust.process.wait(20)


def test_auto_takes_embedded_servers_where_nothing_else_works_and_says_why() -> None:
    without_docker = {"DOCKER_HOST": "unix:///nonexistent"}
    arguments = ("--headless", "--only-summary", "-t", "1s", "--cluster", "auto")
    with Locust(*arguments, env=without_docker, wrapper=without_mariadb()) as locust:
        assert locust.finish() == 0, locust.describe()
        assert_good_result(locust)
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


def _command(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().replace(b"\0", b" ").decode()
