"""Values to the bytes that MariaDB reads as them, and back."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_hs import DecodingError
from trio_hs._protocol import Codec, escape, unescape
from trio_hs._protocol._values import BULK

TEXT = Codec()
BYTES = Codec(None)


@given(st.binary())
def test_every_byte_string_survives(data: bytes) -> None:
    token = escape(data)
    assert not set(token) & (set(range(0x10)) - {1})
    assert unescape(token) == data


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii", "cp1252", "shift_jis", "gbk", "big5", "gb18030"])
@given(values=st.lists(st.none() | st.text(max_size=8), min_size=1, max_size=4))
def test_every_text_survives(encoding: str, values: list[str | None]) -> None:
    codec = Codec(encoding)
    for value in values:
        if value is not None:
            try:
                if value.encode(encoding).decode(encoding) != value:
                    return  # Python's own codec does not survive the round trip
            except UnicodeError:
                with pytest.raises(UnicodeEncodeError):
                    codec.encode(value)
                return
    tokens = codec.encode_all(values)
    assert not any(byte < 0x10 and byte != 1 for token in tokens if token != b"\0" for byte in token)
    assert codec.decode(b"\t".join(tokens)) == values


@given(st.lists(st.none() | st.binary(max_size=8), min_size=1, max_size=4))
def test_bytes_survive(values: list[bytes | None]) -> None:
    assert BYTES.decode(b"\t".join(BYTES.encode_all(values))) == values


VALUES = st.none() | st.text(max_size=4) | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "shift_jis", None])
@given(
    st.sampled_from([st.integers(), st.text(max_size=4), st.just(True), VALUES]).flatmap(
        lambda kind: st.lists(kind, min_size=1, max_size=4) | st.lists(kind, min_size=BULK, max_size=2 * BULK)
    )
)
def test_a_list_is_encoded_like_its_values(encoding: str | None, values: list[Any]) -> None:
    codec = Codec(encoding)
    try:
        tokens = [codec.encode(value) for value in values]
    except UnicodeEncodeError:
        for encode in (codec.encode_list, codec.encode_all):
            with pytest.raises(ValueError, match=r"^values\[\d+\]: .* codec can't encode"):
                encode(values)
    else:
        assert codec.encode_list(values) == b"\t".join(tokens)
        assert codec.encode_all(values) == tokens


def test_null_is_not_empty() -> None:
    assert (TEXT.encode(None), TEXT.encode("")) == (b"\0", b"")
    assert TEXT.decode(b"\0\t\t\0") == [None, "", None]
    assert TEXT.decode(TEXT.encode("\0")) == ["\0"]


class Colour(IntEnum):
    RED = 3


class Name(StrEnum):
    A = "a\tb"


@pytest.mark.parametrize(
    "value, token",
    [
        (True, b"1"),
        (False, b"0"),
        (-7, b"-7"),
        (Colour.RED, b"3"),
        (Name.A, b"a\x01Ib"),
        (2**70, b"1180591620717411303424"),
        (1.5, b"1.5"),
        (1e100, b"1e+100"),
        (Decimal("1E+5"), b"100000"),
        (Decimal("-1.50"), b"-1.50"),
        (date(2024, 2, 29), b"2024-02-29"),
        (datetime(2024, 2, 29, 1, 2, 3), b"2024-02-29 01:02:03"),
        (datetime(2024, 2, 29, 1, 2, 3, 4), b"2024-02-29 01:02:03.000004"),
        (time(1, 2, 3), b"01:02:03"),
        (timedelta(0), b"00:00:00"),
        (-timedelta(hours=12, minutes=34, seconds=56), b"-12:34:56"),
        (timedelta(days=34, hours=22, minutes=59, seconds=59, microseconds=5), b"838:59:59.000005"),
        (bytearray(b"\xff\t"), b"\xff\x01I"),
    ],
)
def test_values_are_written_as_mariadb_reads_them(value: Any, token: bytes) -> None:
    assert TEXT.encode(value) == token


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity")])
def test_nan_and_infinity_are_refused(value: float | Decimal) -> None:
    with pytest.raises(ValueError, match="no infinity"):
        TEXT.encode(value)


@pytest.mark.parametrize("value", [datetime(2024, 1, 1, tzinfo=UTC), time(1, tzinfo=UTC)])
def test_a_time_zone_is_refused(value: datetime | time) -> None:
    with pytest.raises(ValueError, match="time zone"):
        TEXT.encode(value)


def test_a_time_outside_the_range_is_refused() -> None:
    with pytest.raises(ValueError, match="838:59:59"):
        TEXT.encode(timedelta(hours=839))


@pytest.mark.parametrize("value", [object(), [1], {"a": 1}, 1j, memoryview(b"a")])
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=f"cannot send a {type(value).__name__}"):
        TEXT.encode(value)


@pytest.mark.parametrize("values", ["abc", b"abc", 1, None, {"a": 1}])
def test_a_single_value_is_refused_for_a_list(values: Any) -> None:
    with pytest.raises(TypeError, match="a list of values"):
        TEXT.encode_all(values)


@pytest.mark.parametrize("value", [Decimal("1e4301"), Decimal("-1e-4301"), Decimal("0e-999999999"), Decimal("1e99999999")])
def test_a_decimal_that_would_fill_the_memory_is_refused(value: Decimal) -> None:
    with pytest.raises(ValueError, match="the exponent"):
        TEXT.encode(value)
    assert len(TEXT.encode(Decimal("1e4300"))) == 4301


def test_bytes_of_another_encoding_are_a_decoding_error() -> None:
    with pytest.raises(DecodingError, match="no utf-8 text") as caught:
        TEXT.decode(b"a\t\xff")
    assert caught.value.data == b"a\t\xff"


def test_an_unknown_encoding_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="not 'klingon'"):
        Codec("klingon")


@pytest.mark.parametrize(
    "encoding",
    [
        *("utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-32-be", "utf-32-le", "utf-8-sig", "cp037", "cp500", "cp864"),
        *("utf-7", "hz", "iso2022_jp", "iso2022_jp_2", "iso2022_jp_2004", "iso2022_jp_ext", "iso2022_kr"),
        *("shift_jisx0213", "shift_jis_2004", "unicode_escape", "raw_unicode_escape", "punycode", "idna", "undefined"),
        *("rot13", "hex", "base64", "quopri", "uu", "zlib", "bz2"),
    ],
)
def test_an_encoding_that_changes_ascii_is_refused(encoding: str) -> None:
    """The server would read ``b"\\0" + b"2"`` as the number 0, so UTF-16 would address other rows."""
    with pytest.raises(ValueError, match=rf"ASCII text is its own bytes.*not '{encoding}'.*columns=") as caught:
        Codec(encoding)
    assert type(caught.value) is ValueError


#: Python's codecs for MariaDB's multi-byte character sets, and for its single-byte ones.
MULTI_BYTE = (
    "big5",
    "big5hkscs",
    "cp932",
    "cp949",
    "cp950",
    "euc_jp",
    "euc_kr",
    "gb18030",
    "gb2312",
    "gbk",
    "shift_jis",
    "johab",
)
SINGLE_BYTE = (
    *("ascii", "cp1250", "cp1251", "cp1252", "cp1256", "cp1257", "cp850", "cp852", "cp866", "hp-roman8", "koi8-r", "koi8-u"),
    *("latin-1", "iso8859-2", "iso8859-7", "iso8859-8", "iso8859-9", "iso8859-13", "mac-latin2", "mac-roman", "tis-620"),
)


@pytest.mark.parametrize("encoding", ["utf-8", *MULTI_BYTE, *SINGLE_BYTE])
def test_numbers_are_ascii_in_every_encoding(encoding: str) -> None:
    codec = Codec(encoding)
    others: list[Any] = [-7, 1.5, True, Decimal("-1.50"), datetime(2024, 2, 29, 1, 2, 3, 4), timedelta(0), r"a\b~c+d{}|", None]
    for numbers in (others, [*range(BULK)], [*range(BULK), *others]):
        assert codec.encode_all(numbers) == TEXT.encode_all(numbers)
        assert codec.encode_list(numbers) == TEXT.encode_list(numbers)


@pytest.mark.parametrize("encoding", MULTI_BYTE)
def test_no_multi_byte_character_contains_a_byte_of_the_protocol(encoding: str) -> None:
    codec = Codec(encoding)
    for number in range(0x80, 0x10000):
        try:
            data = chr(number).encode(encoding)
        except UnicodeEncodeError:
            continue
        assert min(data) > 0x0F
        if data.decode(encoding, "replace") == chr(number):  # unless Python's own codec fails the round trip
            assert codec.decode(codec.encode(f"{chr(number)}\t{chr(number)}")) == [f"{chr(number)}\t{chr(number)}"]
