"""Hedged reads: a second server is asked when the first is slow. Fake servers, virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.trio_hs.support.clients import A, B, C, ask, managed, pool_of
from tests.trio_hs.support.fake import echo, kill
from trio_hs import ConnectionError, RetryPolicy
from trio_hs._network import Request
from trio_hs._protocol import Index


async def test_a_read_is_hedged_and_the_first_answer_wins(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(hedge_after=0.02)) as (hs, fakes):
        for number in range(4):  # so that both readers are connected, and neither was slow
            assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]
        assert len(fakes[1].requests) + len(fakes[2].requests) == 4
        fakes[1].gate = trio.Event()
        started = trio.current_time()
        for number in range(10):
            assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]
        assert trio.current_time() - started <= 10 * 0.021
        fakes[1].gate.set()
        await wait_all_tasks_blocked()
        # The slower answers were dropped, and both connections still work.
        for number in range(10):
            assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]
        assert len(fakes[1].connections) == len(fakes[2].connections) == 1


async def test_a_hedged_read_waits_for_the_other_when_one_dies(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(hedge_after=0.02, attempts=1)) as (hs, fakes):
        for _ in range(2):
            await hs.get("d", "t", ["id"], 1)
        for port in (1, 2):
            fakes[port].gate = trio.Event()

        async def one_dies_and_the_other_recovers() -> None:
            await trio.sleep(0.1)
            kill(fakes[1])
            await trio.sleep(0.1)
            fakes[2].gate.set()

        nursery.start_soon(one_dies_and_the_other_recovers)
        assert await hs.get("d", "t", ["id"], 7) == [("id", "7")]
        assert trio.current_time() == pytest.approx(0.2, abs=0.05)


async def test_a_hedged_deadly_request_reaches_two_servers_at_most(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(hedge_after=0.02, attempts=9)) as (hs, fakes):
        for _ in range(2):
            await hs.get("d", "t", ["id"], 1)

        def silent(line: bytes) -> bytes | None:
            return None if line.endswith(b"poison") else echo(line)

        for port in (1, 2):
            fakes[port].answer = silent

        async def both_die() -> None:
            await trio.sleep(0.1)
            for port in (1, 2):
                for connection in fakes[port].open:
                    connection.reset()

        nursery.start_soon(both_die)
        with pytest.raises(ConnectionError) as caught:
            await hs.get("d", "t", ["id"], "poison")
        assert not caught.value.maybe_applied
        poisoned = [line for port in (1, 2) for line in fakes[port].requests if line.endswith(b"poison")]
        assert len(poisoned) == 2


async def test_a_cancelled_hedged_read_leaves_both_connections_in_order(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with managed(nursery, retry=RetryPolicy(hedge_after=0.02)) as (hs, fakes):
        for _ in range(2):
            await hs.get("d", "t", ["id"], 1)
        for port in (1, 2):
            fakes[port].gate = trio.Event()
        with trio.move_on_after(0.1) as scope:
            await hs.get("d", "t", ["id"], "gone")
        assert scope.cancelled_caught
        for port in (1, 2):
            fakes[port].gate.set()
        for number in range(4):
            assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]
        assert len(fakes[1].connections) == len(fakes[2].connections) == 1


async def test_cancelled_hedged_reads_that_were_not_sent_are_withdrawn(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with managed(nursery, retry=RetryPolicy(hedge_after=0.02)) as (hs, fakes):
        for _ in range(2):
            await hs.get("d", "t", ["id"], 1)
        for port in (1, 2):
            fakes[port].gate = trio.Event()
        with trio.move_on_after(0.1):
            async with trio.open_nursery() as callers:
                for _ in range(3000):
                    callers.start_soon(hs.get, "d", "t", ["id"], "gone")
        assert [server.outstanding for server in hs.statistics().readers] == [1024, 1024]
        for port in (1, 2):
            fakes[port].gate.set()


async def test_writes_are_never_hedged(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(hedge_after=0.02)) as (hs, fakes):
        await hs.incr("d", "t", "=", ["id"], [1])
        fakes[3].gate = trio.Event()
        with trio.move_on_after(0.15):
            await hs.incr("d", "t", "=", ["id"], [1])
        assert not fakes[4].requests


@pytest.mark.parametrize("keys", [3, 100])
async def test_get_many_is_hedged_like_every_read(nursery: trio.Nursery, autojump_clock: MockClock, keys: int) -> None:
    async with managed(nursery, retry=RetryPolicy(hedge_after=0.02)) as (hs, fakes):
        for _ in range(4):
            await hs.get("d", "t", ["id"], 1)
        fakes[1].gate = trio.Event()
        for _ in range(2):
            with trio.fail_after(0.2):
                await hs.get_many("d", "t", ["id"], range(keys))
        fakes[1].gate.set()


async def test_a_read_is_not_hedged_to_the_frozen_server_itself(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Each server has two connections. What stalls one usually stalls the other too."""
    async with pool_of(nursery, [[A, B, C]], connections=2) as (pool, fakes), trio.open_nursery() as callers:
        await ask(pool)
        await trio.sleep(1)
        for port in (1, 2):
            fakes[port].gate = trio.Event()
        first = {link.peer: link.connection for link in reversed(pool.groups[0])}
        for port in (1, 2):
            connection = first[f"fake:{port}"]
            assert connection is not None
            connection.submit(Request(), Index("d", "t", ["id"]), (b"\t=\t1\tx\n",))
        await trio.sleep(0.7)
        stalled = first["fake:1"]
        assert stalled is not None
        assert stalled.stalled
        other = pool.choose_other(stalled)
        assert other is not None
        assert other.peer == "fake:3"
        for port in (1, 2):
            fakes[port].gate.set()
        del callers
