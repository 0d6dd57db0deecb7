"""Answers: from bytes to lines, from lines to rows, numbers and errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_hs import DecodingError, DuplicateKeyError, ProtocolError
from trio_hs._protocol import Answers, Codec, Index, check_answer, error_of, parse_number, parse_rows
from trio_hs.exceptions import operational_error

ONE, TWO = Index("d", "t", ["a"]), Index("d", "t", ["a", "b"])
TEXT = Codec()
BYTES = Codec(None)

LINES = [b"0\t1", b"0\t1\t", b"0\t2\ta\tb", b"0\t2", b"1\t1\t121", b"2\t1\tcmd", b"0\t1\t" + b"x" * 300, b"0\t1\t\0"]


@given(st.lists(st.sampled_from(LINES), max_size=6), st.data())
def test_lines_arrive_in_any_pieces(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines) + b"0\t"
    answers = Answers()
    got: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got += answers.feed(stream[:size])
        stream = stream[size:]
    assert got == lines
    assert answers.incomplete
    assert answers.feed(b"1\n") == [b"0\t1"]
    assert not answers.incomplete


def test_lines_arrive_byte_by_byte() -> None:
    answers = Answers()
    got = [line for byte in b"".join(line + b"\n" for line in LINES) for line in answers.feed(bytes((byte,)))]
    assert got == LINES


def test_an_endless_answer_is_a_protocol_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_hs._protocol._answers.MAX_ANSWER_BYTES", 1000)
    answers = Answers()
    answers.feed(b"x" * 1000)
    with pytest.raises(ProtocolError, match="without an end"):
        answers.feed(b"x")


def test_parsing_rows() -> None:
    assert parse_rows(b"0\t2", TWO, TEXT) == []
    assert parse_rows(b"0\t2\ta\t\0", TWO, TEXT) == [["a", None]]
    assert parse_rows(b"0\t1\t", ONE, TEXT) == [[""]]
    assert parse_rows(b"0\t1\ta\x01Ib\tc", ONE, TEXT) == [["a\tb"], ["c"]]
    assert parse_rows(b"0\t2\ta\tb\tc\td", TWO, BYTES) == [[b"a", b"b"], [b"c", b"d"]]


def test_parsing_numbers() -> None:
    assert (parse_number(b"0\t1"), parse_number(b"0\t1\t119"), parse_number(b"0\t1\t0")) == (0, 119, 0)


@pytest.mark.parametrize(
    "line", [b"", b"\t", b"0", b"0\t", b"0\tx\ta", b"x\t1", b"-1\t1", b"0\t2\ta", b"0\t3\ta\tb\tc", b"0\t99999999999"]
)
def test_garbage_for_rows_is_a_protocol_error(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_rows(line, TWO, TEXT)


@pytest.mark.parametrize("line", [b"0\t1\tx", b"0\t2\t1\t2", b"0\t1\t1\t2", b"0\t1\t-1", b"1\t1\t121"])
def test_garbage_for_a_number_is_a_protocol_error(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_number(line)


def test_errors_have_their_class() -> None:
    assert error_of(b"0\t1") is None
    assert error_of(b"1\t1\t121") == (1, "121")
    assert error_of(b"1\t1") == (1, "")
    error = operational_error(1, "121", "here")
    assert isinstance(error, DuplicateKeyError)
    assert (error.code, error.message) == (1, "121")
    assert str(error) == "here: duplicate key (the server answered 1 121)"


@given(
    st.binary(max_size=40)
    | st.builds(lambda a, b: a + b, st.sampled_from([b"0\t", b"0\t2\t", b"1\t1\t"]), st.binary(max_size=20))
)
def test_any_bytes_give_an_answer_or_a_protocol_error(line: bytes) -> None:
    for parse in (
        lambda: check_answer(line),
        lambda: error_of(line),
        lambda: parse_rows(line, TWO, BYTES),
        lambda: parse_number(line),
    ):
        try:
            parse()
        except ProtocolError:
            pass
    try:
        parse_rows(line, TWO, TEXT)
    except (ProtocolError, DecodingError):
        pass
