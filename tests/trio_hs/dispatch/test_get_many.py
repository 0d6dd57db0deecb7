"""``get_many``: how it divides its keys among requests, and what a failing server costs. Fake servers, virtual time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import READERS, A, B, managed
from tests.trio_hs.support.fake import REFUSED, FakeServer, Network, echo, kill, nonsense
from trio_hs import Column, Columns, ConnectionError, RetryPolicy
from trio_hs._dispatch import _many
from trio_hs._dispatch._many import READ_KEYS
from trio_hs._network._connection import MAX_OUTSTANDING


def without(missing: Callable[[bytes], bool]) -> Callable[[bytes], bytes]:
    """A server that has a row for every key except the missing ones."""

    def serve(line: bytes) -> bytes:
        if line[:1] in (b"A", b"P"):
            return echo(line)
        found = [key for key in echo(line).strip().split(b"\t")[2:] if not missing(key)]
        return b"\t".join([b"0\t1", *found]) + b"\n"

    return serve


async def test_many_keys_come_back_in_their_order(nursery: trio.Nursery) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[1].answer = fakes[2].answer = without(lambda key: key.endswith(b"7"))
        rows = await hs.get_many("d", "t", ["id"], range(2000))
        assert rows == [[] if number % 10 == 7 else [("id", str(number))] for number in range(2000)]
        assert await hs.get_many("d", "t", ["id"], []) == []


async def test_a_wrong_key_is_named_by_its_position(nursery: trio.Nursery) -> None:
    """Whichever part of the keys it is in."""
    async with managed(nursery) as (hs, _):
        for keys in ([*range(1500), object()], [*("x" for _ in range(1500)), "\ud800"]):
            with pytest.raises((TypeError, ValueError), match=r"^values\[1500\]: "):
                await hs.get_many("d", "t", ["id"], keys)
        table = hs.table("d", "t", columns=Columns([Column("id", "int")], {"PRIMARY": ["id"]}))
        with pytest.raises(TypeError, match=r"^values\[1500\]: column id "):
            await table.get_many([*range(1500), "1500"])


async def test_many_keys_that_are_all_there_cost_few_requests(nursery: trio.Nursery) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        before = len(fakes[1].requests) + len(fakes[2].requests)
        keys = [*range(1990), *[5] * 10]
        assert await hs.get_many("d", "t", ["id"], keys) == [[("id", str(key))] for key in keys]
        assert len(fakes[1].requests) + len(fakes[2].requests) - before == 4


async def test_the_first_part_of_many_keys_is_sent_by_itself(nursery: trio.Nursery) -> None:
    """So the server has more to do while the client parses the first rows."""
    sends: list[int] = []

    def answer(line: bytes) -> bytes:
        if b"@" in line:
            sends.append(fake.connections[0].transport.sends)
        return echo(line)

    fake = FakeServer(nursery, answer)
    async with trio_hs.open_manager([("inet", "fake", 1)], connect=fake.connect) as hs:
        await hs.get("d", "t", ["id"], 1)
        before = fake.connections[0].transport.sends
        await hs.get_many("d", "t", ["id"], range(2 * READ_KEYS))
        assert sends == [before + 1, before + 2]


@pytest.mark.parametrize(
    "round_trip,keys,held,sizes",
    [
        (0.0001, 1400, 2, [350, 350, 350, 350]),
        (0.0001, 801, 2, [267, 267, 267]),
        (0.0001, 800, 2, [600, 200]),
        (0.0002, 1400, 2, [600, 600, 200]),
        (None, 1400, 2, [600, 600, 200]),
    ],
)
async def test_a_near_server_gets_smaller_parts_one_for_each_answered(
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    round_trip: float | None,
    keys: int,
    held: int,
    sizes: list[int],
) -> None:
    monkeypatch.setattr("tests.trio_hs.support.fake.MemoryTransport.round_trip", round_trip, raising=False)
    fake = FakeServer(nursery)
    rows: list[Any] = []

    async def get_many(hs: trio_hs.Manager) -> None:
        rows.extend(await hs.get_many("d", "t", ["id"], range(keys)))

    async with trio_hs.open_manager([("inet", "fake", 1)], connect=fake.connect) as hs:
        await hs.get("d", "t", ["id"], 1)
        fake.gate = trio.Event()
        before = fake.connections[0].transport.sends
        async with trio.open_nursery() as users:
            users.start_soon(get_many, hs)
            await wait_all_tasks_blocked()
            assert fake.connections[0].transport.sends - before == held
            fake.gate.set()
    assert keys_in_lists(fake) == sizes
    assert rows == [[("id", str(number))] for number in range(keys)]


def keys_in_lists(fake: FakeServer) -> list[int]:
    """How many keys each received list has."""
    return [int(line.split(b"\t")[8]) for line in fake.requests if b"@" in line]


async def test_several_connections_get_larger_parts_however_near(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They work in parallel. When only one is left, it gets smaller parts."""
    monkeypatch.setattr("tests.trio_hs.support.fake.MemoryTransport.round_trip", 0.0001, raising=False)
    async with managed(nursery) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        await wait_all_tasks_blocked()
        await hs.get_many("d", "t", ["id"], range(1000))
        assert sorted(keys_in_lists(fakes[1]) + keys_in_lists(fakes[2])) == [400, 600]
        kill(fakes[1])
        await wait_all_tasks_blocked()
        fakes[2].lines.clear()
        await hs.get_many("d", "t", ["id"], range(1000))
        assert keys_in_lists(fakes[2]) == [334, 334, 332]


