"""What a user's own servers say of themselves before a run, and which privileges the account has. Nothing is written."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import pymysql
import pytest
import trio

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill.controller._table import fill_table
from hs_drill.servers import Answers, Privilege, ask_servers, grants, needed_by_load, needed_privileges, primaries, to_grant
from hs_drill.servers._privileges import lacks_privilege
from hs_drill.servers._replication import wait_for_acknowledgements, wait_replicated
from hs_drill.servers._replication_check import check_replication
from hs_drill.servers._sql import execute_sql
from hs_drill.servers._table_checks import has_table
from hs_drill.servers._topology import SECONDS, _Asking, ask_by_sql
from tests.loadtest.support.external import SCENARIO, TABLE, all_applied, external, gtids, without_sql
from tests.support.patience import patience

FEW = "few@'127.0.0.1'"
DRILL = ("drill", "t")
SERVER = Server("writer", "db1", 9998, 9999, "r", "w", sql_port=3306, admin_user="few", admin_password="few")


def needed_on(server: Server, *, creates: bool = True) -> Sequence[Privilege]:
    writer = server.name == "writer"
    return needed_privileges(marked=writer, loaded=writer, creates=creates, table=DRILL)


async def asked(servers: Sequence[Server], *, creates: bool = True) -> dict[str, Answers]:
    answers = await ask_servers(servers, {server.name: needed_on(server, creates=creates) for server in servers})
    return {one.name: one for one in answers}


# --- By hand-written answers ------------------------------------------------------------------------------------------


class Session:
    """Answers queries by what they begin with: with rows, or with an error."""

    def __init__(self, **answers: Sequence[Mapping[str, Any]] | Exception) -> None:
        self._answers = {name.replace("_", " "): answer for name, answer in answers.items()}
        self._rows: Sequence[Mapping[str, Any]] = ()
        self.queries: list[str] = []

    def execute(self, query: str) -> None:
        self.queries.append(query)
        found = next((answer for name, answer in self._answers.items() if query.startswith(name)), ())
        if isinstance(found, Exception):
            raise found
        self._rows = found

    def fetchall(self) -> Sequence[Mapping[str, Any]]:
        return self._rows


ACCOUNT = [{"account": "few@db2"}]
READ_ONLY = [{"Variable_name": "read_only", "Value": "ON"}, {"Variable_name": "server_id", "Value": "2"}]
REPLICA = [
    {
        "Connection_name": "",
        "Master_Host": "db1",
        "Master_Port": 3306,
        "Master_Server_Id": 1,
        "Slave_IO_Running": "Connecting",
        "Slave_SQL_Running": "Yes",
        "Using_Gtid": "Slave_Pos",
        "Seconds_Behind_Master": None,
        "Last_IO_Error": "error connecting to master",
    }
]
LOST = pymysql.OperationalError(2013, "Lost connection to MySQL server during query")
KILLED = pymysql.OperationalError(1927, "Connection was killed")
DENIED = pymysql.OperationalError(1227, "Access denied; you need (at least one of) the SUPER, SLAVE MONITOR privilege(s)")


def answers_of(session: Session, *needed: Privilege) -> Answers:
    asking = _Asking(Answers(SERVER), lambda answers: None)
    with asking.noting_loss():
        asking.ask_all(session, needed)
    return asking.answers


MONITOR = Privilege("SLAVE MONITOR", "to see what it replicates from")
INSERT = Privilege("INSERT", "to load the rows", "drill", "t")


def test_a_server_says_what_it_is() -> None:
    session = Session(SELECT_CURRENT=ACCOUNT, SHOW_GLOBAL_VARIABLES=READ_ONLY, SHOW_ALL=REPLICA)
    found = answers_of(session, MONITOR)
    assert (found.trouble, found.account, found.lacking, found.unknown) == ("", "few@db2", (), {})
    assert (found.asked, found.takes_writes, found.is_primary) == (True, False, False)
    assert found.sources is not None
    (source,) = found.sources.values()
    assert (source.address, source.server_id, source.gtid, source.lag) == ("db1:3306", 1, "Slave_Pos", None)
    assert source.trouble == "IO thread Connecting, SQL thread Yes; error connecting to master"


def test_a_denied_question_is_a_missing_privilege_and_the_others_are_asked_all_the_same() -> None:
    session = Session(SELECT_CURRENT=ACCOUNT, SHOW_GLOBAL_VARIABLES=READ_ONLY, SHOW_ALL=DENIED)
    found = answers_of(session, MONITOR, INSERT)
    assert found.lacking == (MONITOR,)
    assert (found.trouble, found.sources) == ("", None), "what it replicates from is not known, and it may be a primary"
    assert session.queries[-1].startswith("EXPLAIN INSERT INTO `drill`.`t`")


def test_an_account_that_need_not_see_what_a_server_replicates_from_is_not_asked_for_that() -> None:
    """As that of `driver: sql`, which has the rights of an application."""
    session = Session(SELECT_CURRENT=ACCOUNT, SHOW_GLOBAL_VARIABLES=READ_ONLY, SHOW_ALL=DENIED)
    found = answers_of(session, INSERT)
    assert (found.trouble, found.sources, found.unknown) == ("", None, {})


@pytest.mark.parametrize("error, number", [(LOST, 2013), (KILLED, 1927)])
def test_a_lost_connection_says_nothing_about_privileges(error: Exception, number: int) -> None:
    session = Session(SELECT_CURRENT=ACCOUNT, SHOW_GLOBAL_VARIABLES=READ_ONLY, EXPLAIN=error)
    found = answers_of(session, MONITOR, INSERT)
    assert found.trouble.startswith(
        f"the connection to SQL at db1:3306 was lost when it was asked for the privilege INSERT ({number}: "
    )
    assert found.lacking == ()
    assert found.asked, "what it said before is known"
    assert found.sources is None, "it was not asked for that any more"


def test_an_error_that_is_neither_is_told_as_it_is() -> None:
    error = pymysql.OperationalError(1290, "The MariaDB server is running with the --read-only option")
    found = answers_of(Session(SELECT_CURRENT=ACCOUNT, SHOW_GLOBAL_VARIABLES=READ_ONLY, EXPLAIN=error), INSERT, MONITOR)
    said = "SQL error 1290: The MariaDB server is running with the --read-only option"
    assert (found.lacking, found.unknown, found.trouble) == ((), {"the privilege INSERT": said}, "")
    assert found.sources == {}


@pytest.mark.parametrize(
    "privilege, code, message, lacks",
    [
        ("DROP", 1142, "CREATE, DROP command denied to user 'few'@'%' for table `drill`.`x`", True),
        ("DROP", 1142, "CREATE command denied to user 'DROP'@'%' for table `DROP`.`x`", False),
        ("LOCK TABLES", 1044, "Access denied for user 'few'@'%' to database 'drill'", True),
        ("LOCK TABLES", 1142, "SELECT command denied to user 'few'@'%' for table `drill`.`x`", False),
        ("EXECUTE", 1305, "PROCEDURE drill.x does not exist", False),
        ("INSERT", 1146, "Table 'drill.t' doesn't exist", False),
        ("INSERT", 1364, "Field 'id' doesn't have a default value", False),
    ],
)
def test_an_error_of_a_probe_is_about_its_own_privilege_only(privilege: str, code: int, message: str, lacks: bool) -> None:
    one = Privilege(privilege, "", "drill")
    error = pymysql.OperationalError(code, message)
    assert lacks_privilege(Session(**{one.probe.split()[0]: error}), one) is lacks


def test_grants_name_all_that_a_database_needs_and_of_global_ones_what_is_missing() -> None:
    needed = needed_privileges(marked=True, loaded=True, creates=False, table=("my_db", "t"))
    lacking = [one for one in needed if one.name in ("PROCESS", "INSERT")]
    assert grants("odd`user@10.0.%", to_grant(lacking, needed)) == [
        "GRANT PROCESS ON *.* TO `odd``user`@`10.0.%`",
        r"GRANT SELECT, INSERT ON `my\_db`.* TO `odd``user`@`10.0.%`",
    ], "a grant on a database hides those on a pattern of databases"


def test_a_server_that_nobody_can_ask_is_not_asked() -> None:
    async def ask() -> list[Answers]:
        no_listener = replace(SERVER, host="127.0.0.1", read_port=1, write_port=0, sql_port=None)
        return await ask_servers([no_listener, replace(no_listener, name="reader-1", sql_port=1, admin_user="")], {})

    first, second = trio.run(ask)
    assert (first.trouble, first.asked, first.is_primary) == ("its sql_port is not known", False, False)
    assert second.trouble.startswith("SQL at 127.0.0.1:1 needs an account, and none is given (sql_user")
    assert "cannot be reached" in first.listeners["read"]


@contextmanager
def silent() -> Iterator[int]:
    """The port of a listener that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_a_server_that_is_silent_is_given_up_after_a_few_seconds(autojump_clock: trio.testing.MockClock) -> None:
    with silent() as port:
        begin = trio.current_time()
        mute = replace(SERVER, host="127.0.0.1", read_port=port, write_port=port, sql_port=port)
        (found,) = await ask_servers([mute], {"writer": [MONITOR]})
        assert trio.current_time() - begin <= SECONDS
    assert found.trouble == f"SQL at 127.0.0.1:{port} did not answer within 5 s"
    assert found.listeners == {"read": "did not answer within 5 s", "write": "did not answer within 5 s"}
    assert (found.lacking, found.asked) == ((), False)


