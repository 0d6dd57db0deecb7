"""The interface for applications: operations on named tables, repeated where that is safe and never where it is not."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

import trio

from ._transport import connect
from .connection import Request
from .exceptions import ConnectionError, HandlerSocketError, ProtocolError
from .protocol import Codec, Filter, Index, Value, find_modify_tail, find_tail, get_tail, insert_tail, parse_number, parse_rows
from .sockets import (
    DEFAULT_TIMEOUT,
    Connect,
    Pool,
    Servers,
    ServerStatistics,
    answer_of,
    failure_of,
    garbled,
    open_pool,
    refusal_of,
)

if TYPE_CHECKING:
    from .columns import Columns
    from .declared import DeclaredTable

T = TypeVar("T")

#: A row: its fields and their values, in the order asked for; ``dict(row)`` makes it a dict.
Row: TypeAlias = list[tuple[str, Any]]

DEFAULT_READ_SERVERS: Servers = [("inet", "localhost", 9998)]
DEFAULT_WRITE_SERVERS: Servers = [("inet", "localhost", 9999)]

#: Some requests kill the server (docs/server.md). One whose connections died under it so often is not sent again.
MAX_DEATHS = 2

#: Many operations in one call go out in chunks of so many lines, so many chunks at once: enough to keep a server busy, and
#: little enough that other tasks on the same connection have their turn.
CHUNK_LINES = 128
CHUNKS_UNDER_WAY = 4


@dataclass(frozen=True)
class RetryPolicy:
    """How long a Manager goes on when servers fail.

    Reads are repeated, on another server where there is one. A write is repeated only when it provably did not reach a
    server. The first repetition is immediate when another server is usable; the others wait ``backoff`` seconds,
    doubling up to ``max_backoff``, each shortened at random by up to a half.

    Attributes:
      attempts: how often an operation is tried, the first time included.
      backoff: seconds before a repetition.
      max_backoff: the longest of these waits, in seconds.
      deadline: seconds after which an operation is not tried again; None leaves that to the caller's ``trio.fail_after``.
    """

    attempts: int = 5
    backoff: float = 0.05
    max_backoff: float = 1.0
    deadline: float | None = None

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {self.attempts!r}")
        if self.backoff < 0 or self.max_backoff < self.backoff:
            raise ValueError("backoff must not be negative, and max_backoff not less than backoff")

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the given failed attempt (1 is the first)."""
        return float(min(self.backoff * 2 ** min(attempt - 1, 30), self.max_backoff)) * (1 - random.random() / 2)


@dataclass(frozen=True)
class Statistics:
    """What :meth:`Manager.statistics` gives: the state of things at one moment."""

    readers: tuple[ServerStatistics, ...]
    """The servers for reads, in the order of preference."""
    writers: tuple[ServerStatistics, ...]
    """The servers for writes, in the order of preference."""


