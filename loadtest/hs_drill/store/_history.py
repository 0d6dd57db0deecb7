"""The history of a run: what every write did, and what failed and sampled reads saw, one record of 47 bytes each.

Each process of a run appends to a file of its own, as it happens; a crash loses at most what was not yet flushed, and may
leave half a record, which the reader leaves out. Without the closing record a history counts as cut: nobody knows what is
missing at its end.

A file is `MAGIC` and blocks with checksums (`_blocks`). The first one is the header (msgpack, with the number of the format),
the others hold records of one size. Texts (kinds of error, servers, events) are spread over records of their own.

Format 1 is read as well: `MAGIC_1`, the length of the header (4 bytes, little-endian), the header and the records, without
blocks or checksums; its records have no n.

Times are nanoseconds of CLOCK_MONOTONIC, which all processes of one machine share; the header names the boot of the machine,
so that clocks that mean different things are not compared, and holds one moment in both clocks for people.
"""

from __future__ import annotations

import heapq
import math
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import msgpack

from hs_drill.metrics import FaultWindow

from ._blocks import HEAD_BYTES, BlockError, Blocks, seal
from ._events import Event, HistoryFaultWindow
from ._records import ANOTHER, NO_COUNT, OWN, PIECE, RECORD, RECORD_1, TAIL, Operation, Outcome, Record

__all__ = [
    "Header",
    "History",
    "HistoryError",
    "HistoryWriter",
    "merge",
    "unix_faults",
]

FORMAT = 2
MAGIC = b"trio-hs\x00\x02history\n"
MAGIC_1 = b"trio-hs\x00history\n"
"""Of format 1. Hardly a byte is the same, so that no damage makes the one of the other, which has no checksums."""
FLUSH_BYTES = 64 * 1024
CHUNK_RECORDS = 8192
LONGEST = 2**32 - 1


class HistoryError(Exception):
    """The file is no history that this version can read; one line for the user."""


@dataclass(frozen=True)
class Header:
    """What a history says about itself."""

    worker: int
    """The number of the worker that wrote it; -1 is the controller, which writes events only."""
    run: int
    clock: str
    """Times of two histories can be compared when this is equal: the machine's boot."""
    monotonic_ns: int
    """One moment, as `time.monotonic_ns()` ..."""
    unix_ns: int
    """... and as `time.time_ns()` told it."""
    reads_primary: bool = False
    """Reads went to the server that takes the writes, and to no other: there was none."""

    def unix(self, moment: int) -> float:
        """Unix time, in seconds, of a time in the history."""
        return (self.unix_ns + moment - self.monotonic_ns) / 1e9


def _this_boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"  # not Linux, where one machine is all that we compare


