"""A scan of a declared table: all rows of an index, or of a range of it, chunk by chunk."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic, TypeAlias

from ._columns import Column, KeyPart, Keyset, RawToken, TypedCodec, extreme
from ._counted import counted
from ._dispatch import Dispatcher, Make, Shape, flat, made
from ._protocol import MAX_ROWS, Filter, FindOperation, Index, Ordered, find_tail, located, shown, value_list
from ._row_types import R
from .exceptions import DecodingError

__all__ = ["Scan", "open_scan", "range_of"]


Values: TypeAlias = tuple[Any, ...]


class Range:
    """What a scan reads, encoded.

    Attributes:
      order: the order of its rows.
      begin: the look-up values with which it begins; empty for the end of the index.
      runs: the filters of the runs that make it up, see `Keyset.runs`.
      filters: the user's filters.
    """

    def __init__(self, order: Keyset, equal: list[bytes], start: list[bytes], stop: list[bytes], filters: list[Filter]) -> None:
        self.order = order
        self.begin = [*equal, *start]
        self.runs = order.runs(equal, stop)
        self.filters = filters

    @property
    def filtered(self) -> list[str]:
        """The columns that its requests filter."""
        _, rest = self.order.rest_of_group([b""] * (len(self.order.parts) + len(self.order.ties)))
        conditions = [condition for request in (*self.runs, *rest, self.filters) for condition in request]
        return list(dict.fromkeys(str(condition.column) for condition in conditions))


def range_of(order: Keyset, equal: Ordered[Any], start: Ordered[Any], stop: Ordered[Any], filters: list[Filter]) -> Range:
    """Encodes what a scan reads. Raises TypeError or ValueError for what it cannot."""
    for condition in filters:
        if condition.stop:
            raise ValueError("filters: with stop=True the scan could not know where it ends; use stop= or equal=")
    same = _tokens(order, 0, equal, "equal", filtered=True)
    begin = _tokens(order, len(same), start, "start")
    return Range(order, same, begin, _tokens(order, len(same), stop, "stop", filtered=True), filters)


def _tokens(order: Keyset, begin: int, values: Ordered[Any], what: str, *, filtered: bool = False) -> list[bytes]:
    parts = order.parts[begin:]
    values = value_list(values, what)
    if len(values) > len(parts):
        rest = f"{counted(len(parts), 'column')}{' behind those in equal' if begin else ''}"
        raise ValueError(f"{what} holds {counted(len(values), 'value')}, but the index {order.name} has {rest}")
    for part, value in zip(parts, values, strict=False):
        if filtered and part.prefix is not None and value is not None:
            column = f"column {part.column.name}"
            raise ValueError(f"{what}: the index {order.name} covers only a prefix of {column}, and filters compare all of it")
    return [_token(part, value, what) for part, value in zip(parts, values, strict=False)]


def _token(part: KeyPart, value: Any, what: str) -> bytes:
    try:
        return part.encode(value)
    except (TypeError, ValueError) as error:
        raise located(what, error) from None


class Scan(Generic[R]):
    """Rows in the order of an index. Made by :meth:`DeclaredTable.scan`, for ``async for``, or for a page at a time.

    It asks for ``chunk`` rows at a time, and keeps no more than these in memory. Between two requests it holds nothing on the
    server or the connection, so it may rest for as long as it likes, and needs no closing. A row is given

    - exactly once if it is there, with the same key, and matches the filters, from the beginning of the scan to its end;
    - at most once if it is inserted or deleted meanwhile.

    Its key is the index's columns, and unless the index is unique (and NOT NULL) those of the primary key. A row whose key
    changes may be given twice, or not at all. It is no snapshot: each request sees what is committed at its time. Where several
    servers are read, each request may go to another one, and this holds for rows that are on all of them. See docs/scanning.md.

    An error or a cancellation leaves the scan where it is: it can go on. A scan belongs to one task at a time (RuntimeError).
    """

    def __init__(
        self, dispatcher: Dispatcher, index: Index, fields: int, make: Make, chunk: int, scanned: Range, after: str | None
    ) -> None:
        self._dispatcher = dispatcher
        self._index = index
        self._fields = fields
        self._make = make
        self._chunk = chunk
        self._range = scanned
        self._order = scanned.order
        self._begin = scanned.begin
        #: The rows that were read and not given yet, each with its values, and the tokens of its key behind them.
        self._rows: deque[tuple[Any, Values]] = deque()
        #: The run of the range that is being read; the last row that was read, or its marks; and whether rows
        #: of its key may be behind it.
        self._run = 0
        self._last: Values | None = None
        self._marks = None if after is None else self._order.parse(after)
        self._tied = after is not None and bool(self._order.ties)
        #: Whether it is not known yet in which run the position is with which the scan began.
        self._elsewhere = self._tied
        self._position = after
        self._given: Values | None = None
        self._chunks = 0
        self._remembered: list[bytes] | None = None
        self._busy = False

    def __repr__(self) -> str:
        return f"<Scan {'backwards ' if self._order.backwards else ''}through {self._index!r}>"

    @property
    def position(self) -> str | None:
        """The place of the last row that was given; None before the first. ``after=`` of another scan goes on behind it.

        Letters, digits, ``-`` and ``_``, good for any process. It holds the values of the key, neither encrypted nor signed.
        The row need not be there any more. Raises DecodingError for a key with a date that does not exist, such as 2024-02-31.
        """
        if self._given is not None:
            self._position = self._order.position(self._marks_of(self._given))
            self._given = None
        return self._position

    @property
    def done(self) -> bool:
        """True if all rows were given. It shows when a request has found fewer rows than it might have, so a scan whose last
        page was full is not done yet, and its next page is empty."""
        return not self._rows and self._read

    def _marks_of(self, values: Sequence[Any]) -> list[bytes]:
        return self._order.marks(values[self._fields :])

    @property
    def _read(self) -> bool:
        return self._run == len(self._range.runs) and not self._tied

    async def page(self) -> list[R]:
        """The next ``chunk`` rows; fewer at the end, and then ``[]``. A checkpoint if it asks the server.

        Raises what :meth:`Manager.find` does.
        """
        await self._read_rows(self._chunk)
        found = list(self._rows)
        self._rows.clear()
        if found:
            self._given = found[-1][1]
        return [row for row, _ in found]

    def __aiter__(self) -> Scan[R]:
        return self

    async def __anext__(self) -> R:
        """The next row. A checkpoint if it asks the server."""
        if self._busy or not self._rows:
            await self._read_rows(1)
            if not self._rows:
                raise StopAsyncIteration
        row, self._given = self._rows.popleft()
        made: R = row
        return made

    async def _read_rows(self, least: int) -> None:
        """Reads until there are ``least`` rows, or none are left."""
        if self._busy:
            raise RuntimeError("another task is using this scan; give each task a scan of its own")
        self._busy = True
        try:
            while len(self._rows) < least and not self._read:
                await self._request(self._chunk - len(self._rows))
        finally:
            self._busy = False

    async def _request(self, limit: int) -> None:
        order = self._order
        if self._last is not None:
            self._go_on_behind(self._marks_of(self._last))
        if self._tied:
            await self._request_rest_of_group(limit)
            return
        if self._marks is not None:
            operation, values = order.behind, self._marks[: len(order.parts)]
        else:
            self._begin = self._begin or await self._end_of_index()
            operation, values = order.first, self._begin
        rows = await self._find(operation, values, limit, [*self._range.runs[self._run], *self._range.filters], self._split)
        self._take(rows)
        self._tied = len(rows) == limit and bool(order.ties)
        if len(rows) < limit:
            self._run += 1
            self._tied = self._elsewhere and self._run < len(self._range.runs)

    def _go_on_behind(self, marks: list[bytes]) -> None:
        """Raises DecodingError if the scan goes round in circles, which it never does in an index with the declared columns.

        It remembers one place, each time twice as long (Brent's algorithm), so it finds circles of any length.
        """
        if marks == self._remembered:
            columns = ", ".join(part.column.name for part in self._order.parts)
            raise DecodingError(
                f"scan: rows of {self._index.db}.{self._index.table} come round again, which the index {self._order.name} does "
                f"not do if it is on {columns}, as declared; describe the table anew",
                b"\t".join(marks),
            )
        self._chunks += 1
        if self._chunks & (self._chunks - 1) == 0:
            self._remembered = marks
        self._marks, self._last = marks, None

    async def _request_rest_of_group(self, limit: int) -> None:
        assert self._marks is not None
        operation, requests = self._order.rest_of_group(self._marks)
        key = self._marks[: len(self._order.parts)]
        range_ = [*self._range.runs[self._run], *self._range.filters]
        for conditions in requests:
            rows = await self._find(operation, key, limit, [*conditions, *range_], self._split)
            if rows:
                self._take(rows)
                self._tied = len(rows) == limit or conditions is not requests[-1]
                return
        self._tied = False

    async def _end_of_index(self) -> list[bytes]:
        """The look-up values of the row with which the index begins, or what no row is beyond."""
        order = self._order
        values = [extreme(order.parts[0], lowest=order.parts[0].descending == order.backwards)]
        while True:
            found = await self._find(order.before, values, self._chunk, [], flat)
            if found:
                values = self._marks_of(found[-self._index.width :])[: len(order.parts)]
            if len(found) < self._chunk * self._index.width:
                return values

    async def _find(
        self, operation: FindOperation, values: Sequence[bytes], limit: int, filters: Sequence[Filter], shape: Shape
    ) -> list[Any]:
        tail = find_tail(self._index, self._dispatcher.codec, operation, values, limit, 0, None, filters)
        return await self._dispatcher.read(self._index, tail, "scan", shape)

    def _split(self, values: list[Any], index: Index) -> list[tuple[Any, Values]]:
        found = list(zip(*[iter(values)] * index.width, strict=True))
        return list(zip(made(self._make, found), found, strict=True))  # `make` takes as many values as there are fields

    def _take(self, rows: list[tuple[Any, Values]]) -> None:
        if rows:
            self._last = rows[-1][1]
            self._rows += rows
            self._elsewhere = False


def open_scan(
    dispatcher: Dispatcher,
    index: Index,
    columns: Sequence[Column],
    make: Make | None,
    chunk: int,
    scanned: Range,
    after: str | None,
) -> Scan[Any]:
    """The scan of a table with these columns. Its requests also read the columns of the key, as tokens."""
    if not isinstance(chunk, int) or isinstance(chunk, bool):
        raise TypeError(f"chunk must be an int, not {shown(chunk)}")
    if not 1 <= chunk <= MAX_ROWS:
        raise ValueError(f"chunk must be from 1 to {MAX_ROWS}, not {shown(chunk)}")
    fields = index.columns
    key = [part.column.name for part in (*scanned.order.parts, *scanned.order.ties)]
    with_key = Index(index.db, index.table, [*fields, *key], index.name, scanned.filtered).shared()
    typed = copy.copy(dispatcher)
    typed.codec = TypedCodec([*columns, *[RawToken()] * len(key)])
    if make is None:
        make = lambda values: list(zip(fields, values))  # noqa: B905, E731  (parse_values checks the lengths)
    return Scan(typed, with_key, len(fields), make, chunk, scanned, after)
