"""Scans of the embedded server: each row exactly once and in order, whatever others insert and delete meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.support.amount import amount
from tests.trio_hs.support.scans import COLUMNS, KEYS, TEXTS, may_go, row_of
from trio_hs import Column, Columns, ConnectionError, Filter, Manager, RetryPolicy, Scan, open_manager
from trio_hs.testing import EmbeddedServer, Table, open_server

TABLE = Table.from_columns("d", "t", COLUMNS)


@asynccontextmanager
async def opened(table: Table = TABLE, **options: Any) -> AsyncIterator[tuple[EmbeddedServer, Manager]]:
    async with (
        open_server([table]) as server,
        open_manager([server.read_address], [server.write_address], connect=server.connect, **options) as hs,
    ):
        yield server, hs


# ---- any scan, any changes


@dataclass
class Case:
    """A scan, and what others do after each of its pages."""

    index: str
    backwards: bool
    chunk: int
    equal: list[Any]
    start: list[Any]
    stop: list[Any]
    filtered: bool
    rows: list[list[Any]]
    changes: list[list[list[Any] | tuple[int, int]]]
    """A list inserts a row, a tuple deletes the one of that key."""
    resumed: int
    """After every so many pages another scan goes on."""


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "p": st.integers(-1, 4),
    "q": st.integers(-1, 4),
    "a": st.sampled_from([None, -1, 0, 1]),
    "s": st.sampled_from(TEXTS),
    "n": st.integers(-2, 2),
    "u": st.one_of(st.none(), st.integers(-1, 16)),
    "v": st.integers(-1, 16),
}
ROWS = st.builds(row_of, st.sampled_from(KEYS), VALUES["a"], VALUES["s"], VALUES["n"], st.booleans())


@st.composite
def cases(draw: st.DrawFn) -> Case:
    index = draw(st.sampled_from(list(COLUMNS.indexes)))
    backwards = draw(st.booleans()) and may_go(index, backwards=True)
    parts = COLUMNS.indexes[index]
    look_ups = [
        VALUES[part.column.name] if part.prefix is None else VALUES[part.column.name].filter(lambda value: len(value) < 2)
        for part in parts
    ]

    def some(begin: int) -> list[Any]:
        end = draw(st.integers(begin, len(parts)))
        return [draw(look_up) for look_up in look_ups[begin:end]]

    equal = some(0) if draw(st.integers(0, 3)) == 0 else []
    return Case(
        index,
        backwards,
        draw(st.integers(1, 4)),
        equal,
        some(len(equal)) if draw(st.booleans()) else [],
        some(len(equal)) if draw(st.booleans()) else [],
        draw(st.integers(0, 3)) == 0,
        draw(st.lists(ROWS, max_size=16, unique_by=lambda row: (row[0], row[1]))),
        draw(st.lists(st.lists(st.one_of(ROWS, st.sampled_from(KEYS)), max_size=3), max_size=6)),
        draw(st.integers(1, 4)),
    )


class Order:
    """The order of an index, as the embedded server has it."""

    def __init__(self, server: EmbeddedServer, case: Case) -> None:
        self.case = case
        self.stored = server.database.tables["d", "t"]
        (self.index,) = [index for index in self.stored.indexes if index.name == case.index]

    def _stored(self, row: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(column.store(value) for column, value in zip(self.stored.columns, row, strict=True))

    def entry(self, row: Sequence[Any]) -> Any:
        return self.index.entry(self._stored(row))

    def matches(self, row: Sequence[Any]) -> bool:
        """Whether the row is in the range of the scan."""
        case, key = self.case, self.index.key(self._stored(row))

        def before(values: list[Any]) -> bool:
            wanted = self._wanted(values)
            return bool(wanted < key[: len(wanted)] if case.backwards else key[: len(wanted)] < wanted)

        same = self._wanted(case.equal)
        if key[: len(same)] < same or same < key[: len(same)] or (case.filtered and row[4] < 0):
            return False
        if case.start and before([*case.equal, *case.start]):
            return False
        return not case.stop or before([*case.equal, *case.stop])

    def _wanted(self, values: list[Any]) -> Any:
        return self.index.search_key([None if value is None else str(value).encode() for value in values])


async def scanned(case: Case) -> None:
    async with opened() as (server, hs):
        table = hs.table("d", "t", columns=COLUMNS, index_name=None if case.index == "PRIMARY" else case.index, row=row_type)
        writer = hs.table("d", "t", columns=COLUMNS)
        order = Order(server, case)
        outcomes = await writer.insert_many(case.rows)
        there = {key(row): row for row, outcome in zip(case.rows, outcomes, strict=True) if outcome is None}
        always = dict(there)
        ever = list(there.values())
        changes = iter(case.changes)
        pages = 0
        found: list[list[Any]] = []

        def scan(after: str | None) -> Scan[list[Any]]:
            filters = [Filter("n", ">=", 0)] if case.filtered else []
            bounds: dict[str, Any] = {"equal": case.equal, "start": case.start, "stop": case.stop}
            return table.scan(case.chunk, **bounds, filters=filters, backwards=case.backwards, after=after)

        current = scan(None)
        while page := await current.page():
            assert len(page) == case.chunk or current.done
            found += page
            pages += 1
            assert len(found) <= len(ever), "it does not end"
            if pages % case.resumed == 0:
                current = scan(current.position)
            for change in next(changes, []):
                if isinstance(change, tuple):
                    await writer.delete("=", change)
                    always.pop(change, None)
                    there.pop(change, None)
                elif key(change) not in there:
                    await writer.insert(change)
                    there[key(change)] = change
                    ever.append(change)
        assert current.done
        entries = [order.entry(row) for row in found]
        assert entries == sorted(entries, reverse=case.backwards)
        # Only a row that was deleted and inserted again with another key may come twice, as two rows.
        assert len({(key(row), row[2], row[3], row[4]) for row in found}) == len(found)
        assert [row for row in found if key(row) in always] == sorted(
            (row for row in always.values() if order.matches(row)), key=order.entry, reverse=case.backwards
        )
        assert all(order.matches(row) and row in ever for row in found)


def key(row: Sequence[Any]) -> tuple[int, int]:
    return row[0], row[1]


def row_type(p: int, q: int, a: int | None, s: str, n: int, u: int | None, v: int) -> list[Any]:
    return [p, q, a, s, n, u, v]


@pytest.mark.slow
@settings(max_examples=amount(120, 3_000))
@given(cases())
def test_any_scan_while_others_change_the_table(case: Case) -> None:
    trio.run(scanned, case)


# ---- what else it promises

NUMBERS = Columns([Column("id", "int"), Column("n", "int")], {"PRIMARY": ["id"], "n": ["n"]})
NUMBERS_TABLE = Table.from_columns("d", "numbers", NUMBERS)


@asynccontextmanager
async def numbers(count: int, **options: Any) -> AsyncIterator[tuple[EmbeddedServer, Manager]]:
    """Rows from 1 to ``count``, of which each three have the same ``n``."""
    async with opened(NUMBERS_TABLE, **options) as (server, hs):
        await server.load("d", "numbers", [(number, (number - 1) // 3) for number in range(1, count + 1)])
        yield server, hs


def identity(id: int) -> int:
    return id


def of(hs: Manager, index: str | None = None) -> Any:
    return hs.table("d", "numbers", ["id"], index, columns=NUMBERS, row=identity)


async def test_rows_are_what_the_table_makes_of_them() -> None:
    async with numbers(2) as (_, hs):
        pairs = hs.table("d", "numbers", columns=NUMBERS)
        assert [row async for row in pairs.scan()] == [[("id", 1), ("n", 0)], [("id", 2), ("n", 0)]]
        dicts = hs.table("d", "numbers", ["n"], columns=NUMBERS, row=dict)
        assert [row async for row in dicts.scan(1)] == [{"n": 0}, {"n": 0}]


@pytest.mark.parametrize("index,backwards", [(None, False), (None, True), ("n", False), ("n", True)])
async def test_another_scan_goes_on_behind_any_row(index: str | None, backwards: bool) -> None:
    async with numbers(10) as (_, hs):
        expected = list(range(10, 0, -1) if backwards else range(1, 11))
        for end in range(11):
            scan = of(hs, index).scan(4, backwards=backwards)
            first = [await anext(scan) for _ in range(end)]
            assert (scan.position is None) is (end == 0)
            rest = of(hs, index).scan(3, backwards=backwards, after=scan.position)
            assert rest.position == scan.position
            assert first + [number async for number in rest] == expected
            assert [number async for number in scan] == expected[end:]
            assert scan.done
            assert scan.position == rest.position


async def test_pages_are_full_but_for_the_last_and_done_says_so() -> None:
    async with numbers(7) as (server, hs):
        scan = of(hs, "n").scan(3)
        assert (await scan.page(), scan.done) == ([1, 2, 3], False)
        assert await anext(scan) == 4
        assert (await scan.page(), scan.done) == ([5, 6, 7], False)
        assert (await scan.page(), scan.done) == ([], True)
        requests = server.statistics().requests
        assert await scan.page() == []
        assert server.statistics().requests == requests
        full = of(hs).scan(7)
        assert (len(await full.page()), full.done) == (7, False)
        assert (await full.page(), full.done) == ([], True)


async def test_a_row_costs_a_part_of_a_request_and_no_more_rows_are_read_than_a_chunk() -> None:
    async with numbers(1000) as (server, hs):
        await of(hs).scan(100).page()
        before = server.statistics().requests
        scan = of(hs).scan(100)
        most = 0
        async for _ in scan:
            most = max(most, len(scan._rows) + 1)
        assert most == 100
        assert server.statistics().requests - before == 1 + 1000 // 100 + 1  # finds the beginning, the end
        before = server.statistics().requests
        assert len([row async for row in of(hs, "n").scan(100)]) == 1000
        assert server.statistics().requests - before <= 2 + 3 * 11  # also looks for the rest of each chunk's last group


async def test_a_group_that_is_larger_than_a_chunk() -> None:
    async with opened(NUMBERS_TABLE) as (server, hs):
        await server.load("d", "numbers", [(number, 5 if number < 40 else 6) for number in range(1, 50)])
        for backwards in (False, True):
            found = [number async for number in of(hs, "n").scan(4, backwards=backwards)]
            assert found == sorted(range(1, 50), reverse=backwards)


async def test_a_scan_that_is_resumed_in_a_group_of_the_second_run_of_its_range_goes_on_there() -> None:
    """The range has a row with a below 0, and three of equal keys with a = 0."""
    async with opened() as (_, hs):
        table = hs.table("d", "t", ["p"], "a_s", columns=COLUMNS, row=lambda p: p)
        rows = [row_of((0, 0), -1, "b", 0, False), *(row_of((p, 0), 0, "b", 0, False) for p in (1, 2, 3))]
        await hs.table("d", "t", columns=COLUMNS).insert_many(rows)
        found: list[int] = []
        position = None
        while page := await (scan := table.scan(1, stop=[0, "a"], after=position)).page():
            found += page
            position = scan.position
            assert len(found) <= 4, "it does not end"
        assert found == [0, 1, 2, 3]


async def test_after_an_error_or_a_cancellation_the_scan_goes_on() -> None:
    async with numbers(20, timeout=1.0, retry=RetryPolicy(attempts=1)) as (server, hs):
        for index in (None, "n"):
            scan, found = of(hs, index).scan(4), []
            found += await scan.page()
            server.faults.drop_answers()
            with pytest.raises(ConnectionError):
                await scan.page()
            found += await scan.page()
            with trio.CancelScope() as scope:
                scope.cancel()
                await scan.page()
            assert scope.cancelled_caught
            found += [number async for number in scan]
            assert found == list(range(1, 21))


async def test_two_tasks_cannot_share_a_scan() -> None:
    async with numbers(5) as (server, hs):
        scan = of(hs).scan(2)
        server.faults.stall()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scan.page)
            await wait_all_tasks_blocked()
            with pytest.raises(RuntimeError, match="another task is using this scan"):
                await scan.page()
            server.faults.resume()
        assert await scan.page() == [3, 4]


async def test_a_scan_without_rows() -> None:
    async with numbers(0) as (_, hs):
        for index in (None, "n"):
            for backwards in (False, True):
                scan = of(hs, index).scan(backwards=backwards)
                assert [number async for number in scan] == []
                assert (scan.done, scan.position) == (True, None)


# ---- positions of strangers


@given(
    st.one_of(
        st.text(max_size=30), st.binary(max_size=30).map(lambda data: data.hex()), st.sampled_from(["", "====", "\u00e9"])
    )
)
def test_what_is_no_position_is_refused(text: str) -> None:
    async def main() -> None:
        async with numbers(0) as (_, hs):
            with pytest.raises(ValueError, match="after is not the position of a scan forwards through the index n"):
                of(hs, "n").scan(after=text)

    trio.run(main)


async def test_a_position_is_of_one_index_and_direction_and_holds_values_only() -> None:
    async with numbers(9) as (_, hs):
        scan = of(hs, "n").scan(equal=[1])
        await anext(scan)
        for index, backwards in ((None, False), ("n", True)):
            with pytest.raises(ValueError, match="after is not the position of a scan"):
                of(hs, index).scan(backwards=backwards, after=scan.position)
        order = scan._order
        # Behind the range, before it, and what would be another request.
        forgeries = {
            (b"2", b"1"): [],
            (b"-1", b"0"): [],
            (b"0", b"9"): [4, 5, 6],
            (b"1", b"\0"): [4, 5, 6],
            (b"1", b"5\n0"): [6],
        }
        for marks, expected in forgeries.items():
            forged = of(hs, "n").scan(equal=[1], after=order.position(marks))
            assert [number async for number in forged] == expected
        with pytest.raises(ValueError, match="after is not the position of a scan"):  # an insert, if it were sent as it is
            of(hs, "n").scan(equal=[1], after=order.position((b"1", b"5\n0\t+\t2\t77\t77")))
        assert await of(hs).get(77) is None


# ---- what cannot be scanned

KINDS = Columns(
    [
        Column("id", "int"),
        Column("f", "float"),
        Column("t", "timestamp", nullable=True),
        Column("b", "text"),
        Column("n", "int", nullable=True),
    ],
    {"PRIMARY": ["id"], "f": ["f"], "t": ["t", "id"], "b": [("b", 5)], "n": ["n"], "f_id": ["n", "f", "id"]},
    ["n"],
)
KEYLESS = Columns([*KINDS], {"n": ["n"], "id": ["id"]}, ["n", "id"])
PREFIXED = Columns([*KINDS], {"PRIMARY": [("b", 9)], "n": ["n"]})

REFUSED: list[tuple[Columns, str | None, dict[str, Any], str]] = [
    (KINDS, "f", {}, "scan: the index f has the float f, of which the server returns six digits, too few to go on from"),
    (KINDS, "f_id", {}, "scan: the index f_id has the float f,"),
    (KINDS, "t", {}, "scan: the index t has the timestamp t, which the server returns in its time zone."),
    (
        KINDS,
        "b",
        {"backwards": True},
        "scan: the index b covers only a prefix of b, and is not unique: it can be scanned forwards",
    ),
    (KEYLESS, "n", {}, "scan: the index n may have rows of equal keys, and there is no primary key that tells them apart"),
    (PREFIXED, "n", {}, "scan: the index n may have rows of equal keys, and the primary key covers only a prefix of b"),
    (KINDS, "b", {"stop": ["x"]}, "stop: column b is a text, which the server only filters on NULL"),
    (KINDS, "b", {"equal": ["x"]}, "equal: column b is a text, which the server only filters on NULL"),
    (
        KINDS,
        "b",
        {"start": ["xxxxx"]},
        "start: the index covers the first 5 of column b: a value of 5 would also find what only",
    ),
    (KINDS, None, {"start": [1, 2]}, "start holds 2 values, but the index PRIMARY has 1 column"),
    (
        KINDS,
        "t",
        {"timestamps_in_utc": True, "equal": [None], "stop": [1, 2]},
        "stop holds 2 values, but the index t has 1 column ",
    ),
    (KINDS, None, {"stop": [None]}, "stop: column id is NOT NULL"),
    (KINDS, None, {"chunk": 0}, "chunk must be from 1 to 4294967295, not 0"),
    (
        KINDS,
        None,
        {"filters": [Filter("n", "=", 1, stop=True)]},
        "filters: with stop=True the scan could not know where it ends",
    ),
]


@pytest.mark.parametrize("columns,index,arguments,message", REFUSED)
async def test_what_cannot_be_scanned_is_refused_at_once(
    columns: Columns, index: str | None, arguments: dict[str, Any], message: str
) -> None:
    async with numbers(0) as (_, hs):
        table = hs.table("d", "kinds", ["id"], index, columns=columns)
        with pytest.raises(ValueError) as caught:
            table.scan(**arguments)
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("columns,index", [(KEYLESS, "id"), (KINDS, "b"), (KINDS, "n"), (PREFIXED, None)])
async def test_what_can_be_scanned(columns: Columns, index: str | None) -> None:
    async with numbers(0) as (_, hs):
        hs.table("d", "kinds", ["id"], index, columns=columns).scan()
        hs.table("d", "kinds", ["id"], "t", columns=KINDS).scan(timestamps_in_utc=True)
