"""Tables that exist: what is read of them, and what is refused. (Putting rows back: test_restore.py.)"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import trio

from hs_drill._cluster import Cluster, ClusterError
from hs_drill.cli._check import main as check
from hs_drill.controller import check_existing
from hs_drill.controller._existing import use_existing
from hs_drill.controller._servers import open_scenario_servers
from hs_drill.scenario import ScenarioError
from hs_drill.servers import first_rows
from hs_drill.servers._sql import execute_sql
from tests.loadtest.support.restoring import TABLE, WRITES, create, create_filled, scenario_on
from tests.loadtest.support.users_table import servers_option

pytestmark = pytest.mark.mariadb

READ = "name: r\ntable: {existing: true, database: mine, name: t}\nmix: {get: 1}\n"


@pytest.mark.parametrize(
    "statement, refused",
    [
        ("CREATE VIEW mine.t AS SELECT 1 AS id", "is a view: opening one through HandlerSocket crashes the server"),
        ("CREATE TABLE mine.t (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 4", "is partitioned"),
        ("CREATE TABLE mine.t (id INT PRIMARY KEY, b BLOB, UNIQUE KEY u (b))", "has the UNIQUE key u of unlimited length"),
        ("CREATE TABLE mine.t (id INT)", "has no primary key of whole columns"),
        ("CREATE TABLE mine.t (id TEXT, PRIMARY KEY (id(20)))", "it covers a prefix of id"),
        ("CREATE TABLE mine.t (id FLOAT PRIMARY KEY)", "its primary key has id, a float, by which no row is found exactly"),
        (
            "CREATE TABLE mine.t (id INT PRIMARY KEY) WITH SYSTEM VERSIONING",
            "HandlerSocket finds also what rows of it held before",
        ),
        ("CREATE TABLE mine.u (id INT PRIMARY KEY)", "there is no table mine.t on writer that the SQL account may see"),
    ],
)
async def test_a_table_that_cannot_be_read_is_refused_in_a_line(mine: Cluster, statement: str, refused: str) -> None:
    await execute_sql(mine.writer, statement)
    with pytest.raises((ClusterError, ScenarioError), match=re.escape(refused)) as caught:
        await check_existing(scenario_on(mine, READ), mine.writer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "columns, more, refused",
    [
        (TABLE, "CREATE TRIGGER mine.tr BEFORE UPDATE ON mine.t FOR EACH ROW SET NEW.n = 1", "it has triggers (tr)"),
        (f"{TABLE}, twice INT AS (n * 2) STORED", "", "the server computes twice and stores it"),
        (f"{TABLE}, half INT AS (n / 2) VIRTUAL", "", "mix.insert: cannot insert: the server computes half"),
        (TABLE.replace("id BIGINT", "id TIMESTAMP"), "", "id, in its primary key, depends on the time zone"),
        (f"{TABLE}, UNIQUE KEY one (name)", "", "mix.rename: cannot change name: it is in the unique index one"),
        (
            f"{TABLE}, KEY k (n)",
            "CREATE TABLE mine.child (n INT, FOREIGN KEY (n) REFERENCES mine.t (n)) ENGINE=InnoDB",
            "mix.count: cannot change n: it is what a foreign key refers to in mine.child",
        ),
        (
            TABLE,
            "CREATE TABLE mine.items (of BIGINT, FOREIGN KEY (of) REFERENCES mine.t (id) ON DELETE CASCADE) ENGINE=InnoDB",
            "mix.insert: cannot insert: id is what a foreign key refers to in mine.items",
        ),
        (
            f"{TABLE}, parent BIGINT, FOREIGN KEY (parent) REFERENCES mine.t (id)",
            "",
            "mix.insert: cannot insert: parent is a foreign key to mine.t",
        ),
        (
            f"{TABLE}, half INT AS (n / 2) VIRTUAL, KEY h (half)",
            "",
            "table.writes: cannot be allowed: an index covers half, which",
        ),
        (TABLE.replace("NOT NULL PRIMARY", "NOT NULL AUTO_INCREMENT PRIMARY"), "", "id is AUTO_INCREMENT, which would go on"),
        (f"{TABLE}, place POINT NULL", "", "mix.insert: cannot insert: column place (point) is left out"),
    ],
)
async def test_writes_that_could_not_be_taken_back_are_refused(mine: Cluster, columns: str, more: str, refused: str) -> None:
    await create(mine, columns, *filter(None, [more]))
    with pytest.raises((ClusterError, ScenarioError), match=re.escape(refused)):
        await check_existing(scenario_on(mine), mine.writer)


ACCOUNT = "CREATE USER someone@'%' IDENTIFIED BY 'x'"
ITS_CHILD = "CREATE TABLE other.child (id BIGINT, FOREIGN KEY (id) REFERENCES mine.t (id)) ENGINE=InnoDB"


async def test_what_the_account_cannot_see_is_refused_for_writes_and_not_for_reads(mine: Cluster) -> None:
    """SELECT alone shows no triggers, nor the foreign keys of tables that the account may not use."""
    trigger = "CREATE TRIGGER mine.tr BEFORE UPDATE ON mine.t FOR EACH ROW SET NEW.n = 1"
    await create(mine, TABLE, trigger, "CREATE DATABASE other", ITS_CHILD, ACCOUNT, "GRANT SELECT ON mine.* TO someone@'%'")
    account = dataclasses.replace(mine.writer, admin_user="someone", admin_password="x")

    async def refused(*granted: str) -> str:
        await execute_sql(mine.writer, "DO 1", *granted)
        with pytest.raises(ScenarioError) as caught:
            await check_existing(scenario_on(mine), account)
        return str(caught.value)

    try:
        await check_existing(scenario_on(mine, READ), account)
        hidden = "table.writes: cannot be allowed: whether it has triggers cannot be seen: GRANT TRIGGER ON mine.t TO the SQL"
        assert hidden in await refused()
        assert hidden in await refused("GRANT TRIGGER ON `m%`.* TO someone@'%'"), "the server takes the grant on mine.* alone"
        assert "it has triggers (tr)" in await refused("GRANT TRIGGER ON mine.t TO someone@'%'")
        assert "cannot be seen without the privilege PROCESS" in await refused("DROP TRIGGER mine.tr")
        await refused("CREATE ROLE seer", "GRANT TRIGGER ON mine.* TO seer", "REVOKE TRIGGER ON mine.t FROM someone@'%'")
        found = await refused(
            "GRANT seer TO someone@'%'", "SET DEFAULT ROLE seer FOR someone@'%'", "GRANT PROCESS ON *.* TO someone@'%'"
        )
        assert "table.writes" not in found
        assert "mix.insert: cannot insert: id is what a foreign key refers to in other.child" in found
    finally:
        await execute_sql(mine.writer, "DROP DATABASE other", "DROP USER someone@'%'", "DROP ROLE IF EXISTS seer")


async def test_check_shows_the_table_and_what_the_run_changes_or_the_lines_of_mistakes(
    mine: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await create_filled(mine)
    await execute_sql(mine.writer, "ANALYZE TABLE mine.t")
    path = tmp_path / "mine.yaml"

    async def checked(text: str) -> int:
        path.write_text(text)
        return await trio.to_thread.run_sync(check, [str(path), "--servers", servers_option(mine)])

    assert await checked(WRITES) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "mine.t, which exists with about 1,2" in shown
    assert "ALLOWED: THE RUN CHANGES NAME, N AND INSERTS ROWS OF ITS OWN IN A TABLE THAT EXISTS" in shown
    await execute_sql(mine.writer, "ALTER TABLE mine.t DROP other, ADD other DATETIME ON UPDATE CURRENT_TIMESTAMP")
    sql = WRITES.replace("other: {values: 1}", "other: {values: now}")
    for driver, changes in (("handlersocket", "NAME, N AND"), ("sql", "NAME, N, OTHER AND")):
        assert await checked(f"{sql}driver: {driver}\n") == 0
        assert f"THE RUN CHANGES {changes} INSERTS" in " ".join(capsys.readouterr().out.split())
    assert await checked(READ) == 0
    assert "writes none: the run reads, and changes nothing" in " ".join(capsys.readouterr().out.split())
    assert await checked(WRITES.replace("n: {values: 0}", "n: {type: bigint, values: 0}")) == 2
    assert f"{path}:2: table.columns.n.type: is int(11) there, not bigint: leave it out" in capsys.readouterr().err
    await execute_sql(mine.writer, "CREATE TRIGGER mine.tr BEFORE UPDATE ON mine.t FOR EACH ROW SET NEW.n = 1")
    assert await checked(WRITES) == 2
    assert f"{path}:2: table.writes: cannot be allowed: it has triggers (tr)" in capsys.readouterr().err


async def test_rows_with_odd_values_keep_no_table_from_being_read(mine: Cluster) -> None:
    await create(mine, "id INT PRIMARY KEY, kind ENUM('new', 'paid') NOT NULL, at DATETIME NOT NULL, KEY k (kind, at)")
    odd = "INSERT INTO mine.t VALUES (1, 'new', '0000-00-00 00:00:00')"
    await execute_sql(mine.writer, "SET SESSION sql_mode = ''", odd, "INSERT INTO mine.t VALUES (2, 'paid', '2024-01-01')")
    scenario = scenario_on(mine, READ.replace("get: 1", "paid: {do: find, index: k, by: [kind, at], weight: 1}"))
    said: list[str] = []
    async with open_scenario_servers(scenario, said.append, handlersocket_writes=False) as control:
        existing = await use_existing(control, scenario, said.append)
    assert existing.sample.values["id"] == [b"2"]
    assert "mine.t has 2 rows, of which the load uses 1; 1 have values that cannot be sent" in said
    large = dataclasses.replace(existing.live, row_bytes=30_000_000)
    assert first_rows(mine.writer, large, 1000)["id"] == [1, 2], "one at each end, not a gigabyte"


async def test_what_a_scenario_cannot_have_is_left_out_with_a_line_each(mine: Cluster) -> None:
    await create(mine, f"{TABLE}, place POINT NULL, `two words` INT NULL, KEY p (name(5)), KEY w (`two words`), KEY good (n)")
    found, live = await check_existing(scenario_on(mine, READ), mine.writer)
    assert list(found.table.columns) == ["id", "name", "n", "other"]
    assert dict(found.table.indexes) == {"good": ["n"]}
    assert [line.partition(":")[0] for line in live.left_out] == [
        "column place (point) is left out",
        "column two words (int(11)) is left out",
        "index p is left out",
        "index w is left out",
    ]
