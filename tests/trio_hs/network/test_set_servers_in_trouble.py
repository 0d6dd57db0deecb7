"""``Manager.set_servers`` while servers fail, callers wait, or the change itself is cancelled. Fake servers, virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.trio_hs.support.clients import A, B, C, D, E, asked, get, incr, managed
from tests.trio_hs.support.fake import (
    REFUSED,
    FakeServer,
    black_hole,
    kill,
    read_only,
    slow_to_connect,
)
from trio_hs import AuthenticationError, ConnectionError, RetryPolicy
from trio_hs._network._link import LONGEST_PAUSE


@pytest.mark.parametrize("wrong", ["down", "silent", "secret"])
async def test_servers_of_which_none_is_usable_are_refused(
    wrong: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        await hs.set_servers(readers=[A])
        await get(hs)
        await incr(hs)
        if wrong == "down":
            fakes[2].refuses = REFUSED
        elif wrong == "silent":
            black_hole(fakes[2])
        else:
            fakes[2].answer = lambda line: b"3\t1\tunauth\n"
        kind = AuthenticationError if wrong == "secret" else ConnectionError
        callers.start_soon(get, hs)
        with pytest.raises(kind, match="fake:2") as caught:
            await hs.set_servers(readers=[B], writers=[D])
        if wrong == "down":
            assert (
                str(caught.value) == "set_servers(readers=) changed nothing: no server is usable (fake:2: Connection refused)"
            )
        await get(hs)
        await incr(hs)
        assert [server.server for server in hs.statistics().readers] == ["fake:1"]
        assert [server.server for server in hs.statistics().writers] == ["fake:3", "fake:4"]
        attempts = len(fakes[2].connections)
        await trio.sleep(60)
        assert len(fakes[2].connections) == attempts
        assert not fakes[2].open
        await hs.set_servers(readers=[A, B])  # where one is usable, the others may come later


async def test_a_server_that_has_just_come_back_is_usable(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It is asked again, though the last attempt has failed and the next one is due later."""
    async with managed(nursery) as (hs, fakes):
        fakes[2].refuses = REFUSED
        await get(hs)
        await trio.sleep(60)
        with pytest.raises(ConnectionError, match="fake:2: Connection refused"), trio.fail_after(LONGEST_PAUSE + 0.1):
            await hs.set_servers(readers=[B])
        fakes[2].refuses = None
        await hs.set_servers(readers=[B])
        await get(hs)
        assert asked(fakes[2]) == 1


