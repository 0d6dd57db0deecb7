"""The final state: which rows each server held after everything was healed, as the audit wants it.

One file per server: a head of fixed size, then 24 bytes per row (id, version of the payload, n) in ascending order of the ids,
then the closing row. A file without the closing row was not read back to its end, and decides nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["FinalState", "FinalStateError", "write_final_state"]

MAGIC = b"trio-hs\x00final 1\n"
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
        file.write(MAGIC)
        count, last = 0, _CLOSING
        for row in rows:
            if row[0] <= last:
                raise ValueError(f"the ids must ascend: {row[0]} came after {last}")
            last = row[0]
            file.write(_ROW.pack(*row))
            count += 1
        file.write(_ROW.pack(_CLOSING, count, 0))


class FinalState:
    """The kept state of one server. Raises `FinalStateError` when the file is none."""

    def __init__(self, path: Path, server: str) -> None:
        self.path = path
        self.server = server
        try:
            with path.open("rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    raise FinalStateError(f"{path}: is no final state that this version reads")
                file.seek(-min(_ROW.size, path.stat().st_size - len(MAGIC)), 2)
                end = file.read()
        except OSError as error:
            raise FinalStateError(f"{path}: cannot be read: {error.strerror}") from error
        body = path.stat().st_size - len(MAGIC)
        self.rows = max(body // _ROW.size - 1, 0)
        self.complete = body % _ROW.size == 0 and end == _ROW.pack(_CLOSING, self.rows, 0)
        """It was read back to its end."""

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """(id, version, n) by ascending id."""
        with self.path.open("rb") as file:
            file.seek(len(MAGIC))
            left = self.rows
            while left and (data := file.read(_ROW.size * min(left, CHUNK_ROWS))):
                yield from _ROW.iter_unpack(data[: len(data) - len(data) % _ROW.size])
                left -= len(data) // _ROW.size
