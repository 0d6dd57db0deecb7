"""The rows of a table that the scenario declares.

A column that no update sets follows from the row's number. One that every update sets follows from number and version. What
some updates set and others do not (an *extra*) follows from them only if the version's own operation set it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from hs_drill._sql_text import quoted
from hs_drill.scenario import VERSION_WIDTH, Scenario, bounds_of, values

from ._readers import reader, shown
from ._rows import As, Keys, Maker, Observer, RowState, Wrong
from ._values import Make, compiled, uuids_of
from ._versions import DAMAGED, FOREIGN, INITIAL, NO_COUNT, OPS, UNNUMBERED, UNSEEN, damaged, first_insert_key, version_of

if TYPE_CHECKING:
    import trio_hs

__all__ = ["DeclaredRows"]

_MARKERS = 2**20
"""How many numbers below those of inserted rows are kept for the markers of the replication check."""


class DeclaredRows:
    """Rows of a table with columns of the scenario's own. See `Rows`."""

    def __init__(self, scenario: Scenario) -> None:
        spec = self._spec = scenario.table
        operations = scenario.operations
        self._seed = scenario.seed
        declared = spec.columns_declared
        self.columns_declared: trio_hs.Columns | None = declared
        self._columns = {column.name: column for column in declared}
        self.columns = tuple(spec.columns)
        self.columns_sql: Mapping[str, str] = {
            name: _in_sql(one.type, self._columns[name]) for name, one in spec.columns.items()
        }
        self.primary = tuple(spec.primary)
        self.indexes: Mapping[str, Sequence[str]] = spec.indexes
        stepped = {operation.column for operation in operations if operation.do in ("incr", "decr")}
        self.counters = tuple(name for name in self.columns if name in stepped)
        self.version_column: str | None = spec.version_column
        every = frozenset(self.columns)
        self._sets = [
            every if operation.do == "insert" else frozenset(operation.set) if operation.do == "update" else None
            for operation in operations
        ]
        """By their places in the mix: the columns that each writing operation sets. None for others."""
        updates = [set(operation.set) for operation in operations if operation.do == "update"]
        self._updated = frozenset().union(*updates)
        always = set.intersection(*updates) if updates else set()
        self.extras = tuple(name for name in self.columns if name in self._updated - always - {self.version_column})
        self._numbered = next(
            name for name in self.primary if isinstance(spec.columns[name].values, values.Sequence | values.Uuid)
        )
        self._places = {name: place for place, name in enumerate(self.columns)}
        self._numbered_at = self.primary.index(self._numbered)
        self._uuids = uuids_of(self._salt(self._numbered))
        self.plain = len(self.primary) == 1 and self._columns[self._numbered].is_integer
        self._readers = {name: reader(column) for name, column in self._columns.items()}
        self._makes = {
            name: self._make(name) for name in self.columns if not isinstance(spec.columns[name].values, values.Stored)
        }
        self.foreign = self._foreign()
        self.no_marker = self._no_marker()
        self._whole = self._checker(self.columns)

    # ---- what is written

    def _salt(self, name: str) -> str:
        return f"{self._seed}/{name}"

    def _make(self, name: str, as_: As | None = None) -> Make:
        spec = self._spec.columns[name]
        return compiled(
            self._columns[name],
            spec.values,
            salt=self._salt(name),
            rows=self._spec.rows,
            versioned=name in self._updated,
            null=0.0 if name in self.primary else float(spec.null),
            send=as_(name) if as_ else None,
        )

    def key(self, number: int) -> tuple[Any, ...]:
        return tuple([self._makes[name](number, INITIAL) for name in self.primary])

    def keys(self, as_: As | None = None) -> Keys:
        makes = [self._make(name, as_) for name in self.primary]
        if self.plain and as_ is None:
            return lambda number: [number]
        if len(makes) == 1:
            (only,) = makes
            return lambda number: [only(number, INITIAL)]
        return lambda number: [make(number, INITIAL) for make in makes]

    def row(self, number: int, version: int) -> list[Any]:
        return [make(number, version) for make in self._makes.values()]

    def maker(self, columns: Sequence[str], as_: As | None = None) -> Maker:
        makes = [self._make(name, as_) for name in columns]
        if len(makes) == 1:
            (only,) = makes
            return lambda number, version: [only(number, version)]
        return lambda number, version: [make(number, version) for make in makes]

    # ---- what is read

    def number(self, key: Sequence[Any]) -> int | None:
        if len(key) != len(self.primary):
            return None
        return self._number_of([self._readers[name](value) for name, value in zip(self.primary, key, strict=True)])

    def _number_of(self, key: list[Any]) -> int | None:
        """The number of a primary key, whose values `_readers` gave."""
        number = self._number_in(key[self._numbered_at])
        if number is None or self.plain or list(self.key(number)) == key:
            return number
        return None

    def _number_in(self, value: Any) -> int | None:
        """The number in the value of the key's column that holds it."""
        try:
            if isinstance(self._spec.columns[self._numbered].values, values.Uuid):
                number = self._uuids.number_in(value)
            else:
                number = int(value)
        except (TypeError, ValueError):
            return None
        return number if number is not None and 0 < number < 2**63 else None

    def _version_in(self, number: int, text: Any) -> int:
        """The version in a value of the version column."""
        version = version_of(number, 0, text if isinstance(text, str | bytes) else None)
        if version > INITIAL and (version % OPS >= len(self._sets) or self._sets[version % OPS] is None):
            return DAMAGED  # no operation of the mix writes it
        return version

    def _sets_of(self, version: int) -> frozenset[str]:
        """The columns that the write of this version set."""
        sets = None if version == INITIAL else self._sets[version % OPS]
        return frozenset(self.columns) if sets is None else sets

    def _checker(self, columns: Sequence[str]) -> Callable[[int, int, Sequence[Any]], list[Wrong]]:
        """The function from number, version and values (as `_readers` give them) to what is wrong.

        A version that is not known is below 0: then only columns that no update sets are checked.
        """
        numbered: list[tuple[int, str, Make]] = []
        updated: list[tuple[int, str, Make]] = []
        for at, name in enumerate(columns):
            if name in self._makes and name not in self.counters and name != self.version_column:
                (updated if name in self._updated else numbered).append((at, name, self._makes[name]))
        extras = frozenset(self.extras)

        def check(number: int, version: int, found: Sequence[Any]) -> list[Wrong]:
            wrong = [(at, name, made) for at, name, make in numbered if found[at] != (made := make(number, INITIAL))]
            if version >= INITIAL and updated:
                sets = self._sets_of(version)
                wrong += [
                    (at, name, made)
                    for at, name, make in updated
                    if (name not in extras or name in sets) and found[at] != (made := make(number, version))
                ]
            return [Wrong(name, shown(found[at]), shown(made)) for at, name, made in wrong]

        return check

    def observer(self, columns: Sequence[str]) -> Observer:
        at = {name: position for position, name in enumerate(columns)}
        readers = [self._readers[name] for name in columns]
        key_at = [at[name] for name in self.primary] if set(self.primary) <= at.keys() else None
        n_at = next((at[name] for name in columns if name in self.counters), None)
        version_at = None if self.version_column is None else at.get(self.version_column)
        check = self._checker(columns)

        def observe(number: int | None, read: Sequence[Any]) -> tuple[int, int, int]:
            n = NO_COUNT if n_at is None else readers[n_at](read[n_at])
            if not isinstance(n, int):
                n = NO_COUNT
            if number is None:
                if key_at is None:
                    return UNNUMBERED, UNSEEN, n
                key = [readers[position](read[position]) for position in key_at]
                if (number := self._number_of(key)) is None:
                    return self._stranger(key), FOREIGN, NO_COUNT
            if version_at is None:
                return number, UNSEEN, n
            found = [value_in(value) for value_in, value in zip(readers, read, strict=True)]
            version = self._version_in(number, found[version_at])
            if version != FOREIGN and ((wrong := check(number, version, found)) or version == DAMAGED):
                unfit = [self._places[one.column] for one in wrong]
                version = damaged(unfit if version != DAMAGED else [*unfit, self._places[columns[version_at]]])
            return number, version, n

        return observe

    def _stranger(self, key: Sequence[Any]) -> int:
        """A number for a key that no run makes, below those of all other rows."""
        prints = [self._print(name, value) for name, value in zip(self.primary, key, strict=True)]
        return -1 - (int.from_bytes(blake2b(repr(prints).encode(), digest_size=8).digest(), "big") >> 2)

    def state(self, row: Sequence[Any]) -> RowState:
        found = [self._readers[name](value) for name, value in zip(self.columns, row, strict=True)]
        by_name = dict(zip(self.columns, found, strict=True))
        key = [by_name[name] for name in self.primary]
        number = self._number_of(key)
        counters = tuple([value if isinstance(value := by_name[name], int) else NO_COUNT for name in self.counters])
        extras = tuple([self._print(name, by_name[name]) for name in self.extras])
        if number is None:
            return RowState(self._stranger(key), FOREIGN, counters, extras, key=", ".join(map(shown, key)))
        if self.version_column is None:
            wrong = self._whole(number, UNSEEN, found)
            return RowState(number, DAMAGED if wrong else UNSEEN, counters, extras, tuple(wrong))
        text = by_name[self.version_column]
        version = self._version_in(number, text)
        wrong = self._whole(number, version, found)
        wrong += [
            Wrong(name, shown(by_name[name]), "a whole number") for name in self.counters if type(by_name[name]) is not int
        ]
        if version < INITIAL:
            wrong.append(Wrong(self.version_column, shown(text), f"a version that a write left in row {number}"))
            return RowState(number, version, counters, extras, tuple(wrong))
        return RowState(number, DAMAGED if wrong else version, counters, extras, tuple(wrong), version)

    def fingerprint(self, column: str, number: int, version: int) -> int:
        return self._print(column, self._makes[column](number, version))

    def _print(self, name: str, value: Any) -> int:
        if value is None:  # not as an empty text
            return 0
        try:
            data = self._columns[name].encode_data(value)
        except (TypeError, ValueError):  # not a value of ours
            data = repr(value).encode(errors="backslashreplace")
        return int.from_bytes(blake2b(data, digest_size=8).digest(), "big") & 2**63 - 1

    # ---- rows that are not the load's

    def _markers(self) -> range:
        """Numbers of rows that no load has: 0 to `_MARKERS` of them."""
        column = self._columns[self._numbered]
        end = first_insert_key(0, 0)
        if column.is_integer:
            end = min(bounds_of(column)[1] + 1, end)
        return range(max(self._spec.rows + 1, end - _MARKERS), end)

    def _foreign(self) -> str:
        """By their numbers, if they are in the key as they are, or by what is in the version column; else any row."""
        conditions = []
        key, version = quoted(self._numbered), self.version_column
        if self._columns[self._numbered].is_integer:
            conditions.append(f"{key} < 1 OR {key} BETWEEN {self._spec.rows + 1} AND {self._markers().start - 1}")
        if version is not None:  # `v`, 16 characters, a dot
            pattern = f"'v{'_' * (VERSION_WIDTH - 2)}.'"
            conditions.append(f"{quoted(version)} IS NULL OR {quoted(version)} NOT LIKE {pattern}")
        return " OR ".join(f"({one})" for one in conditions) or "TRUE"

    def _no_marker(self) -> str:
        numbers = self._markers()
        if not self._columns[self._numbered].is_integer or not numbers:
            return "TRUE"
        return f"{quoted(self._numbered)} NOT BETWEEN {numbers[0]} AND {numbers[-1]}"

    def marker(self) -> list[Any] | None:
        numbers = self._markers()
        if not numbers:
            return None
        return self.row(numbers[secrets.randbelow(len(numbers))], INITIAL)


def _in_sql(sql_type: str, column: trio_hs.Column) -> str:
    """A declaration that does not depend on the server's settings: they say which character set text has, and whether a
    TIMESTAMP changes whenever its row does."""
    behind = sql_type.lower().rpartition(")")[2]  # members may have such words in them
    text = column.type in ("char", "varchar", "enum", "set") or column.type.endswith("text")
    charset = "" if not text or re.search(r"charset|character\s+set|collate", behind) else " CHARACTER SET utf8mb4"
    if column.nullable:
        return f"{sql_type}{charset} NULL"
    default = " DEFAULT '2000-01-01 00:00:00'" if column.type == "timestamp" else ""
    return f"{sql_type}{charset} NOT NULL{default}"
