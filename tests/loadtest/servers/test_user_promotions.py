"""The user's own servers: after a promotion by the user, a run drops nothing and claims nothing."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import yaml

from hs_drill._cluster import Cluster, ClusterError
from hs_drill.controller._table import fill_table
from hs_drill.servers._created import MARK
from hs_drill.servers._opening import open_servers
from hs_drill.servers._replication import logged, wait_applied
from hs_drill.servers._sql import execute_sql
from hs_drill.store import Event, RunDirectory
from tests.loadtest.support.external import (
    SCENARIO,
    TABLE,
    external,
    gtids,
    named,
    nothing_written,
    secrets_in_environment,
    servers_yaml,
    source_sql,
    tables,
    without_sql,
)
from tests.loadtest.support.locust_process import Locust
from tests.support.patience import patience

pytestmark = pytest.mark.mariadb


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
            f"writer may not be the primary any more: reader-1 does not replicate from 127.0.0.1:{writer.sql_port} any more"
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
            source = f"127.0.0.1:{writer.sql_port}"
            stopped = f"reader-1 has stopped replicating from {source} and takes writes"
            assert await control.why_primary_unknown() == (
                f"{stopped} (IO thread No, SQL thread No): it, or another server, may have been promoted"
            )
            await execute_sql(writer, "SET GLOBAL read_only=1")
            assert await control.why_primary_unknown() == "writer is not the primary any more: it is read-only (read_only is 1)"
            await owner.kill("writer")
            unknown = await control.why_primary_unknown()
            assert unknown.startswith("cannot check whether writer is still the primary: writer: SQL error 2003")
            assert (control.primary, control.promotions) == ("writer", [])


async def test_a_promotion_is_known_as_long_as_the_promoted_server_is_the_primary(temporary: Path) -> None:
    """Whether the former one is there or not. What another server might be, is not known."""
    async with open_servers("mariadb", readers=2) as owner:
        reader, other = owner.cluster.readers
        async with external(owner.cluster) as control:
            await execute_sql(reader, "STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only=0")
            assert await control.why_primary_unknown() == ""
            assert control.primary == "reader-1"
            assert [promotion.server for promotion in control.promotions] == ["reader-1"]
            await owner.kill("writer")
            assert await control.why_primary_unknown() == ""
            await execute_sql(other, "STOP SLAVE", "RESET SLAVE ALL")
            assert (await control.why_primary_unknown()).startswith("reader-2 does not replicate from ")
            await execute_sql(other, source_sql(reader, owner.cluster), "START SLAVE")
            assert await control.why_primary_unknown() == ""
            await owner.pause("reader-2")
            assert (await control.why_primary_unknown()).startswith("whether reader-2 has been promoted is not known: ")
            await owner.resume("reader-2")
            assert await control.why_primary_unknown() == ""
            await execute_sql(reader, "SET GLOBAL read_only=1")
            assert await control.why_primary_unknown() == "reader-1 is not the primary any more: it is read-only"
            with pytest.raises(ClusterError, match=r"^writer"):
                await control.require_primary()


async def test_a_reader_that_is_no_replica_is_refused_before_anything_is_written(temporary: Path) -> None:
    """It was promoted before, and the user still names the former primary `writer`."""
    async with open_servers("mariadb", readers=1) as owner:
        reader = owner.cluster.readers[0]
        await owner.wait_replicated()
        await execute_sql(reader, "STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only=0")
        before = await gtids(*owner.cluster.servers)
        with pytest.raises(
            ClusterError, match=r"^reader-1 replicates from no server, .* name it `writer`\..* Nothing was written$"
        ):
            async with external(owner.cluster, may_create=True):
                pass
        assert await gtids(*owner.cluster.servers) == before


async def test_a_reader_that_follows_another_primary_is_refused_before_anything_is_written(temporary: Path) -> None:
    async with open_servers("mariadb", readers=2) as owner:
        writer, reader, promoted = owner.cluster.servers
        await owner.wait_replicated()
        await execute_sql(promoted, "STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only=0", "CREATE DATABASE other")
        await execute_sql(reader, "STOP SLAVE", f"CHANGE MASTER TO MASTER_PORT={promoted.sql_port}", "START SLAVE")
        await wait_applied(reader, await logged(promoted), patience(60))
        before = await gtids(*owner.cluster.servers)
        with pytest.raises(
            ClusterError, match=r"^reader-1 has the transaction [\d-]+, which writer does not have: another server may be"
        ):
            async with external(named(owner.cluster, writer=writer, reader_1=reader), may_create=True):
                pass
        assert await gtids(*owner.cluster.servers) == before


async def test_a_reader_that_takes_writes_and_does_not_replicate_is_refused(temporary: Path) -> None:
    """It may have been promoted without RESET SLAVE. What HandlerSocket wrote there has no GTID."""
    async with open_servers("mariadb", readers=1) as owner:
        await owner.wait_replicated()
        await execute_sql(owner.cluster.readers[0], "STOP SLAVE", "SET GLOBAL read_only=0")
        before = await gtids(*owner.cluster.servers)
        with pytest.raises(
            ClusterError,
            match=r"^reader-1 takes writes and does not replicate from .*: it may be the pri.* Nothing was written$",
        ):
            async with external(owner.cluster, may_create=True):
                pass
        assert await gtids(*owner.cluster.servers) == before


async def test_what_may_be_a_promotion_and_is_taken_back_before_the_end_is_noticed(temporary: Path) -> None:
    async with open_servers("mariadb", readers=1) as owner:
        writer, reader = owner.cluster.servers
        async with external(owner.cluster) as control:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(control.watch)
                await execute_sql(reader, "STOP SLAVE", "SET GLOBAL read_only=0")
                with trio.fail_after(patience(60)):
                    while not control.primary_watch.waits_for_explanation:  # noqa: ASYNC110  (the watch asks)
                        await trio.sleep(0.02)
                nursery.cancel_scope.cancel()
            await execute_sql(reader, "SET GLOBAL read_only=1", "START SLAVE")
            assert (await control.why_primary_unknown()).startswith(
                f"reader-1 has stopped replicating from 127.0.0.1:{writer.sql_port} and takes writes (IO thread No"
            )
            for _ in range(2):  # further runs in the web UI
                with pytest.raises(
                    ClusterError, match=r"began\), in an earlier run: start Locust again, so that it checks the servers anew$"
                ):
                    await control.require_primary()


def events_of(run: Path) -> list[Event]:
    histories, _ = RunDirectory(run).open_histories()
    for history in histories:
        history.read_through()
    return [event for history in histories for event in history.events]


@pytest.mark.parametrize("named", [True, False])
def test_after_a_promotion_by_the_user_nothing_is_called_lost(temporary: Path, named: bool) -> None:
    """The user promotes the standby during the run. The writer lacks what the standby has got since, but that is not lost.

    A standby that the scenario names is read back. Without its name, the run knows only that the writer is none any more.
    """

    async def rehearse() -> None:
        async with open_servers("mariadb", readers=1, standby=True, topology="write-through", replication="semisync") as owner:
            await owner.create_table(TABLE)
            servers = [server for server in servers_yaml(owner.cluster) if named or server["name"] != "standby"]
            scenario = {
                "name": "external",
                "cluster": {"kind": "external", "topology": "write-through", "servers": servers},
                "table": {"rows": 100},
                "load": {"users": 4, "duration": 300, "think_time": 0.005},
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
                result = RunDirectory(locust.run).result() or {}
                if named:
                    assert code == 0, locust.describe()
                    assert (result["primary"], result["troubles"]) == ("standby", [])
                    assert result["audit"]["lost"]["verdict"] == "true"
                    (promotion,) = [event for event in events_of(locust.run) if event.kind == "promotion"]
                    assert promotion.name == "standby"
                    assert 0 < promotion.details["seen_within"] < patience(1)
                    return
                assert code == 4, locust.describe()
                assert result["audit"]["lost"]["verdict"] == "unknown"
                (trouble,) = result["troubles"]
                assert trouble.startswith(
                    "what became of the writes is unknown: writer is not the primary any more: it is read-"
                )
                assert "the writer itself lost" not in locust.describe() + str(result["advice"])

    trio.run(rehearse)
