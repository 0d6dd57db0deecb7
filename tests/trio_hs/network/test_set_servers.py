"""``Manager.set_servers``: other servers while requests are under way, and no caller notices. Fake servers, virtual time."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import A, B, C, D, E, asked, get, incr, managed
from tests.trio_hs.support.fake import (
    FakeServer,
    Network,
    echo,
    kill,
    slow_to_connect,
)


async def test_no_caller_notices(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        done = 0
        stop = False

        async def user(number: int) -> None:
            nonlocal done
            while not stop:
                with trio.fail_after(0.5):
                    await get(hs, number)
                    await incr(hs)
                done += 1
                await trio.sleep(0.001)

        async with trio.open_nursery() as users:
            for number in range(10):
                users.start_soon(user, number)
            lists: list[tuple[list[Any], list[Any]]] = [([A], [D]), ([[B], [A]], [[C], [D]]), ([B], [C]), ([A, B], [D])]
            for readers, writers in lists * 3:
                await trio.sleep(0.05)
                await hs.set_servers(readers=readers, writers=writers)
                used = {
                    server[2] for group in (*readers, *writers) for server in (group if isinstance(group, list) else [group])
                }
                for port, fake in fakes.items():
                    assert bool(fake.open) == (port in used), (readers, writers, port)
            stop = True
        assert done > 300


async def test_requests_under_way_are_answered_where_they_are(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        await hs.set_servers(readers=[A])
        await get(hs)
        fakes[1].gate = trio.Event()
        callers.start_soon(get, hs, "under way")
        await wait_all_tasks_blocked()
        returned = trio.Event()

        @callers.start_soon
        async def change() -> None:
            await hs.set_servers(readers=[B])
            returned.set()

        await trio.sleep(0.1)
        await get(hs, "new")
        assert asked(fakes[2]) == 1
        assert not returned.is_set()  # 1 must not be shut down yet
        fakes[1].gate.set()
        with trio.fail_after(0.1):
            await returned.wait()
        assert asked(fakes[1]) == 2
        assert not fakes[1].open


async def test_new_servers_are_connected_before_they_are_needed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        await hs.set_servers(readers=[A])
        await get(hs)
        slow_to_connect(fakes[2], 1)
        callers.start_soon(lambda: hs.set_servers(readers=[B]))
        for _ in range(20):
            await trio.sleep(0.1)
            with trio.fail_after(0.001):
                await get(hs)
        assert 10 <= asked(fakes[1]) <= 12
        assert asked(fakes[2]) >= 9


async def test_a_server_that_stays_keeps_its_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await get(hs)
        await hs.connect(writes=False)
        lists: list[Any] = [[[A], [B]], [[B], [A]], [B], [B, A]]
        for readers in lists:
            await hs.set_servers(readers=readers)
            await get(hs)
        assert len(fakes[2].connections) == 1
        assert len(fakes[1].connections) == 2
        await hs.set_servers(readers=[[B], [A]])
        before = asked(fakes[2])
        for _ in range(4):
            await get(hs)
        assert asked(fakes[2]) == before + 4
        await hs.set_servers(readers=[("inet", "fake", 2, 1.0)])  # another timeout makes another server of it
        await get(hs)
        assert len(fakes[2].connections) == 2


async def test_nothing_is_connected_that_was_not_used(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A listener for writes must not be held by a program that only reads."""
    async with managed(nursery) as (hs, fakes):
        fakes[5] = FakeServer(nursery)
        await get(hs)
        await hs.set_servers(readers=[A], writers=[E])
        await trio.sleep(10)
        assert not fakes[3].connections
        assert not fakes[5].connections
        await incr(hs)
        assert asked(fakes[5]) == 1


