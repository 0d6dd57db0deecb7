"""SQL of the harness: which connections it opens, and with what TLS. Without servers."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pymysql
import pymysql.connections
import pytest
import trio

import trio_hs.testing
from hs_drill._cluster import ClusterError, Server
from hs_drill.servers import _mariadbd, _replication, _replication_check, _sql, _table_checks
from tests.support.patience import patience
from trio_hs.testing import Table

EXTERNAL = Server("writer", "127.0.0.1", 1, 2, "", "", sql_port=3306, admin_user="root")
OWN = replace(EXTERNAL, own=True)
ATTACHED = {"Slave_IO_Running": "Yes", "Slave_SQL_Running": "Yes"}
APPLYING = {"Slave_IO_Running": "No", "Slave_SQL_Running": "Yes"}


class FakeSql:
    """Takes the place of `connect_sql`: counts connections, and answers each query as `answer` says."""

    def __init__(self, answer: Callable[[str], list[dict[str, Any]]]) -> None:
        self.answer = answer
        self.opened = 0
        self.open = 0
        self.closed = threading.Semaphore(0)

    def __call__(self, server: Server, **options: Any) -> FakeConnection:
        self.opened += 1
        self.open += 1
        return FakeConnection(self)


class FakeConnection:
    def __init__(self, sql: FakeSql) -> None:
        self._sql = sql

    def cursor(self) -> FakeCursor:
        return FakeCursor(self._sql)

    def __enter__(self) -> FakeConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._sql.open -= 1
        self._sql.closed.release()


class FakeCursor:
    def __init__(self, sql: FakeSql) -> None:
        self._sql = sql
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> FakeCursor:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, statement: str) -> None:
        self._rows = self._sql.answer(statement)

    def fetchall(self) -> list[dict[str, Any]]:
        return self._rows


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeSql]:
    def install(*answers: list[dict[str, Any]]) -> FakeSql:
        """Statements that return nothing get no rows; a query gets the next of the answers."""
        left = list(answers)
        sql = FakeSql(lambda statement: left.pop(0) if statement.startswith(("SELECT", "SHOW")) else [])
        monkeypatch.setattr(_sql, "connect_sql", sql)
        return sql

    return install


# --- TLS -------------------------------------------------------------------------------------------------------------


def unconnected(server: Server, **options: Any) -> Any:
    return _sql.connect_sql(server, defer_connect=True, **options)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_a_server_of_the_run_on_this_machine_is_asked_without_tls(host: str) -> None:
    assert not unconnected(replace(OWN, host=host)).ssl


@pytest.mark.parametrize("server", [EXTERNAL, replace(OWN, host="192.0.2.7"), replace(OWN, host="db.example")])
def test_other_servers_are_asked_with_the_tls_of_before_in_one_shared_context(server: Server) -> None:
    ours, again = unconnected(server), unconnected(replace(server, name="reader-1"))
    theirs: Any = pymysql.connections.Connection(defer_connect=True)
    assert ours.ssl is theirs.ssl
    if not theirs.ssl:  # PyMySQL 1.1 uses TLS only if it is asked to
        return
    assert ours.ctx is again.ctx
    assert ours._ssl_required is theirs._ssl_required is False
    for name in ("verify_mode", "check_hostname", "verify_flags", "options", "minimum_version"):
        assert getattr(ours.ctx, name) == getattr(theirs.ctx, name), name


def test_a_connection_that_names_certificates_has_a_context_of_its_own() -> None:
    verifying = unconnected(EXTERNAL, ssl_verify_cert=True, ssl_verify_identity=True)
    assert verifying.ssl
    assert verifying.ctx is not getattr(unconnected(EXTERNAL), "ctx", None)
    assert verifying.ctx.verify_mode == ssl.CERT_REQUIRED


# --- Connections of loops --------------------------------------------------------------------------------------------


async def test_waiting_for_replication_threads_opens_one_connection(
    fake: Callable[..., FakeSql], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_replication, "REPLICATION_SECONDS", patience(60))
    sql = fake([APPLYING], [APPLYING], [APPLYING], [ATTACHED])
    await _replication.start_slave(OWN)
    assert (sql.opened, sql.open) == (2, 0)  # START SLAVE, and the loop


async def test_waiting_until_a_position_is_applied_opens_one_connection(fake: Callable[..., FakeSql]) -> None:
    late = [[{"late": -1}], [APPLYING]]
    sql = fake(*late, *late, *late, [{"late": 0}])
    await _replication.wait_applied(OWN, "0-1-1", patience(60))
    assert (sql.opened, sql.open) == (1, 0)


async def test_waiting_for_a_semisynchronous_replica_opens_one_connection(fake: Callable[..., FakeSql]) -> None:
    sql = fake([{"Value": "0"}], [{"Value": "0"}], [{"Value": "1"}])
    assert await _replication.wait_for_acknowledgements(OWN, patience(60))
    assert (sql.opened, sql.open) == (2, 0)  # the loop, and SET GLOBAL


async def test_watching_the_binary_log_opens_one_connection(
    fake: Callable[..., FakeSql], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_replication_check, "LOG_SECONDS", patience(60))
    sql = fake([], [], [{"Event_type": "Table_map", "Info": "table_id: 18 (d.t)"}])
    found: dict[str, Any] = {}
    await _replication_check._logged(found, OWN, ("log.1", 4), "(d.t)", trio.current_time())
    assert found[_replication_check.LOG].seconds is not None
    assert (sql.opened, sql.open) == (1, 0)


async def test_waiting_for_a_table_opens_one_connection(fake: Callable[..., FakeSql]) -> None:
    table = Table("drill", "t", columns={"id": "BIGINT NOT NULL", "n": "BIGINT"}, primary_key=["id"])
    shown = {"type": "BASE TABLE", "comment": "", "partitioned": 0, "hashed": 0}
    sql = fake([], [], [], [shown], [])  # the last: the types of its columns
    async with trio_hs.testing.open_server([table]) as server:
        await server.listen(("127.0.0.1", 0), ("127.0.0.1", 0))
        there = replace(EXTERNAL, read_port=server.read_address.port or 0)
        await _table_checks.wait_for_table(there, table, (), patience(60))
    assert (sql.opened, sql.open) == (1, 0)


async def test_after_an_error_the_next_query_connects_anew(fake: Callable[..., FakeSql]) -> None:
    sql = fake()
    outcomes: list[Any] = [pymysql.OperationalError(2013, "lost"), [{"a": 1}], [{"a": 2}]]

    def answer(_: str) -> list[dict[str, Any]]:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome  # type: ignore[no-any-return]

    sql.answer = answer
    async with _sql.asking(OWN) as ask:
        with pytest.raises(ClusterError, match="writer: SQL error 2013: lost"):
            await ask("SELECT 1")
        assert sql.open == 0
        assert [await ask("SELECT 1"), await ask("SELECT 1")] == [[{"a": 1}], [{"a": 2}]]
    assert (sql.opened, sql.open) == (2, 0)


@pytest.mark.parametrize("leave_first", [True, False])
async def test_a_cancelled_query_keeps_its_connection_from_the_next_one(
    fake: Callable[..., FakeSql], leave_first: bool
) -> None:
    sql = fake()
    begun, go_on = threading.Event(), threading.Event()

    def answer(query: str) -> list[dict[str, Any]]:
        if query == "SELECT 'slow'":
            begun.set()
            assert go_on.wait(patience(30))
        return [{"query": query}]

    sql.answer = answer
    async with _sql.asking(OWN) as ask, trio.open_nursery() as nursery:
        nursery.start_soon(ask, "SELECT 'slow'")
        await trio.to_thread.run_sync(begun.wait)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            if not leave_first:
                assert await ask("SELECT 'next'") == [{"query": "SELECT 'next'"}]
                go_on.set()
                assert await trio.to_thread.run_sync(sql.closed.acquire, True, patience(30))
                assert sql.open == 1
    go_on.set()
    assert await trio.to_thread.run_sync(sql.closed.acquire, True, patience(30))
    assert sql.open == 0


# --- The start of a server -------------------------------------------------------------------------------------------


async def test_a_port_where_nothing_listens_is_told_from_one_that_does_not_answer() -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, hang_up, 0, host="127.0.0.1"))
        server = replace(OWN, sql_port=listener.socket.getsockname()[1])
        assert await _mariadbd._ask_sql(server) == "turned away"
        nursery.cancel_scope.cancel()
    assert await _mariadbd._ask_sql(server) == "refused"
