"""What the load, the read-back and the audit need to know of a table: its columns, and what each row holds.

A row has a number: 1 to `table.rows` for loaded rows, `first_insert_key` and above for inserted ones. Keys are made from it,
and all values from it and from the version of the write that left them. So what a row holds can be computed again, and
compared. Whether it is the drill's own table (`DrillRows`) or one that the scenario declares (`DeclaredRows`), nothing else
needs to know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:  # Locust's processes import this, and must not import trio
    import trio_hs

__all__ = ["As", "Keys", "Maker", "Observer", "RowState", "Rows", "Wrong"]

As: TypeAlias = Callable[[str], Callable[[Any], Any]]
"""Gives for a column's name the function that turns its values into what a driver sends."""
Maker: TypeAlias = Callable[[int, int], list[Any]]
"""Takes a row's number and a version. Gives the values of some columns, as that write leaves them."""
Keys: TypeAlias = Callable[[int], list[Any]]
"""Takes a row's number, and gives the values of the primary key's columns."""
Observer: TypeAlias = Callable[[int | None, Sequence[Any]], tuple[int, int, int]]
"""Takes the number of a row that was read, None if it is unknown, and the values read. Gives its number, its version (or
`FOREIGN`, `UNSEEN`, one of the `damaged`) and the first counter among the columns, or `NO_COUNT`."""


class Wrong(NamedTuple):
    """A value that is not the one that its row's version left."""

    column: str
    found: str
    expected: str


class RowState(NamedTuple):
    """What a whole row shows."""

    number: int
    """Below 0 if no run makes its key: then it is the same on every server, and in every read."""
    version: int
    """Of the write that left it; `DAMAGED` if a value is wrong, `FOREIGN` if the row names no write."""
    counters: tuple[int, ...]
    extras: tuple[int, ...]
    """A fingerprint of the value in each of `Rows.extras`."""
    wrong: tuple[Wrong, ...] = ()
    """Each value that is certainly not what its write left. Not those in counters, nor those in extras that another write may
    have left."""
    shown: int | None = None
    """The version that the version column shows, whatever else is wrong; None if it shows none."""
    key: str = ""
    """Its key in words, if no run makes it."""


class Rows(Protocol):
    """The rows of one scenario's table. Made by `rows_of`."""

    columns: tuple[str, ...]
    columns_sql: Mapping[str, str]
    """Each column's declaration in SQL."""
    primary: tuple[str, ...]
    indexes: Mapping[str, Sequence[str]]
    counters: tuple[str, ...]
    """The integer columns that the mix steps, in the table's order."""
    version_column: str | None
    """The column that names the write which left the row; None if the run is not audited."""
    extras: tuple[str, ...]
    """Columns that some updates set and others do not: what they hold does not follow from the row's version alone."""
    plain: bool
    """Whether the primary key is one column that holds the row's number."""
    columns_declared: trio_hs.Columns | None
    """Every column and index as the client declares them; None for the drill's table, whose values are integers and text."""
    foreign: str
    """A SQL condition for rows that no run of this scenario can have left."""
    no_marker: str
    """A SQL condition for rows that no check whether writes replicate can have left."""

    def key(self, number: int) -> tuple[Any, ...]:
        """The values of the primary key's columns, in its order."""

    def keys(self, as_: As | None = None) -> Keys:
        """`key` for a driver, compiled."""

    def row(self, number: int, version: int) -> list[Any]:
        """All columns, as loading (version `INITIAL`) or an insert leaves them."""

    def maker(self, columns: Sequence[str], as_: As | None = None) -> Maker:
        """The function that makes values of these columns. `as_` is applied once to values that are prepared."""

    def number(self, key: Sequence[Any]) -> int | None:
        """The number of the row with this primary key, in Python's values or as a server gives them; None if none of ours."""

    def observer(self, columns: Sequence[str]) -> Observer:
        """The function that says what a read of these columns shows."""

    def state(self, values: Sequence[Any]) -> RowState:
        """What a whole row shows. The values are those of `columns`, as a server gives them."""

    def fingerprint(self, column: str, number: int, version: int) -> int:
        """The fingerprint of what a version that sets an extra leaves in it: 64 bits with a sign."""

    def marker(self) -> list[Any] | None:
        """A row for the check whether writes replicate, with a key that no row of a load has; None if there is none."""
