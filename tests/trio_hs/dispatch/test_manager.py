"""The Manager: what is repeated and what is not. Fake servers, virtual time."""

from __future__ import annotations

import math
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.network.test_sockets import REFUSED
from tests.trio_hs.support.fake import FakeServer, Network, echo
from trio_hs import Column, Columns, ConnectionError, Filter, Manager, OperationalError, RetryPolicy
from trio_hs.caller import CHUNKS_UNDER_WAY, READ_KEYS, WRITE_LINES
from trio_hs.connection import MAX_OUTSTANDING

IDS = Columns([Column("id", "int")], {"PRIMARY": ["id"]})
READERS = [("inet", "fake", 1), ("inet", "fake", 2)]
RESET = ConnectionResetError(104, "Connection reset by peer")
WRITERS = [[("inet", "fake", 3)], [("inet", "fake", 4)]]


@asynccontextmanager
async def managed(nursery: trio.Nursery, **options: Any) -> AsyncIterator[tuple[Manager, dict[int, FakeServer]]]:
    """A manager with the readers 1 and 2, the writer 3 and its standby 4."""
    fakes = {port: FakeServer(nursery) for port in (1, 2, 3, 4)}
    async with trio_hs.open_manager(READERS, WRITERS, connect=Network(fakes).connect, **options) as hs:
        yield hs, fakes


def kill(fake: FakeServer) -> None:
    fake.refuses = REFUSED
    for connection in fake.open:
        connection.reset()


async def test_rows_are_pairs(nursery: trio.Nursery) -> None:
    async with managed(nursery) as (hs, _):
        assert await hs.get("d", "t", ["id"], 5) == [("id", "5")]
        assert await hs.find("d", "t", "=", ["id"], ["a"]) == [[("id", "a")]]
        assert hs.table("d", "t", ["id"]) is hs.table("d", "t", ["id"])
        assert hs.table("d", "t", ["id"]).fields == ("id",)


async def test_wrong_calls_fail_before_anything_is_sent(nursery: trio.Nursery) -> None:
    async with managed(nursery) as (hs, fakes):
        calls: list[tuple[type[Exception], Any]] = [
            (TypeError, lambda: hs.get("d", "t", "id", 5)),
            (TypeError, lambda: hs.get("d", "t", ["id"], object())),  # type: ignore[arg-type]
            (ValueError, lambda: hs.find("d", "t", "~", ["id"], [1])),
            (ValueError, lambda: hs.find("d", "t", "=", ["id"], [1], limit=-1)),
            (ValueError, lambda: hs.find("d", "t", "=", ["id"], [], in_=(0, []))),
            (TypeError, lambda: hs.find("d", "t", "=", ["id"], [1], filters=[Filter(0, "=", 1)])),
            (ValueError, lambda: hs.update("d", "t", "=", ["id", "n"], [1], [2])),
            (ValueError, lambda: hs.incr("d", "t", "=", ["id", "n"], [1])),
            (ValueError, lambda: hs.insert("d", "t", [])),
            (TypeError, lambda: hs.insert("d", "t", {"id": 1})),  # type: ignore[arg-type]
            (TypeError, lambda: hs.insert_many("d", "t", ["id"], [{"id": 1}])),  # type: ignore[list-item]
            (TypeError, lambda: hs.incr("d", "t", "=", ["id"], [1], 1)),  # type: ignore[arg-type]
        ]
        for error, call in calls:
            with pytest.raises(error):
                await call()
        assert not any(fake.connections for fake in fakes.values())


WRONG_ARGUMENTS: list[tuple[Callable[[Manager], Awaitable[object]], type[Exception], str]] = [
    (lambda hs: hs.incr("d", "t", "=", ["n"], [1], 1), TypeError, "^step must be a list of values, not one int"),  # type: ignore[arg-type]
    (lambda hs: hs.decr("d", "t", "=", ["n"], [1], 0), TypeError, "^step must be a list of values, not one int"),  # type: ignore[arg-type]
    (lambda hs: hs.update("d", "t", "=", ["n"], [1], "7"), TypeError, "^update_values must be .*, not one str"),
    (lambda hs: hs.update("d", "t", "=", ["n"], "1", [7]), TypeError, "^values must be a list of values, not one str"),
    (lambda hs: hs.delete("d", "t", "=", ["n"], 1), TypeError, "^values must be a list of values, not one int"),  # type: ignore[arg-type]
    (lambda hs: hs.insert_many("d", "t", ["a", "b"], [[50, 2], [51]]), ValueError, "^row 1: .*: 2 columns, 1 values"),
    (lambda hs: hs.insert_many("d", "t", ["a"], ["1"]), TypeError, "^row 0: values must be a list"),
    (lambda hs: hs.insert_many("d", "t", ["a"], [["1"], ["\ud800"]]), ValueError, "^row 1: 'utf-8' codec can't"),
    (lambda hs: hs.insert("d", "t", [("a", 1), ("b", 2), ("a", 3)]), ValueError, "column a is there twice"),
    (lambda hs: hs.insert_many("d", "t", ["a", "a"], [[1, 2]]), ValueError, "column a is there twice"),
    (lambda hs: hs.update("d", "t", "=", ["a", "a"], [1], [1, 2]), ValueError, "column a is there twice"),
    (lambda hs: hs.incr("d", "t", "=", ["a", "a"], [1], [1, 2]), ValueError, "column a is there twice"),
    (lambda hs: hs.table("d", "t", ["id", "id"], columns=IDS).insert([1, 2]), ValueError, "column id is there twice"),
    (lambda hs: hs.table("d", "t", ["id", "id"], columns=IDS).update("=", [1], [2, 3]), ValueError, "id is there twice"),
]


