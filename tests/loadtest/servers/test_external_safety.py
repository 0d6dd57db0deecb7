"""A run must not write to the user's servers where no client should.

The servers are real ones, of another cluster.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import yaml

from hs_drill._cluster import Cluster, ClusterError
from hs_drill._exit_codes import ExitCode
from hs_drill.controller._servers import open_scenario_servers
from hs_drill.controller._table import fill_table
from hs_drill.scenario import Scenario
from hs_drill.servers import Control
from hs_drill.servers._created import MARK
from hs_drill.servers._opening import open_servers
from hs_drill.servers._replication import wait_replicated
from hs_drill.servers._sql import execute_sql
from tests.loadtest.support.external import (
    SCENARIO,
    TABLE,
    all_applied,
    databases,
    external,
    named,
    nothing_written,
    secrets_in_environment,
    servers_yaml,
    tables,
    without_sql,
)
from tests.loadtest.support.locust_process import Locust
from tests.support.patience import patience

pytestmark = pytest.mark.mariadb


async def test_a_replica_named_writer_is_refused_before_anything_is_written(cluster: Cluster) -> None:
    writer, reader = cluster.servers
    wrong = named(cluster, writer=reader, reader_1=writer)

    async def refused(message: str) -> None:
        async with nothing_written(cluster):
            with pytest.raises(ClusterError, match=message):
                async with external(wrong, may_create=True) as control:
                    await fill_table(control, SCENARIO)

    await refused(r"writer must not be written to: it is read-only \(read_only is 1\).*Nothing was written")
    try:
        await execute_sql(reader, "SET GLOBAL read_only=0")
        await refused(rf"writer must not be written to: it replicates from 127\.0\.0\.1:{writer.sql_port}\. Name the primary")
        await execute_sql(reader, "STOP SLAVE")
        await refused(r"it is set up to replicate from 127\.0\.0\.1:\d+, which is stopped")
    finally:
        await execute_sql(reader, "START SLAVE", "SET GLOBAL read_only=1")


async def test_a_standby_that_takes_writes_is_refused_before_anything_is_written(cluster: Cluster) -> None:
    """A load that loses the writer for a moment would write there, and the standby could not replicate from it any more."""
    writer, reader = cluster.servers
    servers = replace(cluster, servers=(writer, replace(reader, name="standby"), reader))
    told: list[str] = []
    async with external(servers, may_create=True):
        pass
    await execute_sql(reader, "SET GLOBAL read_only=0")
    try:
        async with nothing_written(cluster):
            with pytest.raises(ClusterError, match="standby takes writes although it is not the primary"):
                async with external(servers, may_create=True) as control:
                    await fill_table(control, SCENARIO)
            unknown = (writer, without_sql(replace(reader, name="standby")), reader)
            async with external(replace(cluster, servers=unknown), tell=told.append):
                pass
    finally:
        await execute_sql(reader, "SET GLOBAL read_only=1")
    assert "not checked without the sql_port of standby: whether it is read-only, as it must be" in told


@pytest.mark.parametrize("driver", ["handlersocket", "sql"])
async def test_a_reader_that_takes_writes_is_refused_if_writes_would_follow_to_it(cluster: Cluster, driver: str) -> None:
    """The writer under another name is no further server, takes writes, and is not refused."""
    writer, reader = cluster.servers
    theirs = named(cluster, writer=writer, reader_1=replace(writer, host="localhost"), reader_2=reader)
    servers = servers_yaml(theirs)

    def opened(mix: dict[str, int]) -> AbstractAsyncContextManager[Control]:
        described = {"kind": "external", "servers": servers, "create_table": True}
        scenario = Scenario.model_validate({"name": "x", "cluster": described, "driver": driver, "mix": mix})
        return open_scenario_servers(scenario, told.append, handlersocket_writes=scenario.writes and driver != "sql")

    told: list[str] = []
    account = {"TRIO_HS_LOAD_USER": writer.load_user, "TRIO_HS_LOAD_PASSWORD": writer.load_password}
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**secrets_in_environment(theirs), **account}.items():
            environment.setenv(name, value)
        async with opened({"insert": 1}) as control:
            assert control.cluster.followers == ("reader-2",)
            assert control.cluster.followers_proven
        assert "writes go to reader-2, if it takes them, when writer refuses them, is down or is silent" in told
        await execute_sql(reader, "SET GLOBAL read_only=0")
        try:
            async with nothing_written(cluster):
                with pytest.raises(ClusterError, match=r"reader-2 takes writes although .* SET GLOBAL read_only=1 on reader-2"):
                    async with opened({"insert": 1}):
                        pass
                async with opened({"get": 1}) as control:
                    assert control.cluster.followers == ()
            for server in servers[1:]:
                del server["write_port"]
            if driver == "handlersocket":
                async with opened({"insert": 1}) as control:
                    assert control.cluster.followers == ()
        finally:
            await execute_sql(reader, "SET GLOBAL read_only=1")


@pytest.mark.parametrize("port", ["sql_port", "read_port", "write_port"])
async def test_ports_of_another_server_are_refused_before_anything_is_written(cluster: Cluster, port: str) -> None:
    writer, reader = cluster.servers
    swapped = {
        "sql_port": ("sql_port",),
        "read_port": ("read_port", "read_secret"),
        "write_port": ("write_port", "write_secret"),
    }
    of_the_other = {name: getattr(reader, name) for name in swapped[port]}
    of_the_one = {name: getattr(writer, name) for name in swapped[port]}
    servers = (replace(writer, **of_the_other), replace(reader, **of_the_one))
    async with nothing_written(cluster):
        with pytest.raises(
            ClusterError, match=r": the listener for \w+ at \S+ and SQL at \S+ belong to different servers: .*Nothing was w"
        ):
            async with external(replace(cluster, servers=servers), may_create=True) as control:
                await fill_table(control, SCENARIO)


@pytest.mark.usefixtures("dropped")
async def test_without_sql_the_marker_reveals_a_writer_made_of_two_servers(cluster: Cluster) -> None:
    writer, reader = cluster.servers
    await execute_sql(writer, "CREATE DATABASE drill", f"CREATE TABLE drill.t ({TABLE.columns_sql()})")
    await wait_replicated(cluster, patience(10))  # the table is to be at both listeners
    wrong = without_sql(replace(writer, read_port=reader.read_port, read_secret=reader.read_secret))
    told: list[str] = []
    async with external(
        replace(cluster, servers=(wrong, replace(wrong, name="reader-1"))), sql=False, tell=told.append
    ) as control:
        with pytest.raises(
            ClusterError, match=r"acknowledged is not in drill\.t at its listener for reads: they are not one serv"
        ):
            await fill_table(control, SCENARIO)
    assert any(line.startswith("not checked without the sql_port of writer: whether it is read-only") for line in told)
    assert await execute_sql(writer, "SELECT * FROM drill.t") == []


async def test_the_marker_reveals_a_twin_that_leads_to_another_table(temporary: Path) -> None:
    async with open_servers("mariadb", readers=1, topology="write-through") as owner:
        await owner.create_table(TABLE)
        writer = owner.cluster.writer
        to = f"mysql://{writer.admin_user}:{writer.admin_password}@{writer.host}:{writer.sql_port}/other/t"
        await execute_sql(
            writer,
            "SET sql_log_bin=0",
            "CREATE DATABASE other",
            "CREATE TABLE other.t LIKE drill.t",
            "INSERT INTO other.t VALUES (1, 2, 3, 'precious')",
            "DROP TABLE drill_wt.t",
            f"CREATE TABLE drill_wt.t ({TABLE.columns_sql()}) ENGINE=FEDERATED CONNECTION='{to}'",
        )
        async with external(owner.cluster) as control:
            with pytest.raises(ClusterError, match=r"drill\.t at its listener for reads: drill_wt\.t leads to another table"):
                await fill_table(control, SCENARIO)
        assert await execute_sql(writer, "SELECT payload FROM other.t") == [{"payload": "precious"}]


@pytest.mark.parametrize(
    "grants, message",
    [
        ("SLAVE MONITOR", r"may not see the plugin's threads: GRANT PROCESS ON \*\.\* to it\. Nothing was written"),
        ("PROCESS", r"the SQL account may not SHOW ALL SLAVES STATUS\. GRANT SLAVE MONITOR ON \*\.\* to it"),
    ],
)
async def test_an_account_without_a_privilege_is_told_which_one_it_needs(cluster: Cluster, grants: str, message: str) -> None:
    writer, reader = cluster.servers
    await execute_sql(
        writer,
        "CREATE USER few@'127.0.0.1' IDENTIFIED BY 'few'",
        f"GRANT {grants} ON *.* TO few@'127.0.0.1'",
        "GRANT ALL ON drill.* TO few@'127.0.0.1'",
    )
    try:
        few = replace(writer, admin_user="few", admin_password="few")
        async with nothing_written(cluster):
            with pytest.raises(ClusterError, match=message):
                async with external(named(cluster, writer=few, reader_1=reader), may_create=True):
                    pass
    finally:
        await execute_sql(writer, "DROP USER few@'127.0.0.1'")


@pytest.mark.usefixtures("dropped")
@pytest.mark.parametrize(
    "statement, what",
    [
        ("CREATE VIEW drill.t AS SELECT 1 AS id", "is a view"),
        ("CREATE TABLE drill.t (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 4", "is partitioned"),
        ("CREATE TABLE drill.t (id INT PRIMARY KEY, b BLOB, UNIQUE (b))", "has a UNIQUE key of unlimited length"),
    ],
)
async def test_a_table_that_would_crash_the_server_is_not_opened(cluster: Cluster, statement: str, what: str) -> None:
    await execute_sql(cluster.writer, "CREATE DATABASE drill", statement)
    (before,) = await execute_sql(cluster.writer, "SHOW GLOBAL STATUS LIKE 'Uptime'")
    async with external(cluster, may_create=True) as control:
        with pytest.raises(
            ClusterError, match=rf"drill\.t on writer {what}: using it through HandlerSocket crashes the server"
        ):
            await control.create_table(TABLE)
    (after,) = await execute_sql(cluster.writer, "SHOW GLOBAL STATUS LIKE 'Uptime'")
    assert int(after["Value"]) >= int(before["Value"])


@pytest.mark.usefixtures("dropped")
async def test_the_leftover_table_of_a_killed_run_is_recognized(cluster: Cluster) -> None:
    await execute_sql(
        cluster.writer,
        "CREATE DATABASE drill",
        f"CREATE TABLE drill.t ({TABLE.columns_sql()}) COMMENT '{MARK}0123456789abcdef'",
    )
    async with external(cluster, may_create=True) as control:
        with pytest.raises(
            ClusterError, match=r"belongs to another run.* If no run is active, it is the leftover of one that was killed"
        ):
            await control.create_table(TABLE)
    assert await tables(cluster.writer) == ["t"]


@pytest.mark.usefixtures("dropped")
async def test_nobody_is_told_to_drop_a_table_on_a_replica_that_is_behind(cluster: Cluster) -> None:
    """It has the table of a run that has ended, because the DROP has not arrived yet. A DROP there would be an errant write."""
    writer, reader = cluster.servers
    async with external(cluster, may_create=True) as control:
        await control.wait_replicated(patience(60))
        await execute_sql(
            reader,
            "SET sql_log_bin=0",
            "CREATE DATABASE drill",
            f"CREATE TABLE drill.t ({TABLE.columns_sql()}) COMMENT '{MARK}0123456789abcdef'",
        )
        with pytest.raises(
            ClusterError, match=r"on reader-1 belongs to another run, which drops it on the server that"
        ) as raised:
            await control.create_table(TABLE)
    assert f"replicates from (127.0.0.1:{writer.sql_port})" in str(raised.value)
    assert str(raised.value).endswith("Do not drop it on reader-1")


@pytest.mark.usefixtures("dropped")
def test_a_killed_controller_s_last_words_are_what_it_leaves(cluster: Cluster) -> None:
    scenario = {
        "name": "external",
        "cluster": {"kind": "external", "servers": servers_yaml(cluster), "create_table": True},
        "table": {"rows": 100},
        "load": {"users": 2, "duration": 300, "think_time": 0.005},
        "mix": {"get": 50, "insert": 50},
    }
    environment = secrets_in_environment(cluster)
    with Locust("--headless", "--only-summary", "-t", "0", scenario=yaml.safe_dump(scenario), env=environment) as locust:
        locust.wait_for_load()
        (controller,) = locust.processes("hs_drill.controller")
        os.kill(controller, signal.SIGKILL)
        assert locust.exit_code() == 1, locust.describe()
        assert (
            "the controller of the servers died: killed by SIGKILL. So it left on your servers: drill.t on writer and the "
            f"database drill, each if its comment says '{MARK}"
        ) in locust.stderr, locust.describe()
    assert trio.run(tables, cluster.writer) == ["t"]


@pytest.mark.usefixtures("dropped")
def test_the_controller_of_a_killed_locust_drops_what_it_created(cluster: Cluster) -> None:
    """The kernel sends it a SIGTERM, at the same moment as the socket ends, which cancels it."""
    scenario = {
        "name": "external",
        "cluster": {"kind": "external", "servers": servers_yaml(cluster), "create_table": True},
        "table": {"rows": 100},
        "load": {"users": 2, "duration": 300, "think_time": 0.005},
        "mix": {"get": 50, "insert": 50},
    }
    environment = secrets_in_environment(cluster)
    with Locust("--headless", "--only-summary", "-t", "0", scenario=yaml.safe_dump(scenario), env=environment) as locust:
        locust.wait_for_load()
        assert trio.run(tables, cluster.writer) == ["t"]
        (controller,) = locust.processes("hs_drill.controller")
        locust.process.kill()
        locust.process.wait()
        end = time.monotonic() + patience(60)
        while os.path.exists(f"/proc/{controller}") and time.monotonic() < end:
            with suppress(ProcessLookupError):
                os.kill(controller, signal.SIGTERM)  # a further one must not end it before it has dropped
            time.sleep(0.01)
        assert "drill" not in trio.run(databases, cluster.writer)


@pytest.mark.usefixtures("dropped")
async def test_the_leftover_database_of_a_killed_run_is_named(cluster: Cluster) -> None:
    """The run uses it, and leaves it, for another run may be active in it."""
    told: list[str] = []
    await execute_sql(cluster.writer, f"CREATE DATABASE drill COMMENT '{MARK}0123456789abcdef'")
    async with external(cluster, may_create=True, tell=told.append) as control:
        await control.create_table(TABLE)
    expected = "the database drill on writer belongs to another run, which drops it at its end. If no run is active"
    assert [line for line in told if line.startswith(expected)], told
    assert "drill" in await databases(cluster.writer)
    assert await tables(cluster.writer) == []

    told.clear()
    await execute_sql(cluster.writer, "DROP DATABASE drill", "CREATE DATABASE drill")
    async with external(cluster, may_create=True, tell=told.append) as control:
        await control.create_table(TABLE)
    assert not [line for line in told if "belongs to another run" in line], told


@pytest.mark.usefixtures("dropped")
async def test_what_a_run_leaves_if_it_is_killed_is_what_it_has_written(cluster: Cluster) -> None:
    writer = cluster.writer
    left: list[str] = []
    async with external(cluster, may_create=True) as control:
        control.report_left = left.append
        assert left == []
        await control.create_table(TABLE)
        (created,) = left
        assert created.startswith(f"drill.t on writer and the database drill, each if its comment says '{MARK}")
    left.clear()
    await execute_sql(writer, "CREATE DATABASE drill", f"CREATE TABLE drill.t ({TABLE.columns_sql()})")
    await execute_sql(writer, "INSERT INTO drill.t VALUES (1, 2, 3, 'precious')")
    async with external(cluster) as control:
        control.report_left = left.append
        with pytest.raises(ClusterError, match="holds rows"):
            await control.create_table(TABLE)
        assert left == []
        await execute_sql(writer, "TRUNCATE TABLE drill.t")
        await all_applied(cluster)
        await control.create_table(TABLE)
        assert left == [
            "the run's rows in drill.t, which was empty before (TRUNCATE TABLE drill.t on the primary removes all of them)"
        ]


@pytest.mark.usefixtures("dropped")
def test_a_sigterm_to_every_process_of_a_run_drops_what_it_created(cluster: Cluster) -> None:
    scenario = {
        "name": "external",
        "cluster": {"kind": "external", "servers": servers_yaml(cluster), "create_table": True},
        "table": {"rows": 100},
        "load": {"users": 2, "duration": 300, "think_time": 0.005},
        "mix": {"get": 50, "insert": 50},
        "expect": {"lost": 0},
    }
    environment = secrets_in_environment(cluster)
    with Locust("--headless", "--only-summary", scenario=yaml.safe_dump(scenario), env=environment) as locust:
        locust.wait_for_load()
        assert trio.run(tables, cluster.writer) == ["t"]
        for pid in locust.processes():
            os.kill(pid, signal.SIGTERM)
        assert locust.finish() == ExitCode.ENDED_EARLY, locust.describe()
        assert "drill" not in trio.run(databases, cluster.writer)
