"""The user's own servers, here those of another cluster: the run may only read, and write to one table."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml

import trio_hs
from hs_drill._addresses import write_address
from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill.controller._table import fill_table
from hs_drill.scenario import ScenarioError, parse_scenario, with_cluster
from hs_drill.scenario._external import ExternalServer, without_secrets
from hs_drill.servers import _mariadbd
from hs_drill.servers._opening import open_servers
from hs_drill.servers._sql import execute_sql
from tests.loadtest.support.external import (
    SCENARIO,
    TABLE,
    all_applied,
    databases,
    external,
    secrets_in_environment,
    servers_yaml,
    tables,
)
from tests.loadtest.support.locust_process import ROOT, Locust
from tests.support.patience import patience


# --- What is written -------------------------------------------------------------------------------------------------
@pytest.mark.mariadb
async def test_a_missing_table_is_created_if_allowed_and_dropped_at_the_end(cluster: Cluster) -> None:
    told: list[str] = []
    async with external(cluster, may_create=True, tell=told.append) as control:
        await fill_table(control, SCENARIO, told.append)
        assert "creating drill.t on writer" in told
        assert "this run writes to drill.t on writer (127.0.0.1), and drops it at the end" in told
        assert any("do not replicate here: MariaDB since 10.5 does not log them" in line for line in told)
        for server in cluster.servers:
            rows = await control.read_rows(server.name, TABLE)
            assert [row[0] for row in rows] == list(range(1, 51))
        assert control.cluster.version.startswith(cluster.version.split("-")[0])
        assert (await control.replication_status("reader-1")).source == "writer"
        writer = control.cluster.writer.name
        for refused in (
            *(partial(end, writer) for end in (control.kill, control.stop, control.start, control.pause, control.resume)),
            *(partial(change, writer) for change in (control.promote, control.rejoin, control.restart)),
            *(control.close_for_writes, control.open_for_writes),
            *(partial(change, writer) for change in (control.stop_replication, control.start_replication)),
            partial(control.set_lag, writer, 1),
        ):
            with pytest.raises(ClusterError, match=r"^writer is not a server of this run: do that by your own means$"):
                await refused()
        with pytest.raises(ClusterError, match=r"no server 'reader-9' in this cluster \(one of writer, reader-1\)"):
            await control.kill("reader-9")
        assert control.state("writer") == "running"
    await all_applied(cluster)  # a run does not wait until replicas have dropped it too
    for server in cluster.servers:
        assert "drill" not in await databases(server)


@pytest.mark.mariadb
async def test_a_table_that_is_missing_lacks_a_column_or_holds_rows_is_left_alone(cluster: Cluster) -> None:
    async with external(cluster) as control:
        with pytest.raises(
            ClusterError, match=r"there is no table drill\.t on writer: create it with CREATE TABLE .*create_table"
        ):
            await control.create_table(TABLE)
    writer = cluster.writer
    try:
        await execute_sql(writer, "CREATE DATABASE drill", "CREATE TABLE drill.t (id BIGINT PRIMARY KEY, precious INT)")
        async with external(cluster, may_create=True) as control:
            with pytest.raises(ClusterError, match=r"writer: drill\.t cannot be used: .*; it needs \(.*payload"):
                await control.create_table(TABLE)
        await execute_sql(writer, "DROP TABLE drill.t", f"CREATE TABLE drill.t ({TABLE.columns_sql()})")
        await execute_sql(writer, "INSERT INTO drill.t VALUES (-7, 1, 2, 'precious')")
        async with external(cluster, may_create=True) as control:
            with pytest.raises(ClusterError, match=r"drill\.t on writer holds rows, and a run changes and deletes rows"):
                await control.create_table(TABLE)
        assert [tuple(row.values()) for row in await execute_sql(writer, "SELECT * FROM drill.t")] == [(-7, 1, 2, "precious")]
    finally:
        await execute_sql(writer, "DROP DATABASE drill")


@pytest.mark.mariadb
async def test_the_advice_for_a_table_with_rows_of_an_earlier_run_leaves_replication_running(cluster: Cluster) -> None:
    """In the plain topology the reader never gets the load's inserts. A DELETE of them would stop it with error 1032."""
    writer, reader = cluster.servers
    await execute_sql(writer, "CREATE DATABASE drill", f"CREATE TABLE drill.t ({TABLE.columns_sql()})")
    try:
        async with external(cluster) as control:
            await fill_table(control, SCENARIO)
            async with trio_hs.open_manager(write_servers=[write_address(writer)]) as hs:
                await hs.insert("drill", "t", [("id", 2**41), ("grp", 0), ("n", 0), ("payload", "of the load")])
        async with external(cluster) as control:
            with pytest.raises(ClusterError) as refused:
                await fill_table(control, SCENARIO)
            advised = re.search(r"or run (TRUNCATE TABLE drill\.t) on writer if nobody needs its rows, and", str(refused.value))
            assert advised, refused.value
            await execute_sql(writer, advised[1])
            await control.wait_replicated(patience(10))
            assert (await control.replication_status("reader-1")).running
            assert await execute_sql(reader, "SELECT * FROM drill.t") == []
            await fill_table(control, SCENARIO)
    finally:
        await execute_sql(writer, "DROP DATABASE drill")


