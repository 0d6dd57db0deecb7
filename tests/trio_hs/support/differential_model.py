"""What MariaDB is expected to do with every operation: tables of rows in Python, with the server's conversions and order.

A value is kept as the bytes that the server gives back, None is NULL. What a column does to a value that does not fit is
listed in docs/server.md; a disagreement with the server is a bug here, in the client, or in that page.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import islice
from operator import eq, ge, gt, le, lt, ne
from typing import Any, ClassVar, TypeAlias

from trio_hs import Filter

Stored: TypeAlias = bytes | None
Values: TypeAlias = dict[str, Stored]
#: Comparable with others of the same column; NULL is below everything.
Order: TypeAlias = tuple[Any, ...]

# ---- columns


@dataclass(frozen=True)
class Column:
    """A column's conversions. ``zero`` is the type's empty value, ``declared`` the column's DEFAULT."""

    name: str
    nullable: bool
    zero: bytes
    declared: bytes | None = field(default=None, kw_only=True)

    @property
    def sql(self) -> str:
        null = "NULL" if self.nullable else "NOT NULL"
        return f"{self.name} {self.type_sql} {null}" + (f" DEFAULT {self.declared.decode()}" if self.declared else "")

    @property
    def default(self) -> bytes:
        """What an insert stores that leaves the column out: never NULL, which without a DEFAULT is what SQL would store."""
        return self.zero if self.declared is None else self.declared

    @property
    def type_sql(self) -> str:
        raise NotImplementedError

    def draw(self, rng: random.Random) -> Any:
        """A value to send, mostly from a small domain, so that operations meet each other's rows."""
        raise NotImplementedError

    def store(self, value: Any) -> bytes:
        """What a value that is not NULL becomes."""
        raise NotImplementedError

    def order(self, stored: bytes) -> Any:
        """What the values that are not NULL compare by."""
        raise NotImplementedError

    def draw_or_null(self, rng: random.Random) -> Any:
        return None if rng.random() < 0.15 else self.draw(rng)

    def stored(self, value: Any) -> Stored:
        return None if value is None else self.store(value)

    def sought(self, value: Any) -> Stored:
        """What a lookup compares with: in a NOT NULL column, NULL stands for the empty value, whatever the DEFAULT is."""
        return self.zero if value is None and not self.nullable else self.stored(value)

    def order_of(self, stored: Stored, prefix: int | None = None) -> Order:
        return (0,) if stored is None else (1, self.order(stored if prefix is None else self.cut(stored, prefix)))

    def cut(self, stored: bytes, prefix: int) -> bytes:
        return stored[:prefix]


@dataclass(frozen=True)
class Integer(Column):
    type: str = "INT"
    low: int = -(2**31)
    high: int = 2**31 - 1
    #: False draws small numbers only.
    wild: bool = True

    #: How the server reads text that is not a number (docs/server.md, "Values").
    ODD: ClassVar = {"abc": 0, "1abc": 1, "5.5": 6, "-1.5": -2, "1e3": 1000, "0x10": 0, "": 0, " 5": 5, "+5": 5}

    @property
    def type_sql(self) -> str:
        return self.type

    def draw(self, rng: random.Random) -> Any:
        kind = rng.random() if self.wild else 1.0
        if kind < 0.04:
            return rng.choice(
                [self.low, self.high, self.low - 1, self.high + 1, self.high - 1, 10**30, -(10**30), -(2**64) + 1]
            )
        if kind < 0.06:
            return rng.choice(list(self.ODD))
        number = rng.randint(max(self.low, -3), 6)
        return rng.choice([number, number, str(number), str(number).encode()])

    def store(self, value: Any) -> bytes:
        text = value.decode() if isinstance(value, bytes) else str(value)
        number = self.ODD[text] if text in self.ODD else int(text)
        if self.low == 0 and number <= -(2**64):
            return b"%d" % self.high  # what does not fit into 64 bits becomes the largest value, whatever its sign
        return b"%d" % min(max(number, self.low), self.high)

    def order(self, stored: bytes) -> int:
        return int(stored)

    def add(self, stored: bytes, step: int) -> tuple[bytes, int, int]:
        """The sum as the column keeps it, and both numbers as the plugin sees them: signed 64-bit ones that wrap."""
        before = _signed(int(Decimal(stored.decode()).quantize(Decimal(1), ROUND_HALF_UP)))
        after = _signed(before + step)
        return self.store(after), before, after