async def test_a_server_behind_a_near_proxy_is_not_near(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel reports the round trip to the proxy only. The first answer shows the rest."""
    monkeypatch.setattr("tests.trio_hs.support.fake.MemoryTransport.round_trip", 0.0001, raising=False)

    async def late(server: trio_hs.Server) -> Any:
        fake.gate = trio.Event()
        nursery.start_soon(let_in)
        return await fake.connect(server)

    async def let_in() -> None:
        await trio.sleep(0.005)
        fake.gate.set()

    fake = FakeServer(nursery)
    async with trio_hs.open_manager([("inet", "fake", 1)], connect=late) as hs:
        await hs.get("d", "t", ["id"], 1)
        await hs.get_many("d", "t", ["id"], range(1000))
    assert keys_in_lists(fake) == [600, 400]


async def test_only_a_part_with_a_missing_row_is_asked_key_by_key(nursery: trio.Nursery) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[1].answer = fakes[2].answer = without(lambda key: key == b"700")
        rows = await hs.get_many("d", "t", ["id"], range(2000))
        assert rows == [[] if number == 700 else [("id", str(number))] for number in range(2000)]
        least = math.ceil(2000 / READ_KEYS) + READ_KEYS
        assert least <= len(fakes[1].requests) + len(fakes[2].requests) <= least + 2  # an index opened on each


async def test_keys_with_a_null_are_asked_one_by_one(nursery: trio.Nursery) -> None:
    """IN would search for a zero byte instead of NULL."""
    async with managed(nursery) as (hs, fakes):
        rows = await hs.get_many("d", "t", ["id"], [None, *range(30)])
        assert rows == [[("id", None)], *[[("id", str(number))] for number in range(30)]]
        assert not any(b"@" in line for fake in fakes.values() for line in fake.requests)


async def test_a_null_sends_only_its_own_part_key_by_key(nursery: trio.Nursery) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[1].answer = fakes[2].answer = without(lambda key: key == b"1900")
        keys = [None if number == 700 else number for number in range(4 * READ_KEYS)]
        assert await hs.get_many("d", "t", ["id"], keys) == [
            [] if key == 1900 else [("id", None if key is None else str(key))] for key in keys
        ]
        requests = [line for fake in fakes.values() for line in fake.requests]
        asked = [line.split(b"\t") for line in requests if b"@" in line]
        assert sorted(line[-READ_KEYS] for line in asked) == [b"0", b"1200", b"1800"]  # not the second part
        by_itself = sorted(echo(line).strip(b"\n").split(b"\t")[2] for line in requests if b"@" not in line)
        assert by_itself == sorted(b"\0" if n == 700 else b"%d" % n for n in [*range(600, 1200), *range(1800, 2400)])


async def test_every_key_of_a_list_counts_against_the_bound(nursery: trio.Nursery) -> None:
    """The server builds the rows of all received requests in memory before it sends any."""
    async with managed(nursery) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        await wait_all_tasks_blocked()
        fakes[1].refuses = fakes[2].refuses = REFUSED
        fakes[2].open[0].reset()
        fakes[1].gate = trio.Event()
        async with trio.open_nursery() as users:
            for _ in range(20):
                users.start_soon(hs.get_many, "d", "t", ["id"], range(500))
            await wait_all_tasks_blocked()
            assert hs.statistics().readers[0].outstanding >= MAX_OUTSTANDING
            received = fakes[1].open[0]
            arrived = bytes(received.received + received.transport.to_server).count(b"\t@\t")
            assert 0 < arrived * 500 < MAX_OUTSTANDING + 500
            fakes[1].gate.set()
        assert hs.statistics().readers[0].outstanding == 0


@pytest.mark.parametrize("deadly, deaths", [(b"\t@\t0\t", 1), (b"\t299\n", 2), (b"\t=\t1\t7\n", 2)])
async def test_keys_that_kill_servers_do_not_reach_a_third_one(
    nursery: trio.Nursery, autojump_clock: MockClock, deadly: bytes, deaths: int
) -> None:
    """Servers die of a list; of the list and of the single key; or, because a row is missing, of a single key."""
    fakes = {port: FakeServer(nursery) for port in range(1, 6)}
    died: list[int] = []

    def serving(port: int) -> Callable[[bytes], bytes | None]:
        answer = without(lambda key: key == b"5" and b"=" in deadly)

        def serve(line: bytes) -> bytes | None:
            if deadly in line + b"\n" and not fakes[port].refuses:
                died.append(port)
                kill(fakes[port])
            return answer(line)

        return serve

    for port, fake in fakes.items():
        fake.answer = serving(port)
    readers = [("inet", "fake", port) for port in fakes]
    async with trio_hs.open_manager(readers, READERS, connect=Network(fakes).connect) as hs:
        await hs.get("d", "t", ["id"], 1)
        await wait_all_tasks_blocked()
        with nullcontext() if deaths == 1 else pytest.raises(ConnectionError):
            assert await hs.get_many("d", "t", ["id"], range(300)) == [[("id", str(key))] for key in range(300)]
        assert len(died) == deaths


async def test_many_keys_survive_a_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        await wait_all_tasks_blocked()
        answered = 0

        def serve(line: bytes) -> bytes | None:
            nonlocal answered
            answered += 1
            if answered == 100:
                kill(fakes[1])
            return echo(line)

        fakes[1].answer = serve
        rows = await hs.get_many("d", "t", ["id"], range(2000))
        assert rows == [[("id", str(number))] for number in range(2000)]


async def test_many_keys_raise_the_first_error(nursery: trio.Nursery) -> None:
    async with managed(nursery) as (hs, fakes):
        for port in (1, 2):
            fakes[port].answer = lambda line: b"1\t1\t146\n" if line[-2:] == b"\t9" else echo(line)
        for keys in (range(15), [*range(50), 9]):  # one by one, and by IN
            with pytest.raises(trio_hs.LockTimeoutError, match=r"get_many d\.t"):
                await hs.get_many("d", "t", ["id"], keys)


@pytest.mark.parametrize("policy", [RetryPolicy(), RetryPolicy(deadline=5)])
async def test_many_reads_without_a_server_give_up_like_one(
    nursery: trio.Nursery, autojump_clock: MockClock, policy: RetryPolicy
) -> None:
    """A single get gives up after about 16 s here."""
    async with managed(nursery, retry=policy) as (hs, fakes):
        for fake in fakes.values():
            fake.gate = trio.Event()  # accepts and never answers
        started = trio.current_time()
        with pytest.raises(ConnectionError):
            await hs.get("d", "t", ["id"], 1)
        one = trio.current_time() - started
        started = trio.current_time()
        with pytest.raises(ConnectionError):
            await hs.get_many("d", "t", ["id"], list(range(20_000)))
        assert trio.current_time() - started < 2 * one + 1


@pytest.mark.parametrize("by_list", [True, False])
async def test_parsing_very_many_rows_lets_other_tasks_run(nursery: trio.Nursery, by_list: bool) -> None:
    """By a list of keys, or one by one because a row is missing."""
    fake = FakeServer(nursery, echo if by_list else lambda line: b"0\t1\tx\n" if line[:1].isdigit() else echo(line))
    name = "named" if by_list else "named_each"
    async with trio_hs.open_manager([A], [B], connect=fake.connect) as hs:
        await hs.get("d", "t", ["id"], 1)
        passes = 0
        parsed_at: list[int] = []
        parse = getattr(_many, name)

        def watched(*arguments: Any) -> Any:
            parsed_at.append(passes)
            return parse(*arguments)

        async def tick() -> None:
            nonlocal passes
            while True:
                passes += 1
                await trio.lowlevel.checkpoint()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_many, name, watched)
            async with trio.open_nursery() as ticker:
                ticker.start_soon(tick)
                await hs.get_many("d", "t", ["id"], list(range(40_000)))
                ticker.cancel_scope.cancel()
        assert len(parsed_at) > 50
        assert max(Counter(parsed_at).values()) <= _many.CHUNKS_UNDER_WAY  # in one pass of the scheduler


async def test_nonsense_in_answer_to_get_many_moves_it_to_another_server(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[1].answer = nonsense
        for _ in range(4):
            assert await hs.get_many("d", "t", ["id"], range(500)) == [[("id", str(number))] for number in range(500)]