class _Caller:
    """Sends requests to the two pools and repeats them as far as the policy and safety allow."""

    def __init__(self, reader: Pool, writer: Pool, codec: Codec, retry: RetryPolicy) -> None:
        self.reader = reader
        self.writer = writer
        self.codec = codec
        self.retry = retry

    async def read(self, index: Index, tail: bytes, operation: str) -> list[list[Any]]:
        """The rows that a request finds; raises OperationalError or ConnectionError."""
        return (await self._read_chunk(index, (tail,), operation))[0]

    async def _read_chunk(self, index: Index, tails: Sequence[bytes], operation: str, deaths: int = 0) -> list[list[list[Any]]]:
        while True:
            request = await self._exchange(self.reader, index, tails, changes=False, deaths=deaths)
            try:
                return self._rows_of_each(request, index, operation)
            except ProtocolError as error:
                failure = garbled(request, index, operation, error, changes=False)
            deaths += 1
            if deaths >= MAX_DEATHS:
                raise failure

    def _rows_of_each(self, request: Request, index: Index, operation: str) -> list[list[list[Any]]]:
        """The rows in each of a read's answers; raises the first error, or ProtocolError for an answer that makes no sense."""
        if request.failure is not None:
            raise failure_of(request, index, operation, changes=False)
        found = []
        for line in request.answers:
            error = refusal_of(request, line, index, operation)
            if error is not None:
                raise error
            found.append(parse_rows(line, index.width, self.codec))
        return found

    async def write(self, index: Index, tail: bytes, operation: str, parse: Callable[[bytes], T]) -> T:
        """The parsed answer to a request that changes data. It is sent again only when it provably did not reach a server."""
        request = await self._exchange(self.writer, index, (tail,), changes=True)
        line = answer_of(request, index, operation, changes=True)
        try:
            return parse(line)
        except ProtocolError as error:
            raise garbled(request, index, operation, error, changes=True) from error

    async def _exchange(self, pool: Pool, index: Index, tails: Sequence[bytes], *, changes: bool, deaths: int = 0) -> Request:
        """The request with its answers, or with its failure when the policy or safety says stop.

        ``deaths`` is how many connections have died under it already. Raises ConnectionError, with nothing sent, when no server
        was usable.
        """
        attempt = 1
        deadline = self.retry.deadline
        give_up_at = float("inf") if deadline is None else trio.current_time() + deadline
        while True:
            request: Request | None = None
            error: ConnectionError | None = None
            try:
                request = await pool.execute(index, tails)
            except ConnectionError as exc:
                error = exc
            else:
                if request.failure is None:
                    return request
                deaths += request.sent_lines > 0
            applied = changes and request is not None and request.sent_lines > 0
            pause = 0.0 if attempt == 1 and pool.choose() is not None else self.retry.pause(attempt)
            late = trio.current_time() + pause > give_up_at
            if applied or late or pool.closed or deaths >= MAX_DEATHS or attempt >= self.retry.attempts:
                if request is None:
                    assert error is not None
                    raise error
                return request
            await trio.sleep(pause)
            attempt += 1

    async def _exchange_many(
        self, pool: Pool, index: Index, tails: Sequence[bytes]
    ) -> list[tuple[Sequence[bytes], Request | None]]:
        """Sends many lines in chunks, a few of which are under way at once, each once.

        Gives every chunk in order with its request, answered or failed, or with None when no server was usable. When the
        caller is cancelled, what was not sent yet is withdrawn.
        """
        under_way: deque[tuple[Sequence[bytes], Request | None]] = deque()
        finished: list[tuple[Sequence[bytes], Request | None]] = []

        async def finish_oldest() -> None:
            request = under_way[0][1]
            if request is not None:
                await request.wait()
            finished.append(under_way.popleft())

        try:
            for start in range(0, len(tails), CHUNK_LINES):
                if len(under_way) >= CHUNKS_UNDER_WAY:
                    await finish_oldest()
                chunk = tails[start : start + CHUNK_LINES]
                try:
                    under_way.append((chunk, await pool.submit(index, chunk)))
                except HandlerSocketError:
                    under_way.append((chunk, None))
            while under_way:
                await finish_oldest()
            return finished
        finally:
            for _, request in under_way:
                if request is not None:
                    request.abandon()

    async def read_many(self, index: Index, tails: Sequence[bytes], operation: str) -> list[list[list[Any]]]:
        """The rows that each of many reads finds, in their order; raises the first error among them."""
        found: list[list[list[Any]]] = []
        for chunk, request in await self._exchange_many(self.reader, index, tails):
            if request is not None and request.failure is None:
                try:
                    found += self._rows_of_each(request, index, operation)
                    continue
                except ProtocolError as error:
                    garbled(request, index, operation, error, changes=False)
            deaths = int(request is not None and request.sent_lines > 0)
            found += await self._read_chunk(index, chunk, operation, deaths)
        return found

    async def insert_many(self, index: Index, tails: Sequence[bytes], operation: str) -> list[int | HandlerSocketError | None]:
        """The outcome of each of many inserts, in their order: the generated id, or None, or the error."""
        outcomes: list[int | HandlerSocketError | None] = []
        for chunk, request in await self._exchange_many(self.writer, index, tails):
            if request is None or (request.failure is not None and request.sent_lines == 0):
                try:
                    request = await self._exchange(self.writer, index, chunk, changes=True)
                except HandlerSocketError as error:
                    outcomes += [error] * len(chunk)
                    continue
            answers = request.answers
            for line in answers:
                try:
                    outcomes.append(refusal_of(request, line, index, operation) or parse_number(line) or None)
                except ProtocolError as error:
                    outcomes.append(garbled(request, index, operation, error, changes=True))
            for number in range(len(answers), len(chunk)):
                outcomes.append(failure_of(request, index, operation, changes=number < request.sent_lines))
        return outcomes


