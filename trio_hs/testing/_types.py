"""Column types: the value that MariaDB stores for the bytes of a request, and the text that it returns.

Nothing here is an error: like the server for HandlerSocket, a type cuts, clips, rounds or zeroes a value that does not fit.
A stored value is an ``int``, a ``float`` or ``bytes`` (None for NULL), so that a row travels as JSON.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, TypeAlias

from .._protocol import escape
from ._collation import BINARY, Collation

Value: TypeAlias = int | float | bytes | None

_MAX_SIGNED = 2**63 - 1


def wrap(number: int) -> int:
    """The number as a C ``long long``, with which the server computes increments."""
    return (number + 2**63) % 2**64 - 2**63


class ColumnType:
    """One type with its parameters.

    Attributes:
      empty: the value of a column in which nothing was stored.
      null_key: sorts below every ``key``.
      is_blob: whether it cannot be filtered on, and can be indexed only by a prefix.
    """

    empty: Value = 0
    null_key: Any = -math.inf
    is_blob = False

    def store(self, data: bytes) -> Value:
        """The value that the server stores for these bytes."""
        raise NotImplementedError

    def store_int(self, number: int) -> Value:
        """The value that the server stores for the result of an increment."""
        return self.store(b"%d" % number)

    def holds(self, data: bytes) -> bool:
        """Whether the value is stored as it is, at most rounded. MariaDB refuses another one as a default."""
        return True

    def to_int(self, value: Any) -> int:
        """The value as an increment sees it."""
        return wrap(int(value))

    def text(self, value: Any) -> bytes:
        """The value as the server sends it, not escaped."""
        return b"%d" % value

    def token(self, value: Any) -> bytes:
        """The value as a token of an answer."""
        return escape(self.text(value))

    def key(self, value: Any) -> Any:
        """Sorts and compares as the value does."""
        return value

    def prefix(self, length: int) -> ColumnType:
        """The type of a key part of the first ``length`` characters."""
        raise ValueError("only text and binary columns can have a prefix in an index")


# ---- numbers ----------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(rb"[ \t\n\v\f\r]*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)")
#: More digits than any type can hold. Further digits would only take time.
_MOST_DIGITS = 400
_EXACT = Context(prec=2 * _MOST_DIGITS + 100)


def _leading_number(data: bytes) -> Decimal:
    """The number at the start of a text, 0 if there is none."""
    match = _NUMBER.match(data)
    if match is None:
        return Decimal(0)
    digits, _, exponent = match[1].lower().partition(b"e")
    whole, _, fraction = digits.lstrip(b"+-").partition(b".")
    whole = whole.lstrip(b"0")
    if len(whole) > _MOST_DIGITS:
        whole, fraction = b"1" + b"0" * _MOST_DIGITS, b""
    power = max(-5000, min(5000, int(exponent[:6]))) if exponent else 0
    sign = b"-" if digits.startswith(b"-") else b""
    digits = b"%b0%b.%b" % (sign, whole, fraction[:_MOST_DIGITS])
    return _EXACT.scaleb(Decimal(digits.decode()), power)


def _is_number(data: bytes) -> bool:
    return _NUMBER.fullmatch(data.rstrip(b" ")) is not None


def _rounded(number: Decimal, scale: int = 0) -> int:
    """``number * 10**scale``, rounded to the nearest whole number, halves away from zero. A huge one is only huge, not
    exact."""
    if number.adjusted() > _MOST_DIGITS:
        return -(1 << 1024) if number < 0 else 1 << 1024
    return int(_EXACT.scaleb(number, scale).to_integral_value(ROUND_HALF_UP))


class Integer(ColumnType):
    """TINYINT to BIGINT."""

    def __init__(self, size: int, unsigned: bool = False, zerofill: int = 0) -> None:
        bits = 8 * size - (not unsigned)
        self.high = (1 << bits) - 1
        self.low = 0 if unsigned else -self.high - 1
        self.zerofill = zerofill
        if not zerofill:
            self.token = self.text  # type: ignore[method-assign]  # a number has nothing to escape

    def store(self, data: bytes) -> int:
        number = int(data) if len(data) < 20 and data.isdigit() else _rounded(_leading_number(data))
        if number <= -(2**64) and self.low == 0:  # the server drops the sign of a number that overflows 64 bits
            return self.high
        return min(max(number, self.low), self.high)

    def store_int(self, number: int) -> int:
        return min(max(number, self.low), self.high)

    def holds(self, data: bytes) -> bool:
        return _is_number(data) and self.low <= _rounded(_leading_number(data)) <= self.high

    def text(self, value: int) -> bytes:
        return b"%0*d" % (self.zerofill, value) if self.zerofill else b"%d" % value


class Year(ColumnType):
    """YEAR: 0 and 1901 to 2155."""

    def store(self, data: bytes) -> int:
        number = _rounded(_leading_number(data))
        if number == 0 and len(data) != 4 and _NUMBER.match(data):
            return 2000
        return self.store_int(number)

    def store_int(self, number: int) -> int:
        if 0 < number < 100:
            number += 2000 if number < 70 else 1900
        return number if 1901 <= number <= 2155 else 0

    def holds(self, data: bytes) -> bool:
        return _is_number(data) and (self.store(data) != 0 or _leading_number(data) == 0)

    def text(self, value: int) -> bytes:
        return b"%04d" % value


class DecimalType(ColumnType):
    """DECIMAL: a whole number of the smallest unit."""

    def __init__(self, precision: int, scale: int, unsigned: bool = False) -> None:
        if not 1 <= precision <= 65 or not 0 <= scale <= min(precision, 38):
            raise ValueError(f"DECIMAL({precision},{scale}): the precision is 1 to 65, the scale 0 to 38 and not above it")
        self.scale = scale
        self.high = int(10**precision) - 1
        self.low = 0 if unsigned else -self.high

    def store(self, data: bytes) -> int:
        return min(max(_rounded(_leading_number(data), self.scale), self.low), self.high)

    def holds(self, data: bytes) -> bool:
        return _is_number(data) and self.low <= _rounded(_leading_number(data), self.scale) <= self.high

    def to_int(self, value: int) -> int:
        whole = _rounded(_EXACT.scaleb(Decimal(value), -self.scale))
        return min(max(whole, -(2**63)), _MAX_SIGNED)

    def text(self, value: int) -> bytes:
        digits = f"{abs(value):0{self.scale + 1}d}"
        point = len(digits) - self.scale
        return f"{'-' if value < 0 else ''}{digits[:point]}{'.' if self.scale else ''}{digits[point:]}".encode()


#: Beyond these positions of the decimal point the server writes an exponent.
_LEAST_POINT, _MOST_POINT = -14, 15


def _float_text(value: float, digits: int | None) -> bytes:
    """The number in the server's format: the shortest text that is read as the same number, or with ``digits`` digits."""
    shortest = repr(value) if digits is None else f"{value:.{digits - 1}e}"
    sign, figures, exponent = Decimal(shortest).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, figures))
    point = len(text) + exponent
    if text == "0":
        return b"-0" if sign else b"0"
    if not _LEAST_POINT <= point <= _MOST_POINT:
        body = f"{text[0]}{'.' if len(text) > 1 else ''}{text[1:]}e{point - 1}"
    elif point <= 0:
        body = f"0.{'0' * -point}{text}"
    elif point >= len(text):
        body = text + "0" * (point - len(text))
    else:
        body = f"{text[:point]}.{text[point:]}"
    return f"{'-' if sign else ''}{body}".encode()


