"""On a user's server a run drops only what it created. The servers are real ones, of another cluster."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio

from hs_drill._cluster import Cluster, ClusterError
from hs_drill.controller._table import fill_table
from hs_drill.scenario import Scenario
from hs_drill.servers._created import Creation
from hs_drill.servers._replication_check import check_replication
from hs_drill.servers._sql import execute_sql
from hs_drill.workload import first_insert_key, group_of, payload_of
from tests.loadtest.support.external import (
    SCENARIO,
    TABLE,
    databases,
    external,
    named,
    tables,
    without_sql,
)
from tests.support.patience import patience

pytestmark = pytest.mark.mariadb


def open_gate() -> None:
    """The server may be written to."""


AUDITED = Scenario.model_validate({"name": "external", "mix": {"update": 1}, "table": {"rows": 50, "groups": 5}})


@pytest.mark.usefixtures("dropped")
@pytest.mark.parametrize(
    "statement, what",
    [
        ("CREATE TABLE drill.precious (a INT)", "the table precious"),
        ("CREATE VIEW drill.seen AS SELECT 1 AS a", "the view seen"),
        ("CREATE SEQUENCE drill.numbers", "the sequence numbers"),
        ("CREATE FUNCTION drill.one() RETURNS INT DETERMINISTIC RETURN 1", "the function one"),
        ("CREATE EVENT drill.daily ON SCHEDULE EVERY 1 DAY DO SELECT 1", "the event daily"),
    ],
)
async def test_what_another_client_creates_in_the_database_stays(cluster: Cluster, statement: str, what: str) -> None:
    creation = Creation(cluster.writer, TABLE)
    creation.create(open_gate)
    await execute_sql(cluster.writer, statement)
    (told,) = creation.undo([], open_gate)
    assert told == f"the database drill on writer, which this run created, is left: there is {what} in it"
    assert "t" not in await tables(cluster.writer)
    assert "drill" in await databases(cluster.writer)


@pytest.mark.usefixtures("dropped")
async def test_a_table_that_replaced_the_run_s_own_stays(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    writer = cluster.writer
    async with external(cluster, may_create=True) as control:
        await control.create_table(TABLE)
        await execute_sql(writer, "DROP TABLE drill.t", "CREATE TABLE drill.t (precious INT)", "INSERT INTO drill.t VALUES (7)")
    assert await execute_sql(writer, "SELECT * FROM drill.t") == [{"precious": 7}]
    assert caplog.messages == [
        "the table that this run created, drill.t on writer, is gone, and another one is there, which is left alone",
        "the database drill on writer, which this run created, is left: there is the table t in it",
    ]


@pytest.mark.usefixtures("dropped")
async def test_a_database_that_existed_stays_and_so_does_one_that_replaced_the_run_s_own(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    writer = cluster.writer
    await execute_sql(writer, "CREATE DATABASE drill")
    async with external(cluster, may_create=True) as control:
        await control.create_table(TABLE)
    assert await tables(writer) == []
    assert "drill" in await databases(writer)
    await execute_sql(writer, "DROP DATABASE drill")
    async with external(cluster, may_create=True) as control:
        await control.create_table(TABLE)
        await execute_sql(writer, "DROP DATABASE drill", "CREATE DATABASE drill")
    assert "drill" in await databases(writer)
    assert caplog.messages == ["the table that this run created, drill.t on writer, is gone"]


@pytest.mark.usefixtures("dropped")
async def test_a_failed_creation_drops_nothing(cluster: Cluster) -> None:
    writer = cluster.writer
    others, late, again = (Creation(writer, TABLE) for _ in range(3))
    others.create(open_gate)
    with pytest.raises(ClusterError, match=r"drill\.t on writer exists after all: another client has just created it"):
        late.create(open_gate)
    assert late.undo([], open_gate) == []
    assert await tables(writer) == ["t"]
    assert others.undo([], open_gate) == []
    assert "drill" not in await databases(writer)
    await execute_sql(writer, "CREATE USER few@'127.0.0.1' IDENTIFIED BY 'few'", "GRANT CREATE ON nothing.* TO few@'127.0.0.1'")
    try:
        again.server = replace(writer, admin_user="few", admin_password="few")
        with pytest.raises(ClusterError, match="SQL error 1044: Access denied"):
            again.create(open_gate)
        assert again.undo([], open_gate) == []
    finally:
        await execute_sql(writer, "DROP USER few@'127.0.0.1'")


@pytest.mark.usefixtures("dropped")
async def test_an_account_that_does_not_see_the_database_is_not_told_to_drop_it(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    writer = cluster.writer
    await execute_sql(
        writer,
        "CREATE DATABASE drill",
        "CREATE TABLE drill.precious (a INT)",
        "CREATE USER few@'127.0.0.1' IDENTIFIED BY 'few'",
        "GRANT PROCESS, SLAVE MONITOR, BINLOG MONITOR ON *.* TO few@'127.0.0.1'",
    )
    try:
        few = replace(writer, admin_user="few", admin_password="few")
        async with external(named(cluster, writer=few, reader_1=cluster.readers[0]), may_create=True) as control:
            with pytest.raises(ClusterError, match="writer: SQL error 1044: Access denied for user 'few'@"):
                await control.create_table(TABLE)
    finally:
        await execute_sql(writer, "DROP USER few@'127.0.0.1'")
    assert await tables(writer) == ["precious"]
    assert caplog.messages == []


@pytest.mark.usefixtures("dropped")
async def test_of_concurrent_runs_one_gets_the_table_and_the_others_are_refused(cluster: Cluster) -> None:
    """Each goes on only when all have tried, so that the table still exists when the last one tries."""
    tried, all_tried = 0, trio.Event()
    outcomes: list[str] = []

    async def check() -> None:
        nonlocal tried
        outcome = "used it"
        try:
            async with external(cluster, may_create=True) as control:
                try:
                    await control.create_table(TABLE)
                except ClusterError as error:
                    outcome = str(error)
                tried += 1
                if tried == 3:
                    all_tried.set()
                await all_tried.wait()
                if outcome == "used it":
                    await check_replication(control.cluster, TABLE, control.cluster.writer)
        finally:
            outcomes.append(outcome)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(check)
    assert outcomes.count("used it") == 1
    for outcome in outcomes:
        # A reader may have got it a moment before the writer is asked.
        refused = re.search(r"drill\.t on (writer|reader-1) belongs to another run|exists after all", outcome)
        assert outcome == "used it" or refused, outcome
    assert "drill" not in await databases(cluster.writer)


@pytest.mark.usefixtures("dropped")
async def test_what_a_cancelled_run_created_is_dropped(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with trio.CancelScope() as scope:
        create = Creation.create

        def cancelled(self: Creation, gate: Callable[[], None]) -> None:
            create(self, gate)
            trio.from_thread.run_sync(scope.cancel)

        monkeypatch.setattr(Creation, "create", cancelled)
        async with external(cluster, may_create=True) as control:
            await control.create_table(TABLE)
    assert scope.cancelled_caught
    assert "drill" not in await databases(cluster.writer)


@pytest.mark.usefixtures("dropped")
async def test_a_cancelled_check_deletes_its_marker_row(cluster: Cluster) -> None:
    writer = cluster.writer
    await execute_sql(writer, "CREATE DATABASE drill", f"CREATE TABLE drill.t ({TABLE.columns_sql()})")
    async with external(cluster) as control, trio.open_nursery() as nursery:
        await control.create_table(TABLE)
        nursery.start_soon(check_replication, control.cluster, TABLE, control.cluster.writer, patience(30))
        with trio.fail_after(patience(5)):
            while not await execute_sql(writer, "SELECT * FROM drill.t"):
                pass
        nursery.cancel_scope.cancel()
    assert await execute_sql(writer, "SELECT * FROM drill.t") == []


@pytest.mark.usefixtures("dropped")
@pytest.mark.parametrize("mode", ["ORACLE,NO_BACKSLASH_ESCAPES"])  # ORACLE includes what ANSI sets
async def test_what_a_run_created_is_dropped_in_every_sql_mode(
    cluster: Cluster, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    await execute_sql(cluster.writer, f"SET GLOBAL sql_mode='{mode}'")
    try:
        async with external(cluster, may_create=True) as control:
            await fill_table(control, SCENARIO)
    finally:
        await execute_sql(cluster.writer, "SET GLOBAL sql_mode=DEFAULT")
    assert caplog.messages == []
    assert "drill" not in await databases(cluster.writer)


@pytest.mark.usefixtures("dropped")
async def test_a_creation_whose_answer_was_lost_is_dropped_by_its_token(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    creation = Creation(cluster.writer, TABLE)
    make = Creation._make

    def lost(self: Creation, what: str, sql: Any, statement: str) -> None:
        make(self, what, sql, statement)
        self._made[what] = None
        if what == "table":
            raise OSError("the connection is lost")

    monkeypatch.setattr(Creation, "_make", lost)
    with pytest.raises(ClusterError):
        creation.create(open_gate)
    assert await tables(cluster.writer) == ["t"]
    assert creation.undo([], open_gate) == []
    assert "drill" not in await databases(cluster.writer)


@pytest.mark.usefixtures("dropped")
@pytest.mark.parametrize(
    "asked_before, left",
    [
        pytest.param(1, "the table drill.t and the database drill", id="while the run waits for the table's lock"),
        pytest.param(2, "the database drill", id="after the table is dropped"),
    ],
)
async def test_nothing_is_dropped_on_a_server_that_is_demoted_meanwhile(cluster: Cluster, asked_before: int, left: str) -> None:
    creation = Creation(cluster.writer, TABLE)
    creation.create(open_gate)
    answers = iter([None] * asked_before)

    def gate() -> None:
        if next(answers, "closed"):
            raise ClusterError("writer is read-only now")

    (line,) = creation.undo([], gate)
    assert line.startswith(f"writer is read-only now. So what this run created on writer is left: {left}, if the comment there")
    assert await tables(cluster.writer) == ["t"] * (asked_before == 1)
    assert "drill" in await databases(cluster.writer)
    assert creation.undo([], open_gate) == []


# --- What others have put into the run's own table -------------------------------------------------------------------


@pytest.mark.usefixtures("dropped")
@pytest.mark.parametrize(
    "statement, what",
    [
        ("INSERT INTO drill.t VALUES (-7, 1, 0, 'precious')", "it holds rows that this run did not write (id -7)"),
        ("INSERT INTO drill.t VALUES (51, 1, 0, 'precious')", "it holds rows that this run did not write (id 51)"),
        ("UPDATE drill.t SET payload = 'precious' WHERE id = 5", "it holds rows that this run did not write (id 5)"),
        ("UPDATE drill.t SET grp = 17 WHERE id = 9", "it holds rows that this run did not write (id 9)"),
        (
            "ALTER TABLE drill.t ADD COLUMN mine VARCHAR(20) DEFAULT 'mine'",
            "another client has changed its definition (`mine` varchar(20) DEFAULT 'mine')",
        ),
        ("ALTER TABLE drill.t ADD KEY mine (n)", "another client has changed its definition (KEY `mine` (`n`))"),
        ("ALTER TABLE drill.t DROP KEY grp", "another client has changed its definition (without KEY `grp` (`grp`,`id`))"),
        (
            "CREATE TRIGGER drill.mine BEFORE INSERT ON drill.t FOR EACH ROW SET @a = 1",
            "another client has given it the trigger mine",
        ),
    ],
)
async def test_the_run_s_own_table_stays_if_another_client_has_put_something_into_it(
    cluster: Cluster, statement: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with external(cluster, may_create=True) as control:
        await fill_table(control, AUDITED)
        await execute_sql(cluster.writer, statement)
    assert await tables(cluster.writer) == ["t"]
    assert caplog.messages == [
        f"drill.t on writer, which this run created, is left: {what}. If nobody needs that, run on writer: "
        "DROP TABLE `drill`.`t`",
        "the database drill on writer, which this run created, is left: there is the table t in it",
    ]


@pytest.mark.usefixtures("dropped")
async def test_rows_that_a_run_leaves_do_not_keep_its_table(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """Those it has loaded, changed and inserted, and a marker row that it could not delete."""
    key = first_insert_key(1, 0)
    group = group_of(key, AUDITED.table)
    async with external(cluster, may_create=True) as control:
        await fill_table(control, AUDITED)
        await execute_sql(
            cluster.writer,
            "UPDATE drill.t SET n = -3 WHERE id = 5",
            f"UPDATE drill.t SET payload = '{payload_of(key, 6, 1, 'x')}' WHERE id = 6",
            f"INSERT INTO drill.t VALUES ({key}, {group}, 0, '{payload_of(key, key, group, '')}'), (-9, 0, 0, 'marker')",
        )
    assert caplog.messages == []
    assert "drill" not in await databases(cluster.writer)


@pytest.mark.usefixtures("dropped")
async def test_an_account_that_may_not_see_everything_leaves_the_database(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    writer = cluster.writer
    await execute_sql(
        writer,
        "CREATE USER few@'127.0.0.1' IDENTIFIED BY 'few'",
        "GRANT PROCESS, SLAVE MONITOR, BINLOG MONITOR ON *.* TO few@'127.0.0.1'",
        "GRANT CREATE, DROP, SELECT, INSERT, LOCK TABLES ON drill.* TO few@'127.0.0.1'",
    )
    try:
        few = replace(writer, admin_user="few", admin_password="few")
        async with external(named(cluster, writer=few, reader_1=cluster.readers[0]), may_create=True) as control:
            await fill_table(control, SCENARIO)
            await execute_sql(writer, "CREATE PROCEDURE drill.hidden() SELECT 1")
    finally:
        await execute_sql(writer, "DROP USER few@'127.0.0.1'")
    assert await tables(writer) == []
    assert "drill" in await databases(writer)
    assert caplog.messages == [
        "the database drill on writer, which this run created, is left: the SQL account lacks EVENT, EXECUTE on the "
        "database, and so may not see what else is in it"
    ]


@pytest.mark.usefixtures("dropped")
async def test_a_database_in_which_a_reader_has_a_table_of_its_own_stays(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    (reader,) = cluster.readers
    await execute_sql(reader, "SET sql_log_bin=0", "CREATE DATABASE drill", "CREATE TABLE drill.precious (a INT)")
    async with external(cluster, may_create=True) as control:
        await fill_table(control, SCENARIO)
    assert caplog.messages == [
        "the database drill on writer, which this run created, is left: on reader-1, which would drop it too, there is the "
        "table precious in it"
    ]


@pytest.mark.usefixtures("dropped")
async def test_an_empty_database_that_only_a_reader_has_stays(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    writer, reader = cluster.servers
    await execute_sql(reader, "SET sql_log_bin=0", "CREATE DATABASE drill COMMENT 'its own'")
    async with external(cluster, may_create=True) as control:
        await control.create_table(TABLE)
    asked = "SELECT schema_comment AS c FROM information_schema.schemata WHERE schema_name = 'drill'"
    assert await execute_sql(reader, asked) == [{"c": "its own"}]
    assert await tables(writer) == []
    assert [line.rpartition(" is left: ")[2] for line in caplog.messages] == [
        "on reader-1, which would drop it too, there is another one of that name"
    ]


@pytest.mark.usefixtures("dropped")
async def test_nothing_is_created_that_would_stop_the_replication_of_a_reader(cluster: Cluster) -> None:
    writer, reader = cluster.servers
    await execute_sql(reader, "SET sql_log_bin=0", "CREATE DATABASE drill", "SET GLOBAL slave_ddl_exec_mode=STRICT")
    try:
        async with external(cluster, may_create=True) as control:
            with pytest.raises(ClusterError, match=r"there is a database drill on reader-1, .* slave_ddl_exec_mode is STRICT"):
                await control.create_table(TABLE)
    finally:
        await execute_sql(reader, "SET GLOBAL slave_ddl_exec_mode=IDEMPOTENT")
    assert "drill" not in await databases(writer)


@pytest.mark.usefixtures("dropped")
@pytest.mark.parametrize("sql", [True, False])
async def test_a_table_that_only_a_reader_has_is_not_replaced(cluster: Cluster, sql: bool) -> None:
    writer, reader = cluster.servers
    await execute_sql(
        reader, "SET sql_log_bin=0", "CREATE DATABASE drill", f"CREATE TABLE drill.t ({TABLE.columns_sql()}) COMMENT 'precious'"
    )
    servers = (writer, reader if sql else without_sql(reader))
    async with external(replace(cluster, servers=servers), may_create=True) as control:
        with pytest.raises(
            ClusterError, match=r"a table drill\.t on reader-1, and none on writer: creating it there would rep"
        ):
            await control.create_table(TABLE)
    assert "precious" in (await execute_sql(reader, "SHOW CREATE TABLE drill.t"))[0]["Create Table"]
    assert "drill" not in await databases(writer)
