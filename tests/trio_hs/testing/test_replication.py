"""Replication among servers of one process, in virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
import trio

from tests.trio_hs.support.embedded import TRUCKS, ids, insert, receive, writer
from trio_hs.testing import EmbeddedServer, ReplicationError, open_server
from trio_hs.testing._replication import Log, Position, Transaction


@pytest.fixture
async def source() -> AsyncIterator[EmbeddedServer]:
    async with open_server([TRUCKS], name="source") as server:
        yield server


@pytest.fixture
async def replica(source: EmbeddedServer) -> AsyncIterator[EmbeddedServer]:
    async with open_server([TRUCKS], name="replica") as server:
        await server.follow(source)
        yield server


async def test_every_kind_of_change_arrives(
    source: EmbeddedServer, replica: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    await insert(source, 1, 2, 3)
    transport = await writer(source)
    for line in (b"=\t1\t1\t1\t0\tD", b"=\t1\t2\t1\t0\tU\t5\tx\t\0", b"=\t1\t3\t1\t0\t+\t0\t0\t41"):
        transport.send(b"0\t" + line + b"\n")
        await receive(transport)
    await trio.testing.wait_all_tasks_blocked()
    assert replica.database.tables["cars", "trucks"].rows == [(3, b"0", 42), (5, b"x", None)]
    assert replica.statistics().position == source.statistics().position == Position(6, "source")
    assert replica.statistics().replicating
    assert source.unreplicated == 0


async def test_a_replica_refuses_writers_until_it_is_promoted(
    source: EmbeddedServer, replica: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    await insert(source, 1)
    assert await insert(replica, 9) == b"1\t1\tlock_tables\n"
    replica.promote()
    assert await insert(replica, 9) == b"0\t1\t0\n"
    assert ids(replica) == [1, 9]
    assert replica.statistics().position == Position(2, "replica")


async def test_a_promotion_right_after_follow_holds(
    source: EmbeddedServer, replica: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    await replica.follow(source)
    replica.promote()
    await insert(source, 1)
    await trio.sleep(5)
    assert ids(replica) == []
    assert not replica.statistics().read_only


async def test_lag_may_change_at_any_time(
    source: EmbeddedServer, replica: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    replica.replica.lag = 5
    await insert(source, 1)
    await trio.sleep(4.9)
    assert ids(replica) == []
    assert replica.statistics().received == Position(1, "source")
    await trio.sleep(0.2)
    assert ids(replica) == [1]
    replica.replica.lag = 1000
    await insert(source, 2)
    await trio.sleep(1)
    replica.replica.lag = 2
    await trio.sleep(0.9)
    assert ids(replica) == [1]
    await trio.sleep(0.2)
    assert ids(replica) == [1, 2]


async def test_random_lag_keeps_the_order(
    source: EmbeddedServer, replica: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    rng = random.Random(3)
    replica.replica.lag = lambda: rng.uniform(0, 3)
    await insert(source, *range(1, 30))
    seen: list[object] = []
    while len(seen) < 29:
        await trio.sleep(0.1)
        assert ids(replica)[: len(seen)] == seen
        seen = ids(replica)
    assert trio.current_time() > 0.5


async def test_paused_replication(
    source: EmbeddedServer, replica: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    await insert(source, 1)
    await trio.testing.wait_all_tasks_blocked()
    replica.replica.paused = True
    await insert(source, 2)
    await trio.sleep(100)
    assert ids(replica) == [1]
    assert source.unreplicated == 1
    replica.replica.paused = False
    await trio.sleep(1)
    assert ids(replica) == [1, 2]


async def test_synchronous_writes_wait_for_the_replica(
    source: EmbeddedServer, replica: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    source.synchronous = 1
    replica.replica.transfer = 3
    replica.replica.lag = 50
    started = trio.current_time()
    assert await insert(source, 1) == b"0\t1\t0\n"
    assert trio.current_time() - started == pytest.approx(3)
    transport = await writer(source)
    transport.send(b"0\t+\t3\t2\tc\t1\n")
    await trio.sleep(1)
    source.crash(lose=source.unreplicated)  # on the way to the replica
    assert await receive(transport) == b""
    await trio.sleep(10)
    replica.promote()
    assert ids(replica) == [1]  # the acknowledged row is there, although the lag is not over


async def test_asynchronous_replication_loses_acknowledged_writes_with_the_server(
    source: EmbeddedServer, replica: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    replica.replica.transfer = 3
    assert await insert(source, 1) == b"0\t1\t0\n"
    source.crash(lose=source.unreplicated)
    await trio.sleep(10)
    replica.promote()
    assert ids(replica) == []
    source.restart()
    await source.follow(replica)
    assert await insert(replica, 2) == b"0\t1\t0\n"
    await trio.sleep(1)
    assert ids(source) == [2]


async def test_a_replica_comes_back_and_follows_through_crashes(
    source: EmbeddedServer, replica: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    await insert(source, 1)
    replica.crash()
    await insert(source, 2)
    replica.restart()
    await trio.sleep(1)
    assert ids(replica) == [1, 2]
    source.crash()
    await trio.sleep(5)
    assert not replica.statistics().replicating
    source.restart()
    await insert(source, 3)
    await trio.sleep(1)
    assert ids(replica) == [1, 2, 3]
    assert replica.statistics().replicating


async def test_transactions_received_before_a_crash_are_applied_once(
    source: EmbeddedServer, replica: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    replica.replica.lag = 5
    await insert(source, 1, 2)
    await trio.sleep(1)
    replica.crash()
    replica.restart()
    await insert(source, 3)
    await trio.sleep(20)
    assert ids(replica) == [1, 2, 3]


async def test_a_replica_with_rows_of_its_own_needs_a_rebuild(
    source: EmbeddedServer, replica: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    await insert(source, 1)
    await trio.testing.wait_all_tasks_blocked()
    replica.promote()
    await insert(replica, 7)
    await insert(source, 2)
    await replica.follow(source)
    await trio.sleep(1)
    error = replica.statistics().replication_error
    assert error is not None
    assert "2@replica, which is not in the log of source (that is at 2@source): it needs a rebuild" in error
    assert ids(replica) == [1, 7]
    await replica.follow(source, rebuild=True)
    await insert(source, 3)
    await trio.sleep(1)
    assert ids(replica) == [1, 2, 3]
    assert replica.statistics().replication_error is None


async def test_reused_positions_are_not_taken_for_the_lost_ones(
    source: EmbeddedServer, replica: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    await insert(source, 1, 2)
    await trio.testing.wait_all_tasks_blocked()
    source.crash(lose=1)
    source.restart()
    await insert(source, 3)
    await trio.sleep(1)
    assert replica.statistics().replication_error is not None
    assert ids(replica) == [1, 2]


async def test_a_new_server_gets_a_copy_of_what_the_log_no_longer_has(
    source: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    source.log = Log(kept=2)
    await insert(source, 1, 2, 3, 4, 5)
    async with open_server([TRUCKS], name="new") as new:
        await new.follow(source)
        await insert(source, 6)
        await trio.sleep(1)
        assert ids(new) == [1, 2, 3, 4, 5, 6]


async def test_a_chain_of_replicas(
    source: EmbeddedServer, replica: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_server([TRUCKS], name="third") as third:
        await third.follow(replica)
        await insert(source, 1, 2)
        await trio.sleep(1)
        assert ids(third) == [1, 2]


async def test_a_change_that_does_not_fit_stops_replication(
    source: EmbeddedServer, replica: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    table = replica.database.tables["cars", "trucks"]
    table.insert([1, b"somebody wrote here", None])
    await insert(source, 1)
    await trio.sleep(1)
    assert "another row has a key" in str(replica.statistics().replication_error)


async def test_synchronous_replication_may_be_switched_off(
    source: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    source.synchronous = 1
    transport = await writer(source)
    transport.send(b"0\t+\t3\t2\tc\t1\n")
    await trio.sleep(1000)
    assert transport.receive() is None
    source.synchronous = 0
    assert await receive(transport) == b"0\t1\t0\n"


async def test_a_copy_of_unknown_tables_stops_replication(
    source: EmbeddedServer, autojump_clock: trio.testing.MockClock
) -> None:
    source.log = Log(kept=1)
    await insert(source, 1, 2)
    async with open_server([], name="empty") as empty:
        await empty.follow(source)
        await trio.sleep(1)
        assert empty.statistics().replication_error == "there is no table cars.trucks"


def test_the_log_knows_what_it_holds() -> None:
    log = Log(kept=2)
    assert log.holds(Position())
    assert str(log.position) == "the beginning"

    async def fill() -> None:
        for number in (1, 2, 3):
            log.append(Transaction(Position(number, "a"), []))
        await trio.lowlevel.checkpoint()

    trio.run(fill)
    assert [log.holds(Position(number, "a")) for number in range(5)] == [False, True, True, True, False]
    assert not log.holds(Position(2, "b"))
    assert [transaction.position.number for transaction in log.take_back(1)] == [3]
    assert log.position == Position(2, "a")
    assert issubclass(ReplicationError, Exception)