def test_a_server_that_refuses_connections_is_told_from_one_that_refuses_the_account() -> None:
    with silent() as port:
        pass  # it is closed now
    reports: list[Answers] = []
    ask_by_sql(replace(SERVER, host="127.0.0.1", sql_port=port), [], reports.append)
    assert reports[-1].trouble.startswith(f"SQL at 127.0.0.1:{port} cannot be reached (2003: ")


# --- On real servers --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def account(cluster: Cluster, *statements: str) -> AsyncIterator[list[Server]]:
    """The servers, with an account that has no more than the statements grant."""
    await execute_sql(cluster.writer, f"CREATE USER {FEW} IDENTIFIED BY 'few'", *statements)
    try:
        await wait_replicated(cluster, patience(10))
        yield [replace(server, admin_user="few", admin_password="few") for server in cluster.servers]
    finally:
        await execute_sql(cluster.writer, f"DROP USER {FEW}")
        await wait_replicated(cluster, patience(10))


async def missing_grants(servers: Sequence[Server], *, creates: bool = True) -> list[str]:
    """The statements that the check prints for what is missing, on the writer and on the reader."""
    found = (await asked(servers, creates=creates)).values()
    assert [one.trouble for one in found] == [""] * len(servers)
    return [
        statement
        for one in found
        for statement in grants(one.account, to_grant(one.lacking, needed_on(one.server, creates=creates)))
    ]


