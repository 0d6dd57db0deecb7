"""The values between two bounds, by the type of their column, and which of them is drawn how often."""

from __future__ import annotations

import ipaddress
import math
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from decimal import Context, Decimal
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from hs_drill.scenario import value_of

from ._draws import DRAWS

if TYPE_CHECKING:
    import trio_hs

__all__ = ["between", "daytime", "ends_of", "fitted", "zipfian_ranks"]

HEAD = 1000
"""Ranks of a Zipfian distribution with exact shares."""
_EXACT = Context(prec=70)
"""A decimal has up to 65 digits."""
_LEAST_NORMAL_FLOAT = 1.1754943508222875e-38

Made = Callable[[int], Any]
"""Makes a value from a draw."""


def between(column: trio_hs.Column, low: Any, high: Any, step: float | None) -> Made:
    """Every value from `low` to `high` (as the scenario gives them), both included, equally likely."""
    first, last = value_of(column, low), value_of(column, high)
    match column.type:
        case "decimal":
            return _decimals(first, last, Decimal(str(step)) if step else None, column.scale or 0)
        case "float" | "double":
            return _floats(column, first, last, step)
        case "date":
            days, start = round(step or 1), first.toordinal()
            count = (last.toordinal() - start) // days + 1
            return lambda drawn: date.fromordinal(start + (drawn * count // DRAWS) * days)
        case "datetime" | "time" | "timestamp":
            return _times(column, first, last, step)
        case "inet4" | "inet6":
            address = ipaddress.IPv4Address if column.type == "inet4" else ipaddress.IPv6Address
            whole = _integers(int(first), int(last), round(step or 1))
            return lambda drawn: address(whole(drawn))
    return _integers(first, last, round(step or 1))


def _integers(first: int, last: int, step: int) -> Made:
    count = (last - first) // step + 1
    return lambda drawn: first + (drawn * count // DRAWS) * step


def _decimals(first: Decimal, last: Decimal, step: Decimal | None, scale: int) -> Made:
    unit = _EXACT.scaleb(Decimal(1), -scale)
    low, high, by = (int(_EXACT.divide(number, unit)) for number in (first, last, step or unit))
    whole = _integers(low, high, max(by, 1))
    return lambda drawn: _EXACT.scaleb(Decimal(whole(drawn)), -scale)


def _floats(column: trio_hs.Column, first: float, last: float, step: float | None) -> Made:
    fit = fitted(column)
    if step:
        count = int((last - first) / step + 1e-9) + 1
        return lambda drawn: fit(first + (drawn * count // DRAWS) * step)

    def make(drawn: int) -> float:
        share = drawn / (DRAWS - 1)
        return min(max(fit(first * (1 - share) + last * share), first), last)  # last - first might be infinite

    return make


def fitted(column: trio_hs.Column) -> Callable[[float], float]:
    """The function from a number to a near one that a `float` or `double` column gives back as it is."""
    single, scale = column.type == "float", column.scale

    def given_back(number: float) -> float:
        if single:
            number = float(struct.unpack("<f", struct.pack("<f", number))[0])
            if abs(number) < _LEAST_NORMAL_FLOAT:
                return 0.0
        if scale is not None:
            return float(f"{number:.{scale}f}") + 0.0
        return float(f"{number:.6g}") if single else number

    def fit(number: float) -> float:
        number += 0.0  # the server has no -0.0
        for _ in range(4):  # rounding to decimal digits may be off by one of the last binary ones
            if (given := given_back(number)) == number:
                break
            number = given
        return number

    return fit if single or scale is not None else lambda number: number + 0.0


def _times(column: trio_hs.Column, first: Any, last: Any, step: float | None) -> Made:
    unit = timedelta(microseconds=round(step * 10**6) if step else 10 ** (6 - (column.precision or 0)))
    count = (last - first) // unit + 1
    if column.type != "timestamp":
        return lambda drawn: first + (drawn * count // DRAWS) * unit

    def make(drawn: int) -> datetime:
        moment: datetime = first + (drawn * count // DRAWS) * unit
        return daytime(moment, last)

    return make


def daytime(moment: datetime, last: datetime | None = None) -> datetime:
    """A moment for a `timestamp`: four hours later if it is before 4 in the morning, unless that is after `last`.

    Where clocks change, an hour of one night does not exist. The server stores another one, and we don't know its time zone.
    """
    if moment.hour >= 4:
        return moment
    later = moment + timedelta(hours=4)
    return moment if last is not None and later > last else later


def ends_of(weights: Iterable[float]) -> list[int]:
    """Where the share of each weight ends among all draws: `bisect_right(ends, drawn)` is the place of the one drawn."""
    sums = list(accumulate(weights))
    return [round(end / sums[-1] * DRAWS) for end in sums[:-1]]


def zipfian_ranks(count: int, theta: float) -> Callable[[int], int]:
    """The function from a draw to a rank from 0 to `count` - 1: rank r (from 1) comes in proportion to r**-theta.

    The shares of ranks beyond the head come from the integral.
    """
    head = min(count, HEAD)
    power = 1 - theta if abs(theta - 1) > 1e-6 else 1e-6  # the integral of 1/r is not a power
    low, high = (head + 0.5) ** power, (count + 0.5) ** power
    ends = ends_of([*((rank + 1) ** -theta for rank in range(head)), (high - low) / power])
    inverse, start = 1 / power, ends[-1]
    tail = max(DRAWS - start, 1)

    def rank(drawn: int) -> int:
        at = bisect_right(ends, drawn)
        if at < head:
            return at
        share = (drawn - start) / tail
        drawn_rank: float = (low + (high - low) * share) ** inverse - 0.5
        return min(max(math.floor(drawn_rank), head), count - 1)

    return rank
