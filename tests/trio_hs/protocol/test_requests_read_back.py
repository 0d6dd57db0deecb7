"""Requests of random arguments, parsed as the server parses them, are what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.amount import amount
from trio_hs import Filter
from trio_hs._protocol import Codec, Index, find_modify_tail, find_tail, get_tail, insert_tail

INDEX = Index("d", "t", ["id", "n"], None, ["f", "g"])
TEXT = Codec()

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
    """Arguments of ``find_tail``, sometimes with a wrong one."""
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
    """What the server makes of a token, by its documentation and independent of our own code."""
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
    """A request on an open index as the server reads it, token by token, by its documentation."""
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
    """A value as it must arrive. `test_values_are_written_as_mariadb_reads_them` checks numbers and times."""
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
    """The request as the server reads it, or None if the client refused it. It must refuse exactly what is not `possible`."""
    try:
        tail = build()
    except (TypeError, ValueError):
        assert not possible
        return None
    assert possible
    return read_request(b"7" + tail)


@pytest.mark.slow
@settings(max_examples=amount(100, 500))
@given(searches())
def test_the_server_reads_the_search_that_was_asked_for(search: dict[str, Any]) -> None:
    request = built(lambda: find_tail(INDEX, TEXT, **search), possible=acceptable(search))
    assert request is None or request == expected_search(search)


@pytest.mark.slow
@settings(max_examples=amount(100, 500))
@given(
    searches(),
    st.sampled_from(["U", "U?", "D", "D?", "+", "+?", "-", "-?", "", "u", "UU"]),
    st.lists(values | nonsense, max_size=3),
)
def test_the_server_reads_the_modification_that_was_asked_for(search: dict[str, Any], kind: Any, changes: list[Any]) -> None:
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