@pytest.mark.parametrize("call, error, message", WRONG_ARGUMENTS, ids=[message for _, _, message in WRONG_ARGUMENTS])
async def test_the_argument_that_is_wrong_is_named(
    nursery: trio.Nursery, call: Callable[[Manager], Awaitable[object]], error: type[Exception], message: str
) -> None:
    async with managed(nursery) as (hs, fakes):
        with pytest.raises(error, match=message):
            await call(hs)
        assert not any(fake.connections for fake in fakes.values())


async def test_a_field_may_be_read_twice(nursery: trio.Nursery) -> None:
    async with managed(nursery) as (hs, fakes):
        for fake in fakes.values():
            fake.answer = lambda line: b"0\t2\t5\t5\n" if line[:1].isdigit() else echo(line)
        row = [("id", "5"), ("id", "5")]
        assert await hs.get("d", "t", ["id", "id"], 5) == row
        assert await hs.find("d", "t", "=", ["id", "id"], [5]) == [row]
        assert await hs.delete("d", "t", "=", ["id", "id"], [5], return_original=True) == [row]


@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-8-sig", "hex"])
async def test_an_encoding_in_which_numbers_are_not_ascii_is_refused_by_whatever_opens(encoding: str) -> None:
    for opened in (
        trio_hs.open_manager(encoding=encoding),
        trio_hs.open_read_socket([("inet", "fake", 1)], encoding=encoding),
        trio_hs.open_write_socket([("inet", "fake", 1)], encoding=encoding),
    ):
        with pytest.raises(ValueError, match="encoding must be one in which ASCII text is its own bytes"):
            async with opened:
                pass


async def test_a_read_goes_on_at_another_server_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        await wait_all_tasks_blocked()
        fakes[1].gate = trio.Event()
        fakes[2].gate = trio.Event()
        done: list[float] = []

        async def caller(number: int) -> None:
            assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]
            done.append(trio.current_time())

        async with trio.open_nursery() as callers:
            for number in range(64):
                callers.start_soon(caller, number)
            await wait_all_tasks_blocked()
            started = trio.current_time()
            kill(fakes[1])
            fakes[2].gate.set()
        assert len(done) == 64
        assert max(done) - started < 0.01


@pytest.mark.parametrize("repeats", [1, 3])
async def test_a_write_that_may_have_arrived_is_not_repeated(
    nursery: trio.Nursery, autojump_clock: MockClock, repeats: int
) -> None:
    async with managed(nursery, retry=RetryPolicy(attempts=repeats)) as (hs, fakes):
        await hs.incr("d", "t", "=", ["n"], [1])
        fakes[3].answer = lambda line: None
        async with trio.open_nursery() as callers:

            async def caller() -> None:
                with pytest.raises(ConnectionError, match=r"incr d\.t: .*may have been carried out") as caught:
                    await hs.incr("d", "t", "=", ["n"], [1])
                assert caught.value.maybe_applied
                assert isinstance(caught.value, trio_hs.RecoverableConnectionError)

            callers.start_soon(caller)
            await wait_all_tasks_blocked()
            kill(fakes[3])
        assert len(fakes[3].requests) == 2
        assert not fakes[4].requests


async def test_connections_that_a_server_closed_together_use_up_no_attempts(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """As it does with idle ones. The simulation found a write that failed so, though its server was well."""
    fake = FakeServer(nursery)
    twice = RetryPolicy(attempts=2)
    async with trio_hs.open_manager([READERS[0]], [READERS[0]], connect=fake.connect, connections=8, retry=twice) as hs:
        assert await hs.get("d", "t", ["id"], 1)
        await hs.insert("d", "t", [("id", 1)])
        await wait_all_tasks_blocked()
        assert len(fake.open) == 16
        for call in (lambda: hs.get("d", "t", ["id"], 2), lambda: hs.insert("d", "t", [("id", 2)])):
            for connection in fake.open:
                connection.transport.broken = RESET  # which shows only when something is sent
            await call()
            await wait_all_tasks_blocked()
        for connection in fake.open:
            connection.reset()
        fake.refuses = REFUSED
        with pytest.raises(ConnectionError) as caught:
            await hs.insert("d", "t", [("id", 3)])
        assert not caught.value.maybe_applied
    once = FakeServer(nursery)
    policy = RetryPolicy(attempts=1)
    async with trio_hs.open_manager([READERS[0]], [READERS[0]], connect=once.connect, connections=2, retry=policy) as hs:
        assert await hs.get("d", "t", ["id"], 1)
        await wait_all_tasks_blocked()
        for connection in once.open:
            connection.reset()
        with pytest.raises(ConnectionError):
            await hs.get("d", "t", ["id"], 1)


async def test_a_write_that_was_not_sent_goes_to_the_standby(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 1)])
        kill(fakes[3])
        assert await hs.incr("d", "t", "=", ["n"], [1]) == 1
        assert len(fakes[4].requests) == 1


