"""What ``row=`` makes of rows: whatever takes the fields by name; and which types are refused."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, NotRequired, Optional, TypedDict, TypeVar

import pytest
import trio

from tests.trio_hs.support.clients import IDS
from tests.trio_hs.support.fake import FakeServer
from trio_hs import Column, Columns, ConnectionError, Manager, ProtocolError, open_manager
from trio_hs._dispatch import remade
from trio_hs.testing import Table, open_server

TABLE = Table("d", "t", {"id": "INT NOT NULL", "n": "INT NULL"}, primary_key=["id"])
COLUMNS = Columns([Column("id", "int"), Column("n", "int", nullable=True)], {"PRIMARY": ["id"]})
FIELDS = ["id", "n"]

T = TypeVar("T")


@dataclass
class Pair:
    n: Any
    id: Any
    more: list[int] = field(default_factory=list)


@dataclass
class Generics(Generic[T]):
    id: T
    n: T


class PairDict(TypedDict):
    id: Any
    n: Any


class Partial(TypedDict):
    id: Any
    n: Any
    more: NotRequired[int]


class PairTuple(NamedTuple):
    id: Any
    n: Any


class Anything:
    def __init__(self, **values: Any) -> None:
        self.values = values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Anything) and other.values == self.values

    def __hash__(self) -> int:
        return 0


def total(id: Any, n: Any) -> str:
    return f"{id}+{n}"


KINDS: list[tuple[Any, Callable[[Any, Any], Any]]] = [
    (dict, lambda id, n: {"id": id, "n": n}),
    (dict[str, Any], lambda id, n: {"id": id, "n": n}),
    (OrderedDict, lambda id, n: OrderedDict(id=id, n=n)),
    (Pair, lambda id, n: Pair(n, id)),
    (Generics[int], Generics),
    (PairDict, lambda id, n: {"id": id, "n": n}),
    (Partial, lambda id, n: {"id": id, "n": n}),
    (PairTuple, PairTuple),
    (Anything, lambda id, n: Anything(id=id, n=n)),
    (total, total),
]


@pytest.fixture
async def hs() -> AsyncIterator[Manager]:
    async with (
        open_server([TABLE]) as server,
        open_manager([server.read_address], [server.write_address], connect=server.connect) as hs,
    ):
        await server.load("d", "t", [(number, 10 * number if number % 2 else None) for number in range(1, 41)])
        yield hs


@pytest.mark.parametrize("row,made", KINDS, ids=[getattr(row, "__name__", str(row)) for row, _ in KINDS])
@pytest.mark.parametrize("declared", [False, True])
async def test_every_read_makes_rows_and_a_missing_one_is_none(
    hs: Manager, declared: bool, row: Any, made: Callable[[Any, Any], Any]
) -> None:
    table: Any = hs.table("d", "t", FIELDS, columns=COLUMNS, row=row) if declared else hs.table("d", "t", FIELDS, row=row)
    of = (lambda value: value) if declared else (lambda value: None if value is None else str(value))
    first, second = made(of(1), of(10)), made(of(2), None)
    found = await table.get(1)
    assert found == first
    assert type(found) is type(first)
    assert await table.get(99) is None
    assert await table.get_many([2, 99, 1]) == [second, None, first]
    many = await table.get_many([*range(1, 41), 99])
    assert many == [made(of(n), of(10 * n if n % 2 else None)) for n in range(1, 41)] + [None]
    assert await table.find("<=", [2], 5) == [second, first]
    assert await table.find("=", [99]) == []
    assert await table.update("=", [1], [1, 11], return_original=True) == [first]
    assert await table.update("=", [1], [1, 10]) == 1
    assert await table.delete("=", [2], return_original=True) == [second]


async def test_tables_without_row_give_pairs_beside_others_with_it(hs: Manager) -> None:
    plain = hs.table("d", "t", FIELDS)
    assert hs.table("d", "t", FIELDS, row=dict) is hs.table("d", "t", FIELDS, row=dict)
    assert hs.table("d", "t", FIELDS) is plain
    assert await hs.table("d", "t", FIELDS, row=dict).get(3) == {"id": "3", "n": "30"}
    assert await plain.get(3) == [("id", "3"), ("n", "30")]
    assert await plain.get(99) == []


async def test_what_the_row_raises_goes_to_the_caller(hs: Manager) -> None:
    class Odd(Exception):
        pass

    def refuse(id: str) -> str:
        if id == "3":
            raise Odd
        return id

    table = hs.table("d", "t", ["id"], row=refuse)
    for call in (table.get(3), table.get_many([1, 3]), table.find(">", [1], 9)):
        with pytest.raises(Odd):
            await call
    with pytest.raises(Odd):
        await table.delete("=", [3], return_original=True)
    assert await table.get(3) is None  # it was executed
    assert await table.find(">", [3], 2) == ["4", "5"]


@pytest.mark.parametrize("error", [ConnectionError("mine"), ProtocolError("mine"), StopIteration("mine")], ids=repr)
async def test_no_error_of_the_row_is_taken_for_one_of_the_server_or_for_the_end_of_the_rows(
    hs: Manager, error: Exception
) -> None:
    calls = []

    def refuse(id: Any, n: Any) -> Any:
        calls.append(id)
        if int(id) == 3:
            raise error
        return id

    table = hs.table("d", "t", FIELDS, columns=COLUMNS, row=refuse)
    plain = hs.table("d", "t", FIELDS, row=dict)
    calls_of: list[tuple[Callable[[], Any], list[int]]] = [
        (lambda: table.get(3), [3]),
        (lambda: table.get_many([2, 3]), [2, 3]),
        (lambda: table.find(">=", [1], 9), [1, 2, 3]),
        (lambda: table.scan(9).page(), [1, 2, 3]),
        (lambda: table.update("=", [3], [3, 5], return_original=True), [3]),
        (lambda: table.delete(">=", [1], 9, return_original=True), [1, 2, 3]),
    ]
    for call, made in calls_of:
        calls.clear()
        with pytest.raises((type(error), RuntimeError)) as caught:
            await call()
        assert error in (caught.value, caught.value.__cause__)
        assert calls == made  # once
    assert await plain.find(">=", [1], 1) == [{"id": "10", "n": None}]  # all nine are gone, as asked for
    statistics = hs.statistics()
    assert statistics.retries == 0
    assert [server.connected for server in (*statistics.readers, *statistics.writers)] == [1, 1]


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, id: str, n: str) -> str:
        return id


def other_names(id: str, m: str, k: str = "") -> str:
    return id


def by_position(id: str, /, **more: str) -> str:
    return id


async def awaited(id: str, n: str) -> str:
    return id


class Awaited:
    async def __call__(self, id: str, n: str) -> str:
        return id


class Short(TypedDict):
    id: str


class Long(TypedDict):
    id: str
    n: str
    price: str


REFUSED: dict[Any, str] = {
    Short: "row: Short must take by name the fields id, n; it does not take n",
    Long: "row: Long must take by name the fields id, n; it needs price, which the table's fields do not have",
    other_names: "row: other_names must take by name the fields id, n; it does not take n, and it needs m, which the table's "
    "fields do not have",
    by_position: "row: by_position must take by name the fields id, n; it needs id by its position, which the table's fields "
    "do not have",
    tuple: "row: tuple must take by name the fields id, n; it does not take id, n",
    5: "row must be dict, a class or a function, which can be hashed, not 5",
    str: "row: str ",
    awaited: "row: <function awaited",
    Awaited(): "row: <tests.trio_hs.test_rows.Awaited object",
    Optional[Pair]: "row must be dict, a class or a function, which can be hashed, not",  # noqa: UP045  (the older form)
}


@pytest.mark.parametrize("row,message", [*REFUSED.items(), (Unhashable(), "row must be dict, a class or a function, which")])
async def test_a_row_that_does_not_take_the_fields_is_refused_before_anything_is_sent(
    nursery: trio.Nursery, row: Any, message: str
) -> None:
    server = FakeServer(nursery)
    async with open_manager([("inet", "r", 1)], [("inet", "w", 1)], connect=server.connect) as hs:
        table: Any = hs.table
        for columns in ({}, {"columns": COLUMNS}):
            with pytest.raises(TypeError, match=f"^{re.escape(message)}") as caught:
                table("d", "t", FIELDS, row=row, **columns)
            assert "\n" not in str(caught.value)
        with pytest.raises(TypeError, match="row takes each field once, by its name, but they are id, id"):
            hs.table("d", "t", ["id", "id"], row=dict)
        with pytest.raises(TypeError, match="fields must be a list of column names"):
            table("d", "t", 5, row=dict)
        with pytest.raises(TypeError, match="it does not take id"):
            hs.table("d", "t", columns=IDS, row=lambda: None)
    assert not server.open


def test_other_tasks_have_their_turn_while_many_rows_are_made() -> None:
    rows: list[Any] = [[("id", number)] if number % 3 else [] for number in range(5_000)]
    work = remade(rows, sum)
    assert sum(1 for _ in work) >= 2
    assert rows == [number if number % 3 else None for number in range(5_000)]
