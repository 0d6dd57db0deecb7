"""The history of a run: what every write did, and what failed and sampled reads saw, in a record of 47 bytes each.

Each process of a run appends to its own file while the run goes on. A crash loses at most what was not flushed yet, and may
leave half a record, which readers ignore. A history without the closing record counts as cut: it is unknown what is missing at
its end.

A file is `MAGIC` and blocks with checksums (`_blocks`). The first block is the header (msgpack, with the number of the format).
The others hold records of the same size. Texts (kinds of error, servers, events) are spread over records of their own.

Older formats can be read, too. In format 2 the header lists no operations. Format 1 is `MAGIC_1`, the length of the header (4
bytes, little-endian), the header, and records without n; it has no blocks and no checksums.

Times are nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share. The header names the machine's boot, so that
unrelated clocks are not compared, and gives one moment in this clock and in Unix time.
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
from ._records import (
    ANOTHER,
    FIRST_OWN_CODE,
    NO_COUNT,
    PIECE,
    RECORD,
    RECORD_1,
    TAIL,
    MixOperation,
    Operation,
    Outcome,
    Record,
)

__all__ = [
    "Header",
    "History",
    "HistoryError",
    "HistoryWriter",
    "merge",
    "unix_faults",
]

FORMAT = 3
MAGIC = b"trio-hs\x00\x02history\n"
"""The magic of formats 2 and 3, which the header tells apart."""
MAGIC_1 = b"trio-hs\x00history\n"
"""The magic of format 1. Nearly every byte differs, so that no damage turns format 2 into format 1, which has no checksums."""
FLUSH_BYTES = 64 * 1024
CHUNK_RECORDS = 8192
LONGEST = 2**32 - 1


class HistoryError(Exception):
    """The file is not a history that this version can read; one line for the user."""


@dataclass(frozen=True)
class Header:
    """What a history says about itself."""

    worker: int
    """The number of the worker that wrote it; -1 for the controller, which writes only events."""
    run: int
    clock: str
    """The machine's boot. Times of histories with the same clock can be compared."""
    monotonic_ns: int
    """One moment by `time.monotonic_ns()` ..."""
    unix_ns: int
    """... and by `time.time_ns()`."""
    reads_primary: bool = False
    """Reads went to the server that takes the writes, since there was no other."""
    operations: tuple[MixOperation, ...] = ()
    """What the mix does. Empty: the operations have the names and numbers of their kinds."""

    def unix(self, moment: int) -> float:
        """Unix time, in seconds, of a time in the history."""
        return (self.unix_ns + moment - self.monotonic_ns) / 1e9


def _this_boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"  # not Linux; there all histories come from one machine


