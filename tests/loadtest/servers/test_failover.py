"""What a failover loses, by topology: kill -9 the writer under load, promote the standby, and count."""

from __future__ import annotations

import pytest
import trio

import trio_hs
from hs_drill.servers._opening import open_servers
from tests.loadtest.support.failover import ROWS, TASKS, cut_off, drill, ids_on, write_listener, write_through_drill
from tests.loadtest.support.server_kinds import EVERY_REPLICATION
from tests.support.patience import patience

pytestmark = pytest.mark.process


@EVERY_REPLICATION
async def test_semisync_write_through_loses_no_acknowledged_write(kind: str) -> None:
    """Replicas are cut off before the kill. (With those that keep up: test_embedded.py.)"""
    result = await write_through_drill(kind, "semisync", 0.1, cut=True)
    missing = result.acknowledged - result.survived
    assert not missing, f"{len(missing)} of {len(result.acknowledged)} acknowledged writes are missing"


@EVERY_REPLICATION
async def test_asynchronous_write_through_loses_what_no_replica_had_fetched(kind: str) -> None:
    """The same drill as above does find lost writes. (With replicas that keep up it found none, on loopback.)"""
    result = await write_through_drill(kind, "async", 0.1, cut=True)
    assert result.before - result.survived
    assert result.acknowledged - result.before <= result.survived


@EVERY_REPLICATION
async def test_plain_handlersocket_writes_are_lost_by_a_failover(kind: str) -> None:
    """They are in no binary log (MDEV-33967). Everything that the old writer acknowledged is missing."""
    async with open_servers(kind, readers=1, standby=True) as control:
        result = await drill(control, 0.1)
        assert len(result.before) >= 200
        assert result.before & result.survived == set()
        assert result.acknowledged - result.before <= result.survived  # what the promoted server took itself
        rejoined = await control.rejoin("writer")
        assert rejoined.rebuilt
        assert "the two cannot be compared" in rejoined.reason


@EVERY_REPLICATION
async def test_an_old_writer_is_rebuilt_while_clients_want_to_write_to_it(kind: str) -> None:
    """It is the client's first choice, and lacks its tables at first: a client that asked for one once blocked its creation."""
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
                with trio.fail_after(patience(20)):
                    while acknowledged < goal:  # noqa: ASYNC110  (an event per insert would slow the load down)
                        await trio.sleep(0.005)

            async with trio.open_nursery() as nursery:
                for _ in range(TASKS):
                    nursery.start_soon(insert)
                await progress()
                for replica in control.cluster.replicas:
                    await cut_off(control, replica.name)
                await progress()  # only the writer has these
                await control.kill("writer")
                await control.promote("standby")
                await progress()
                with trio.fail_after(patience(30)):
                    assert (await control.rejoin("writer")).rebuilt
                await progress()
                nursery.cancel_scope.cancel()
        await control.wait_replicated()
        assert await ids_on(control, "writer") == await ids_on(control, "standby")


@EVERY_REPLICATION
async def test_writes_follow_a_promotion_from_a_frozen_writer_only_by_policy(kind: str) -> None:
    """A frozen writer refuses nothing. Moving is safe only if the standby is known to be read-only until its promotion."""
    async with open_servers(kind, readers=1, standby=True) as control:
        await control.create_table(ROWS)
        groups = [[write_listener(control.server(name))] for name in ("writer", "standby")]
        async with (
            trio_hs.open_manager(write_servers=groups, timeout=1.0, move_writes_on_silence=False) as stays,
            trio_hs.open_manager(write_servers=groups, timeout=1.0, move_writes_on_silence=True) as moves,
        ):
            staying, moving = (hs.table("drill", "rows", ["id"]) for hs in (stays, moves))
            await staying.insert([1])
            await moving.insert([2])
            await control.pause("writer")
            for rows in (staying, moving):
                with pytest.raises(trio_hs.ConnectionError) as doubt:
                    await rows.insert([3])
                assert doubt.value.maybe_applied
            with pytest.raises(trio_hs.ReadOnlyError):
                await moving.insert([4])
            await control.promote("standby")
            await moving.insert([5])
            with pytest.raises(trio_hs.ConnectionError, match="not asked, because no refusal came") as failure:
                await staying.insert([6])
            assert not failure.value.maybe_applied
        assert await ids_on(control, "standby") == {5}