def _signed(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63


@dataclass(frozen=True)
class Fixed(Integer):
    """DECIMAL(12,3)."""

    type: str = "DECIMAL(12,3)"

    def draw(self, rng: random.Random) -> Any:
        kind = rng.random()
        if kind < 0.04:
            return rng.choice(["abc", 10**12, -(10**12), Decimal("999999999.9999"), "1e3"])
        number = Decimal(rng.randint(-30, 60)) / 10
        return rng.choice([number, str(number), float(number), number + Decimal("0.0005"), int(number)])

    def store(self, value: Any) -> bytes:
        number = Decimal(0) if value == "abc" else Decimal(str(value))
        most = Decimal("999999999.999")
        return b"%.3f" % min(max(number.quantize(Decimal("0.001"), ROUND_HALF_UP), -most), most)

    def order(self, stored: bytes) -> Any:
        return Decimal(stored.decode())


@dataclass(frozen=True)
class Text(Column):
    length: int = 12
    collation: str = "utf8mb4_bin"

    ALPHABET = "aAbBzéÉß ~_\0\1\t\n\r\x0f@K'\\\x7f€😀"

    @property
    def type_sql(self) -> str:
        return f"VARCHAR({self.length}) CHARACTER SET utf8mb4 COLLATE {self.collation}"

    def draw(self, rng: random.Random) -> Any:
        kind = rng.random()
        if kind < 0.5:
            return rng.choice(["", "a", "A", "b", "aa", "a ", "é", "e", "Q", "/x"])
        most = self.length + 3 if kind < 0.55 else 4
        text = "".join(rng.choices(self.ALPHABET, k=rng.randint(0, most)))
        return text.encode() if kind > 0.9 else text

    def store(self, value: Any) -> bytes:
        text = value.decode() if isinstance(value, bytes) else value
        return bytes(text[: self.length].encode())

    def cut(self, stored: bytes, prefix: int) -> bytes:
        return stored.decode()[:prefix].encode()

    def order(self, stored: bytes) -> Any:
        weights = [self._weight(character) for character in stored.decode()]
        return weights + [0x20] * (self.length + 3 - len(weights))  # PAD SPACE: as if both had the same length

    def _weight(self, character: str) -> int:
        if self.collation == "utf8mb4_bin":
            return ord(character)
        if ord(character) > 0xFFFF:
            return 0xFFFD
        return ord({"é": "E", "É": "E", "ß": "S"}.get(character, character.upper() if character.isascii() else character))


@dataclass(frozen=True)
class Binary(Column):
    """VARBINARY, or with ``length`` None BLOB."""

    length: int | None = 20

    @property
    def type_sql(self) -> str:
        return "BLOB" if self.length is None else f"VARBINARY({self.length})"

    def draw(self, rng: random.Random) -> Any:
        kind = rng.random()
        if kind < 0.4:
            return rng.choice([b"", b"\0", b"\1", b"a", b"abcd", b"abcde", b"abcdef", b"a ", bytearray(b"\xff\xfe")])
        if kind < 0.5:
            return bytes(range(256)) if self.length is None else rng.randbytes(self.length + 2)
        return rng.randbytes(rng.randint(0, 6))

    def store(self, value: Any) -> bytes:
        return bytes(value)[: self.length]

    def order(self, stored: bytes) -> bytes:
        return stored


@dataclass(frozen=True)
class Day(Column):
    @property
    def type_sql(self) -> str:
        return "DATE"

    def draw(self, rng: random.Random) -> Any:
        day = date(2024, 2, 27) + timedelta(days=rng.randint(0, 4))
        return rng.choice([day, day, str(day), day.strftime("%Y%m%d"), "2024-02-30", "bad", date.max])

    def store(self, value: Any) -> bytes:
        text = str(value)
        if text in ("2024-02-30", "bad"):
            return b"0000-00-00"
        return (text if "-" in text else f"{text[:4]}-{text[4:6]}-{text[6:]}").encode()

    def order(self, stored: bytes) -> bytes:
        return stored


@dataclass(frozen=True)
class Moment(Column):
    """DATETIME(6)."""

    @property
    def type_sql(self) -> str:
        return "DATETIME(6)"

    def draw(self, rng: random.Random) -> Any:
        moment = datetime(2024, 2, 28, 23, 59, 59) + timedelta(
            seconds=rng.randint(0, 2), microseconds=rng.choice([0, 1, 500000])
        )
        return rng.choice([moment, moment, str(moment), moment.isoformat(), date(2024, 2, 29)])

    def store(self, value: Any) -> bytes:
        return datetime.fromisoformat(str(value)).isoformat(" ", "microseconds").encode()

    def order(self, stored: bytes) -> bytes:
        return stored


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
    operation: str
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
