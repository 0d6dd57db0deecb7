"""A run must not write to the user's servers where no client should, nor claim what it cannot know.

The servers are real ones, of another cluster.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill.controller._table import fill_table
from hs_drill.servers._created import MARK
from hs_drill.servers._one_server import require_one_server, same_server
from hs_drill.servers._opening import open_servers
from hs_drill.servers._replication import logged, slave_status, wait_applied
from hs_drill.servers._sql import execute_sql
from hs_drill.store import RunDirectory
from tests.loadtest.support.external import (
    SCENARIO,
    TABLE,
    databases,
    external,
    named,
    secrets_in_environment,
    servers_yaml,
    tables,
    without_sql,
)
from tests.loadtest.support.locust_process import Locust
from tests.support.patience import patience

pytestmark = pytest.mark.mariadb


async def gtids(*servers: Server) -> list[dict[str, Any]]:
    """What the servers have written to their binary logs, and have applied."""
    asked = "SELECT @@gtid_binlog_pos AS logged, @@gtid_current_pos AS current"
    return [(await execute_sql(server, asked))[0] for server in servers]


@asynccontextmanager
async def nothing_written(cluster: Cluster) -> AsyncIterator[None]:
    # What the test itself wrote to the writer is still on its way to the reader.
    position = await logged(cluster.writer)
    for server in cluster.servers[1:]:
        if await slave_status(server) is not None:
            await wait_applied(server, position, patience(60))
    before = await gtids(*cluster.servers)
    yield
    assert await gtids(*cluster.servers) == before
    for server in cluster.servers:
        assert "drill" not in await databases(server)


# --- What must not be written to is refused --------------------------------------------------------------------------


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
def test_a_killed_controller_s_last_words_are_what_it_leaves(cluster: Cluster) -> None:
    scenario = {
        "name": "external",
        "cluster": {"kind": "external", "servers": servers_yaml(cluster), "create_table": True},
        "table": {"rows": 100},
        "load": {"users": 2, "duration": 300},
        "mix": {"get": 50, "insert": 50},
    }
    environment = secrets_in_environment(cluster)
    with Locust("--headless", "--only-summary", "-t", "0", scenario=yaml.safe_dump(scenario), env=environment) as locust:
        locust.wait_for_load()
        (controller,) = locust.processes("hs_drill.controller")
        os.kill(controller, signal.SIGKILL)
        assert locust.exit_code() == 1, locust.describe()
        assert (
            "the controller of the servers died: killed by SIGKILL. So it removed nothing from your servers: drill.t still has "
            "the run's rows (TRUNCATE TABLE drill.t removes them), or if the comments of the table and its database say that a "
            "load test created them, both are left"
        ) in locust.stderr, locust.describe()
    assert trio.run(tables, cluster.writer) == ["t"]


# --- One server under two names ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("dropped")
@pytest.mark.parametrize("sql", [True, False])
async def test_a_reader_that_is_the_writer_under_another_address_is_no_replica(cluster: Cluster, sql: bool) -> None:
    writer, reader = cluster.servers
    alias = replace(writer, name="reader-1", host="localhost")
    servers = named(cluster, writer=writer, reader_1=alias if sql else without_sql(alias), reader_2=reader)
    told: list[str] = []
    async with external(servers, may_create=True, tell=told.append) as control:
        assert control.aliases == {"reader-1"}
        await fill_table(control, SCENARIO, told.append)
    assert "reader-1 and writer are one server: whether writes replicate was not tested there" in told
    assert "reader-2: did not get it" in told
    assert not any(line.startswith("reader-1: ") for line in told)


@pytest.mark.usefixtures("dropped")
def test_a_reader_that_is_the_writer_does_not_count_as_agreeing(cluster: Cluster) -> None:
    alone = named(cluster, writer=cluster.writer, reader_1=replace(cluster.writer, host="localhost"))
    scenario = {
        "name": "external",
        "cluster": {"kind": "external", "servers": servers_yaml(alone), "create_table": True},
        "table": {"rows": 100},
        "load": {"users": 2, "duration": 2},
        "mix": {"get": 50, "insert": 50},
        "expect": {"replicas_agree": True},
    }
    environment = secrets_in_environment(alone)
    with Locust("--headless", "--only-summary", scenario=yaml.safe_dump(scenario), env=environment) as locust:
        assert locust.finish() == 4, locust.describe()
        result = RunDirectory(locust.run).result() or {}
        assert result["troubles"] == []
        assert result["audit"]["lost"]["verdict"] == "true"
        assert result["audit"]["replicas"]["verdict"] == "unknown"
        assert "no replica was read back" in result["audit"]["replicas"]["explanation"]


async def test_servers_are_recognized_while_clients_come_and_go(cluster: Cluster) -> None:
    """Clients' connections are in the same count, and so are those of other checks at the same time."""
    writer, reader = cluster.servers

    async def come_and_go() -> None:
        while True:
            async with await trio.open_tcp_stream(writer.host, writer.read_port):
                await trio.sleep(0.1)

    async with trio.open_nursery() as clients:
        for _ in range(2):
            clients.start_soon(come_and_go)
        async with trio.open_nursery() as checks:
            for _ in range(3):
                checks.start_soon(require_one_server, writer)
        assert await same_server(writer, without_sql(reader)) is False
        assert await same_server(reader, without_sql(writer)) is False
        clients.cancel_scope.cancel()


