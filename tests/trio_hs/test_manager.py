"""The Manager's calls: their arguments, their results, and what they send. Fake servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import IDS, A, managed
from tests.trio_hs.support.fake import REFUSED, FakeServer, echo
from trio_hs import ConnectionError, Filter, Manager, RetryPolicy, open_read_socket


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
            (ValueError, lambda: hs.find("d", "t", "~", ["id"], [1])),  # type: ignore[arg-type]
            (ValueError, lambda: hs.find("d", "t", "=", ["id"], [1], limit=-1)),
            (ValueError, lambda: hs.find("d", "t", "=", ["id"], [], in_=(0, []))),
            (TypeError, lambda: hs.find("d", "t", "=", ["id"], [1], filters=[Filter(0, "=", 1)])),
            (ValueError, lambda: hs.update("d", "t", "=", ["id", "n"], [1], [2])),
            (ValueError, lambda: hs.incr("d", "t", "=", ["id", "n"], [1])),
            (ValueError, lambda: hs.insert("d", "t", [])),
            (TypeError, lambda: hs.insert("d", "t", {"id": 1})),  # type: ignore[arg-type]
            (TypeError, lambda: hs.insert_many("d", "t", ["id"], [{"id": 1}])),  # type: ignore[list-item]
            (TypeError, lambda: hs.incr("d", "t", "=", ["id"], [1], 1)),  # type: ignore[call-overload]
        ]
        for error, call in calls:
            with pytest.raises(error):
                await call()
        assert not any(fake.connections for fake in fakes.values())


WRONG_ARGUMENTS: list[tuple[Callable[[Manager], Awaitable[object]], type[Exception], str]] = [
    (lambda hs: hs.incr("d", "t", "=", ["n"], [1], 1), TypeError, "^step must be a list of values, not one int"),  # type: ignore[call-overload]
    (lambda hs: hs.decr("d", "t", "=", ["n"], [1], 0), TypeError, "^step must be a list of values, not one int"),  # type: ignore[call-overload]
    (lambda hs: hs.update("d", "t", "=", ["n"], [1], "7"), TypeError, "^update_values must be .*, not one str"),
    (lambda hs: hs.update("d", "t", "=", ["n"], "1", [7]), TypeError, "^values must be a list of values, not one str"),
    (lambda hs: hs.delete("d", "t", "=", ["n"], 1), TypeError, "^values must be a list of values, not one int"),  # type: ignore[call-overload]
    (lambda hs: hs.insert_many("d", "t", ["a", "b"], [[50, 2], [51]]), ValueError, "^row 1: .*: 2 columns, 1 value"),
    (lambda hs: hs.insert_many("d", "t", ["a"], ["1"]), TypeError, "^row 0: values must be a list"),
    (
        lambda hs: hs.insert_many("d", "t", ["a"], [["1"], ["\ud800"]]),
        ValueError,
        r"^row 1: values\[0\] \(column a\): 'utf-8' codec can't",
    ),
    (lambda hs: hs.insert("d", "t", [("a", 1), ("b", 2), ("a", 3)]), ValueError, "column a is named twice"),
    (lambda hs: hs.insert_many("d", "t", ["a", "a"], [[1, 2]]), ValueError, "column a is named twice"),
    (lambda hs: hs.update("d", "t", "=", ["a", "a"], [1], [1, 2]), ValueError, "column a is named twice"),
    (lambda hs: hs.incr("d", "t", "=", ["a", "a"], [1], [1, 2]), ValueError, "column a is named twice"),
    (lambda hs: hs.table("d", "t", ["id", "id"], columns=IDS).insert([1, 2]), ValueError, "column id is named twice"),
    (lambda hs: hs.table("d", "t", ["id", "id"], columns=IDS).update("=", [1], [2, 3]), ValueError, "id is named twice"),
]


@pytest.mark.parametrize("call, error, message", WRONG_ARGUMENTS, ids=[message for _, _, message in WRONG_ARGUMENTS])
async def test_an_error_names_the_wrong_argument(
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
async def test_every_open_function_refuses_an_encoding_that_changes_ascii(encoding: str) -> None:
    for opened in (
        trio_hs.open_manager(encoding=encoding),
        trio_hs.open_read_socket([("inet", "fake", 1)], encoding=encoding),
        trio_hs.open_write_socket([("inet", "fake", 1)], encoding=encoding),
    ):
        with pytest.raises(ValueError, match="encoding must be one in which ASCII text is its own bytes"):
            async with opened:
                pass


async def test_writes_go_to_the_write_database(nursery: trio.Nursery) -> None:
    async with managed(nursery, write_databases={"d": "d_wt"}) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        await hs.delete("d", "t", "=", ["id"], [1], filters=[Filter("n", "=", 1)])
        await hs.insert("e", "t", [("id", 1)])
        opened = [line for fake in fakes.values() for line in fake.lines if line[:1] == b"P"]
        assert [line.split(b"\t")[2] for line in opened] == [b"d", b"d_wt", b"e"]


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
    assert trio.current_time() - ended <= RetryPolicy().backoff  # at most a pause that had already begun
    assert len(errors) == 3
    assert "closed" in str(errors[-1])
    async with managed(nursery) as (unused, _):
        pass
    await caller(unused, 1)
    await caller(unused, 1)


async def test_the_cache_of_handles_is_bounded(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_hs.manager.MAX_HANDLES", 10)
    async with managed(nursery) as (hs, _):
        for number in range(100):
            assert await hs.get("d", f"t{number}", ["id"], 1) == [("id", "1")]
            await hs.find("d", "t", "=", ["id"], [1], filters=[Filter(f"c{number}", "=", 1)])
        assert hs._handle.cache_info().currsize <= 10


async def test_more_tables_in_rotation_than_are_remembered_open_each_index_once(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even the worst order costs no request: a table that was forgotten finds its index open."""
    monkeypatch.setattr("trio_hs.manager.MAX_HANDLES", 40)
    fake = FakeServer(nursery)
    async with trio_hs.open_manager([A], connect=fake.connect) as hs:
        for _ in range(3):
            for number in range(41):
                assert await hs.get("d", f"t{number}", ["id"], number) == [("id", str(number))]
                await hs.find("d", "t", "=", ["id"], [1], filters=[Filter(f"c{number}", "=", 1)])
        assert len([line for line in fake.lines if line[:1] == b"P"]) == 82


