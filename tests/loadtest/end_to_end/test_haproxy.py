"""HAProxy in front of servers that the harness has not started: what a naive and a mended failover lose, as the README says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from hs_drill.cli import _cluster
from hs_drill.scenario._base import seconds
from hs_drill.scenario._stated_verdict import stated_exit_code
from hs_drill.servers._processes import Installation
from hs_drill.store import History, Operation, Outcome, RunDirectory
from hs_drill.store._records import Record
from tests.loadtest.support.locust_process import HEADLESS, Locust, judged, result_of
from tests.loadtest.support.owner import Owner
from tests.support.patience import slowness, wait_until

pytestmark = [pytest.mark.mariadb, pytest.mark.process]


@pytest.fixture(scope="module")
def owner(mariadb_installation: Installation) -> Iterator[Owner]:
    """The example's servers. Without HAProxy its tests are skipped, but where CI=true, which must have it, they fail."""
    if shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        why = "no HAProxy (Debian: apt-get install haproxy)"
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have it: {why}", pytrace=False)
        pytest.skip(why)
    directory = Path(tempfile.mkdtemp(prefix="trio-hs-test-haproxy-"))
    directory.chmod(0o755)
    try:
        owner = Owner(directory, "haproxy")
        try:
            yield owner
        finally:
            owner.end()
    finally:
        shutil.rmtree(directory)


