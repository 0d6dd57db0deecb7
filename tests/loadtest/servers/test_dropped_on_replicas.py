"""Replicas drop what a run drops on the writer. So what other clients have put there, on a replica alone, keeps it as well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hs_drill._cluster import Cluster
from hs_drill.controller._table import fill_table
from hs_drill.servers._sql import execute_sql
from tests.loadtest.support.external import SCENARIO, databases, external, named, tables

pytestmark = [pytest.mark.mariadb, pytest.mark.usefixtures("dropped")]

ON_READER = "on reader-1, which would drop it too,"
CHILD = "CREATE TABLE other.child (p BIGINT NOT NULL, FOREIGN KEY (p) REFERENCES drill.t (id)) ENGINE=InnoDB"


@pytest.mark.parametrize(
    "statement, what",
    [
        ("INSERT INTO drill.t VALUES (5000, 0, 0, 'precious')", "it holds rows that this run did not write (id 5000)"),
        (
            "CREATE TRIGGER drill.mine BEFORE INSERT ON drill.t FOR EACH ROW SET @a = 1",
            "another client has given it the trigger mine",
        ),
        ("ALTER TABLE drill.t ADD KEY mine (n)", "another client has changed its definition (KEY `mine` (`n`))"),
        ("CREATE OR REPLACE TABLE drill.t (mine INT)", "there is another table of that name"),
        (CHILD, "other.child has a foreign key that refers to it, and so the DROP would stop the replication"),
    ],
)
async def test_a_table_into_which_another_client_has_put_something_on_a_replica_stays(
    cluster: Cluster, statement: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    writer, reader = cluster.servers
    await execute_sql(reader, "SET sql_log_bin=0", "CREATE DATABASE other")
    try:
        async with external(cluster, may_create=True) as control:
            await fill_table(control, SCENARIO)
            await execute_sql(reader, "SET sql_log_bin=0", statement)
        assert await tables(writer) == await tables(reader) == ["t"]
    finally:
        await execute_sql(reader, "SET sql_log_bin=0", "DROP DATABASE other")
    kept, database = caplog.messages
    assert kept.startswith(f"drill.t on writer, which this run created, is left: {ON_READER} {what}. If nobody needs that")
    assert database == "the database drill on writer, which this run created, is left: there is the table t in it"


async def test_a_replica_with_another_character_set_has_no_other_definition(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """A replica's own database, without the writer's comment, may make tables with other defaults."""
    writer, reader = cluster.servers
    await execute_sql(reader, "SET sql_log_bin=0", "CREATE DATABASE drill CHARACTER SET latin1 COMMENT 'its own'")
    async with external(cluster, may_create=True) as control:
        await fill_table(control, SCENARIO)
        asked = "SHOW CREATE TABLE drill.t"
        assert await execute_sql(writer, asked) != await execute_sql(reader, asked)
    assert await tables(writer) == []
    assert [line.rpartition(" is left: ")[2] for line in caplog.messages] == [f"{ON_READER} there is another one of that name"]


# --- What the account may see ----------------------------------------------------------------------------------------

MONITORS = "PROCESS, SLAVE MONITOR, BINLOG MONITOR ON *.*"
FEW = "CREATE, DROP, SELECT, INSERT, LOCK TABLES ON drill.*"


@pytest.mark.parametrize(
    "grants, lacking",
    [
        # The server uses the most specific row alone.
        (["ALL ON `dr%`.*", FEW], "EVENT, EXECUTE"),
        ([FEW, "EVENT, EXECUTE ON `dr%`.*"], "EVENT, EXECUTE"),
        ([FEW, "EVENT ON *.*"], "EXECUTE"),
        ([FEW, "EVENT, EXECUTE ON *.*"], ""),
        (["ALL ON drill.*"], ""),
        (["ALL ON `dri__`.*"], ""),
        ([FEW, "EVENT, EXECUTE ON drill.*"], ""),
        ([FEW, "seer"], ""),
    ],
)
async def test_the_server_itself_says_whether_an_account_sees_everything(
    cluster: Cluster, grants: list[str], lacking: str, caplog: pytest.LogCaptureFixture
) -> None:
    writer, reader = cluster.servers
    await execute_sql(
        writer,
        "CREATE ROLE seer",
        "GRANT EVENT, EXECUTE ON drill.* TO seer",
        "CREATE USER few@'127.0.0.1' IDENTIFIED BY 'few'",
        *(f"GRANT {one} TO few@'127.0.0.1'" for one in (MONITORS, *grants)),
        *(["SET DEFAULT ROLE seer FOR few@'127.0.0.1'"] if "seer" in grants else []),
    )
    try:
        few = replace(writer, admin_user="few", admin_password="few")
        async with external(named(cluster, writer=few, reader_1=reader), may_create=True) as control:
            await fill_table(control, SCENARIO)
            if lacking:
                await execute_sql(writer, "CREATE PROCEDURE drill.hidden() SELECT 1")
    finally:
        await execute_sql(writer, "DROP USER few@'127.0.0.1'", "DROP ROLE seer")
    assert ("drill" in await databases(writer)) is bool(lacking)
    assert caplog.messages == (
        [
            f"the database drill on writer, which this run created, is left: the SQL account lacks {lacking} on the database, "
            "and so may not see what else is in it"
        ]
        if lacking
        else []
    )


async def test_a_replica_whose_account_sees_too_little_keeps_the_database(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    writer, reader = cluster.servers
    account = (
        "CREATE USER few@'127.0.0.1' IDENTIFIED BY 'few'",
        f"GRANT {MONITORS} TO few@'127.0.0.1'",
        "GRANT SELECT ON drill.* TO few@'127.0.0.1'",
    )
    await execute_sql(reader, "SET sql_log_bin=0", *account)
    few = replace(reader, admin_user="few", admin_password="few")
    try:
        async with external(named(cluster, writer=writer, reader_1=few), may_create=True) as control:
            await fill_table(control, SCENARIO)
    finally:
        await execute_sql(reader, "SET sql_log_bin=0", "DROP USER few@'127.0.0.1'")
    assert await tables(writer) == []
    assert caplog.messages == [
        f"the database drill on writer, which this run created, is left: {ON_READER} the SQL account lacks EVENT, EXECUTE on "
        "the database, and so may not see what else is in it"
    ]


async def test_a_database_stays_whose_drop_takes_the_events_of_one_that_differs_in_case(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    writer = cluster.writer
    other = SCENARIO.model_copy(update={"table": SCENARIO.table.model_copy(update={"database": "Drill"})})
    await execute_sql(writer, "CREATE DATABASE drill", "CREATE PROCEDURE drill.one() SELECT 1")
    async with external(cluster, may_create=True) as control:
        await fill_table(control, other)
    assert "Drill" not in await databases(writer)
    assert len(await execute_sql(writer, "SHOW PROCEDURE STATUS WHERE db = 'drill'")) == 1
    await execute_sql(writer, "CREATE EVENT drill.daily ON SCHEDULE EVERY 1 DAY DO SELECT 1")
    try:
        async with external(cluster, may_create=True) as control:
            await fill_table(control, other)
        assert caplog.messages == [
            "the database Drill on writer, which this run created, is left: there is the event daily of drill "
            "(dropped with it) in it"
        ]
        assert len(await execute_sql(writer, "SHOW EVENTS FROM drill")) == 1
    finally:
        await execute_sql(writer, "DROP DATABASE IF EXISTS Drill")
