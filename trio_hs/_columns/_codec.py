"""The codec of a declared table: tokens go in, Python values come out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from typing import Any, Protocol

from .._protocol import Codec, Slices, escape, unescape_pieces

__all__ = ["RawToken", "TypedCodec"]


class _Decoder(Protocol):
    def decode(self, token: bytes) -> Any: ...
    def decode_data(self, data: bytes) -> Any: ...


class RawToken:
    """Takes the place of a column whose tokens stay as they are."""

    decode = bytes  # of bytes it is the same object, and takes less than a function

    def decode_data(self, data: bytes) -> bytes:
        return escape(data)


class TypedCodec(Codec):
    """Takes tokens, and gives Python values. The columns encode and decode, each in its own character set."""

    slice_bytes = 1 << 13  # a value takes some ten times as long as plain text

    def __init__(self, columns: Sequence[_Decoder]) -> None:
        super().__init__(encoding=None)
        self._columns = columns
        self._decoders = [column.decode for column in columns]

    def encode(self, value: Any) -> bytes:
        return bytes(value)

    def decode(self, answer: bytes, column: int = 0) -> list[Any]:
        decoders = islice(cycle(self._decoders), column, None) if column else cycle(self._decoders)
        return [decode(token) for decode, token in zip(decoders, answer.split(b"\t"), strict=False)]

    def decode_long(self, pieces: Iterable[bytes], column: int = 0) -> Slices[Any]:
        return self._columns[column].decode_data((yield from unescape_pieces(pieces)))

    def plain_text(self, answers: bytes) -> str | None:
        return None  # each value goes through its column