async def test_a_write_that_times_out_may_have_been_applied(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 1)])
        fakes[3].gate = trio.Event()
        with pytest.raises(ConnectionError, match="no answer for 3 s") as caught:
            await hs.insert("d", "t", [("id", 2)])
        assert caught.value.maybe_applied


async def test_a_failed_read_had_no_effect(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(attempts=1)) as (hs, fakes):
        for port in (1, 2):
            fakes[port].answer = lambda line: echo(line) if line[:1] == b"A" else None
        with pytest.raises(ConnectionError, match="no effect") as caught:
            await hs.get("d", "t", ["id"], 1)
        assert not caught.value.maybe_applied


async def test_a_request_of_death_reaches_two_servers_at_most(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    deaths = 0

    async with managed(nursery, retry=RetryPolicy(attempts=100)) as (hs, fakes):

        def die(line: bytes) -> bytes | None:
            nonlocal deaths
            if line[-5:] != b"death":
                return echo(line)
            deaths += 1
            for port in (1, 2):
                for connection in fakes[port].open:
                    connection.reset()
            return None

        for port in (1, 2):
            fakes[port].answer = die
        with pytest.raises(ConnectionError):
            await hs.get("d", "t", ["id"], "death")
        assert deaths == 2
        assert await hs.get("d", "t", ["id"], "life") == [("id", "life")]


async def test_an_error_answer_is_an_answer(nursery: trio.Nursery) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[3].answer = lambda line: echo(line) if line[:1] in b"AP" else b"1\t1\t999\n"
        with pytest.raises(OperationalError, match="1 999") as caught:
            await hs.insert("d", "t", [("id", 1)])
        assert (caught.value.code, caught.value.message) == (1, "999")
        assert len(fakes[3].requests) == 1
        assert len(fakes[3].connections) == 1


async def test_garbage_costs_a_read_only_a_repetition(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[1].answer = lambda line: echo(line) if line[:1] in b"AP" else b"SSH-2.0-OpenSSH\n"
        for number in range(20):
            assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]


async def test_patience_ends_with_the_policy(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    for policy, least, most in [
        (RetryPolicy(attempts=1), 0, 0.1),
        (RetryPolicy(attempts=3, backoff=1.0, max_backoff=1.0), 1.0, 2.5),
        (RetryPolicy(attempts=1000, deadline=5.0), 3.5, 5.5),
    ]:
        async with managed(nursery, retry=policy) as (hs, fakes):
            kill(fakes[1])
            kill(fakes[2])
            started = trio.current_time()
            with pytest.raises(ConnectionError, match=r"^get d\.t: no server is usable \(fake:1: .*; fake:2: "):
                await hs.get("d", "t", ["id"], 1)
            assert least <= trio.current_time() - started <= most


async def test_a_server_that_returns_in_time_is_found(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 1)])
        kill(fakes[3])
        kill(fakes[4])

        async def come_back() -> None:
            await trio.sleep(0.3)
            fakes[3].refuses = None

        nursery.start_soon(come_back)
        assert await hs.incr("d", "t", "=", ["n"], [1]) == 1


async def test_writes_go_to_the_write_database(nursery: trio.Nursery) -> None:
    async with managed(nursery, write_databases={"d": "d_wt"}) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        await hs.delete("d", "t", "=", ["id"], [1], filters=[Filter("n", "=", 1)])
        await hs.insert("e", "t", [("id", 1)])
        opened = [line for fake in fakes.values() for line in fake.lines if line[:1] == b"P"]
        assert [line.split(b"\t")[2] for line in opened] == [b"d", b"d_wt", b"e"]


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"backoff": -1}, {"backoff": 2.0, "max_backoff": 1.0}, {"deadline": math.nan}]
)
def test_a_policy_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        RetryPolicy(**wrong)


@pytest.mark.parametrize(
    "name, wrong",
    [("attempts", "3"), ("attempts", 2.5), ("backoff", None), ("max_backoff", "1"), ("deadline", "x"), ("hedge_after", "x")],
)
def test_a_policy_of_what_is_no_number_is_told_at_once(name: str, wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"^{name} must be .*, not {wrong!r}$"):
        RetryPolicy(**{name: wrong})


@pytest.mark.parametrize("wrong", [3, 0, {"attempts": 3}, RetryPolicy])
async def test_what_is_no_policy_is_told_at_once(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"retry must be a trio_hs\.RetryPolicy or None, not"):
        async with trio_hs.open_manager(retry=wrong):
            pass


def without(missing: Callable[[bytes], bool]) -> Callable[[bytes], bytes]:
    """A server that has a row for every key but these."""

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


async def test_many_keys_that_are_all_there_cost_few_requests(nursery: trio.Nursery) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        before = len(fakes[1].requests) + len(fakes[2].requests)
        keys = [*range(1990), *[5] * 10]
        assert await hs.get_many("d", "t", ["id"], keys) == [[("id", str(key))] for key in keys]
        assert len(fakes[1].requests) + len(fakes[2].requests) - before == 4