class HistoryWriter:
    """Appends to a new file. Not thread-safe.

    Records reach the file on `flush`, or when more than 64 KiB have gathered: call `flush` every quarter of a second. Writing
    blocks for as long as the page cache takes. Raises `OSError` when the file cannot be created or written. Such an error
    should end the run: its audit would be worthless.
    """

    def __init__(
        self,
        path: Path,
        *,
        worker: int,
        run: int = 1,
        reads_primary: bool = False,
        operations: Iterable[MixOperation] = (),
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
            "operations": [operation.to_header() for operation in operations],
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
        """Add an operation that has just ended. Within a file, the ends must ascend.

        `operation` is a kind, or the code of one of the header's operations. `start` and `end` are nanoseconds, `delay` the
        nanoseconds from the intended start to `start`; `error` and `server` come from the methods of that name. `n` is the
        counter that a read saw.
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
        """The index of a kind of error, for `append`. 255 kinds have their own; all others share one."""
        return self._index(self._errors, Operation.ERROR, kind)

    def server(self, name: str) -> int:
        """The index of a server, for `append`."""
        return self._index(self._servers, Operation.SERVER, name)

    def event(self, kind: str, name: str = "", *, at: int | None = None, **details: Any) -> None:
        """Add an event that happens now, or that happened `at` a time of the history's clock, and flush. `details` must suit
        msgpack."""
        self._append_own(Operation.EVENT, 0, msgpack.packb([self._clock() if at is None else at, kind, name, details]))
        self.flush()

    def flush(self) -> None:
        """Write the gathered records as one block."""
        if len(self._buffer) == HEAD_BYTES:
            return
        seal(self._buffer, self._size)
        self._size += len(self._buffer)
        data = memoryview(self._buffer)
        self._buffer = bytearray(HEAD_BYTES)
        while data:
            data = data[self._file.write(data) :]

    def close(self) -> None:
        """Write the closing record, which says that nothing is missing, and close. A second call does nothing."""
        if not self._file.closed:
            self._append_own(Operation.END, 0, self._records.to_bytes(8, "little"))
            self.flush()
            self._file.close()

    def abandon(self) -> None:
        """Close without the closing record, because something is missing."""
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
            self._append_own(operation, index, text.encode(errors="replace"))
        return index

    def _append_own(self, operation: Operation, index: int, text: bytes) -> None:
        for at in range(0, len(text) + 1, PIECE):
            piece = text[at : at + PIECE]
            self._buffer += piece.ljust(PIECE, b"\0") + TAIL.pack(operation << 2, index, len(piece))
            self._records += 1


class History:
    """A history file, which can be read repeatedly. Raises `HistoryError` if the file is not a history.

    `events`, `errors`, `servers`, `complete` and `damage` are valid once it has been read to its end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header, self._start, self._record = _read_header(path)
        self.events: list[Event] = []
        self.errors: dict[int, str] = {}
        self.servers: dict[int, str] = {}
        self.complete = False
        """It has the closing record, so nothing is missing at the end."""
        self.damage = ""
        """Why it could not be read to its end; one line."""

    def chunks(self) -> Iterator[bytes]:
        """Records of operations, many at a time, for `entries`. Ignores an incomplete record or block at the end."""
        self.events, self.errors, self.servers, self.complete, self.damage = [], {}, {}, False, ""
        texts: dict[tuple[int, int], bytes] = {}
        seen, size = 0, self._record.size
        code_at = size - TAIL.size
        for data in self._parts():
            own = [i for i, code in enumerate(data[code_at::size]) if code >= FIRST_OWN_CODE]
            at = 0
            for i in own:
                if at < i * size:
                    yield data[at : i * size]
                at = (i + 1) * size
                self._read_own(data[at - size : at], texts, seen + i)
            if at < len(data):
                yield data[at:]
            seen += len(data) // size

    def readable(self) -> Iterator[bytes]:
        """The same, up to any damage; `damage` then says why."""
        try:
            yield from self.chunks()
        except HistoryError as error:
            self.complete, self.damage = False, str(error)

    def read_through(self) -> None:
        """Read to the end, so that `events` and the like are valid."""
        for _ in self.readable():
            pass

    def entries(self, chunk: bytes) -> Iterator[tuple[int, int, int, int, int, int, int, int, int, int]]:
        """The fields of each record of a chunk: see `RECORD`."""
        if self._record is RECORD:
            return RECORD.iter_unpack(chunk)
        return ((key, value, NO_COUNT, *rest) for key, value, *rest in RECORD_1.iter_unpack(chunk))

    def in_this_format(self, chunk: bytes) -> bytes:
        """A chunk as records of the present format, `RECORD`."""
        return chunk if self._record is RECORD else b"".join(RECORD.pack(*entry) for entry in self.entries(chunk))

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

    @property
    def record_size(self) -> int:
        """Bytes of an operation."""
        return self._record.size

    def records(self) -> Iterator[Record]:
        """Every operation, by ascending end."""
        worker = self.header.worker
        listed = {operation.code: operation for operation in self.header.operations}
        for chunk in self.chunks():
            for key, value, n, end, lasted, delay, user, code, error, server in self.entries(chunk):
                start = end - 1000 * lasted
                operation = listed.get(code >> 2)
                yield Record(
                    worker,
                    user,
                    operation.do if operation is not None else _operation(code >> 2, self.path),
                    Outcome(code & 3),
                    key,
                    value,
                    start - 1000 * delay,
                    start,
                    end,
                    self.errors.get(error, ""),
                    self.servers.get(server, ""),
                    n,
                    operation.name if operation is not None else "",
                )

    def _read_own(self, record: bytes, texts: dict[tuple[int, int], bytes], before: int) -> None:
        """Process one of the file's own records, which has `before` records before it."""
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
    """The records of several histories by ascending end, with one of each in memory at a time.

    Raises `HistoryError` when they come from different machines, so that their times cannot be compared.
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
    """The header, the place where the records begin, and their layout."""
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
                raise HistoryError(f"{path}: is not a history of a run")
            data = msgpack.unpackb(packed)
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, msgpack.UnpackException, BlockError) as error:
        raise HistoryError(f"{path}: its header is damaged or cut") from error
    formats = (2, FORMAT) if magic == MAGIC else (1,)
    if isinstance(data, dict) and data.pop("format", formats[0]) not in formats:
        raise HistoryError(f"{path}: has a format that this version cannot read; it reads formats 1 to {FORMAT}")
    try:
        operations = tuple(MixOperation.of_header(entry) for entry in data.pop("operations", ()))
        return Header(**data, operations=operations), start, RECORD if magic == MAGIC else RECORD_1
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise HistoryError(f"{path}: its header is damaged or cut") from error


def unix_faults(windows: Iterable[HistoryFaultWindow], header: Header) -> list[FaultWindow]:
    """Convert windows to Unix time, which batches use. `header` is of any history of the same machine."""
    return [_unix_fault(window, header) for window in windows]


def _unix_fault(window: HistoryFaultWindow, header: Header) -> FaultWindow:
    end = None if window.end is None else header.unix(window.end)
    if window.certain is None:
        return FaultWindow(window.name, header.unix(window.start), end, math.inf)
    struck, healing = window.certain
    return FaultWindow(
        window.name, header.unix(window.start), end, header.unix(struck), None if healing is None else header.unix(healing)
    )