@pytest.mark.mariadb
async def test_with_exactly_the_grants_that_it_prints_a_run_has_all_that_it_asks_for(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_replication, "__defaults__", (0.2,))  # HandlerSocket's writes do not replicate here
    async with account(cluster) as servers:
        statements = await missing_grants(servers)
        assert statements[:2] == [
            "GRANT PROCESS, SLAVE MONITOR, BINLOG MONITOR ON *.* TO `few`@`127.0.0.1`",
            "GRANT SELECT, INSERT, CREATE, DROP, LOCK TABLES, EVENT, EXECUTE ON `drill`.* TO `few`@`127.0.0.1`",
        ]
        await execute_sql(cluster.writer, *statements[:2])
        await wait_replicated(cluster, patience(10))
        assert await missing_grants(servers) == []

        told: list[str] = []
        async with external(replace(cluster, servers=tuple(servers)), may_create=True, tell=told.append) as control:
            await control.require_primary()
            await fill_table(control, SCENARIO, told.append)
            assert any(line.startswith("writer's binary log: ") for line in told)
            assert await control.why_primary_unknown() == ""
            await control.wait_replicated(patience(10))
            for server in servers:
                assert len(await control.read_rows(server.name, TABLE)) == 50
        assert not caplog.messages, "all that was created is dropped"
        await all_applied(cluster)


@pytest.mark.mariadb
async def test_each_privilege_that_is_missing_is_named_and_no_other(cluster: Cluster) -> None:
    writer_needs, reader_needs = (needed_on(server) for server in cluster.servers)
    everything = grants("few@127.0.0.1", to_grant(writer_needs, writer_needs))
    async with account(cluster, *everything) as servers:
        for privilege in writer_needs:
            grant = f"{privilege.name} ON {privilege.scope}"
            await execute_sql(cluster.writer, f"REVOKE {grant} FROM {FEW}")
            await wait_replicated(cluster, patience(10))
            found = await asked(servers)
            assert found["writer"].lacking == (privilege,)
            assert [one.name for one in found["reader-1"].lacking] == [
                one.name for one in reader_needs if one.name == privilege.name
            ]
            assert [one.unknown for one in found.values()] == [{}, {}]
            await execute_sql(cluster.writer, f"GRANT {grant} TO {FEW}")