class HistoryWriter:
    """Appends to a new file. Not safe for use by several threads.

    Nothing reaches the file before `flush`, except when more than 64 KiB have gathered: call it every quarter of a second.
    Writing blocks, for as long as the page cache takes. Raises `OSError` when the file cannot be made or written, which no
    run should survive: its audit would be worth nothing.
    """

    def __init__(
        self,
        path: Path,
        *,
        worker: int,
        run: int = 1,
        reads_primary: bool = False,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._clock = clock
        self._file: IO[bytes] = path.open("xb", buffering=0)
        self._size = self._file.write(MAGIC)
        self._buffer = bytearray(HEAD_BYTES)
        self._errors: dict[str, int] = {}
        self._servers: dict[str, int] = {}
        self._records = 0
        header = {
            "format": FORMAT,
            "worker": worker,
            "run": run,
            "clock": _this_boot(),
            "monotonic_ns": clock(),
            "unix_ns": time.time_ns(),
            "reads_primary": reads_primary,
        }
        self._buffer += msgpack.packb(header)
        self.flush()

    def append(
        self,
        operation: int,
        outcome: int,
        key: int,
        value: int,
        start: int,
        end: int,
        user: int,
        *,
        n: int = NO_COUNT,
        delay: int = 0,
        error: int = ANOTHER,
        server: int = ANOTHER,
    ) -> None:
        """Add an operation that ended just now: within one file, the ends must ascend.

        `start` and `end` are nanoseconds, `delay` the nanoseconds from the intended start to `start`; `error` and `server`
        come from the methods of that name. `n` is the counter that a read saw.
        """
        lasted, late = -((start - end) // 1000), delay // 1000
        if lasted > LONGEST or late > LONGEST:
            lasted, late = min(lasted, LONGEST), min(late, LONGEST)
        buffer = self._buffer
        buffer += RECORD.pack(key, value, n, end, lasted, late, user, operation << 2 | outcome, error, server)
        self._records += 1
        if len(buffer) > FLUSH_BYTES:
            self.flush()

    def error(self, kind: str) -> int:
        """The index of a kind of error, for `append`. There is room for 255; the others share one."""
        return self._index(self._errors, Operation.ERROR, kind)

    def server(self, name: str) -> int:
        """The index of a server, for `append`."""
        return self._index(self._servers, Operation.SERVER, name)

    def event(self, kind: str, name: str = "", **details: Any) -> None:
        """Add an event that happens now, and flush. `details` are what msgpack can carry."""
        self._own(Operation.EVENT, 0, msgpack.packb([self._clock(), kind, name, details]))
        self.flush()

    def flush(self) -> None:
        """Write what has gathered, as one block."""
        if len(self._buffer) == HEAD_BYTES:
            return
        seal(self._buffer, self._size)
        self._size += len(self._buffer)
        data = memoryview(self._buffer)
        self._buffer = bytearray(HEAD_BYTES)
        while data:
            data = data[self._file.write(data) :]

    def close(self) -> None:
        """Write the closing record, which says that nothing is missing. Without effect the second time."""
        if not self._file.closed:
            self._own(Operation.END, 0, self._records.to_bytes(8, "little"))
            self.flush()
            self._file.close()

    def abandon(self) -> None:
        """Close without it: whoever writes this history knows that something is missing."""
        if not self._file.closed:
            self.flush()
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _index(self, known: dict[str, int], operation: Operation, text: str) -> int:
        index = known.get(text)
        if index is None:
            if len(known) == ANOTHER:
                return ANOTHER
            index = known[text] = len(known)
            self._own(operation, index, text.encode(errors="replace"))
        return index

    def _own(self, operation: Operation, index: int, text: bytes) -> None:
        for at in range(0, len(text) + 1, PIECE):
            piece = text[at : at + PIECE]
            self._buffer += piece.ljust(PIECE, b"\0") + TAIL.pack(operation << 2, index, len(piece))
            self._records += 1


class History:
    """A history file, read as often as wanted. Raises `HistoryError` for what is none.

    `events`, `errors`, `servers`, `complete` and `damage` are known once it has been read to its end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header, self._start, self._record = _read_header(path)
        self.events: list[Event] = []
        self.errors: dict[int, str] = {}
        self.servers: dict[int, str] = {}
        self.complete = False
        """The closing record is there: nothing is missing at the end."""
        self.damage = ""
        """Why it could not be read to its end, in words."""

    def chunks(self) -> Iterator[bytes]:
        """The operations' records, for `entries`, many at a time; half a record or block at the end is left out."""
        self.events, self.errors, self.servers, self.complete, self.damage = [], {}, {}, False, ""
        texts: dict[tuple[int, int], bytes] = {}
        seen, size = 0, self._record.size
        code_at = size - TAIL.size
        for data in self._parts():
            own = [i for i, code in enumerate(data[code_at::size]) if code >= OWN]
            at = 0
            for i in own:
                if at < i * size:
                    yield data[at : i * size]
                at = (i + 1) * size
                self._note(data[at - size : at], texts, seen + i)
            if at < len(data):
                yield data[at:]
            seen += len(data) // size

    def readable(self) -> Iterator[bytes]:
        """The same as far as it can be read: `damage` tells where that is not the whole."""
        try:
            yield from self.chunks()
        except HistoryError as error:
            self.complete, self.damage = False, str(error)

    def read_through(self) -> None:
        """For what is known then."""
        for _ in self.readable():
            pass

    def entries(self, chunk: bytes) -> Iterator[tuple[int, int, int, int, int, int, int, int, int, int]]:
        """The fields of each record of a chunk: see `RECORD`."""
        if self._record is RECORD:
            return RECORD.iter_unpack(chunk)
        return ((key, value, NO_COUNT, *rest) for key, value, *rest in RECORD_1.iter_unpack(chunk))

    def _parts(self) -> Iterator[bytes]:
        size = self._record.size
        if self._record is RECORD_1:
            with self.path.open("rb") as file:
                file.seek(self._start)
                while data := file.read(size * CHUNK_RECORDS):
                    yield data[: len(data) - len(data) % size]
            return
        try:
            for data in Blocks(self.path, self._start):
                if len(data) % size:
                    raise BlockError("has a block that is not of whole records")
                yield data
        except BlockError as error:
            raise HistoryError(f"{self.path}: {error}") from error

    def records(self) -> Iterator[Record]:
        """Every operation, in the order of the ends."""
        worker = self.header.worker
        for chunk in self.chunks():
            for key, value, n, end, lasted, delay, user, code, error, server in self.entries(chunk):
                start = end - 1000 * lasted
                yield Record(
                    worker,
                    user,
                    _operation(code >> 2, self.path),
                    Outcome(code & 3),
                    key,
                    value,
                    start - 1000 * delay,
                    start,
                    end,
                    self.errors.get(error, ""),
                    self.servers.get(server, ""),
                    n,
                )

    def _note(self, record: bytes, texts: dict[tuple[int, int], bytes], before: int) -> None:
        """Take one of the file's own records in; `before` is how many records there were before it."""
        piece = record[: -TAIL.size]
        code, index, length = TAIL.unpack(record[-TAIL.size :])
        text = texts.pop((code, index), b"") + piece[:length]
        if length == len(piece):
            texts[code, index] = text
            return
        match _operation(code >> 2, self.path):
            case Operation.ERROR:
                self.errors[index] = text.decode(errors="replace")
            case Operation.SERVER:
                self.servers[index] = text.decode(errors="replace")
            case Operation.EVENT:
                try:
                    self.events.append(Event(*msgpack.unpackb(text)))
                except (ValueError, TypeError, msgpack.UnpackException) as error:
                    raise HistoryError(f"{self.path}: a damaged event: {error}") from error
            case Operation.END:
                self.complete = int.from_bytes(text, "little") == before


def merge(histories: Sequence[History]) -> Iterator[Record]:
    """The records of several histories in the order of their ends, one of each in memory at a time.

    Raises `HistoryError` when their times cannot be compared, for they come from different machines.
    """
    if len({history.header.clock for history in histories}) > 1:
        raise HistoryError("the histories come from different machines, whose clocks cannot be compared")
    return heapq.merge(*(history.records() for history in histories), key=lambda record: record.end)


def _operation(number: int, path: Path) -> Operation:
    try:
        return Operation(number)
    except ValueError:
        raise HistoryError(f"{path}: a damaged record, of an operation {number}") from None


def _read_header(path: Path) -> tuple[Header, int, struct.Struct]:
    """The header, where what follows begins, and what its records are."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
            if magic == MAGIC:
                packed, start = Blocks(path, len(MAGIC)).first()
            elif magic.startswith(MAGIC_1):
                file.seek(len(MAGIC_1))
                packed = file.read(int.from_bytes(file.read(4), "little"))
                start = file.tell()
            else:
                raise HistoryError(f"{path}: is no history of a run")
            data = msgpack.unpackb(packed)
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, msgpack.UnpackException, BlockError) as error:
        raise HistoryError(f"{path}: its header is damaged or cut") from error
    expected = FORMAT if magic == MAGIC else 1
    if isinstance(data, dict) and data.pop("format", expected) != expected:
        raise HistoryError(f"{path}: has a format that this version does not read; it reads formats 1 to {FORMAT}")
    try:
        return Header(**data), start, RECORD if magic == MAGIC else RECORD_1
    except TypeError as error:
        raise HistoryError(f"{path}: its header is damaged or cut") from error


def unix_faults(windows: Iterable[HistoryFaultWindow], header: Header) -> list[FaultWindow]:
    """The windows of a history, by the clock that batches use. `header` is that of any history of the same machine."""
    return [_unix_fault(window, header) for window in windows]


def _unix_fault(window: HistoryFaultWindow, header: Header) -> FaultWindow:
    end = None if window.end is None else header.unix(window.end)
    if window.certain is None:
        return FaultWindow(window.name, header.unix(window.start), end, math.inf)
    struck, healing = window.certain
    return FaultWindow(
        window.name, header.unix(window.start), end, header.unix(struck), None if healing is None else header.unix(healing)
    )