@pytest.mark.mariadb
async def test_without_sql_rows_are_loaded_and_read_back_through_handlersocket(temporary: Path) -> None:
    async with open_servers("mariadb", readers=1, topology="write-through") as owner:
        await owner.create_table(TABLE)
        told: list[str] = []
        async with external(owner.cluster, sql=False, tell=told.append) as control:
            await fill_table(control, SCENARIO, told.append)
            assert (
                "this run writes to drill.t on writer (127.0.0.1) through drill_wt.t, and leaves its rows there at the end "
                "(TRUNCATE TABLE drill.t on the primary removes them)" in told
            )
            assert "HandlerSocket's writes replicate here" in told
            assert any(
                "is read-only, a replica or a Galera node, whether reader-1 is another server, and whether" in line
                for line in told
            )
            assert "the binary log was not looked at: that needs the writer's SQL port" in told
            for name in ("writer", "reader-1"):
                expected = await owner.read_rows(name, TABLE)
                assert len(expected) == 50
                assert await control.read_rows(name, TABLE) == expected
                assert await control.read_rows(name, TABLE, after=(10,), limit=5) == expected[10:15]
            with pytest.raises(ClusterError, match="cannot ask reader-1 how it replicates: its sql_port is not known"):
                await control.replication_status("reader-1")
        assert await tables(owner.cluster.writer) == ["t"]


@pytest.mark.mariadb
async def test_plain_servers_without_sql_cannot_be_loaded_and_a_missing_twin_is_reported(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match=r"do not reach the readers in the plain topology \(MDEV-33967\): name the writer's"):
        async with external(cluster, sql=False):
            pass
    async with external(replace(cluster, write_databases={"drill": "drill_wt"}), may_create=True) as control:
        with pytest.raises(ClusterError, match=r"there is no drill_wt\.t on writer to write drill\.t through: see docs/repl"):
            await control.create_table(TABLE)
    assert "drill" not in await databases(cluster.writer)  # what was created is dropped again


# --- Checks before anything is written -------------------------------------------------------------------------------
@pytest.mark.mariadb
@pytest.mark.parametrize(
    "changes, message",
    [
        ({"read_secret": "wrong"}, r"reader-1: the listener for reads at .* refuses the secret: .*handlersocket_plain_secret$"),
        ({"write_secret": "wrong"}, r"for writes at .* refuses the secret: .*handlersocket_plain_secret_wr$"),
        ({"read_port": 9}, r"reader-1: .* at 127\.0\.0\.1:9 cannot be reached: .*\(the plugin is active there: is it another"),
        ({"read_port": 9, "sql_port": None}, r"127\.0\.0\.1:9 cannot be reached: [^()]*$"),
        ({"admin_password": "wrong"}, r"reader-1: SQL error 1045: Access denied"),
    ],
)
async def test_what_is_wrong_with_a_server_is_reported_in_one_line(
    cluster: Cluster, changes: dict[str, Any], message: str
) -> None:
    writer, reader = cluster.servers
    with pytest.raises(ClusterError, match=message) as error:
        async with external(replace(cluster, servers=(writer, replace(reader, **changes)))):
            pass
    assert "\n" not in str(error.value)


@pytest.mark.mariadb
async def test_an_sql_port_is_not_mistaken_for_handlersocket(cluster: Cluster) -> None:
    writer, reader = cluster.servers
    with pytest.raises(ClusterError, match=r"reader-1: .* at .* (does not speak|does not answer|cannot be reached)"):
        async with external(replace(cluster, servers=(writer, replace(reader, read_port=reader.sql_port or 0)))):
            pass


