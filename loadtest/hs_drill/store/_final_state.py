"""The final state, for the audit: the rows that each server held after everything was healed.

One file per server: `MAGIC` and blocks with checksums (`_blocks`), with 24 bytes per row (id, version of the payload, n) by
ascending id, then the closing row. A file without the closing row was not read back to its end. Neither such a file nor a
damaged one proves anything. Format 1, without blocks and checksums, can be read, too.
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
"""In place of an id; the number of rows follows."""
CHUNK_ROWS = 8192


class FinalStateError(Exception):
    """The file is not a final state; one line for the user."""


def write_final_state(path: Path, rows: Iterable[tuple[int, int, int]]) -> None:
    """Keep the rows of a server: (id, version, n) by ascending id. If `rows` raises, the file that is left counts as cut.

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
    """The kept state of one server. Raises `FinalStateError` if the file is not one."""

    def __init__(self, path: Path, server: str) -> None:
        self.path = path
        self.server = server
        self.rows = 0
        self.complete = False
        """All rows were read back, and the file is not damaged."""
        self.damage = ""
        """Why it cannot be read to its end; one line. `rows` then counts the rows before the damage."""
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
                raise FinalStateError(f"{path}: is not a final state that this version can read")
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
        while left > 0:  # no further: the rest may be damaged
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
