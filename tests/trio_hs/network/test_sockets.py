"""Pools: who serves, who is avoided, who comes back. Fake servers, virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.trio_hs.support.fake import FakeServer, Network, echo
from trio_hs import (
    AuthenticationError,
    ConnectionError,
    DuplicateKeyError,
    Find,
    FindModify,
    Insert,
    Server,
    open_read_socket,
    open_write_socket,
)
from trio_hs.pool import LONGEST_PAUSE, SHORTEST_PAUSE, Pool, background_nursery, parse_servers
from trio_hs.protocol import Index, get_tail
from trio_hs.sockets import RUN_REQUESTS

INDEX = Index("d", "t", ["id"])
A, B, C = (("inet", "fake", port) for port in (1, 2, 3))


@asynccontextmanager
async def pool_of(nursery: trio.Nursery, servers: Any, **options: Any) -> AsyncIterator[tuple[Pool, dict[int, FakeServer]]]:
    fakes = {port: FakeServer(nursery) for port in (1, 2, 3)}
    options = {"secret": None, "timeout": 3.0, "connections": 1, "rng": random.Random(0), **options}
    async with background_nursery() as background:
        yield Pool(background, servers, connect=Network(fakes).connect, **options), fakes
    await wait_all_tasks_blocked()
    assert not any(fake.open for fake in fakes.values())


async def ask(pool: Pool, value: str = "x") -> None:
    request = await pool.execute(INDEX, (get_tail(value.encode()),))
    if request.failure is not None:
        raise request.failure
    assert request.answers == [b"0\t1\t" + value.encode()]


REFUSED = ConnectionRefusedError(111, "Connection refused")


@pytest.mark.parametrize(
    "servers, groups",
    [
        ([A, B], [[A, B]]),
        ([[A], [B]], [[A], [B]]),
        ([[A, B], [C]], [[A, B], [C]]),
        ([("unix", "/s")], [[("unix", "/s", None, None)]]),
        ([("inet", "h", 1, 2.5)], [[("inet", "h", 1, 2.5)]]),
        ([Server("inet", "h", 1, secret="s")], [[("inet", "h", 1, None, "s")]]),
    ],
)
def test_servers(servers: Any, groups: Any) -> None:
    assert parse_servers(servers) == [[Server(*server) for server in group] for group in groups]


@pytest.mark.parametrize(
    "servers, match",
    [
        ([], "list of servers"),
        ("localhost:9998", "list of servers"),
        (None, "list of servers"),
        ([[]], "empty"),
        (["localhost"], "a server is"),
        ([("inet", "localhost")], "None is no port of localhost"),
        ([("inet", "localhost", "9998")], "'9998' is no port"),
        ([("inet", "localhost", 0)], "0 is no port"),
        ([("inet", "localhost", 70000)], "70000 is no port"),
        ([("inet", "", 1)], "'' is no host"),
        ([("tcp", "localhost", 1)], "not 'tcp'"),
        ([("unix", "/s", 1)], "no port"),
        ([("inet", "localhost", 1, 0)], "positive"),
        ([("inet", "localhost", 1, 2, 3)], "a server is"),
    ],
)
def test_wrong_servers_say_what_is_wrong(servers: Any, match: str) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        parse_servers(servers)


async def test_equals_share_the_load(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A, B]) as (pool, fakes):
        await ask(pool)
        await wait_all_tasks_blocked()
        for _ in range(100):
            await ask(pool)
        assert abs(len(fakes[1].requests) - len(fakes[2].requests)) <= 3


async def test_the_busier_server_gets_less(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A, B]) as (pool, fakes), trio.open_nursery() as callers:
        await ask(pool)
        await wait_all_tasks_blocked()
        fakes[1].gate = trio.Event()
        for _ in range(10):
            callers.start_soon(ask, pool)
        await wait_all_tasks_blocked()
        for _ in range(20):
            with trio.fail_after(1):
                await ask(pool)  # goes to 2, for something waits at 1
        fakes[1].gate.set()


async def test_nothing_is_connected_before_the_first_use(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A]) as (_, fakes):
        await trio.sleep(10)
        assert not fakes[1].connections


async def test_the_standby_serves_only_while_the_preferred_group_is_down(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with pool_of(nursery, [[A], [B]]) as (pool, fakes):
        for _ in range(5):
            await ask(pool)
        assert not fakes[2].requests
        fakes[1].refuses = REFUSED
        fakes[1].connections[-1].reset()
        await wait_all_tasks_blocked()
        started = trio.current_time()
        for _ in range(5):
            await ask(pool)
        assert trio.current_time() - started < 0.1
        assert len(fakes[2].requests) == 5
        fakes[1].refuses = None
        await trio.sleep(LONGEST_PAUSE + 0.1)
        await ask(pool)
        assert len(fakes[2].requests) == 5


async def test_a_preferred_server_that_hangs_is_waited_for_only_briefly(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with pool_of(nursery, [[A], [B]]) as (pool, fakes):
        fakes[1].gate = trio.Event()  # accepts, never answers
        started = trio.current_time()
        await ask(pool)
        assert trio.current_time() - started < 0.3
        assert fakes[2].requests


async def test_a_listener_that_never_answers_is_not_usable(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A, B]) as (pool, fakes):
        fakes[1].gate = trio.Event()
        for _ in range(20):
            with trio.fail_after(0.1):
                await ask(pool)
        assert not fakes[1].requests


async def test_a_stalled_server_is_avoided_before_its_timeout(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A, B]) as (pool, fakes), trio.open_nursery() as callers:
        await ask(pool)
        await wait_all_tasks_blocked()
        fakes[1].gate = trio.Event()

        async def stuck() -> None:
            await pool.execute(INDEX, (get_tail(b"x"),))

        for _ in range(4):
            callers.start_soon(stuck)
        await trio.sleep(0.6)
        # More wait at 2 than at 1, and yet 2 is chosen.
        fakes[2].gate = trio.Event()
        for _ in range(6):
            callers.start_soon(stuck)
        await wait_all_tasks_blocked()
        before = len(fakes[2].connections[0].transport.to_server)
        assert before > 0 or fakes[2].lines
        stalled = [link.connection for link in pool.groups[0] if link.connection and link.connection.stalled]
        assert len(stalled) == 1
        assert stalled[0].outstanding <= 4
        fakes[1].gate.set()
        fakes[2].gate.set()


async def test_a_server_that_comes_back_is_used_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A]) as (pool, fakes):
        await ask(pool)
        fakes[1].refuses = REFUSED
        fakes[1].connections[-1].reset()
        await wait_all_tasks_blocked()
        with pytest.raises(ConnectionError, match=r"no server is usable \(fake:1: Connection refused") as caught:
            await ask(pool)
        assert not caught.value.maybe_applied
        fakes[1].refuses = None
        await ask(pool)  # a caller does not wait for the end of the pause


async def test_probing_backs_off(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A]) as (pool, fakes):
        fakes[1].refuses = REFUSED
        with pytest.raises(ConnectionError):
            await ask(pool)
        before = pool.groups[0][0].failed_attempts
        await trio.sleep(60)
        assert 60 <= pool.groups[0][0].failed_attempts - before <= 60 / (LONGEST_PAUSE / 2) + 10


async def test_an_idle_connection_that_the_server_closes_costs_nobody_an_error(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with pool_of(nursery, [A]) as (pool, fakes):
        for _ in range(5):
            await ask(pool)
            await trio.sleep(34)
            fakes[1].connections[-1].end()
            await wait_all_tasks_blocked()
        assert len(fakes[1].connections) == 6


async def test_a_server_that_lets_in_and_hangs_up_is_not_stormed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A]) as (pool, fakes):

        async def hang_up() -> None:
            while True:
                await trio.sleep(0.001)
                for connection in fakes[1].open:
                    connection.end()

        nursery.start_soon(hang_up)
        with trio.move_on_after(30):
            while True:
                await pool.execute(INDEX, (get_tail(b"x"),))
                await trio.sleep(0.0005)
        assert len(fakes[1].connections) <= 30 / SHORTEST_PAUSE + 1
        nursery.cancel_scope.cancel()


async def test_a_wrong_secret_is_told_as_such(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A, B], secret="s3cret") as (pool, fakes):
        for fake in fakes.values():
            fake.answer = lambda line: b"3\t1\tunauth\n" if line[:1] == b"A" else echo(line)
        with pytest.raises(AuthenticationError, match="fake:1, fake:2: authentication failed") as caught:
            await ask(pool)
        assert "s3cret" not in str(caught.value) + repr(pool)


async def test_a_server_may_have_a_secret_of_its_own(nursery: trio.Nursery) -> None:
    server = Server("inet", "fake", 1, secret="own")
    assert "own" not in repr(server) + str(server)
    async with pool_of(nursery, [server], secret="common") as (pool, fakes):
        await ask(pool)
        assert fakes[1].lines[0] == b"A\t1\town"


async def test_a_server_without_authentication_is_fine_when_there_is_no_secret(nursery: trio.Nursery) -> None:
    async with pool_of(nursery, [A]) as (pool, fakes):
        fakes[1].answer = lambda line: b"2\t1\tcmd\n" if line[:1] == b"A" else echo(line)
        await ask(pool)


async def test_a_name_that_does_not_resolve(nursery: trio.Nursery) -> None:
    async with background_nursery() as background:
        for host in ("no-such-host.invalid", "x" * 300, "a..b"):
            pool = Pool(background, [("inet", host, 1)], secret=None, timeout=3.0, connections=1)
            with pytest.raises(ConnectionError, match="no server is usable"):
                await ask(pool)


async def test_several_connections_to_a_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A], connections=3) as (pool, fakes):
        await ask(pool)
        await wait_all_tasks_blocked()
        assert len(fakes[1].open) == 3


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"timeout": -1}, {"connections": 0}, {"secret": b"x"}])
async def test_settings_that_cannot_work_are_refused(nursery: trio.Nursery, wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        async with pool_of(nursery, [A], **wrong):
            pass


async def test_the_users_exception_leaves_the_block_as_it_is(nursery: trio.Nursery) -> None:
    async def user() -> None:
        async with pool_of(nursery, [A]) as (pool, _):
            await ask(pool)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await user()


async def test_cancelling_the_block_leaves_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    with trio.move_on_after(1) as scope:
        async with pool_of(nursery, [A, [B]][:1]) as (pool, fakes):
            await ask(pool)
            fakes[1].gate = trio.Event()
            await ask(pool)
    assert scope.cancelled_caught


async def test_index_numbers_are_taken_back(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fake = FakeServer(nursery)
    async with open_write_socket([A], connect=fake.connect) as hs:
        first = await hs.get_index_id("d", "t", ["id"])
        second = await hs.get_index_id("d", "u", ["id"])
        assert first != second
        assert await hs.find(first, "=", ["x"]) == [["x"]]
        await hs.purge_index(first)
        for use in (hs.find(first, "=", ["x"]), hs.purge_index(first)):
            with pytest.raises(ValueError, match=f"no index {first}"):
                await use
        assert await hs.find(second, "=", ["x"]) == [["x"]]
        assert await hs.get_index_id("d", "t", ["id"]) not in (first, second)
        await hs.purge()
        with pytest.raises(ValueError, match="no index"):
            await hs.insert(second, ["x"])
        third = await hs.get_index_id("d", "u", ["id"])
        assert await hs.find(third, "=", ["x"]) == [["x"]]
        assert len(fake.connections) == 2
        assert len(fake.open) == 1


async def test_a_server_that_dies_of_every_request_gives_way_to_the_standby(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with pool_of(nursery, [[A], [B]]) as (pool, fakes):

        def die(line: bytes) -> bytes | None:
            if line[:1] == b"A":
                return echo(line)
            fakes[1].connections[-1].end()
            return None

        fakes[1].answer = die
        served = 0
        for _ in range(100):
            request = await pool.execute(INDEX, (get_tail(b"x"),))
            served += request.failure is None
            await trio.sleep(0.01)
        assert served > 50


async def test_a_refusing_server_does_not_prolong_the_wait_for_a_silent_one(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with pool_of(nursery, [[A], [B, C]]) as (pool, fakes):
        fakes[1].gate = trio.Event()
        fakes[2].refuses = REFUSED
        started = trio.current_time()
        await ask(pool)
        assert trio.current_time() - started < 0.5


async def test_the_secret_is_not_shown_when_it_is_echoed(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with pool_of(nursery, [A], secret="TOPSECRET") as (pool, fakes):
        fakes[1].answer = lambda line: line + b"\n"
        with pytest.raises(ConnectionError, match="no HandlerSocket server") as caught:
            await ask(pool)
        assert "TOPSECRET" not in str(caught.value) + repr(caught.value.__cause__) + repr(pool) + caplog.text
    misplaced: Any = ("inet", "h", 1, None, "TOPSECRET")
    with pytest.raises(TypeError) as wrong:
        parse_servers([misplaced])
    assert "TOPSECRET" not in str(wrong.value)


async def test_a_connect_that_fails_in_its_own_way_ends_no_block(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def connect(server: Server) -> Any:
        raise trio.BrokenResourceError("a proxy of mine")

    async with background_nursery() as background:
        pool = Pool(background, [A], secret=None, timeout=3.0, connections=1, connect=connect)
        with pytest.raises(ConnectionError, match="a proxy of mine"):
            await ask(pool)


async def test_a_frozen_server_is_avoided_on_every_connection_to_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A, B], connections=2) as (pool, fakes), trio.open_nursery() as callers:
        await ask(pool)
        await wait_all_tasks_blocked()
        fakes[1].gate = trio.Event()
        while not any(link.connection and link.connection.load for link in pool.groups[0]):
            callers.start_soon(ask, pool)
            await wait_all_tasks_blocked()
        await trio.sleep(0.7)
        for _ in range(20):
            with trio.fail_after(0.1):
                await ask(pool)
        fakes[1].gate.set()


async def test_a_stalled_group_is_left_before_its_timeout_and_gone_back_to(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with pool_of(nursery, [[A], [B]]) as (pool, fakes), trio.open_nursery() as callers:
        await ask(pool)
        fakes[1].gate = trio.Event()
        callers.start_soon(ask, pool)
        await trio.sleep(0.7)
        for _ in range(3):
            with trio.fail_after(0.1):
                await ask(pool)
        assert len(fakes[2].requests) == 3
        fakes[1].gate.set()
        await wait_all_tasks_blocked()
        await ask(pool)
        assert len(fakes[1].requests) == 3


async def test_when_all_stall_they_are_used_all_the_same(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [[A], [B]]) as (pool, fakes), trio.open_nursery() as callers:
        await ask(pool)
        for port in (1, 2):
            fakes[port].gate = trio.Event()
            callers.start_soon(ask, pool)
            await trio.sleep(0.7)
        callers.start_soon(ask, pool)
        await wait_all_tasks_blocked()
        for port in (1, 2):
            fakes[port].gate.set()


async def test_a_worn_connection_is_replaced(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_hs.connection.MAX_OPENED", 10)
    async with pool_of(nursery, [A]) as (pool, fakes):
        for number in range(25):
            request = await pool.execute(Index("d", f"t{number}", ["id"]), (get_tail(b"x"),))
            assert request.failure is None
        await wait_all_tasks_blocked()
        assert len(fakes[1].connections) == 3
        assert len(fakes[1].open) == 1


async def test_the_error_of_an_operation_without_a_server_names_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fake = FakeServer(nursery)
    fake.refuses = REFUSED
    async with open_write_socket([A], connect=fake.connect) as hs:
        index_id = await hs.get_index_id("d", "t", ["id"])
        with pytest.raises(ConnectionError, match=r"^insert d\.t: no server is usable \(fake:1: Connection refused\)"):
            await hs.insert(index_id, [1])


async def test_execute_many_is_one_pipeline_with_an_outcome_for_each(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    def answer(line: bytes) -> bytes:
        return b"1\t1\t121\n" if line.endswith(b"\t+\t1\ttaken") else echo(line)

    fake = FakeServer(nursery, answer)
    async with open_write_socket([A], connect=fake.connect) as hs:
        one = await hs.get_index_id("d", "t", ["id"])
        two = await hs.get_index_id("d", "u", ["id"])
        await hs.find(one, "=", ["warm"])
        before = fake.connections[0].transport.sends
        results = await hs.execute_many(
            [
                Find(one, "=", ["a"]),
                Insert(two, ["taken"]),
                Insert(one, ["free"]),
                FindModify(two, "=", ["b"], "+", [1]),
                FindModify(two, "=", ["c"], "U?", [1]),
                Find(two, "=", [], in_=(0, ["d"])),
            ]
        )
        assert isinstance(results.pop(1), DuplicateKeyError)
        assert results == [[["a"]], 1, 1, [["c"]], [["d"]]]
        assert fake.connections[0].transport.sends == before + 1
        assert await hs.execute_many([]) == []


async def test_execute_many_refuses_before_anything_is_sent(nursery: trio.Nursery) -> None:
    fake = FakeServer(nursery)
    async with open_read_socket([A], connect=fake.connect) as hs:
        index_id = await hs.get_index_id("d", "t", ["id"])
        with pytest.raises(TypeError, match=r"trio_hs\.Find"):
            await hs.execute_many([Find(index_id, "=", ["a"]), Insert(index_id, ["a"])])
        with pytest.raises(ValueError, match="operation"):
            await hs.execute_many([Find(index_id, "=", ["a"]), Find(index_id, "~", ["a"])])
    async with open_write_socket([A], connect=fake.connect) as hs:
        with pytest.raises(TypeError, match="Find, Insert or FindModify"):
            await hs.execute_many([("=", ["a"])])  # type: ignore[list-item]
    assert not fake.lines


async def test_execute_many_on_a_dying_connection_tells_each_write_apart(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    fake = FakeServer(nursery, lambda line: None if line.endswith(b"silent") else echo(line))
    async with open_write_socket([A], connect=fake.connect) as hs:
        index_id = await hs.get_index_id("d", "t", ["id"])

        async def reset() -> None:
            await wait_all_tasks_blocked()
            fake.connections[0].reset()

        nursery.start_soon(reset)
        results = await hs.execute_many([Insert(index_id, ["a"]), Insert(index_id, ["silent"]), Find(index_id, "=", ["x"])])
        assert results[0] == 1
        assert [getattr(result, "maybe_applied", None) for result in results] == [None, True, False]


async def test_execute_many_ends_on_its_connection_though_that_is_renewed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A purge lets what is under way be answered, the part of a long pipeline that was not sent yet included."""
    fake = FakeServer(nursery)
    async with open_write_socket([A], connect=fake.connect) as hs:
        index_id = await hs.get_index_id("d", "t", ["id"])
        await hs.find(index_id, "=", ["warm"])
        fake.gate = trio.Event()

        async def renew() -> None:
            await wait_all_tasks_blocked()
            await hs.purge()
            fake.gate.set()

        nursery.start_soon(renew)
        requests = [Insert(index_id, [number]) for number in range(3 * RUN_REQUESTS)]
        assert await hs.execute_many(requests) == [1] * len(requests)
        await wait_all_tasks_blocked()
        assert fake.connections[0] not in fake.open


async def test_a_cancelled_execute_many_leaves_the_connection_in_order(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    fake = FakeServer(nursery)
    async with open_write_socket([A], connect=fake.connect) as hs:
        index_id = await hs.get_index_id("d", "t", ["id"])
        await hs.find(index_id, "=", ["warm"])
        fake.gate = trio.Event()
        with trio.move_on_after(0.1) as scope:
            await hs.execute_many([Find(index_id, "=", [str(number)]) for number in range(2000)])
        assert scope.cancelled_caught
        fake.gate.set()
        assert await hs.find(index_id, "=", ["mine"]) == [["mine"]]
        assert len(fake.connections) == 1
