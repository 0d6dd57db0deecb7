"""Many rows become the requests that each row would become by itself."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_hs._protocol import Codec, Index, LongValue, RowEncoder, chunks_of_tails, insert_tail, plain_rows
from trio_hs._protocol import _inserts as inserts

TWO = Index("d", "t", ["a", "b"])
SIMPLE = st.integers() | st.text("aé€%", max_size=5)
VALUE = SIMPLE | st.none() | st.booleans() | st.text("\0\t\n\r\x0f\x1b\x85\u2028\ud800", max_size=3) | st.binary(max_size=3)
ROW = st.lists(SIMPLE, min_size=2, max_size=2) | st.tuples(VALUE, VALUE) | st.lists(VALUE, max_size=3)


def tails_of(rows: Sequence[Any], encoder: RowEncoder) -> list[bytes]:
    chunks: list[list[bytes]] = []
    work = chunks_of_tails(rows, encoder, chunk_lines=1000, chunk_bytes=1 << 20)
    while True:
        try:
            next(work)
        except StopIteration as end:
            chunks = end.value
            return [tail for chunk in chunks for tail in chunk]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252", None])
def test_rows_are_encoded_together_as_one_by_one(encoding: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inserts, "FEW", 0)
    monkeypatch.setattr(inserts, "GROUP", 3)
    codec = Codec(encoding)

    def outcome(rows: list[Any], together: bool) -> object:
        try:
            if together:
                return tails_of(rows, plain_rows(TWO, codec))
            return [insert_tail(TWO, codec, row) for row in rows]
        except (TypeError, ValueError) as error:
            return str(error)

    @given(st.lists(st.lists(SIMPLE, min_size=2, max_size=2), max_size=8) | st.lists(ROW, max_size=8))
    @example([[1, "a"], [2, "a\r"], [3, "b"]])
    @example([[1, "\0"]] * 7)
    @example([[10**5000, "a"]])
    @example([[1, "a"], [2, "b"], [3], [4, "d", 5]])
    def check(rows: list[Any]) -> None:
        expected = outcome(rows, together=False)
        if isinstance(expected, str):
            number = next(number for number, row in enumerate(rows) if isinstance(outcome([row], together=False), str))
            expected = f"row {number}: {expected}"
        assert outcome(rows, together=True) == expected

    check()


def test_rows_that_are_iterators_are_read_once() -> None:
    expected = [insert_tail(TWO, Codec(), [number, "x"]) for number in range(300)]
    assert tails_of([iter([number, "x"]) for number in range(300)], plain_rows(TWO, Codec())) == expected
    assert tails_of([*([number, "x"] for number in range(299)), iter([299, "x"])], plain_rows(TWO, Codec())) == expected


@pytest.mark.parametrize("rows,most", [([[1, "text"]] * 10_000, 0.2), ([[1, None]] * 10_000, 13)], ids=["simple", "others"])
def test_rows_that_are_encoded_together_cost_no_call_each(rows: list[Any], most: float) -> None:
    """Others cost little more than they do one by one, which takes 9 calls here."""
    count = 0

    def event(frame: FrameType, what: str, argument: object) -> None:
        nonlocal count
        count += what in ("call", "c_call")

    encoder = plain_rows(TWO, Codec())
    sys.setprofile(event)
    try:
        tails_of(rows, encoder)
    finally:
        sys.setprofile(None)
    assert count < most * len(rows)


def test_rows_become_chunks_of_bounded_lines_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inserts, "GROUP", 3)

    def tail_of(row: Sequence[str]) -> bytes:
        if len(row[0]) > 3000:
            raise LongValue(len(row[0]))
        return row[0].encode()

    def long_tail_of(row: Sequence[str]) -> Generator[None, None, bytes]:
        yield
        return row[0].encode()

    def chunks(rows: list[list[str]]) -> list[list[int]]:
        work = chunks_of_tails(rows, RowEncoder(1, tail_of, long_tail_of), chunk_lines=3, chunk_bytes=1000)
        while True:
            try:
                next(work)
            except StopIteration as end:
                return [[len(tail) for tail in chunk] for chunk in end.value]

    assert chunks([]) == []
    assert chunks([["x"]] * 7) == [[1, 1, 1], [1, 1, 1], [1]]
    assert chunks([["x" * 400]] * 3) == [[400, 400], [400]]
    assert chunks([["x"], ["x" * 9000], ["x"]]) == [[1], [9000], [1]]


def test_rows_of_many_bytes_are_encoded_in_turns() -> None:
    """As many bytes as a slice may have, whether each row is short or nearly too long to be encoded at once."""
    for length, rows in ((2_000, 5_000), (250_000, 40)):
        work = chunks_of_tails([["x" * length, 1]] * rows, plain_rows(TWO, Codec()), chunk_lines=1000, chunk_bytes=1 << 20)
        assert sum(1 for _ in work) >= length * rows // (1 << 19)
