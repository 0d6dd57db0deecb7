"""Failovers of servers that the harness has not started, by commands and scripts that know nothing of it, under load."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from hs_drill.scenario._base import seconds
from hs_drill.scenario._stated_verdict import stated_exit_code
from hs_drill.servers._processes import Installation
from hs_drill.store import CONTROLLER, Event, History, Operation, Outcome, RunDirectory
from hs_drill.store._records import Record
from tests.loadtest.support.locust_process import HEADLESS, ROOT, Locust, judged, result_of
from tests.loadtest.support.owner import NAMES, Owner
from tests.support.patience import patience, slowness

pytestmark = [pytest.mark.mariadb, pytest.mark.process]


@pytest.fixture(scope="module")
def servers(mariadb_installation: Installation) -> Iterator[Owner]:
    """Servers for all tests of this module, which leave everything on them as it was but their roles and the run's rows."""
    directory = Path(tempfile.mkdtemp(prefix="trio-hs-test-owner-"))
    directory.chmod(0o755)
    try:
        owner = Owner(directory)
        try:
            yield owner
        finally:
            owner.end()
    finally:
        shutil.rmtree(directory)


@contextmanager
def prepared(servers: Owner, replication: str) -> Iterator[Owner]:
    """Servers whose owner finds everything on them as it was, but their roles and the run's rows."""
    servers.prepare(replication)
    before = {name: servers.belongings(name) for name in NAMES}
    yield servers
    for name in NAMES:
        servers.run("resume.sh" if servers.is_alive(name) else "start.sh", name)
        assert servers.belongings(name) == before[name], f"something else has changed on {name}"


@pytest.fixture
def owner(servers: Owner, request: pytest.FixtureRequest) -> Iterator[Owner]:
    """With asynchronous replication, unless a test says `semisync`."""
    with prepared(servers, getattr(request, "param", "async")) as owner:
        yield owner


semisync = pytest.mark.parametrize("owner", ["semisync"], indirect=True)


def command(owner: Owner, run: str, heal: str = "") -> dict[str, Any]:
    """The owner's script for a server."""
    given = {"run": run, "heal": heal} if heal else {"run": run}
    return {key: [str(owner.scripts / script), "{server}"] for key, script in given.items()}


def scenario(owner: Owner, faults: list[dict[str, Any]], **cluster: Any) -> str:
    given = {
        "name": "own failover",
        "cluster": {
            "kind": "external",
            "topology": "write-through",
            "replication": "async",
            "servers": owner.servers,
            **cluster,
        },
        "table": {"rows": 300, "value_size": 40},
        "load": {"users": 8, "duration": "10m", "think_time": "20ms"},
        "mix": {"get": 30, "insert": 40, "incr": 15, "update": 15},
        "faults": faults,
        "expect": {"lost": 0, "applied_twice": 0, "unexpected": 0},
    }
    return yaml.safe_dump(given, sort_keys=False)


@contextmanager
def locust(owner: Owner, text: str) -> Iterator[Locust]:
    """A run without end."""
    with Locust(*HEADLESS, "-t", "0", scenario=text, env=owner.environment) as run:
        yield run
        assert "Traceback" not in run.stderr, run.describe()


@contextmanager
def example(owner: Owner, name: str, folder: Path | None = None) -> Iterator[Locust]:
    """A run, without end, of a scenario of the example, in half its time, with users who think. How soon one fault follows the
    other is stretched like patience is."""
    path = (folder or owner.scripts) / f"{name}.yaml"
    given = yaml.safe_load(path.read_text())
    given["load"] |= {"duration": "10m", "think_time": "20ms"}
    stretched = min(slowness(), 5.0) / 2
    for fault in given["faults"]:
        fault |= {key: seconds(fault[key]) * stretched for key in ("at", "for") if key in fault}  # type: ignore[operator]
    (stretched_path := path.with_name(f"{name}-stretched.yaml")).write_text(yaml.safe_dump(given, sort_keys=False))
    options = ("-t", "0", "--cluster", "external", "--scenario", str(stretched_path))
    with Locust(*HEADLESS, *options, scenario=None, env=owner.environment) as run:
        yield run
        assert "Traceback" not in run.stderr, run.describe()
        assert run.process.poll() == stated_exit_code(path), run.describe()