async def test_the_first_of_many_keys_reach_the_server_alone(nursery: trio.Nursery) -> None:
    """So it has something left to do while their rows are taken apart here."""
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
async def test_a_near_server_gets_keys_in_smaller_parts_each_when_an_earlier_one_is_answered(
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
    """Of each list of keys that came in, how many it has."""
    return [int(line.split(b"\t")[8]) for line in fake.requests if b"@" in line]


async def test_several_connections_get_larger_parts_however_near(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They carry them at the same time. When one is left, it gets the smaller ones."""
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
    """The kernel knows the way to the proxy, the first answer tells the rest."""
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


async def test_only_where_a_key_has_no_row_each_is_asked_for_by_itself(nursery: trio.Nursery) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[1].answer = fakes[2].answer = without(lambda key: key == b"700")
        rows = await hs.get_many("d", "t", ["id"], range(2000))
        assert rows == [[] if number == 700 else [("id", str(number))] for number in range(2000)]
        least = math.ceil(2000 / READ_KEYS) + READ_KEYS
        assert least <= len(fakes[1].requests) + len(fakes[2].requests) <= least + 2  # an index opened on each


async def test_a_null_among_many_keys_is_asked_for_like_any_other(nursery: trio.Nursery) -> None:
    """IN would look for a zero byte instead."""
    async with managed(nursery) as (hs, fakes):
        rows = await hs.get_many("d", "t", ["id"], [None, *range(30)])
        assert rows == [[("id", None)], *[[("id", str(number))] for number in range(30)]]
        assert not any(b"@" in line for fake in fakes.values() for line in fake.requests)


async def test_a_null_among_many_keys_keeps_no_other_part_from_its_list(nursery: trio.Nursery) -> None:
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


async def test_keys_asked_for_by_list_take_their_share_of_the_bound(nursery: trio.Nursery) -> None:
    """The server builds the rows of all that it has received in memory before it sends any."""
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
async def test_keys_that_kill_are_not_carried_to_a_third_server(
    nursery: trio.Nursery, autojump_clock: MockClock, deadly: bytes, deaths: int
) -> None:
    """Whether servers die of a list, of the list and of the key alone, or (one is missing) of a key that is asked for alone."""
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


async def test_every_row_of_many_has_its_own_outcome(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[3].answer = lambda line: b"1\t1\t121\n" if line[-2:] == b"\t3" else echo(line)
        outcomes = await hs.insert_many("d", "t", ["id"], [[number] for number in range(10)])
        assert isinstance(outcomes[3], trio_hs.DuplicateKeyError)
        assert outcomes[:3] + outcomes[4:] == [1] * 9


async def test_many_rows_into_a_server_that_dies(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Answered rows are in, rows sent without an answer are unknown, and what never left goes to the standby."""
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 0)])
        applied: list[bytes] = []

        def serve(line: bytes) -> bytes | None:
            applied.append(line)
            if len(applied) == 200:
                kill(fakes[3])
                return None
            return echo(line)

        fakes[3].answer = serve
        outcomes = await hs.insert_many("d", "t", ["id"], [[number] for number in range(1, 9001)])
        assert len(outcomes) == 9000
        unknown = [o for o in outcomes if isinstance(o, ConnectionError) and o.maybe_applied]
        acknowledged = [o for o in outcomes if o == 1]
        assert len(unknown) + len(acknowledged) == 9000  # nothing is said to be lost that was not sent: the standby took it
        assert len(fakes[4].requests) + 200 <= len(acknowledged) + len(unknown)
        assert len(acknowledged) >= 199
        assert 0 < len(unknown) <= CHUNKS_UNDER_WAY * WRITE_LINES


async def test_cancelling_many_withdraws_what_was_not_sent(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 0)])
        fakes[3].gate = trio.Event()
        with trio.move_on_after(1):
            await hs.insert_many("d", "t", ["id"], [["x" * 1000]] * 100_000)
        fakes[3].gate.set()
        await trio.sleep(10)
        assert len(fakes[3].requests) <= 1 + CHUNKS_UNDER_WAY * WRITE_LINES
        assert await hs.insert("d", "t", [("id", 1)]) == 1


async def test_nothing_is_open_while_suspended(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        await hs.insert("d", "t", [("id", 1)])
        stop = False
        calls = 0

        async def user(number: int) -> None:
            nonlocal calls
            while not stop:
                assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]
                assert await hs.incr("d", "t", "=", ["n"], [number]) == 1
                calls += 1
                await trio.sleep(0.001)

        async with trio.open_nursery() as users:
            for number in range(20):
                users.start_soon(user, number)
            for _ in range(10):
                await trio.sleep(0.1)
                async with hs.suspended():
                    assert not any(fake.open for fake in fakes.values())
                    async with hs.suspended():
                        await trio.sleep(5)
                    before = calls
                    await trio.sleep(5)
                    assert not any(fake.open for fake in fakes.values())
                    assert calls == before
            await trio.sleep(0.1)
            assert calls > before
            stop = True


