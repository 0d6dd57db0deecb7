"""`hs-drill cluster`: servers without a load, which other terminals find and end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from hs_drill._cluster import DEFAULT_VERSION, Cluster, ClusterError, Server
from hs_drill.cli import _cluster
from hs_drill.cli._cluster_socket import clusters_up
from hs_drill.controller._table import load_table
from hs_drill.sandbox import OWNER_LABEL, RUN_LABEL, owner
from hs_drill.sandbox._image import image_name
from hs_drill.scenario import Scenario
from hs_drill.servers import Control, check_replication, execute_sql, open_cluster, open_servers
from tests.loadtest.support.containers import containers_below, engine, left_in_engine
from tests.loadtest.support.locust_process import ROOT
from tests.loadtest.support.servers import left, left_behind
from tests.loadtest.support.shop import changed
from tests.support.patience import patience, wait_until

SECONDS = 60
SCENARIO = Scenario.model_validate({"name": "marked", "mix": {"get": 1}})


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "hs_drill", "cluster", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=patience(SECONDS), check=False)


@contextmanager
def up(temporary: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A running `cluster up`. Its process is gone when the block ends."""
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "hs_drill", "cluster", "up", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if line.startswith("up until Ctrl-C"):
                    break
            else:
                raise AssertionError("".join(lines))
            yield process
            process.wait(patience(SECONDS))
        finally:
            process.kill()


# The check finds on MariaDB what the tests at the end of this file say.
@pytest.mark.parametrize(
    "kind", [pytest.param("embedded", marks=pytest.mark.process), pytest.param("docker", marks=pytest.mark.docker)]
)
def test_a_cluster_comes_up_is_found_checked_used_and_taken_down(kind: str, temporary: Path) -> None:
    with up(temporary, "--cluster", kind, "--readers", "1", "--standby", "--topology", "write-through") as process:
        assert process.pid in clusters_up()
        this = ("--pid", str(process.pid))  # this user may have others up
        hidden = command("status", *this)
        assert hidden.returncode == 0
        started = (
            rf"^process {process.pid}: {kind} servers, up since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d in {re.escape(os.getcwd())}$"
        )
        assert re.search(started, hidden.stdout, re.MULTILINE), hidden.stdout
        shown = command("status", "--show-secrets", *this).stdout
        for name in ("writer (primary)", "standby", "reader-1"):
            assert re.search(rf"^{re.escape(name)} +127\.0\.0\.1 .* running ", hidden.stdout, re.MULTILINE), hidden.stdout
        assert re.search(r"^reader-1 .* writer +\S", hidden.stdout, re.MULTILINE), hidden.stdout
        (secret,) = re.findall(r"^writer: read secret (\S+),", shown, re.MULTILINE)
        assert secret in shown
        assert secret not in hidden.stdout

        checked = command("check", *this)
        assert checked.returncode == 0, checked
        assert "HandlerSocket's writes replicate here" in checked.stdout
        if kind != "embedded":
            assert re.search(r"^writer's binary log: after [\d.]+ ms$", checked.stdout, re.MULTILINE)

        (program,) = re.findall(r"^import trio, .*?^trio\.run\(main\)$", shown, re.MULTILINE | re.DOTALL)
        for _ in range(2):
            ran = subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True, timeout=patience(30), check=False
            )
            assert ran.returncode == 0, ran.stderr
            assert ran.stdout.startswith("{'id': '1', 'payload': '")

        down = command("down", *this)
        assert down.returncode == 0
        assert f"the cluster of process {process.pid} is down" in down.stderr
    assert process.returncode == 0
    assert left(kind, temporary) == []
    assert process.pid not in clusters_up()


@pytest.mark.process
def test_a_cluster_with_a_table_of_ones_own(temporary: Path) -> None:
    path = temporary / "shop.yaml"
    path.write_text(changed(("mix:", "cluster: {kind: embedded, readers: 1, topology: write-through}\nmix:")))
    with up(temporary, str(path)) as process:
        this = ("--pid", str(process.pid))
        shown = command("status", "--show-secrets", *this).stdout
        assert "table shop.products, loaded with 1,000 rows" in shown
        checked = command("check", *this)
        assert checked.returncode == 0, checked
        (program,) = re.findall(r"^import trio, .*?^trio\.run\(main\)$", shown, re.MULTILINE | re.DOTALL)
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=patience(30), check=False)
        assert ran.stdout.startswith("{'id': 1, 'category': '"), ran.stderr
        assert command("down", *this).returncode == 0
    path.write_text("name: x\ntable: {existing: true}\nmix: {get: 1}\n")
    refused = command("check", str(path))
    assert refused.returncode == 2
    assert refused.stderr == f"{path}: table.existing: `hs-drill cluster` creates its own table: use another scenario\n"


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_it_down_in_order(number: signal.Signals, temporary: Path) -> None:
    with up(temporary, "--cluster", "embedded", "--readers", "1") as process:
        process.send_signal(number)
    assert process.returncode == 0
    assert left("embedded", temporary) == []


