"""The interface for applications: operations on named tables, repeated where that is safe and never where it is not."""

from __future__ import annotations

import itertools
import math
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

import trio
from trio.lowlevel import current_task, wait_task_rescheduled

from ._instrument import Instrument, Instruments
from ._transport import connect
from .connection import Connection, Request
from .exceptions import ConnectionError, HandlerSocketError, OperationalError, ProtocolError
from .outcomes import failure_of, garbled, refusal_of, turned_away
from .pool import DEFAULT_TIMEOUT, Connect, Pool, Servers, ServerStatistics, open_pool
from .protocol import (
    Codec,
    Filter,
    Index,
    Value,
    all_succeeded,
    find_modify_tail,
    find_tail,
    get_many_tail,
    get_tail,
    get_tails,
    in_rows,
    insert_tail,
    listed_filters,
    parse_each,
    parse_number,
    parse_values,
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

#: So many tables, or ways to filter one, are remembered; a program that makes up ever new ones must not grow without bound.
MAX_HANDLES = 4096

#: Many operations in one call go out in chunks of so many keys or lines, so many chunks at once: enough to keep a server busy
#: while the answers of the last chunk are parsed, and little enough that other tasks on the connection have their turn. Writes
#: that arrive together share a commit, which costs more than all the rest, so their chunks are larger.
READ_KEYS = 500
WRITE_LINES = 1000
CHUNKS_UNDER_WAY = 4
#: So many keys are worth a question with IN, which may have to be followed by one for each key.
IN_KEYS = 16

#: The writes that a policy may allow to be repeated. Not an increment: applied twice it is wrong for ever. Not insert_many:
#: whoever repeats it has to look at each row's outcome.
REPEATABLE_WRITES = frozenset(("insert", "update", "delete"))


@dataclass(frozen=True)
class RetryPolicy:
    """How long a Manager goes on when servers fail.

    Reads are repeated, on another server where there is one. A write is repeated only when it provably did not reach a
    server. The first repetition is immediate when another server is usable; the others wait ``backoff`` seconds,
    doubling up to ``max_backoff``, each shortened at random by up to a half. An operation whose connections died under it
    twice is not tried again, whatever the policy says: some requests kill the server.

    Attributes:
      attempts: how often an operation is tried, the first time included.
      backoff: seconds before a repetition.
      max_backoff: the longest of these waits, in seconds.
      deadline: seconds after which an operation is not tried again; None leaves that to the caller's ``trio.fail_after``.
      hedge_after: seconds after which a read without an answer is also sent to another server, and whoever answers first is
        believed; None never does. Set it above the usual latency, for it doubles the load of what is slower.
      repeat_writes: the operations that are repeated although they may have been applied: some of ``insert``, ``update``
        and ``delete``; no other ever is. What you accept with it: the first attempt may be applied late, after
        the second one and after what others wrote since; a ``delete`` counts only what the last attempt deleted. With
        ``return_original`` nothing is repeated. When an attempt is refused after one whose outcome is unknown (a repeated
        ``insert`` finds the key taken, perhaps by itself), the ConnectionError of the unknown one is raised, from the refusal.
    """

    attempts: int = 5
    backoff: float = 0.05
    max_backoff: float = 1.0
    deadline: float | None = None
    hedge_after: float | None = None
    repeat_writes: Collection[str] = ()

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {self.attempts!r}")
        if self.backoff < 0 or self.max_backoff < self.backoff:
            raise ValueError("backoff must not be negative, and max_backoff not less than backoff")
        if self.hedge_after is not None and not self.hedge_after > 0:
            raise ValueError(f"hedge_after must be a positive number of seconds, or None, not {self.hedge_after!r}")
        if isinstance(self.repeat_writes, str):
            raise TypeError("repeat_writes must be a collection of names of operations, not one str")
        repeat_writes = tuple(self.repeat_writes)  # a copy: what is checked here must stay so
        for name in repeat_writes:
            if name not in REPEATABLE_WRITES:
                raise ValueError(f"repeat_writes may hold {' '.join(sorted(REPEATABLE_WRITES))}, not {name!r}")
        object.__setattr__(self, "repeat_writes", repeat_writes)

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
    retries: int
    """How many attempts, since the Manager was opened, failed and were followed by another one."""


class _Totals:
    """What the operations of a Manager and of all its tables add up to."""

    def __init__(self) -> None:
        self.retries = 0


class _Raced(Request):
    """One of the two requests of a hedged read: who waits for it waits for its rival too."""

    __slots__ = ("changed", "rival")

    def __init__(self, lines: int, rival: _Raced | None = None) -> None:
        super().__init__(lines)
        self.changed = trio.Event()
        self.rival = rival

    def complete(self) -> int:
        self.changed.set()
        return 0

    @property
    def deaths(self) -> int:
        return super().deaths + (self.rival.deaths if self.rival is not None else 0)


async def _any_change(racers: Sequence[_Raced]) -> None:
    """Returns when another of them is finished."""
    changed = trio.Event()
    for racer in racers:
        racer.changed = changed
    if not all(racer.finished for racer in racers):
        await changed.wait()


class _Caller:
    """Sends requests to the two pools and repeats them as far as the policy and safety allow."""

    def __init__(self, reader: Pool, writer: Pool, codec: Codec, retry: RetryPolicy, instruments: Instruments) -> None:
        self.reader = reader
        self.writer = writer
        self.codec = codec
        self.retry = retry
        self.instruments = instruments
        self.totals = _Totals()  # one, also where a declared table has a codec of its own
        self._plain = not instruments and retry.hedge_after is None and retry.deadline is None

    # ---- operations

    async def read(self, index: Index, tail: bytes, operation: str) -> list[Any]:
        """The values in the rows that a request finds, row after row; raises OperationalError or ConnectionError."""
        first: Request | None = None
        connection = self.reader.choose() if self._plain else None
        if connection is not None:
            # The first attempt without the machinery behind it: it is mostly the only one.
            first = Request()
            connection.submit(first, index, (tail,))
            if first.failure is None:
                first.task = current_task()
                await wait_task_rescheduled(first.abort)
            if first.failure is None:
                try:
                    return parse_values(first.answers[0], index, self.codec)
                except ProtocolError as error:
                    if first.error(first.answers[0]) is None:
                        garbled(first, index, operation, error, changes=False)
        return await self._read(index, tail, operation, first)

    async def _read(self, index: Index, tail: bytes, operation: str, first: Request | None) -> list[Any]:
        # By itself, because what `parse` refers to would cost every caller of `read` who waits some memory.
        def parse(request: Request) -> list[Any]:
            _raise_refusal(request, index, operation)
            return parse_values(request.answers[0], index, self.codec)

        return await self._perform(self.reader, index, (tail,), operation, parse, changes=False, first=first)

    async def get_many(self, index: Index, tokens: Sequence[bytes], operation: str) -> list[Row]:
        """Each key's first row, in the order of the keys, ``[]`` for one without; raises the first error among them.

        To a list of keys (IN) the server answers in half the time that it takes for one after the other, in their order, but
        leaves out what is not there. So when there is a row for every key, each is certain to be the right one; and where some
        are missing, every key of the chunk is asked for by itself.
        """
        since = trio.current_time()
        chunks = _chunks(tokens, READ_KEYS)
        tails = [get_many_tail(chunk) for chunk in chunks]
        if len(tokens) < IN_KEYS or None in tails or self.retry.hedge_after is not None:
            return await self._get_each(index, tokens, operation, since)

        def parse(number: int, request: Request) -> list[Row] | None:
            if request.failure is None and all_succeeded(request.answers):
                try:
                    values = parse_values(request.answers[0], index, self.codec)
                except HandlerSocketError:
                    return None  # below, where there is help
                return named(values, index) if len(values) == len(chunks[number]) * index.width else []
            return None

        lines = [[tail] for tail in tails if tail is not None]
        asked = await self._send_chunks(self.reader, index, lines, operation, parse, units=list(map(len, chunks)))
        doubtful = [token for chunk, (_, rows) in zip(chunks, asked, strict=True) if rows == [] for token in chunk]
        one_by_one = iter(await self._get_each(index, doubtful, operation, since) if doubtful else ())
        found: list[Row] = []
        for chunk, (request, rows) in zip(chunks, asked, strict=True):
            if rows is None:
                found += await self._read_chunk(index, get_tails(chunk), operation, request, since)
            else:
                found += rows or itertools.islice(one_by_one, len(chunk))
        return found

    async def _get_each(self, index: Index, tokens: Sequence[bytes], operation: str, since: float) -> list[Row]:
        """``get_many`` by a request for each key, in few round trips all the same."""
        found: list[Row] = []
        chunks = _chunks(get_tails(tokens), READ_KEYS)
        if self.retry.hedge_after is not None:  # a race needs both requests in one hand
            await trio.lowlevel.checkpoint()
            for chunk in chunks:
                found += await self._read_chunk(index, chunk, operation, None, since)
            return found

        def parse(_: int, request: Request) -> list[Row] | None:
            if request.failure is None and all_succeeded(request.answers):
                try:
                    return named_each(request.answers, index, self.codec)
                except HandlerSocketError:
                    pass  # below, where there is help
            return None

        asked = await self._send_chunks(self.reader, index, chunks, operation, parse)
        for chunk, (request, rows) in zip(chunks, asked, strict=True):
            found += rows if rows is not None else await self._read_chunk(index, chunk, operation, request, since)
        return found

    async def _read_chunk(
        self, index: Index, tails: Sequence[bytes], operation: str, first: Request | None, since: float
    ) -> list[Row]:
        def parse(request: Request) -> list[Row]:
            if not all_succeeded(request.answers):
                _raise_refusal(request, index, operation)
            return named_each(request.answers, index, self.codec)

        return await self._perform(self.reader, index, tails, operation, parse, changes=False, first=first, since=since)

    async def write(
        self, index: Index, tail: bytes, operation: str, parse_line: Callable[[bytes], T], *, repeat: bool = False
    ) -> T:
        """The parsed answer to a request that changes data.

        It is sent again only when it provably was not carried out, or with ``repeat``.
        """

        first: Request | None = None
        connection = self.writer.choose() if self._plain else None
        if connection is not None:
            await trio.lowlevel.checkpoint_if_cancelled()  # a caller that is cancelled already sends nothing
            first = Request()
            connection.submit(first, index, (tail,))
            if first.failure is None:
                first.task = current_task()
                await wait_task_rescheduled(first.abort)
            if first.failure is None and first.answers[0].startswith(b"0\t"):
                try:
                    return parse_line(first.answers[0])
                except ProtocolError as error:
                    garbled(first, index, operation, error, changes=True)
        return await self._write(index, tail, operation, parse_line, repeat, first)

    async def _write(
        self,
        index: Index,
        tail: bytes,
        operation: str,
        parse_line: Callable[[bytes], T],
        repeat: bool,
        first: Request | None,
    ) -> T:
        def parse(request: Request) -> T:
            _raise_refusal(request, index, operation)
            return parse_line(request.answers[0])

        return await self._perform(self.writer, index, (tail,), operation, parse, changes=True, repeat=repeat, first=first)

    async def insert_many(self, index: Index, tails: Sequence[bytes], operation: str) -> list[int | HandlerSocketError | None]:
        """The outcome of each of many inserts, in their order: the generated id, or None, or the error."""

        def parse(request: Request) -> list[int | HandlerSocketError | None]:
            if turned_away(request, changes=True):
                _raise_refusal(request, index, operation)
            outcomes: list[int | HandlerSocketError | None] = []
            for line in request.answers:
                done = line.startswith(b"0\t")
                outcomes.append((parse_number(line) or None) if done else refusal_of(request, line, index, operation))
            for number in range(len(outcomes), request.lines):
                outcomes.append(failure_of(request, index, operation, changes=number < request.sent_lines))
            return outcomes

        outcomes: list[int | HandlerSocketError | None] = []
        since = trio.current_time()
        nobody: ConnectionError | None = None
        chunks = _chunks(tails, WRITE_LINES)
        asked = await self._send_chunks(self.writer, index, chunks, operation, lambda _, request: None)
        for chunk, (first, _) in zip(chunks, asked, strict=True):
            if first is None and nobody is not None:  # each chunk's own patience would add up
                outcomes += [nobody] * len(chunk)
                continue
            try:
                outcomes += await self._perform(
                    self.writer, index, chunk, operation, parse, changes=True, first=first, since=since, partial=True
                )
            except HandlerSocketError as error:
                outcomes += [error] * len(chunk)
                nobody = error if isinstance(error, ConnectionError) else None
        return outcomes

    # ---- attempts

    async def _perform(
        self,
        pool: Pool,
        index: Index,
        tails: Sequence[bytes],
        operation: str,
        parse: Callable[[Request], T],
        *,
        changes: bool,
        repeat: bool = False,
        first: Request | None = None,
        since: float | None = None,
        partial: bool = False,
    ) -> T:
        """What ``parse`` makes of the answers, after as many attempts as the policy and safety allow.

        Args:
          parse: may raise OperationalError, which ends the operation, and ProtocolError, which ends the connection.
          changes: whether the lines change data, so that an attempt without an answer leaves a doubt.
          repeat: whether to go on all the same then.
          first: an attempt that the caller has made already.
          since: when it did.
          partial: whether ``parse`` can tell what a failed request, some of whose lines were answered, has achieved.

        Raises the last attempt's ConnectionError, or that of the last one that left a doubt.
        """
        attempt = 1
        deaths = 0
        doubt: ConnectionError | None = None
        started = trio.current_time() if since is None else since
        give_up_at = math.inf if self.retry.deadline is None else started + self.retry.deadline
        while True:
            request, first = first, None
            error: ConnectionError
            try:
                if request is None:
                    request = await self._attempt(pool, index, tails, operation, changes)
                if request.failure is None:
                    return parse(request)
                error = failure_of(request, index, operation, changes=changes)
            except ConnectionError as exc:  # no server was usable
                error = ConnectionError(f"{operation} {index.db}.{index.table}: {exc}", server=exc.server)
            except ProtocolError as exc:
                assert request is not None
                error = garbled(request, index, operation, exc, changes=changes)
            except OperationalError as refusal:
                # The one refusal that another server may not share, or this one a moment later: it may be shutting down.
                if request is not None and turned_away(request, changes=changes) and attempt < self.retry.attempts:
                    elsewhere = pool.refused(request)
                    pause = 0.0 if elsewhere else self.retry.pause(attempt)
                    if (elsewhere or not changes) and trio.current_time() + pause <= give_up_at:
                        self._tell_of_retry(index, operation, attempt, refusal)
                        await trio.sleep(pause)
                        attempt += 1
                        continue
                if doubt is not None:
                    raise doubt from refusal
                raise
            deaths += 0 if request is None else request.deaths
            if error.maybe_applied:
                doubt = error
            pause = 0.0 if attempt == 1 and pool.choose() is not None else self.retry.pause(attempt)
            late = trio.current_time() + pause > give_up_at
            # Of several lines some may have been answered, and the rest never sent: no doubt, but no reason to repeat either.
            begun = partial and request is not None and request.sent_lines > 0
            unsafe = deaths >= MAX_DEATHS or begun or (doubt is not None and not repeat)
            if unsafe or late or pool.closed or attempt >= self.retry.attempts:
                if partial and request is not None:
                    return parse(request)
                raise doubt or error
            self._tell_of_retry(index, operation, attempt, error)
            await trio.sleep(pause)
            attempt += 1

    async def _attempt(self, pool: Pool, index: Index, tails: Sequence[bytes], operation: str, changes: bool) -> Request:
        """One attempt: the request with its answers or its failure. Raises ConnectionError when no server is usable."""
        connection = await pool.acquire()
        started = trio.current_time()
        if self.retry.hedge_after is not None and not changes:
            request = await self._race(pool, connection, index, tails, self.retry.hedge_after)
        else:
            request = Request(len(tails))
            connection.submit(request, index, tails)
            await request.wait()
        self._tell(request, index, operation, started)
        return request

    def _tell_of_retry(self, index: Index, operation: str, attempt: int, error: HandlerSocketError) -> None:
        self.totals.retries += 1
        self.instruments.call("retry", operation, f"{index.db}.{index.table}", attempt, error)

    def _tell(self, request: Request, index: Index, operation: str, started: float) -> None:
        if self.instruments:
            seconds = trio.current_time() - started
            table = f"{index.db}.{index.table}"
            failed = request.failure is not None
            self.instruments.call("request_done", request.connection.peer, operation, table, request.lines, seconds, failed)

    async def _race(
        self, pool: Pool, connection: Connection, index: Index, tails: Sequence[bytes], hedge_after: float
    ) -> Request:
        """The first of two requests to be answered; the second goes to another server when the first takes long.

        The loser's answer is dropped when it comes, like that of a cancelled caller.
        """
        first = _Raced(len(tails))
        racers = [first]
        connection.submit(first, index, tails)
        try:
            with trio.move_on_after(hedge_after):
                await _any_change(racers)
            other = None if first.finished else pool.choose_other(connection)
            if other is not None:
                second = _Raced(len(tails), rival=first)
                racers.append(second)
                other.submit(second, index, tails)
            while not all(racer.finished for racer in racers):
                for racer in racers:
                    if racer.finished and racer.failure is None:
                        return racer
                await _any_change(racers)
            # One that failed has not won while the other may still answer.
            return min(reversed(racers), key=lambda racer: racer.failure is not None)
        finally:
            for racer in racers:
                racer.abandon()

    async def _send_chunks(
        self,
        pool: Pool,
        index: Index,
        chunks: Sequence[Sequence[bytes]],
        operation: str,
        parse: Callable[[int, Request], T | None],
        units: Sequence[int] = (),
    ) -> list[tuple[Request | None, T | None]]:
        """Sends chunks of lines, a few of which are under way at once, each once. ``units`` is what each counts for, by default
        its number of lines.

        Gives for each chunk its request, answered or failed, and what ``parse`` made of the chunk's number and that request
        while the next ones were under way; None for both from the first chunk on for which no server was usable. When the
        caller is cancelled, what was not sent yet is withdrawn.
        """
        under_way: deque[tuple[Request | None, float]] = deque()
        finished: list[tuple[Request | None, T | None]] = []
        nobody = False
        await trio.lowlevel.checkpoint_if_cancelled()
        if not chunks:
            await trio.lowlevel.checkpoint()

        async def oldest() -> Request | None:
            request, started = under_way[0]
            if request is not None:
                await request.wait()
                self._tell(request, index, operation, started)
            under_way.popleft()
            return request

        def finish(request: Request | None) -> None:
            finished.append((request, None if request is None else parse(len(finished), request)))

        try:
            for chunk, its_units in zip(chunks, units or [0] * len(chunks), strict=True):
                answered = [await oldest()] if len(under_way) >= CHUNKS_UNDER_WAY else []
                started = trio.current_time()
                try:
                    request = None if nobody else await pool.submit(index, chunk, its_units)
                except HandlerSocketError:
                    request, nobody = None, True
                under_way.append((request, started))
                for request in answered:  # now that the server has the next one to work at
                    finish(request)
            while under_way:
                finish(await oldest())
            return finished
        finally:
            for request, _ in under_way:
                if request is not None:
                    request.abandon()


def named(values: list[Any], index: Index) -> list[Row]:
    """Rows of the values that lie flat in an answer."""
    # Twice as fast as to take the values apart first, and then to name them row by row.
    return in_rows(list(zip(itertools.cycle(index.columns), values)), index.width)


def named_each(lines: Sequence[bytes], index: Index, codec: Codec) -> list[Row]:
    """The one row in each of many answers, ``[]`` where there is none."""
    columns = index.columns
    return [list(zip(columns, values)) for values in parse_each(lines, index, codec)]  # noqa: B905  (see Table.get)


def _chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _raise_refusal(request: Request, index: Index, operation: str) -> None:
    """Raises the first error among a request's answers."""
    for line in request.answers:
        error = refusal_of(request, line, index, operation)
        if error is not None:
            raise error


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

    def _index_for(self, index: Index, filters: tuple[Filter, ...]) -> Index:
        """The same index, opened with the columns that the filters are about."""
        if not filters:
            return index
        names = tuple(dict.fromkeys(condition.column for condition in filters))
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"a filter names its column, not {name!r}")
        key = (index.db, tuple(map(str, names)))
        if key not in self._filtered:
            if len(self._filtered) >= MAX_HANDLES:
                self._filtered.clear()
            self._filtered[key] = Index(index.db, index.table, index.columns, index.name, key[1])
        return self._filtered[key]

    async def get(self, value: Value) -> Row:
        """The row whose index begins with ``value``, or ``[]``. See :meth:`Manager.get`."""
        index = self._index
        values = await self._caller.read(index, get_tail(self._caller.codec.encode(value)), "get")
        return list(zip(index.columns, values))  # noqa: B905  (parse_values has seen to it)

    async def get_many(self, values: Sequence[Value]) -> list[Row]:
        """The row for each value, in the order of the values. See :meth:`Manager.get_many`."""
        return await self._caller.get_many(self._index, self._caller.codec.encode_all(values), "get_many")

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
        filters = listed_filters(filters) if filters else ()
        index = self._index_for(self._index, filters)
        tail = find_tail(index, self._caller.codec, operation, values, limit, offset, in_, filters)
        return named(await self._caller.read(index, tail, "find"), index)

    async def insert(self, values: Sequence[Value]) -> int | None:
        """Inserts a row, one value per field. See :meth:`Manager.insert`."""
        tail = insert_tail(self._write_index, self._caller.codec, values)
        repeat = "insert" in self._caller.retry.repeat_writes
        return await self._caller.write(self._write_index, tail, "insert", parse_number, repeat=repeat) or None

    def _modify(
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
    ) -> Awaitable[int | list[Any]]:
        """How many rows will have been changed, or their values before, row after row."""
        filters = listed_filters(filters) if filters else ()
        index = self._index_for(self._write_index, filters)
        if return_original:
            modify_operation += "?"
        tail = find_modify_tail(
            index, self._caller.codec, operation, values, modify_operation, modify_values, limit, offset, in_, filters
        )
        if return_original:
            return self._caller.write(index, tail, name, partial(parse_values, index=index, codec=self._caller.codec))
        return self._caller.write(index, tail, name, parse_number, repeat=name in self._caller.retry.repeat_writes)

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
        return result if isinstance(result, int) else named(result, self._index)

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
        return result if isinstance(result, int) else named(result, self._index)

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
        return await self._modify("incr", "+", operation, values, step, limit, offset, return_original, in_, filters)

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
        return await self._modify("decr", "-", operation, values, step, limit, offset, return_original, in_, filters)