async def test_suspending_waits_for_what_is_under_way(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        await hs.insert("d", "t", [("id", 1)])
        fakes[3].gate = trio.Event()
        callers.start_soon(hs.insert, "d", "t", [("id", 2)])
        await wait_all_tasks_blocked()
        with trio.move_on_after(1) as scope:
            async with hs.suspended():
                pass
        assert scope.cancelled_caught
        fakes[3].gate.set()
        async with hs.suspended():
            assert len(fakes[3].requests) == 2
        assert await hs.insert("d", "t", [("id", 3)]) == 1


async def test_purging_opens_indexes_anew(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        table = hs.table("d", "t", ["id"])
        await hs.insert("d", "t", [("id", 1)])
        await hs.purge()
        await table.insert([2])
        assert [line[:1] for line in fakes[3].lines] == [b"A", b"P", b"0"] * 2
        assert len(fakes[3].open) == 1


async def test_statistics_say_how_each_server_is_doing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, connections=2) as (hs, fakes):
        assert [server.connected for server in hs.statistics().readers] == [0, 0]
        for number in range(10):
            await hs.get("d", "t", ["id"], number)
        await hs.insert("d", "t", [("id", 1)])
        kill(fakes[1])
        await trio.sleep(1)
        one, two = hs.statistics().readers
        assert (one.server, one.connections, one.connected, one.last_error) == ("fake:1", 0, 2, "Connection refused")
        assert one.failed_attempts > 0
        assert (two.server, two.connections, two.connected, two.last_error) == ("fake:2", 2, 2, None)
        assert one.answers + two.answers >= 10
        assert (two.outstanding, two.stalled) == (0, 0)
        assert [server.answers for server in hs.statistics().writers] == [2, 0]  # the index was opened too


async def test_an_error_names_its_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(attempts=1)) as (hs, fakes):
        fakes[3].answer = lambda line: b"1\t1\t121\n" if line[:1].isdigit() else echo(line)
        with pytest.raises(trio_hs.DuplicateKeyError) as refused:
            await hs.insert("d", "t", [("id", 1)])
        assert refused.value.server == "fake:3"
        (outcome,) = await hs.insert_many("d", "t", ["id"], [[1]])
        assert isinstance(outcome, trio_hs.DuplicateKeyError)
        assert outcome.server == "fake:3"
        die_of_the_first_request(fakes[3])
        with pytest.raises(ConnectionError) as lost:
            await hs.update("d", "t", "=", ["id"], [1], [2])
        assert lost.value.server == "fake:3"
        assert pickle.loads(pickle.dumps(lost.value)).server == "fake:3"
        kill(fakes[1])
        kill(fakes[2])
        with pytest.raises(ConnectionError, match=r"fake:1: .* fake:2: ") as nobody:
            await hs.get("d", "t", ["id"], 1)
        assert nobody.value.server is None