async def test_the_least_recently_used_table_is_forgotten(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_hs.manager.MAX_HANDLES", 40)
    async with managed(nursery) as (hs, _):
        kept = hs.table("d", "kept", ["id"])
        for number in range(1000):
            hs.table("d", f"t{number}", ["id"])
            assert hs.table("d", "kept", ["id"]) is kept
        assert hs.table("d", "t999", ["id"]) is hs.table("d", "t999", ["id"])


async def test_filters_may_be_a_generator_or_are_refused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An exhausted generator would delete rows that the filter should spare."""
    async with managed(nursery) as (hs, fakes):
        filters: Any = (Filter(name, "=", 1) for name in ["state"])
        try:
            await hs.delete("d", "t", "=", ["id"], [7], limit=100, filters=filters)
        except (TypeError, ValueError):
            return
        assert [b"\tF\t=\t0\t1" in line for line in fakes[3].requests] == [True]


@pytest.mark.parametrize("filters", [Filter("state", "=", 1), [("state", "=", 1, False)]])
async def test_filters_in_another_form_work_or_are_refused(
    nursery: trio.Nursery, autojump_clock: MockClock, filters: Any
) -> None:
    async with managed(nursery) as (hs, fakes):
        try:
            await hs.find("d", "t", "=", ["id"], [7], filters=filters)
        except (TypeError, ValueError):
            return
        assert any(b"\tF\t=\t0\t1" in line for port in (1, 2) for line in fakes[port].requests)


async def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises((TypeError, ValueError)):
        async with trio_hs.open_manager(encoding="utf8mb4"):  # MariaDB's name for it
            pass


async def test_calls_with_nothing_to_do_are_checkpoints(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, _):
        for call in (lambda: hs.get_many("d", "t", ["id"], []), lambda: hs.insert_many("d", "t", ["id"], [])):
            with trio.testing.assert_checkpoints():
                await call()
        suspension = hs.suspended()
        with trio.testing.assert_checkpoints():
            await suspension.__aenter__()
        await suspension.__aexit__(None, None, None)
    async with open_read_socket([A], connect=FakeServer(nursery).connect) as socket:
        with trio.testing.assert_checkpoints():
            assert await socket.execute_many([]) == []
