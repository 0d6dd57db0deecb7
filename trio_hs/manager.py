"""The interface for applications: operations on named tables.

Longer than most modules because a type checker needs the signatures of pyhs's methods for each type that they may return.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, ItemsView, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from typing import Any, Literal, TypeVar, overload

import trio

from ._arguments import NO_LISTS, check_names, database_names, no_pairs, pair_list
from ._columns import Columns
from ._configuration import configured
from ._declared_table import DeclaredTable
from ._dispatch import Dispatcher, RetryPolicy, Row, policy_of
from ._instruments import Instrument, Instruments
from ._network import (
    DEFAULT_TIMEOUT,
    NO_SERVERS,
    Connect,
    Pings,
    Pool,
    Secret,
    Server,
    Servers,
    Statistics,
    check_flags,
    check_secret,
    check_thread,
    connect_transport,
    how_to_connect,
    open_pool,
    parse_servers,
    ping_all,
    replace_servers,
    require_trio,
)
from ._protocol import Codec, Filter, FindOperation, Ordered, Value, get_tail
from ._row_types import check_row
from ._table import MAX_HANDLES, Table, wrong_key
from .exceptions import HandlerSocketError

T = TypeVar("T")

DEFAULT_READ_SERVERS: Servers = [("inet", "localhost", 9998)]
DEFAULT_WRITE_SERVERS: Servers = [("inet", "localhost", 9999)]


class Manager:
    """Reads from a pool of readers, writes to a pool of writers. Any number of tasks may share it. See :func:`open_manager`.

    What every operation has in common:

    - ``fields`` are the columns to read or write, ``values`` are the values of the first columns of the index, and
      ``index_name`` None is the primary key. Never name a view: that crashes the server.
    - It is a checkpoint. Cancelling a read leaves nothing behind. A cancelled write may have been applied.
    - TypeError and ValueError say what cannot be sent; nothing was sent then. :class:`OperationalError` is the server's
      refusal. It is not retried, unless another server may not share it. :class:`ConnectionError` says that the retry policy
      gave up; its ``maybe_applied`` is True for a write that may have been applied. :class:`DecodingError` says that
      values that came back are not in the encoding.
    """

    def __init__(self, dispatcher: Dispatcher, write_databases: Mapping[str, str]) -> None:
        self._dispatcher = dispatcher
        self._write_databases = dict(write_databases)
        self._turn = trio.Lock()  # of calls that change the servers
        # A table that was not used for long is made again. Its index stays open, and is found again.
        self._handle = lru_cache(MAX_HANDLES)(self._new_table)

    def __repr__(self) -> str:
        return f"<Manager reads {self._dispatcher.reader!r} writes {self._dispatcher.writer!r}>"

    # fmt: off
    @overload
    def table(self, db: str, table: str, fields: Ordered[str], index_name: str | None = None) -> Table: ...
    @overload
    def table(
        self, db: str, table: str, fields: Ordered[str], index_name: str | None = None, *, row: type[dict[str, Any]]
    ) -> Table[dict[str, Any]]: ...
    @overload
    def table(
        self, db: str, table: str, fields: Ordered[str], index_name: str | None = None, *, row: Callable[..., T]
    ) -> Table[T]: ...
    @overload
    def table(
        self, db: str, table: str, fields: Ordered[str] | None = None, index_name: str | None = None, *, columns: Columns
    ) -> DeclaredTable: ...
    @overload
    def table(
        self, db: str, table: str, fields: Ordered[str] | None = None, index_name: str | None = None, *, columns: Columns,
        row: type[dict[str, Any]],
    ) -> DeclaredTable[dict[str, Any]]: ...
    @overload
    def table(
        self, db: str, table: str, fields: Ordered[str] | None = None, index_name: str | None = None, *, columns: Columns,
        row: Callable[..., T],
    ) -> DeclaredTable[T]: ...
    def table(
        self, db: str, table: str, fields: Ordered[str] | None = None, index_name: str | None = None, *,
        columns: Columns | None = None, row: Callable[..., Any] | None = None,
    ) -> Table[Any]:
    # fmt: on
        """A handle on one table through one index. Nothing is sent. The same arguments give the same handle again.

        With ``columns`` it checks every value before it is sent, and returns Python types: see :class:`DeclaredTable`.
        ``fields`` may be None then, for all columns but invisible and generated ones.

        ``row`` makes the rows: ``dict``, a dataclass, a TypedDict, a NamedTuple or any other callable, which gets the fields as
        keyword arguments. Then a missing row is None instead of ``[]``. TypeError if it does not take the fields by name.
        What it raises goes to the caller; the request was executed then.
        """
        kind = type(fields)
        if kind is not list and kind is not tuple and (isinstance(fields, NO_LISTS) or (fields is None and columns is None)):
            check_names(db, table, fields, index_name, columns)  # raises
        names: Any = fields
        try:
            names = None if fields is None else tuple(fields)
            return self._handle(db, table, names, index_name, columns, row)
        except TypeError:  # the fields are no list, or something cannot be hashed
            check_names(db, table, names, index_name, columns)
            check_row(row)
            raise

    def _new_table(
        self,
        db: str,
        table: str,
        fields: tuple[str, ...] | None,
        index_name: str | None,
        columns: Columns | None,
        row: Callable[..., Any] | None,
    ) -> Table[Any]:
        check_names(db, table, fields, index_name, columns)
        write_db = self._write_databases.get(db, db)
        if columns is None:
            return Table(self._dispatcher, db, write_db, table, fields or (), index_name, row)
        return DeclaredTable(self._dispatcher, db, write_db, table, fields, index_name, columns, row)

    def statistics(self) -> Statistics:
        """How the servers are doing now. Cheap enough to be called every few seconds."""
        dispatcher = self._dispatcher
        return Statistics(dispatcher.reader.statistics(), dispatcher.writer.statistics(), dispatcher.totals.retries)

    def ready(self, *, reads: bool = True, writes: bool = True) -> bool:
        """Whether reads and writes would go out at once, to servers that neither stall nor refuse (a server that has become
        ``read_only`` shows when it refuses a write). For readiness probes.

        The first call begins to connect, and so gives False. A program that only reads asks with ``writes=False``, so that it
        does not connect to the listener for writes.
        """
        pools = self._pools(reads, writes)
        for pool in pools:
            pool.begin()
        return all(pool.ready for pool in pools)

    async def connect(self, *, reads: bool = True, writes: bool = True) -> None:
        """Connects to every server now, and waits until each has answered or failed: at most as long as one may be silent.

        Raises :class:`AuthenticationError` if any server refused the secret, and :class:`ConnectionError` if none is usable. A
        server that is down while others are up is no error. A checkpoint. When cancelled, the client goes on connecting.
        """
        pools = self._pools(reads, writes)
        since = trio.current_time()
        for pool in pools:
            pool.begin()
        for pool in pools:
            await pool.connect_now(since)

    async def ping(self) -> Pings:
        """Asks each server for an answer, all at once: its round trip, or why it gave none.

        Each ping has a connection of its own, which opens no table and is closed again, so it says nothing about those in use:
        :meth:`statistics` does. It waits at most as long as a server may be silent. A checkpoint. Cancellation leaves nothing
        behind. Raises :class:`ConnectionError` only when the Manager is closed.
        """
        check_thread(self._dispatcher.reader.thread)
        return await ping_all(self._dispatcher.reader, self._dispatcher.writer)

    def _pools(self, reads: bool, writes: bool) -> list[Pool]:
        check_thread(self._dispatcher.reader.thread)
        check_flags(reads=reads, writes=writes)
        pools = [*[self._dispatcher.reader] * reads, *[self._dispatcher.writer] * writes]
        return [pool for pool in pools if pool.size] or pools

    async def purge(self) -> None:
        """Forgets every open index, by renewing every connection. Operations under way are still answered. A checkpoint.

        Handles made by ``table`` stay valid: they open their index again when they need it. This does not reliably release a
        table for an ALTER TABLE, because a new connection may be open before the old one is closed. Use ``suspended`` for that.
        """
        check_thread(self._dispatcher.reader.thread)
        await trio.lowlevel.checkpoint()
        self._handle.cache_clear()
        for pool in (self._dispatcher.reader, self._dispatcher.writer):
            pool.renew()

    async def set_servers(self, *, readers: Servers | None = None, writers: Servers | None = None) -> None:
        """Uses other servers from now on, while requests are under way, without an error to their callers.

        ``readers`` and ``writers`` are as in :func:`open_manager`; None leaves those as they are. Both change in one step:

        - First it connects to the new servers, for at most as long as one may be silent. Until then the present ones serve. If
          no present one is usable, if nothing has used them yet, or during :meth:`suspended`, the change is immediate.
        - A server that stays (the same address, timeout and secret) keeps its connections, and what is known of it: that it is
          down, stalls or refuses requests.
        - Requests under way on a server that is removed are answered there. Callers that wait for a server go on waiting, for
          the new ones.
        - It returns when the removed servers have no connection left, so they can be shut down. That takes at most as long as a
          server may be silent.

        Raises TypeError or ValueError for what :func:`open_manager` would refuse, such as an empty list. (A server that is
        listed twice gets twice its share.) If none of the new servers is usable while one of the present ones is, it raises
        :class:`ConnectionError`, or :class:`AuthenticationError` when all refuse the secret. Nothing has changed then.

        Calls at the same time take effect one after the other, so the last one counts. A checkpoint. When it is cancelled,
        either nothing has changed, or everything has, and only the waiting for removed servers ends.
        """
        check_thread(self._dispatcher.reader.thread)
        if readers is None and writers is None:
            raise TypeError("set_servers takes readers, writers or both")
        wanted: list[tuple[Pool, list[list[Server]]]] = []
        if readers is not None:
            wanted.append((self._dispatcher.reader, parse_servers(readers, "readers")))
        if writers is not None:
            wanted.append((self._dispatcher.writer, parse_servers(writers, "writers")))
        await replace_servers(self._turn, wanted)

    @asynccontextmanager
    async def suspended(self) -> AsyncIterator[None]:
        """``async with hs.suspended():`` closes every connection, and makes callers wait until the block ends.

        An open index pins its table on the server: an ALTER TABLE, or the ``SET GLOBAL read_only=1`` of a planned switch-over,
        waits until the plugin's thread that opened the index has no connection left. That includes connections of other
        programs, whatever they use; the listener for writes has one thread by default. So every program that uses the server
        must be suspended at the same time (docs/server.md, "Locks").

        Entering waits for operations under way, at most as long as a server may be silent. A server notices a closed connection
        a moment later. When entering is cancelled, callers go on at once. Blocks may overlap.

        An operation of this Manager inside the block waits for the end of the block. If the block waits for it, neither ends.
        Do such things after the block, or by SQL.
        """
        async with self._dispatcher.reader.suspended(), self._dispatcher.writer.suspended():
            yield

    async def get(self, db: str, table: str, fields: Ordered[str], value: Value) -> Row:
        """The first row whose primary key begins with ``value``, or ``[]``."""
        # The same as `Table.get`: to await it would cost one more coroutine, more than a hundredth of a get.
        dispatcher = self._dispatcher
        index = self.table(db, table, fields)._index
        try:
            token = dispatcher.codec.encode(value)
        except (TypeError, ValueError) as error:
            raise wrong_key(value, error) from None
        values = await dispatcher.read(index, get_tail(token), "get")
        return list(zip(index.columns, values))  # noqa: B905  (parse_values checks the lengths)

    async def get_many(self, db: str, table: str, fields: Ordered[str], values: Ordered[Value]) -> list[Row]:
        """The result of ``get`` for each value, in the order of the values, in few round trips.

        Not a snapshot: the rows are read one after the other. Raises the first error, if any.
        """
        return await self.table(db, table, fields).get_many(values)

    async def insert_many(
        self, db: str, table: str, fields: Ordered[str], rows: Ordered[Ordered[Value]]
    ) -> list[int | HandlerSocketError | None]:
        """Inserts rows of one value per field, in few round trips. Not atomic: each row has an outcome of its own.

        Other tasks run while the rows are encoded, so do not change them until the call returns.

        An outcome is what ``insert`` would return (the generated id, or None), or the error that it would raise. Only TypeError
        and ValueError are raised, before anything is sent; they name the row, counted from 0. A cancelled call may have
        inserted any of the rows.
        """
        return await self.table(db, table, fields).insert_many(rows)

    async def find(
        self,
        db: str,
        table: str,
        operation: FindOperation,
        fields: Ordered[str],
        values: Ordered[Value],
        index_name: str | None = None,
        limit: int = 0,
        offset: int = 0,
        *,
        in_: tuple[int, Ordered[Value]] | None = None,
        filters: Ordered[Filter] = (),
    ) -> list[Row]:
        """Rows in the order of the index: at most ``limit`` (0 means 1), after skipping ``offset``.

        ``operation`` compares the first columns of the index with ``values``: ``=``, or ``>`` and ``>=`` (ascending),
        or ``<`` and ``<=`` (descending). ``in_`` is the position of a column of the index (0 is the first) and a list of
        values for it: the result is the first row of each value that has one, and ``limit`` is by default their number.
        ``filters`` name columns, and must all match.
        """
        handle = self.table(db, table, fields, index_name)
        return await handle.find(operation, values, limit, offset, in_=in_, filters=filters)

    async def insert(
        self, db: str, table: str, fields: Ordered[tuple[str, Value]] | ItemsView[str, Value], index_name: str | None = None
    ) -> int | None:
        """Inserts a row of ``(field, value)`` pairs (at most 32, each field once). Returns the id that the server generated,
        if any.

        A nullable column that is left out gets its DEFAULT if that is a literal, otherwise 0 or ``""`` instead of NULL. So name
        every nullable column, and give None.
        """
        usual = type(fields) is list and fields and type(fields[0]) is tuple
        pairs: Any = fields if usual else pair_list(fields)
        try:
            names, values = tuple([name for name, _ in pairs]), [value for _, value in pairs]
        except (TypeError, ValueError):
            raise no_pairs() from None
        return await self.table(db, table, names, index_name).insert(values)

    # fmt: off
    @overload
    async def update(
        self, db: str, table: str, operation: FindOperation, fields: Ordered[str], values: Ordered[Value],
        update_values: Ordered[Value], index_name: str | None = None, limit: int = 0, offset: int = 0,
        return_original: Literal[False] = False, *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = ()
    ) -> int: ...
    @overload
    async def update(
        self, db: str, table: str, operation: FindOperation, fields: Ordered[str], values: Ordered[Value],
        update_values: Ordered[Value], index_name: str | None = None, limit: int = 0, offset: int = 0,
        return_original: Literal[True] = ..., *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> list[Row]: ...
    @overload
    async def update(
        self, db: str, table: str, operation: FindOperation, fields: Ordered[str], values: Ordered[Value],
        update_values: Ordered[Value], index_name: str | None = None, limit: int = 0, offset: int = 0,
        return_original: bool = ..., *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int | list[Row]: ...
    async def update(
        self, db: str, table: str, operation: FindOperation, fields: Ordered[str], values: Ordered[Value],
        update_values: Ordered[Value], index_name: str | None = None, limit: int = 0, offset: int = 0,
        return_original: bool = False, *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int | list[Row]:
    # fmt: on
        """Sets ``fields`` to ``update_values`` in the rows that ``find`` would return. Returns how many, or the rows as they
        were.

        Not atomic over several rows: rows changed before an error stay changed.
        """
        handle = self.table(db, table, fields, index_name)
        return await handle.update(operation, values, update_values, limit, offset, return_original, in_=in_, filters=filters)

    # fmt: off
    @overload
    async def delete(
        self, db: str, table: str, operation: FindOperation, fields: Ordered[str], values: Ordered[Value],
        index_name: str | None = None, limit: int = 0, offset: int = 0, return_original: Literal[False] = False,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int: ...
    @overload
    async def delete(
        self, db: str, table: str, operation: FindOperation, fields: Ordered[str], values: Ordered[Value],
        index_name: str | None = None, limit: int = 0, offset: int = 0, return_original: Literal[True] = ...,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> list[Row]: ...
    @overload
    async def delete(
        self, db: str, table: str, operation: FindOperation, fields: Ordered[str], values: Ordered[Value],
        index_name: str | None = None, limit: int = 0, offset: int = 0, return_original: bool = ...,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int | list[Row]: ...
    async def delete(
        self, db: str, table: str, operation: FindOperation, fields: Ordered[str], values: Ordered[Value],
        index_name: str | None = None, limit: int = 0, offset: int = 0, return_original: bool = False,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int | list[Row]:
    # fmt: on
        """Deletes the rows that ``find`` would return. Returns how many, or the rows as they were."""
        handle = self.table(db, table, fields, index_name)
        return await handle.delete(operation, values, limit, offset, return_original, in_=in_, filters=filters)

    # fmt: off
    @overload
    async def incr(
        self, db: str, table: str, operation: FindOperation, fields: Ordered[str], values: Ordered[Value],
        step: Ordered[Value] = ..., index_name: str | None = None, limit: int = 0, offset: int = 0,
        return_original: Literal[False] = False, *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = ()
    ) -> int: ...
    @overload
    async def incr(
        self, db: str, table: str, operation: FindOperation, fields: Ordered[str], values: Ordered[Value],
        step: Ordered[Value] = ..., index_name: str | None = None, limit: int = 0, offset: int = 0,
        return_original: Literal[True] = ..., *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> list[Any]: ...
    @overload
    async def incr(
        self, db: str, table: str, operation: FindOperation, fields: Ordered[str], values: Ordered[Value],
        step: Ordered[Value] = ..., index_name: str | None = None, limit: int = 0, offset: int = 0,
        return_original: bool = ..., *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int | list[Any]: ...
    async def incr(
        self, db: str, table: str, operation: FindOperation, fields: Ordered[str], values: Ordered[Value],
        step: Ordered[Value] = ("1",), index_name: str | None = None, limit: int = 0, offset: int = 0,
        return_original: bool = False, *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int | list[Any]:
    # fmt: on
        """Adds ``step`` (one number per field) in the rows that ``find`` would return.

        Returns how many rows, or with ``return_original`` the values before, flat, row after row. NULL stays NULL. For numbers
        only: the server turns other text, and fractions, into whole numbers. The client never applies it twice.
        """
        handle = self.table(db, table, fields, index_name)
        return await handle.incr(operation, values, step, limit, offset, return_original, in_=in_, filters=filters)

    # fmt: off
    @overload
    async def decr(
        self, db: str, table: str, operation: FindOperation, fields: Ordered[str], values: Ordered[Value],
        step: Ordered[Value] = ..., index_name: str | None = None, limit: int = 0, offset: int = 0,
        return_original: Literal[False] = False, *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = ()
    ) -> int: ...
    @overload
    async def decr(
        self, db: str, table: str, operation: FindOperation, fields: Ordered[str], values: Ordered[Value],
        step: Ordered[Value] = ..., index_name: str | None = None, limit: int = 0, offset: int = 0,
        return_original: Literal[True] = ..., *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> list[Any]: ...
    @overload
    async def decr(
        self, db: str, table: str, operation: FindOperation, fields: Ordered[str], values: Ordered[Value],
        step: Ordered[Value] = ..., index_name: str | None = None, limit: int = 0, offset: int = 0,
        return_original: bool = ..., *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int | list[Any]: ...
    async def decr(
        self, db: str, table: str, operation: FindOperation, fields: Ordered[str], values: Ordered[Value],
        step: Ordered[Value] = ("1",), index_name: str | None = None, limit: int = 0, offset: int = 0,
        return_original: bool = False, *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int | list[Any]:
    # fmt: on
        """Subtracts ``step``, like ``incr``. A row in which a field would change its sign stays as it is, and is not counted.

        With ``return_original`` the values of such a row come back as well. Only a comparison shows that it did not change.
        """
        handle = self.table(db, table, fields, index_name)
        return await handle.decr(operation, values, step, limit, offset, return_original, in_=in_, filters=filters)


@asynccontextmanager
@configured
async def open_manager(
    read_servers: Servers | str | None = None,
    write_servers: Servers | None = None,
    *,
    read_secret: Secret | None = None,
    write_secret: Secret | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    connections: int = 1,
    retry: RetryPolicy | None = None,
    encoding: str | None = "utf-8",
    write_databases: Mapping[str, str] | None = None,
    move_writes_on_silence: bool = False,
    instruments: Iterable[Instrument] = (),
    connect: Connect | Literal["eager"] = connect_transport,
) -> AsyncIterator[Manager]:
    """Opens a :class:`Manager` for the block: ``async with open_manager() as hs:``.

    Args:
      read_servers, write_servers: a list of ``("inet", host, port[, timeout])``, ``("unix", path)`` or :class:`Server`, which
        share the load; or a list of such lists, in order of preference. By default localhost's ports 9998 and 9999. The first
        argument may also be a URL: ``"handlersocket://reader1,reader2/?write=primary|standby&timeout=2"``.
      read_secret, write_secret: the servers' ``handlersocket_plain_secret`` and ``handlersocket_plain_secret_wr``: a text, or
        where each new connection gets it, see :data:`Secret`. A :class:`Server` may have a secret of its own.
      timeout: seconds that a server may be silent with requests outstanding before its connection is given up. It tells a
        stalled server from a slow caller. To limit an operation, use ``trio.fail_after``.
      connections: the number of connections to each server.
      retry: how long to go on when servers fail.
      encoding: the character set of the columns. ASCII must be its own bytes in it, because the server reads numbers as ASCII.
        None gives values as bytes. Text in ucs2, utf16 or utf32 needs declared columns (:meth:`Manager.table`).
      write_databases: redirects the writes to a database: ``{"drill": "drill_wt"}`` sends those to drill to drill_wt.
      move_writes_on_silence: by default writes go to a less preferred group only when every server before it refused the
        connection or the write, because a silent server may still take the writes of others. True also lets them move when a
        server was silent for its whole timeout, or could not be connected to for any other reason. Choose that only where an
        old primary refuses writes once another server is promoted. Either way a standby has ``read_only=1`` until then.
      instruments: what to call when something happens, see :class:`Instrument`.
      connect: how to reach a server, see :data:`Connect`; or ``"eager"``, which connects before the block begins, to the
        servers that are given here, and raises what :meth:`Manager.connect` does.

    A call without servers takes them, and whatever else it does not name, from the environment's ``TRIO_HS_*``
    (docs/configuration.md). By default nothing is connected before the first operation. Leaving the block closes everything: no
    task and no socket is left, requests in flight fail. Raises TypeError or ValueError for settings that cannot work.
    """
    require_trio()
    reads = _groups("read_servers", read_servers, DEFAULT_READ_SERVERS)
    writes = _groups("write_servers", write_servers, DEFAULT_WRITE_SERVERS)
    for name, secret in (("read_secret", read_secret), ("write_secret", write_secret)):
        check_secret(name, secret)
    redirected = database_names(write_databases)
    policy = policy_of(retry)
    reach, eager = how_to_connect(connect)
    codec, observers = Codec(encoding), Instruments(instruments)
    pool = partial(open_pool, timeout=timeout, connections=connections, connect=reach, instruments=observers)
    async with (
        pool(reads, secret=read_secret) as reader,
        pool(writes, secret=write_secret, for_writes=True, moves_on_silence=move_writes_on_silence) as writer,
    ):
        manager = Manager(Dispatcher(reader, writer, codec, policy, observers), redirected)
        await _connect_given(manager, read_servers, write_servers, eager)
        yield manager


def _groups(name: str, given: Servers | str | None, default: Servers) -> Servers:
    """Checked servers. (A URL was replaced by what is in it.)"""
    servers: Any = default if given is None else given
    return servers if servers is NO_SERVERS else parse_servers(servers, name)


async def _connect_given(manager: Manager, read_servers: object, write_servers: object, eager: bool) -> None:
    """Connects, if it is to, to the servers that the caller named. A caller that named none means both defaults."""
    if not eager:
        return
    none = read_servers is None and write_servers is None
    await manager.connect(reads=none or read_servers is not None, writes=none or write_servers is not None)
