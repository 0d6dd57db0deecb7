"""What MariaDB is expected to do with every operation, on tables of rows in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import eq, ge, gt, le, lt, ne
from typing import Any, TypeAlias

from tests.trio_hs.support.differential_columns import Binary, Column, Day, Fixed, Integer, Moment, Order, Stored, Text
from trio_hs import Filter, FindOperation

Values: TypeAlias = dict[str, Stored]


# ---- tables
@dataclass(frozen=True)
class Key:
    """A key of a table: its columns, each with the length of its prefix or None. ``name`` None is the primary key."""

    name: str | None
    parts: tuple[tuple[str, int | None], ...]
    unique: bool = False

    @property
    def sql(self) -> str:
        kind = "PRIMARY KEY" if self.name is None else ("UNIQUE KEY " if self.unique else "KEY ") + self.name
        return f"{kind} ({', '.join(name if prefix is None else f'{name}({prefix})' for name, prefix in self.parts)})"


@dataclass(frozen=True, repr=False)
class Schema:
    """A table's definition. ``generated`` names its auto_increment column."""

    name: str
    columns: dict[str, Column]
    keys: tuple[Key, ...]
    generated: str | None = None

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @property
    def primary(self) -> Key:
        return self.keys[0]

    @property
    def sql(self) -> str:
        columns = [
            column.sql + (" AUTO_INCREMENT" if column.name == self.generated else "") for column in self.columns.values()
        ]
        return f"CREATE TABLE {DATABASE}.{self.name} ({', '.join(columns + [key.sql for key in self.keys])})"

    def order(self, key: Key, row: Values) -> tuple[Order, ...]:
        return tuple(self.columns[name].order_of(row[name], prefix) for name, prefix in key.parts)


def _schema(name: str, columns: Sequence[Column], keys: Sequence[Key], generated: str | None = None) -> Schema:
    return Schema(name, {column.name: column for column in columns}, tuple(keys), generated)


DATABASE = "differential"

SCHEMAS = [
    _schema(
        "wide",
        [
            Integer("id", False, b"0"),
            Integer("a", True, b"0"),
            Text("b", True, b""),
            Text("c", False, b"", collation="utf8mb4_general_ci"),
            Integer("u", False, b"0", "INT UNSIGNED", 0, 2**32 - 1, declared=b"7"),
            Integer("g", True, b"0", "BIGINT", -(2**63), 2**63 - 1),
            Integer("h", True, b"0", "BIGINT UNSIGNED", 0, 2**64 - 1),
            Binary("v", True, b""),
            Binary("w", True, b"", None),
            Fixed("d", True, b"0.000"),
            Day("t", True, b"0000-00-00"),
            Moment("m", False, b"0000-00-00 00:00:00.000000"),
        ],
        [
            Key(None, (("id", None),)),
            Key("a_b", (("a", None), ("b", None))),
            Key("c_u", (("c", None), ("u", None))),
            Key("g", (("g", None),)),
            Key("h", (("h", None),)),
            Key("v", (("v", None),)),
            Key("w4", (("w", 4),)),
            Key("c2_a", (("c", 2), ("a", None))),
            Key("d_t_m", (("d", None), ("t", None), ("m", None))),
        ],
    ),
    _schema(
        "pairs",
        [
            Integer("x", False, b"0", "SMALLINT", -(2**15), 2**15 - 1),
            Text("y", False, b"", 8, "utf8mb4_general_ci"),
            Text("z", True, b"", 8),
            Integer("n", True, b"0", "TINYINT", -128, 127),
        ],
        [
            Key(None, (("x", None), ("y", None))),
            Key("z", (("z", None),), unique=True),
            Key("n_y", (("n", None), ("y", None))),
        ],
    ),
    _schema(
        "numbered",
        [
            # After the largest id, inserts without an id fail, even when that row is deleted.
            Integer("id", False, b"0", wild=False),
            Binary("q", True, b"", 6),
            Integer("n", True, b"0", declared=b"5"),
        ],
        [Key(None, (("id", None),)), Key("q", (("q", None),), unique=True), Key("n", (("n", None),))],
        generated="id",
    ),
]


# ---- operations
@dataclass(frozen=True)
class Search:
    """Which rows an operation is about; ``in_`` and ``filters`` as the client takes them."""

    key: Key
    operation: FindOperation
    values: tuple[Any, ...]
    limit: int = 0
    offset: int = 0
    in_: tuple[int, tuple[Any, ...]] | None = None
    filters: tuple[Filter, ...] = ()


class Refused(Exception):
    """The server's error answer."""


