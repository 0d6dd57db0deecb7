"""`driver: sql`: the same operations, answers and errors as by HandlerSocket."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import pytest
import trio

import trio_hs
from hs_drill._cluster import Cluster, ClusterError
from hs_drill.controller._table import fill_table
from hs_drill.engine._binding import Numbers
from hs_drill.engine._bound_operations import Intent, bind
from hs_drill.engine._sql_client import SqlClient, open_sql_client
from hs_drill.scenario import ScenarioError, parse_scenario
from hs_drill.servers import Control, execute_sql, open_servers, require_load_account
from hs_drill.store import ANSWERED_WRITES, History
from hs_drill.workload import rows_of
from tests.loadtest.support.external import external, fill, load_rows
from tests.loadtest.support.locust_process import Locust
from tests.loadtest.support.sql_driver import LAYOUT, scenario
from tests.support.patience import patience, slowness

pytestmark = pytest.mark.mariadb


@pytest.fixture(autouse=True)
def _need_mysqlclient() -> None:
    if find_spec("MySQLdb") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have mysqlclient", pytrace=False)
        pytest.skip("mysqlclient is not installed")


@pytest.fixture
async def control(cluster: Cluster) -> AsyncIterator[Control]:
    """The tests' common servers, which nothing here may kill. The table is dropped at the end."""
    async with external(cluster, may_create=True) as control:
        await fill(control, scenario(), any_rows=True)
        yield control


@pytest.fixture
async def client(control: Control) -> AsyncIterator[SqlClient]:
    writer = control.cluster.writer
    async with open_sql_client([writer], [writer], 4, LAYOUT) as client:
        yield client


async def answers(table_of: Any, control: Control) -> list[Any]:
    """The answers of some operations, one after the other, and the rows afterwards."""
    rng = random.Random(1)
    bound = bind(table_of, scenario(), rows_of(scenario()), Numbers(scenario(), 1, 0))
    told: list[Any] = []
    for _ in range(300):
        name = rng.choice(list(bound))
        intent = Intent()
        intent.operation = bound[name].code
        intent.key = [rng.randint(1, 50) for _ in range(4)] if name == "get_many" else rng.randint(1, 50)
        try:
            answer = await bound[name].call(intent.key, intent)
        except trio_hs.OperationalError as error:
            told.append((name, type(error).__name__))
            continue
        observe = bound[name].observe
        seen = observe(intent.key, answer) if observe is not None else None
        told.append((name, bool(answer), len(answer) if isinstance(answer, list) else None, seen, intent.key, intent.value))
    rows = await execute_sql(control.cluster.writer, "SELECT * FROM drill.t ORDER BY id")
    return [*told, *rows]


async def test_both_drivers_do_the_same(control: Control, client: SqlClient) -> None:
    by_sql = await answers(client.table, control)
    await execute_sql(control.cluster.writer, "TRUNCATE drill.t")
    await load_rows(control, scenario())
    server = control.cluster.writer
    readers = [trio_hs.Server("inet", server.host, server.read_port, secret=server.read_secret)]
    writers = [trio_hs.Server("inet", server.host, server.write_port, secret=server.write_secret)]
    async with trio_hs.open_manager(readers, writers) as hs:
        by_handlersocket = await answers(hs.table, control)
    assert by_sql == by_handlersocket
    assert {name for name, *_ in by_sql[:300]} == set(scenario().weights)