@pytest.mark.mariadb
async def test_grants_on_a_table_by_a_role_and_on_a_pattern_count(cluster: Cluster) -> None:
    """And where a grant on the database hides one on a pattern, the printed one has it."""
    monitors = "PROCESS, SLAVE MONITOR, BINLOG MONITOR"
    role = ("CREATE ROLE seer", f"GRANT {monitors} ON *.* TO seer", f"GRANT seer TO {FEW}", f"SET DEFAULT ROLE seer FOR {FEW}")
    async with account(cluster, *role) as servers:
        try:
            await execute_sql(cluster.writer, f"GRANT SELECT, INSERT ON `dr%`.* TO {FEW}")
            await wait_replicated(cluster, patience(10))
            assert await missing_grants(servers, creates=False) == []
            await execute_sql(cluster.writer, f"GRANT INSERT ON drill.* TO {FEW}")
            await wait_replicated(cluster, patience(10))
            (statement, of_reader) = await missing_grants(servers, creates=False)
            assert statement == "GRANT SELECT, INSERT ON `drill`.* TO `few`@`127.0.0.1`"
            assert of_reader == "GRANT SELECT ON `drill`.* TO `few`@`127.0.0.1`"
            await execute_sql(cluster.writer, statement)
            await wait_replicated(cluster, patience(10))
            assert await missing_grants(servers, creates=False) == []
        finally:
            await execute_sql(cluster.writer, "DROP ROLE seer")


@pytest.mark.mariadb
async def test_the_database_that_clients_write_through_needs_select(cluster: Cluster) -> None:
    needed = needed_privileges(marked=True, loaded=True, creates=False, table=DRILL, twin="drill_wt")
    twin = next(one for one in needed if one.database == "drill_wt")
    monitors = "GRANT PROCESS, SLAVE MONITOR, BINLOG MONITOR ON *.* TO"
    async with account(cluster, f"{monitors} {FEW}", f"GRANT SELECT, INSERT ON drill.* TO {FEW}") as (writer, _):
        made = ("SET sql_log_bin=0", "CREATE DATABASE drill_wt", f"CREATE TABLE drill_wt.t ({TABLE.columns_sql()})")
        await execute_sql(cluster.writer, *made)
        try:
            assert not await has_table(writer, TABLE, "drill_wt"), "a run says that there is none"
            (found,) = await ask_servers([writer], {"writer": needed})
            assert found.lacking == (twin,)
            await execute_sql(cluster.writer, *grants(found.account, to_grant(found.lacking, needed)))
            (found,) = await ask_servers([writer], {"writer": needed})
            assert found.lacking == ()
            assert await has_table(writer, TABLE, "drill_wt")
        finally:
            await execute_sql(cluster.writer, "SET sql_log_bin=0", "DROP DATABASE drill_wt")


@pytest.mark.mariadb
async def test_the_account_of_driver_sql_is_asked_where_it_may_write(cluster: Cluster) -> None:
    needed = needed_by_load(DRILL, written=True)
    async with account(cluster, f"GRANT SELECT, INSERT ON drill.* TO {FEW}") as (writer, _):
        (found,) = await ask_servers([writer], {"writer": needed}, listeners=False)
        assert [one.name for one in found.lacking] == ["UPDATE", "DELETE"]
        await execute_sql(cluster.writer, *grants(found.account, to_grant(found.lacking, needed)))
        (found,) = await ask_servers([writer], {"writer": needed}, listeners=False)
        assert (found.lacking, found.listeners) == ((), {})