def end(run: Locust) -> int:
    run.interrupt()
    return run.finish()


def records(run: Locust) -> list[Record]:
    return [record for path in RunDirectory(run.run).histories() for record in History(path).records()]


def events_of(run: Locust, kind: str) -> list[Event]:
    history = History(RunDirectory(run.run).history(CONTROLLER))
    history.read_through()
    return [event for event in history.events if event.kind == kind]


def ids_on(owner: Owner, name: str) -> set[int]:
    return {int(key) for (key,) in owner.sql(name, "SELECT id FROM drill.t")}


def wait_for_inserts(owner: Owner, run: Locust, name: str) -> None:
    """Wait until the clients have written some more rows to a server."""
    before = len(ids_on(owner, name))
    run.wait_until(lambda: len(ids_on(owner, name)) > before + 20, f"nobody writes to {name}")


@semisync
def test_a_semi_synchronous_primary_that_is_killed_and_replaced_loses_nothing(owner: Owner) -> None:
    with example(owner, "failover") as run:
        run.wait_for("fault over: rejoin writer", 120)
        wait_for_inserts(owner, run, "standby")
        assert end(run) == 0, run.describe()
        assert judged(result_of(run))["lost"] == judged(result_of(run))["fenced"] == "pass"
        (promotion,) = events_of(run, "promotion")
        assert promotion.name == "standby"
    owner.wait_until_all_replicate_from("standby")


def test_writes_that_no_replica_had_when_their_primary_died_are_lost_and_named(owner: Owner) -> None:
    with example(owner, "held-back") as run:
        run.wait_for("fault over: promote standby", 120)
        run.wait_for("fault over: kill writer")
        wait_for_inserts(owner, run, "standby")
        assert end(run) == 3, run.describe()
        acknowledged = {one.key for one in records(run) if one.operation == Operation.INSERT and one.outcome == Outcome.OK}
        lost = result_of(run)["audit"]["lost"]
    # The owner's own account of it. The old primary is up again, read-only.
    expected = ids_on(owner, "writer") & acknowledged - ids_on(owner, "standby")
    assert lost["count"] == len(expected) > 0
    named = {finding["key"] for finding in lost["findings"]}
    assert named <= expected
    assert len(named) == min(20, len(expected))


@semisync
@pytest.mark.parametrize("announced", [False, True], ids=["nothing in the scenario", "external"])
def test_a_promotion_by_somebody_else_is_seen_within_a_second_and_judged(owner: Owner, announced: bool) -> None:
    faults = [{"fault": "external", "at": 1, "for": 600}] if announced else []
    with locust(owner, scenario(owner, faults, replication="semisync")) as run:
        run.wait_for("fault: external failover" if announced else "All users spawned")
        began = time.monotonic_ns()
        owner.run("promote.sh", "standby")
        done = time.monotonic_ns()
        run.wait_for("standby is the primary now")
        wait_for_inserts(owner, run, "standby")
        if not announced:
            owner.sql("standby", "SET GLOBAL rpl_semi_sync_master_enabled=0")
            run.wait_for("commits on standby have waited for no replica")
        assert end(run) == 0, run.describe()
        advice = " ".join(result_of(run)["advice"])
        assert ("Semi-synchronous replication was off: on standby after" in advice) == (not announced)
        assert judged(result_of(run))["lost"] == "pass"
        (promotion,) = events_of(run, "promotion")
        assert promotion.name == "standby"
        assert began < promotion.time < done + patience(1) * 1e9
        assert promotion.details["seen_within"] <= patience(1)