class Table:
    """The rows of one table, and what each operation does to them and answers."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.rows: list[Values] = []

    def _find(self, key: Key, operation: str, wanted: Sequence[Stored]) -> list[Values]:
        """Every row that the key finds, in the order in which the server goes through them."""
        schema = self.schema
        parts = key.parts[: len(wanted)]
        bound = tuple(schema.columns[name].order_of(value, prefix) for (name, prefix), value in zip(parts, wanted, strict=True))
        matches = COMPARISONS[operation]
        found = [
            (order, schema.order(schema.primary, row), row)
            for row in self.rows
            if matches((order := schema.order(key, row))[: len(bound)], bound)
        ]
        found.sort(key=lambda entry: entry[:2], reverse=operation[0] == "<")
        return [row for _, _, row in found]

    def _candidates(self, search: Search) -> Iterator[Values]:
        columns = [self.schema.columns[name] for name, _ in search.key.parts]
        wanted = [column.sought(value) for column, value in zip(columns, search.values, strict=False)]
        if search.in_ is None:
            yield from self._find(search.key, search.operation, wanted)
            return
        position, choices = search.in_
        for choice in choices:
            wanted[position : position + 1] = [columns[position].sought(choice)]
            yield from self._find(search.key, search.operation, wanted)[:1]

    def _filtered(self, search: Search) -> Iterator[Values]:
        if len(search.values) > len(search.key.parts):
            raise Refused(2, "kpnum")
        for condition in search.filters:
            column = self.schema.columns[str(condition.column)]
            if isinstance(column, Binary) and column.length is None and condition.value is not None:
                raise Refused(2, "filterblob")
        for row in self._candidates(search):
            for name, operation, value, stop in search.filters:
                column = self.schema.columns[str(name)]
                if not COMPARISONS[operation](column.order_of(row[str(name)]), column.order_of(column.stored(value))):
                    if stop:
                        return
                    break
            else:
                yield row

    def find(self, search: Search) -> Iterator[Values]:
        """The rows in the answer, found one by one: with ``in_``, a change shows in the next lookup."""
        limit = search.limit or (len(search.in_[1]) if search.in_ else 1)
        return islice(self._filtered(search), search.offset, search.offset + limit)

    def _put(self, old: Values | None, new: Values) -> None:
        """Inserts or updates a row, unless a unique key forbids it."""
        for key in self.schema.keys:
            if key.name is not None and (not key.unique or any(new[name] is None for name, _ in key.parts)):
                continue
            order = self.schema.order(key, new)
            if any(row is not old and self.schema.order(key, row) == order for row in self.rows):
                raise Refused(1, "121")
        if old is None:
            self.rows.append(new)
        else:
            old.update(new)

    def insert(self, values: dict[str, Any], generated: int | None) -> int | None:
        """``generated`` is the id that the server said it chose, which only has to be a new one."""
        row: Values = {}
        for name, column in self.schema.columns.items():
            stored = column.stored(values[name]) if name in values else column.default
            row[name] = column.default if stored is None and not column.nullable else stored
        number = None
        if self.schema.generated is not None and row[self.schema.generated] == b"0":
            highest = max((int(other[self.schema.generated] or 0) for other in self.rows), default=0)
            if generated is not None and generated > max(highest, 0):
                number = generated
            row[self.schema.generated] = b"%d" % (number or max(highest, 0) + 1)
        self._put(None, row)
        return number

    def update(self, search: Search, changes: dict[str, Any]) -> list[Values]:
        """The rows as they were."""
        before = []
        for row in self.find(search):
            before.append(dict(row))
            new = dict(row)
            for name, value in changes.items():
                stored = self.schema.columns[name].stored(value)
                if stored is not None or self.schema.columns[name].nullable:
                    new[name] = stored
            self._put(row, new)
        return before

    def delete(self, search: Search) -> list[Values]:
        before = []
        for row in self.find(search):
            before.append(row)
            self.rows = [other for other in self.rows if other is not row]
        return before

    def add(self, search: Search, sign: int, steps: dict[str, int | None]) -> tuple[int, list[Values]]:
        """How many rows changed, and all that were found as they were; no field of a row crosses zero downwards."""
        before = []
        count = 0
        for row in self.find(search):
            before.append(dict(row))
            new = dict(row)
            crossed = False
            for name, step in steps.items():
                old, column = row[name], self.schema.columns[name]
                if old is None or step is None:
                    continue
                assert isinstance(column, Integer)
                new[name], number, result = column.add(old, sign * step)
                crossed = crossed or (sign < 0 and (number < 0 < result or result < 0 < number))
            if not crossed:
                self._put(row, new)
                count += 1
        return count, before


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": eq, "!=": ne, ">": gt, ">=": ge, "<": lt, "<=": le,
}  # fmt: skip
