"""pyhs's low-level interface: indexes have numbers, and nothing is repeated."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast, overload

import trio

from ._dispatch import encoded_in, in_turns
from ._instruments import Instrument, Instruments
from ._network import (
    DEFAULT_TIMEOUT,
    Connect,
    Pool,
    Request,
    Secret,
    Servers,
    answer_of,
    check_thread,
    connect_transport,
    garbled,
    open_pool,
    require_trio,
)
from ._protocol import (
    SEQUENCES,
    Codec,
    CountingOperation,
    EncodedList,
    Filter,
    FindOperation,
    Index,
    LongValue,
    ModifyOperation,
    Ordered,
    ReturningOperation,
    Value,
    encode_in_slices,
    find_modify_tail,
    find_tail,
    in_rows,
    insert_tail,
    insert_tail_in_slices,
    name_list,
    parse_number,
    parse_rows,
    rows_in_slices,
    shown,
    value_list,
    with_tokens,
)
from .exceptions import ConnectionError, HandlerSocketError, ProtocolError

#: How many requests of one ``execute_many`` are under way at once; and how many are made, or how many bytes are made or
#: parsed, before other tasks have their turn.
RUN_REQUESTS = 256
RUN_BYTES = 1 << 18


class Find(NamedTuple):
    """A ``find`` for ``execute_many``; the arguments are that method's."""

    index_id: int
    operation: FindOperation
    values: Ordered[Value]
    limit: int = 0
    offset: int = 0
    in_: tuple[int, Ordered[Value]] | None = None
    filters: Ordered[Filter] = ()


class Insert(NamedTuple):
    """An ``insert`` for ``execute_many``."""

    index_id: int
    values: Ordered[Value]


class FindModify(NamedTuple):
    """A ``find_modify`` for ``execute_many``."""

    index_id: int
    operation: FindOperation
    values: Ordered[Value]
    modify_operation: ModifyOperation
    modify_values: Ordered[Value] = ()
    limit: int = 0
    offset: int = 0
    in_: tuple[int, Ordered[Value]] | None = None
    filters: Ordered[Filter] = ()


@dataclass(frozen=True, slots=True)
class _Job:
    """A request that is ready to be sent, and how to parse its answer: ``rows`` are in it, or else a number."""

    index: Index
    tail: bytes
    operation: str
    changes: bool
    rows: bool

    async def result(self, request: Request, codec: Codec) -> Any:
        """The result for the caller. Raises ConnectionError, OperationalError or DecodingError."""
        line = answer_of(request, self.index, self.operation, changes=self.changes)
        try:
            if not self.rows:
                number = parse_number(line)
                return number or None if self.operation == "insert" else number
            if len(line) > 2 * codec.slice_bytes:
                return await in_turns(rows_in_slices(line, self.index, codec, in_rows))
            return parse_rows(line, self.index, codec)
        except ProtocolError as error:
            raise garbled(request, self.index, self.operation, error, changes=self.changes) from error


