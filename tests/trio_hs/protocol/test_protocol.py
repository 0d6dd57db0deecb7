"""The codec: values, requests and answers, without any I/O."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_hs import DecodingError, DuplicateKeyError, Filter, ProtocolError
from trio_hs._protocol import (
    Answers,
    Codec,
    Index,
    auth_line,
    check_answer,
    error_of,
    escape,
    find_modify_tail,
    find_tail,
    get_tail,
    insert_tail,
    parse_number,
    parse_rows,
    unescape,
)
from trio_hs._protocol._requests import BULK
from trio_hs.exceptions import operational_error

INDEX = Index("d", "t", ["id", "n"], None, ["f", "g"])
ONE, TWO = Index("d", "t", ["a"]), Index("d", "t", ["a", "b"])
TEXT = Codec()
BYTES = Codec(None)


# ---- values
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
                    return  # Python's own codec does not bring it back
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
def test_a_list_of_values_is_their_tokens(encoding: str | None, values: list[Any]) -> None:
    codec = Codec(encoding)
    try:
        tokens = [codec.encode(value) for value in values]
    except UnicodeEncodeError:
        for encode in (codec.encode_list, codec.encode_all):
            with pytest.raises(UnicodeEncodeError):
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
def test_what_is_no_number_is_refused(value: float | Decimal) -> None:
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
def test_one_value_is_no_list_of_values(values: Any) -> None:
    with pytest.raises(TypeError, match="a list of values"):
        TEXT.encode_all(values)


@pytest.mark.parametrize("value", [Decimal("1e4301"), Decimal("-1e-4301"), Decimal("0e-999999999"), Decimal("1e99999999")])
def test_a_decimal_that_would_fill_the_memory_is_refused(value: Decimal) -> None:
    with pytest.raises(ValueError, match="the exponent"):
        TEXT.encode(value)
    assert len(TEXT.encode(Decimal("1e4300"))) == 4301


def test_a_value_in_another_encoding_says_so() -> None:
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
def test_an_encoding_in_which_ascii_is_something_else_is_refused(encoding: str) -> None:
    """The server would take ``b"\\0" + b"2"`` for the number 0: what is sent to it in UTF-16 addresses other rows."""
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
def test_no_character_of_several_bytes_holds_one_of_the_protocol(encoding: str) -> None:
    codec = Codec(encoding)
    for number in range(0x80, 0x10000):
        try:
            data = chr(number).encode(encoding)
        except UnicodeEncodeError:
            continue
        assert min(data) > 0x0F
        if data.decode(encoding, "replace") == chr(number):  # not where Python's own codec does not bring it back
            assert codec.decode(codec.encode(f"{chr(number)}\t{chr(number)}")) == [f"{chr(number)}\t{chr(number)}"]


# ---- requests
def test_requests() -> None:
    assert INDEX.open_tail == b"\td\tt\tPRIMARY\tid,n\tf,g\n"
    assert auth_line("s\tx") == b"A\t1\ts\x01Ix\n"
    assert auth_line(None) == b"A\t1\t\n"
    assert get_tail(b"7") == b"\t=\t1\t7\n"
    assert insert_tail(INDEX, TEXT, [1, None]) == b"\t+\t2\t1\t\0\n"
    assert find_tail(INDEX, TEXT, ">=", ["a", None]) == b"\t>=\t2\ta\t\0\t1\t0\n"
    assert find_tail(INDEX, TEXT, "<", ["a"], 10, 5) == b"\t<\t1\ta\t10\t5\n"
    filters = [Filter("g", "!=", None), Filter(0, ">", 5, stop=True)]
    assert find_tail(INDEX, TEXT, "=", [1], 2, 0, None, filters) == b"\t=\t1\t1\t2\t0\tF\t!=\t1\t\0\tW\t>\t0\t5\n"
    assert find_modify_tail(INDEX, TEXT, "=", [1], "U?", [2, "x"]) == b"\t=\t1\t1\t1\t0\tU?\t2\tx\n"
    assert find_modify_tail(INDEX, TEXT, "=", [1], "D") == b"\t=\t1\t1\t1\t0\tD\n"


def test_in_asks_for_as_many_rows_as_values() -> None:
    assert find_tail(INDEX, TEXT, "=", [], in_=(0, [1, 2])) == b"\t=\t1\t\t2\t0\t@\t0\t2\t1\t2\n"
    assert find_tail(INDEX, TEXT, "=", ["a"], 9, 0, (1, [1])) == b"\t=\t2\ta\t\t9\t0\t@\t1\t1\t1\n"
    assert find_tail(INDEX, TEXT, "=", ["a", "b"], 1, 0, (0, [1, 2])) == b"\t=\t2\ta\tb\t1\t0\t@\t0\t2\t1\t2\n"


REFUSED: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (ValueError, "operation must be one of", {"operation": "=="}),
    (ValueError, "operation must be one of", {"operation": ""}),
    (ValueError, "1 to 31 values", {"values": []}),
    (ValueError, "1 to 31 values", {"values": ["x"] * 32}),
    (ValueError, "limit must not be negative", {"limit": -1}),
    (ValueError, "offset must not be negative", {"offset": -1}),
    (ValueError, "limit \\+ offset", {"limit": 2**32 - 1, "offset": 1}),
    (TypeError, "limit must be an int", {"limit": "5"}),
    (TypeError, "limit must be an int", {"limit": True}),
    (ValueError, "empty list", {"in_": (0, [])}),
    (ValueError, "cannot hold None", {"in_": (0, ["a", None])}),
    (ValueError, "column 3 of the index", {"in_": (3, ["a"])}),
    (ValueError, "column -1 of the index", {"in_": (-1, ["a"])}),
    (TypeError, "by its position", {"in_": ("id", ["a"])}),
    (TypeError, "in_ must be a pair", {"in_": 1}),
    (TypeError, "in_ must be a pair", {"in_": (0, ["a"], 1)}),
    (TypeError, "in_ must be a list of values", {"in_": (0, "ab")}),
    (TypeError, "filters must be a list of Filter, not one int", {"filters": 5}),
    (ValueError, "filter's operation", {"filters": [Filter("f", "<>", 1)]}),
    (ValueError, "filter is about column 'id'", {"filters": [Filter("id", "=", 1)]}),
    (ValueError, "filter is about column 2", {"filters": [Filter(2, "=", 1)]}),
]


@pytest.mark.parametrize("error, match, wrong", REFUSED)
def test_what_the_server_would_misread_is_refused(error: type[Exception], match: str, wrong: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"operation": "=", "values": ["a"], **wrong}
    with pytest.raises(error, match=match):
        find_tail(INDEX, TEXT, **arguments)
    with pytest.raises(error, match=match):
        find_modify_tail(INDEX, TEXT, modify_operation="D", **arguments)


def test_wrong_numbers_of_values_are_refused() -> None:
    with pytest.raises(ValueError, match="2 columns, 1 values"):
        insert_tail(INDEX, TEXT, [1])
    with pytest.raises(ValueError, match="'U' takes 2 values"):
        find_modify_tail(INDEX, TEXT, "=", [1], "U", [1])
    with pytest.raises(ValueError, match="'D' takes 0 values"):
        find_modify_tail(INDEX, TEXT, "=", [1], "D", [1, 2])
    with pytest.raises(ValueError, match="modify_operation"):
        find_modify_tail(INDEX, TEXT, "=", [1], "u", [1, 2])
    for wrong in ("7", 7, 0, None, {"id": 1}):
        with pytest.raises(TypeError, match=r"^modify_values must be a list of values"):
            find_modify_tail(INDEX, TEXT, "=", [1], "U", wrong)  # type: ignore[arg-type]
    wide = Index("d", "t", [f"c{number}" for number in range(33)])
    with pytest.raises(ValueError, match="at most 32"):
        insert_tail(wide, TEXT, [1] * 33)


def test_two_values_for_one_column_are_refused() -> None:
    twice = Index("d", "t", ["id", "n", "id"])
    with pytest.raises(ValueError, match="column id is there twice"):
        insert_tail(twice, TEXT, [1, 2, 3])
    for kind in ("U", "U?", "+", "-?"):
        with pytest.raises(ValueError, match="column id is there twice"):
            find_modify_tail(twice, TEXT, "=", [1], kind, [1, 2, 3])
    # Reading one twice is nobody's harm, nor is deleting.
    assert find_tail(twice, TEXT, "=", [1]) == b"\t=\t1\t1\t1\t0\n"
    assert find_modify_tail(twice, TEXT, "=", [1], "D?") == b"\t=\t1\t1\t1\t0\tD?\n"
    assert parse_rows(b"0\t3\t1\t2\t1", twice, TEXT) == [["1", "2", "1"]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"db": ""},
        {"db": "d\t"},
        {"table": "t\n"},
        {"table": ""},
        {"columns": []},
        {"columns": ["a", ""]},
        {"columns": ["a,b"]},
        {"columns": ["a\0"]},
        {"name": "i\n"},
        {"filter_columns": ["a,b"]},
    ],
)
def test_names_that_the_protocol_cannot_carry_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Index(**{"db": "d", "table": "t", "columns": ["a"], **wrong})


@pytest.mark.parametrize("wrong", [{"columns": "abc"}, {"columns": [1]}, {"db": b"d"}])
def test_names_of_other_types_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Index(**{"db": "d", "table": "t", "columns": ["a"], **wrong})


values = st.one_of(
    st.none(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.integers(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False, places=3),
    st.dates(),
    st.datetimes(),
)
numbers = st.integers(0, 2**31) | st.just(0)
nonsense = st.sampled_from([object(), [1], "\ud800", float("nan"), Decimal("inf"), datetime(2024, 1, 1, tzinfo=UTC), {}])


@st.composite
def searches(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of ``find_tail``; now and then one that cannot be right."""
    odd = draw(st.integers(0, 9)) == 0
    key = st.lists(values | nonsense if odd else values, min_size=0 if odd else 1, max_size=33 if odd else 5)
    search: dict[str, Any] = {
        "operation": draw(st.sampled_from(["=", ">", ">=", "<", "<="]) | (st.text(max_size=3) if odd else st.nothing())),
        "values": draw(key),
        "limit": draw(st.integers(-1, 2**33) if odd else numbers),
        "offset": draw(st.integers(-1, 2**33) if odd else numbers),
    }
    if draw(st.booleans()):
        choices = st.lists(
            values if odd else values.filter(lambda value: value is not None), min_size=0 if odd else 1, max_size=5
        )
        search["in_"] = (draw(st.integers(-1, 6) if odd else st.integers(0, len(search["values"]))), draw(choices))
    column = st.sampled_from(["f", "g", 0, 1]) | (st.sampled_from(["h", 2, -1, True]) if odd else st.nothing())
    operation = st.sampled_from(["=", "!=", ">", ">=", "<", "<="]) | (st.text(max_size=2) if odd else st.nothing())
    search["filters"] = draw(st.lists(st.builds(Filter, column, operation, values, st.booleans()), max_size=3))
    return search


