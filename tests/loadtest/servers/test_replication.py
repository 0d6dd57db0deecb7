"""Servers replicate, are promoted and rejoin by name, on every kind of server."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio

from hs_drill._cluster import ClusterError
from hs_drill.servers._control import Control
from hs_drill.servers._opening import open_cluster, open_servers
from hs_drill.servers._replication import gtids
from hs_drill.servers._sql import execute_sql
from tests.loadtest.support.server_kinds import EVERY_KIND, EVERY_REPLICATION
from tests.loadtest.support.servers import deaths, insert, read
from tests.support.patience import patience
from trio_hs.testing import Table

TABLE = Table("drill", "t", {"id": "INT NOT NULL", "v": "VARCHAR(20) NOT NULL"}, primary_key=["id"])


async def count(control: Control, name: str) -> int:
    return len(await control.read_rows(name, TABLE))


def test_the_last_number_of_each_origin_is_read_from_a_position() -> None:
    assert gtids("") == {}
    assert gtids("0-1-100,0-2-110,3-1-7") == {(0, 1): 100, (0, 2): 110, (3, 1): 7}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"replication": "chain"}, "no such replication: 'chain'"),
        ({"replication": "semisync", "readers": 0}, "semisync needs a replica"),
    ],
)
async def test_impossible_replication_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        async with open_cluster(**arguments):  # type: ignore[arg-type]
            pass


@EVERY_REPLICATION
async def test_replication_is_stopped_delayed_and_reported(kind: str, temporary: Path) -> None:
    async with open_servers(kind, readers=1) as control:
        await control.create_table(TABLE)
        status = await control.replication_status("reader-1")
        assert (status.source, status.running, status.delay, status.error) == ("writer", True, 0, "")
        assert (await control.replication_status("writer")).source is None

        await control.stop_replication("reader-1")
        status = await control.replication_status("reader-1")
        assert (status.running, status.lag) == (False, None)
        assert ("it was stopped" if kind == "embedded" else "IO thread No") in status.error
        await control.fill(TABLE, [(1, "v")])
        await trio.sleep(0.3)
        assert await count(control, "reader-1") == 0
        await control.start_replication("reader-1")
        await control.wait_replicated()
        assert await count(control, "reader-1") == 1

        await control.set_lag("reader-1", 2)
        started = time.monotonic()
        await control.fill(TABLE, [(2, "v")])
        await control.wait_replicated()
        assert time.monotonic() - started > 1  # the server counts whole seconds
        assert (await control.replication_status("reader-1")).delay == 2
        await control.set_lag("reader-1", 0)

        for nonsense in (-1, True, 0.5):
            with pytest.raises(ValueError, match="whole number of seconds"):
                await control.set_lag("reader-1", nonsense)  # type: ignore[arg-type]
        for impossible in (control.stop_replication, control.start_replication):
            with pytest.raises(ClusterError, match="writer is not a replica"):
                await impossible("writer")
        await control.kill("writer")
        with pytest.raises(ClusterError, match="lag of reader-1 cannot be set while writer does not run"):
            await control.set_lag("reader-1", 1)


@EVERY_REPLICATION
async def test_a_promoted_standby_takes_over_and_the_old_writer_rejoins(kind: str, temporary: Path) -> None:
    async with open_servers(kind, readers=1, standby=True, topology="write-through") as control:
        await control.create_table(TABLE)
        assert await insert(control.server("writer"), 1, "drill_wt") == "0\t1"
        await control.wait_replicated()
        with pytest.raises(ClusterError, match="writer is the primary already"):
            await control.promote("writer")
        with pytest.raises(ClusterError, match="writer is the primary: promote another server first"):
            await control.rejoin("writer")

        await control.kill("writer")
        await control.promote("standby")
        assert control.primary == "standby"
        assert (await control.replication_status("reader-1")).source == "standby"
        assert await insert(control.server("standby"), 2, "drill_wt") == "0\t1"
        await control.wait_replicated()
        assert await read(control.server("reader-1"), 2) == "0\t2\t2\tv2"

        rejoined = await control.rejoin("writer")
        assert not rejoined.rebuilt
        assert await count(control, "writer") == 2
        assert await insert(control.server("writer"), 3, "drill_wt") != "0\t1"  # read-only

        # And back, as a switch-over would.
        await control.stop("standby")
        await control.promote("writer")
        assert await insert(control.server("writer"), 3, "drill_wt") == "0\t1"
        assert not (await control.rejoin("standby")).rebuilt
        assert await count(control, "standby") == 3
        assert await deaths(control) == []


@pytest.mark.process
@pytest.mark.parametrize("unlogged", [True, False])
async def test_an_old_writer_is_compared_if_clients_write_nothing_unlogged(unlogged: bool, temporary: Path) -> None:
    """(On MariaDB: test_failover.py has one that cannot be compared, and the next test one that can.)"""
    async with open_servers("embedded", readers=0, standby=True) as control:
        assert control.unlogged_writes, "the plain topology"
        control.unlogged_writes = unlogged
        await control.create_table(TABLE)
        await control.fill(TABLE, [(1, "v1")])
        await control.wait_replicated()
        await control.kill("writer")
        await control.promote("standby")
        rejoined = await control.rejoin("writer")
        assert rejoined.rebuilt is unlogged
        begin, end = ("it was the primary, and ", "the two cannot be compared") if unlogged else ("standby has all that", "had")
        assert rejoined.reason.startswith(begin)
        assert rejoined.reason.endswith(end)
        assert await count(control, "writer") == 1


@EVERY_KIND
async def test_an_old_writer_with_writes_of_its_own_is_rebuilt_with_the_reason(kind: str, temporary: Path) -> None:
    async with open_servers(kind, readers=0, standby=True, topology="write-through") as control:
        await control.create_table(TABLE)
        assert await insert(control.server("writer"), 1, "drill_wt") == "0\t1"
        await control.wait_replicated()
        await control.stop_replication("standby")
        assert await insert(control.server("writer"), 2, "drill_wt") == "0\t1"
        await control.kill("writer")
        await control.promote("standby")
        assert await insert(control.server("standby"), 3, "drill_wt") == "0\t1"

        rejoined = await control.rejoin("writer")
        assert rejoined.rebuilt
        reason = "it needs a rebuild" if kind == "embedded" else "writer holds transactions that standby never got: 0-1-"
        assert reason in rejoined.reason
        assert await control.read_rows("writer", TABLE) == [
            (1, "v1"),
            (3, "v3"),
        ]  # with its own former write, without the lost one
        assert await insert(control.server("standby"), 4, "drill_wt") == "0\t1"
        await control.wait_replicated()

        # It is complete: it can be promoted, and writes through its own twin.
        await control.kill("standby")
        await control.promote("writer")
        assert await insert(control.server("writer"), 5, "drill_wt") == "0\t1"
        assert await count(control, "writer") == 4
        assert await deaths(control) == []


@pytest.mark.parametrize(
    "kind, replication",
    [
        pytest.param("embedded", "async", marks=pytest.mark.process),
        pytest.param("embedded", "semisync", marks=pytest.mark.process),
        pytest.param("mariadb", "semisync", marks=pytest.mark.mariadb),
    ],
)
async def test_a_primary_is_closed_for_writes_and_opened_again_or_replaced(
    kind: str, replication: str, temporary: Path
) -> None:
    async with open_servers(kind, readers=1, standby=True, topology="write-through", replication=replication) as control:
        await control.create_table(TABLE)
        assert await insert(control.server("writer"), 1, "drill_wt") == "0\t1"
        await control.close_for_writes()
        assert await insert(control.server("writer"), 2, "drill_wt") == "1\t1\tlock_tables"
        await control.open_for_writes()
        assert await insert(control.server("writer"), 3, "drill_wt") == "0\t1"

        await control.close_for_writes()
        await control.wait_replicated()
        await control.promote("standby")
        pid = control.server("writer").pid
        assert not (await control.rejoin("writer")).rebuilt
        assert control.server("writer").pid == pid, "without a restart"
        # It is a complete replica now, and can be the primary again.
        assert await insert(control.server("standby"), 4, "drill_wt") == "0\t1"
        await control.wait_replicated()
        assert await count(control, "writer") == await count(control, "reader-1") == 3
        await control.kill("standby")
        await control.promote("writer")
        assert await insert(control.server("writer"), 5, "drill_wt") == "0\t1"


@EVERY_REPLICATION
async def test_promotion_gathers_what_only_another_replica_has_fetched(kind: str, temporary: Path) -> None:
    async with open_servers(kind, readers=1, standby=True, topology="write-through") as control:
        await control.create_table(TABLE)
        await control.wait_replicated()
        await control.stop_replication("standby")
        if kind == "embedded":
            await control.set_lag("reader-1", 60)
        else:  # it fetches, but does not apply
            await execute_sql(control.server("reader-1"), "STOP SLAVE SQL_THREAD")
        assert await insert(control.server("writer"), 1, "drill_wt") == "0\t1"
        await trio.sleep(0.3)
        await control.kill("writer")
        assert await count(control, "reader-1") == 0
        await control.promote("standby")
        assert await count(control, "standby") == await count(control, "reader-1") == 1


@EVERY_REPLICATION
async def test_semisync_commits_wait_for_a_replica_and_a_lone_primary_does_not_hang(kind: str, temporary: Path) -> None:
    async with open_servers(kind, readers=0, standby=True, topology="write-through", replication="semisync") as control:
        await control.create_table(TABLE)
        assert await insert(control.server("writer"), 1, "drill_wt") == "0\t1"
        await control.stop_replication("standby")
        with trio.move_on_after(1) as scope:
            await insert(control.server("writer"), 2, "drill_wt")
        assert scope.cancelled_caught  # no replica acknowledges it
        await control.start_replication("standby")
        await control.wait_replicated()

        with trio.fail_after(patience(10)):  # restarted, it waits for its replica again
            await control.kill("writer")
            await control.start("writer")
        assert await insert(control.server("writer"), 3, "drill_wt") == "0\t1"
        await control.pause("standby")
        with trio.move_on_after(1) as scope:
            await insert(control.server("writer"), 4, "drill_wt")
        assert scope.cancelled_caught
        await control.resume("standby")

        await control.kill("writer")
        await control.promote("standby")  # alone now
        with trio.fail_after(patience(5)):
            assert await insert(control.server("standby"), 5, "drill_wt") == "0\t1"
        await control.rejoin("writer")
        assert await insert(control.server("standby"), 6, "drill_wt") == "0\t1"
        await control.wait_replicated()
        await control.pause("writer")
        with trio.move_on_after(1) as scope:
            await insert(control.server("standby"), 7, "drill_wt")
        assert scope.cancelled_caught  # it waits for a replica again


@EVERY_REPLICATION
async def test_servers_without_replication_stay_independent(kind: str, temporary: Path) -> None:
    async with open_servers(kind, readers=1, replication="none") as control:
        await control.create_table(TABLE)
        assert await count(control, "reader-1") == 0
        await control.fill(TABLE, [(1, "v"), (2, "v")])
        assert [await count(control, name) for name in ("writer", "reader-1")] == [2, 2]
        with pytest.raises(ClusterError, match="reader-1 is not a replica"):
            await control.promote("reader-1")
        with pytest.raises(ClusterError, match="do not replicate"):
            await control.rejoin("reader-1")