def test_an_old_primary_that_was_not_fenced_is_a_split_brain(owner: Owner) -> None:
    with example(owner, "unfenced") as run:
        run.wait_for("fault over: promote standby", 120)
        run.wait_for("fault over: pause writer", 120)
        wait_for_inserts(owner, run, "writer")
        assert end(run) == 3, run.describe()
        both = events_of(run, "two-primaries")
        assert both
        assert all(set(one.details["servers"]) == {"writer", "standby"} for one in both)
        check = result_of(run)["audit"]["split_brain"]
        assert check["verdict"] == "false"
        named = {finding["key"] for finding in check["findings"]}
    only_on_one = ids_on(owner, "writer") ^ ids_on(owner, "standby")
    assert named & only_on_one, (named, only_on_one)


@semisync
@pytest.mark.parametrize("name", ["forked", "mended"])
def test_a_semi_synchronous_primary_that_comes_back_ahead_forks_unless_it_takes_that_back(owner: Owner, name: str) -> None:
    """examples/incidents/semisync-ahead."""
    with example(owner, name, owner.scripts.parent / "incidents" / "semisync-ahead") as run:
        run.wait_for("fault over: rejoin writer", 120)
        end(run)
        result = result_of(run)
        forked = name == "forked"
        assert (judged(result)["lost"], judged(result)["fenced"]) == ("pass", "pass")
        assert judged(result)["replicas_agree"] == ("miss" if forked else "pass"), run.describe()
        named = {finding["key"] for finding in result["audit"]["replicas"]["findings"]}
    ahead = ids_on(owner, "writer") - ids_on(owner, "standby")
    assert bool(ahead) == forked
    assert named >= ahead
    if forked:
        owner.run("reset.sh", "semisync")  # it replicates, and differs
    else:
        assert "Successfully truncated binlog file" in (owner.directory / "writer" / "log").read_text()
        assert owner.sql("writer", "SELECT @@server_id") == [["1"]], "it was rebuilt"


