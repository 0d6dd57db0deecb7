"""One class per family of column types: which values it takes, and how they look on the wire.

``encode`` turns a Python value into the bytes that the server wants. It raises TypeError or ValueError for a value that the
server would not store, or find, as it is. ``decode`` turns the server's bytes into a Python value, or raises ValueError or
ArithmeticError. Neither sees NULL or the protocol's escapes. docs/declared.md says what the server does without these checks.
"""

from __future__ import annotations

import ipaddress
import math
import re
import reprlib
import struct
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any

from .._counted import counted
from .._protocol import LONG_VALUE, SLICE_BYTES, Codec, LongValue
from ._charsets import Charset

_TEXT = Codec()


class ColumnType(ABC):
    """The values that a column takes."""

    @abstractmethod
    def encode(self, value: Any) -> bytes:
        """The bytes of a value that is not None."""

    def pieces(self, value: Any) -> Iterator[bytes]:
        """``encode`` of a long value, piece by piece."""
        yield self.encode(value)

    @abstractmethod
    def decode(self, data: bytes) -> Any:
        """The value that the server's bytes stand for."""


def _wrong_type(value: object, expected: str) -> TypeError:
    return TypeError(f"takes {expected}, not {type(value).__name__}")


# ---- numbers ----------------------------------------------------------------------------------------------------------


class Integer(ColumnType):
    """``tinyint`` to ``bigint``. The server clips what is out of range."""

    def __init__(self, lowest: int, highest: int) -> None:
        self.lowest = lowest
        self.highest = highest

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, int):
            raise _wrong_type(value, "an int")
        if not self.lowest <= value <= self.highest:
            raise ValueError(f"takes {self.lowest} to {self.highest}, not {value}")
        return b"%d" % value

    def decode(self, data: bytes) -> int:
        return int(data)


class DecimalNumber(ColumnType):
    """``decimal(precision, scale)``. The server rounds to the scale and clips to the precision."""

    def __init__(self, precision: int, scale: int, unsigned: bool) -> None:
        self.unsigned = unsigned
        self._kind = f"decimal({precision},{scale})"
        self._unit = Decimal((0, (1,), -scale))
        self._exact = Context(prec=precision, traps=[Inexact, InvalidOperation])

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, Decimal | int) or isinstance(value, bool):
            raise _wrong_type(value, "a Decimal or an int")
        number = Decimal(value)
        if not number.is_finite():
            raise ValueError(f"cannot hold {value}: MariaDB has no infinity and no NaN")
        if self.unsigned and number < 0:
            raise ValueError(f"is unsigned and cannot hold {value}")
        try:
            return format(self._exact.quantize(number, self._unit), "f").encode()
        except (Inexact, InvalidOperation):
            raise ValueError(f"is a {self._kind} and would round or clip {reprlib.repr(value)}") from None

    def decode(self, data: bytes) -> Decimal:
        return Decimal(data.decode("ascii"))


class FloatingPoint(ColumnType):
    """``float`` and ``double``, also with the deprecated (precision, scale).

    The server returns a ``float`` with six significant digits (measured: 16777217 came back as 16777200), and subnormal numbers
    with fewer. A value that would not come back equal is refused. A ``double`` comes back exactly.
    """

    def __init__(self, single: bool, unsigned: bool, precision: int | None, scale: int | None) -> None:
        self.single = single
        self.unsigned = unsigned
        self.scale = scale
        self._limit = float("inf") if precision is None or scale is None else float(10 ** (precision - scale))

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, float | int) or isinstance(value, bool):
            raise _wrong_type(value, "a float or an int")
        number = self._float(value)
        if self.unsigned and number < 0:
            raise ValueError(f"is unsigned and cannot hold {value}")
        if self._given_back(number) != value or abs(number) >= self._limit:
            raise ValueError(f"would not give {reprlib.repr(value)} back as it is: {self._limits()}")
        return repr(number).encode()

    def _float(self, value: float | int) -> float:
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        if number != number or number in (float("inf"), float("-inf")):
            raise ValueError(f"cannot hold {reprlib.repr(value)}: MariaDB has no infinity and no NaN")
        return number

    def _given_back(self, number: float) -> float:
        """The number as the server returns it."""
        if self.single:
            try:
                number = float(struct.unpack("<f", struct.pack("<f", number))[0])
            except OverflowError:  # the native format "f" packed an infinity here before Python 3.14
                number = math.copysign(math.inf, number)
            if 0 < abs(number) < 1.1754943508222875e-38:
                return 0.0
        if self.scale is not None:
            return float(f"{number:.{self.scale}f}")
        return float(f"{number:.6g}") if self.single else number

    def _limits(self) -> str:
        if self.scale is not None:
            return f"it holds numbers below {self._limit:.0f} with {counted(self.scale, 'digit')} behind the point"
        return "a float column shows six significant digits, from 1.17549e-38 to 3.40282e38" if self.single else "too big"

    def decode(self, data: bytes) -> float:
        return float(data)