@pytest.mark.docker
def test_down_removes_leftovers_of_a_killed_run_but_nothing_of_a_living_one(temporary: Path) -> None:
    with up(temporary, "--cluster", "docker", "--readers", "1") as process:
        guardians = [path for path in left_behind(temporary) if path.startswith("process ")]
        assert len(left_in_engine(temporary)) == 3, "two containers and a network"
        for pid in [int(path.split()[1]) for path in guardians]:
            os.kill(pid, signal.SIGKILL)
        process.kill()
    with engine() as client:
        labels = {RUN_LABEL: f"{temporary}/living", OWNER_LABEL: owner()}
        living = client.containers.create(image_name(DEFAULT_VERSION), labels=labels)
        try:
            command("down", "--pid", str(process.pid))  # it is gone: none of those that are up may end
            # Another test's run may be removing some of it just now.
            wait_until(lambda: left_in_engine(temporary) == [f"container {living.name}"], "more is left, or less")
        finally:
            living.remove()
    assert left_behind(temporary) == []


@pytest.mark.process
def test_an_interrupted_check_exits_without_a_result(temporary: Path) -> None:
    line = [sys.executable, "-m", "hs_drill", "cluster", "check", "--cluster", "embedded"]
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "starting 3 embedded servers\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=patience(SECONDS)) == ("", "")
        assert process.returncode == 130
    assert left("embedded", temporary) == []


@pytest.mark.docker
async def test_a_run_begins_by_removing_leftovers_of_a_run_killed_with_its_guardian(temporary: Path) -> None:
    dead = owner().rpartition("/")[0] + "/1"  # our process id, but with another start time
    with engine() as client:
        left = client.containers.create(image_name(DEFAULT_VERSION), labels={RUN_LABEL: f"{temporary}/dead", OWNER_LABEL: dead})
        async with open_cluster("docker", readers=0):
            assert left.name not in [container.name for container in containers_below(client, temporary)]


@pytest.mark.usefixtures("temporary")
def test_without_a_running_cluster_there_is_nothing_to_show_or_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_cluster, "clusters_up", list)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")  # other tests may be killing runs in containers just now
    for arguments in (["status"], ["down"], ["down", "--all"]):
        assert _cluster.main(arguments) == 2
        assert capsys.readouterr() == ("", "no cluster is up: `hs-drill cluster up` starts one\n")


class Clusters:
    """Takes the place of the clusters that are up."""

    def __init__(self, *pids: int) -> None:
        self.up = list(pids)
        self.checked: list[str] = []

    def clusters_up(self) -> list[int]:
        return list(self.up)

    async def ask(self, pid: int, question: str) -> dict[str, Any]:
        if question == "down":
            self.up.remove(pid)
            return {}
        if pid == SILENT:
            raise ClusterError(f"the cluster of process {pid} does not answer: gone")
        server = Server("writer", f"server-of-{pid}", 1, 2, "r", "w")
        return {
            "cluster": Cluster("embedded", "", "", (server,)).to_dict(),
            "primary": "writer",
            "servers": {"writer": {"state": "running"}},
            "table": {"database": "drill", "name": "t", "rows": 1},
            "kept": {"since": 1.8e9 + pid, "directory": f"/srv/{pid}", "scenario": None if pid % 2 else "mine.yaml"},
        }

    async def check(self, cluster: Cluster, *_: object) -> int:
        self.checked += [server.host for server in cluster.servers]
        return 0


SILENT = 13


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Clusters]]:
    """Make the commands see only these clusters. Clusters that are really up belong to others."""

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()

    def make(*pids: int) -> Clusters:
        clusters = Clusters(*pids)
        monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
        monkeypatch.setattr(_cluster, "clusters_up", clusters.clusters_up)
        monkeypatch.setattr(_cluster, "ask", clusters.ask)
        monkeypatch.setattr(_cluster, "_check_replication", clusters.check)
        return clusters

    yield make
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "name, how",
    [
        ("down", "choose one with `--pid PID`, or end all with `--all`"),
        ("check", "choose one with `--pid PID`, or describe one to start"),
    ],
)
def test_of_several_clusters_none_is_chosen_by_chance(
    name: str, how: str, fake: Callable[..., Clusters], capsys: pytest.CaptureFixture[str]
) -> None:
    clusters = fake(11, 12, SILENT)
    assert _cluster.main([name]) == 2
    assert capsys.readouterr() == (
        "",
        "process 11: embedded servers, up since 2027-01-15 08:00:11 in /srv/11\n"
        "process 12: embedded servers of mine.yaml, up since 2027-01-15 08:00:12 in /srv/12\n"
        "the cluster of process 13 does not answer: gone\n"
        f"3 clusters are up: {how}\n",
    )
    assert clusters.up == [11, 12, SILENT]
    assert clusters.checked == []


