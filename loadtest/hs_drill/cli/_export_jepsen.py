"""The history as Jepsen's checkers read it: EDN, an operation's beginning and end on lines of their own, in the order of time.

1. A record says when an operation began and ended, but records come by their ends. `_Sorter` brings both moments in order. It
   keeps on the disk what may not fit into memory.
2. Of moments that are equal the beginnings come first: then the operations overlap, and nothing is claimed about their order.
3. A process does one operation after the other, and none after one of unknown outcome. So a user is one process until that
   happens, and another one after it. The history rounds a beginning down, by up to a microsecond. If it falls before the end of
   the user's operation before, another process of that user takes it: moving it would claim an order that is not known.
4. First of all come the writes that left what each row held before the run, last of all the reads of what the primary held at
   the end. So checkers need to be told neither.
"""

from __future__ import annotations

import heapq
import json
import re
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from hs_drill.store import ANSWERED_WRITES, Event, RecordedOperation, state_of
from hs_drill.workload import ABSENT

__all__ = ["WORKLOADS", "Held", "HeldBy", "JepsenHistory"]

WORKLOADS = ("register", "rw-register", "counter")
SORTED_AT_ONCE = 200_000
"""Moments in memory, about 60 MB, before they go to the disk."""
_MOMENT = struct.Struct("<qBqqBBqIqIIIII")
_TYPES = ("invoke", "ok", "fail", "info")
_KEYWORD = re.compile(r"[a-z][a-z0-9-]*")


class _Moment(NamedTuple):
    """The beginning or the end of an operation. They sort by their first three fields."""

    time: int
    ends: int
    """0 for a beginning, 1 for an end."""
    number: int
    process: int
    type: int
    """Its place in `_TYPES`."""
    writes: int
    row: int
    column: int
    """Of a counter. This and the next ones are places in `_Texts`."""
    value: int
    name: int
    error: int
    server: int
    worker: int
    user: int


class Held(NamedTuple):
    """What a row held before or after the run."""

    row: int
    version: int
    """Or `ABSENT`."""
    counters: tuple[int, ...]
    """Before the run also those that a row will be inserted with."""


HeldBy = Callable[[Iterable[int]], Iterable[Held]]
"""Takes numbers of rows that ascend, and gives what each of them held."""


class _RowSet:
    """Numbers of rows, of which those that are near each other take one bit each."""

    PAGE = 2**15

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def add(self, row: int) -> None:
        page, place = divmod(row, self.PAGE)
        bits = self._pages.get(page)
        if bits is None:
            bits = self._pages[page] = bytearray(self.PAGE // 8)
        bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, row: int) -> bool:
        page, place = divmod(row, self.PAGE)
        bits = self._pages.get(page)
        return bits is not None and bool(bits[place >> 3] >> (place & 7) & 1)

    def __iter__(self) -> Iterator[int]:
        """By ascending number."""
        for page in sorted(self._pages):
            for at, byte in enumerate(self._pages[page]):
                if byte:
                    yield from (page * self.PAGE + at * 8 + bit for bit in range(8) if byte >> bit & 1)


