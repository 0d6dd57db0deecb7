"""The values of a declared column, as pure functions of a row's number and a version.

A column that no operation sets follows from the number alone. `compiled` turns what a scenario says of `values` into such a
function. What is drawn from few values (a constant, a choice, lines of a file) is prepared; all else is made per call.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any

from hs_drill.scenario import BINARIES, value_of, values

from ._draws import DRAWS, draws
from ._numbered_uuids import NumberedUuids
from ._ranges import between, daytime, ends_of, fitted, zipfian_ranks
from ._versions import OPS, payload_of

if TYPE_CHECKING:
    import trio_hs

__all__ = ["FIRST_WRITE", "Make", "compiled", "uuids_of"]

Make = Callable[[int, int], Any]
"""Takes a row's number and a version. Gives the value."""
Send = Callable[[Any], Any]
"""Turns a value, or None, into what a driver sends."""

FIRST_WRITE = datetime(2026, 1, 1)
"""`now` of a worker's first write."""
_PER_RUN = 2**40
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_PLACES = 1 << 16
"""A random text begins at one of this many places of a long one. The rest of the draw is for its length."""
_LENGTHS = DRAWS // _PLACES


@dataclass(frozen=True)
class _Prepared:
    """One of some values, by draws."""

    values: list[Any]
    weights: list[float] | None = None


@dataclass(frozen=True)
class _Drawn:
    """A value made from a draw."""

    make: Callable[[int], Any]


@dataclass(frozen=True)
class _Direct:
    """A value made from number and version."""

    make: Make


_Source = _Prepared | _Drawn | _Direct


def compiled(
    column: trio_hs.Column,
    spec: Any,
    *,
    salt: str,
    rows: int,
    versioned: bool,
    null: float = 0.0,
    send: Send | None = None,
) -> Make:
    """The function that makes the column's values.

    `spec` is one of `scenario.values`, `salt` sets the column apart from others, `rows` is the number of loaded rows, and
    `null` the share of NULL. If not `versioned`, the version makes no difference. `send` is applied to every value.
    """
    source = _source(column, spec, salt, rows, versioned)
    if isinstance(source, _Direct):
        return _sent(source.make, send)
    draw = draws(salt, versioned=versioned, null=null)
    null_value = send(None) if send else None
    if isinstance(source, _Prepared):
        prepared = [send(value) for value in source.values] if send else source.values
        return _picker(prepared, source.weights, draw, null_value, nulls=bool(null))
    make = source.make if send is None else _then(source.make, send)
    if not null:
        return lambda number, version: make(draw(number, version))  # type: ignore[arg-type]
    return lambda number, version: null_value if (drawn := draw(number, version)) is None else make(drawn)


def _sent(make: Make, send: Send | None) -> Make:
    return make if send is None else lambda number, version: send(make(number, version))


def _then(make: Callable[[int], Any], send: Send) -> Callable[[int], Any]:
    return lambda drawn: send(make(drawn))