class Float(ColumnType):
    """FLOAT (``single``) and DOUBLE."""

    empty = 0.0

    def __init__(self, single: bool, unsigned: bool = False) -> None:
        self.single = single
        self.unsigned = unsigned
        self.high = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0] if single else math.nextafter(math.inf, 0)

    def store(self, data: bytes) -> float:
        return self._fit(float(_leading_number(data)))

    def store_int(self, number: int) -> float:
        return self._fit(float(number))

    def holds(self, data: bytes) -> bool:
        return _is_number(data) and (0.0 if self.unsigned else -self.high) <= float(_leading_number(data)) <= self.high

    def _fit(self, number: float) -> float:
        number = min(max(number + 0.0, 0.0 if self.unsigned else -self.high), self.high)  # and no -0.0
        return float(struct.unpack("<f", struct.pack("<f", number))[0]) if self.single else number

    def to_int(self, value: float) -> int:
        return min(max(round(value), -(2**63)), _MAX_SIGNED)

    def text(self, value: float) -> bytes:
        return _float_text(value, 6 if self.single else None)


class Bit(ColumnType):
    """BIT: the bytes themselves, the most significant first."""

    def __init__(self, bits: int) -> None:
        if not 1 <= bits <= 64:
            raise ValueError(f"BIT({bits}): a BIT column has 1 to 64 bits")
        self.high = (1 << bits) - 1
        self.size = (bits + 7) // 8

    def store(self, data: bytes) -> int:
        return min(
            int.from_bytes(data[-1024:] if len(data) > 1024 and not data[:-1024].strip(b"\0") else data[:1024]), self.high
        )

    def store_int(self, number: int) -> int:
        return min(number % 2**64, self.high)

    def from_number(self, data: bytes) -> bytes:
        """What to store for a number without quotes. Its text would be taken for the bits of its characters."""
        number = _rounded(_leading_number(data))
        return (number % 2**64 if abs(number) < 2**64 else 2**64).to_bytes(9)

    def holds(self, data: bytes) -> bool:
        return int.from_bytes(data) <= self.high

    def text(self, value: int) -> bytes:
        return value.to_bytes(self.size)


# ---- text and bytes ---------------------------------------------------------------------------------------------------

_WHOLE_NUMBER = re.compile(rb"[ \t\n\v\f\r]*([+-]?\d{1,30})")


