"""Run SQL on a server from trio; run calls concurrently so that a failure is one error, not an exception group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
import pymysql.cursors
import trio

from hs_drill._cluster import ClusterError, Server


async def execute_sql(server: Server, *statements: str) -> list[dict[str, Any]]:
    """Run the statements on one connection of the administrator, each in its own transaction; return the last one's rows.

    Raises `ClusterError` if the server cannot be reached or refuses a statement. Cancellation takes effect at once; the
    current statement, and those after it, may still be carried out.
    """
    with as_cluster_errors(server):
        return await trio.to_thread.run_sync(run_sql, server, statements, abandon_on_cancel=True)


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
    connection = pymysql.connect(
        host=server.host,
        port=server.sql_port or 0,
        user=server.admin_user,
        password=server.admin_password,
        autocommit=True,
        charset="utf8mb4",
        # MariaDB's default. In a mode that the user has set, such as ANSI or ORACLE, our statements would mean something else.
        sql_mode="STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION",
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        cursorclass=pymysql.cursors.DictCursor,
    )
    with connection, connection.cursor() as cursor:
        yield cursor


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