async def test_errors_have_the_same_classes_as_handlersockets(control: Control, client: SqlClient) -> None:
    table = client.table("drill", "t", ["id", "grp", "n", "payload"])
    with pytest.raises(trio_hs.DuplicateKeyError, match="1062") as caught:
        await table.insert([1, 1, 0, "it's \\ there"])
    assert "there'" not in str(caught.value), "with values there would be a different message for each row"
    with pytest.raises(trio_hs.TableNotFoundError):
        await client.table("drill", "nowhere", ["id"]).get(1)
    await execute_sql(control.cluster.writer, "SET GLOBAL read_only=1")
    with pytest.raises(trio_hs.ReadOnlyError):
        await client.table("drill", "t", ["n"]).incr("=", [1], [1])
    await execute_sql(control.cluster.writer, "SET GLOBAL read_only=0")
    quoted = "it's \\ there"
    assert await client.table("drill", "t", ["payload"]).update("=", [1], [quoted]) == 1
    assert dict(await table.get(1))["payload"] == quoted.encode()
    assert await client.table("drill", "t", ["payload"]).update("=", [1], [quoted]) == 1, "matched, though nothing changes"
    assert await client.table("drill", "t", ["payload"]).update("=", [999], [quoted]) == 0


@pytest.fixture
async def pair() -> AsyncIterator[Control]:
    """A writer and its standby, with the table."""
    async with open_servers("mariadb", readers=0, standby=True) as control:
        await fill_table(control, scenario())
        yield control


async def test_errors_of_a_silent_and_of_a_dead_server_say_whether_the_write_was_applied(pair: Control) -> None:
    async with open_sql_client([pair.cluster.writer], [pair.cluster.writer], 4, LAYOUT) as client:
        await silent_then_dead(pair, client)


async def silent_then_dead(control: Control, client: SqlClient) -> None:
    table = client.table("drill", "t", ["n"])
    await table.incr("=", [1], [1])  # opens a connection, and prepares the statement
    await control.pause("writer")
    try:
        with pytest.raises(trio_hs.ConnectionError, match="no answer for 3 s") as caught:
            await table.incr("=", [1], [1])
        assert caught.value.maybe_applied
    finally:
        await control.resume("writer")
    with trio.fail_after(patience(10)):
        assert dict(await table.get(1))["n"] in (b"1", b"2")
    await control.kill("writer")
    with pytest.raises(trio_hs.ConnectionError):
        await table.get(1)
    with pytest.raises(trio_hs.ConnectionError) as caught:
        await table.incr("=", [1], [1])
    assert not caught.value.maybe_applied, "it was never sent"


async def test_a_cancelled_query_does_not_disturb_the_next(control: Control, client: SqlClient) -> None:
    table = client.table("drill", "t", ["id"])
    for _ in range(20):
        with trio.move_on_after(0.0005):
            await table.get(7)
        assert await table.get(8) == [("id", b"8")]


async def test_a_server_that_prepares_no_more_statements_gets_them_as_text(control: Control) -> None:
    writer = control.cluster.writer
    (before,) = await execute_sql(writer, "SELECT @@max_prepared_stmt_count AS most")
    try:
        await execute_sql(writer, "SET GLOBAL max_prepared_stmt_count = 0")
        async with open_sql_client([writer], [writer], 4, LAYOUT) as client:
            assert await client.table("drill", "t", ["payload"]).update("=", [7], ["? it's `there`?"]) == 1
            (row,) = await client.table("drill", "t", ["payload"], "grp").find("=", [2, 7])
            assert row == [("payload", b"? it's `there`?")]
    finally:
        await execute_sql(writer, f"SET GLOBAL max_prepared_stmt_count = {before['most']}")


async def test_operations_wait_for_one_of_the_connections(control: Control) -> None:
    writer = control.cluster.writer
    async with open_sql_client([writer], [writer], 2, LAYOUT) as client:
        table = client.table("drill", "t", ["id"])
        done = []

        async def work(key: int) -> None:
            done.append(await table.get(key))

        async with trio.open_nursery() as nursery:
            for key in range(1, 31):
                nursery.start_soon(work, key)
        assert len(done) == 30
        mine = f"SELECT COUNT(*) AS n FROM information_schema.processlist WHERE user = '{writer.load_user}'"
        (row,) = await execute_sql(writer, mine)
        assert row["n"] == 2


