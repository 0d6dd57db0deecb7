"""Files of blocks, each with its length and checksums, so that what a crash has cut off and what is damaged are told apart.

A file is a line of magic and then blocks: the length of the payload, its CRC-32 and the CRC-32 of these two (4 bytes each,
little-endian), and the payload. Both checksums begin with the block's place in the file, so a block that is missing or stands
twice is damage as well. CRC-32 is enough, for it is about accidents: who forges a run can compute any checksum.

A crash leaves at most the beginning of a last block, which a reader leaves out. An empty block says that nothing is missing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from zlib import crc32

__all__ = ["HEAD_BYTES", "BlockError", "Blocks", "block_of", "seal"]

_HEAD = struct.Struct("<III")
HEAD_BYTES = _HEAD.size


class BlockError(Exception):
    """A block is damaged; in words that follow the file's name."""


def seal(block: bytearray, place: int) -> None:
    """Fill the head in: the first `HEAD_BYTES` of `block`, which will stand at `place` in its file."""
    payload = memoryview(block)[HEAD_BYTES:]
    _HEAD.pack_into(block, 0, *_head(len(payload), crc32(payload, place & 0xFFFFFFFF), place))


def block_of(payload: bytes, place: int) -> bytes:
    """The block that holds `payload`, to be written at `place`, the size of its file until then."""
    return _HEAD.pack(*_head(len(payload), crc32(payload, place & 0xFFFFFFFF), place)) + payload


def _head(length: int, checksum: int, place: int) -> tuple[int, int, int]:
    return length, checksum, crc32(struct.pack("<II", length, checksum), place & 0xFFFFFFFF)


class Blocks:
    """The payloads of a file, read as often as they are gone through, one in memory at a time. Raises `BlockError` and OSError.

    `closed` is known when they have been read to the end.
    """

    def __init__(self, path: Path, start: int) -> None:
        self._path = path
        self._start = start
        self.closed = False
        """The last block is the empty one."""

    def __iter__(self) -> Iterator[bytes]:
        self.closed = False
        with self._path.open("rb") as file:
            file.seek(self._start)
            while (payload := _next(file)) is not None:
                self.closed = not payload
                if payload:
                    yield payload

    def first(self) -> tuple[bytes, int]:
        """The first payload, and where the next block is."""
        with self._path.open("rb") as file:
            file.seek(self._start)
            payload = _next(file)
            if payload is None:
                raise BlockError("is cut before its first block")
            return payload, file.tell()


def _next(file: IO[bytes]) -> bytes | None:
    """None at the end, also where the last block is not whole."""
    place = file.tell()
    head = file.read(HEAD_BYTES)
    if len(head) < HEAD_BYTES:
        return None
    length, checksum, _ = fields = _HEAD.unpack(head)
    # Of a length that is damaged nobody knows where the block ends; it may seem to be cut.
    if fields != _head(length, checksum, place):
        raise BlockError(f"is damaged at byte {place:,}")
    payload = file.read(length)
    if len(payload) < length:
        return None
    if crc32(payload, place & 0xFFFFFFFF) != checksum:
        raise BlockError(f"is damaged in the {length:,} bytes from byte {place:,} on")
    return payload