@pytest.mark.mariadb
async def test_a_plugin_that_is_not_loaded_is_reported_with_the_settings_that_load_it(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = _mariadbd.configuration

    def without_plugin(*args: Any, **kwargs: Any) -> str:
        lines = original(*args, **kwargs).splitlines()
        return "\n".join(line for line in lines if not line.startswith(("plugin-", "handlersocket_"))) + "\n"

    async def up(server: Server) -> bool:
        return True

    monkeypatch.setattr(_mariadbd, "configuration", without_plugin)
    monkeypatch.setattr(_mariadbd, "handlersocket_answers", up)
    async with open_servers("mariadb", readers=0) as owner:
        reader = replace(owner.cluster.writer, name="reader-1")
        expected = (
            r"the plugin is not loaded there: set plugin-load-add=handlersocket\.so and plugin-maturity=beta, which is \w+ now"
        )
        with pytest.raises(ClusterError, match=expected):
            async with external(replace(owner.cluster, servers=(owner.cluster.writer, reader))):
                pass


@pytest.mark.mariadb
def test_network_faults_run_on_external_servers_and_no_secret_is_kept(cluster: Cluster) -> None:
    scenario = {
        "name": "external",
        "cluster": {"kind": "external", "servers": servers_yaml(cluster), "create_table": True},
        "table": {"rows": 200},
        "load": {"users": 4, "duration": 4, "think_time": 0.005},
        "mix": {"get": 60, "insert": 20, "incr": 10, "update": 10},
        "faults": [{"fault": "latency", "target": "reader-1", "at": 1, "for": 1, "delay": "20ms"}],
        "expect": {"lost": 0, "applied_twice": 0, "availability": "100%"},
    }
    environment = secrets_in_environment(cluster)
    with Locust("--headless", "--only-summary", scenario=yaml.safe_dump(scenario), env=environment) as locust:
        assert locust.finish() == 0, locust.describe()
        assert "this run writes to drill.t on writer" in locust.stderr
        assert "do not replicate here" in locust.stderr
        kept = "".join(path.read_text(errors="replace") for path in locust.run.iterdir())
        for server in cluster.servers:
            for secret in (server.read_secret, server.write_secret, server.admin_password):
                assert secret not in kept
    assert "drill" not in trio.run(databases, cluster.writer)


@pytest.mark.mariadb
def test_sql_accepts_only_an_account_to_which_read_only_applies(cluster: Cluster) -> None:
    pytest.importorskip("MySQLdb")
    scenario = yaml.safe_dump(
        {
            "name": "external",
            "cluster": {"kind": "external", "servers": servers_yaml(cluster), "create_table": True},
            "table": {"rows": 200},
            "driver": "sql",
            "load": {"users": 2, "duration": 2, "think_time": 0.005},
            "mix": {"get": 60, "insert": 20, "incr": 20},
            "expect": {"lost": 0, "errors": 0},
        }
    )
    environment, writer = secrets_in_environment(cluster), cluster.writer
    # (An administrator's is refused too: engine/test_sql_driver.py.)
    with Locust("--headless", "--only-summary", scenario=scenario, env=environment) as locust:
        assert locust.finish() == 2, locust.describe()
        assert "needs an account of its own" in locust.stderr
    assert "drill" not in trio.run(databases, writer)
    application = {"TRIO_HS_LOAD_USER": writer.load_user, "TRIO_HS_LOAD_PASSWORD": writer.load_password}
    with Locust("--headless", "--only-summary", scenario=scenario, env={**environment, **application}) as locust:
        assert locust.finish() == 0, locust.describe()
        kept = "".join(path.read_text(errors="replace") for path in locust.run.iterdir())
        assert writer.load_password not in kept
        assert "drill" not in trio.run(databases, writer), locust.describe()


@pytest.mark.mariadb
def test_faults_that_need_more_than_the_network_are_refused_before_anything_is_written(cluster: Cluster) -> None:
    scenario = {
        "name": "external",
        "cluster": {"kind": "external", "servers": servers_yaml(cluster), "create_table": True},
        "mix": {"get": 1},
        "faults": [{"fault": "kill", "target": "reader-1", "at": 1}],
    }
    with Locust("--headless", scenario=yaml.safe_dump(scenario), env=secrets_in_environment(cluster)) as locust:
        assert locust.finish() == 2
        (line,) = [line for line in locust.stderr.splitlines() if not line.startswith("[")]
        assert "faults.0.fault: external servers do kill by a command of yours: write it below cluster.commands" in line


@pytest.mark.mariadb
def test_servers_of_the_command_line_are_checked(cluster: Cluster) -> None:
    # The variables have one secret for all servers, and these servers' secrets differ: so the reader refuses it.
    named = ",".join(f"{s.name}={s.host}:{s.read_port}:{s.write_port}:{s.sql_port}" for s in cluster.servers)
    environment = {
        **os.environ,
        **secrets_in_environment(cluster),
        "TRIO_HS_READ_SECRET": cluster.writer.read_secret,
        "TRIO_HS_WRITE_SECRET": cluster.writer.write_secret,
        "PYTHONPATH": str(ROOT),
    }

    def check(servers: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "hs_drill", "cluster", "check", "--create-table", "--servers", servers]
        return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=patience(60), check=False)

    refused = check(named)
    assert refused.returncode == 2
    assert "reader-1: the listener for reads at" in refused.stderr
    assert "refuses the secret" in refused.stderr
    writer = named.split(",")[0]
    alone = check(f"{writer},reader-1={writer.partition('=')[2]}")  # a server that is its own reader
    assert alone.returncode == 2, alone  # there was no reader to check
    asked, _, written = alone.stdout.partition("a row written through HandlerSocket was acknowledged in ")
    assert "server id 1, also named writer" in asked
    assert written.splitlines()[1:] == [
        "writer's binary log: did not get it",
        "reader-1 and writer are one server: whether writes replicate was not tested there",
        "HandlerSocket's writes do not replicate here: MariaDB since 10.5 does not log them (MDEV-33967). Readers miss them, "
        "and a failover loses them all. Write through a FEDERATED twin instead: docs/replication.md",
    ]