async def test_the_account_of_the_driver_has_the_rights_of_an_application(cluster: Cluster) -> None:
    for server in cluster.servers:
        account = replace(server, admin_user=server.load_user, admin_password=server.load_password)
        grants = [str(next(iter(row.values()))) for row in await execute_sql(account, "SHOW GRANTS")]
        assert [grant.partition(" TO ")[0] for grant in grants] == [
            "GRANT USAGE ON *.*",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON `drill`.*",
        ]


async def test_writes_move_only_after_a_promotion(pair: Control) -> None:
    writer, standby = pair.cluster.writer, pair.cluster.standby
    assert standby is not None

    async def payloads() -> list[Any]:
        """The payload of row 1 on each running server."""
        running = [server for server in (writer, standby) if pair.state(server.name) == "running"]
        return [(await execute_sql(server, "SELECT payload AS p FROM drill.t WHERE id = 1"))[0]["p"] for server in running]

    async with open_sql_client([writer], [writer, standby], 4, LAYOUT) as client:
        update = partial(client.table("drill", "t", ["payload"]).update, "=", [1])
        assert await update(["one"]) == 1
        await pair.stop("writer")
        for _ in range(3):  # the standby is asked each time
            with pytest.raises(trio_hs.ConnectionError):
                await update(["nobody takes this"])
        assert "nobody takes this" not in await payloads()
        await pair.start("writer")
        assert await update(["two"]) == 1
        await pair.wait_replicated()
        assert await payloads() == ["two", "two"]
        position = "SELECT @@gtid_binlog_pos AS p"
        assert (await execute_sql(writer, position)) == (await execute_sql(standby, position)), "the cluster is not split"

        await pair.kill("writer")
        await pair.promote("standby")
        with pytest.raises(trio_hs.ConnectionError):  # on the open connection: its outcome is unknown
            await update(["for the dead"])
        assert await update(["three"]) == 1
        assert await payloads() == ["three"]
        await pair.rejoin("writer")
        assert await update(["four"]) == 1
        await pair.wait_replicated()
        assert await payloads() == ["four", "four"]


ACCOUNTS = {
    "READ_ONLY ADMIN": ["GRANT SELECT, READ_ONLY ADMIN ON *.* TO app@'%'"],
    "SUPER": ["GRANT SUPER ON *.* TO app@'%'"],
    "ALL PRIVILEGES": ["GRANT ALL ON *.* TO app@'%'"],
    "READ_ONLY ADMIN, by a role": [
        "CREATE ROLE boss",
        "GRANT READ_ONLY ADMIN ON *.* TO boss",
        "GRANT boss TO app@'%'",
        "SET DEFAULT ROLE boss FOR app@'%'",
    ],
}


@pytest.mark.parametrize("beyond", ACCOUNTS)
async def test_an_account_that_read_only_does_not_stop_is_refused(control: Control, beyond: str) -> None:
    account = ["CREATE USER app@'%' IDENTIFIED BY 'p'", "GRANT SELECT, INSERT, UPDATE, DELETE ON drill.* TO app@'%'"]
    writer = replace(control.cluster.writer, load_user="app", load_password="p")
    check = partial(require_load_account, [writer], "writer", ("drill", "t"), alone=False)
    try:
        await execute_sql(writer, *account)
        await check()
        await execute_sql(writer, *ACCOUNTS[beyond])
        with pytest.raises(
            ClusterError, match=f"may write in spite of read_only, for it has {beyond.partition(',')[0]}: give the load"
        ):
            await check()
    finally:
        await execute_sql(writer, "DROP USER app@'%'", "DROP ROLE IF EXISTS boss")


