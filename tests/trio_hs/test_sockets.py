"""``ReadSocket`` and ``WriteSocket``: index numbers, and many requests in one call. Fake servers, virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import ADDRESS, A
from tests.trio_hs.support.fake import REFUSED, FakeServer, echo, nonsense
from trio_hs import ConnectionError, DuplicateKeyError, Find, FindModify, Insert, open_read_socket, open_write_socket
from trio_hs.sockets import RUN_REQUESTS


async def test_purged_index_numbers_are_invalid(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fake = FakeServer(nursery)
    async with open_write_socket([A], connect=fake.connect) as hs:
        first = await hs.get_index_id("d", "t", ["id"])
        second = await hs.get_index_id("d", "u", ["id"])
        assert first != second
        assert await hs.find(first, "=", ["x"]) == [["x"]]
        await hs.purge_index(first)
        for use in (hs.find(first, "=", ["x"]), hs.purge_index(first)):
            with pytest.raises(ValueError, match=f"no index_id {first}"):
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


async def test_an_error_without_a_usable_server_names_the_operation(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
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
            await hs.execute_many([Find(index_id, "=", ["a"]), Find(index_id, "~", ["a"])])  # type: ignore[arg-type]
    async with open_write_socket([A], connect=fake.connect) as hs:
        with pytest.raises(TypeError, match="Find, Insert or FindModify"):
            await hs.execute_many([("=", ["a"])])  # type: ignore[list-item]
    assert not fake.lines


async def test_execute_many_on_a_dying_connection_gives_each_write_its_outcome(
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


async def test_execute_many_ends_on_its_own_connection_during_a_purge(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A purge lets operations in flight finish, including the unsent part of a long pipeline."""
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


async def test_columns_of_an_index_may_be_a_generator_or_are_refused(nursery: trio.Nursery) -> None:
    fake = FakeServer(nursery)
    async with open_read_socket([A], connect=fake.connect) as hs:
        names: Any = (name for name in ("id",))
        try:
            index_id = await hs.get_index_id("d", "t", names)
        except (TypeError, ValueError):
            return
        assert await hs.find(index_id, "=", ["x"]) == [["x"]]


async def test_a_long_pipeline_does_not_delay_other_callers(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A find beside a very long execute_many waits for about as many requests as may be outstanding, not for all."""
    fake = FakeServer(nursery)
    async with open_read_socket([A], connect=fake.connect) as hs, trio.open_nursery() as callers:
        index_id = await hs.get_index_id("d", "t", ["id"])
        await hs.find(index_id, "=", ["warm"])
        fake.gate = trio.Event()
        callers.start_soon(hs.execute_many, [trio_hs.Find(index_id, "=", ["x"])] * 20_000)
        await wait_all_tasks_blocked()
        callers.start_soon(hs.find, index_id, "=", ["mine"])
        await wait_all_tasks_blocked()
        fake.gate.set()
    assert fake.lines.index(b"0\t=\t1\tmine\t1\t0") < 5000


async def test_nonsense_answers_to_sockets_are_errors(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = FakeServer(nursery, nonsense)
    async with trio_hs.open_write_socket(ADDRESS, connect=server.connect) as hs:
        index = await hs.get_index_id("d", "t", ["id"])
        calls: list[tuple[bool, Callable[[], Any]]] = [
            (False, lambda: hs.find(index, "=", [1])),
            (True, lambda: hs.insert(index, [1])),
            (True, lambda: hs.find_modify(index, "=", [1], "D")),
            (True, lambda: hs.find_modify(index, "=", [1], "U?", [2])),
        ]
        for maybe_applied, call in calls:
            with pytest.raises(trio_hs.IndexedConnectionError) as caught:
                await call()
            assert caught.value.maybe_applied is maybe_applied
            assert isinstance(caught.value.__cause__, trio_hs.ProtocolError)
        assert len(server.connections) == 4
        with pytest.raises(TypeError, match="list of column names"):
            await hs.get_index_id("d", "t", "id")


@pytest.mark.parametrize("kind", [list, tuple, iter])
async def test_a_long_value_may_come_from_an_iterator(kind: Callable[[list[str]], Any], nursery: trio.Nursery) -> None:
    """It was read twice: "insert takes one value per column: 2 columns, 0 values"."""
    value = "g" * 300_001
    async with open_write_socket([A], connect=FakeServer(nursery, lambda line: b"0\t1\t%d\n" % len(line)).connect) as hs:
        index_id = await hs.get_index_id("d", "t", ["id", "n"])
        inserted = await hs.insert(index_id, ["1", value])
        updated = await hs.find_modify(index_id, "=", ["1"], "U", ["1", value])
        assert await hs.insert(index_id, kind(["1", value])) == inserted
        assert await hs.find_modify(index_id, "=", kind(["1"]), "U", kind(["1", value])) == updated
        requests: list[Any] = [
            Insert(index_id, kind(["1", value])),
            FindModify(index_id, "=", kind(["1"]), "U", kind(["1", value])),
        ]
        assert await hs.execute_many(requests) == [inserted, updated]
