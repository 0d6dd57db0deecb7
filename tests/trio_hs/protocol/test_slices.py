"""Work in slices gives what it gives in one go, wherever the slices are cut."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_hs import Column, DecodingError, ProtocolError
from trio_hs._columns import TypedCodec
from trio_hs._dispatch._many import _key_lists
from trio_hs._protocol import (
    LONG_VALUE,
    Codec,
    Index,
    LongValue,
    Slices,
    chunks_of_tails,
    encode_in_slices,
    escape,
    insert_tail,
    insert_tail_in_slices,
    parse_values,
    plain_rows,
    rows_in_slices,
    tokens_in_slices,
    unescape,
    unescape_pieces,
)
from trio_hs._protocol import _slices as slices
from trio_hs._protocol import _values as values
from trio_hs._protocol._values import FEW_VALUES

T = TypeVar("T")

TWO = Index("d", "t", ["a", "b"])
DATA = st.binary(max_size=300) | st.text("\0\x01\t\nAé€𝄞@B", max_size=100).map(str.encode)


def run(work: Slices[T]) -> tuple[T, int]:
    """The result of work, and in how many slices it came."""
    count = 1
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value, count
        count += 1


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of a few bytes, so that short values have many."""
    monkeypatch.setattr(slices, "SLICE_BYTES", 3)
    monkeypatch.setattr(slices, "SLICE_VALUES", 3)
    monkeypatch.setattr(values, "LONG_VALUE", 5)
    monkeypatch.setattr(values, "_SOME_BYTES", 4)
    monkeypatch.setattr(values, "_MANY_BYTES", 6)
    monkeypatch.setattr(Codec, "slice_bytes", 4)
    monkeypatch.setattr(TypedCodec, "slice_bytes", 4)