@pytest.mark.parametrize("host", ["::1", "[::1]", "'[::1]'", "'::1'", '"[::1]"'])
def test_an_ipv6_address_may_be_in_brackets(host: str) -> None:
    servers = f"[{{name: writer, host: {host}}}, {{name: reader-1, host: b}}]"
    flow = parse_scenario(f"name: x\nmix: {{get: 1}}\ncluster: {{kind: external, servers: {servers}}}\n", "x.yaml")
    block = parse_scenario(
        "name: x\nmix: {get: 1}\ncluster:\n  kind: external\n  servers:\n"
        f"  - name: writer\n    host: {host}\n  - name: reader-1\n    host: db2\n",
        "x.yaml",
    )
    for scenario in (flow, block):
        writer, reader = (server.resolved() for server in scenario.cluster.servers)
        assert (writer.host, writer.write_port, writer.at(writer.read_port)) == ("::1", 9999, "[::1]:9998")
        assert (reader.write_port, reader.at(1)) == (0, f"{reader.host}:1")


@pytest.mark.parametrize(
    "cluster, message",
    [
        *(
            (
                f"{{kind: external, servers: [{{name: writer, host: '{host}'}}]}}",
                "2: cluster.servers.0.host: must be a name or address, such as db1.example or ::1, without a port, "
                f"not '{host}'",
            )
            for host in ("db1:9998", "[::1]:9998", "[db1]")
        ),
        (
            "{kind: mariadb, servers: [{name: writer, host: a}]}",
            "2: cluster.kind: must be external when servers are given, not mariadb",
        ),
        (
            "{kind: external, servers: [{name: writer, host: a}]}",
            "2: cluster: must name at least one reader: reader-1, reader-2 and so on",
        ),
        ("{kind: external, servers: [{name: reader-1, host: a}]}", "2: cluster: must name one server `writer`"),
        ("{kind: external, servers: [{name: writer, hots: a}]}", "2: cluster.servers.0.hots: unknown key; did you mean host?"),
        (
            "{kind: external, servers: [{name: replica-1, host: a}]}",
            "2: cluster.servers.0.name: must be writer, standby, or reader-1, reader-2 and so on, not the text 'replica-1'",
        ),
        *(
            (f"{{kind: external, servers: [{{name: writer, host: a, sql_password: {given}}}]}}", f"2: cluster.servers.0.{told}")
            for given, told in (
                ("{var: A}", "sql_password.var: unknown key; there are env"),
                ("{env: $A}", "sql_password.env: must be the name of an environment variable, without a $, not the text '$A'"),
                ("5", "sql_password: must be text, not 5"),
            )
        ),
        (
            "{kind: external, readers: 2, servers: [{name: writer, host: a}, {name: reader-1, host: b}]}",
            "2: cluster: leave out readers and standby: servers determine them",
        ),
        (
            "{kind: external, replication: none, servers: [{name: writer, host: a}, {name: reader-1, host: b, sql_port: 1}, "
            "{name: standby, host: c}]}",
            "2: cluster.replication: cannot be none with a standby, which must replicate: what clients write there when they",
        ),
        ("{standby: true, replication: none}", "2: cluster.replication: cannot be none with a standby"),
        (
            "{kind: external, replication: none, servers: [{name: writer, host: a}, {name: reader-1, host: b}]}",
            "2: cluster.servers.1: reader-1 needs a sql_port or a write_port: with replication: none its rows are loaded there",
        ),
    ],
)
def test_mistakes_in_servers_are_reported_with_their_place(cluster: str, message: str) -> None:
    with pytest.raises(ScenarioError) as error:
        parse_scenario(f"name: wrong\ncluster: {cluster}\nmix: {{get: 1}}\n", "wrong.yaml")
    assert f"wrong.yaml:{message}" in str(error.value)


