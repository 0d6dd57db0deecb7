"""Calls for many rows, and with long values, let other tasks have their turn. What happens between two turns is counted."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.fake import FakeServer, echo
from trio_hs import Column, Columns, Find, FindModify, Insert

PACKAGE = str(Path(trio_hs.__file__).parent)
ROWS = 20_000
MB = 1 << 20
COLUMNS = Columns([Column("id", "bigint"), Column("note", "longtext"), Column("data", "longblob")], {"PRIMARY": ["id"]})
FIELDS = ["id", "note", "data"]


class Work:
    """The most calls that the package makes between two passes of the scheduler, and how many passes there were."""

    def __init__(self) -> None:
        self.passes = self.most = self._calls = 0

    def _event(self, frame: FrameType, event: str, argument: object) -> None:
        if event in ("call", "c_call") and frame.f_code.co_filename.startswith(PACKAGE):
            self._calls += 1

    async def _tick(self) -> None:
        while True:
            self.passes += 1
            self.most = max(self.most, self._calls)
            self._calls = 0
            await trio.lowlevel.checkpoint()

    async def watch(self, call: Callable[[], Awaitable[Any]]) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tick)
            await trio.lowlevel.checkpoint()
            self.most = self._calls = self.passes = 0
            sys.setprofile(self._event)
            try:
                result = await call()
            finally:
                sys.setprofile(None)
            nursery.cancel_scope.cancel()
        return result


def rows_of(line: bytes) -> bytes:
    """The fake server's answer to a find: as many rows as its limit, or the row of each key of its list."""
    if not line[:1].isdigit() or b"\t+\t" in line[:6]:
        return echo(line)
    tokens = line.split(b"\t", 9)
    keys = tokens[9].split(b"\t") if tokens[6:7] == [b"@"] else [b"%d" % number for number in range(int(tokens[4]))]
    return b"0\t3\t" + b"\t".join([key + b"\tnote\tdata" for key in keys]) + b"\n"


Call = Callable[[trio_hs.Manager, trio_hs.ReadSocket, trio_hs.WriteSocket, int], Awaitable[Any]]
CALLS: dict[str, Call] = {
    "insert_many": lambda hs, _, __, rows: hs.insert_many("d", "t", FIELDS, [[n, "note", b"data"] for n in range(rows)]),
    "insert_many, declared": lambda hs, _, __, rows: declared(hs).insert_many([[n, "note", b"data"] for n in range(rows)]),
    "insert_many, long rows": lambda hs, _, __, rows: hs.insert_many(
        "d", "t", FIELDS, [[n, "x" * 2000, b""] for n in range(rows)]
    ),
    "get_many": lambda hs, _, __, rows: hs.get_many("d", "t", FIELDS, range(rows)),
    "get_many, declared": lambda hs, _, __, rows: declared(hs).get_many(range(rows)),
    "find": lambda hs, _, __, rows: hs.find("d", "t", ">", FIELDS, [0], limit=rows),
    "find, declared": lambda hs, _, __, rows: declared(hs).find(">", [0], limit=rows),
    "find, in_": lambda hs, _, __, rows: hs.find("d", "t", "=", FIELDS, [], in_=(0, range(rows))),
    "find, in_, declared": lambda hs, _, __, rows: declared(hs).find("=", [], in_=(0, range(rows))),
    "find, low level": lambda _, reads, __, rows: low_level(reads, lambda index: Find(index, ">", [0], rows)),
    "execute_many": lambda _, __, writes, rows: low_level(writes, lambda index: Insert(index, [1, "note", b"data"]), rows),
}


def declared(hs: trio_hs.Manager) -> trio_hs.DeclaredTable:
    return hs.table("d", "t", FIELDS, columns=COLUMNS)


async def low_level(socket: trio_hs.ReadSocket, request: Callable[[int], Any], times: int = 1) -> Any:
    index = await socket.get_index_id("d", "t", FIELDS)
    results = await socket.execute_many([request(index)] * times)
    return results[0] if times == 1 else results