def whole(encode: Callable[[], T]) -> T:
    """The result with no value taken for a long one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "LONG_VALUE", 1 << 30)
        return encode()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", None])
def test_values_are_encoded_as_in_one_go(encoding: str | None) -> None:
    codec = Codec(encoding)
    text = st.text("\0\x01\t\nAé€", max_size=40)

    @given(st.lists(text | DATA | st.none() | st.integers(), min_size=1, max_size=9))
    def check(row: list[Any]) -> None:
        index = Index("d", "t", [f"c{number}" for number in range(len(row))])
        expected = whole(lambda: insert_tail(index, codec, row))
        assert run(insert_tail_in_slices(index, codec, row))[0] == expected
        assert index.insert_head + run(encode_in_slices(codec, row))[0].tokens + b"\n" == expected

    check()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", None])
def test_answers_are_parsed_as_in_one_go(encoding: str | None) -> None:
    codec = Codec(encoding)

    @given(st.lists(DATA.map(escape) | st.just(b"\0"), max_size=12))
    def check(tokens: list[bytes]) -> None:
        line = b"\t".join([b"0\t2", *tokens])
        assert outcome(lambda: run(rows_in_slices(line, TWO, codec, flat))[0]) == outcome(
            lambda: parse_values(line, TWO, codec)
        )

    check()


@pytest.mark.usefixtures("small")
@given(st.lists(st.tuples(st.integers(0, 99) | st.none(), st.text(max_size=60) | st.none()), max_size=9))
def test_declared_values_are_parsed_as_in_one_go(rows: list[tuple[int | None, str | None]]) -> None:
    columns = Column("a", "int", nullable=True), Column("b", "longtext", nullable=True)
    codec = TypedCodec(columns)
    tokens = [whole(lambda c=c, v=v: c.encode(v)) for row in rows for c, v in zip(columns, row, strict=True)]  # type: ignore[misc]
    line = b"\t".join([b"0\t2", *tokens])
    assert run(rows_in_slices(line, TWO, codec, flat))[0] == parse_values(line, TWO, codec) == [v for row in rows for v in row]


def flat(found: list[Any], index: Index) -> list[Any]:
    return found


def outcome(parse: Callable[[], list[Any]]) -> object:
    try:
        return parse()
    except (ProtocolError, DecodingError) as error:
        return type(error)


@pytest.mark.usefixtures("small")
@given(DATA)
def test_escapes_of_any_length(data: bytes) -> None:
    token = re.sub(rb"[\x00-\x0f]", lambda match: bytes((1, match[0][0] + 0x40)), data)
    assert escape(data) == token
    assert unescape(token) == data
    assert run(unescape_pieces(slices._pieces(token, 0, len(token))))[0] == data


@given(st.binary(max_size=80).map(lambda data: data * 30))
def test_escapes_of_long_values(data: bytes) -> None:
    token = escape(data)
    assert re.search(rb"[\x00\x02-\x0f]|\x01[^@-O]", token) is None
    assert unescape(token) == data
    assert Codec(None).decode(token) == [None if token == b"\0" else data]


@pytest.mark.parametrize(
    "data", [bytes(256) * 1000, bytes(range(256)) * 1000, b"a line\n" * 30_000], ids=["zeros", "all", "text"]
)
def test_a_long_value_costs_no_call_for_each_of_its_bytes(data: bytes) -> None:
    assert calls(lambda: escape(data)) < 30
    token = escape(data)
    if data[:2] == b"\0\x01":
        return  # of many different escapes among other bytes, each is looked up
    codec = Codec()
    assert calls(lambda: unescape(token)) < 30
    assert codec.decode(token) == [data.decode()]
    assert calls(lambda: codec.decode(token)) < 30


def calls(work: Callable[[], object]) -> int:
    """Calls of Python functions, and of built-in ones by them."""
    count = 0

    def event(frame: FrameType, what: str, argument: object) -> None:
        nonlocal count
        count += what in ("call", "c_call")

    sys.setprofile(event)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_a_slice_is_bounded_by_values_and_bytes() -> None:
    codec = Codec()
    assert run(encode_in_slices(codec, [1] * 100_000))[1] == 50
    assert run(encode_in_slices(codec, ["x" * 10_000_000]))[1] == 79
    line = b"\t".join([b"0\t2", *[b"value"] * 200_000])
    assert run(rows_in_slices(line, TWO, codec, flat))[1] == 20
    line = b"0\t2\ta\t" + b"x" * 10_000_000
    assert run(rows_in_slices(line, TWO, codec, flat))[1] > 75


@pytest.mark.parametrize("columns", [2, 21, 32])
@pytest.mark.parametrize("character", ["x", "é", "\x01"])
def test_a_row_with_a_long_value_is_encoded_in_slices(columns: int, character: str) -> None:
    """From 16 texts on, they were encoded in one go whatever their length: 33 MB kept the loop for 346 ms."""
    index = Index("d", "t", [f"c{number}" for number in range(columns)])
    row = [character * 5_000_000, *["y"] * (columns - 1)]
    with pytest.raises(LongValue):
        insert_tail(index, Codec(), row)
    assert run(insert_tail_in_slices(index, Codec(), row))[1] > 35
    assert run(chunks_of_tails([row] * 3, plain_rows(index, Codec()), chunk_lines=9, chunk_bytes=9))[1] > 3 * 35


@pytest.mark.parametrize("value", ["x" * 60_000, b"x" * 60_000, "\x01" * 60_000], ids=["text", "bytes", "escapes"])
def test_many_values_that_are_nearly_long_are_encoded_in_slices(value: Any) -> None:
    """Only each value had a bound, and not all of them together."""
    keys = [value] * 600
    limit = FEW_VALUES * LONG_VALUE
    slices_at_least = sum(map(len, keys)) // limit
    for work in (encode_in_slices(Codec(), keys), _key_lists(keys, Codec().encode_list, 600)):
        assert run(work)[1] > slices_at_least
    with pytest.raises(LongValue):
        Codec().encode_list(keys)
    column = Column("a", "longtext")
    assert run(tokens_in_slices(column.encode, ["x" * 60_000] * 600, "in_"))[1] > slices_at_least


def test_a_list_that_is_too_long_is_not_searched_for_a_wrong_value_in_one_go() -> None:
    column = Column("a", "longtext")
    calls = [0]

    def encode(value: str) -> bytes:
        calls[-1] += 1
        return column.encode(value)

    work = tokens_in_slices(encode, ["x" * 60_000] * 600, "in_")
    for _ in work:
        calls.append(0)
    assert sum(calls) >= 600
    assert max(calls) <= 2 * FEW_VALUES


def test_a_value_that_is_too_long_for_a_key_or_a_filter_is_refused() -> None:
    for value in ("x" * (LONG_VALUE + 1), b"x" * (LONG_VALUE + 1)):
        with pytest.raises(LongValue, match="65537 characters or bytes are more than the 65536"):
            Codec().encode(value)
    with pytest.raises(LongValue, match="column a: 65537"):
        Column("a", "longtext").encode("x" * (LONG_VALUE + 1))


@pytest.mark.parametrize("wrong", [object(), "x" * 300_000 + "\ud800"])
@pytest.mark.parametrize("columns", [2, 21])
def test_an_error_beside_a_long_value_says_where_it_is(wrong: Any, columns: int) -> None:
    index = Index("d", "t", [f"c{number}" for number in range(columns)])
    row = ["9" * 300_000, *[""] * (columns - 2), wrong]
    where = rf"^values\[{columns - 1}\] \(column c{columns - 1}\): .*(position 300000|a object)"
    with pytest.raises((TypeError, ValueError), match=where):
        run(insert_tail_in_slices(index, Codec(), row))


@pytest.mark.parametrize("make", [encode_in_slices, "tokens"], ids=["values", "tokens"])
@pytest.mark.parametrize("left", [0, 2_000, 9_999])
def test_a_list_that_is_shortened_meanwhile_is_refused(make: Any, left: int) -> None:
    """An update of 3,000 rows deleted them: with fewer values than were announced, the server took a part of it for another."""
    values = list(range(10_000))
    codec = Codec()
    work = tokens_in_slices(codec.encode, values, "in_") if make == "tokens" else encode_in_slices(codec, values, "in_")
    next(work)
    del values[left:]
    with pytest.raises(
        ValueError, match=f"in_ had 10,?000 values when the call began, now {left}: do not change it during the call"
    ):
        run(work)


def test_a_list_that_is_lengthened_meanwhile_is_sent_as_it_was() -> None:
    values = list(range(10_000))
    for work in (tokens_in_slices(Codec().encode, values, "in_"), encode_in_slices(Codec(), values)):
        before = len(values)
        next(work)
        values.extend(range(5_000))
        encoded = run(work)[0]
        assert encoded.count == before == encoded.tokens.count(b"\t") + 1
