"""The rows of a table that is on the servers already: a sample of their keys, and what a run may write to them.

Row number n is the n-th of the sample. Rows that a run inserts have numbers of their own, as in a declared table. Nothing says
which write left a row, so nothing is audited.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import msgpack

from hs_drill.scenario import Scenario, values

from ._rows import As, Keys, Maker, Observer, RowState
from ._values import Make, compiled, uuids_of
from ._versions import INITIAL, NO_COUNT, UNNUMBERED, UNSEEN

if TYPE_CHECKING:
    import trio_hs

__all__ = ["ExistingRows", "Sample"]


@dataclass(frozen=True)
class Sample:
    """Values of some rows, by column: their keys, and what finds look for. Bytes as HandlerSocket gives them."""

    values: Mapping[str, Sequence[bytes | None]]

    @classmethod
    def none(cls) -> Self:
        return cls({})

    def packed(self) -> bytes:
        """For the wire."""
        return zlib.compress(msgpack.packb({name: list(column) for name, column in self.values.items()}), 1)

    @classmethod
    def unpacked(cls, data: bytes) -> Self:
        return cls(msgpack.unpackb(zlib.decompress(data)))

    @staticmethod
    def columns_for(scenario: Scenario) -> list[str]:
        """The columns that the load of this scenario needs values of."""
        looked_for = [name for operation in scenario.operations if operation.do == "find" for name in operation.by]
        return list(dict.fromkeys([*scenario.table.primary, *looked_for]))


class ExistingRows:
    """See `Rows`."""

    def __init__(self, scenario: Scenario, sample: Sample) -> None:
        spec = self._spec = scenario.table
        self._seed = scenario.seed
        self._sample = sample
        self._lists: dict[tuple[str, As | None], list[Any]] = {}
        """Those of `_prepared`: every operation that looks for a column has the same one."""
        self._sampled = len(sample.values[spec.primary[0]]) if sample.values else 0
        declared = spec.columns_declared
        self.columns_declared: trio_hs.Columns | None = declared
        self._columns = {column.name: column for column in declared}
        self.columns = tuple(spec.columns)
        self.columns_sql: Mapping[str, str] = {name: one.type for name, one in spec.columns.items()}
        self.primary = tuple(spec.primary)
        self.indexes: Mapping[str, Sequence[str]] = spec.indexes
        operations = scenario.operations
        stepped = {operation.column for operation in operations if operation.do in ("incr", "decr")}
        self._updated = {name for operation in operations for name in operation.set}
        self.counters = tuple(name for name in self.columns if name in stepped)
        self.written = tuple(name for name in self.columns if name in stepped | self._updated)
        """The columns of sampled rows that the load changes."""
        self.version_column: str | None = None
        self.extras: tuple[str, ...] = ()
        self.plain = False
        self._writes_keys = any(operation.do == "insert" for operation in operations)
        self.foreign = self.no_marker = "TRUE"

    def prepare(self, as_: As | None) -> None:
        """Decode the sample, so that no run begins with it: a million keys take 0.3 s or more."""
        for name in self._sample.values:
            self._prepared(name, as_)

    def key(self, number: int) -> tuple[Any, ...]:
        return tuple(self.keys()(number))

    def keys(self, as_: As | None = None) -> Keys:
        if len(self.primary) == 1 and not self._writes_keys:
            prepared = self._prepared(self.primary[0], as_)
            if prepared is not None:
                return lambda number: [prepared[number]]
        makes = [self._make(name, as_) for name in self.primary]
        return lambda number: [make(number, INITIAL) for make in makes]

    def row(self, number: int, version: int) -> list[Any]:
        return self.maker(self.columns)(number, version)

    def maker(self, columns: Sequence[str], as_: As | None = None) -> Maker:
        makes = [self._make(name, as_) for name in columns]
        return lambda number, version: [make(number, version) for make in makes]

    def _make(self, name: str, as_: As | None) -> Make:
        send: Callable[[Any], Any] = as_(name) if as_ else lambda value: value
        column, spec = self._columns[name], self._spec.columns[name]
        made: Make | None = None
        if not isinstance(spec.values, values.Stored):
            made = compiled(
                column,
                spec.values,
                salt=self._salt(name),
                rows=self._sampled,
                versioned=name in self._updated,
                null=0.0 if name in self.primary else float(spec.null),
                send=send,
            )
        prepared, sampled = self._prepared(name, as_), self._sampled
        if prepared is None:
            return made or _nothing(name)
        if made is None:
            return lambda number, version: prepared[number]
        # As long as nothing has changed the row, it holds what was sampled.
        return lambda number, version: made(number, version) if number > sampled or version else prepared[number]

    def _prepared(self, name: str, as_: As | None) -> list[Any] | None:
        """The sampled values of a column by the rows' numbers, so that the hot path only looks one up; None if it is not
        sampled."""
        if (stored := self._sample.values.get(name)) is None:
            return None
        if (name, as_) not in self._lists:
            decode, send = self._columns[name].decode_data, as_(name) if as_ else None
            values = (None if value is None else decode(value) for value in stored)
            self._lists[name, as_] = [None, *(values if send is None else map(send, values))]  # number 0 is no row's
        return self._lists[name, as_]

    def _salt(self, name: str) -> str:
        return f"{self._seed}/{name}"

    @property
    def numbered(self) -> str | None:
        """The column of the primary key that holds the number of an inserted row; None if nothing can be inserted."""
        numbers = values.Sequence | values.Uuid
        return next((name for name in self.primary if isinstance(self._spec.columns[name].values, numbers)), None)

    def number(self, key: Sequence[Any]) -> int | None:
        """The number of an inserted row with this primary key; None if no run has made the key."""
        numbered = self.numbered
        return None if numbered is None else self.number_in(key[self.primary.index(numbered)])

    def number_in(self, value: Any) -> int | None:
        """The same of the value in the column `numbered`."""
        numbered = self.numbered
        assert numbered is not None
        try:
            if isinstance(self._spec.columns[numbered].values, values.Uuid):
                return uuids_of(self._salt(numbered)).number_in(value)
            return int(value)
        except (TypeError, ValueError):
            return None

    def observer(self, columns: Sequence[str]) -> Observer:
        return lambda number, read: (UNNUMBERED if number is None else number, UNSEEN, NO_COUNT)

    def state(self, row: Sequence[Any]) -> RowState:
        return RowState(UNNUMBERED, UNSEEN, tuple(NO_COUNT for _ in self.counters), ())

    def fingerprint(self, column: str, number: int, version: int) -> int:
        raise KeyError(f"{column} is no extra")

    def marker(self) -> list[Any] | None:
        return None


def _nothing(name: str) -> Make:
    def make(number: int, version: int) -> Any:
        raise LookupError(f"nothing says what {name} holds")

    return make