async def test_servers_are_told_apart_with_and_without_sql(cluster: Cluster) -> None:
    writer, reader = cluster.servers
    assert await same_server(writer, reader) is False
    assert await same_server(writer, without_sql(reader)) is False
    assert await same_server(without_sql(writer), without_sql(reader)) is None
    assert await same_server(without_sql(writer), replace(without_sql(writer), host="localhost")) is True


# --- A promotion by the user -----------------------------------------------------------------------------------------


async def test_what_was_created_is_not_dropped_on_a_server_that_was_demoted_meanwhile(
    temporary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_servers("mariadb", readers=1, standby=True) as owner:
        writer = owner.cluster.writer
        async with external(owner.cluster, may_create=True) as control:
            await control.create_table(TABLE)
            await owner.wait_replicated()
            await owner.promote("standby")
            await owner.rejoin("writer")
            before = await gtids(owner.server("writer"))
        assert await gtids(owner.server("writer")) == before
        for name in ("writer", "standby", "reader-1"):
            assert await tables(owner.server(name)) == ["t"]
        (line,) = caplog.messages
        assert line.startswith(
            "writer must not be written to any more: it is read-only (read_only is 1). So what this run created"
        )
        assert f"is left: the table drill.t and the database drill, if the comment there says '{MARK}" in line
        assert writer.sql_port == owner.server("writer").sql_port


async def test_what_was_created_is_not_dropped_on_a_primary_beside_which_another_was_promoted(
    temporary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a DROP in its binary log that the new primary never received, it could not replicate from that one."""
    async with open_servers("mariadb", readers=1) as owner:
        writer, reader = owner.cluster.servers
        async with external(owner.cluster, may_create=True) as control:
            await control.create_table(TABLE)
            await execute_sql(reader, "STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only=0")
            before = await gtids(writer, reader)
        assert await gtids(writer, reader) == before
        assert await tables(writer) == await tables(reader) == ["t"]
        (line,) = caplog.messages
        assert line.startswith(
            "writer may not be the primary any more: reader-1 replicated when the run began, and is not a replica any more"
        )
        assert f"is left: the table drill.t and the database drill, if the comment there says '{MARK}" in line


async def test_no_table_is_created_where_a_promotion_would_go_unnoticed(cluster: Cluster) -> None:
    """Neither a server without a sql_port can be asked, nor one whose account lacks SLAVE MONITOR. So the run would not know at
    its end whether it may drop the table."""
    writer, reader = cluster.servers
    await execute_sql(
        reader,
        "SET sql_log_bin=0",
        "CREATE USER few@'127.0.0.1' IDENTIFIED BY 'few'",
        "GRANT PROCESS ON *.* TO few@'127.0.0.1'",
    )
    try:
        for unknown in (without_sql(reader), replace(reader, admin_user="few", admin_password="few")):
            told: list[str] = []
            async with nothing_written(cluster):
                async with external(named(cluster, writer=writer, reader_1=unknown), may_create=True, tell=told.append) as run:
                    with pytest.raises(ClusterError, match=r"must not create it: a promotion of reader-1 would go unnoticed"):
                        await fill_table(run, SCENARIO)
            (line,) = (line for line in told if "its promotion would go unnoticed" in line)
            assert line.startswith("reader-1")
            assert line.endswith("will be unknown, and an audit of them inconclusive")
    finally:
        await execute_sql(reader, "SET sql_log_bin=0", "DROP USER few@'127.0.0.1'")


async def test_what_was_created_is_not_dropped_when_a_replica_cannot_be_asked_any_more(
    temporary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The user promotes the reader, and its account is gone from there. Silence is not a no."""
    async with open_servers("mariadb", readers=1) as owner:
        writer, reader = owner.cluster.servers
        await execute_sql(writer, "CREATE USER adm@'127.0.0.1' IDENTIFIED BY 'adm'", "GRANT ALL ON *.* TO adm@'127.0.0.1'")
        await owner.wait_replicated()
        theirs = named(
            owner.cluster,
            **{
                name: replace(server, admin_user="adm", admin_password="adm")
                for name, server in (("writer", writer), ("reader_1", reader))
            },
        )
        async with external(theirs, may_create=True) as control:
            await control.create_table(TABLE)
            await owner.wait_replicated()
            await execute_sql(reader, "STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only=0")
            await execute_sql(reader, "SET sql_log_bin=0", "RENAME USER adm@'127.0.0.1' TO gone@'127.0.0.1'")
            unknown = await control.why_primary_unknown()
            assert unknown.startswith("whether reader-1 has been promoted is not known: reader-1: SQL error 1045")
            before = await gtids(writer, reader)
        assert await gtids(writer, reader) == before
        assert await tables(writer) == await tables(reader) == ["t"]
        (line,) = caplog.messages
        assert line.startswith("writer may not be the primary any more: whether reader-1 has been promoted is not known")


async def test_a_promotion_of_a_server_without_sql_cannot_be_excluded(cluster: Cluster) -> None:
    writer, reader = cluster.servers
    for name in ("standby", "reader-1"):
        others = (replace(without_sql(reader), name=name), replace(writer, name="reader-2"))
        async with external(replace(cluster, servers=(writer, *others))) as control:
            assert await control.why_primary_unknown() == (
                f"whether {name} has been promoted is not known: {name} cannot be asked whether it replicates, because its "
                "sql_port is not known"
            )


async def test_the_primary_is_known_as_long_as_nothing_has_changed(temporary: Path) -> None:
    async with open_servers("mariadb", readers=1) as owner:
        writer, reader = owner.cluster.servers
        async with external(owner.cluster) as control:
            assert await control.why_primary_unknown() == ""
            control.cluster = replace(owner.cluster, servers=(without_sql(writer), reader))
            assert (await control.why_primary_unknown()).endswith("is still the primary: its sql_port is not known")
            control.cluster = owner.cluster
            await execute_sql(reader, "STOP SLAVE")
            assert await control.why_primary_unknown() == ""
            await execute_sql(reader, "SET GLOBAL read_only=0")
            changed = "reader-1 replicated when the run began, and"
            stopped = f"{changed} has stopped replicating and takes writes: it may have been promoted"
            assert await control.why_primary_unknown() == stopped
            await execute_sql(reader, "RESET SLAVE ALL")
            assert (await control.why_primary_unknown()).startswith(
                "reader-1 replicated when the run began, and is not a replica any more"
            )
            await execute_sql(writer, "SET GLOBAL read_only=1")
            assert await control.why_primary_unknown() == "writer is not the primary any more: it is read-only (read_only is 1)"
            await owner.kill("writer")
            unknown = await control.why_primary_unknown()
            assert unknown.startswith("cannot check whether writer is still the primary: writer: SQL error 2003")


def test_after_a_promotion_by_the_user_nothing_is_called_lost(temporary: Path) -> None:
    """The user promotes the standby during the run. The writer lacks what the standby has got since, but that is not lost."""

    async def rehearse() -> None:
        async with open_servers("mariadb", readers=1, standby=True, topology="write-through") as owner:
            await owner.create_table(TABLE)
            scenario = {
                "name": "external",
                "cluster": {"kind": "external", "topology": "write-through", "servers": servers_yaml(owner.cluster)},
                "table": {"rows": 100},
                "load": {"users": 4, "duration": 300},
                "mix": {"get": 20, "insert": 60, "update": 20},
                "expect": {"lost": 0},
            }
            environment = secrets_in_environment(owner.cluster)
            with Locust(
                "--headless", "--only-summary", "-t", "0", scenario=yaml.safe_dump(scenario), env=environment
            ) as locust:
                await trio.to_thread.run_sync(locust.wait_for, "All users spawned")
                await owner.kill("writer")
                await owner.promote("standby")
                await owner.rejoin("writer")
                locust.process.send_signal(signal.SIGINT)
                code = await trio.to_thread.run_sync(locust.finish)
                assert code == 4, locust.describe()
                result = RunDirectory(locust.run).result() or {}
                assert result["audit"]["lost"]["verdict"] == "unknown"
                (trouble,) = result["troubles"]
                assert trouble.startswith(
                    "what became of the writes is unknown: writer is not the primary any more: it is read-"
                )
                assert "the writer itself lost" not in locust.describe() + str(result["advice"])

    trio.run(rehearse)
