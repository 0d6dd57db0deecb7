"""Column types of dates and times."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable

from ._types import ColumnType

_PUNCTUATION = rb"[!-/:-@\[-`{-~]"
_DATE_TIME = re.compile(
    rb"\s*(\d+)P(\d+)P(\d+)(?:(?:T|\s+|P)(\d+)(?:P(\d+)(?:P(\d+)(?:\.(\d*))?)?)?)?".replace(b"P", _PUNCTUATION)
)
# Digits alone, or followed by something that does not make them the first part of the other form.
_DIGITS = re.compile(rb"\s*(\d++)(?:T(\d++))?(?:\.(\d*)|(?!P))".replace(b"P", _PUNCTUATION))


def _parse_date_time(data: bytes) -> tuple[int, int, int, int, int, int, int] | None:
    """Year to microsecond, or None if it is not a date. Month and day may be 0."""
    match = _DATE_TIME.match(data)
    if match is not None:
        year_digits, *rest = match.groups(b"")
        parts = [int(part[:9] or 0) for part in rest[:5]]
        fraction = rest[5]
    else:
        match = _DIGITS.match(data)
        if match is None:
            return None
        digits, fraction = match[1] + (match[2] or b""), match[3] or b""
        width = 4 if len(digits) in (4, 8) or len(digits) >= 14 else 2
        year_digits, tail = digits[:width], digits[width : width + 10]
        parts = [int(tail[start : start + 2] or b"0") for start in range(0, 10, 2)]
        if len(digits) < 5:
            return None
    year = int(year_digits[:9])
    month, day, hour, minute, second = parts
    if len(year_digits) <= 2 and (year or any(parts)):
        year += 2000 if year < 70 else 1900
    if year > 9999 or month > 12 or hour > 23 or minute > 59 or second > 59 or day > 31:
        return None
    if month and day > (29 if year == 0 and month == 2 else monthrange(year or 4, month)[1]):
        return None
    return year, month, day, hour, minute, second, int(fraction[:6].ljust(6, b"0"))


_MOST_DATE = 99991231235959
# The size of a number decides how it is read as a date: (the upper bound, its expansion to YYYYMMDDhhmmss). Numbers in the
# gaps are not dates.
_SIZES: tuple[tuple[int, Callable[[int], int | None]], ...] = (
    (691231, lambda n: (n + 20000000) * 10**6 if n >= 101 else None),
    (991231, lambda n: (n + 19000000) * 10**6 if n >= 700101 else None),
    (99991231, lambda n: n * 10**6 if n >= 10000101 else None),
    (691231235959, lambda n: n + 20000000000000 if n >= 101000000 else None),
    (991231235959, lambda n: n + 19000000000000 if n >= 700101000000 else None),
    (_MOST_DATE, lambda n: n if n >= 10000101000000 else None),
)


def _date_digits(number: int) -> bytes:
    """The digits YYYYMMDDhhmmss that a number stands for."""
    for most, expanded in _SIZES:
        if number <= most:
            return b"%014d" % (expanded(number) or 0)
    return b""


def _is_zero(data: bytes) -> bool:
    return b"0" in data and not data.strip(b"0-/: .")


def _check_precision(precision: int) -> None:
    if not 0 <= precision <= 6:
        raise ValueError(f"a time has 0 to 6 digits of a second, not {precision}")


class Date(ColumnType):
    """DATE, as the number YYYYMMDD."""

    def store(self, data: bytes) -> int:
        parsed = _parse_date_time(data)
        return parsed[0] * 10000 + parsed[1] * 100 + parsed[2] if parsed else 0

    def store_int(self, number: int) -> int:
        return self.store(_date_digits(number))

    def holds(self, data: bytes) -> bool:
        return self.store(data) != 0 or _is_zero(data)

    def text(self, value: int) -> bytes:
        digits = b"%08d" % value
        return b"%b-%b-%b" % (digits[:4], digits[4:6], digits[6:])


_EPOCH = 19700101000000


class DateTime(ColumnType):
    """DATETIME, as the number YYYYMMDDhhmmssffffff, and TIMESTAMP, in UTC, whose ``last`` second is YYYYMMDDhhmmss."""

    def __init__(self, precision: int = 0, last: int | None = None) -> None:
        _check_precision(precision)
        self.precision = precision
        self.last = last

    def store(self, data: bytes) -> int:
        parsed = _parse_date_time(data)
        if parsed is None:
            return 0
        value = 0
        for part in parsed[:6]:
            value = value * 100 + part
        unit = int(10 ** (6 - self.precision))
        fraction = parsed[6] // unit * unit
        if self.last is not None:
            if not (parsed[1] and parsed[2]):
                return 0
            if not _EPOCH < value <= self.last:  # only the fraction is stored
                return _EPOCH * 10**6 + fraction if fraction else 0
        return value * 10**6 + fraction

    def store_int(self, number: int) -> int:
        return self.store(_date_digits(number))

    def holds(self, data: bytes) -> bool:
        # A time beyond the range of TIMESTAMP leaves its fraction.
        return self.store(data.partition(b".")[0]) != 0 or _is_zero(data)

    def to_int(self, value: int) -> int:
        return value // 10**6

    def text(self, value: int) -> bytes:
        d = b"%020d" % value
        whole = b"%b-%b-%b %b:%b:%b" % (d[:4], d[4:6], d[6:8], d[8:10], d[10:12], d[12:14])
        return whole + b"." + d[14 : 14 + self.precision] if self.precision else whole


_TIME = re.compile(rb"\s*(-?)(?:(\d+)\s+(?=\d+:))?(\d+)(?::(\d+)(?::(\d+))?)?(?:\.(\d*))?")
#: A text that a TIME column takes for a date with a time.
_HAS_DATE = re.compile(rb"\s*(?:\d+[^\d:\s.]|\d{12})")
_LONGEST_TIME = 839 * 3600 * 10**6 - 1


class Time(ColumnType):
    """TIME, as a number of microseconds."""

    def __init__(self, precision: int = 0) -> None:
        _check_precision(precision)
        self.precision = precision

    def store(self, data: bytes) -> int:
        return self._fit(self._parse(data))

    def holds(self, data: bytes) -> bool:
        value = self._parse(data)
        return abs(value) <= _LONGEST_TIME if value else _is_zero(data)

    def _fit(self, value: int) -> int:
        unit = int(10 ** (6 - self.precision))
        return min(abs(value), _LONGEST_TIME) // unit * unit * (-1 if value < 0 else 1)

    def _parse(self, data: bytes) -> int:
        if len(data) >= 12 and _HAS_DATE.match(data):
            date_time = _parse_date_time(data)
            return _microseconds(*date_time[3:]) if date_time else 0
        match = _TIME.match(data)
        if match is None:
            return 0
        sign, days, first, second, third, fraction = match.groups(b"")
        if len(first) > 10 or int(first) >= 1 << 32:
            return 0
        if second or days:
            hours, minutes, seconds = int(first), int(second or 0), int(third or 0)
        else:
            hours, minutes, seconds = int(first) // 10000, int(first) // 100 % 100, int(first) % 100
        if minutes > 59 or seconds > 59:
            return 0
        hours += 24 * int(days[:9] or 0)
        return _microseconds(hours, minutes, seconds, int(fraction[:6].ljust(6, b"0"))) * (-1 if sign else 1)

    def store_int(self, number: int) -> int:
        if 9999999 < number <= _MOST_DATE:  # it is taken for a date with a time
            date_time = _parse_date_time(_date_digits(number))
            return _microseconds(*date_time[3:]) if date_time else 0
        hours, minutes, seconds = abs(number) // 10000, abs(number) // 100 % 100, abs(number) % 100
        if minutes > 59 or seconds > 59:
            return 0
        return self._fit(_microseconds(hours, minutes, seconds, 0) * (-1 if number < 0 else 1))

    def to_int(self, value: int) -> int:
        seconds = abs(value) // 10**6
        number = seconds // 3600 * 10000 + seconds // 60 % 60 * 100 + seconds % 60
        return -number if value < 0 else number

    def text(self, value: int) -> bytes:
        seconds, fraction = divmod(abs(value), 10**6)
        sign = b"-" if value < 0 else b""
        whole = b"%b%02d:%02d:%02d" % (sign, seconds // 3600, seconds // 60 % 60, seconds % 60)
        return whole + b"." + (b"%06d" % fraction)[: self.precision] if self.precision else whole


def _microseconds(hours: int, minutes: int, seconds: int, fraction: int) -> int:
    return (hours * 3600 + minutes * 60 + seconds) * 10**6 + fraction