def read_value(token: bytes) -> bytes | None:
    """What the server makes of a token, in the words of its documentation and apart from our own code."""
    if token == b"\0":
        return None
    value, escaped = bytearray(), False
    for byte in token:
        if escaped:
            assert 0x40 <= byte <= 0x4F
            value.append(byte - 0x40)
        elif byte != 1:
            assert byte > 0x0F
            value.append(byte)
        escaped = byte == 1 and not escaped
    assert not escaped
    return bytes(value)


def read_request(line: bytes) -> dict[str, Any]:
    """A request on an open index as the server reads it: token after token, each where the documentation says."""
    assert line[:1].isdigit()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert not set(line) & (set(range(0x10)) - {0, 1, 9, 10})
    tokens = line[:-1].split(b"\t")[::-1]
    request: dict[str, Any] = {"index": int(tokens.pop()), "operation": tokens.pop().decode()}
    request["values"] = [read_value(tokens.pop()) for _ in range(int(tokens.pop()))]
    if not tokens:
        return request
    request["limit"], request["offset"] = int(tokens.pop()), int(tokens.pop())
    if tokens and tokens[-1] == b"@":
        tokens.pop()
        request["in_"] = (int(tokens.pop()), [read_value(tokens.pop()) for _ in range(int(tokens.pop()))])
    request["filters"] = []
    while tokens and tokens[-1] in (b"F", b"W"):
        kind, operation, column = tokens.pop(), tokens.pop().decode(), int(tokens.pop())
        request["filters"].append((column, operation, read_value(tokens.pop()), kind == b"W"))
    if tokens:
        request["modification"] = tokens.pop().decode()
        request["changes"] = [read_value(token) for token in reversed(tokens)]
    return request