async def test_the_only_server_is_named_when_it_cannot_be_had(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fake = FakeServer(nursery)
    server = ("inet", "fake", 1)
    async with trio_hs.open_manager([server], [server], connect=fake.connect, retry=RetryPolicy(attempts=1)) as hs:
        fake.refuses = REFUSED
        with pytest.raises(ConnectionError, match="no server is usable") as nobody:
            await hs.insert("d", "t", [("id", 1)])
        assert (nobody.value.server, nobody.value.maybe_applied) == ("fake:1", False)
        fake.refuses = None
        fake.answer = lambda line: b"3\t1\tunauth\n"
        with pytest.raises(trio_hs.AuthenticationError) as refused:
            await hs.get("d", "t", ["id"], 1)
        assert refused.value.server == "fake:1"


async def test_retries_are_counted(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        await hs.insert("d", "t", [("id", 1)])
        assert hs.statistics().retries == 0
        die_of_the_first_request(fakes[1], fakes[2])
        await hs.get("d", "t", ["id"], 1)
        assert hs.statistics().retries == 1
        die_of_the_first_request(fakes[1], fakes[2])
        await hs.table("d", "t", columns=IDS).get(1)
        assert hs.statistics().retries == 2
        fakes[3].answer = read_only
        await hs.insert("d", "t", [("id", 1)])  # the next server takes it
        assert hs.statistics().retries == 3
        die_of_the_first_request(fakes[4])
        with pytest.raises(ConnectionError):  # in doubt, and not repeated
            await hs.insert("d", "t", [("id", 1)])
        assert hs.statistics().retries == 3
        for port in (1, 2, 3, 4):
            kill(fakes[port])
        await wait_all_tasks_blocked()  # a connection that is found closed would be a retry more, and no attempt
        with pytest.raises(ConnectionError):
            await hs.get("d", "t", ["id"], 1)
        assert hs.statistics().retries == 3 + RetryPolicy().attempts - 1


async def test_a_connection_that_ended_unnoticed_is_told_as_such(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The caller is the first to see the end: nothing was sent, and the error can be made."""
    async with managed(nursery, retry=RetryPolicy(attempts=1)) as (hs, fakes):
        await hs.insert("d", "t", [("id", 1)])
        await trio.sleep(40)
        fakes[3].connections[-1].end()
        with pytest.raises(ConnectionError, match=r"fake:3: insert d\.t: .*had no effect") as caught:
            await hs.insert("d", "t", [("id", 2)])
        assert not caught.value.maybe_applied


async def test_callers_outside_the_block_fail_when_it_ends(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    errors: list[ConnectionError] = []

    async def caller(hs: Manager, port: int) -> None:
        with pytest.raises(ConnectionError) as caught:
            await (hs.get("d", "t", ["id"], 1) if port == 1 else hs.incr("d", "t", "=", ["n"], [1]))
        errors.append(caught.value)

    async with trio.open_nursery() as outer:
        async with managed(nursery) as (hs, fakes):
            await hs.get("d", "t", ["id"], 1)
            for port in (1, 2):
                fakes[port].gate = trio.Event()
            fakes[3].refuses = fakes[4].refuses = REFUSED
            outer.start_soon(caller, hs, 1)  # in flight
            outer.start_soon(caller, hs, 3)  # waiting for a server
            await wait_all_tasks_blocked()
        ended = trio.current_time()
        await caller(hs, 1)  # afterwards
    assert trio.current_time() - ended <= RetryPolicy().backoff  # a pause that had begun, and no other
    assert len(errors) == 3
    assert "closed" in str(errors[-1])
    async with managed(nursery) as (unused, _):
        pass
    await caller(unused, 1)
    await caller(unused, 1)


async def test_many_rows_keep_their_outcomes_when_no_server_is_left(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 0)])
        answered = 0

        def serve(line: bytes) -> bytes | None:
            nonlocal answered
            answered += 1
            if answered == 200:  # it comes back with another secret
                fakes[3].answer = fakes[4].answer = lambda line: b"3\t1\tunauth\n"
                fakes[3].connections[-1].end()
                for connection in fakes[4].open:
                    connection.reset()
                return None
            return echo(line)

        fakes[3].answer = serve
        outcomes = await hs.insert_many("d", "t", ["id"], [[number] for number in range(9000)])
        assert len(outcomes) == 9000
        assert outcomes.count(1) == 199
        assert any(isinstance(outcome, ConnectionError) and outcome.maybe_applied for outcome in outcomes)
        assert isinstance(outcomes[-1], trio_hs.AuthenticationError)


async def test_a_cancelled_caller_sends_nothing(nursery: trio.Nursery) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 1)])
        with trio.CancelScope() as scope:
            scope.cancel()
            await hs.insert("d", "t", [("id", 2)])
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        assert len(fakes[3].requests) == 1


async def test_patience_without_end_and_with_a_deadline(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    assert RetryPolicy(attempts=10**9).pause(10**6) <= 1.0
    async with managed(nursery, retry=RetryPolicy(deadline=1.0)) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        for port in (1, 2):
            fakes[port].gate = trio.Event()
        started = trio.current_time()
        with pytest.raises(ConnectionError, match="no answer for 3 s"):
            await hs.get("d", "t", ["id"], 1)
        assert trio.current_time() - started < 3.5  # no second try after the deadline


async def test_no_pause_ends_after_the_deadline(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Whether nobody answers or everybody turns the read away."""
    async with managed(nursery, retry=RetryPolicy(backoff=20, max_backoff=20, deadline=5)) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        fakes[1].answer = fakes[2].answer = read_only
        started = trio.current_time()
        with pytest.raises(trio_hs.ReadOnlyError):
            await hs.get("d", "t", ["id"], 1)
        assert trio.current_time() - started < 5
        kill(fakes[1])
        kill(fakes[2])
        started = trio.current_time()
        with pytest.raises(ConnectionError):
            await hs.get("d", "t", ["id"], 1)
        assert trio.current_time() - started < 5


async def test_the_deadline_is_one_for_all_keys_of_a_call(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Also where they are asked for part by part, as hedged reads are."""
    async with managed(nursery, retry=RetryPolicy(hedge_after=100, deadline=2)) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        await wait_all_tasks_blocked()

        def answer(line: bytes) -> bytes:
            if line.endswith(b"\t%d" % READ_KEYS):  # the first of the second part
                for fake in fakes.values():
                    fake.gate = trio.Event()
                nursery.start_soon(die)
            return echo(line)

        async def die() -> None:
            await trio.sleep(1.5)
            for fake in fakes.values():
                fake.answer = echo
                for connection in fake.open:
                    connection.reset()
                fake.gate.set()

        fakes[1].answer = fakes[2].answer = answer
        fakes[1].gate = fakes[2].gate = trio.Event()
        async with trio.open_nursery() as users:

            async def open_gates() -> None:
                await trio.sleep(1)
                fakes[1].gate.set()

            users.start_soon(open_gates)
            with pytest.raises(ConnectionError):
                await hs.get_many("d", "t", ["id"], range(2 * READ_KEYS))


def test_pauses_double_and_are_shortened_at_random() -> None:
    policy = RetryPolicy(backoff=1, max_backoff=3)
    for attempt, longest in ((1, 1), (2, 2), (3, 3), (9, 3)):
        pauses = [policy.pause(attempt) for _ in range(50)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest


async def test_an_answer_to_a_write_that_makes_no_sense(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.insert("d", "t", [("id", 1)])
        fakes[3].answer = lambda line: b"0\t3\ta\tb\tc\n"
        with pytest.raises(ConnectionError, match="no count") as caught:
            await hs.insert("d", "t", [("id", 1)])
        assert caught.value.maybe_applied
        assert isinstance(caught.value.__cause__, trio_hs.ProtocolError)


# ---- hedged reads


async def test_a_read_is_hedged_and_the_first_answer_wins(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(hedge_after=0.02)) as (hs, fakes):
        for number in range(4):  # both readers are connected then, and neither was slow
            assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]
        assert len(fakes[1].requests) + len(fakes[2].requests) == 4
        fakes[1].gate = trio.Event()
        started = trio.current_time()
        for number in range(10):
            assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]
        assert trio.current_time() - started <= 10 * 0.021
        fakes[1].gate.set()
        await wait_all_tasks_blocked()
        # The losers' answers went to nobody, and both connections are in order.
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


async def test_a_hedged_request_of_death_takes_two_servers_at_most(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
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


# ---- writes that may be repeated


def die_of_the_first_request(*fakes: FakeServer, then: bytes = b"0\t1\t1\n") -> list[bytes]:
    """Whichever gets the first request carries it out and dies before it answers; those behind it get the answer `then`.

    Gives the requests, also those to come.
    """
    seen: list[bytes] = []

    def answer(line: bytes) -> bytes | None:
        if not line[:1].isdigit():
            return echo(line)
        seen.append(line)
        if len(seen) == 1:
            for fake in fakes:
                if line in fake.lines:
                    fake.connections[-1].reset()
            return None
        return then

    for fake in fakes:
        fake.lines.clear()
        fake.answer = answer
    return seen


async def test_a_write_in_doubt_is_repeated_where_the_policy_says_so(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(repeat_writes=["update", "delete", "insert"])) as (hs, fakes):
        declared = hs.table("d", "t", columns=IDS)
        calls: list[Any] = [
            lambda: hs.update("d", "t", "=", ["id"], [1], [2]),
            lambda: hs.delete("d", "t", "=", ["id"], [1]),
            lambda: hs.insert("d", "t", [("id", 1)]),
            lambda: declared.update("=", [1], [2]),
            lambda: declared.delete("=", [1]),
            lambda: declared.insert([1]),
        ]
        for call in calls:
            seen = die_of_the_first_request(fakes[3], fakes[4])
            assert await call() == 1
            assert len(seen) == 2
        never: list[Any] = [
            lambda: hs.incr("d", "t", "=", ["id"], [1]),
            lambda: hs.update("d", "t", "=", ["id"], [1], [2], return_original=True),
            lambda: declared.incr("=", [1]),
        ]
        for call in never:
            seen = die_of_the_first_request(fakes[3], fakes[4])
            with pytest.raises(ConnectionError) as caught:
                await call()
            assert caught.value.maybe_applied
            assert len(seen) == 1


async def test_a_refusal_after_a_doubt_does_not_settle_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The row that a repeated insert finds may be its own."""
    async with managed(nursery, retry=RetryPolicy(repeat_writes=["insert"])) as (hs, fakes):
        die_of_the_first_request(fakes[3], fakes[4], then=b"1\t1\t121\n")
        with pytest.raises(ConnectionError) as caught:
            await hs.insert("d", "t", [("id", 1)])
        assert caught.value.maybe_applied
        assert isinstance(caught.value.__cause__, trio_hs.DuplicateKeyError)


async def test_a_doubt_stays_when_no_server_can_be_had_afterwards(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(repeat_writes=["update"])) as (hs, fakes):
        fakes[4].refuses = REFUSED
        await hs.update("d", "t", "=", ["id"], [1], [2])

        def die(line: bytes) -> bytes | None:
            kill(fakes[3])
            return None

        fakes[3].answer = die
        with pytest.raises(ConnectionError) as caught:
            await hs.update("d", "t", "=", ["id"], [1], [2])
        assert caught.value.maybe_applied


@pytest.mark.parametrize("wrong", [{"repeat_writes": ["incr"]}, {"repeat_writes": "update"}, {"hedge_after": 0}])
def test_wrong_policies(wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        RetryPolicy(**wrong)


def test_a_policy_keeps_what_was_checked() -> None:
    names = ["update"]
    policy = RetryPolicy(repeat_writes=names)
    names.append("incr")
    assert policy.repeat_writes == ("update",)
    assert RetryPolicy(repeat_writes=iter(["delete"])).repeat_writes == ("delete",)  # type: ignore[arg-type]


# ---- a server that takes no writes


def read_only(line: bytes) -> bytes | None:
    return b"1\t1\tlock_tables\n" if line[:1].isdigit() else echo(line)


async def test_a_write_goes_on_to_a_server_that_takes_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """After a promotion the preferred server comes back as a replica of the one that took over."""
    async with managed(nursery) as (hs, fakes):
        fakes[3].answer = read_only
        for _ in range(20):
            assert await hs.incr("d", "t", "=", ["id"], [1]) == 1
        assert len(fakes[3].requests) == 1
        assert len(fakes[4].requests) == 20
        assert [server.refusing for server in hs.statistics().writers] == [True, False]
        results = await hs.insert_many("d", "t", ["id"], [[number] for number in range(300)])
        assert results == [1] * 300
        # It is tried again, but no more often than every second.
        for _ in range(300):
            await trio.sleep(0.1)
            assert await hs.incr("d", "t", "=", ["id"], [1]) == 1
        assert 20 <= len(fakes[3].requests) <= 35
        fakes[3].answer = echo
        await trio.sleep(1.5)
        before = len(fakes[4].requests)
        await hs.incr("d", "t", "=", ["id"], [1])
        assert len(fakes[4].requests) == before


async def test_when_no_server_takes_writes_the_caller_hears_it_at_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with managed(nursery) as (hs, fakes):
        for port in (3, 4):
            fakes[port].answer = read_only
        for _ in range(3):
            with pytest.raises(trio_hs.ReadOnlyError, match=r"fake:[34]: incr d\.t: the server cannot lock tables now"):
                await hs.incr("d", "t", "=", ["id"], [1])
        results = await hs.insert_many("d", "t", ["id"], [[1], [2]])
        assert [type(result) for result in results] == [trio_hs.ReadOnlyError] * 2
        assert trio.current_time() < 0.1


async def test_a_read_that_a_shutdown_interrupts_goes_on_elsewhere(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Seen in rolling restarts: error 188, some milliseconds before `lock_tables`. Of a write nobody knows what it has done."""

    def aborted(line: bytes) -> bytes | None:
        return b"1\t1\t188\n" if line[:1].isdigit() else echo(line)

    async with managed(nursery) as (hs, fakes):
        fakes[1].answer = fakes[3].answer = aborted
        for number in range(20):
            assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]
        assert await hs.get_many("d", "t", ["id"], range(600)) == [[("id", str(number))] for number in range(600)]
        with pytest.raises(OperationalError, match="interrupted"):
            await hs.incr("d", "t", "=", ["id"], [1])
        assert not fakes[4].requests


async def test_a_read_goes_on_when_a_server_shuts_down(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """MariaDB answers reads, too, with `lock_tables` while it stops in order."""
    async with managed(nursery) as (hs, fakes):
        fakes[1].answer = read_only
        for number in range(20):
            assert await hs.get("d", "t", ["id"], number) == [("id", str(number))]
        assert len(await hs.get_many("d", "t", ["id"], list(range(1000)))) == 1000
        assert len(fakes[1].requests) < 200
        # With no other server it is asked again a little later.
        fakes[2].refuses = REFUSED
        kill(fakes[2])

        async def restarted() -> None:
            await trio.sleep(0.3)
            fakes[1].answer = echo

        nursery.start_soon(restarted)
        assert await hs.get("d", "t", ["id"], 7) == [("id", "7")]
        fakes[1].answer = read_only
        with pytest.raises(trio_hs.ReadOnlyError):
            await hs.get("d", "t", ["id"], 7)


async def test_writes_wait_for_a_stalled_primary_rather_than_be_refused_by_its_standby(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[4].answer = read_only
        await hs.incr("d", "t", "=", ["id"], [1])
        fakes[3].gate = trio.Event()
        done: list[object] = []

        async def write() -> None:
            done.append(await hs.incr("d", "t", "=", ["id"], [1]))

        nursery.start_soon(write)
        await trio.sleep(0.7)
        for _ in range(5):
            nursery.start_soon(write)
        await trio.sleep(0.7)
        assert not done
        fakes[3].gate.set()
        await trio.sleep(0.1)
        assert done == [1] * 6


# ---- instruments


class Log(trio_hs.Instrument):
    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def connection_up(self, server: str) -> None:
        self.events.append(("up", server))

    def connection_down(self, server: str, reason: BaseException) -> None:
        self.events.append(("down", server, type(reason)))

    def connect_failed(self, server: str, reason: BaseException) -> None:
        self.events.append(("failed", server))

    def failover(self, servers: tuple[str, ...]) -> None:
        self.events.append(("failover", servers))

    def request_done(self, server: str, operation: str, table: str, requests: int, seconds: float, failed: bool) -> None:
        self.events.append(("done", server, operation, table, requests, round(seconds, 3), failed))

    def retry(self, operation: str, table: str, attempt: int, error: trio_hs.HandlerSocketError) -> None:
        self.events.append(("retry", operation, table, attempt, type(error)))


async def test_instruments_are_told(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    log = Log()
    async with managed(nursery, instruments=[log]) as (hs, fakes):
        await hs.incr("d", "t", "=", ["id"], [1])
        assert {("up", "fake:3"), ("up", "fake:4"), ("failover", ("fake:3",))} <= set(log.events)
        assert ("done", "fake:3", "incr", "d.t", 1, 0, False) in log.events
        await hs.insert_many("d", "t", ["id"], [[1], [2]])
        assert ("done", "fake:3", "insert_many", "d.t", 2, 0, False) in log.events
        await wait_all_tasks_blocked()
        log.events.clear()
        kill(fakes[3])
        await trio.sleep(1)
        assert ("down", "fake:3", ConnectionResetError) in log.events
        assert ("failed", "fake:3") in log.events
        assert ("failover", ("fake:4",)) in log.events

        await hs.get("d", "t", ["id"], 1)
        await wait_all_tasks_blocked()
        log.events.clear()
        die_of_the_first_request(fakes[1], fakes[2])
        await hs.get("d", "t", ["id"], 1)
        assert [event[0] for event in log.events if event[0] in ("done", "retry")] == ["done", "retry", "done"]


async def test_a_faulty_instrument_disturbs_nothing_and_is_dropped(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(trio_hs.Instrument):
        def request_done(self, *details: Any) -> None:
            raise RuntimeError("faulty")

    async with managed(nursery, instruments=[Faulty()]) as (hs, _):
        for _ in range(3):
            assert await hs.get("d", "t", ["id"], 5) == [("id", "5")]
    assert caplog.text.count("is not used any more") == 1
    with pytest.raises(TypeError, match="subclass"):
        async with trio_hs.open_manager(instruments=[Log]):  # type: ignore[list-item]
            pass


async def test_handles_are_remembered_within_a_bound(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_hs.manager.MAX_HANDLES", 10)
    async with managed(nursery) as (hs, _):
        for number in range(100):
            assert await hs.get("d", f"t{number}", ["id"], 1) == [("id", "1")]
            await hs.find("d", "t", "=", ["id"], [1], filters=[Filter(f"c{number}", "=", 1)])
        assert len(hs._tables) <= 10
        assert len(hs.table("d", "t", ["id"])._filtered) <= 10
