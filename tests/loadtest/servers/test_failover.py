"""What a failover loses, by topology: kill -9 of the writer under load, promotion of the standby, and then a count."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
import trio

import trio_hs
from hs_drill._cluster import Server
from hs_drill.servers._control import Control
from hs_drill.servers._opening import open_servers
from hs_drill.servers._sql import execute_sql
from tests.loadtest.support.server_kinds import EVERY_KIND
from trio_hs.testing import Table

TASKS = 16
ROWS = Table("drill", "rows", {"id": "INT NOT NULL"}, primary_key=["id"])


def write_listener(server: Server) -> trio_hs.Server:
    return trio_hs.Server("inet", server.host, server.write_port, secret=server.write_secret)


@dataclass
class Drill:
    """Rows by their ids: what was acknowledged, before the kill and in all, and what is there."""

    before: set[int]
    acknowledged: set[int]
    unknown: set[int]
    survived: set[int]
    on_reader: set[int]


async def ids_on(control: Control, name: str) -> set[int]:
    found: list[int] = []
    while page := await control.read_rows(name, ROWS, after=found[-1] if found else None):
        found += [row[0] for row in page if isinstance(row[0], int)]
    return set(found)


async def cut_off(control: Control, name: str) -> None:
    """Stop a replica's fetching. Not MariaDB's applying: with both stopped it would throw away what it had fetched."""
    if control.cluster.kind == "embedded":
        await control.stop_replication(name)
    else:
        await execute_sql(control.server(name), "STOP SLAVE IO_THREAD")


async def drill(control: Control, delay: float, *, cut: bool = False) -> Drill:
    """Insert through the client, kill the writer after `delay` seconds, promote the standby, and insert on.

    `cut` stops the replicas' fetching a moment before the kill.
    """
    await control.create_table(ROWS)
    groups = [[write_listener(control.server(name))] for name in ("writer", "standby")]
    acknowledged: set[int] = set()
    unknown: set[int] = set()
    ids = iter(range(1, 1 << 30))
    stop = False

    async with trio_hs.open_manager(write_servers=groups, write_databases=control.cluster.write_databases, timeout=2.0) as hs:
        rows = hs.table("drill", "rows", ["id"])

        async def insert() -> None:
            while not stop:
                id = next(ids)
                try:
                    await rows.insert([id])
                    acknowledged.add(id)
                except trio_hs.ConnectionError as error:
                    if error.maybe_applied:
                        unknown.add(id)
                except trio_hs.OperationalError:
                    await trio.sleep(0.01)  # the standby, before its promotion

        async def progress(more: int) -> None:
            goal = len(acknowledged) + more
            with trio.fail_after(20):
                while len(acknowledged) < goal:  # noqa: ASYNC110  (an event per insert would slow the load down)
                    await trio.sleep(0.005)

        async with trio.open_nursery() as nursery:
            for _ in range(TASKS):
                nursery.start_soon(insert)
            await progress(200)
            await trio.sleep(delay)
            if cut:
                for replica in control.cluster.replicas:
                    await cut_off(control, replica.name)
                await trio.sleep(0.3)
            await control.kill("writer")
            before = set(acknowledged)
            await control.promote("standby")
            await progress(100)  # the writer group moved over by itself
            stop = True

    await control.wait_replicated()
    return Drill(before, acknowledged, unknown, await ids_on(control, "standby"), await ids_on(control, "reader-1"))


async def write_through_drill(kind: str, replication: str, delay: float, *, cut: bool) -> Drill:
    async with open_servers(kind, readers=1, standby=True, topology="write-through", replication=replication) as control:
        result = await drill(control, delay, cut=cut)
    assert result.survived <= result.acknowledged | result.unknown
    assert result.on_reader == result.survived
    return result


@EVERY_KIND
@pytest.mark.parametrize("cut", [False, True], ids=["replicas keep up", "replicas cut off before the kill"])
async def test_semisync_write_through_loses_no_acknowledged_write(kind: str, cut: bool) -> None:
    result = await write_through_drill(kind, "semisync", random.Random(1).uniform(0, 0.3), cut=cut)
    missing = result.acknowledged - result.survived
    assert not missing, f"{len(missing)} of {len(result.acknowledged)} acknowledged writes are missing"


@EVERY_KIND
async def test_asynchronous_write_through_loses_what_no_replica_had_fetched(kind: str) -> None:
    """The same drill as above: it does find lost writes. (With replicas that keep up it found none, on loopback.)"""
    result = await write_through_drill(kind, "async", 0.1, cut=True)
    assert result.before - result.survived
    assert result.acknowledged - result.before <= result.survived


@EVERY_KIND
async def test_plain_handlersocket_writes_are_lost_by_a_failover(kind: str) -> None:
    """They are in no log that replicates (MDEV-33967). Everything that the old writer acknowledged is missing."""
    async with open_servers(kind, readers=1, standby=True) as control:
        result = await drill(control, 0.1)
        assert len(result.before) >= 200
        assert result.before & result.survived == set()
        assert result.acknowledged - result.before <= result.survived  # what the promoted server took itself
        rejoined = await control.rejoin("writer")
        assert rejoined.rebuilt
        assert "the two cannot be compared" in rejoined.reason


@EVERY_KIND
async def test_an_old_writer_is_rebuilt_while_clients_want_to_write_to_it(kind: str) -> None:
    """It is the client's first choice, and lacks its tables at first: who asked for one then held up its creation."""
    async with open_servers(kind, readers=1, standby=True, topology="write-through") as control:
        await control.create_table(ROWS)
        groups = [[write_listener(control.server(name))] for name in ("writer", "standby")]
        databases = control.cluster.write_databases
        async with trio_hs.open_manager(write_servers=groups, write_databases=databases, timeout=2.0) as hs:
            rows, ids, acknowledged = hs.table("drill", "rows", ["id"]), iter(range(1, 1 << 30)), 0

            async def insert() -> None:
                nonlocal acknowledged
                while True:
                    try:
                        await rows.insert([next(ids)])
                        acknowledged += 1
                    except trio_hs.HandlerSocketError:
                        await trio.sleep(0.01)

            async def progress() -> None:
                goal = acknowledged + 100
                with trio.fail_after(20):
                    while acknowledged < goal:  # noqa: ASYNC110  (an event per insert would slow the load down)
                        await trio.sleep(0.005)

            async with trio.open_nursery() as nursery:
                for _ in range(TASKS):
                    nursery.start_soon(insert)
                await progress()
                for replica in control.cluster.replicas:
                    await cut_off(control, replica.name)
                await progress()  # what the writer alone has
                await control.kill("writer")
                await control.promote("standby")
                await progress()
                with trio.fail_after(30):
                    assert (await control.rejoin("writer")).rebuilt
                await progress()
                nursery.cancel_scope.cancel()
        await control.wait_replicated()
        assert await ids_on(control, "writer") == await ids_on(control, "standby")


@EVERY_KIND
@pytest.mark.parametrize("policy", [False, True])
async def test_writes_follow_a_promotion_from_a_frozen_writer_by_policy_alone(kind: str, policy: bool) -> None:
    """A frozen writer refuses nothing. Only who knows that the standby is read-only until its promotion may leave it."""
    async with open_servers(kind, readers=1, standby=True) as control:
        await control.create_table(ROWS)
        groups = [[write_listener(control.server(name))] for name in ("writer", "standby")]
        async with trio_hs.open_manager(write_servers=groups, timeout=1.0, move_writes_on_silence=policy) as hs:
            rows = hs.table("drill", "rows", ["id"])
            await rows.insert([1])
            await control.pause("writer")
            with pytest.raises(trio_hs.ConnectionError) as doubt:
                await rows.insert([2])
            assert doubt.value.maybe_applied
            if policy:
                with pytest.raises(trio_hs.ReadOnlyError):
                    await rows.insert([3])
            await control.promote("standby")
            if policy:
                await rows.insert([4])
            else:
                with pytest.raises(trio_hs.ConnectionError, match="not asked, because no refusal came") as failure:
                    await rows.insert([4])
                assert not failure.value.maybe_applied
        assert await ids_on(control, "standby") == ({4} if policy else set())
