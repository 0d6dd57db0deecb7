"""Rows that hardly can be put back: each is put back, refused before the run writes, or counted, and stops no other."""

from __future__ import annotations

from typing import Any

import pytest
from pymysql.connections import Connection

from hs_drill._cluster import Cluster, ClusterError
from hs_drill.servers._sql import connect_sql, execute_sql
from hs_drill.workload import insert_keys
from tests.loadtest.support.external import all_applied
from tests.loadtest.support.restoring import (
    ROWS,
    TABLE,
    WRITES,
    begun,
    create,
    create_filled,
    put_back,
    rows,
    scenario_on,
    scenario_on_every_server,
    unlogged,
)

pytestmark = pytest.mark.mariadb


async def test_a_row_that_cannot_be_put_back_stops_no_other(mine: Cluster) -> None:
    """HandlerSocket evaluates no CHECK, so rows may violate one; and a table may have got a foreign key since."""
    await create(mine, f"{TABLE}, doc JSON NULL")
    bad = "SET SESSION check_constraint_checks = 0"
    await execute_sql(mine.writer, bad, "INSERT INTO mine.t SELECT seq, 'a', seq, 7, 'not JSON' FROM mine.seq_1_to_20")
    await all_applied(mine)
    before = await rows(mine)
    scenario = scenario_on_every_server(mine, WRITES.replace("other: {values: 1}", "other: {values: 1}, doc: {values: null}"))
    directory, _ = await begun(scenario, [])
    await unlogged(mine, bad, "UPDATE mine.t SET n = -1")
    own = insert_keys(1)
    await execute_sql(
        mine.writer,
        f"INSERT INTO mine.t VALUES ({own[0]}, 'a', 1, 1, NULL), ({own[1]}, 'b', 1, 1, NULL), ({own[2]}, 'c', 1, 1, NULL)",
        "CREATE TABLE mine.child (id BIGINT, FOREIGN KEY (id) REFERENCES mine.t (id)) ENGINE=InnoDB",
        f"INSERT INTO mine.child VALUES ({own[1]})",
    )
    restored = await put_back(directory, scenario)
    assert (restored.changed, restored.deleted, restored.refused, restored.again) == (20, 2, 1, 0)
    assert restored.refusal.startswith("SQL error 1451: Cannot delete or update a parent row")
    assert (await rows(mine))[:-1] == before == (await rows(mine, 1))[:-1]


async def test_a_row_whose_key_has_other_letters_now_is_put_back(mine: Cluster) -> None:
    text = "CHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL"
    await create(mine, f"part BIT(9) NOT NULL, id {text}, n INT NOT NULL, PRIMARY KEY (part, id)")
    await execute_sql(mine.writer, "INSERT INTO mine.t SELECT seq % 512, CONCAT('É', seq), seq FROM mine.seq_1_to_1100")
    scenario = scenario_on(
        mine,
        "name: mine\ntable: {existing: true, writes: allowed, database: mine, name: t, "
        "columns: {n: {values: 0}}}\nmix: {get: 1, count: {do: incr, column: n, weight: 1}}\n",
    )
    before = [(*row[:1], row[1].lower(), *row[2:]) if row[2] < 40 else row for row in await rows(mine)]
    directory, _ = await begun(scenario, [])
    await execute_sql(
        mine.writer,
        "UPDATE mine.t SET n = -n",
        "UPDATE mine.t SET id = LOWER(id) WHERE n > -40",
        "DELETE FROM mine.t WHERE n = -7",
    )
    restored = await put_back(directory, scenario)
    assert (restored.changed, restored.same, restored.gone, restored.again) == (1099, 0, 1, 0)
    assert await rows(mine) == [row for row in before if row[2] != 7]


async def test_a_row_costs_no_round_trip(mine: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    await create_filled(mine)
    before = await rows(mine)
    scenario = scenario_on(mine)
    directory, _ = await begun(scenario, [])
    first = insert_keys(1)[0]
    inserted = f"INSERT INTO mine.t SELECT {first} + seq, 'a', 1, 1 FROM mine.seq_1_to_500"
    await execute_sql(mine.writer, "UPDATE mine.t SET n = -1", inserted)
    sent = list[bytes]()
    send: Any = getattr(Connection, "_write_bytes")  # noqa: B009  (it has no type)

    def counting(self: Any, data: bytes) -> None:
        sent.append(data)
        send(self, data)

    monkeypatch.setattr(Connection, "_write_bytes", counting)
    restored = await put_back(directory, scenario)
    assert (restored.changed, restored.deleted, restored.again) == (ROWS, 500, 0)
    assert len(sent) < (ROWS + 500) / 4
    assert await rows(mine) == before


async def test_a_row_that_somebody_keeps_locked_ends_it_until_another_attempt(mine: Cluster) -> None:
    await create_filled(mine)
    before = await rows(mine)
    scenario = scenario_on(mine)
    directory, _ = await begun(scenario, [])
    await execute_sql(mine.writer, "UPDATE mine.t SET n = -1", "SET GLOBAL innodb_lock_wait_timeout = 1")
    with connect_sql(mine.writer, autocommit=False) as locking:
        locking.cursor().execute("SELECT * FROM mine.t WHERE id = 2400 FOR UPDATE")
        with pytest.raises(ClusterError, match=r"SQL error 1205: .*\. What was put back until then stays so: restore again"):
            await put_back(directory, scenario)
    await execute_sql(mine.writer, "SET GLOBAL innodb_lock_wait_timeout = 50")
    assert [row for row in await rows(mine) if row[2] != -1] == before[:1000]
    assert (await put_back(directory, scenario)).changed == ROWS - 1000
    assert await rows(mine) == before


async def test_a_row_too_large_for_the_statement_that_puts_it_back_is_refused_before_the_run(mine: Cluster) -> None:
    await create(
        mine, "id BIGINT NOT NULL PRIMARY KEY, body LONGTEXT NOT NULL", "INSERT INTO mine.t VALUES (5, REPEAT('a', 400000))"
    )
    await execute_sql(mine.writer, "SET GLOBAL max_allowed_packet = 1048576")
    scenario = scenario_on(
        mine,
        "name: mine\ntable: {existing: true, writes: allowed, database: mine, name: t, "
        "columns: {body: {values: {text: 5}}}}\nmix: {get: 1, change: {do: update, set: [body], weight: 1}}\n",
    )
    try:
        directory, _ = await begun(scenario, [])
        await execute_sql(mine.writer, "UPDATE mine.t SET body = 'b'")
        assert (await put_back(directory, scenario)).changed == 1
        await execute_sql(mine.writer, "UPDATE mine.t SET body = REPEAT('a', 600000)")
        with pytest.raises(
            ClusterError, match=r"the row \(5\) of .* too large .* max_allowed_packet is 1,048,576\. .* change body\."
        ):
            await begun(scenario, [])
    finally:
        await execute_sql(mine.writer, "SET GLOBAL max_allowed_packet = 16777216")
