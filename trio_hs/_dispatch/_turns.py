"""Long work that lets other tasks have their turn."""

from __future__ import annotations

from typing import TypeVar

import trio

from .._protocol import SLICE_VALUES, Codec, EncodedList, LongValue, Ordered, Slices, Value, encode_in_slices, in_pair

T = TypeVar("T")


async def in_turns(work: Slices[T]) -> T:
    """The result of work that comes in slices. Between two slices every other task that can run has its turn.

    A checkpoint, unless the work is a single slice. Cancelling ends the work, and drops what it has made.
    """
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        await trio.lowlevel.checkpoint()


async def encoded_in(codec: Codec, in_: tuple[int, Ordered[Value]]) -> tuple[int, EncodedList]:
    """``in_``, the position of a column and its values, encoded: many or long ones in turns."""
    position, values = in_pair(in_)
    if isinstance(values, EncodedList):
        return position, values
    if len(values) <= SLICE_VALUES:
        try:
            return position, EncodedList(codec.encode_list(values, "in_"), len(values))
        except LongValue:
            pass
    return position, await in_turns(encode_in_slices(codec, values, "in_"))
