"""A table is created, and dropped, only where each reader is proven to replicate from the writer itself.

The servers are real ones, of another cluster.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill.controller._table import fill_table
from hs_drill.servers._opening import open_servers
from hs_drill.servers._replication_check import check_replication
from hs_drill.servers._sql import execute_sql
from tests.loadtest.support.external import (
    SCENARIO,
    TABLE,
    databases,
    external,
    gtids,
    load_rows,
    named,
    nothing_written,
    tables,
)
from tests.support.patience import patience

pytestmark = pytest.mark.mariadb


@pytest.fixture(autouse=True)
def _short_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """HandlerSocket's writes do not replicate to these readers."""
    monkeypatch.setattr(check_replication, "__defaults__", (0.2,))


def source_sql(source: Server, cluster: Cluster, connection: str = "") -> str:
    return (
        f"CHANGE MASTER '{connection}' TO MASTER_HOST='127.0.0.1', MASTER_PORT={source.sql_port}, "
        f"MASTER_USER='{cluster.replication_user}', MASTER_PASSWORD='{cluster.replication_password}', MASTER_USE_GTID=slave_pos"
    )


async def wait_for_threads(server: Server, io: str, sql: str, connection: str = "") -> None:
    with trio.fail_after(patience(60)):
        while True:
            for row in await execute_sql(server, "SHOW ALL SLAVES STATUS"):
                if (row["Connection_name"], row["Slave_IO_Running"], row["Slave_SQL_Running"]) == (connection, io, sql):
                    return
            await trio.sleep(0.02)


