"""A table with ties, NULLs, descending columns, prefixes and a collation, and random changes to it: for the tests of scans."""

from __future__ import annotations

from typing import Any

from trio_hs import Column, Columns

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
