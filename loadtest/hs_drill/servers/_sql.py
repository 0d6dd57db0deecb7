"""SQL on any server with a SQL port, from trio; and concurrent calls whose failure is one error, not a group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
import pymysql.cursors
import trio

from hs_drill._cluster import ClusterError, Server


async def execute_sql(server: Server, *statements: str) -> list[dict[str, Any]]:
    """Run the statements in one connection of the administrator, each its own transaction; the last one's rows.

    Raises `ClusterError` when the server cannot be reached or refuses a statement. `trio.Cancelled` returns at once;
    the statement under way, and those after it, may still be carried out.
    """
    with sql_errors_told(server):
        return await trio.to_thread.run_sync(run_sql, server, statements, abandon_on_cancel=True)


@contextmanager
def sql_errors_told(server: Server) -> Iterator[None]:
    """Raise what a server refuses, or why it cannot be reached, as `ClusterError`."""
    try:
        yield
    except (pymysql.MySQLError, OSError) as error:
        code, message = (*error.args, "", "")[:2]
        raise ClusterError(f"{server.name}: SQL error {code}: {message}") from error


def sql_error_code(error: BaseException | None) -> int | None:
    """The server's number for an error, also for one that `sql_errors_told` raised."""
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
    """A connection of the administrator, for threads. Timeouts are in seconds."""
    connection = pymysql.connect(
        host=server.host,
        port=server.sql_port or 0,
        user=server.admin_user,
        password=server.admin_password,
        autocommit=True,
        charset="utf8mb4",
        # MariaDB's default. In a user's own, such as ANSI or ORACLE, the statements mean something else, or nothing.
        sql_mode="STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION",
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        cursorclass=pymysql.cursors.DictCursor,
    )
    with connection, connection.cursor() as cursor:
        yield cursor


def collecting(troubles: list[str], call: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """The call, its `ClusterError` noted and not raised."""

    async def noted() -> None:
        try:
            await call()
        except ClusterError as error:
            troubles.append(str(error))

    return noted


async def run_all(*calls: Callable[[], Awaitable[None]]) -> None:
    """Run the calls concurrently. The first `ClusterError` cancels the others and comes out bare, not in a group."""
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