async def test_servers_set_during_a_suspension_are_used_afterwards(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        await hs.set_servers(readers=[A])
        await get(hs)
        async with hs.suspended():
            callers.start_soon(get, hs)
            with trio.fail_after(0.001):
                await hs.set_servers(readers=[B])
            await trio.sleep(5)
            assert not any(fake.open for fake in fakes.values())
        await trio.sleep(0.001)
        assert asked(fakes[2]) == 1


async def test_a_suspension_begins_while_new_servers_are_connected(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        await hs.set_servers(readers=[A])
        await get(hs)
        slow_to_connect(fakes[2], 1)
        callers.start_soon(lambda: hs.set_servers(readers=[B]))
        await trio.sleep(0.5)
        async with hs.suspended():
            await trio.sleep(5)
            assert not any(fake.open for fake in fakes.values())
        await get(hs)
        assert asked(fakes[2]) == 1


async def test_of_two_changes_the_later_one_counts(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.set_servers(readers=[A])
        await get(hs)
        slow_to_connect(fakes[2], 1)
        async with trio.open_nursery() as changes:
            changes.start_soon(lambda: hs.set_servers(readers=[B], writers=[D]))
            await trio.sleep(0.1)
            changes.start_soon(lambda: hs.set_servers(readers=[A]))
        await get(hs)
        assert not asked(fakes[2])
        assert not fakes[2].open
        await incr(hs)
        assert asked(fakes[4]) == 1


async def test_a_change_happens_while_an_earlier_one_still_waits(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        await hs.set_servers(readers=[A])
        await get(hs)
        fakes[1].gate = trio.Event()
        callers.start_soon(get, hs, "under way")
        await wait_all_tasks_blocked()
        callers.start_soon(lambda: hs.set_servers(readers=[B]))
        await trio.sleep(0.1)
        with trio.move_on_after(0.1) as scope:
            await hs.set_servers(readers=[B, C])
        assert [server.server for server in hs.statistics().readers] == ["fake:2", "fake:3"]
        assert scope.cancelled_caught  # 1 must not be shut down yet: whoever asks again, waits again
        fakes[1].gate.set()
        with trio.fail_after(0.1):
            await hs.set_servers(readers=[B, C])


async def test_what_an_earlier_purge_left_under_way_is_waited_for(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fake = FakeServer(nursery, lambda line: None if line.endswith(b"slow") else echo(line))
    network = Network({1: fake, 2: FakeServer(nursery)})
    async with trio_hs.open_manager([A], [B], connect=network.connect) as hs, trio.open_nursery() as callers:
        await get(hs)
        callers.start_soon(get, hs, "slow")
        await wait_all_tasks_blocked()
        await hs.purge()
        await get(hs)
        with trio.move_on_after(1) as scope:
            await hs.set_servers(readers=[B])
        assert scope.cancelled_caught
        fake.connections[0].say(b"0\t1\tslow\n")


async def test_a_server_that_is_listed_twice_gets_twice_its_share(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await get(hs)
        await hs.set_servers(readers=[A, B, A])
        for _ in range(300):
            await get(hs)
        assert 190 < asked(fakes[1]) < 210
        assert len(fakes[1].open) == 2
        await hs.set_servers(readers=[A, B])
        assert len(fakes[1].open) == len(fakes[2].open) == 1


@pytest.mark.parametrize(
    "lists, why",
    [
        ({}, "set_servers takes readers, writers or both"),
        ({"readers": []}, "readers must be a list of servers, or of groups of them, and is empty"),
        ({"writers": [[]]}, "writers: a group of servers is empty"),
        ({"readers": [A], "writers": []}, "writers must be a list"),
        ({"readers": "fake:1"}, "readers must be a list of servers"),
        ({"readers": [A], "writers": [("inet", "fake")]}, "writers: a server is"),
    ],
)
async def test_wrong_lists_change_nothing(lists: Any, why: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, _):
        before = hs.statistics()
        with pytest.raises((TypeError, ValueError), match=why):
            await hs.set_servers(**lists)
        assert hs.statistics() == before


async def test_a_server_with_another_timeout_is_another_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fake = FakeServer(nursery, lambda line: None if line.endswith(b"slow") else echo(line))
    async with trio_hs.open_manager([A], [B], connect=fake.connect) as hs, trio.open_nursery() as callers:
        await get(hs)
        callers.start_soon(get, hs, "slow")
        await wait_all_tasks_blocked()
        with trio.move_on_after(1) as scope:
            await hs.set_servers(readers=[("inet", "fake", 1, 9.0)])
        assert scope.cancelled_caught  # the old connection is still there
        await get(hs)
        assert len(fake.open) == 2
        fake.connections[0].say(b"0\t1\tslow\n")


async def test_a_change_by_the_user_is_no_failover_to_warn_of(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with managed(nursery) as (hs, fakes):
        await hs.set_servers(readers=[A])
        await get(hs)
        await hs.set_servers(readers=[B])
        assert "reads go to fake:2, and no longer to fake:1" in caplog.text
        assert "failover:" not in caplog.text
        await hs.set_servers(readers=[A, B])
        kill(fakes[2])
        await trio.sleep(1)
        assert "failover: reads go to fake:1, and no longer to fake:2" in caplog.text


async def test_a_manager_without_servers_for_writes_gets_some(nursery: trio.Nursery) -> None:
    network = Network({port: FakeServer(nursery) for port in (1, 3)})
    async with trio_hs.open_manager("handlersocket://fake:1", connect=network.connect) as hs:
        with pytest.raises(ValueError, match="no servers for writes"):
            await incr(hs)
        await hs.set_servers(writers=[C])
        await incr(hs)