def _picker(prepared: list[Any], weights: list[float] | None, draw: Any, null_value: Any, *, nulls: bool) -> Make:
    if len(prepared) == 1 and not nulls:
        (only,) = prepared
        return lambda number, version: only
    # Equal shares need no search.
    count, ends = len(prepared), ends_of(weights or [1])
    if not nulls and weights is None:
        return lambda number, version: prepared[draw(number, version) * count // DRAWS]
    if not nulls:
        return lambda number, version: prepared[bisect_right(ends, draw(number, version))]

    def pick(number: int, version: int) -> Any:
        if (drawn := draw(number, version)) is None:
            return null_value
        return prepared[drawn * count // DRAWS if weights is None else bisect_right(ends, drawn)]

    return pick


def _source(column: trio_hs.Column, spec: Any, salt: str, rows: int, versioned: bool) -> _Source:
    match spec:
        case values.Constant():
            return _Prepared([value_of(column, spec.constant)])
        case values.Choice():
            return _Prepared([value_of(column, one) for one in spec.choice], list(spec.choice.values()))
        case values.Lines():
            return _Prepared([value_of(column, line) for line in spec.values()])
        case values.Null():
            return _Prepared([None])
        case values.Between():
            return _Drawn(between(column, spec.low, spec.high, spec.step))
        case values.Zipfian():
            return _Drawn(_zipfian(column, spec))
        case values.Text():
            return _Drawn(_text(column, spec.text, salt))
        case values.Sequence():
            return _Direct(lambda number, version: number)
        case values.Uuid():
            return _Direct(_uuid(column, salt))
        case values.Now():
            return _Direct(_now(column, rows, versioned))
        case values.Version():
            return _Direct(_version(column))
    raise ValueError(f"column {column.name}: nothing makes its values")


def _zipfian(column: trio_hs.Column, spec: values.Zipfian) -> Callable[[int], Any]:
    rank, low = zipfian_ranks(spec.high - spec.low + 1, spec.theta), spec.low
    if column.type == "decimal":
        return lambda drawn: Decimal(low + rank(drawn))
    if column.type in ("float", "double"):
        fit = fitted(column)
        return lambda drawn: fit(float(low + rank(drawn)))
    return lambda drawn: low + rank(drawn)


def _text(column: trio_hs.Column, size: values.TextSize, salt: str) -> Callable[[int], Any]:
    """Pieces of a long random text: a piece costs the same whatever its length."""
    low, lengths = size.min, size.max - size.min + 1
    long = _long_text(f"{salt}/text", size.alphabet, _PLACES + size.max, column.type in BINARIES)

    def piece(drawn: int) -> Any:
        at = drawn % _PLACES
        return long[at : at + low + drawn // _PLACES * lengths // _LENGTHS]

    if column.type == "json":
        return lambda drawn: json.dumps(piece(drawn), ensure_ascii=False)
    return piece


@lru_cache(maxsize=64)
def _long_text(salt: str, alphabet: str | None, length: int, binary: bool) -> Any:
    rng = Random(salt)
    if not binary:
        return "".join(rng.choices(alphabet or _LETTERS, k=length))
    return rng.randbytes(length) if alphabet is None else bytes(rng.choices(alphabet.encode(), k=length))


def uuids_of(salt: str) -> NumberedUuids:
    """The UUIDs of a column with `values: uuid`."""
    return NumberedUuids(f"{salt}/uuid")


def _uuid(column: trio_hs.Column, salt: str) -> Make:
    make = uuids_of(salt).make
    if column.type == "uuid":
        return lambda number, version: make(number)
    if column.type in BINARIES:
        width = column.length if column.type == "binary" else 16  # the server fills a binary up
        return lambda number, version: make(number).bytes.ljust(width or 16, b"\0")
    return lambda number, version: str(make(number))


def _now(column: trio_hs.Column, rows: int, versioned: bool) -> Make:
    """A clock of the run's own, because a row must be recomputable from its number and version.

    Loaded rows lie one second apart, up to the last second before `FIRST_WRITE`. From there on each write of a worker takes a
    millisecond.
    """
    unit = 10 ** (6 - (column.precision or 0))

    def moment(number: int, version: int) -> datetime:
        if versioned and version:
            since = timedelta(milliseconds=version % _PER_RUN // OPS)
        elif number <= rows:
            since = timedelta(seconds=number - rows - 1)
        else:  # one below those of inserted rows is a marker's
            since = timedelta(milliseconds=number % _PER_RUN if number > _PER_RUN else 0)
        now = FIRST_WRITE + since
        return now.replace(microsecond=now.microsecond // unit * unit)

    match column.type:
        case "date":
            return lambda number, version: moment(number, version).date()
        case "year":
            return lambda number, version: moment(number, version).year
        case "time":
            return lambda number, version: (now := moment(number, version)) - datetime(now.year, now.month, now.day)
        case "timestamp":
            return lambda number, version: daytime(moment(number, version))
    return moment


def _version(column: trio_hs.Column) -> Make:
    if column.type in BINARIES:
        return lambda number, version: payload_of(version, number, 0, "").encode()
    return lambda number, version: payload_of(version, number, 0, "")
