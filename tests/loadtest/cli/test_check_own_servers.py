"""`hs-drill cluster check` on servers of the user's own, here those that other tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml

from hs_drill._cluster import Cluster
from hs_drill.cli import _cluster
from hs_drill.servers import execute_sql
from tests.loadtest.support.external import all_applied, databases, gtids, secrets_in_environment, servers_yaml

pytestmark = pytest.mark.mariadb

FEW = "few@'127.0.0.1'"
Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs the command for a scenario on the shared servers; gives its exit code and what it printed."""
    for name, secret in secrets_in_environment(cluster).items():
        monkeypatch.setenv(name, secret)

    def run(*options: str, scenario: dict[str, Any] | None = None, **in_cluster: Any) -> tuple[int, str, str]:
        given = {"kind": "external", "servers": servers_yaml(cluster), **in_cluster}
        path = tmp_path / "own.yaml"
        path.write_text(yaml.safe_dump({"name": "own", "mix": {"get": 1}, "cluster": given, **(scenario or {})}))
        code = _cluster.main(["check", str(path), *options])
        out, err = capsys.readouterr()
        return code, out, err

    return run


async def positions(cluster: Cluster) -> list[dict[str, Any]]:
    await all_applied(cluster)
    return await gtids(*cluster.servers)


def test_it_says_what_the_servers_are_and_writes_nothing(cluster: Cluster, check: Check) -> None:
    before = trio.run(positions, cluster)
    code, out, err = check("--ask-only", "--create-table")
    assert (code, err) == (0, "asking 2 servers; nothing is written\n")
    for words in ("takes writes; replicates from no server", "binary log ROW", "semi-sync: off", "by SQL, every 0.25 s"):
        assert words in out
    assert "nothing is missing for a run of this scenario" in out
    assert trio.run(positions, cluster) == before
    assert "drill" not in trio.run(databases, cluster.writer)


def test_semi_sync_that_the_scenario_counts_on_and_the_servers_do_not_have(check: Check) -> None:
    code, out, _ = check("--ask-only", replication="semisync")
    assert code == 1
    assert "the scenario says replication: semisync, but it is off on writer (rpl_semi_sync_master_enabled is OFF)" in out
    assert "the scenario says replication: semisync, but reader-1 acknowledges nothing" in out


def test_the_printed_statements_are_enough(cluster: Cluster, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_HS_SQL_USER", "few")
    monkeypatch.setenv("TRIO_HS_SQL_PASSWORD", "few")
    trio.run(execute_sql, cluster.writer, f"CREATE USER {FEW} IDENTIFIED BY 'few'")
    try:
        trio.run(all_applied, cluster)
        code, out, _ = check("--ask-only")
        assert code == 1
        assert "lacks SLAVE MONITOR ON *.* at writer, reader-1: needed to see what it replicates from" in out
        statements = [line.removesuffix(";") for line in out.splitlines() if line.startswith("GRANT ")]
        assert len(statements) == 2
        trio.run(execute_sql, cluster.writer, *statements)
        trio.run(all_applied, cluster)
        code, out, _ = check("--ask-only")
        assert code == 0, out
    finally:
        trio.run(execute_sql, cluster.writer, f"DROP USER {FEW}")
        trio.run(all_applied, cluster)


def test_faults_that_these_servers_cannot_have_are_missing_commands(cluster: Cluster, check: Check) -> None:
    """The file is for servers of the run's own; the option names others."""
    server = ",".join(f"{one.name}=127.0.0.1:{one.read_port}:{one.write_port}:{one.sql_port}" for one in cluster.servers)
    faults = [{"fault": "kill", "target": "reader-1", "at": "1s", "for": "1s"}]
    scenario = {"cluster": {"kind": "mariadb", "readers": 1}, "faults": faults}
    code, out, _ = check("--ask-only", "--servers", server, scenario=scenario)
    assert code == 2, "the secrets of the listeners are those of none"
    assert "external servers do kill by a command of yours: write it below cluster.commands" in out


def test_then_the_marker_row_is_written_as_before(check: Check) -> None:
    code, out, err = check()
    assert code == 2
    assert "nothing is missing for a run of this scenario" in out
    assert "there is no table drill.t on writer: create it with CREATE TABLE" in err


def test_a_table_that_exists_gets_no_marker_row(check: Check) -> None:
    code, out, err = check(scenario={"table": {"existing": True, "name": "users"}})
    assert (code, err) == (0, "asking 2 servers; nothing is written\n")
    assert "what could be rehearsed" in out


@pytest.mark.usefixtures("mariadb")
def test_only_asking_is_for_servers_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert _cluster.main(["check", "--ask-only", "--cluster", "embedded"]) == 2
    assert capsys.readouterr().err == "--ask-only is for servers of your own: name them with --servers, or in a scenario\n"


def test_a_server_that_is_down_is_named_and_the_others_are_told(check: Check, cluster: Cluster) -> None:
    writer, reader = servers_yaml(cluster)
    code, out, _ = check("--ask-only", servers=[writer, {**reader, "sql_port": 1}])
    assert code == 2
    assert "reader-1: SQL at 127.0.0.1:1 cannot be reached (2003: " in out
    assert "takes writes; replicates from no server" in out
    assert "GRANT" not in out