async def test_a_standby_must_stop_the_account(control: Control) -> None:
    writer, reader = control.cluster.servers
    standby = replace(reader, name="standby")
    check = partial(require_load_account, [writer, standby], "writer", ("drill", "t"), alone=False)
    await control.wait_replicated()
    await check()
    try:
        await execute_sql(standby, "SET GLOBAL read_only=0")
        with pytest.raises(ClusterError, match="standby takes writes although writer is the primary"):
            await check()
        await execute_sql(standby, "SET GLOBAL read_only=1")
        nobody = replace(standby, load_user="")
        with pytest.raises(ClusterError, match="standby: driver: sql needs an account of its own"):
            await require_load_account([writer, nobody], "writer", ("drill", "t"), alone=False)
        # Granted to PUBLIC, so no account's grants show it. The server's answer does.
        await execute_sql(standby, "SET sql_log_bin=0", "GRANT READ_ONLY ADMIN ON *.* TO PUBLIC")
        with pytest.raises(ClusterError, match=r"standby: .*read_only"):
            await check()
    finally:
        await execute_sql(standby, "SET GLOBAL read_only=1", "SET sql_log_bin=0", "REVOKE READ_ONLY ADMIN ON *.* FROM PUBLIC")


FAILOVER = """\
name: failover
cluster: {kind: mariadb, readers: 1, standby: true, replication: semisync}
driver: sql
table: {rows: 50, groups: 5, value_size: 30}
load: {users: 4, think_time: 40ms, duration: 10m}
mix: {get: 4, insert: 2, incr: 2, update: 2, delete: 1}
expect: {lost: 0, applied_twice: 0, replicas_agree: true}
"""


def schedule() -> str:
    """Each fault is over, however slow the machine is, before the next one that needs that."""
    unit = slowness()
    restart, kill, promote, rejoin = (f"{at * unit:.1f}s" for at in (1, 5, 6, 10))
    return f"""\
faults:
- {{fault: restart, target: writer, at: {restart}}}
- {{fault: kill, target: writer, at: {kill}}}
- {{fault: promote, target: standby, at: {promote}}}
- {{fault: rejoin, target: writer, at: {rejoin}}}
"""


def test_a_restart_and_a_failover_by_sql_lose_no_write_and_split_no_cluster() -> None:
    with Locust("--headless", "--only-summary", "-t", "0", scenario=FAILOVER + schedule()) as locust:
        locust.wait_for("fault over: rejoin writer")
        locust.interrupt()
        assert locust.finish() == 0, locust.describe()
        told = json.loads((locust.run / "result.json").read_text())
        assert told["primary"] == "standby"
        assert told["operations"]["all"]["failed"]["count"] > 0, "the faults struck"
        assert "HandlerSocket" not in "".join(fault["note"] for fault in told["faults"])
        history = History(locust.run / "history-0.bin")
        history.read_through()
        assert {event.name for event in history.events if event.kind == ANSWERED_WRITES} == {"writer", "standby"}


@pytest.mark.parametrize(
    "more, expected",
    [
        ("driver: sqll", "driver: must be 'handlersocket' or 'sql', not the text 'sqll'; did you mean sql?"),
        ("driver: {name: sql, connections: 0}", "driver.connections: must be 1 or more, not 0"),
        (
            "driver: sql\nfaults: [{fault: writer-lock, target: writer, at: 1s}]",
            "faults.0.fault: writer-lock strikes between HandlerSocket and its clients, and does not affect",
        ),
        (
            "driver: sql\nfaults: [{fault: latency, target: writer, at: 1s, delay: 1s, listener: read}]",
            "faults.0.listener: must be both, not read: `driver: sql` reads and writes on one port",
        ),
        (
            "driver: sql\nexpect: {errors: {RecoverableConnectionError: 0}}",
            "expect.errors.RecoverableConnectionError: cannot happen with `driver: sql`",
        ),
    ],
)
def test_mistakes(more: str, expected: str) -> None:
    with pytest.raises(ScenarioError, match=re.escape(expected)):
        parse_scenario(f"name: x\nmix: {{get: 1}}\n{more}\n", "s.yaml")