class Table:
    """Operations on one table through one index, with the columns fixed: the fast way. Made by :meth:`Manager.table`.

    The methods are those of :class:`Manager` without ``db``, ``table``, ``fields`` and ``index_name``; errors and
    cancellation are described there.
    """

    def __init__(
        self, caller: _Caller, db: str, write_db: str, table: str, fields: Sequence[str], index_name: str | None
    ) -> None:
        self._caller = caller
        self._index = Index(db, table, fields, index_name)
        self._write_index = self._index if write_db == db else Index(write_db, table, fields, index_name)
        self._filtered: dict[tuple[str, tuple[str, ...]], Index] = {}

    def __repr__(self) -> str:
        return f"<Table {self._index!r}>"

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns that its operations read and write, in order."""
        return self._index.columns

    def _index_for(self, index: Index, filters: Sequence[Filter]) -> Index:
        """The same index, opened with the columns that the filters are about."""
        if not filters:
            return index
        names = tuple(dict.fromkeys(condition.column for condition in filters))
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"a filter names its column, not {name!r}")
        key = (index.db, tuple(map(str, names)))
        if key not in self._filtered:
            self._filtered[key] = Index(index.db, index.table, index.columns, index.name, key[1])
        return self._filtered[key]

    def _named(self, rows: list[list[Any]]) -> list[Row]:
        return [list(zip(self._index.columns, row, strict=True)) for row in rows]

    async def get(self, value: Value) -> Row:
        """The row whose index begins with ``value``, or ``[]``. See :meth:`Manager.get`."""
        index = self._index
        rows = await self._caller.read(index, get_tail(self._caller.codec.encode(value)), "get")
        return list(zip(index.columns, rows[0], strict=True)) if rows else []

    async def get_many(self, values: Sequence[Value]) -> list[Row]:
        """The row for each value, in the order of the values. See :meth:`Manager.get_many`."""
        index = self._index
        tails = [get_tail(token) for token in self._caller.codec.encode_all(values)]
        found = await self._caller.read_many(index, tails, "get_many")
        return [list(zip(index.columns, rows[0], strict=True)) if rows else [] for rows in found]

    async def insert_many(self, rows: Sequence[Sequence[Value]]) -> list[int | HandlerSocketError | None]:
        """Inserts rows of one value per field, each with an outcome of its own. See :meth:`Manager.insert_many`."""
        index = self._write_index
        tails = [insert_tail(index, self._caller.codec, row) for row in rows]
        return await self._caller.insert_many(index, tails, "insert_many")

    async def find(
        self,
        operation: str,
        values: Sequence[Value],
        limit: int = 0,
        offset: int = 0,
        *,
        in_: tuple[int, Sequence[Value]] | None = None,
        filters: Sequence[Filter] = (),
    ) -> list[Row]:
        """Rows in the order of the index. See :meth:`Manager.find`."""
        index = self._index_for(self._index, filters)
        tail = find_tail(index, self._caller.codec, operation, values, limit, offset, in_, filters)
        return self._named(await self._caller.read(index, tail, "find"))

    async def insert(self, values: Sequence[Value]) -> int | None:
        """Inserts a row, one value per field. See :meth:`Manager.insert`."""
        tail = insert_tail(self._write_index, self._caller.codec, values)
        return await self._caller.write(self._write_index, tail, "insert", parse_number) or None

    async def _modify(
        self,
        name: str,
        modify_operation: str,
        operation: str,
        values: Sequence[Value],
        modify_values: Sequence[Value],
        limit: int,
        offset: int,
        return_original: bool,
        in_: tuple[int, Sequence[Value]] | None,
        filters: Sequence[Filter],
    ) -> int | list[list[Any]]:
        index = self._index_for(self._write_index, filters)
        if return_original:
            modify_operation += "?"
        tail = find_modify_tail(
            index, self._caller.codec, operation, values, modify_operation, modify_values, limit, offset, in_, filters
        )
        if not return_original:
            return await self._caller.write(index, tail, name, parse_number)
        return await self._caller.write(index, tail, name, lambda line: parse_rows(line, index.width, self._caller.codec))

    async def update(
        self,
        operation: str,
        values: Sequence[Value],
        update_values: Sequence[Value],
        limit: int = 0,
        offset: int = 0,
        return_original: bool = False,
        *,
        in_: tuple[int, Sequence[Value]] | None = None,
        filters: Sequence[Filter] = (),
    ) -> int | list[Row]:
        """Sets the fields of the rows found. See :meth:`Manager.update`."""
        result = await self._modify(
            "update", "U", operation, values, update_values, limit, offset, return_original, in_, filters
        )
        return result if isinstance(result, int) else self._named(result)

    async def delete(
        self,
        operation: str,
        values: Sequence[Value],
        limit: int = 0,
        offset: int = 0,
        return_original: bool = False,
        *,
        in_: tuple[int, Sequence[Value]] | None = None,
        filters: Sequence[Filter] = (),
    ) -> int | list[Row]:
        """Deletes the rows found. See :meth:`Manager.delete`."""
        result = await self._modify("delete", "D", operation, values, (), limit, offset, return_original, in_, filters)
        return result if isinstance(result, int) else self._named(result)

    async def incr(
        self,
        operation: str,
        values: Sequence[Value],
        step: Sequence[Value] = ("1",),
        limit: int = 0,
        offset: int = 0,
        return_original: bool = False,
        *,
        in_: tuple[int, Sequence[Value]] | None = None,
        filters: Sequence[Filter] = (),
    ) -> int | list[Any]:
        """Adds to the fields of the rows found. See :meth:`Manager.incr`."""
        result = await self._modify("incr", "+", operation, values, step, limit, offset, return_original, in_, filters)
        return result if isinstance(result, int) else [value for row in result for value in row]

    async def decr(
        self,
        operation: str,
        values: Sequence[Value],
        step: Sequence[Value] = ("1",),
        limit: int = 0,
        offset: int = 0,
        return_original: bool = False,
        *,
        in_: tuple[int, Sequence[Value]] | None = None,
        filters: Sequence[Filter] = (),
    ) -> int | list[Any]:
        """Subtracts from the fields of the rows found. See :meth:`Manager.decr`."""
        result = await self._modify("decr", "-", operation, values, step, limit, offset, return_original, in_, filters)
        return result if isinstance(result, int) else [value for row in result for value in row]


class Manager:
    """Reads from a pool of readers, writes to a pool of writers. Any number of tasks may share it.

    Made by :func:`open_manager`.

    What every operation has in common:

    - ``fields`` are the columns to read or write, ``values`` those of the first columns of the index; ``index_name`` None
      is the primary key. Never name a view: that crashes the server.
    - It is a checkpoint. Cancelling a read leaves nothing behind. A cancelled write may have been carried out.
    - TypeError and ValueError say what cannot be sent, before anything is. :class:`OperationalError` is the server's
      refusal and is not retried. :class:`ConnectionError` comes when the retry policy gave up; its ``maybe_applied`` is
      True for a write that may have been carried out. :class:`DecodingError` says that values that came back are not in
      the encoding.
    """

    def __init__(self, caller: _Caller, write_databases: Mapping[str, str]) -> None:
        self._caller = caller
        self._write_databases = dict(write_databases)
        self._tables: dict[tuple[str, str, tuple[str, ...] | None, str | None, Columns | None], Table] = {}

    def __repr__(self) -> str:
        return f"<Manager reads {self._caller.reader!r} writes {self._caller.writer!r}>"

    @overload
    def table(self, db: str, table: str, fields: Sequence[str], index_name: str | None = None) -> Table: ...

    @overload
    def table(
        self, db: str, table: str, fields: Sequence[str] | None = None, index_name: str | None = None, *, columns: Columns
    ) -> DeclaredTable: ...

    def table(
        self,
        db: str,
        table: str,
        fields: Sequence[str] | None = None,
        index_name: str | None = None,
        *,
        columns: Columns | None = None,
    ) -> Table:
        """A handle on one table through one index. Nothing is sent; asking again for the same gives the same handle.

        With ``columns`` it checks every value before it is sent and gives back Python types: see :class:`DeclaredTable`.
        ``fields`` may then be None for all columns but invisible and generated ones.
        """
        if isinstance(fields, str):
            raise TypeError("fields must be a list of column names, not one str")
        if fields is None and columns is None:
            raise TypeError("fields must be a list of column names, or columns must declare them")
        key = (db, table, None if fields is None else tuple(fields), index_name, columns)
        handle = self._tables.get(key)
        if handle is None:
            handle = self._new_table(*key)
            self._tables[key] = handle
        return handle

    def _new_table(
        self, db: str, table: str, fields: Sequence[str] | None, index_name: str | None, columns: Columns | None
    ) -> Table:
        write_db = self._write_databases.get(db, db)
        if columns is None:
            return Table(self._caller, db, write_db, table, fields or (), index_name)
        from .declared import DeclaredTable  # it builds on this module

        return DeclaredTable(self._caller, db, write_db, table, fields, index_name, columns)

    def statistics(self) -> Statistics:
        """How the servers are doing now. Costs little; meant to be asked every few seconds."""
        return Statistics(self._caller.reader.statistics(), self._caller.writer.statistics())

    async def purge(self) -> None:
        """Closes every index on the servers, by renewing every connection; what is under way is still answered. A checkpoint.

        Handles made by ``table`` stay good: they open their index again when they need it.
        """
        await trio.lowlevel.checkpoint()
        self._tables.clear()
        for pool in (self._caller.reader, self._caller.writer):
            pool.renew()

    @asynccontextmanager
    async def suspended(self) -> AsyncIterator[None]:
        """``async with hs.suspended():`` closes every connection and makes callers wait until the block ends.

        An open index pins its table on the server: without this, an ALTER TABLE, or the ``SET GLOBAL read_only=1`` of a planned
        switch-over, waits for ever. Entering waits for what is under way, at most as long as a server may be silent; a server
        notices a closed connection a moment later. When entering is cancelled, callers go on at once. Blocks may overlap.
        """
        async with self._caller.reader.suspended(), self._caller.writer.suspended():
            yield

    async def get(self, db: str, table: str, fields: Sequence[str], value: Value) -> Row:
        """The first row whose primary key begins with ``value``, or ``[]``."""
        return await self.table(db, table, fields).get(value)

    async def get_many(self, db: str, table: str, fields: Sequence[str], values: Sequence[Value]) -> list[Row]:
        """What ``get`` gives for each value, in the order of the values, in few round trips.

        Not a snapshot: the rows are read one after the other. Raises the first error, if any.
        """
        return await self.table(db, table, fields).get_many(values)

    async def insert_many(
        self, db: str, table: str, fields: Sequence[str], rows: Sequence[Sequence[Value]]
    ) -> list[int | HandlerSocketError | None]:
        """Inserts rows of one value per field, in few round trips. Not atomic: each row has an outcome of its own.

        An outcome is what ``insert`` would return (the generated id, or None), or the error that it would raise: none is raised
        here but TypeError and ValueError, before anything is sent. A cancelled call may have inserted any of the rows.
        """
        return await self.table(db, table, fields).insert_many(rows)

    async def find(
        self,
        db: str,
        table: str,
        operation: str,
        fields: Sequence[str],
        values: Sequence[Value],
        index_name: str | None = None,
        limit: int = 0,
        offset: int = 0,
        *,
        in_: tuple[int, Sequence[Value]] | None = None,
        filters: Sequence[Filter] = (),
    ) -> list[Row]:
        """Rows in the order of the index: at most ``limit`` (0 means 1) behind the first ``offset``.

        ``operation`` compares the first columns of the index with ``values``: ``=``, or ``>`` and ``>=`` (ascending),
        or ``<`` and ``<=`` (descending). ``in_`` is the position of a column of the index (0 is the first) and the
        values that it takes in turn: the first row for each that has one; ``limit`` is then by default their number.
        ``filters`` name columns and are all to hold.
        """
        handle = self.table(db, table, fields, index_name)
        return await handle.find(operation, values, limit, offset, in_=in_, filters=filters)

    async def insert(
        self, db: str, table: str, fields: Sequence[tuple[str, Value]], index_name: str | None = None
    ) -> int | None:
        """Inserts a row of ``(field, value)`` pairs (at most 32); returns the id that the server generated, if it did.

        A nullable column that is left out gets 0 or ``""``, not its default: name each and give None.
        """
        handle = self.table(db, table, tuple([name for name, _ in fields]), index_name)
        return await handle.insert([value for _, value in fields])

    async def update(
        self,
        db: str,
        table: str,
        operation: str,
        fields: Sequence[str],
        values: Sequence[Value],
        update_values: Sequence[Value],
        index_name: str | None = None,
        limit: int = 0,
        offset: int = 0,
        return_original: bool = False,
        *,
        in_: tuple[int, Sequence[Value]] | None = None,
        filters: Sequence[Filter] = (),
    ) -> int | list[Row]:
        """Sets ``fields`` to ``update_values`` in the rows that ``find`` would give; returns how many, or the rows as
        they were.

        Not atomic over several rows: those changed before an error stay changed.
        """
        handle = self.table(db, table, fields, index_name)
        return await handle.update(operation, values, update_values, limit, offset, return_original, in_=in_, filters=filters)

    async def delete(
        self,
        db: str,
        table: str,
        operation: str,
        fields: Sequence[str],
        values: Sequence[Value],
        index_name: str | None = None,
        limit: int = 0,
        offset: int = 0,
        return_original: bool = False,
        *,
        in_: tuple[int, Sequence[Value]] | None = None,
        filters: Sequence[Filter] = (),
    ) -> int | list[Row]:
        """Deletes the rows that ``find`` would give; returns how many, or the rows as they were."""
        handle = self.table(db, table, fields, index_name)
        return await handle.delete(operation, values, limit, offset, return_original, in_=in_, filters=filters)

    async def incr(
        self,
        db: str,
        table: str,
        operation: str,
        fields: Sequence[str],
        values: Sequence[Value],
        step: Sequence[Value] = ("1",),
        index_name: str | None = None,
        limit: int = 0,
        offset: int = 0,
        return_original: bool = False,
        *,
        in_: tuple[int, Sequence[Value]] | None = None,
        filters: Sequence[Filter] = (),
    ) -> int | list[Any]:
        """Adds ``step`` (one number per field) in the rows that ``find`` would give.

        Returns how many rows, or with ``return_original`` the values before, flat, row after row. NULL stays NULL.
        Numbers only: the server turns other text, and fractions, into whole numbers. Never applied twice by us.
        """
        handle = self.table(db, table, fields, index_name)
        return await handle.incr(operation, values, step, limit, offset, return_original, in_=in_, filters=filters)

    async def decr(
        self,
        db: str,
        table: str,
        operation: str,
        fields: Sequence[str],
        values: Sequence[Value],
        step: Sequence[Value] = ("1",),
        index_name: str | None = None,
        limit: int = 0,
        offset: int = 0,
        return_original: bool = False,
        *,
        in_: tuple[int, Sequence[Value]] | None = None,
        filters: Sequence[Filter] = (),
    ) -> int | list[Any]:
        """Subtracts ``step``, like ``incr``; a row in which a field would change its sign is left alone and not counted.

        With ``return_original`` such a row's values come back all the same: compare them to know.
        """
        handle = self.table(db, table, fields, index_name)
        return await handle.decr(operation, values, step, limit, offset, return_original, in_=in_, filters=filters)


@asynccontextmanager
async def open_manager(
    read_servers: Servers | None = None,
    write_servers: Servers | None = None,
    *,
    read_secret: str | None = None,
    write_secret: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    connections: int = 1,
    retry: RetryPolicy | None = None,
    encoding: str | None = "utf-8",
    write_databases: Mapping[str, str] | None = None,
    connect: Connect = connect,
) -> AsyncIterator[Manager]:
    """Opens a :class:`Manager` for the block: ``async with open_manager() as hs:``.

    Args:
      read_servers, write_servers: lists of ``("inet", host, port[, timeout])``, ``("unix", path)`` or :class:`Server`, equals
        that share the load; or lists of such lists, in order of preference. By default localhost's ports 9998 and 9999.
      read_secret, write_secret: what the servers' ``handlersocket_plain_secret`` and ``handlersocket_plain_secret_wr`` say;
        a :class:`Server` may have a secret of its own.
      timeout: seconds that a server may be silent with requests outstanding before its connection is given up. It tells a
        stalled server from a slow caller; limit an operation with ``trio.fail_after``.
      connections: how many connections to hold to each server.
      retry: how long to go on when servers fail.
      encoding: the character set of the columns; None gives values as bytes.
      write_databases: sends what is written to one database to another: ``{"drill": "drill_wt"}``.
      connect: how to reach a server; tests put servers of their own here.

    Nothing is connected before the first operation. Leaving the block closes everything: no task and no socket is left, and
    requests still in flight fail. Raises TypeError or ValueError for settings that cannot work.
    """
    codec = Codec(encoding)

    def pool(servers: Servers, secret: str | None) -> AbstractAsyncContextManager[Pool]:
        return open_pool(servers, secret=secret, timeout=timeout, connections=connections, connect=connect)

    async with (
        pool(DEFAULT_READ_SERVERS if read_servers is None else read_servers, read_secret) as reader,
        pool(DEFAULT_WRITE_SERVERS if write_servers is None else write_servers, write_secret) as writer,
    ):
        yield Manager(_Caller(reader, writer, codec, retry or RetryPolicy()), write_databases or {})