@pytest.mark.parametrize("name", CALLS)
async def test_more_rows_make_more_turns_not_longer_ones(name: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fake = FakeServer(nursery, rows_of, window=1 << 26)
    server = [("inet", "fake", 1)]
    async with (
        trio_hs.open_manager(server, server, connect=fake.connect) as hs,
        trio_hs.open_read_socket(server, connect=fake.connect) as reads,
        trio_hs.open_write_socket(server, connect=fake.connect) as writes,
    ):
        work = Work()
        result = await work.watch(lambda: CALLS[name](hs, reads, writes, ROWS))
    assert len(result) == ROWS
    assert work.passes > 5
    # A pass may have two slices, as trio shuffles its tasks. To encode all rows at once, it took 22 calls for each of them.
    assert work.most < 4 * ROWS


LONG: dict[str, Callable[[trio_hs.Manager, trio_hs.WriteSocket, str], Awaitable[Any]]] = {
    "insert": lambda hs, _, text: hs.insert("d", "t", [("id", 1), ("note", text), ("data", b"")]),
    "insert, declared": lambda hs, _, text: declared(hs).insert([1, text, b""]),
    "insert_many": lambda hs, _, text: hs.insert_many("d", "t", FIELDS, [[1, text, b""]]),
    "insert_many, declared": lambda hs, _, text: declared(hs).insert_many([[1, "", text.encode()]]),
    "update": lambda hs, _, text: hs.update("d", "t", "=", FIELDS, [1], [1, text, b""]),
    "update, declared": lambda hs, _, text: declared(hs).update("=", [1], [1, text, b""]),
    "insert, low level": lambda _, socket, text: low_level(socket, lambda index: Insert(index, [1, text, b""])),
    "update, low level": lambda _, socket, text: low_level(
        socket, lambda index: FindModify(index, "=", [1], "U", [1, text.encode(), b""])
    ),
}


@pytest.mark.parametrize("name", LONG)
async def test_a_long_value_is_written_in_turns(name: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    text = "a line\n" * MB
    fake = FakeServer(nursery, window=1 << 26)
    server = [("inet", "fake", 1)]
    async with (
        trio_hs.open_manager(server, server, connect=fake.connect) as hs,
        trio_hs.open_write_socket(server, connect=fake.connect) as socket,
    ):
        work = Work()
        await work.watch(lambda: LONG[name](hs, socket, text))
    [request] = fake.requests
    assert request.count(b"a line\x01J") == MB
    assert work.passes > 8 * MB / (1 << 18)


@pytest.mark.parametrize("how", ["text", "bytes", "declared"])
async def test_a_long_value_is_read_in_turns(how: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    token = b"a line\x01J" * MB
    fake = FakeServer(nursery, lambda line: b"0\t3\t1\t" + token + b"\t\n" if line[:1].isdigit() else echo(line))
    encoding = None if how == "bytes" else "utf-8"
    async with trio_hs.open_manager([("inet", "fake", 1)], connect=fake.connect, encoding=encoding) as hs:
        work = Work()
        table = declared(hs) if how == "declared" else hs.table("d", "t", FIELDS)
        row = dict(await work.watch(lambda: table.get(1)))
    assert row["note"] == (b"a line\n" * MB if how == "bytes" else "a line\n" * MB)
    assert work.passes > 8 * MB / (1 << 18)


async def test_nothing_is_sent_when_a_late_row_is_refused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fake = FakeServer(nursery)
    async with trio_hs.open_manager([("inet", "fake", 1)], [("inet", "fake", 1)], connect=fake.connect) as hs:
        with pytest.raises(TypeError, match=f"^row {ROWS}: "):
            await hs.insert_many("d", "t", ["id"], [*([1],) * ROWS, [object()]])  # type: ignore[list-item]
        assert fake.requests == []
        assert await hs.insert("d", "t", [("id", 1)]) == 1


@pytest.mark.parametrize("passes", [1, 3, 9, 30])
@pytest.mark.parametrize("name", ["insert_many", "get_many", "find", "find, declared", "find, in_"])
async def test_cancelling_between_two_turns_leaves_the_connection_in_order(
    name: str, passes: int, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    fake = FakeServer(nursery, rows_of, window=1 << 26)
    server, unused = [("inet", "fake", 1)], cast("Any", None)
    async with trio_hs.open_manager(server, server, connect=fake.connect) as hs:
        table = hs.table("d", "t", ["id"])
        fake.answer = echo
        assert await table.get(1) == [("id", "1")]
        fake.answer = rows_of

        async def call() -> None:
            await CALLS[name](hs, unused, unused, ROWS)

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as both:
                both.start_soon(call)
                for _ in range(passes):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        fake.answer = echo
        await wait_all_tasks_blocked()
        for key in range(20):
            assert await table.get(key) == [("id", str(key))]
        assert await table.insert([1]) == 1
        statistics = hs.statistics()
        assert [one.outstanding for one in (*statistics.readers, *statistics.writers)] == [0, 0]
