"""Run SQL on a server from trio; run calls concurrently so that a failure is one error, not an exception group."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from ipaddress import ip_address
from threading import Lock
from typing import Any, ClassVar

import pymysql
import pymysql.connections
import pymysql.cursors
import trio

from hs_drill._cluster import ClusterError, Server


async def execute_sql(server: Server, *statements: str) -> list[dict[str, Any]]:
    """Run the statements on one connection of the administrator, each in its own transaction; return the last one's rows.

    Raises `ClusterError` if the server cannot be reached or refuses a statement. Cancellation takes effect at once; the
    current statement, and those after it, may still be executed.
    """
    with as_cluster_errors(server):
        return await trio.to_thread.run_sync(run_sql, server, statements, abandon_on_cancel=True)


async def ask_version(server: Server) -> str:
    """The server's version, without what 11.8 and the binary log add: ` from Debian`, `-log`. Raises `ClusterError`."""
    answer = str((await execute_sql(server, "SELECT VERSION() AS v"))[0]["v"])
    return answer.partition(" ")[0].removesuffix("-log")


@contextmanager
def as_cluster_errors(server: Server) -> Iterator[None]:
    """Turn the errors of SQL and of its connection into `ClusterError`, within the block."""
    try:
        yield
    except (pymysql.MySQLError, OSError) as error:
        code, message = (*error.args, "", "")[:2]
        raise ClusterError(f"{server.name}: SQL error {code}: {message}") from error


def sql_error_code(error: BaseException | None) -> int | None:
    """The server's number for an error, also through the `ClusterError` of `as_cluster_errors`."""
    if isinstance(error, ClusterError):
        error = error.__cause__
    return error.args[0] if isinstance(error, pymysql.MySQLError) and error.args else None


def refused(error: ClusterError) -> bool:
    """Whether nothing listens at the server's SQL port."""
    cause = error.__cause__
    return isinstance(getattr(cause, "original_exception", cause), ConnectionRefusedError)


def run_sql(
    server: Server, statements: tuple[str, ...], connect_timeout: int = 5, read_timeout: int = 60
) -> list[dict[str, Any]]:
    with sql_session(server, connect_timeout, read_timeout) as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


@contextmanager
def sql_session(server: Server, connect_timeout: int = 5, read_timeout: int = 60) -> Iterator[pymysql.cursors.DictCursor]:
    """A connection of the administrator, for use in threads. Timeouts are in seconds."""
    connection = connect_sql(server, connect_timeout=connect_timeout, read_timeout=read_timeout)
    with connection, connection.cursor() as cursor:
        yield cursor


def connect_sql(server: Server, **options: Any) -> Any:
    """A new connection of the administrator, for use in threads. `options` are PyMySQL's, and override ours."""
    return _Connection(
        **{
            "host": server.host,
            "port": server.sql_port or 0,
            "user": server.admin_user,
            "password": server.admin_password,
            "autocommit": True,
            "charset": "utf8mb4",
            # MariaDB's default. In a mode that the user has set, such as ANSI or ORACLE, our statements would mean something
            # else.
            "sql_mode": "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION",
            "connect_timeout": 5,
            "read_timeout": 60,
            "cursorclass": pymysql.cursors.DictCursor,
            # TLS to a server that this run has started on this machine protects nothing, and costs the CPU that is measured.
            "ssl_disabled": server.own and _is_loopback(server.host),
            **options,
        }
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Connection(pymysql.connections.Connection):
    """Shares one TLS context among all connections that name no certificates.

    PyMySQL 1.2 makes a context for each connection, which reads all of the system's certificates: 20 to 50 ms of CPU. A
    context that we passed as `ssl` would make TLS a requirement. PyMySQL's own is used where the server offers TLS.
    """

    _shared: ClassVar[Any] = None
    _shared_lock: ClassVar[Lock] = Lock()

    def _create_ssl_ctx(self, sslp: Any) -> Any:
        if sslp:
            return super()._create_ssl_ctx(sslp)  # type: ignore[misc]
        with self._shared_lock:
            if self._shared is None:
                _Connection._shared = super()._create_ssl_ctx(sslp)  # type: ignore[misc]
            return self._shared


class Asking:
    """Queries a server again and again on one connection, from one task. See `asking`."""

    def __init__(self, server: Server, **options: Any) -> None:
        self._server = server
        self._options = options
        self._connection: Any = None
        self._closed = False
        self._lock = Lock()
        self._threads = trio.CapacityLimiter(2)
        """Of its own: abandoned threads that hang, as in a name's resolution, must not hold up questions to other servers."""

    async def __call__(self, query: str) -> list[dict[str, Any]]:
        """The query's rows. Raises `ClusterError`; the next query then connects anew. Cancellation takes effect at once."""
        (rows,) = await self.each(query)
        return rows

    async def each(self, *queries: str) -> list[list[dict[str, Any]]]:
        """The rows of each query; one query of many may see what another one does not. Raises as a call does."""
        with as_cluster_errors(self._server):
            return await trio.to_thread.run_sync(self._ask, queries, abandon_on_cancel=True, limiter=self._threads)

    def _ask(self, queries: tuple[str, ...]) -> list[list[dict[str, Any]]]:
        # The connection belongs to this thread meanwhile. If the thread is abandoned, nobody else reads its answer.
        connection = self._exchange(None) or connect_sql(self._server, **self._options)
        rows = []
        try:
            with connection.cursor() as cursor:
                for query in queries:
                    cursor.execute(query)
                    rows.append(list(cursor.fetchall()))
        except BaseException:
            _close(connection)
            raise
        _close(self._exchange(connection))
        return rows

    def _exchange(self, connection: Any) -> Any:
        """Keep this connection instead of the one that was kept, and return what is not kept any more."""
        with self._lock:
            if self._closed:
                return connection
            connection, self._connection = self._connection, connection
            return connection

    def close(self) -> None:
        """Close the connection; one that an abandoned thread still uses is closed when its query ends."""
        with self._lock:
            self._closed = True
            kept, self._connection = self._connection, None
        _close(kept)


def _close(connection: Any) -> None:
    if connection is not None:
        with suppress(pymysql.MySQLError, OSError):
            connection.close()


@asynccontextmanager
async def asking(server: Server, **options: Any) -> AsyncIterator[Asking]:
    """For loops that wait for something on a server: keeps one connection open within the block. `options` as in `connect_sql`.

    Only for queries that leave nothing behind in the session.
    """
    ask = Asking(server, **options)
    try:
        yield ask
    finally:
        ask.close()


def collecting(troubles: list[str], call: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """A call that appends the `ClusterError` of `call` to `troubles` instead of raising it."""

    async def collected() -> None:
        try:
            await call()
        except ClusterError as error:
            troubles.append(str(error))

    return collected


async def run_all(*calls: Callable[[], Awaitable[None]]) -> None:
    """Run the calls concurrently. The first `ClusterError` cancels the others and is raised as it is, not in a group."""
    errors: list[ClusterError] = []

    async def run(call: Callable[[], Awaitable[None]], nursery: trio.Nursery) -> None:
        try:
            await call()
        except ClusterError as error:
            errors.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(run, call, nursery)
    if errors:
        raise errors[0]