async def test_a_server_that_stays_down_delays_no_change(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        black_hole(fakes[2])
        await get(hs)
        await trio.sleep(60)
        with trio.fail_after(0.01):
            await hs.set_servers(readers=[[C], [B], [A]])


async def test_without_a_usable_server_the_change_is_immediate(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Callers that wait then get the new servers, though these are refused at first."""
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        await hs.set_servers(readers=[A])
        await get(hs)
        black_hole(fakes[1])
        callers.start_soon(get, hs, "waits")
        await trio.sleep(4)  # its connection was given up
        callers.start_soon(get, hs, "waits too")
        await trio.sleep(0.1)
        fakes[2].refuses = REFUSED
        with trio.fail_after(0.001):
            await hs.set_servers(readers=[B])
        await trio.sleep(0.1)
        fakes[2].refuses = None
    assert asked(fakes[2]) == 2


async def test_the_last_server_dies_while_the_new_ones_are_connected(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        await hs.set_servers(readers=[A])
        await get(hs)
        slow_to_connect(fakes[2], 1)
        returned = False

        @callers.start_soon
        async def change() -> None:
            nonlocal returned
            await hs.set_servers(readers=[B])
            returned = True

        await trio.sleep(0.5)
        assert not returned
        kill(fakes[1])
        await trio.sleep(0.1)
        assert returned
        await get(hs)
        assert asked(fakes[2]) == 1


@pytest.mark.parametrize("after", [0.5, 1.5])
async def test_a_cancelled_change_has_happened_or_not(after: float, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        await hs.set_servers(readers=[A])
        await get(hs)
        slow_to_connect(fakes[2], 1)
        fakes[1].gate = trio.Event()
        callers.start_soon(get, hs)
        await wait_all_tasks_blocked()
        with trio.move_on_after(after) as scope:
            await hs.set_servers(readers=[B])
        assert scope.cancelled_caught
        fakes[1].gate.set()
        await get(hs)
        changed = after > 1
        assert asked(fakes[2]) == changed
        await trio.sleep(5)
        assert bool(fakes[1].open) != changed
        assert bool(fakes[2].open) == changed
        await hs.set_servers(readers=[B])
        await get(hs)
        assert asked(fakes[2]) == changed + 1


async def test_both_lists_change_or_none(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await get(hs)
        await incr(hs)
        fakes[5] = FakeServer(nursery)
        fakes[5].refuses = REFUSED
        with pytest.raises(ConnectionError, match=r"set_servers\(writers=\) changed nothing: .*fake:5"):
            await hs.set_servers(readers=[A], writers=[E])
        assert len(hs.statistics().readers) == 2


async def test_a_removed_server_that_is_silent_is_waited_for_as_long_as_it_may_be(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        await incr(hs)
        fakes[3].gate = trio.Event()

        @callers.start_soon
        async def write() -> None:
            with pytest.raises(ConnectionError) as caught:
                await incr(hs)
            assert caught.value.maybe_applied

        await wait_all_tasks_blocked()
        started = trio.current_time()
        await hs.set_servers(writers=[D])
        assert 2.9 < trio.current_time() - started < 3.5


async def test_a_write_that_a_removed_server_refuses_goes_to_a_new_one(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A planned switch-over: the old primary has become read-only under the write."""
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        await hs.set_servers(writers=[C])
        await incr(hs)
        fakes[3].gate = trio.Event()
        callers.start_soon(incr, hs)
        await wait_all_tasks_blocked()
        callers.start_soon(lambda: hs.set_servers(writers=[D]))
        await trio.sleep(0.1)
        fakes[3].answer = read_only
        fakes[3].gate.set()
    assert asked(fakes[4]) == 1


async def test_a_read_whose_removed_server_dies_goes_to_a_new_one(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        await hs.set_servers(readers=[A])
        await get(hs)
        fakes[1].gate = trio.Event()
        callers.start_soon(get, hs)
        await wait_all_tasks_blocked()
        callers.start_soon(lambda: hs.set_servers(readers=[B]))
        await trio.sleep(0.1)
        kill(fakes[1])
    assert asked(fakes[2]) == 1


async def test_a_closed_manager_takes_no_servers(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await get(hs)
        slow_to_connect(fakes[2], 1)

        @nursery.start_soon
        async def late() -> None:
            with pytest.raises(ConnectionError, match="the pool is closed"):
                await hs.set_servers(readers=[("inet", "fake", 2, 9.0)])

        await trio.sleep(0.5)
    with pytest.raises(ConnectionError, match="the pool is closed"):
        await hs.set_servers(readers=[A])
    await trio.sleep(5)
    assert not any(fake.open for fake in fakes.values())


async def test_an_operation_still_waits_until_its_deadline(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(attempts=100, deadline=20)) as (hs, fakes), trio.open_nursery() as callers:
        await hs.set_servers(readers=[A])
        await get(hs)
        kill(fakes[1])
        connect = fakes[2].connect
        black_hole(fakes[2])
        await hs.set_servers(readers=[B])
        callers.start_soon(get, hs)
        await trio.sleep(15)
        fakes[2].gate.set()
        fakes[2].connect = connect  # type: ignore[method-assign]


async def test_whoever_waits_for_connections_waits_for_those_of_now(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        await hs.set_servers(readers=[A])
        black_hole(fakes[1])
        returned = trio.Event()

        @callers.start_soon
        async def connect() -> None:
            await hs.connect(writes=False)
            returned.set()

        await trio.sleep(1)
        await hs.set_servers(readers=[B])
        with trio.fail_after(0.1):
            await returned.wait()


async def test_a_caller_waits_until_each_new_server_has_failed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(attempts=1)) as (hs, fakes), trio.open_nursery() as callers:
        fakes[1].refuses = REFUSED
        black_hole(fakes[2])
        callers.start_soon(get, hs)
        await trio.sleep(1)
        slow_to_connect(fakes[3], 1)
        await hs.set_servers(readers=[A, C])
    assert asked(fakes[3]) == 1


async def test_readers_that_die_do_not_wait_for_new_writers(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        fakes[5] = FakeServer(nursery)
        await hs.set_servers(readers=[A])
        await get(hs)
        await incr(hs)
        slow_to_connect(fakes[5], 1)
        slow_to_connect(fakes[2], 1)
        callers.start_soon(lambda: hs.set_servers(readers=[B], writers=[E]))
        await trio.sleep(0.5)
        kill(fakes[1])
        await trio.sleep(0.1)
        assert [server.server for server in hs.statistics().writers] == ["fake:5"]
        await get(hs)
        await incr(hs)


async def test_an_attempt_to_connect_ends_with_the_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[2].gate = trio.Event()  # it accepts connections, and does not answer
        await get(hs)
        await trio.sleep(10)
        while not fakes[2].open:  # noqa: ASYNC110  (between two attempts)
            await trio.sleep(0.1)
        await hs.set_servers(readers=[A])
        assert not fakes[2].open
        attempts = len(fakes[2].connections)
        await trio.sleep(60)
        assert len(fakes[2].connections) == attempts


async def test_a_connection_that_is_just_renewed_is_no_reason_to_hurry(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The present server is usable in a moment, so a list without any usable one is refused."""
    async with managed(nursery) as (hs, fakes):
        await hs.set_servers(readers=[A])
        await get(hs)
        slow_to_connect(fakes[1], 0.1)
        fakes[1].connections[-1].end()
        await wait_all_tasks_blocked()
        fakes[2].refuses = REFUSED
        with pytest.raises(ConnectionError):
            await hs.set_servers(readers=[B])
        await get(hs)


@pytest.mark.parametrize("attempt", range(10))
async def test_a_change_that_is_cancelled_at_any_point_leaves_nothing_behind(
    attempt: int, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Trio runs the tasks of one pass in a random order, so each point is tried several times."""
    async with managed(nursery) as (hs, fakes):
        await hs.set_servers(readers=[A])
        await get(hs)
        for passes in range(25):
            before = "fake:1"
            async with trio.open_nursery() as changes:

                @changes.start_soon
                async def change() -> None:
                    await hs.set_servers(readers=[B])

                for _ in range(passes):
                    await trio.lowlevel.checkpoint()
                changes.cancel_scope.cancel()
            await wait_all_tasks_blocked()
            (used,) = (server.server for server in hs.statistics().readers)
            assert passes < 20 or used != before
            assert bool(fakes[1].open) == (used == "fake:1")
            assert bool(fakes[2].open) == (used == "fake:2")
            await get(hs)
            await hs.set_servers(readers=[A])
