"""Files of blocks with checksums, which tell a file that a crash has cut from a damaged one.

A file is a line of magic and then blocks: the length of the payload, its CRC-32 and the CRC-32 of these two (4 bytes each,
little-endian), and the payload. Both checksums start from the block's place in the file, so a missing or repeated block is
damage too. CRC-32 is enough against accidents; it is no protection against forgery.

A crash may leave the beginning of a last block; readers ignore it. An empty block at the end says that nothing is missing.
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
    """A block is damaged. The message follows the name of the file."""


def seal(block: bytearray, place: int) -> None:
    """Fill in the head, the first `HEAD_BYTES` of `block`. The block will be written at `place` in its file."""
    payload = memoryview(block)[HEAD_BYTES:]
    _HEAD.pack_into(block, 0, *_head(len(payload), crc32(payload, place & 0xFFFFFFFF), place))


def block_of(payload: bytes, place: int) -> bytes:
    """A block with `payload`, to be written at `place`: the size of its file until then."""
    return _HEAD.pack(*_head(len(payload), crc32(payload, place & 0xFFFFFFFF), place)) + payload


def _head(length: int, checksum: int, place: int) -> tuple[int, int, int]:
    return length, checksum, crc32(struct.pack("<II", length, checksum), place & 0xFFFFFFFF)


class Blocks:
    """Iterates over the payloads of a file, as often as wanted, with one in memory at a time. Raises `BlockError` and OSError.

    `closed` is valid after an iteration to the end.
    """

    def __init__(self, path: Path, start: int) -> None:
        self._path = path
        self._start = start
        self.closed = False
        """The file ends with the empty block."""

    def __iter__(self) -> Iterator[bytes]:
        self.closed = False
        with self._path.open("rb") as file:
            file.seek(self._start)
            while (payload := _next(file)) is not None:
                self.closed = not payload
                if payload:
                    yield payload

    def first(self) -> tuple[bytes, int]:
        """The first payload, and the place of the next block."""
        with self._path.open("rb") as file:
            file.seek(self._start)
            payload = _next(file)
            if payload is None:
                raise BlockError("is cut before its first block")
            return payload, file.tell()


def _next(file: IO[bytes]) -> bytes | None:
    """The next payload; None at the end, also when the last block is incomplete."""
    place = file.tell()
    head = file.read(HEAD_BYTES)
    if len(head) < HEAD_BYTES:
        return None
    length, checksum, _ = fields = _HEAD.unpack(head)
    # With a damaged length the end of the block is not known, and the block may look cut.
    if fields != _head(length, checksum, place):
        raise BlockError(f"is damaged at byte {place:,}")
    payload = file.read(length)
    if len(payload) < length:
        return None
    if crc32(payload, place & 0xFFFFFFFF) != checksum:
        raise BlockError(f"is damaged in the {length:,} bytes from byte {place:,} on")
    return payload