class Text(ColumnType):
    """CHAR, VARCHAR and TEXT with their binary forms.

    ``length`` counts characters (bytes for a binary type or a TEXT). ``fixed`` is True for CHAR and BINARY.
    """

    empty = b""
    null_key = ""

    def __init__(self, collation: Collation, length: int, *, fixed: bool = False, blob: bool = False) -> None:
        self.collation = collation
        self.length = length
        self.fixed = fixed
        self.is_blob = blob
        if fixed and collation is BINARY:
            self.empty = b"\0" * length

    def store(self, data: bytes) -> bytes:
        charset = self.collation.charset
        if charset is None:
            data = data[: self.length]
            return data.ljust(self.length, b"\0") if self.fixed else data
        if charset == "utf-8" and (len(data) > self.length or not data.isascii()):
            data = self._cut_utf8(data)
        else:
            data = data[: self.length]
        return data.rstrip(b" ") if self.fixed else data

    def holds(self, data: bytes) -> bool:
        return self.store(data).rstrip(b" \0") == data.rstrip(b" \0") if self.fixed else self.store(data) == data

    def _cut_utf8(self, data: bytes) -> bytes:
        text = _decode_utf8(data)
        if not self.is_blob:
            return text[: self.length].encode("utf-8", "surrogatepass")
        data = text.encode("utf-8", "surrogatepass")
        end = min(self.length, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:  # in the middle of a character
            end -= 1
        return data[:end]

    def to_int(self, value: bytes) -> int:
        match = _WHOLE_NUMBER.match(value)
        return min(max(int(match[1]), -(2**63)), _MAX_SIGNED) if match else 0

    def text(self, value: bytes) -> bytes:
        return value

    def key(self, value: bytes) -> str:
        charset = self.collation.charset
        return self.collation.key(_decode_utf8(value) if charset == "utf-8" else value.decode(charset or "latin-1"))

    def prefix(self, length: int) -> ColumnType:
        # A prefix of a TEXT counts characters. Cut to it, the value is a string like any other.
        return self if not self.is_blob and length >= self.length else Text(self.collation, length)


def _decode_utf8(data: bytes) -> str:
    """The text as the server stores it, with ``?`` for every byte that belongs to no character. Surrogates are allowed."""
    pieces = []
    while True:
        try:
            pieces.append(data.decode("utf-8", "surrogatepass"))
            return "".join(pieces)
        except UnicodeDecodeError as error:
            pieces.append(data[: error.start].decode("utf-8", "surrogatepass") + "?")
            data = data[error.start + 1 :]


MOST_SET_MEMBERS = 64


def _refuse_equal(of: Text, members: Sequence[bytes]) -> None:
    """MariaDB, too, refuses members that the collation takes for equal."""
    first: dict[str, bytes] = {}
    for member in members:
        if (key := of.key(member)) in first:
            one, same = (data.decode(of.collation.charset or "latin-1") for data in (first[key], member))
            raise ValueError(f"the collation takes the members {one!r} and {same!r} for equal")
        first[key] = member


_MEMBER_NUMBER = re.compile(rb"[ \t\n\v\f\r]*([+-]?\d+)")


def _member_number(data: bytes, most_bytes: int) -> int:
    """The number of a member, or the bits of several, in 64 bits; 0 if the text is no such number."""
    match = _MEMBER_NUMBER.fullmatch(data) if len(data) <= most_bytes else None
    number = int(match[1]) if match else 0
    return number % 2**64 if abs(number) < 2**64 else 0


class Enum(ColumnType):
    """ENUM: the number of the member, 0 for the empty error value."""

    def __init__(self, collation: Collation, members: Sequence[bytes]) -> None:
        self.members = [b"", *members]
        self._type = Text(collation, 255)
        _refuse_equal(self._type, members)
        self._numbers = {self._type.key(member): number for number, member in enumerate(members, 1)}

    def store(self, data: bytes) -> int:
        number = self._numbers.get(self._type.key(data))
        if number is None:
            number = _member_number(data.rstrip(b" "), 5)
        return number if number < len(self.members) else 0

    def holds(self, data: bytes) -> bool:
        return self._type.key(data) in self._numbers

    def store_int(self, number: int) -> int:
        return number if 0 < number < len(self.members) else 0

    def text(self, value: int) -> bytes:
        return self.members[value]


class Set(ColumnType):
    """SET: a bit for each member."""

    def __init__(self, collation: Collation, members: Sequence[bytes]) -> None:
        self.members = members
        self._type = Text(collation, 255)
        _refuse_equal(self._type, members)
        if len(members) > MOST_SET_MEMBERS:
            raise ValueError(f"a SET has at most {MOST_SET_MEMBERS} members, not {len(members)}")
        self._bits = {self._type.key(member): 1 << position for position, member in enumerate(members)}

    def store(self, data: bytes) -> int:
        if not data:
            return 0
        mask = 0
        for name in data.rstrip(b" ").split(b","):
            if not name.endswith(b" "):
                mask |= self._bits.get(self._type.key(name), 0)
        return mask or self.store_int(_member_number(data, 21))

    def holds(self, data: bytes) -> bool:
        return not data or all(self._type.key(name) in self._bits for name in data.rstrip(b" ").split(b","))

    def store_int(self, number: int) -> int:
        return number & ((1 << len(self.members)) - 1)

    def text(self, value: int) -> bytes:
        return b",".join(member for position, member in enumerate(self.members) if value >> position & 1)
