"""The final state, for the audit: the rows that each server held after everything was healed.

One file per server: `MAGIC` and blocks with checksums (`_blocks`). The first block is the header (msgpack), which names the
table's counters and extras. The next ones hold the rows by ascending number, 8 bytes for each of number, version, counters and
extras, then a closing row. The last block (msgpack) describes rows that no write can have left, for people. A file without the
last block was not read back to its end. Neither such a file nor a damaged one proves anything.

Older formats can be read, too. They hold one counter, `n`, and have no header and no last block; format 1 has no blocks and no
checksums either.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgpack

from ._blocks import BlockError, Blocks, block_of

__all__ = ["MOST_WRONG_ROWS", "FinalState", "FinalStateError", "WrongRow", "write_final_state"]

MAGIC = b"trio-hs\x00\x03final\n"
MAGIC_2 = b"trio-hs\x00\x02final\n"
MAGIC_1 = b"trio-hs\x00final 1\n"
_CLOSING = -(2**63)
"""In place of a number; the count of the rows follows."""
CHUNK_ROWS = 8192
MOST_WRONG_ROWS = 1000
"""For this many rows a final state says what is wrong in them; for all others only that something is."""
DRILL_COUNTERS = ("n",)
"""The counters of the drill's table, of which older formats are."""


class FinalStateError(Exception):
    """The file is not a final state; one line for the user."""


class WrongRow(NamedTuple):
    """What is wrong in a row, in words for people."""

    number: int
    key: str
    """The row's primary key, if it is not the key of any number; else ""."""
    columns: tuple[tuple[str, str, str], ...]
    """Column, what was found, what was expected."""
    shown: int | None = None
    """The version that the row names all the same; None if none."""

    def described(self) -> str:
        return "; ".join(f"{column} is {found} and should be {expected}" for column, found, expected in self.columns)


def write_final_state(
    path: Path,
    rows: Iterable[Sequence[int]],
    *,
    counters: Sequence[str] = DRILL_COUNTERS,
    extras: Sequence[str] = (),
    wrong: Iterable[WrongRow] = (),
) -> None:
    """Keep the rows of a server: (number, version, counters, extras) by ascending number.

    If `rows` raises, the file that is left counts as cut. `wrong` is read after the last row, at most `MOST_WRONG_ROWS` of it.
    Raises `ValueError` when the numbers do not ascend, and `OSError`.
    """
    layout = _layout(counters, extras)
    with path.open("wb") as file:
        size = file.write(MAGIC)
        size += file.write(block_of(msgpack.packb({"counters": counters, "extras": extras}), size))
        count, last, packed = 0, _CLOSING, bytearray()
        for row in rows:
            if row[0] <= last:
                raise ValueError(f"the numbers must ascend: {row[0]} came after {last}")
            last = row[0]
            packed += layout.pack(*row)
            count += 1
            if count % CHUNK_ROWS == 0:
                size += file.write(block_of(bytes(packed), size))
                packed.clear()
        packed += _closing_row(layout, count)
        size += file.write(block_of(bytes(packed), size))
        file.write(block_of(msgpack.packb(list(islice(wrong, MOST_WRONG_ROWS))), size))


def _layout(counters: Sequence[str], extras: Sequence[str]) -> struct.Struct:
    return struct.Struct(f"<{2 + len(counters) + len(extras)}q")


def _closing_row(layout: struct.Struct, count: int) -> bytes:
    return layout.pack(_CLOSING, count, *[0] * (layout.size // 8 - 2))


class FinalState:
    """The kept state of one server. Raises `FinalStateError` if the file is not one."""

    def __init__(self, path: Path, server: str) -> None:
        self.path = path
        self.server = server
        self.counters: tuple[str, ...] = DRILL_COUNTERS
        self.extras: tuple[str, ...] = ()
        self.rows = 0
        self.complete = False
        """All rows were read back, and the file is not damaged."""
        self.damage = ""
        """Why it cannot be read to its end; one line. `rows` then counts the rows before the damage."""
        self.wrong: dict[int, WrongRow] = {}
        """By number: the first rows that no write can have left."""
        try:
            with path.open("rb") as file:
                magic = file.read(len(MAGIC_1))
            self._blocks = magic != MAGIC_1
            self._start = len(MAGIC if self._blocks else MAGIC_1)
            self._row = _layout(self.counters, self.extras)
            if not self._blocks:
                self._count_format_1()
            elif magic.startswith((MAGIC, MAGIC_2)):
                self._read_blocks(framed=magic.startswith(MAGIC))
            else:
                raise FinalStateError(f"{path}: is not a final state that this version can read")
        except OSError as error:
            raise FinalStateError(f"{path}: cannot be read: {error.strerror}") from error

    def _read_blocks(self, *, framed: bool) -> None:
        """Count the rows. `framed`: a header comes before them, and a description of wrong rows after them."""
        closed = False
        try:
            if framed:
                self._read_header()
            for block in Blocks(self.path, self._start):
                if closed and framed:
                    self.wrong, self.complete = _wrong_rows(block), True
                    continue
                self.rows += len(block) // self._row.size
                closed = block[-self._row.size :] == _closing_row(self._row, self.rows - 1)
                self.complete = closed and not framed
        except BlockError as error:
            self.complete, self.damage = False, f"{self.path}: {error}"
        self.rows -= closed

    def _read_header(self) -> None:
        packed, self._start = Blocks(self.path, self._start).first()
        try:
            header = msgpack.unpackb(packed)
            self.counters, self.extras = tuple(header["counters"]), tuple(header["extras"])
        except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
            raise BlockError(f"has a header that cannot be read: {error}") from error
        self._row = _layout(self.counters, self.extras)

    def _count_format_1(self) -> None:
        body = self.path.stat().st_size - self._start
        with self.path.open("rb") as file:
            file.seek(-min(self._row.size, body), 2)
            end = file.read()
        self.rows = max(body // self._row.size - 1, 0)
        self.complete = body % self._row.size == 0 and end == _closing_row(self._row, self.rows)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        """(number, version, counters, extras) by ascending number."""
        left, parts, size = self.rows, self._parts(), self._row.size
        while left > 0:  # no further: the rest may be damaged
            data = next(parts)
            yield from self._row.iter_unpack(data[: size * min(left, len(data) // size)])
            left -= len(data) // size

    def _parts(self) -> Iterator[bytes]:
        if self._blocks:
            yield from Blocks(self.path, self._start)
            return
        with self.path.open("rb") as file:
            file.seek(self._start)
            while data := file.read(self._row.size * CHUNK_ROWS):
                yield data


def _wrong_rows(block: bytes) -> dict[int, WrongRow]:
    try:
        rows = [
            WrongRow(number, key, tuple(map(tuple, columns)), shown) for number, key, columns, shown in msgpack.unpackb(block)
        ]
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise BlockError(f"ends with a description of its rows that cannot be read: {error}") from error
    return {row.number: row for row in rows}
