"""What MariaDB does to a value that it stores in a column, and how it orders the stored values.

A value is kept as the bytes that the server gives back, None is NULL. What a column does to a value that does not fit is
listed in docs/server.md; a disagreement with the server is a bug here, in the client, or in that page.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, ClassVar, TypeAlias

Stored: TypeAlias = bytes | None
#: Comparable with others of the same column; NULL is below everything.
Order: TypeAlias = tuple[Any, ...]


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