def as_bytes(value: Any) -> bytes | None:
    """A value as it is to arrive; `test_values_are_written_as_mariadb_reads_them` says what that is for numbers and times."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    return bytes(TEXT.encode(value))


def expected_search(search: dict[str, Any]) -> dict[str, Any]:
    """What the server should read for arguments that the client accepted."""
    key = [as_bytes(value) for value in search["values"]]
    limit = search["limit"]
    expected: dict[str, Any] = {"index": 7, "operation": search["operation"]}
    if "in_" in search:
        position, choices = search["in_"]
        key += [b""] * (position == len(key))
        limit = limit or len(choices)
        expected["in_"] = (position, [as_bytes(choice) for choice in choices])
    expected |= {"values": key, "limit": limit or 1, "offset": search["offset"]}
    expected["filters"] = [
        ({"f": 0, "g": 1}.get(column, column), operation, as_bytes(value), stop)
        for column, operation, value, stop in search["filters"]
    ]
    return expected


def sendable(value: Any) -> bool:
    try:
        return value is None or bool(as_bytes(value)) or True
    except (TypeError, ValueError):
        return False


def acceptable(search: dict[str, Any]) -> bool:
    """Whether the documentation allows these arguments."""
    key, (position, choices) = search["values"], search.get("in_", (0, [b""]))
    width = len(key) + ("in_" in search and position == len(key))
    everything = [*key, *choices, *(condition.value for condition in search["filters"])]
    return (
        search["operation"] in ("=", ">", ">=", "<", "<=")
        and 1 <= width <= 31
        and search["limit"] >= 0
        and search["offset"] >= 0
        and (search["limit"] or len(choices)) + search["offset"] < 2**32
        and 0 <= position < width
        and bool(choices)
        and None not in choices
        and all(sendable(value) for value in everything)
        and all(condition.operation in ("=", "!=", ">", ">=", "<", "<=") for condition in search["filters"])
        and all(condition.column in ("f", "g", 0, 1) and condition.column is not True for condition in search["filters"])
    )


def built(build: Callable[[], bytes], *, possible: bool) -> dict[str, Any] | None:
    """The request as the server reads it, or None when it was refused, which has to be right."""
    try:
        tail = build()
    except (TypeError, ValueError):
        assert not possible
        return None
    assert possible
    return read_request(b"7" + tail)


@settings(max_examples=500)
@given(searches())
def test_the_server_reads_the_search_that_was_asked_for(search: dict[str, Any]) -> None:
    request = built(lambda: find_tail(INDEX, TEXT, **search), possible=acceptable(search))
    assert request is None or request == expected_search(search)


@settings(max_examples=500)
@given(
    searches(),
    st.sampled_from(["U", "U?", "D", "D?", "+", "+?", "-", "-?", "", "u", "UU"]),
    st.lists(values | nonsense, max_size=3),
)
def test_the_server_reads_the_modification_that_was_asked_for(search: dict[str, Any], kind: str, changes: list[Any]) -> None:
    number = 0 if kind[:1] == "D" else 2
    possible = (
        acceptable(search)
        and kind in ("U", "U?", "D", "D?", "+", "+?", "-", "-?")
        and len(changes) == number
        and all(sendable(value) for value in changes)
    )
    request = built(
        lambda: find_modify_tail(INDEX, TEXT, modify_operation=kind, modify_values=changes, **search), possible=possible
    )
    expected = {"modification": kind, "changes": [as_bytes(value) for value in changes]} if possible else {}
    assert request is None or request == expected_search(search) | expected


@given(st.lists(values | nonsense, max_size=34), st.integers(1, 34))
def test_the_server_reads_the_row_that_was_inserted(row: list[Any], width: int) -> None:
    index = Index("d", "t", [f"c{number}" for number in range(width)])
    for inserted in (row, (row * width)[:width]):
        possible = len(inserted) == width <= 32 and all(sendable(value) for value in inserted)
        request = built(lambda inserted=inserted: insert_tail(index, TEXT, inserted), possible=possible)  # type: ignore[misc]
        expected = {"index": 7, "operation": "+", "values": [as_bytes(value) for value in inserted]} if possible else None
        assert request == expected


@given(values)
def test_the_server_reads_the_key_that_was_looked_up(value: Any) -> None:
    request = built(lambda: get_tail(TEXT.encode(value)), possible=True)
    assert request == {"index": 7, "operation": "=", "values": [as_bytes(value)]}


@given(st.text(max_size=10), st.text(max_size=10), st.lists(st.text(max_size=6), max_size=4), st.none() | st.text(max_size=6))
def test_the_server_reads_the_index_that_was_named(db: str, table: str, columns: list[str], name: str | None) -> None:
    names = [db, table, *columns, name or ""]
    possible = (
        bool(db and table and columns)
        and all(columns)
        and not any(character < " " or "\ud800" <= character <= "\udfff" for text in names for character in text)
        and not any("," in column for column in columns)
    )
    try:
        tail = Index(db, table, columns, name).open_tail
    except ValueError:
        assert not possible
        return
    assert possible
    tokens = (b"P\t7" + tail).removesuffix(b"\n").decode().split("\t")
    assert tokens == ["P", "7", db, table, name or "PRIMARY", ",".join(columns)]


# ---- answers
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


def test_an_answer_without_end_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_hs._protocol._requests.MAX_ANSWER_BYTES", 1000)
    answers = Answers()
    answers.feed(b"x" * 1000)
    with pytest.raises(ProtocolError, match="without an end"):
        answers.feed(b"x")


def test_rows() -> None:
    assert parse_rows(b"0\t2", TWO, TEXT) == []
    assert parse_rows(b"0\t2\ta\t\0", TWO, TEXT) == [["a", None]]
    assert parse_rows(b"0\t1\t", ONE, TEXT) == [[""]]
    assert parse_rows(b"0\t1\ta\x01Ib\tc", ONE, TEXT) == [["a\tb"], ["c"]]
    assert parse_rows(b"0\t2\ta\tb\tc\td", TWO, BYTES) == [[b"a", b"b"], [b"c", b"d"]]


def test_numbers() -> None:
    assert (parse_number(b"0\t1"), parse_number(b"0\t1\t119"), parse_number(b"0\t1\t0")) == (0, 119, 0)


@pytest.mark.parametrize(
    "line", [b"", b"\t", b"0", b"0\t", b"0\tx\ta", b"x\t1", b"-1\t1", b"0\t2\ta", b"0\t3\ta\tb\tc", b"0\t99999999999"]
)
def test_garbage_is_no_row(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_rows(line, TWO, TEXT)


@pytest.mark.parametrize("line", [b"0\t1\tx", b"0\t2\t1\t2", b"0\t1\t1\t2", b"0\t1\t-1", b"1\t1\t121"])
def test_garbage_is_no_number(line: bytes) -> None:
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


def test_an_index_says_what_it_is() -> None:
    assert repr(Index("d", "t", ["id"])) == "<Index d.t PRIMARY (id)>"
    assert repr(Index("d", "t", ["a", "b"], "i")) == "<Index d.t i (a, b)>"
