"""Encodes the requests that insert many rows, in slices. `_dispatch/_many.py` sends them in chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from ._index import Index
from ._requests import MAX_INSERT_VALUES, begin_insert, insert_tail
from ._slices import BYTES_PER_VALUE, SLICE_VALUES, Slices, write_values
from ._values import ESCAPED, LONG_LIST, Codec, LongValue, Value, located, value_list

#: At most so many rows are encoded together. For a call of fewer rows than FEW that does not pay.
GROUP = 200
FEW = 8


class RowEncoder(NamedTuple):
    """How a table makes the requests that insert rows.

    Attributes:
      weight: how many values a row counts for in a slice, apart from its bytes.
      tail: the request of a row. Raises LongValue if ``long_tail`` has to make it.
      tails: the requests of several rows, or None if each has to be made by ``tail``.
    """

    weight: int
    tail: Callable[[Sequence[Any]], bytes]
    long_tail: Callable[[Sequence[Any]], Slices[bytes]]
    tails: Callable[[Sequence[Any]], list[bytes] | None] = lambda rows: None


def insert_tail_in_slices(index: Index, codec: Codec, values: Sequence[Value]) -> Slices[bytes]:
    """``insert_tail`` of long values."""
    out = begin_insert(index, len(values))
    yield from write_values(out, codec, values, "values", index.columns)
    out.write(b"\n")
    return out.contents()


def plain_rows(index: Index, codec: Codec) -> RowEncoder:
    """For rows that go out as they are, one value per column of the index."""
    tail = partial(insert_tail, index, codec)
    long_tail = partial(insert_tail_in_slices, index, codec)
    if not codec.transparent or index.width > MAX_INSERT_VALUES or index.repeated is not None:
        return RowEncoder(index.width, tail, long_tail)
    line = index.insert_head.decode() + "\t".join(["%s"] * index.width) + "\n"
    return RowEncoder(index.width, tail, long_tail, partial(_simple_tails, codec, line, index.width))


def _simple_tails(codec: Codec, line: str, width: int, rows: Sequence[Any]) -> list[bytes] | None:
    """The requests of rows that are lists of ints and short texts without control characters, None for others.

    Takes half as long as to make each request by itself.
    """
    if not set(map(type, rows)) <= {list, tuple} or set(map(len, rows)) != {width}:
        return None
    size = 0
    for column in zip(*rows, strict=True):
        kinds = set(map(type, column))
        if kinds == {str}:
            size += sum(map(len, column))
        elif kinds != {int}:
            return None
    if size > LONG_LIST:
        return None
    try:
        data = codec.encode_text(line * len(rows) % tuple(chain.from_iterable(rows)))
    except ValueError:  # a text that the encoding does not have, or an endless int
        return None
    separators = (line.count("\t") + 1) * len(rows)
    if len(data) - len(data.translate(None, ESCAPED)) != separators:
        return None
    return data.splitlines(keepends=True)


def chunks_of_tails(
    rows: Sequence[Any], encoder: RowEncoder, *, chunk_lines: int, chunk_bytes: int
) -> Slices[list[list[bytes]]]:
    """The requests of many rows, in chunks of at most that many lines, and no more bytes than that and one row.

    TypeError and ValueError name the row, counted from 0.
    """
    chunks: list[list[bytes]] = []
    room = work = lines = 0
    skip = int(len(rows) < FEW)  # groups for which `tails` is not tried
    pause = 0  # rows that it refuses rarely come alone, so it is tried again after 1, 3, 7 groups, and so on
    group = GROUP if GROUP * encoder.weight <= SLICE_VALUES else SLICE_VALUES // encoder.weight or 1
    for start in range(0, len(rows), group):
        some = rows[start : start + group]
        tails = None if skip else encoder.tails(some)
        if tails is None:
            if skip:
                skip -= 1
            else:
                skip = pause = 2 * pause + 1
            tails = yield from _each_tail(encoder, some, start)
        size = sum(map(len, tails))
        work += len(tails) * encoder.weight + size // BYTES_PER_VALUE
        parts = [(tails, size)] if size <= chunk_bytes else [([tail], len(tail)) for tail in tails]
        for part, length in parts:
            if length > room or len(part) > lines:
                chunks.append([])
                room, lines = length if length > chunk_bytes else chunk_bytes, chunk_lines
            chunks[-1] += part
            room -= length
            lines -= len(part)
        if work >= SLICE_VALUES:
            work = 0
            yield
    return chunks


def _each_tail(encoder: RowEncoder, rows: Sequence[Any], first: int) -> Slices[list[bytes]]:
    """The requests of rows, one by one."""
    tails = []
    room = SLICE_VALUES * BYTES_PER_VALUE
    for number, row in enumerate(rows, first):
        try:
            if not isinstance(row, (list, tuple)):
                row = value_list(row)  # it may have to be read twice
            try:
                tail = encoder.tail(row)
            except LongValue:
                tail = yield from encoder.long_tail(row)
        except (TypeError, ValueError) as error:
            raise located(f"row {number}", error) from None
        tails.append(tail)
        room -= len(tail)
        if room < 0:
            room = SLICE_VALUES * BYTES_PER_VALUE
            yield
    return tails
