"""What cannot be scanned, and says so before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.trio_hs.support.scans import numbers
from trio_hs import Column, Columns, DecodingError, Filter
from trio_hs._columns import keyset

KINDS = Columns(
    [
        Column("id", "int"),
        Column("f", "float"),
        Column("t", "timestamp", nullable=True),
        Column("b", "text"),
        Column("n", "int", nullable=True),
        Column("e", "enum", members=["", "x"]),
        Column("v", "varchar", length=9),
    ],
    {
        "PRIMARY": ["id"],
        "f": ["f"],
        "t": ["t", "id"],
        "b": [("b", 5)],
        "n": ["n"],
        "f_id": ["n", "f", "id"],
        "e": ["e"],
        "v": [("v", 5)],
    },
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
    (KINDS, "e", {}, "scan: the index e has the enum e with the member '', which looks like a value that is no member"),
    (KINDS, "v", {"stop": ["x"]}, "stop: the index v covers only a prefix of column v, and filters compare all of it"),
    (KINDS, "b", {"stop": ["x"]}, "stop: the index b covers only a prefix of column b, and filters compare all of it"),
    (KINDS, "b", {"equal": ["x"]}, "equal: the index b covers only a prefix of column b, and filters compare all of it"),
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


async def test_a_table_that_is_not_declared_says_what_a_scan_needs() -> None:
    async with numbers(0) as (_, hs):
        table: Any = hs.table("d", "numbers", ["id"])
        with pytest.raises(AttributeError, match=r"has no scan, .* `python -m trio_hs describe d.numbers` writes"):
            table.scan()
        assert not hasattr(table, "scan")


def test_a_date_that_does_not_exist_is_no_place_to_go_on_from() -> None:
    columns = Columns([Column("d", "date"), Column("at", "datetime", precision=3)], {"PRIMARY": ["d", "at"]})
    order = keyset(columns, None, backwards=False, timestamps_in_utc=False)
    for marks in ([b"0000-00-00", b"0000-00-00 00:00:00.000"], [b"2024-02-29", b"2024-02-29 12:00:00.001"]):
        assert order.marks(marks) == marks
    for wrong in ([b"2024-02-31", b"2024-02-29 12:00:00.001"], [b"0000-00-00", b"2024-00-10 00:00:00.000"]):
        with pytest.raises(DecodingError, match=r"column (d|at): b'2024-0[02]-[13][01]"):
            order.marks(wrong)


def test_the_runs_of_a_range_end_where_it_does() -> None:
    """Otherwise the server would go on to the end of the index, with the same rows."""
    columns = Columns([Column(name, "int") for name in "abc"], {"PRIMARY": ["a", "b", "c DESC"]})
    order = keyset(columns, None, backwards=False, timestamps_in_utc=False)
    same = Filter("a", "=", b"1", stop=True)
    assert order.runs([b"1"], []) == [[same]]
    assert order.runs([b"1"], [b"2", b"3"]) == [
        [same, Filter("b", "<", b"2", stop=True)],
        [same, Filter("b", "<=", b"2", stop=True), Filter("b", "=", b"2"), Filter("c", ">", b"3", stop=True)],
    ]
