"""The final state: which rows each server held after everything was healed, as the audit wants it.

One file per server: `MAGIC` and blocks with checksums (`_blocks`) of 24 bytes per row (id, version of the payload, n), in
ascending order of the ids, then the closing row. A file without the closing row was not read back to its end, and decides
nothing; nor does one that is damaged. Format 1, without blocks and checksums, is read as well.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from ._blocks import BlockError, Blocks, block_of

__all__ = ["FinalState", "FinalStateError", "write_final_state"]

MAGIC = b"trio-hs\x00\x02final\n"
MAGIC_1 = b"trio-hs\x00final 1\n"
_ROW = struct.Struct("<qqq")
_CLOSING = -(2**63)
"""In the place of an id: what follows is the number of rows."""
CHUNK_ROWS = 8192


class FinalStateError(Exception):
    """The file is no final state; one line for the user."""


def write_final_state(path: Path, rows: Iterable[tuple[int, int, int]]) -> None:
    """Keep what a server held: (id, version, n) by ascending id. Whatever ends `rows` early leaves a file that counts as cut.

    Raises `ValueError` when the ids do not ascend, and `OSError`.
    """
    with path.open("wb") as file:
        size = file.write(MAGIC)
        count, last, packed = 0, _CLOSING, bytearray()
        for row in rows:
            if row[0] <= last:
                raise ValueError(f"the ids must ascend: {row[0]} came after {last}")
            last = row[0]
            packed += _ROW.pack(*row)
            count += 1
            if count % CHUNK_ROWS == 0:
                size += file.write(block_of(bytes(packed), size))
                packed.clear()
        packed += _ROW.pack(_CLOSING, count, 0)
        file.write(block_of(bytes(packed), size))


class FinalState:
    """The kept state of one server. Raises `FinalStateError` when the file is none."""

    def __init__(self, path: Path, server: str) -> None:
        self.path = path
        self.server = server
        self.rows = 0
        self.complete = False
        """It was read back to its end, and is not damaged."""
        self.damage = ""
        """Why it cannot be read to its end, in words; then `rows` are those before that."""
        try:
            with path.open("rb") as file:
                magic = file.read(len(MAGIC_1))
            if magic == MAGIC_1:
                self._start = len(MAGIC_1)
                self._count_format_1()
            elif magic.startswith(MAGIC):
                self._start = len(MAGIC)
                self._count()
            else:
                raise FinalStateError(f"{path}: is no final state that this version reads")
        except OSError as error:
            raise FinalStateError(f"{path}: cannot be read: {error.strerror}") from error
        self._blocks = magic != MAGIC_1

    def _count(self) -> None:
        try:
            for block in Blocks(self.path, self._start):
                self.rows += len(block) // _ROW.size
                self.complete = block[-_ROW.size :] == _ROW.pack(_CLOSING, self.rows - 1, 0)
        except BlockError as error:
            self.complete, self.damage = False, f"{self.path}: {error}"
        self.rows -= self.complete

    def _count_format_1(self) -> None:
        body = self.path.stat().st_size - self._start
        with self.path.open("rb") as file:
            file.seek(-min(_ROW.size, body), 2)
            end = file.read()
        self.rows = max(body // _ROW.size - 1, 0)
        self.complete = body % _ROW.size == 0 and end == _ROW.pack(_CLOSING, self.rows, 0)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """(id, version, n) by ascending id."""
        left, parts = self.rows, self._parts()
        while left > 0:  # and no further: what comes then may be damaged
            data = next(parts)
            yield from _ROW.iter_unpack(data[: _ROW.size * min(left, len(data) // _ROW.size)])
            left -= len(data) // _ROW.size

    def _parts(self) -> Iterator[bytes]:
        if self._blocks:
            yield from Blocks(self.path, self._start)
            return
        with self.path.open("rb") as file:
            file.seek(self._start)
            while data := file.read(_ROW.size * CHUNK_ROWS):
                yield data