def test_pid_chooses_the_cluster(fake: Callable[..., Clusters], capsys: pytest.CaptureFixture[str]) -> None:
    clusters = fake(11, 12, 15)
    assert _cluster.main(["check", "--pid", "12"]) == 0
    assert clusters.checked == ["server-of-12"]
    assert _cluster.main(["status", "--pid", "15"]) == 0
    assert re.findall(r"^process \d+", capsys.readouterr().out, re.MULTILINE) == ["process 15"]
    assert _cluster.main(["status"]) == 0
    assert re.findall(r"^process \d+", capsys.readouterr().out, re.MULTILINE) == ["process 11", "process 12", "process 15"]
    assert _cluster.main(["down", "--pid", "12"]) == 0
    assert clusters.up == [11, 15]
    assert capsys.readouterr().err == "the cluster of process 12 is down\n"
    for name in ("down", "check", "status"):
        assert _cluster.main([name, "--pid", "12"]) == 2
        assert capsys.readouterr().err.startswith("process 12 runs no cluster: "), name
    assert _cluster.main(["check", "--cluster", "embedded", "--pid", "11"]) == 2
    assert "use only one of these" in capsys.readouterr().err
    assert _cluster.main(["down", "--all"]) == 0
    assert clusters.up == []


def test_a_single_cluster_needs_no_pid(fake: Callable[..., Clusters]) -> None:
    clusters = fake(11)
    assert _cluster.main(["check"]) == 0
    assert clusters.checked == ["server-of-11"]
    assert _cluster.main(["down"]) == 0
    assert clusters.up == []


def test_wrong_options_are_reported_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _cluster.main(["up", "--cluster", "oracle"])
    assert "invalid choice: 'oracle'" in capsys.readouterr().err
    assert _cluster.main(["up", "--cluster", "embedded", "--readers", "99"]) == 2
    assert capsys.readouterr().err == "with the options given, cluster.readers: must be 16 or less, not 99\n"
    (tmp_path / "wrong.yaml").write_text("name: wrong\nmix: {get: 1}\ncluster: {reader: 1}\n")
    assert _cluster.main(["up", str(tmp_path / "wrong.yaml")]) == 2
    assert "wrong.yaml:3: cluster.reader: unknown key; did you mean readers?" in capsys.readouterr().err


# --- The check of replication -----------------------------------------------------------------------------------------


async def detected(control: Control, within: float = 1.0) -> str:
    """The check's lines. Its marker row is gone afterwards, on a reader as soon as that has applied it."""
    table = load_table(SCENARIO)
    result = await check_replication(control.cluster, table, control.server(control.primary), within)
    with trio.fail_after(patience(60)):
        for server in control.cluster.servers:
            while await control.read_rows(server.name, table) != []:  # noqa: ASYNC110
                await trio.sleep(0.02)
    return "\n".join(result.lines())


@pytest.mark.process
async def test_the_check_gives_no_advice_where_nothing_is_to_replicate(temporary: Path) -> None:
    async with open_servers("embedded", readers=1, replication="none") as control:
        await control.create_table(load_table(SCENARIO))
        said = await detected(control)
    assert "reader-1: did not get it\n" in said
    assert said.endswith("\nHandlerSocket's writes do not replicate here, as cluster.replication: none says")


@pytest.mark.mariadb
async def test_the_check_finds_that_plain_writes_are_lost_and_says_why(temporary: Path) -> None:
    async with open_servers("mariadb", readers=1) as control:
        await control.create_table(load_table(SCENARIO))
        said = await detected(control)
    assert "writer's binary log: did not get it\n" in said
    assert "reader-1: did not get it\n" in said
    assert "do not replicate here: MariaDB since 10.5 does not log them (MDEV-33967)" in said


@pytest.mark.mariadb
async def test_the_check_tells_a_stopped_replica_from_unlogged_writes(temporary: Path) -> None:
    async with open_servers("mariadb", readers=1, topology="write-through") as control:
        await control.create_table(load_table(SCENARIO))
        assert "HandlerSocket's writes replicate here" in await detected(control)
        await execute_sql(control.server("reader-1"), "STOP SLAVE")
        said = await detected(control)
    assert re.search(r"^writer's binary log: after", said, re.MULTILINE)
    assert "reader-1: did not get it\n" in said
    assert "the write is in the binary log, so replication does not run" in said
