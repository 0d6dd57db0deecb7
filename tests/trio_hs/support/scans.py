"""A table with ties, NULLs, descending columns, prefixes and a collation, and one of numbers: for the tests of scans."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from trio_hs import Column, Columns, Manager, open_manager
from trio_hs.testing import EmbeddedServer, Table, open_server

COLUMNS = Columns(
    [
        Column("p", "int"),
        Column("q", "int"),
        Column("a", "int", nullable=True),
        Column("s", "varchar", length=4),
        Column("n", "int"),
        Column("u", "int", nullable=True),
        Column("v", "int"),
    ],
    {
        "PRIMARY": ["p", "q DESC"],
        "a": ["a"],
        "a_desc": ["a DESC"],
        "s": ["s"],
        "s_begin": [("s", 2)],
        "a_s": ["a", "s DESC"],
        "n_q": ["n", "q"],
        "n_a": ["n", "a DESC"],
        "s_key": ["s", "p", "q"],
        "u": ["u"],
        "v": ["v"],
    },
    ["u", "v"],
)
KEYS = [(p, q) for p in range(4) for q in range(4)]
TEXTS = ["", "a", "A", "a ", "e", "\u00e9", "\x01", "a\x01", "ab", "abc", "ABD", "b"]


def row_of(key: tuple[int, int], a: int | None, s: str, n: int, unique: bool) -> list[Any]:
    """A row; the values of unique columns follow from its key."""
    number = KEYS.index(key) * 7 % 16
    return [*key, a, s, n, number if unique else None, number]


def may_go(index: str, *, backwards: bool) -> bool:
    return not (backwards and index == "s_begin")


@asynccontextmanager
async def opened(table: Table, **options: Any) -> AsyncIterator[tuple[EmbeddedServer, Manager]]:
    async with (
        open_server([table]) as server,
        open_manager([server.read_address], [server.write_address], connect=server.connect, **options) as hs,
    ):
        yield server, hs


NUMBERS = Columns([Column("id", "int"), Column("n", "int")], {"PRIMARY": ["id"], "n": ["n"]})
NUMBERS_TABLE = Table.from_columns("d", "numbers", NUMBERS)


@asynccontextmanager
async def numbers(count: int, **options: Any) -> AsyncIterator[tuple[EmbeddedServer, Manager]]:
    """Rows from 1 to ``count``, of which each three have the same ``n``."""
    async with opened(NUMBERS_TABLE, **options) as (server, hs):
        await server.load("d", "numbers", [(number, (number - 1) // 3) for number in range(1, count + 1)])
        yield server, hs


def identity(id: int) -> int:
    return id


def of(hs: Manager, index: str | None = None) -> Any:
    return hs.table("d", "numbers", ["id"], index, columns=NUMBERS, row=identity)