class _Sorter:
    """Sorts moments. Those that do not fit into memory wait in a temporary file, in parts that are sorted."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._parts: list[tuple[int, int]] = []
        self._open: list[_Moment] = []

    def add(self, moment: _Moment) -> None:
        self._open.append(moment)
        if len(self._open) >= SORTED_AT_ONCE:
            self._open.sort()
            self._parts.append((self._file.tell(), len(self._open)))
            for one in self._open:
                self._file.write(_MOMENT.pack(*one))
            self._open.clear()

    def __iter__(self) -> Iterator[_Moment]:
        self._open.sort()
        return map(_Moment._make, heapq.merge(*(self._part(*part) for part in self._parts), self._open))

    def _part(self, place: int, count: int) -> Iterator[tuple[int, ...]]:
        while count:
            self._file.seek(place)
            data = self._file.read(_MOMENT.size * min(count, 1024))
            yield from _MOMENT.iter_unpack(data)
            place, count = place + len(data), count - len(data) // _MOMENT.size


class _Processes:
    """Numbers of processes for the operations of users, in the order of their ends."""

    def __init__(self, first: int) -> None:
        self._next = first
        self._of: dict[tuple[int, int], list[list[int]]] = {}
        """By user: number, and end of its last operation."""

    def take(self, one: RecordedOperation) -> int:
        free = self._of.setdefault((one.worker, one.user), [])
        mine = next((process for process in free if process[1] < one.start), None)
        if mine is None:
            mine = [self._next, one.end]
            self._next += 1
            free.append(mine)
        mine[1] = one.end
        if one.outcome == "info":
            free.remove(mine)
        return mine[0]


class _Texts(dict[str, int]):
    """A number for each text."""

    def __missing__(self, text: str) -> int:
        self[text] = len(self)
        return self[text]


@dataclass
class JepsenHistory:
    """A history for one of `WORKLOADS`; the page docs/history.md says what each holds. `write` writes it."""

    workload: str
    counters: tuple[str, ...]
    """The table's, in its order."""
    origin: int
    row: int | None = None
    """The only row to export, whose values are then not tuples with the row's number."""
    left_out: Counter[str] = field(default_factory=Counter)
    """How many operations are not in the file, by the reason. Valid after `write`."""
    operations: int = 0
    """How many of the run's are in it."""
    decrements: int = 0
    """How many of these are negative adds, which Jepsen's checker of counters does not take."""

    def write(
        self,
        out: IO[str],
        operations: Iterable[RecordedOperation],
        events: Iterable[Event],
        before: HeldBy,
        after: HeldBy | None,
        header: Callable[[], Iterable[str]],
        folder: Path | None,
        watched: Callable[[Iterable[_Moment | Event], int], Iterable[_Moment | Event]] = lambda lines, about: lines,
    ) -> None:
        """`before` and `after` say what the rows held; `after` is None if that is not known. `header` gives comments for the
        beginning of the file, and is called when all operations have been read. `folder` takes the temporary file. `watched` is
        given the lines, and about how many there will be, to follow the progress."""
        self._texts = _Texts({"": 0})
        self._touched, self._deleted = _RowSet(), _RowSet()
        self._index = 0
        with tempfile.TemporaryFile(dir=folder) as file:
            moments = _Sorter(file)
            last = self._sort(operations, moments)
            out.writelines(f"; {line}\n" for line in header())
            self._names = list(self._texts)
            self._write_held(out, "before", before(self._touched), 0)
            # Of a single row none: Knossos' own command line expects no other processes than the row's.
            nemesis = [event for event in events if event.kind != ANSWERED_WRITES and self.row is None]
            merged: Iterator[_Moment | Event] = heapq.merge(moments, nemesis, key=lambda one: one.time)
            for one in watched(merged, 2 * self.operations):
                if isinstance(one, Event):
                    self._write_event(out, one)
                else:
                    self._write_moment(out, one)
            if after is not None:
                last = max([last, *(event.time for event in nemesis)])
                self._write_held(out, "after", after(self._touched), last - self.origin)

    # ---- what is in it

    def _sort(self, operations: Iterable[RecordedOperation], moments: _Sorter) -> int:
        """Add every operation's moments. Gives the last one's time."""
        processes, texts, last = _Processes(2), self._texts, self.origin
        for one in operations:
            if self.row is not None and one.row != self.row:
                continue
            reason = self._reason_against(one)
            if reason:
                self.left_out[reason] += 1
                continue
            reads = one.kind in ("get", "find", "get_many")
            # A read that found no row has seen that, whatever the harness counts it as.
            outcome = ("ok" if one.state != "unseen" else "fail") if reads else one.outcome
            value = one.value
            if self.workload == "counter":
                value = one.counter if one.counter is not None else -value if one.kind == "decr" else value
                self.decrements += not reads and value < 0
            moment = _Moment(
                one.start, 0, self.operations, processes.take(one), 0, not reads, one.row, texts[one.counter_column], value,
                texts[one.name], texts[one.error], texts[one.server], one.worker, one.user,
            )  # fmt: skip
            moments.add(moment)
            moments.add(moment._replace(time=one.end, ends=1, type=_TYPES.index(outcome)))
            self._touched.add(one.row)
            self.operations += 1
            last = max(last, one.end)
        return last

    def _reason_against(self, one: RecordedOperation) -> str:
        if one.row <= 0:
            return "of a row that no run makes"
        reads = one.kind in ("get", "find", "get_many")
        if self.workload == "counter":
            if one.state != "step" and not reads:
                return "writes that are no steps of a counter"
            return "reads that show no counter" if reads and one.counter is None else ""
        if one.state == "step":
            return "steps of counters"
        return "reads that show no version" if one.state == "unseen" and one.outcome == "ok" else ""

    # ---- as text

    def _write_held(self, out: IO[str], when: str, rows: Iterable[Held], time: int) -> None:
        """What the rows held `before` (as writes) or `after` (as reads) the run, each acknowledged before the next began."""
        writes = when == "before"
        for row, version, counters in rows:
            if self.row is not None and row != self.row:
                continue
            if self.workload != "counter":
                if writes and version == ABSENT and self.workload == "rw-register":
                    continue  # Elle takes every key for nil before its first write
                self._write_pair(out, writes, row, "", version, time, when)
                continue
            for column, counter in zip(self.counters, counters, strict=False):
                if counter or not writes:
                    self._write_pair(out, writes, row, column, counter, time, when)

    def _write_pair(self, out: IO[str], writes: bool, row: int, column: str, value: int, time: int, when: str) -> None:
        for type_ in ("invoke", "ok"):
            what = self._what(writes, type_, row, column, value)
            out.write(self._line(0 if writes else 1, type_, what, time, f":when :{when}"))

    def _write_moment(self, out: IO[str], one: _Moment) -> None:
        names, type_ = self._names, _TYPES[one.type]
        if self.workload == "rw-register" and one.writes and one.value == ABSENT:
            self._deleted.add(one.row)
        more = f":name {_edn(names[one.name])}, :worker {one.worker}, :user {one.user}"
        for word, place in (("error", one.error), ("server", one.server)):
            if one.ends and names[place]:
                more += f", :{word} {_edn(names[place])}"
        what = self._what(bool(one.writes), type_, one.row, names[one.column], one.value)
        out.write(self._line(one.process, type_, what, one.time - self.origin, more))

    def _write_event(self, out: IO[str], event: Event) -> None:
        f = f":{event.kind}" if _KEYWORD.fullmatch(event.kind) else _edn(event.kind)
        what = f":f {f}, :value {_edn(event.name)}"
        out.write(self._line(":nemesis", "info", what, event.time - self.origin, f":details {_edn(event.details)}"))

    def _line(self, process: int | str, type_: str, what: str, time: int, more: str) -> str:
        line = f"{{:index {self._index}, :time {time}, :process {process}, :type :{type_}, {what}, {more}}}\n"
        self._index += 1
        return line

    def _what(self, writes: bool, type_: str, row: int, column: str, value: int) -> str:
        """The function and its value. A read's is known only when it has succeeded."""
        known = writes or type_ == "ok"
        if self.workload == "rw-register":
            return f":f :txn, :value [[:{'w' if writes else 'r'} {row} {self._version(row, value) if known else 'nil'}]]"
        if self.workload == "counter":
            f, key, shown = "add" if writes else "read", f"[{row} {_edn(column)}]", str(value)
        else:
            f, key, shown = "write" if writes else "read", str(row), self._version(row, value)
        shown = shown if known else "nil"
        return f":f :{f}, :value {shown if self.row is not None else f'[{key} {shown}]'}"

    def _version(self, row: int, value: int) -> str:
        state = state_of(value)
        if state == "absent" and self.workload == "rw-register":
            return ":deleted" if row in self._deleted else "nil"
        return str(value) if state == "version" else f":{state}"


def _edn(value: Any) -> str:
    match value:
        case None:
            return "nil"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case Mapping():
            return "{" + ", ".join(f"{_edn(key)} {_edn(one)}" for key, one in value.items()) + "}"
        case list() | tuple():
            return "[" + " ".join(map(_edn, value)) + "]"
        case _:
            return json.dumps(str(value), ensure_ascii=False)