class Bit(ColumnType):
    """``bit(length)``, as an int, as in MariaDB's expressions.

    On the wire it is raw bytes, big-endian. The text ``0`` would be taken for the byte 0x30.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self._size = (length + 7) // 8

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, int):
            raise _wrong_type(value, "an int")
        if not 0 <= value < 1 << self.length:
            raise ValueError(f"takes 0 to {(1 << self.length) - 1} in its {counted(self.length, 'bit')}, not {value}")
        return value.to_bytes(self._size, "big")

    def decode(self, data: bytes) -> int:
        if len(data) != self._size:
            raise ValueError("wrong width")
        return int.from_bytes(data, "big")


# ---- text and bytes ---------------------------------------------------------------------------------------------------


class Text(ColumnType):
    """``char`` and ``varchar`` (length in characters), the ``text`` types and ``json`` (size in bytes).

    The server truncates a text that is too long. It also truncates a lookup value, which then finds another row. A ``char``
    loses its trailing spaces.
    """

    def __init__(self, charset: str, length: int | None = None, size: int | None = None, fixed: bool = False) -> None:
        self.charset = Charset(charset)
        self.length = length
        self.size = size
        self.fixed = fixed

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, str):
            raise _wrong_type(value, "a str")
        if self.length is not None and len(value) > self.length:
            raise ValueError(f"takes {counted(self.length, 'character')}, not {len(value)}")
        if self.fixed and value.endswith(" "):
            raise ValueError(f"is a char, which loses the spaces at the end of {reprlib.repr(value)}")
        if len(value) > LONG_VALUE:
            if self.size is not None and len(value) > self.size:
                raise ValueError(f"takes {counted(self.size, 'byte')}, and not {counted(len(value), 'character')}")
            raise LongValue(len(value))
        data = self.charset.encode(value)
        if self.size is not None and len(data) > self.size:
            raise ValueError(f"takes {counted(self.size, 'byte')}, not {len(data)}")
        return data

    def pieces(self, value: str) -> Iterator[bytes]:
        size = 0
        for start in range(0, len(value), SLICE_BYTES):
            piece = self.charset.encode(value[start : start + SLICE_BYTES])
            size += len(piece)
            if self.size is not None and size > self.size:
                raise ValueError(f"takes {counted(self.size, 'byte')}, and not {counted(len(value), 'character')}")
            yield piece

    def decode(self, data: bytes) -> str:
        return self.charset.decode(data)


class Binary(ColumnType):
    """``binary``, ``varbinary`` and the ``blob`` types.

    A ``binary`` takes exactly its length: the server pads a shorter value with zero bytes, also in a lookup.
    """

    def __init__(self, size: int, fixed: bool = False) -> None:
        self.size = size
        self.fixed = fixed

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, bytes):
            raise _wrong_type(value, "bytes")
        if len(value) > self.size or (self.fixed and len(value) != self.size):
            raise ValueError(f"takes {'exactly ' if self.fixed else ''}{counted(self.size, 'byte')}, not {len(value)}")
        return value

    def decode(self, data: bytes) -> bytes:
        return data


class Enum(ColumnType):
    """``enum``: one of its members, a str. The server stores the empty string for any other, and takes ``B`` for ``b``."""

    def __init__(self, members: tuple[str, ...], charset: str) -> None:
        encode = Charset(charset).encode
        self._data = {member: encode(member) for member in members}
        self._members = {data: member for member, data in self._data.items()}

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, str):
            raise _wrong_type(value, "a str")
        if value not in self._data:
            raise ValueError(f"takes one of {', '.join(map(repr, self._data))}, not {reprlib.repr(value)}")
        return self._data[value]

    def decode(self, data: bytes) -> str:
        if data not in self._members:
            raise ValueError("not a member")
        return self._members[data]


MOST_SET_MEMBERS = 64


class Set(ColumnType):
    """``set``: a set of its members, which are str. It comes back as a frozenset. The server drops any other member."""

    def __init__(self, members: tuple[str, ...], charset: str) -> None:
        self._members = members
        self._charset = Charset(charset)
        self._charset.encode(",".join(members))
        if len(members) > MOST_SET_MEMBERS:
            raise ValueError(f"has at most {MOST_SET_MEMBERS} members, not {len(members)}")
        for member in members:
            if not member or "," in member:
                raise ValueError(f"cannot have the member {member!r}: empty, or with a comma")

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, set | frozenset):
            raise _wrong_type(value, "a set or a frozenset")
        if strange := value.difference(self._members):
            raise ValueError(f"takes members out of {', '.join(map(repr, self._members))}, not {reprlib.repr(set(strange))}")
        return self._charset.encode(",".join([member for member in self._members if member in value]))

    def decode(self, data: bytes) -> frozenset[str]:
        value = frozenset(self._charset.decode(data).split(",")) if data else frozenset()
        if not value.issubset(self._members):
            raise ValueError("not members")
        return value


# ---- times ------------------------------------------------------------------------------------------------------------


def _require_precision(value: Any, microseconds: int, precision: int) -> None:
    if microseconds % 10 ** (6 - precision):
        raise ValueError(f"keeps {counted(precision, 'digit')} of a second and would cut {value}")


class Date(ColumnType):
    """``date``. The server stores the zero date for one that does not exist. Python has no zero date."""

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, date) or isinstance(value, datetime):
            raise _wrong_type(value, "a date")
        return _TEXT.encode(value)

    def decode(self, data: bytes) -> date:
        return date.fromisoformat(data.decode("ascii"))


# A timestamp is stored in UTC, from 1970-01-01 00:00:01 to 2038-01-19 03:14:07 or, since MariaDB 11.5 on 64-bit systems,
# 2106-02-07 06:28:15 (measured on 11.8). It is read and written in the server's time zone, which we do not know. These are the
# bounds that are in range in every time zone, from UTC-12 to UTC+14.
_FIRST_TIMESTAMP = datetime(1970, 1, 1, 14, 0, 1)
LAST_TIMESTAMP = datetime(2038, 1, 18, 15, 14, 7, 999999)
LAST_TIMESTAMP_OF_64_BITS = datetime(2106, 2, 6, 18, 28, 15, 999999)


class DateTime(ColumnType):
    """``datetime``, and ``timestamp`` up to ``last``. No time zone, and as many digits of a second as ``precision`` says."""

    def __init__(self, precision: int, last: datetime | None = None) -> None:
        self.precision = precision
        self.last = last

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, datetime):
            raise _wrong_type(value, "a datetime")
        data = _TEXT.encode(value)  # refuses a time zone
        _require_precision(value, value.microsecond, self.precision)
        if self.last is not None and not _FIRST_TIMESTAMP <= value <= self.last:
            more = "; with until_2106=True it takes more" if LAST_TIMESTAMP < value <= LAST_TIMESTAMP_OF_64_BITS else ""
            raise ValueError(f"takes {_FIRST_TIMESTAMP} to {self.last}, not {value}{more}")
        return data

    def decode(self, data: bytes) -> datetime:
        return datetime.fromisoformat(data.decode("ascii"))


_TIME = re.compile(r"(-?)([0-9]{2,3}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?")


class Time(ColumnType):
    """``time``: a duration from -838:59:59 to 838:59:59, a timedelta in Python. The server clips longer ones."""

    def __init__(self, precision: int) -> None:
        self.precision = precision

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, timedelta):
            raise _wrong_type(value, "a timedelta")
        _require_precision(value, value.microseconds, self.precision)
        return _TEXT.encode(value)

    def decode(self, data: bytes) -> timedelta:
        match = _TIME.fullmatch(data.decode("ascii"))
        if match is None:
            raise ValueError("not a time")
        sign, hours, minutes, seconds, fraction = match.groups()
        value = timedelta(
            hours=int(hours), minutes=int(minutes), seconds=int(seconds), microseconds=int((fraction or "0").ljust(6, "0"))
        )
        return -value if sign else value


class Year(ColumnType):
    """``year``: 1901 to 2155, or 0. It is sent with four digits, because the server takes a single 0 for 2000."""

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong_type(value, "an int")
        if value and not 1901 <= value <= 2155:
            raise ValueError(f"takes 1901 to 2155, or 0, not {value}")
        return b"%04d" % value

    def decode(self, data: bytes) -> int:
        return int(data)


# ---- uuid and addresses -----------------------------------------------------------------------------------------------


class Packed(ColumnType):
    """``uuid``, ``inet4`` and ``inet6``: sent as raw bytes, also in a lookup, and returned as text (measured).

    Sent as text, they would be stored as NULL or zero.
    """

    def __init__(self, python: type[Any], pack: Callable[[Any], bytes]) -> None:
        self._python = python
        self._pack = pack

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, self._python):
            raise _wrong_type(value, f"a {self._python.__name__}")
        return self._pack(value)

    def decode(self, data: bytes) -> Any:
        return self._python(data.decode("ascii"))


def _uuid(value: uuid.UUID) -> bytes:
    # MariaDB stores UUIDs of versions 1 to 5 with their parts in another order, and knows the order by these two bytes. SQL
    # refuses a UUID for which it could not know. Through HandlerSocket it comes back with its parts exchanged (measured).
    data = value.bytes
    if data[6] & 0x80 and 0 < data[8] <= 0x80:
        raise ValueError(
            f"cannot hold {value}: with its bytes 6 and 8, {data[6]:02x} and {data[8]:02x}, its parts would be exchanged"
        )
    return data


def _inet6(value: ipaddress.IPv6Address) -> bytes:
    if value.scope_id is not None:
        raise ValueError(f"cannot hold the zone of {value}")
    return value.packed


def uuid_type() -> ColumnType:
    """``uuid``: a uuid.UUID."""
    return Packed(uuid.UUID, _uuid)


def inet4_type() -> ColumnType:
    """``inet4``: an ipaddress.IPv4Address."""
    return Packed(ipaddress.IPv4Address, lambda value: bytes(value.packed))


def inet6_type() -> ColumnType:
    """``inet6``: an ipaddress.IPv6Address."""
    return Packed(ipaddress.IPv6Address, _inet6)
