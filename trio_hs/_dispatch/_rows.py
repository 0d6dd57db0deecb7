"""Rows as users get them, made from the values of an answer."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from .._protocol import SLICE_VALUES, Codec, Index, Slices, parse_each, parse_values, rows_in_slices
from ..exceptions import HandlerSocketError

#: A row: its fields and their values, in the order that was asked for. ``dict(row)`` makes it a dict.
Row: TypeAlias = list[tuple[str, Any]]


#: Makes what the caller wants of the values of whole rows, which lie flat.
Shape: TypeAlias = Callable[[list[Any], Index], list[Any]]
#: Makes what the caller wants of the values of one row.
Make: TypeAlias = Callable[[Iterable[Any]], Any]


def flat(values: list[Any], index: Index) -> list[Any]:
    """The values as they are, row after row."""
    return values


def named(values: list[Any], index: Index) -> list[Row]:
    """Rows made from the values of an answer, which lie flat."""
    # The fastest of the ways that were measured: no Python loop, and no list of all pairs in between.
    pairs = zip(itertools.cycle(index.columns), values)
    return list(map(list, zip(*[pairs] * index.width, strict=True)))


class RowFailed(Exception):
    """``error`` was raised by the caller's own code, when it made a row. Nothing is wrong with the request."""

    def __init__(self, error: HandlerSocketError) -> None:
        super().__init__(error)
        self.error = error


def made(make: Make, rows: Iterable[Sequence[Any]]) -> list[Any]:
    """What ``make`` makes of each row.

    Raises RowFailed for a HandlerSocketError of ``make``: a ConnectionError would send the request again, and a ProtocolError
    would end the connection.
    """
    try:
        return [make(row) for row in rows]  # not map(): a StopIteration of `make` would end the rows as if there were no more
    except HandlerSocketError as error:
        raise RowFailed(error) from None


def shaped(make: Make) -> Shape:
    """The shape of rows that ``make`` makes."""
    return lambda values, index: made(make, zip(*[iter(values)] * index.width, strict=True))


def remade(rows: list[Any], make: Make) -> Slices[list[Any]]:
    """Rows of pairs as ``make`` makes them, in the same list, and None for ``[]``."""
    width = max(map(len, rows[:1]), default=0) or 1
    step = max(1, SLICE_VALUES // width)
    for start in range(0, len(rows), step):
        if start:
            yield
        part = slice(start, start + step)
        rows[part] = [make([value for _, value in row]) if row else None for row in rows[part]]
    return rows


def named_each(lines: Sequence[bytes], index: Index, codec: Codec) -> list[Row]:
    """The one row in each of many answers, ``[]`` where there is none."""
    columns = index.columns
    return [list(zip(columns, values)) for values in parse_each(lines, index, codec)]  # noqa: B905  (see Table.get)


def named_each_in_slices(lines: Sequence[bytes], index: Index, codec: Codec) -> Slices[list[Row]]:
    """``named_each`` of answers that are long together."""
    found: list[Row] = []
    work = 0
    for line in lines:
        if len(line) > codec.slice_bytes:
            rows = yield from rows_in_slices(line, index, codec, named)
        else:
            rows = named(parse_values(line, index, codec), index)
        found.append(rows[0] if rows else [])
        work += len(line)
        if work >= codec.slice_bytes:
            work = 0
            yield
    return found
