"""No SQL that writes is sent to a user's server that is not, or no longer, the primary. `read_only` does not stop our account.

The servers are real ones, of another cluster.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill.servers import Control, _external, _writable, check_servers
from hs_drill.servers._control import Row
from hs_drill.servers._opening import open_servers
from hs_drill.servers._sql import execute_sql, run_sql, sql_session
from tests.loadtest.support.external import TABLE, all_applied, databases, external, gtids, tables
from tests.support.patience import patience

mariadb = pytest.mark.mariadb

PROMOTE = ("STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only=0")


def alone(*servers: Server, may_create: bool = False, tell: Callable[[str], None] = print) -> Any:
    return open_servers(
        "external", external=servers, replication="none", may_create_table=may_create, handlersocket_writes=False, progress=tell
    )


# --- Servers that are said not to replicate: each is written to ------------------------------------------------------


@mariadb
@pytest.mark.parametrize("may_create", [True, False])
@pytest.mark.parametrize(
    "prepare, why",
    [
        ((), "it is read-only (read_only is 1)"),
        (("SET GLOBAL read_only=0",), "it replicates from 127.0.0.1:"),
        (("SET GLOBAL read_only=0", "STOP SLAVE"), "it is set up to replicate from 127.0.0.1:"),
    ],
)
async def test_a_replica_is_refused(cluster: Cluster, prepare: tuple[str, ...], why: str, may_create: bool) -> None:
    writer, reader = cluster.servers
    await all_applied(cluster)
    await execute_sql(reader, "DO 0", *prepare)
    before = await gtids(writer, reader)
    try:
        with pytest.raises(ClusterError) as refused:
            async with alone(writer, reader, may_create=may_create):
                pass
    finally:
        await execute_sql(reader, "SET GLOBAL read_only=1", "START SLAVE")
    assert str(refused.value).startswith(f"reader-1 must not be written to: {why}")
    assert str(refused.value).endswith("If reader-1 is a replica of writer, leave that key out. Nothing was written")
    assert await gtids(writer, reader) == before


async def test_a_server_that_cannot_be_loaded_is_refused_by_the_scenario_alone() -> None:
    servers = [Server("writer", "127.0.0.1", 1, 2, "", ""), Server("reader-1", "127.0.0.1", 3, 0, "", "")]
    check = partial(check_servers, "external", version=None, only_mariadb_can=[], only_owners_can=[], external=servers)
    await check()
    refusal = r"^reader-1 needs a sql_port or a write_port: with cluster\.replication: none its rows are loaded there too$"
    with pytest.raises(ClusterError, match=refusal):
        await check(replication="none")
    with pytest.raises(ClusterError, match=refusal):
        async with alone(*servers):
            pass


async def test_a_standby_that_does_not_replicate_is_refused_by_the_scenario_alone() -> None:
    servers = [Server("writer", "127.0.0.1", 1, 2, "", ""), Server("standby", "127.0.0.1", 3, 4, "", "")]
    with pytest.raises(ClusterError, match=r"^a standby must replicate: with cluster\.replication: none, what clients write"):
        async with alone(*servers):
            pass


@mariadb
async def test_a_table_is_created_on_each_or_on_none(temporary: Path) -> None:
    async with open_servers("mariadb", readers=1, replication="none") as owner:
        writer, reader = owner.cluster.servers
        await execute_sql(
            reader, "SET GLOBAL read_only=0", "CREATE DATABASE drill", f"CREATE TABLE drill.t ({TABLE.columns_sql()})"
        )
        async with alone(writer, reader, may_create=True) as control:
            with pytest.raises(ClusterError, match=r"^there is a table drill\.t on reader-1, and none on writer: create it "):
                await control.create_table(TABLE)
        assert "drill" not in await databases(writer)
        assert await tables(reader) == ["t"]


# --- A promotion while the run waits, or loads -----------------------------------------------------------------------


@asynccontextmanager
async def held_lock(server: Server) -> AsyncIterator[None]:
    """As if another run were creating or dropping its table. On leaving, the run that waits goes on."""
    with sql_session(server) as session:
        session.execute("SELECT GET_LOCK('trio-hs load test: create or drop', 0)")
        yield


async def wait_for_statement(server: Server, beginning: str) -> None:
    with trio.fail_after(patience(60)):
        while not await execute_sql(  # noqa: ASYNC110  (the server is asked)
            server, f"SELECT id FROM information_schema.processlist WHERE info LIKE '{beginning}%' AND id <> CONNECTION_ID()"
        ):
            await trio.sleep(0.02)


@mariadb
@pytest.mark.parametrize("planned", [True, False])
async def test_nothing_is_created_after_a_promotion_while_the_run_waited(temporary: Path, planned: bool) -> None:
    async with open_servers("mariadb", readers=1) as owner:
        writer, reader = owner.cluster.servers
        await owner.wait_replicated()
        refusals: list[str] = []

        async def create(control: Control) -> None:
            with pytest.raises(ClusterError) as refused:
                await control.create_table(TABLE)
            refusals.append(str(refused.value))

        async with external(owner.cluster, may_create=True) as control:
            async with trio.open_nursery() as nursery:
                async with held_lock(writer):
                    nursery.start_soon(create, control)
                    await wait_for_statement(writer, "SELECT GET_LOCK(''trio-hs load test: create")
                    if planned:
                        await execute_sql(writer, "SET GLOBAL read_only=1")
                    await execute_sql(reader, *PROMOTE)
                    before = await gtids(writer, reader)
        assert await gtids(writer, reader) == before
        (refusal,) = refusals
        assert refusal.startswith(
            "writer must not be written to any more: it is read-only (read_only is 1)"
            if planned
            else "writer may not be the primary any more: reader-1 does not replicate from"
        )


@mariadb
@pytest.mark.parametrize(
    "demote, why",
    [
        (
            (("writer", "SET GLOBAL read_only=1"),),
            r"^writer must not be written to any more: it is read-only \(read_only is 1\)",
        ),
        (tuple(("reader-1", one) for one in PROMOTE), r"^writer may not be the primary any more: reader-1 does not replicate"),
    ],
)
async def test_no_rows_are_loaded_after_a_promotion(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, demote: tuple[tuple[str, str], ...], why: str
) -> None:
    monkeypatch.setattr(_external, "STATEMENT_BYTES", 1)  # a row each
    async with open_servers("mariadb", readers=1) as owner:
        writer = owner.cluster.writer
        await execute_sql(writer, "CREATE DATABASE drill", f"CREATE TABLE drill.t ({TABLE.columns_sql()})")
        await owner.wait_replicated()

        def rows() -> Iterator[Row]:
            yield 1, 0, 0, ""
            yield 2, 0, 0, ""
            for name, statement in demote:
                run_sql(owner.server(name), (statement,))
            yield 3, 0, 0, ""
            yield 4, 0, 0, ""

        async with external(owner.cluster) as control:
            with pytest.raises(ClusterError, match=rf"{why}.*; 2 rows of this run are in drill\.t there$"):
                await control.fill(TABLE, rows())
        loaded = [row["id"] for row in await execute_sql(writer, "SELECT id FROM drill.t ORDER BY id")]
        assert loaded == [1, 2]


@mariadb
async def test_no_rows_are_loaded_on_a_server_that_was_made_a_replica_meanwhile(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_external, "STATEMENT_BYTES", 1)
    async with open_servers("mariadb", readers=1, replication="none") as owner:
        writer, reader = owner.cluster.servers
        for server in (writer, reader):
            await execute_sql(
                server, "SET GLOBAL read_only=0", "CREATE DATABASE drill", f"CREATE TABLE drill.t ({TABLE.columns_sql()})"
            )

        def rows() -> Iterator[Row]:
            yield 1, 0, 0, ""
            run_sql(reader, ("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=1",))
            yield 2, 0, 0, ""

        async with alone(writer, reader) as control:
            with pytest.raises(ClusterError, match=r"^reader-1 must not be written to any more: it is set up to replicate"):
                await control.fill(TABLE, rows())
        assert await execute_sql(reader, "SELECT id FROM drill.t WHERE id > 1") == []


@mariadb
async def test_a_run_does_not_begin_on_a_server_that_was_demoted_after_its_table_was_filled(temporary: Path) -> None:
    """In the web UI hours may pass."""
    async with open_servers("mariadb", readers=1) as owner:
        async with external(owner.cluster) as control:
            await control.require_primary()
            await execute_sql(owner.cluster.writer, "SET GLOBAL read_only=1")
            with pytest.raises(ClusterError, match=r"^writer must not be written to any more: it is read-only"):
                await control.require_primary()
            await execute_sql(owner.cluster.writer, "SET GLOBAL read_only=0")
            await execute_sql(owner.cluster.readers[0], *PROMOTE)
            with pytest.raises(ClusterError, match=r"^writer may not be the primary any more: reader-1 does not replicate"):
                await control.require_primary()


@mariadb
async def test_a_server_that_hangs_is_not_asked_for_ever(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locust waits a bounded time for the end of the controller, which has to say what it leaves."""

    async def hangs(server: Server) -> str:
        await trio.sleep_forever()
        raise AssertionError

    async with external(cluster) as control:
        monkeypatch.setattr(_writable, "_why_not_writable", hangs)
        monkeypatch.setattr(_writable, "ANSWER_SECONDS", 0.01)
        with pytest.raises(ClusterError, match=r"^asking writer whether it may be written to took more than 0\.01 s$"):
            await control.require_primary()
