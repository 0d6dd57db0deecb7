"""Long work in slices, so that other tasks are not kept waiting: many values, long values, long answers.

Each function here is a generator that yields after every slice, a fixed amount of work of one or two milliseconds, and returns
its result at the end. Its caller decides what happens in between. Amounts are counted in values and bytes: a clock would make
each run different.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

from .._counted import counted
from ._answers import has_values, wrong_length
from ._buffer import Buffer
from ._index import Index
from ._values import Codec, EncodedList, LongValue, Value, joined, located, place

T = TypeVar("T")

Slices: TypeAlias = Generator[None, None, T]

#: A slice: so many values to encode, or to check and encode, or so many bytes of a long value. BYTES_PER_VALUE bytes take as
#: long as one more value.
SLICE_VALUES = 2048
SLICE_CHECKED = 1024
SLICE_BYTES = 1 << 17
BYTES_PER_VALUE = 64


def encode_in_slices(
    codec: Codec, values: Sequence[Value], what: str = "values", columns: Sequence[str] = ()
) -> Slices[EncodedList]:
    """Many values, or long ones. Errors say ``what`` they are, and of which column if they are given."""
    out = Buffer()
    count = yield from write_values(out, codec, values, what, columns)
    return EncodedList(out.contents(), count)


def write_values(
    out: Buffer, codec: Codec, values: Sequence[Value], what: str = "values", columns: Sequence[str] = ()
) -> Slices[int]:
    """Writes many values, or long ones, with TABs between them. Returns how many: as many as there were at the beginning."""

    def encode(part: Sequence[Value], first: int) -> bytes:
        return codec.encode_list(part, what, columns, first)

    def write_one(value: Value, number: int) -> Slices[None]:
        try:
            yield from write_long(out, codec, value)
        except (TypeError, ValueError) as error:
            raise located(place(what, number, columns), error) from None

    count = len(values)
    for start in range(0, count, SLICE_VALUES):
        yield  # also before the first: the caller has tried to encode it in one go
        if start:
            out.write(b"\t")
        yield from write_parts(out, encode, _part(values, start, SLICE_VALUES, count, what), start, what, write_one)
    return count


def write_parts(
    out: Buffer,
    encode: Callable[[Sequence[Any], int], bytes],
    values: Sequence[Any],
    first: int,
    what: str,
    write_one: Callable[[Any, int], Slices[None]] | None = None,
) -> Slices[None]:
    """Writes what ``encode(values, number of the first)`` makes, where that is too long for one go of their halves, and so on.

    ``write_one`` writes a value that is too long by itself. Without it that is a ValueError, which says ``what`` it is.
    """
    try:
        out.write(encode(values, first))
        return
    except LongValue as error:
        if len(values) == 1 and write_one is None:
            raise located(place(what, first), error) from None
    if len(values) == 1 and write_one is not None:
        yield from write_one(values[0], first)
        return
    yield
    half = len(values) // 2
    yield from write_parts(out, encode, values[:half], first, what, write_one)
    out.write(b"\t")
    yield
    yield from write_parts(out, encode, values[half:], first + half, what, write_one)


def _part(values: Sequence[T], start: int, size: int, count: int, what: str) -> Sequence[T]:
    """A slice of ``count`` values. ValueError if another task has removed some of them since the call began: a request with
    fewer tokens than it announces is another one for the server, such as a delete for an update."""
    part = values[start : min(start + size, count)]
    if len(part) < min(size, count - start):
        had = counted(count, "value")
        raise ValueError(f"{what} had {had} when the call began, now {len(values)}: do not change it during the call")
    return part


def write_long(out: Buffer, codec: Codec, value: Value) -> Slices[None]:
    """Writes the token of a long str, bytes or bytearray."""
    if isinstance(value, str) and not codec.transparent:
        value = codec.encode_text(value)  # in one go: its parts might be encoded differently
    assert isinstance(value, str | bytes | bytearray)
    for start in range(0, len(value), SLICE_BYTES):
        try:
            out.write(codec.encode_part(value[start : start + SLICE_BYTES]))
        except UnicodeEncodeError as error:
            raise UnicodeEncodeError(error.encoding, str(value), start + error.start, start + error.end, error.reason) from None
        yield


def tokens_in_slices(encode: Callable[[Any], bytes], values: Sequence[Any], what: str) -> Slices[EncodedList]:
    """The token that ``encode`` makes of each value. It may take as long as for values that are checked."""
    out = Buffer()
    count = len(values)
    for start in range(0, count, SLICE_CHECKED):
        if start:
            out.write(b"\t")
            yield
        part = _part(values, start, SLICE_CHECKED, count, what)
        yield from write_parts(out, lambda some, first: joined_tokens(encode, some, what, first), part, start, what)
    return EncodedList(out.contents(), count)


def joined_tokens(encode: Callable[[Any], bytes], values: Sequence[Any], what: str, first: int) -> bytes:
    """Tokens joined by TABs. Errors say ``what`` the values are, and count them from ``first`` on.

    Raises LongValue for many values that should be encoded in slices.
    """
    try:
        return joined(encode, values)
    except LongValue:
        raise
    except (TypeError, ValueError):
        for number, value in enumerate(values, first):
            try:
                encode(value)
            except (TypeError, ValueError) as error:
                raise located(f"{what}[{number}]", error) from None
        raise


def with_tokens(tail: bytes, tokens: bytes) -> Slices[bytes]:
    """A tail that was made with an EncodedList of no bytes at its end, with these tokens in their place."""
    out = Buffer()
    for data in (memoryview(tail)[:-1], memoryview(tokens)):  # the tail may have a long `in_`
        for start in range(0, len(data), SLICE_BYTES):
            out.write(data[start : start + SLICE_BYTES])
            yield
    out.write(b"\n")
    return out.contents()


# ---- answers ----------------------------------------------------------------------------------------------------------


def rows_in_slices(
    line: bytes, index: Index, codec: Codec, shape: Callable[[list[Any], Index], list[Any]]
) -> Slices[list[Any]]:
    """The rows of a long answer. ``shape`` makes them from the values of some whole rows, which lie flat.

    Raises what ``parse_values`` raises.
    """
    found: list[Any] = []
    values: list[Any] = []
    width = index.width
    if not line.startswith(index.row_head) and not has_values(line, index):
        return found
    position = index.head_length
    for end in _ends(line, position, codec.slice_bytes):
        if end - position > codec.slice_bytes:
            values.append((yield from codec.decode_long(_pieces(line, position, end), len(values))))
        else:
            values += codec.decode(line[position:end], len(values))
        position = end + 1
        whole = len(values) - len(values) % width
        if whole:
            found += shape(values[:whole], index)
            del values[:whole]
        yield
    if values:
        raise wrong_length(line, len(values), width)
    return found


def _ends(line: bytes, position: int, size: int) -> Iterator[int]:
    """Where to cut an answer: after as many whole values as ``size`` bytes hold, or after one that is longer."""
    while position + size < len(line):
        end = line.rfind(b"\t", position, position + size + 1)
        if end < 0:
            end = line.find(b"\t", position + size)
            if end < 0:
                break
        yield end
        position = end + 1
    yield len(line)


def _pieces(line: bytes, start: int, end: int) -> Iterator[bytes]:
    """The long token in ``line[start:end]``, cut inside neither an escape nor a UTF-8 character."""
    while start < end:
        stop = min(start + SLICE_BYTES, end)
        while stop < end and (line[stop - 1] == 1 or (0x80 <= line[stop] < 0xC0 and stop - start < SLICE_BYTES + 4)):
            stop += 1
        yield line[start:stop]
        start = stop