@pytest.mark.mariadb
async def test_servers_say_what_they_are_and_nothing_is_written(cluster: Cluster) -> None:
    await all_applied(cluster)
    before = await gtids(*cluster.servers)
    found = await asked(cluster.servers)
    writer, reader = found["writer"], found["reader-1"]
    assert [one.trouble for one in (writer, reader)] == ["", ""]
    assert writer.listeners == reader.listeners == {"read": "", "write": ""}
    assert writer.is_primary
    assert primaries([reader, writer, replace(writer, server=reader.server)]) == [writer]
    assert (writer.variables["log_bin"], writer.variables["binlog_format"]) == ("ON", "ROW")
    assert writer.variables["gtid_current_pos"] == before[0]["current"]
    assert reader.sources is not None
    assert not reader.takes_writes
    (source,) = reader.sources.values()
    assert (source.address, source.server_id, source.gtid) == (f"127.0.0.1:{cluster.writer.sql_port}", 1, "Slave_Pos")
    assert (source.healthy, source.trouble) == (True, "")
    assert "rpl_semi_sync_master_wait_point" in writer.variables
    assert "Rpl_semi_sync_master_clients" in writer.status
    assert await gtids(*cluster.servers) == before
    for server in cluster.servers:
        shown = await execute_sql(server, "SHOW DATABASES LIKE 'drill'")
        assert shown == []


@pytest.mark.mariadb
async def test_semi_sync_is_seen_on_both_sides(cluster: Cluster) -> None:
    writer, reader = cluster.servers
    restart = ("STOP SLAVE IO_THREAD", "START SLAVE IO_THREAD")
    await execute_sql(reader, "SET GLOBAL rpl_semi_sync_slave_enabled=1", *restart)
    try:
        assert await wait_for_acknowledgements(writer, patience(10))
        one, other = (await asked(cluster.servers)).values()
        assert (one.on("rpl_semi_sync_master_enabled"), one.on("Rpl_semi_sync_master_status")) == (True, True)
        assert one.status["Rpl_semi_sync_master_clients"] == "1"
        assert one.variables["rpl_semi_sync_master_wait_point"] in ("AFTER_SYNC", "AFTER_COMMIT")
        assert int(one.variables["rpl_semi_sync_master_timeout"]) > 0
        assert (other.on("rpl_semi_sync_slave_enabled"), other.on("Rpl_semi_sync_slave_status")) == (True, True)
    finally:
        await execute_sql(writer, "SET GLOBAL rpl_semi_sync_master_enabled=0")
        await execute_sql(reader, "SET GLOBAL rpl_semi_sync_slave_enabled=0", *restart)


@pytest.mark.mariadb
async def test_wrong_secrets_accounts_and_ports_are_told_apart(cluster: Cluster) -> None:
    writer, reader = cluster.servers
    wrong = [
        replace(writer, admin_password="wrong", write_secret="wrong"),
        replace(reader, read_port=reader.sql_port or 0, write_port=0),
        replace(without_sql(reader), name="reader-2"),
    ]
    first, second, third = await ask_servers(wrong, {})
    assert first.trouble.startswith(f"SQL at 127.0.0.1:{writer.sql_port} refuses the connection (1045: Access denied for user")
    assert first.listeners == {"read": "", "write": "refuses the secret: use that server's handlersocket_plain_secret_wr"}
    assert second.listeners["read"], "SQL does not speak HandlerSocket, and may end the connection first"
    assert (third.trouble, third.listeners) == ("its sql_port is not known", {"read": "", "write": ""})


@pytest.mark.mariadb
async def test_a_connection_that_is_killed_meanwhile_is_not_a_missing_privilege(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with account(cluster, f"GRANT PROCESS, SLAVE MONITOR ON *.* TO {FEW}") as (writer, _):
        slow = Privilege("PROCESS", "", "")
        monkeypatch.setattr(Privilege, "probe", property(lambda self: f"SELECT SLEEP({SECONDS:g})"))

        async def kill() -> None:
            query = "SELECT id FROM information_schema.processlist WHERE user = 'few' AND info LIKE 'SELECT SLEEP%'"
            with trio.fail_after(patience(10)):
                while not (rows := await execute_sql(cluster.writer, query)):  # noqa: ASYNC110  (the server is asked)
                    await trio.sleep(0.01)
            try:
                await execute_sql(cluster.writer, f"KILL {rows[0]['id']}")
            except ClusterError:
                raise AssertionError("the question had ended before") from None

        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill)
            (found,) = await ask_servers([writer], {"writer": [slow]}, listeners=False)
        assert found.trouble.startswith(f"the connection to SQL at 127.0.0.1:{writer.sql_port} was lost when it was asked for")
        assert (found.lacking, found.sources, found.asked) == ((), None, True)