class ReadSocket:
    """pyhs's low-level interface to a pool of servers for reads: indexes have numbers, rows are lists of values.

    Nothing is retried here. The numbers belong to this object. A connection opens an index when it first needs it.
    """

    def __init__(self, pool: Pool, codec: Codec) -> None:
        self._pool = pool
        self._codec = codec
        self._indexes: dict[int, Index] = {}
        self._ids: dict[tuple[object, ...], int] = {}
        self._next_id = 0

    async def get_index_id(
        self,
        db: str,
        table: str,
        fields: Ordered[str],
        index_name: str | None = None,
        filter_fields: Ordered[str] = (),
    ) -> int:
        """The number of an index, the same for the same arguments until it is purged.

        ``fields`` are the columns that requests read and write, ``filter_fields`` the columns for filters, and
        ``index_name`` None is the primary key. Nothing is sent: a missing table shows in the first request. Never name
        a view: that crashes the server. A checkpoint. Raises ValueError for what cannot be a name.
        """
        check_thread(self._pool.thread)
        await trio.lowlevel.checkpoint()
        fields, filter_fields = name_list("fields", fields), name_list("filter_fields", filter_fields)
        index = Index(db, table, fields, index_name, filter_fields)
        key = (db, table, fields, index_name, filter_fields)
        if key not in self._ids:
            self._indexes[self._next_id] = index.shared()
            self._ids[key] = self._next_id
            self._next_id += 1
        return self._ids[key]

    async def purge_index(self, index_id: int) -> None:
        """Takes back the number of an index. The server keeps the index open until ``purge``: the protocol cannot close one.

        A checkpoint. Raises ValueError for a number that is not in use.
        """
        check_thread(self._pool.thread)
        await trio.lowlevel.checkpoint()
        self._index(index_id)
        del self._indexes[index_id]
        self._ids = {key: number for key, number in self._ids.items() if number != index_id}

    async def purge_indexes(self) -> None:
        """Takes back the numbers of all indexes, and closes them on the servers by renewing every connection.

        Requests under way are still answered. A checkpoint.
        """
        check_thread(self._pool.thread)
        await trio.lowlevel.checkpoint()
        self._indexes.clear()
        self._ids.clear()
        self._pool.renew()

    async def purge(self) -> None:
        """The same as ``purge_indexes``; pyhs has both."""
        await self.purge_indexes()

    def _index(self, index_id: int) -> Index:
        try:
            return self._indexes[index_id]
        except (KeyError, TypeError):
            kind = ValueError if isinstance(index_id, int) else TypeError
            raise kind(f"there is no index_id {shown(index_id)}; get_index_id gives one, and purging takes it back") from None

    async def find(
        self,
        index_id: int,
        operation: FindOperation,
        values: Ordered[Value],
        limit: int = 0,
        offset: int = 0,
        *,
        in_: tuple[int, Ordered[Value]] | None = None,
        filters: Ordered[Filter] = (),
    ) -> list[list[Any]]:
        """Rows found by the index, each a list of the values of its ``fields``.

        ``operation`` is one of ``= > >= < <=``; ``values`` are the values of the index's first columns; ``limit`` 0 means 1.
        ``in_`` is the position of a column of the index and a list of values for it. ``filters`` use the ``filter_fields``.

        Raises ConnectionError when no answer came (a read has no effect, so it can be repeated), OperationalError for the
        server's refusal, ValueError and TypeError for what cannot be sent. A checkpoint. Cancellation leaves nothing behind.
        """
        return cast("list[list[Any]]", await self._execute(Find(index_id, operation, values, limit, offset, in_, filters)))

    async def execute_many(self, requests: Ordered[Find | Insert | FindModify]) -> list[Any]:
        """Sends requests as one pipeline to one server, which executes them in their order.

        Returns each result in that order: what the method of that name returns, or the HandlerSocketError that it would raise.
        Not a transaction: an error does not stop the requests that follow. Raises TypeError and ValueError before anything is
        sent, and ConnectionError or AuthenticationError, with nothing sent, when no server is usable. A checkpoint. A cancelled
        call may have executed any of the requests.
        """
        check_thread(self._pool.thread)
        jobs: list[_Job] = []
        room = RUN_BYTES
        for number, request in enumerate(value_list(requests, "requests", "requests")):
            if room < 0 or (number and not number % RUN_REQUESTS):
                room = RUN_BYTES
                await trio.lowlevel.checkpoint()
            jobs.append(await self._ready(request))
            room -= len(jobs[-1].tail)
        if not jobs:
            await trio.lowlevel.checkpoint()
            return []
        results: list[Any] = []
        connection = await self._pool.acquire()
        under_way: deque[Request] = deque()
        with connection.held():
            try:
                # In runs, so that other tasks on the connection have their turn.
                for start in range(0, len(jobs), RUN_REQUESTS):
                    run = jobs[start : start + RUN_REQUESTS]
                    for number, job in enumerate(run, 1):
                        sent = Request()
                        under_way.append(sent)
                        connection.submit(sent, job.index, (job.tail,), more=number < len(run))
                    room = RUN_BYTES
                    for job in run:
                        await under_way[0].wait()
                        room -= sum(map(len, under_way[0].answers))
                        if room < 0:
                            room = RUN_BYTES
                            await trio.lowlevel.checkpoint()
                        try:
                            results.append(await job.result(under_way.popleft(), self._codec))
                        except HandlerSocketError as error:
                            results.append(error)
                return results
            finally:
                for sent in under_way:
                    sent.abandon()

    async def _execute(self, request: Find | Insert | FindModify) -> Any:
        job = await self._ready(request)
        try:
            sent = await self._pool.execute(job.index, (job.tail,))
        except ConnectionError as error:
            raise ConnectionError(f"{job.operation} {job.index.db}.{job.index.table}: {error}", server=error.server) from None
        return await job.result(sent, self._codec)

    async def _ready(self, request: Find | Insert | FindModify) -> _Job:
        """``_job``, with many or long values encoded in turns."""
        if isinstance(request, Insert | FindModify):
            request = _repeatable(request)
        if isinstance(request, Find | FindModify) and request.in_ is not None:
            request = request._replace(in_=cast("Any", await encoded_in(self._codec, request.in_)))
        try:
            return self._job(request)
        except LongValue:
            if isinstance(request, Find):
                raise
            if isinstance(request, Insert):
                index = self._index(request.index_id)
                tail = await in_turns(insert_tail_in_slices(index, self._codec, list(request.values)))
                return _Job(index, tail, "insert", True, False)
            columns = self._index(request.index_id).columns
            values = list(request.modify_values)
            encoded = await in_turns(encode_in_slices(self._codec, values, "modify_values", columns))
            job = self._job(request._replace(modify_values=cast("Any", EncodedList(b"", encoded.count))))
            return replace(job, tail=await in_turns(with_tokens(job.tail, encoded.tokens)))

    def _job(self, request: Find | Insert | FindModify) -> _Job:
        if not isinstance(request, Find):
            raise TypeError(f"a socket for reads takes trio_hs.Find, not {request!r}")
        index = self._index(request.index_id)
        tail = find_tail(index, self._codec, *request[1:])
        return _Job(index, tail, "find", False, True)