class Manager:
    """Reads from a pool of readers, writes to a pool of writers. Any number of tasks may share it.

    Made by :func:`open_manager`.

    What every operation has in common:

    - ``fields`` are the columns to read or write, ``values`` those of the first columns of the index; ``index_name`` None
      is the primary key. Never name a view: that crashes the server.
    - It is a checkpoint. Cancelling a read leaves nothing behind. A cancelled write may have been carried out.
    - TypeError and ValueError say what cannot be sent, before anything is. :class:`OperationalError` is the server's
      refusal and is not retried, unless it is one that another server may not share. :class:`ConnectionError` comes when
      the retry policy gave up; its ``maybe_applied`` is True for a write that may have been carried out.
      :class:`DecodingError` says that values that came back are not in the encoding.
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
            if len(self._tables) >= MAX_HANDLES:
                self._tables.clear()
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
        return Statistics(self._caller.reader.statistics(), self._caller.writer.statistics(), self._caller.totals.retries)

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

        A nullable column that is left out gets its DEFAULT if that is a literal, otherwise 0 or ``""`` instead of NULL: name
        each and give None.
        """
        if isinstance(fields, dict):  # names of two letters would be taken for pairs of a name and a value
            raise TypeError("fields must be a list of (field, value) pairs: not a dict, but its items()")
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
    instruments: Iterable[Instrument] = (),
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
      instruments: are told what happens, see :class:`Instrument`.
      connect: how to reach a server; tests put servers of their own here.

    Nothing is connected before the first operation. Leaving the block closes everything: no task and no socket is left, and
    requests still in flight fail. Raises TypeError or ValueError for settings that cannot work.
    """
    codec = Codec(encoding)
    observers = Instruments(instruments)

    def pool(servers: Servers, secret: str | None) -> AbstractAsyncContextManager[Pool]:
        return open_pool(
            servers, secret=secret, timeout=timeout, connections=connections, connect=connect, instruments=observers
        )

    async with (
        pool(DEFAULT_READ_SERVERS if read_servers is None else read_servers, read_secret) as reader,
        pool(DEFAULT_WRITE_SERVERS if write_servers is None else write_servers, write_secret) as writer,
    ):
        yield Manager(_Caller(reader, writer, codec, retry or RetryPolicy(), observers), write_databases or {})
