"""Scans of the embedded server: rows, pages, how much is asked for, errors and cancellation, and positions."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.support.patience import patience
from tests.trio_hs.support.scans import COLUMNS, NUMBERS, identity, numbers, of, opened, row_of
from trio_hs import Column, Columns, ConnectionError, DecodingError, Filter, RetryPolicy
from trio_hs._columns import keyset
from trio_hs._protocol import NULL
from trio_hs.testing import Table


@dataclass
class Number:
    id: int
    n: int


async def test_rows_are_what_the_table_makes_of_them() -> None:
    async with numbers(2) as (_, hs):
        pairs = hs.table("d", "numbers", columns=NUMBERS)
        assert [row async for row in pairs.scan()] == [[("id", 1), ("n", 0)], [("id", 2), ("n", 0)]]
        dicts = hs.table("d", "numbers", ["n"], columns=NUMBERS, row=dict)
        assert [row async for row in dicts.scan(1)] == [{"n": 0}, {"n": 0}]
        objects = hs.table("d", "numbers", index_name="n", columns=NUMBERS, row=Number)
        assert await objects.scan(5, backwards=True).page() == [Number(2, 0), Number(1, 0)]
        again = hs.table("d", "numbers", ["n", "id", "n"], columns=NUMBERS)
        assert await again.scan(1).page() == [[("n", 0), ("id", 1), ("n", 0)]]


async def test_a_row_is_made_once_and_only_if_it_is_given() -> None:
    """Also where the scan looks for the end of the index first, which is beyond what the client takes for it."""
    made: list[str] = []

    def make(s: str) -> str:
        made.append(s)
        return s

    texts = {False: ["\x01", "\x02", "a"], True: ["\U0010ffff" * 4 + "z", "a", "\x01"]}
    columns = Columns([Column("s", "varchar", length=8, charset="utf8mb4")], {"PRIMARY": ["s"]})
    async with opened(Table.from_columns("d", "texts", columns)) as (_, hs):
        table = hs.table("d", "texts", columns=columns, row=make)
        for backwards, expected in texts.items():
            await table.insert_many([[text] for text in expected])
            made.clear()
            assert [text async for text in table.scan(1, backwards=backwards)] == expected
            assert made == expected
            await table.delete(">=", [""], 9)
            await table.delete("<=", [""], 9)


@pytest.mark.parametrize("charset,texts", [("utf8mb4", ["\U0001f600 a", "\U0001f44d b"]), ("latin1", ["\u00f8", "z"])])
async def test_a_scan_from_the_end_finds_it_at_once(charset: str, texts: list[str]) -> None:
    """The client does not know the collation, but a guess that is too low would have it read what is beyond first."""
    columns = Columns([Column("id", "int"), Column("s", "varchar", length=8, charset=charset)], {"PRIMARY": ["id"], "s": ["s"]})
    async with opened(Table.from_columns("d", "texts", columns)) as (server, hs):
        await hs.table("d", "texts", columns=columns).insert_many([[number, texts[number % 2]] for number in range(40)])
        table = hs.table("d", "texts", ["id"], "s", columns=columns, row=identity)
        assert len(await (forwards := table.scan(4)).page()) == 4  # opens the index
        before = server.statistics().requests
        assert len(await (backwards := table.scan(4, backwards=True)).page()) == 4
        assert server.statistics().requests - before <= 3  # opens the index with the filters, finds the end, reads
        assert not forwards.done
        assert not backwards.done


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
    async with numbers(0) as (server, hs):
        await server.load("d", "numbers", [(number, 5 if number < 40 else 6) for number in range(1, 50)])
        for backwards in (False, True):
            scan, found = of(hs, "n").scan(4, backwards=backwards), []
            async for number in scan:
                found.append(number)
                assert len(scan._rows) < 4
            assert found == sorted(range(1, 50), reverse=backwards)


async def test_rows_of_equal_keys_are_told_apart_by_a_text_that_the_collation_compares() -> None:
    columns = Columns([Column("s", "varchar", length=9), Column("n", "int")], {"PRIMARY": ["s"], "n": ["n"]})
    async with opened(Table.from_columns("d", "texts", columns)) as (_, hs):
        table = hs.table("d", "texts", ["s"], "n", columns=columns, row=lambda s: s)
        texts = ["", "a", "B", "c", "D", "\u00e9"]
        await hs.table("d", "texts", columns=columns).insert_many([[text, 7] for text in ["B", "a", "\u00e9", "D", "", "c"]])
        for backwards in (False, True):
            expected = texts[::-1] if backwards else texts
            assert [text async for text in table.scan(1, backwards=backwards)] == expected
            assert [text async for text in table.scan(2, backwards=backwards)] == expected
        scan = table.scan(1)
        assert [await anext(scan) for _ in range(3)] == ["", "a", "B"]
        await table.delete("=", [7], 1, filters=[Filter("s", "=", "B")])
        await hs.table("d", "texts", columns=columns).insert(["b", 7])  # to the collation the same key
        assert [text async for text in table.scan(2, after=scan.position)] == ["c", "D", "\u00e9"]


async def test_a_scan_that_is_resumed_in_a_group_of_the_second_run_of_its_range_goes_on_there() -> None:
    """The range has a row with a below 0, and three of equal keys with a = 0."""
    async with opened(Table.from_columns("d", "t", COLUMNS)) as (_, hs):
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


async def test_two_tasks_cannot_share_a_scan_that_has_rows_left() -> None:
    async with numbers(5) as (server, hs):
        scan = of(hs).scan(3)
        assert await anext(scan) == 1
        server.faults.stall()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scan.page)
            await wait_all_tasks_blocked()
            with pytest.raises(RuntimeError, match="another task is using this scan"):
                await anext(scan)
            nursery.cancel_scope.cancel()
        server.faults.resume()
        assert await scan.page() == [2, 3, 4]


async def test_a_loop_that_is_left_in_the_middle_of_a_chunk_leaves_the_scan_there() -> None:
    async with numbers(9) as (server, hs):
        scan = of(hs, "n").scan(4)
        async for number in scan:
            if number == 2:
                break
        requests = server.statistics().requests
        assert [await anext(scan), await anext(scan)] == [3, 4]
        assert server.statistics().requests == requests
        assert await of(hs, "n").scan(after=scan.position).page() == [5, 6, 7, 8, 9]


async def test_a_scan_without_rows() -> None:
    async with numbers(0) as (_, hs):
        for index in (None, "n"):
            for backwards in (False, True):
                scan = of(hs, index).scan(backwards=backwards)
                assert [number async for number in scan] == []
                assert (scan.done, scan.position) == (True, None)


# ---- positions

POSITIONS = {
    (None, False): "H1uMPDU",
    ("n", False): "Q6j32zEJNQ",
    ("n", True): "5v3dZzEJNQ",
}


@pytest.mark.parametrize("index,backwards", POSITIONS)
async def test_a_position_that_another_process_or_an_earlier_version_has_kept_is_good(
    index: str | None, backwards: bool
) -> None:
    async with numbers(9) as (_, hs):
        scan = of(hs, index).scan(backwards=backwards)
        async for number in scan:
            if number == 5:
                break
        kept = POSITIONS[index, backwards]
        assert scan.position == kept
        rest = [number async for number in of(hs, index).scan(backwards=backwards, after=kept)]
        assert rest == ([4, 3, 2, 1] if backwards else [6, 7, 8, 9])


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


@given(st.lists(st.one_of(st.binary(max_size=9), st.sampled_from([b"\x00", b"5\n0", b"\x01", b"1\r"])), max_size=3))
def test_a_position_that_a_stranger_has_made_holds_no_more_than_two_values(marks: list[bytes]) -> None:
    order = keyset(NUMBERS, "n", backwards=False, timestamps_in_utc=False)
    try:
        found = order.parse(order.position(marks))
    except ValueError:
        return
    assert len(found) == 2
    assert all(re.fullmatch(rb"(\x01[@-O]|[^\x00-\x0f])*", mark) for mark in found)


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
            (b"1", b"5\n0"): [6],
        }
        for marks, expected in forgeries.items():
            forged = of(hs, "n").scan(equal=[1], after=order.position(marks))
            assert [number async for number in forged] == expected
        # An insert, if it were sent as it is; and a NULL that the column cannot have.
        for marks in ((b"1", b"5\n0\t+\t2\t77\t77"), (NULL, b"5"), (b"1", NULL)):
            with pytest.raises(ValueError, match="after is not the position of a scan"):
                of(hs, "n").scan(equal=[1], after=order.position(marks))
        assert await of(hs).get(77) is None


@pytest.mark.parametrize("chunk", [1, 2])
async def test_a_scan_through_an_index_that_is_declared_otherwise_does_not_go_on_for_ever(chunk: int) -> None:
    """Also where it takes several chunks until the same rows come again."""
    columns = [Column("id", "int"), Column("n", "int")]
    async with opened(Table.from_columns("d", "t", Columns(columns, {"PRIMARY": ["n", "id"]}))) as (server, hs):
        await server.load("d", "t", [(7, 6), (8, 7), (9, 8), (6, 9), (5, 10), (5, 11)])
        scan = hs.table("d", "t", columns=Columns(columns, {"PRIMARY": ["id", "n"]}), row=dict).scan(chunk)
        with (
            trio.fail_after(patience(10)),
            pytest.raises(DecodingError, match="come round again, which the index PRIMARY does"),
        ):
            async for _ in scan:
                pass
        with pytest.raises(DecodingError, match="come round again"):
            await scan.page()