@pytest.mark.parametrize(
    "cluster",
    [
        "{standby: true, replication: none}",
        "{kind: external, replication: none, servers: [{name: writer, host: a}, {name: reader-1, host: b}]}",
    ],
)
def test_a_kept_run_of_an_older_version_may_have_had_servers_alone_that_are_refused_now(cluster: str) -> None:
    assert parse_scenario(f"name: old\ncluster: {cluster}\nmix: {{get: 1}}\n", "old.yaml", kept=True).name == "old"


def test_servers_of_the_command_line_replace_the_scenario_s() -> None:
    scenario = with_cluster(SCENARIO, "writer=[::1]:1:2:3, reader-1=b:4:5, reader-2=c:6, reader-3=[fe80::1]:7::8", {})
    assert [server.name for server in scenario.cluster.servers] == ["writer", "reader-1", "reader-2", "reader-3"]
    hosts_and_ports = [
        (s.host, s.read_port, s.write_port, s.sql_port) for s in map(ExternalServer.resolved, scenario.cluster.servers)
    ]
    assert hosts_and_ports == [("::1", 1, 2, 3), ("b", 4, 5, None), ("c", 6, 0, None), ("fe80::1", 7, 0, 8)]
    assert (scenario.cluster.kind, scenario.cluster.readers) == ("external", 3)
    assert with_cluster(scenario, None, {"kind": "embedded"}).cluster.servers == []
    for wrong, message in {
        "writer=a:1": "NAME=HOST:READ_PORT.*only a reader may lack WRITE_PORT",
        "standby=a:1::2": "only a reader may lack WRITE_PORT",
        "writer=::1:9998:9999": "an IPv6 address is in brackets",
        "writer=[a]:1:2": r"servers.0.host: must be a name or address, such as db1.example or ::1, without a port, not '\[a\]'",
        "writer=a:1:2": "must name at least one reader",
    }.items():
        with pytest.raises(ScenarioError, match=message):
            with_cluster(SCENARIO, wrong, {})


async def test_a_secret_missing_from_the_environment_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = "{name: writer, host: a, read_secret: {env: NOT_THERE}}, {name: reader-1, host: b}"
    text = f"name: x\nmix: {{get: 1}}\ncluster: {{kind: external, servers: [{servers}]}}\n"
    monkeypatch.setenv("TRIO_HS_READ_SECRET", "from-outside")
    writer, reader = parse_scenario(text, "x.yaml").cluster.servers
    assert reader.resolved().read_secret == "from-outside"
    assert reader.resolved().write_secret == ""
    with pytest.raises(ClusterError, match="writer: the environment variable NOT_THERE is not set; it should hold a secret"):
        writer.resolved()
    kept = ExternalServer(**without_secrets({"name": "writer", "host": "a", "read_secret": "text"}))
    assert kept.resolved().read_secret == "from-outside"
    monkeypatch.delenv("TRIO_HS_READ_SECRET")
    with pytest.raises(ClusterError, match="writer: a kept run holds no secrets: set TRIO_HS_READ_SECRET, or name the servers"):
        kept.resolved()


@pytest.mark.mariadb
async def test_servers_that_do_not_replicate_get_the_rows_each(temporary: Path) -> None:
    async with open_servers("mariadb", readers=1, replication="none") as owner:
        await execute_sql(owner.cluster.readers[0], "SET GLOBAL read_only=0")
        told: list[str] = []
        async with open_servers(
            "external",
            external=list(owner.cluster.servers),
            replication="none",
            may_create_table=True,
            progress=told.append,
        ) as control:
            await fill_table(control, SCENARIO, told.append)
            rows = await control.read_rows("writer", TABLE)
            assert len(rows) == SCENARIO.table.rows
            assert await control.read_rows("reader-1", TABLE) == rows
        assert not [line for line in told if "MDEV-33967" in line]
        for server in owner.cluster.servers:
            assert await tables(server) == []