def _repeatable(request: Insert | FindModify) -> Insert | FindModify:
    """The same request with lists in the place of iterators: long values are read twice."""
    if type(request.values) not in SEQUENCES:
        request = request._replace(values=value_list(request.values))
    if isinstance(request, FindModify) and type(request.modify_values) not in SEQUENCES:
        request = request._replace(modify_values=value_list(request.modify_values, "modify_values"))
    return request


class WriteSocket(ReadSocket):
    """pyhs's low-level interface to a pool of servers for writes. Nothing is retried here."""

    async def insert(self, index_id: int, values: Ordered[Value]) -> int | None:
        """Inserts a row of one value per field of the index. Returns the id that the server generated, if any.

        A nullable column that is not a field gets its DEFAULT if that is a literal, otherwise 0 or ``""`` instead of NULL. So
        name every nullable column, and send None. Raises DuplicateKeyError and other OperationalErrors, and ConnectionError,
        whose ``maybe_applied`` says whether the row may be there anyway. A checkpoint. A cancelled insert may have been
        applied.
        """
        return cast("int | None", await self._execute(Insert(index_id, values)))

    # fmt: off
    @overload
    async def find_modify(
        self, index_id: int, operation: FindOperation, values: Ordered[Value], modify_operation: CountingOperation,
        modify_values: Ordered[Value] = ..., limit: int = 0, offset: int = 0,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int: ...
    @overload
    async def find_modify(
        self, index_id: int, operation: FindOperation, values: Ordered[Value], modify_operation: ReturningOperation,
        modify_values: Ordered[Value] = ..., limit: int = 0, offset: int = 0,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> list[list[Any]]: ...
    # fmt: on
    async def find_modify(
        self,
        index_id: int,
        operation: FindOperation,
        values: Ordered[Value],
        modify_operation: ModifyOperation,
        modify_values: Ordered[Value] = (),
        limit: int = 0,
        offset: int = 0,
        *,
        in_: tuple[int, Ordered[Value]] | None = None,
        filters: Ordered[Filter] = (),
    ) -> int | list[list[Any]]:
        """Changes the rows that ``find`` would return for the same arguments. Returns how many, or the rows as they were.

        ``modify_operation`` is ``U`` (update), ``D`` (delete), ``+`` or ``-`` (by ``modify_values``). Followed by ``?`` it
        returns the old rows. Not atomic: rows changed before an error stay changed. Errors and cancellation as for
        ``insert``.
        """
        request = FindModify(index_id, operation, values, modify_operation, modify_values, limit, offset, in_, filters)
        return cast("int | list[list[Any]]", await self._execute(request))

    def _job(self, request: Find | Insert | FindModify) -> _Job:
        if isinstance(request, Insert):
            index = self._index(request.index_id)
            tail = insert_tail(index, self._codec, request.values)
            return _Job(index, tail, "insert", True, False)
        if isinstance(request, FindModify):
            index = self._index(request.index_id)
            tail = find_modify_tail(index, self._codec, *request[1:])
            return _Job(index, tail, "find_modify", True, request.modify_operation.endswith("?"))
        if isinstance(request, Find):
            return super()._job(request)
        raise TypeError(f"a request is a trio_hs.Find, Insert or FindModify, not {request!r}")


@asynccontextmanager
async def open_read_socket(
    servers: Servers,
    secret: Secret | None = None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    connections: int = 1,
    encoding: str | None = "utf-8",
    instruments: Iterable[Instrument] = (),
    connect: Connect = connect_transport,
) -> AsyncIterator[ReadSocket]:
    """Opens a :class:`ReadSocket` for the block: ``async with open_read_socket([("inet", "127.0.0.1", 9998)]) as hs:``.

    Arguments as for :func:`trio_hs.open_manager`. Leaving the block closes every connection; requests in flight fail.
    """
    require_trio()
    codec = Codec(encoding)
    observers = Instruments(instruments)
    async with open_pool(
        servers, secret=secret, timeout=timeout, connections=connections, connect=connect, instruments=observers
    ) as pool:
        yield ReadSocket(pool, codec)


@asynccontextmanager
async def open_write_socket(
    servers: Servers,
    secret: Secret | None = None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    connections: int = 1,
    move_writes_on_silence: bool = False,
    encoding: str | None = "utf-8",
    instruments: Iterable[Instrument] = (),
    connect: Connect = connect_transport,
) -> AsyncIterator[WriteSocket]:
    """Opens a :class:`WriteSocket` for the block: like :func:`open_read_socket`, for the listeners for writes.

    Its requests move to another group as a Manager's writes do, even those that only read.
    """
    require_trio()
    codec = Codec(encoding)
    observers = Instruments(instruments)
    async with open_pool(
        servers,
        secret=secret,
        timeout=timeout,
        connections=connections,
        connect=connect,
        instruments=observers,
        for_writes=True,
        moves_on_silence=move_writes_on_silence,
    ) as pool:
        yield WriteSocket(pool, codec)
