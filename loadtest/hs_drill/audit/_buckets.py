"""Deals a run's records and final rows to buckets by their keys, in one temporary file.

A run may have more of them than fit into memory. All of one row are in one bucket, so the buckets can be examined one after the
other, or by several processes at once.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from typing import IO, NamedTuple

__all__ = ["Buckets", "Piece", "pieces"]

SPILL_BYTES = 20_000_000
"""Of all buckets together, before they are written to the file."""


class Piece(NamedTuple):
    """Some of a bucket's records, all from one source."""

    source: int
    place: int
    """In the file."""
    length: int


class Buckets:
    """Records by the key with which they begin (8 bytes, little-endian). Several may share the file."""

    def __init__(self, file: IO[bytes], count: int, size: int) -> None:
        """`size`: bytes of a record."""
        self._file = file
        self._key = struct.Struct(f"<q{size - 8}x")
        self._record = struct.Struct(f"{size}s")
        self._open = [bytearray() for _ in range(count)]
        self.pieces: list[list[Piece]] = [[] for _ in range(count)]
        """Of each bucket, in the order of the records."""

    def deal(self, source: int, chunks: Iterable[bytes]) -> Iterator[int]:
        """Take chunks of whole records. Yields how many bytes were taken, after each chunk."""
        buckets, count, gathered = self._open, len(self._open), 0
        for chunk in chunks:
            keys, records = self._key.iter_unpack(chunk), self._record.iter_unpack(chunk)
            for (key,), (record,) in zip(keys, records, strict=True):
                buckets[key % count] += record
            gathered += len(chunk)
            if gathered >= SPILL_BYTES:
                self._spill(source)
                gathered = 0
            yield len(chunk)
        self._spill(source)

    def _spill(self, source: int) -> None:
        place = self._file.seek(0, os.SEEK_END)
        for bucket, pieces in zip(self._open, self.pieces, strict=True):
            if bucket:
                pieces.append(Piece(source, place, len(bucket)))
                place += self._file.write(bucket)
                bucket.clear()
        self._file.flush()


def pieces(file: int, wanted: Iterable[Piece]) -> Iterator[tuple[int, bytes]]:
    """The sources and records of pieces, given the descriptor of the file, which other processes may read at the same time."""
    for source, place, length in wanted:
        data = os.pread(file, length, place)
        if len(data) < length:
            raise OSError("the audit's temporary file is shorter than it should be")
        yield source, data
