"""Forms in which the same arguments may be given: lists, iterators, a dict's keys, tuples of servers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, cast

import pytest

from tests.trio_hs.support.clients import A, B, C
from trio_hs import Column, Columns, Manager, RetryPolicy, Server, open_manager
from trio_hs._network._servers import parse_servers
from trio_hs.testing import Table, open_server

TABLE = Table("d", "t", {"id": "INT NOT NULL", "n": "INT NOT NULL"}, primary_key=["id", "n"])
DECLARED = Columns([Column("id", "int"), Column("n", "int")], indexes={"PRIMARY": ("id", "n")})

FORMS: dict[str, Callable[[list[Any]], Iterable[Any]]] = {
    "list": list,
    "tuple": tuple,
    "deque": deque,
    "iterator": iter,
    "generator": lambda items: (item for item in items),
    "keys of a dict": lambda items: dict.fromkeys(items).keys(),
    "values of a dict": lambda items: dict(enumerate(items)).values(),
}


@pytest.mark.parametrize("form", list(FORMS))
async def test_every_ordered_form_of_a_list_means_the_same(form: str) -> None:
    of: Any = FORMS[form]
    fields = ["id", "n"]
    row = [("id", "1"), ("n", "2")]
    async with (
        open_server([TABLE]) as server,
        open_manager([server.read_address], [server.write_address], connect=server.connect) as hs,
    ):
        assert await hs.insert("d", "t", of([("id", 1), ("n", 2)])) is None
        assert await hs.insert_many("d", "t", of(fields), of([(3, 4), (5, 6)])) == [None, None]
        assert await hs.get("d", "t", of(fields), 1) == row
        assert await hs.get_many("d", "t", of(fields), of([1, 9])) == [row, []]
        assert await hs.find("d", "t", "=", of(fields), of([1, 2]), filters=of([])) == [row]
        assert len(await hs.find("d", "t", "=", of(fields), of([]), in_=(0, of([1, 3])))) == 2
        for declared in (None, DECLARED):
            table = hs.table("d", "t", fields, columns=declared) if declared else hs.table("d", "t", fields)
            assert await table.update("=", of([3, 4]), of([3, 5])) == 1
            assert await table.update("=", of([3, 5]), of([3, 4])) == 1


async def test_pairs_to_insert_may_be_a_zip_or_the_items_of_a_dict() -> None:
    async with (
        open_server([TABLE]) as server,
        open_manager([server.read_address], [server.write_address], connect=server.connect) as hs,
    ):
        await hs.insert("d", "t", zip(("id", "n"), (1, 2), strict=True))
        await hs.insert("d", "t", {"id": 3, "n": 4}.items())
        rows = await hs.find("d", "t", ">=", ["id", "n"], [0], limit=9)
        assert rows == [[("id", "1"), ("n", "2")], [("id", "3"), ("n", "4")]]


WRONG: list[tuple[Callable[[Manager], Any], type[Exception], str]] = [
    (lambda hs: hs.get("d", "t", ["id"], (1, 2)), TypeError, "use find with operation '='"),  # type: ignore[arg-type]
    (lambda hs: hs.table("d", "t", ["id"], columns=DECLARED).get([1, 2]), TypeError, "use find with operation '='"),
    (lambda hs: hs.get_many("d", "t", ["id"], [1, (1, 2)]), TypeError, r"values\[1\]: .* each is the value of one"),  # type: ignore[list-item]
    (lambda hs: hs.get_many("d", "t", ["id"], {1, 2}), TypeError, "values must be .*, not a set, which has no order"),  # type: ignore[arg-type]
    (lambda hs: hs.get("d", "t", frozenset(("id", "n")), 1), TypeError, "fields .*, not a frozenset, which has no order"),  # type: ignore[arg-type]
    (lambda hs: hs.get("d", "t", [["id"]], 1), TypeError, r"fields .* each a str, not \['id'\]"),  # type: ignore[list-item]
    (lambda hs: hs.insert("d", "t", []), ValueError, "fields is empty: an insert names at least one column"),
    (lambda hs: hs.insert("d", "t", iter([])), ValueError, "fields is empty"),
    (lambda hs: hs.insert("d", "t", ["id", "no"]), TypeError, r"fields must be a list of \(field, value\) pairs"),  # type: ignore[list-item]
    (lambda hs: hs.insert("d", "t", [("id", 1), ("n", 2, 3)]), TypeError, r"\(field, value\) pairs"),  # type: ignore[list-item]
    (lambda hs: hs.insert("d", "t", [("id", 1), ("n", {})]), TypeError, r"values\[1\] \(column n\): cannot send a dict"),  # type: ignore[list-item]
    (lambda hs: hs.find("d", "t", "=", ["id"], [1], limit=10**5000), ValueError, "limit .*an int of thousands of digits"),
    (lambda hs: hs.find("d", "t", "=", ["id"], [], in_=(10**5000, [1])), ValueError, "in_ is about column an int of"),
    (lambda hs: hs.find("d", "t", "=", ["id"], [], in_=(Decimal("sNaN"), [1])), TypeError, "in_ names a column"),  # type: ignore[arg-type]
    (lambda hs: hs.get_many("d", "t", ["id"], [1] * 20 + [10**5000]), ValueError, r"values\[20\]: .*4300"),
    (
        lambda hs: hs.get_many("d", "t", ["id"], [1, "x" * 70_000]),
        ValueError,
        r"values\[1\]: 70000 characters .* than the 65536",
    ),
    (lambda hs: hs.get_many("d", "t", ["id"], [""] * 40 + ["x" * 300_000]), ValueError, r"values\[40\]: 300000 characters"),
    (lambda hs: hs.find("d", "t", "=", ["id"], ["x" * 70_000]), ValueError, r"values\[0\]: 70000 characters"),
    (lambda hs: hs.incr("d", "t", "=", ["n"], [1], ["9" * 70_000]), ValueError, r"step\[0\] \(column n\): 70000 characters"),
    (lambda hs: hs.update("d", "t", "=", ["n"], ["x" * 70_000], ["9" * 70_000]), ValueError, r"^values\[0\]: 70000 characters"),
    (lambda hs: hs.update("d", "t", "=", ["n"], [1], [["9" * 70_000]]), TypeError, r"update_values\[0\] \(column n\)"),  # type: ignore[call-overload]
    (lambda hs: hs.update("d", "t", "=", ["id", "n"], [1], ["9" * 70_000, {}]), TypeError, r"^update_values\[1\] \(column n\)"),  # type: ignore[call-overload]
    (lambda hs: hs.find("d", "t", "=", ["id"], ["x" * 10_000] * 33), ValueError, "values: 33 values are too many"),
    (lambda hs: hs.find("d", "t", "=", ["id"], [1], filters=[10**5000]), TypeError, "filters must hold .*int of thousands"),  # type: ignore[list-item]
    (lambda hs: hs.get("\ud800", "t", ["id"], 1), ValueError, "db .* has a character that UTF-8 does not have"),
    (lambda hs: hs.get("d", "t", ["\ud800"], 1), ValueError, "fields .* has a character that UTF-8 does not have"),
    (lambda hs: hs.insert_many("d", "t", ["id"], None), TypeError, "rows must be a list of rows, not one NoneType"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("call, error, message", WRONG, ids=[message for _, _, message in WRONG])
async def test_a_wrong_form_is_refused_before_anything_is_sent(
    call: Callable[[Manager], Any], error: type[Exception], message: str
) -> None:
    async with (
        open_server([TABLE]) as server,
        open_manager([server.read_address], [server.write_address], connect=server.connect) as hs,
    ):
        with pytest.raises(error, match=message):
            await call(hs)
        assert not server.statistics().requests


ONE, TWO, THREE = (Server(*server) for server in (A, B, C))


@pytest.mark.parametrize(
    "servers, groups",
    [
        ((A, B), [[ONE, TWO]]),
        (((A,), (B, C)), [[ONE], [TWO, THREE]]),
        ([(A,), [B, C]], [[ONE], [TWO, THREE]]),
        ([(ONE, TWO), (THREE,)], [[ONE, TWO], [THREE]]),
        ([list(A), list(B)], [[ONE, TWO]]),  # as JSON has them
        ([[list(A)], [list(B)]], [[ONE], [TWO]]),
    ],
)
def test_groups_and_servers_may_be_tuples_or_lists(servers: Any, groups: Sequence[Sequence[Server]]) -> None:
    assert parse_servers(servers) == groups


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"timeout": 10**400}, "timeout must be a positive number of seconds, not 1000"),
        ({"connections": 10**5000}, "connections must be 1 to 1000 per server, not an int of thousands of digits"),
        ({"read_secret": "\ud800"}, "read_secret has a character that UTF-8 does not have"),
        ({"read_servers": [("inet", "a\ud800", 1)]}, "read_servers: .* has a character that UTF-8 does not have"),
        ({"encoding": "\0"}, "encoding must be one that Python knows"),
        ({"encoding": "\ud800"}, "encoding must be one that Python knows"),
        ({"write_databases": {"a": "\ud800"}}, "has a character that UTF-8 does not have"),
    ],
    ids=["timeout", "connections", "secret", "host", "encoding-0", "encoding", "write_databases"],
)
async def test_a_setting_that_cannot_work_is_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        async with open_manager(**settings):
            pass


@pytest.mark.parametrize("setting", ["backoff", "max_backoff", "deadline", "hedge_after"])
def test_a_time_beyond_any_float_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} must be a number of seconds"):
        RetryPolicy(**cast("dict[str, Any]", {setting: 10**400}))