# --- Healthy replicas ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", ["gtid", "file and position", "delay", "named", "semisync", "multi-source", "another source is stopped"]
)
async def test_a_healthy_replica_of_the_writer_is_no_hindrance(
    temporary: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where it takes writes, as MariaDB's replicas do by default."""
    async with open_servers("mariadb", readers=2, replication="semisync" if how == "semisync" else "async") as owner:
        writer, reader, other = owner.cluster.servers
        await owner.wait_replicated()
        await execute_sql(reader, "SET GLOBAL read_only=0")
        if how == "file and position":
            (row,) = await execute_sql(writer, "SHOW MASTER STATUS")
            at = f"MASTER_LOG_FILE='{row['File']}', MASTER_LOG_POS={row['Position']}, MASTER_USE_GTID=no"
            await execute_sql(reader, "STOP SLAVE", f"CHANGE MASTER TO {at}", "START SLAVE")
        elif how == "delay":
            await execute_sql(reader, "STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY=1", "START SLAVE")
        elif how == "named":  # and late, so that the run waits for it
            await execute_sql(reader, "STOP SLAVE", "RESET SLAVE ALL", source_sql(writer, owner.cluster, "m1"))
            await execute_sql(reader, "CHANGE MASTER 'm1' TO MASTER_DELAY=1", "START SLAVE 'm1'")
        elif "source" in how:
            # The writer's statements arrive from both sources. Whichever came second would end its SQL thread.
            await execute_sql(reader, "STOP ALL SLAVES", "SET GLOBAL gtid_ignore_duplicates=ON")
            await execute_sql(reader, source_sql(other, owner.cluster, "x"), "START SLAVE", "START SLAVE 'x'")
            await wait_for_threads(reader, "Yes", "Yes", "x")
            if "stopped" in how:
                await execute_sql(reader, "STOP SLAVE 'x'")
        await wait_for_threads(reader, "Yes", "Yes", "m1" if how == "named" else "")
        async with external(named(owner.cluster, writer=writer, reader_1=reader), may_create=True) as control:
            await fill_table(control, SCENARIO)
            assert await control.why_primary_unknown() == ""
        assert caplog.messages == []
        assert "drill" not in await databases(writer)


# --- Servers that are not proven to be replicas ----------------------------------------------------------------------


async def test_a_chain_gets_no_table_created_and_can_be_used_with_an_existing_one(temporary: Path) -> None:
    """The server in the middle may be promoted, and the run does not know it."""
    async with open_servers("mariadb", readers=2) as owner:
        writer, middle, reader = owner.cluster.servers
        await owner.wait_replicated()
        await execute_sql(reader, "STOP SLAVE", source_sql(middle, owner.cluster), "START SLAVE")
        await wait_for_threads(reader, "Yes", "Yes")
        chain = named(owner.cluster, writer=writer, reader_1=reader)
        told: list[str] = []
        async with nothing_written(owner.cluster):
            async with external(chain, may_create=True, tell=told.append) as control:
                with pytest.raises(ClusterError) as refused:
                    await control.create_table(TABLE)
        ids = [(await execute_sql(one, "SELECT @@server_id AS id"))[0]["id"] for one in (writer, middle)]
        why = (
            f"reader-1 replicates from 127.0.0.1:{middle.sql_port} (server id {ids[1]}, IO thread Yes, SQL thread Yes), not "
            f"from writer (server id {ids[0]})"
        )
        assert str(refused.value).startswith(
            f"there is no table drill.t on writer, and the run must not create it: a promotion could go unnoticed, for {why}. "
            "So create the table yourself: CREATE TABLE drill.t ("
        )
        assert f"{why}: a promotion there may go unnoticed" in told
        await execute_sql(writer, "CREATE DATABASE drill", f"CREATE TABLE drill.t ({TABLE.columns_sql()})")
        await owner.wait_replicated()
        async with external(chain) as control:
            await control.create_table(TABLE)
            await load_rows(control, SCENARIO)
        assert await execute_sql(reader, "SELECT COUNT(*) AS n FROM drill.t") == [{"n": SCENARIO.table.rows}]


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("thread, io, sql", [("IO_THREAD", "No", "Yes"), ("SQL_THREAD", "Yes", "No")])
async def test_a_half_stopped_replica_is_refused(temporary: Path, thread: str, io: str, sql: str, read_only: bool) -> None:
    """If it takes writes, it may be the primary: HandlerSocket's writes show in no GTID. Else only no table is created."""
    async with open_servers("mariadb", readers=2) as owner:
        writer, reader, other = owner.cluster.servers
        await owner.wait_replicated()
        # That another connection runs proves nothing.
        await execute_sql(reader, source_sql(other, owner.cluster, "x"), "START SLAVE 'x'")
        await execute_sql(reader, f"STOP SLAVE {thread}", f"SET GLOBAL read_only={read_only:d}")
        await wait_for_threads(reader, "Yes", "Yes", "x")
        await wait_for_threads(reader, io, sql)
        half = f"127.0.0.1:{writer.sql_port} (server id {{}}, IO thread {io}, SQL thread {sql})".format(
            (await execute_sql(writer, "SELECT @@server_id AS id"))[0]["id"]
        )
        before = await gtids(*owner.cluster.servers)

        async def run() -> None:
            async with external(named(owner.cluster, writer=writer, reader_1=reader), may_create=True) as control:
                assert read_only
                await control.create_table(TABLE)

        with pytest.raises(ClusterError) as refused:
            await run()
        assert await gtids(*owner.cluster.servers) == before
        if read_only:
            assert f"a promotion could go unnoticed, for reader-1 does not replicate from writer: {half}. So create" in str(
                refused.value
            )
        else:
            assert str(refused.value).startswith(
                f"reader-1 takes writes and does not replicate from {half}: it may be the primary"
            )


@pytest.mark.parametrize("fenced", [True, False])
@pytest.mark.parametrize("read_only", [True, False])
async def test_what_was_created_is_not_dropped_if_a_reader_that_takes_writes_does_not_get_it(
    temporary: Path, fenced: bool, read_only: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Stopped by hand, or cut off from its source, which is then tried again for ever."""
    async with open_servers("mariadb", readers=1) as owner:
        writer, reader = owner.cluster.servers
        await owner.wait_replicated()
        await execute_sql(reader, f"SET GLOBAL read_only={read_only:d}")
        async with external(owner.cluster, may_create=True) as control:
            await control.create_table(TABLE)
            await owner.wait_replicated()
            if fenced:
                await execute_sql(reader, "STOP SLAVE", "CHANGE MASTER TO MASTER_PASSWORD='wrong'", "START SLAVE")
                await wait_for_threads(reader, "Connecting", "Yes")
            else:
                await execute_sql(reader, "STOP SLAVE IO_THREAD")
            before = await gtids(writer, reader)
        if read_only:  # no promotion
            assert caplog.messages == []
            assert await tables(writer) == []
            return
        assert await gtids(writer, reader) == before
        assert await tables(writer) == await tables(reader) == ["t"]
        (line,) = caplog.messages
        does_not = "does not replicate" if fenced else "has stopped replicating"
        assert line.startswith(
            f"writer may not be the primary any more: reader-1 {does_not} from 127.0.0.1:{writer.sql_port} and"
        )