def test_the_commands_for_systemd_do_to_these_servers_what_they_say(servers: Owner, tmp_path: Path) -> None:
    """examples/systemd, with small programs in the place of ssh, sudo and systemctl."""
    for name, text in FAKES.items():
        (program := tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        program.chmod(0o755)
    commands = yaml.safe_load((ROOT / "examples" / "systemd" / "systemd.yaml").read_text())["cluster"]["commands"]
    environment = {**os.environ, "MY_SERVERS": str(servers.directory), "SCRIPTS": str(servers.scripts)}
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"

    def carry_out(fault: str, key: str = "run") -> None:
        argv = [text.format(host="db1.example", server="reader-1") for text in commands[fault][key]]
        subprocess.run(argv, env=environment, check=True, timeout=patience(60))

    servers.prepare("async")
    for fault in ("kill", "stop"):
        carry_out(fault)
        assert not servers.is_alive("reader-1"), fault
        carry_out(fault, "heal")
        assert servers.is_up("reader-1"), fault
    carry_out("pause")
    assert servers.is_alive("reader-1")
    assert not servers.is_up("reader-1", seconds=1)
    carry_out("pause", "heal")
    assert servers.is_up("reader-1")


FAKES = {
    "ssh": 'shift; exec "$@"\n',
    "sudo": 'exec "$@"\n',
    "systemctl": """\
for last; do :; done
name=${last#mariadb@}
case "$1 $2" in
    "kill --signal=KILL") exec "$SCRIPTS/kill.sh" "$name" ;;
    "kill --signal=STOP") exec "$SCRIPTS/pause.sh" "$name" ;;
    "kill --signal=CONT") exec "$SCRIPTS/resume.sh" "$name" ;;
    "start "*) exec "$SCRIPTS/start.sh" "$name" ;;
    "stop "*) exec "$SCRIPTS/stop.sh" "$name" ;;
esac
echo "systemctl does not know: $*" >&2
exit 1
""",
}

WRONG = {
    "kill writer": r"status 3.*nobody answers",
    "pause writer": "changed nothing",
    "stop reader-1": "changed nothing",
    "promote standby": "changed nothing",
    "command wait for nothing": "1 s",
}


def test_commands_that_fail_hang_change_or_heal_nothing_are_told_in_a_line_each(owner: Owner) -> None:
    commands = {
        "kill": {"run": ["sh", "-c", "echo nobody answers >&2; exit 3"], "heal": ["true"]},
        "pause": {"run": ["true"], "heal": ["true"], "timeout": "2s"},
        "stop": {**command(owner, "kill.sh"), "heal": ["true"], "timeout": f"{patience(3):.0f}s"},
        "promote": {"run": ["true"], "timeout": "2s"},
    }
    faults: list[dict[str, Any]] = [
        {"fault": "kill", "target": "writer", "at": 1, "for": 1},
        {"fault": "pause", "target": "writer", "at": 2, "for": 1},
        {"fault": "stop", "target": "reader-1", "at": 1, "for": 1},
        {"fault": "promote", "target": "standby", "at": 2},
        {"fault": "command", "name": "wait for nothing", "run": ["sleep", "600"], "timeout": "1s", "at": 1},
    ]
    with locust(owner, scenario(owner, faults, commands=commands)) as run:
        for what in WRONG:
            run.wait_for(f"fault failed: {what}")
        assert end(run) == 4, run.describe()
        troubles = result_of(run)["troubles"]
        for what, why in WRONG.items():
            (line,) = [one for one in troubles if what in one]
            assert re.search(why, line), troubles
            assert "\n" not in line
    assert not owner.is_alive("reader-1"), "its command did not heal it"
    assert owner.sql("writer", "SELECT @@read_only") == [["0"]]


def test_a_command_that_names_an_unknown_primary_makes_a_run_inconclusive(owner: Owner) -> None:
    with locust(owner, scenario(owner, [], primary={"command": ["echo", "nobody"]})) as run:
        run.wait_for("All users spawned")
        wait_for_inserts(owner, run, "writer")
        assert end(run) == 4, run.describe()
        assert any("nobody" in line for line in result_of(run)["troubles"]), run.describe()


def test_a_program_that_is_missing_is_told_before_anything_is_written(owner: Owner) -> None:
    commands = {"kill": {"run": ["no-such-program", "{server}"], "heal": ["true"]}}
    faults = [{"fault": "kill", "target": "writer", "at": 1, "for": 1}]
    before = owner.sql("writer", "SELECT @@gtid_binlog_pos")
    with locust(owner, scenario(owner, faults, commands=commands)) as run:
        assert run.finish() == 2, run.describe()
        assert "no-such-program" in run.stderr
        assert not run.directory.joinpath("runs").exists()
    assert owner.sql("writer", "SELECT @@gtid_binlog_pos") == before


def test_a_server_comes_back_although_the_harness_was_killed(owner: Owner) -> None:
    commands = {"kill": command(owner, "kill.sh", "start.sh")}
    faults = [{"fault": "kill", "target": "reader-1", "at": 1, "for": 500}]
    with locust(owner, scenario(owner, faults, commands=commands)) as run:
        run.wait_for("fault: kill reader-1")
        run.wait_until(lambda: not owner.is_alive("reader-1"), "it is not killed")
        for pid in run.processes("locust") + run.processes("hs_drill.controller") + run.processes("hs_drill.engine"):
            os.kill(pid, signal.SIGKILL)
        run.wait_until(lambda: owner.is_up("reader-1"), "nobody has started it again")
        run.wait_until(lambda: not run.processes(), "the healer is still there")
        assert (run.run / "healed.txt").exists()
    owner.wait_until_all_replicate_from("writer")
