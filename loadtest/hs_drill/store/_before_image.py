"""What rows of a user's own table held before a run, from which `hs-drill restore` puts them back.

The file is whole, and on the disk, before the run's first write. Whether a run has begun to write is kept beside it
(`RunDirectory.begin_writing`): one that is not whole says nothing about that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import msgpack

from ._blocks import BlockError, Blocks, block_of
from ._durable import sync

__all__ = ["BeforeImage", "BeforeImageError", "BeforeImageWriter", "ImageHeader"]

MAGIC = b"trio-hs\x00\x01before image\n"
Row = list[bytes | None]


class BeforeImageError(Exception):
    """A before-image cannot be read; one line for the user."""


@dataclass(frozen=True)
class ImageHeader:
    """Of which table the rows are, and what the run may do to it."""

    database: str
    table: str
    definition: str
    """Its CREATE TABLE."""
    columns: list[str]
    """In the order of the rows' values."""
    written: list[str]
    """Those that the run may change."""
    run: int
    """Its number, from which the keys of the rows that it inserts follow."""
    inserts: bool
    logged: bool
    """Whether its writes go into the binary log."""
    servers: Mapping[str, str]
    """The names of the servers, by what identifies each: where the server itself says that it runs, and its number."""
    created: Mapping[str, str]
    """When each of these created the table, or built it anew: a copy of a server has another time."""
    source: str
    """What identifies the server that the rows are from."""
    rows: int
    """How many the image has if it is whole."""


class BeforeImageWriter:
    """Writes a before-image block by block. It is whole when its block ends without an exception."""

    def __init__(self, path: Path, header: ImageHeader) -> None:
        self._path = path
        # Rows of the user's: for nobody else's eyes.
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._file.write(MAGIC)
        self._add(msgpack.packb(asdict(header)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._add(b"")
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            self._file.close()
        if kind is None:
            sync(self._path.parent)  # so that the file's name survives, too

    def add(self, rows: Sequence[Sequence[bytes | None]]) -> None:
        """Append rows, with a value for each of the header's columns."""
        if rows:
            self._add(msgpack.packb([list(row) for row in rows]))

    def _add(self, payload: bytes) -> None:
        self._file.write(block_of(payload, self._file.tell()))


class BeforeImage:
    """A kept before-image, as far as it is whole. Raises `BeforeImageError` and OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
        if start != MAGIC[: len(start)]:
            raise BeforeImageError(f"{path}: is no before-image of this version of hs-drill")
        self.flaw = "is cut"
        """What is wrong with the file; empty if it is whole."""
        self.rows = 0
        """Those before the flaw."""
        self.header: ImageHeader | None = None
        """None if the flaw comes before its end."""
        if len(start) == len(MAGIC):
            self._look_through()

    def _look_through(self) -> None:
        """Check every block, before anything is put back."""
        blocks = Blocks(self._path, len(MAGIC))
        try:
            for number, payload in enumerate(blocks):
                if number:
                    self.rows += len(msgpack.unpackb(payload))
                else:
                    self.header = ImageHeader(**msgpack.unpackb(payload))
        except BlockError as error:
            self.flaw = str(error)
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise BeforeImageError(f"{self._path}: is damaged: {error}") from error
        else:
            self.flaw = "" if blocks.closed and self.header is not None else "is cut"

    def blocks(self) -> Iterator[list[Row]]:
        """The rows before the flaw, some at a time."""
        blocks = iter(Blocks(self._path, len(MAGIC)))
        next(blocks, None)
        try:
            for payload in blocks:
                yield msgpack.unpackb(payload)
        except BlockError as error:
            if not self.flaw:  # it was whole when it was looked through
                raise BeforeImageError(f"{self._path}: {error}") from error
