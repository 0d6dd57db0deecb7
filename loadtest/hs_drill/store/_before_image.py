"""What rows of a user's own table held before a run, from which `hs-drill restore` puts them back.

The file is whole, and on the disk, before the run's first write. Whether a run has begun to write is kept beside it
(`RunDirectory.begin_writing`): one that is not whole says nothing about that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
    """A before-image cannot be kept or read, also because of the disk; one line for the user.

    No OSError: those that come out where the database is asked too are taken for the database's.
    """


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


@contextmanager
def _kept(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BeforeImageError(f"{path}: cannot be kept: {error.strerror}. Nothing was written to the table") from error


class BeforeImageWriter:
    """Writes a before-image block by block. It is whole when its block ends without an exception. Raises `BeforeImageError`."""

    def __init__(self, path: Path, header: ImageHeader) -> None:
        self._path = path
        with _kept(path):
            # Rows of the user's: for nobody else's eyes.
            self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
            self._file.write(MAGIC)
            self._add(msgpack.packb(asdict(header)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            with suppress(OSError):  # of what it has not written yet
                self._file.close()
            return
        with _kept(self._path):
            with self._file:
                self._add(b"")
                self._file.flush()
                os.fsync(self._file.fileno())
            sync(self._path.parent)  # so that the file's name survives, too

    def add(self, rows: Sequence[Sequence[bytes | None]]) -> None:
        """Append rows, with a value for each of the header's columns."""
        if rows:
            with _kept(self._path):
                self._add(msgpack.packb([list(row) for row in rows]))

    def _add(self, payload: bytes) -> None:
        self._file.write(block_of(payload, self._file.tell()))


def header_of(path: Path) -> ImageHeader | None:
    """The header of a before-image, whether or not its rows are whole; None if it is cut. Raises `BeforeImageError` and
    OSError."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return None
    try:
        payload = next(iter(Blocks(path, len(MAGIC))), None)
        return None if payload is None else ImageHeader(**msgpack.unpackb(payload))
    except (BlockError, ValueError, TypeError, msgpack.UnpackException) as error:
        raise BeforeImageError(f"{path}: is damaged: {error}") from error


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
        except (BlockError, OSError) as error:
            self.flaw = _flaw(error)
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise BeforeImageError(f"{self._path}: is damaged: {error}") from error
        else:
            self.flaw = "" if blocks.closed and self.header is not None else "is cut"

    def blocks(self) -> Iterator[list[Row]]:
        """The rows before the flaw, some at a time."""
        left, flaw = self.rows, "is cut"
        try:
            blocks = iter(Blocks(self._path, len(MAGIC)))
            next(blocks, None)
            for payload in blocks:
                rows = msgpack.unpackb(payload)
                left -= len(rows)
                yield rows
        except (BlockError, OSError) as error:
            flaw = _flaw(error)
        if left:  # there were more when it was looked through
            raise BeforeImageError(f"{self._path}: {flaw}")


def _flaw(error: BlockError | OSError) -> str:
    return f"cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)