@contextmanager
def router(owner: Owner, which: str) -> Iterator[None]:
    """HAProxy and the failover script, in front of servers as they were made. They end with the test's process."""
    owner.prepare("semisync")
    with (owner.directory / "router.out").open("w") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "./router.sh", which],
            cwd=owner.scripts,
            env={**os.environ, **owner.environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        if which == "mended":  # HAProxy takes a server for healthy until it has asked
            said = (owner.directory / "router.out").read_text
            wait_until(lambda: "writes/reader-1 is DOWN" in said(), lambda: f"HAProxy does not ask: {said()}")
        yield
    except BaseException:
        print((owner.directory / "router.out").read_text())  # shown with a test that fails
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@contextmanager
def scenario(owner: Owner, name: str, **changed: Any) -> Iterator[Locust]:
    """A run, without end, of a scenario of the example, with users who think. How soon one fault follows the other is stretched
    like patience is."""
    path = owner.scripts / f"{name}.yaml"
    given = {**yaml.safe_load(path.read_text()), **changed}
    given["load"] |= {"duration": "10m", "think_time": "20ms"}
    stretched = min(slowness(), 5.0)
    for fault in given["faults"]:
        fault |= {key: seconds(fault[key]) * stretched for key in ("at", "for") if key in fault}  # type: ignore[operator]
    (changed_path := path.with_name(f"{name}-changed.yaml")).write_text(yaml.safe_dump(given, sort_keys=False))
    options = ("-t", "0", "--cluster", "external", "--scenario", str(changed_path))
    with Locust(*HEADLESS, *options, scenario=None, env=owner.environment) as run:
        yield run
        assert "Traceback" not in run.stderr, run.describe()


def end(run: Locust) -> int:
    run.interrupt()
    return run.finish()


def ids_on(owner: Owner, name: str) -> set[int]:
    return {int(key) for (key,) in owner.sql(name, "SELECT id FROM drill.t")}


def wait_for_inserts(owner: Owner, run: Locust, name: str) -> None:
    before = len(ids_on(owner, name))
    run.wait_until(lambda: len(ids_on(owner, name)) > before + 20, f"nobody writes to {name}")


def records(run: Locust) -> list[Record]:
    return [one for path in RunDirectory(run.run).histories() for one in History(path).records()]


def acknowledged_inserts(run: Locust) -> set[int]:
    return {one.key for one in records(run) if one.operation == Operation.INSERT and one.outcome == Outcome.OK}


def test_the_readme_names_what_these_tests_carry_out(owner: Owner) -> None:
    """Its second and third block: start this router, run this scenario, end the router."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (owner.scripts / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = [[line for line in block.splitlines() if not line.startswith(("export", ". "))] for block in blocks]
    assert lines == [
        ["./servers.sh"],
        ["./router.sh naive &", "hs-drill run naive.yaml --explain", "kill %1"],
        ["./reset.sh", "./router.sh mended &", "hs-drill run mended.yaml --explain", "kill %1"],
    ]


def test_cluster_check_says_what_the_router_leads_to(
    owner: Owner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in owner.environment.items():
        monkeypatch.setenv(name, value)
    with router(owner, "mended"):
        code = _cluster.main(["check", str(owner.scripts / "mended.yaml"), "--ask-only"])
    out, err = capsys.readouterr()
    assert code == 0, (out, err)
    said = re.sub(r"127.0.0.1:\d+", "ADDRESS", " ".join(out.split()))
    said = re.sub(r"\b(\d+) of \1 connections", "all connections", said)
    for line in (
        "HandlerSocket for reads at ADDRESS: answers",
        "HandlerSocket for writes at ADDRESS: answers; led to writer in all connections",
        "SQL at ADDRESS: writes were led to writer in all connections",
    ):
        assert line in said, out


@pytest.mark.parametrize("driver", ["handlersocket", "sql"])
def test_faults_of_the_network_in_front_of_the_router(owner: Owner, driver: str) -> None:
    if driver == "sql" and find_spec("MySQLdb") is None:
        pytest.skip("mysqlclient is not installed (test_sql_driver.py insists in CI)")
    faults = [
        {"fault": "partition", "target": "router", "at": 1, "for": 0.5},
        {"fault": "drop-replies", "target": "client->router", "at": 2, "for": 0.5, "after": 50},
    ]
    with router(owner, "mended"), scenario(owner, "mended", faults=faults, driver=driver) as run:
        run.wait_for("fault over: drop-replies router", 60)
        assert end(run) == 0, run.describe()
        result = result_of(run)
        assert judged(result)["lost"] == "pass"
        partition, dropped = result["faults"]
        assert [one["server"] for one in (partition, dropped)] == ["router", "router"]
        assert dropped["effects"] > 0
        everything = records(run)
    held = partition["end"] - partition["struck"]
    assert max(one.end - one.start for one in everything) / 1e9 > held / 2, "nothing passed meanwhile"
    assert [one for one in everything if one.outcome == Outcome.INFO], "writes whose answers were lost"


def test_the_naive_failover_loses_writes_and_they_are_named(owner: Owner) -> None:
    with router(owner, "naive"), scenario(owner, "naive") as run:
        run.wait_for("reader-1 is the primary now", 120)
        run.wait_for("fault over: kill writer", 120)
        wait_for_inserts(owner, run, "writer")
        assert end(run) == stated_exit_code(owner.scripts / "naive.yaml") == 3, run.describe()
        audit = result_of(run)["audit"]
        expected = ids_on(owner, "writer") & acknowledged_inserts(run) - ids_on(owner, "reader-1")
        assert audit["lost"]["count"] == len(expected) > 0
        named = {finding["key"] for finding in audit["lost"]["findings"]}
        assert named <= expected
        assert len(named) == min(20, len(expected))
        # Nobody but HAProxy knows which server acknowledged a write.
        assert audit["split_brain"]["verdict"] == "false"
        assert not {"by_writer", "by_reader-1"} & set(audit["split_brain"]["measured"])
        for line in (finding["line"] for check in ("lost", "split_brain") for finding in audit[check]["findings"]):
            assert not re.search(r"acknowledged by (writer|reader-1)", line), line


def test_the_mended_failover_loses_none(owner: Owner) -> None:
    with router(owner, "mended"), scenario(owner, "mended") as run:
        run.wait_for("reader-1 is the primary now", 120)
        wait_for_inserts(owner, run, "reader-1")
        run.wait_for("fault over: kill writer", 120)
        wait_for_inserts(owner, run, "reader-1")
        assert end(run) == stated_exit_code(owner.scripts / "mended.yaml") == 0, run.describe()
        assert judged(result_of(run))["lost"] == "pass"
