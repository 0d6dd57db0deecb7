"""Requests as bytes, and arguments that are refused before."""

from __future__ import annotations

from typing import Any

import pytest

from trio_hs import Filter
from trio_hs._protocol import Codec, Index, auth_line, find_modify_tail, find_tail, get_tail, insert_tail, parse_rows

INDEX = Index("d", "t", ["id", "n"], None, ["f", "g"])
TEXT = Codec()


def test_requests_as_bytes() -> None:
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
    (ValueError, "filter's operation", {"filters": [Filter("f", "<>", 1)]}),  # type: ignore[arg-type]
    (ValueError, "filter is about column 'id'", {"filters": [Filter("id", "=", 1)]}),
    (ValueError, "filter is about column 2", {"filters": [Filter(2, "=", 1)]}),
]


@pytest.mark.parametrize("error, match, wrong", REFUSED)
def test_arguments_that_the_server_would_misread_are_refused(error: type[Exception], match: str, wrong: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"operation": "=", "values": ["a"], **wrong}
    with pytest.raises(error, match=match):
        find_tail(INDEX, TEXT, **arguments)
    with pytest.raises(error, match=match):
        find_modify_tail(INDEX, TEXT, modify_operation="D", **arguments)


def test_wrong_numbers_of_values_are_refused() -> None:
    with pytest.raises(ValueError, match="2 columns, 1 value"):
        insert_tail(INDEX, TEXT, [1])
    with pytest.raises(ValueError, match="'U' takes 2 values"):
        find_modify_tail(INDEX, TEXT, "=", [1], "U", [1])
    with pytest.raises(ValueError, match="'D' takes 0 values"):
        find_modify_tail(INDEX, TEXT, "=", [1], "D", [1, 2])
    with pytest.raises(ValueError, match="modify_operation"):
        find_modify_tail(INDEX, TEXT, "=", [1], "u", [1, 2])  # type: ignore[arg-type]
    for wrong in ("7", 7, 0, None, {"id": 1}):
        with pytest.raises(TypeError, match=r"^modify_values must be a list of values"):
            find_modify_tail(INDEX, TEXT, "=", [1], "U", wrong)  # type: ignore[arg-type]
    wide = Index("d", "t", [f"c{number}" for number in range(33)])
    with pytest.raises(ValueError, match="at most 32"):
        insert_tail(wide, TEXT, [1] * 33)


def test_two_values_for_one_column_are_refused() -> None:
    twice = Index("d", "t", ["id", "n", "id"])
    with pytest.raises(ValueError, match="column id is named twice"):
        insert_tail(twice, TEXT, [1, 2, 3])
    for kind in ("U", "U?", "+", "-?"):
        with pytest.raises(ValueError, match="column id is named twice"):
            find_modify_tail(twice, TEXT, "=", [1], kind, [1, 2, 3])
    # Reading a column twice is allowed, and so is deleting by such a handle.
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


def test_repr_of_an_index() -> None:
    assert repr(Index("d", "t", ["id"])) == "<Index d.t PRIMARY (id)>"
    assert repr(Index("d", "t", ["a", "b"], "i")) == "<Index d.t i (a, b)>"
