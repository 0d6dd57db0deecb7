"""Long work that lets other tasks have their turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import trio

from .._protocol import SLICE_VALUES, Codec, EncodedList, Ordered, Slices, Value, encode_in_slices, in_pair

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


async def encoded_in(codec: Codec, in_: tuple[int, Ordered[Value]]) -> tuple[int, Sequence[Any] | EncodedList]:
    """``in_``, the position of a column and its values. Many values are encoded in turns."""
    position, values = in_pair(in_)
    if not isinstance(values, EncodedList) and len(values) > SLICE_VALUES:
        values = await in_turns(encode_in_slices(codec, values, "in_"))
    return position, values
