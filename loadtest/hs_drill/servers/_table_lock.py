"""Keeps runs that write to a user's table, and what puts their rows back, off that table while one of them is at work."""

from __future__ import annotations

import socket
from contextlib import suppress
from hashlib import sha256
from types import TracebackType
from typing import Any, Self

import pymysql
import trio

from hs_drill._cluster import ClusterError, Server

from ._sql import as_cluster_errors, connect_sql, sql_error_code

__all__ = ["TableLock"]

WAIT_SECONDS = 3
"""The server frees the lock of a process that has just been killed a moment later."""
LONGEST_WAIT_TIMEOUT = 31_536_000
"""A year, which is the most that MariaDB takes. By default it would end an idle connection after eight hours, and the lock."""
PROBE_SECONDS = 60
"""How often a probe shows firewalls that an idle connection is in use; some forget one within minutes."""
NOT_SUPPORTED = 1235


class TableLock:
    """A named lock of the writer, in which all of hs-drill's processes believe. No other client notices it.

    It lasts until `release`, or the end of its connection: a server that restarts forgets it. A server that has no such locks
    (some with Galera refuse them) holds nothing.
    """

    def __init__(self, writer: Server, database: str, table: str) -> None:
        self._writer = writer
        self._shown = f"{database}.{table}"
        # Hashed, as a lock's name has at most 64 characters. Some servers do not tell the case of tables' names.
        self._name = "hs-drill " + sha256(self._shown.casefold().encode()).hexdigest()[:40]
        self._connection: Any = None

    async def take(self) -> None:
        """Raises `ClusterError` if another process has it."""
        if self._writer.sql_port is None:
            return  # such a table cannot be used at all, which is reported elsewhere
        with as_cluster_errors(self._writer):
            await trio.to_thread.run_sync(self._take)

    def _take(self) -> None:
        connection = connect_sql(self._writer)
        try:
            self._take_on(connection)
        except BaseException:
            _close(connection)
            raise
        self._connection = connection

    def _take_on(self, connection: Any) -> None:
        connection._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_SECONDS)
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION wait_timeout = {LONGEST_WAIT_TIMEOUT}")
            try:
                cursor.execute(
                    f"SELECT GET_LOCK('{self._name}', {WAIT_SECONDS}) AS got, IS_USED_LOCK('{self._name}') AS holder"
                )
            except pymysql.MySQLError as error:
                if sql_error_code(error) == NOT_SUPPORTED:
                    return
                raise
            row = cursor.fetchone()
        if row["got"] != 1:
            raise ClusterError(
                f"another run writes to {self._shown}, or hs-drill restore puts its rows back (connection {row['holder']} of "
                f"{self._writer.name}): wait until that has ended. Nothing was written"
            )

    def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            _close(connection)

    async def __aenter__(self) -> Self:
        await self.take()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _close(connection: Any) -> None:
    with suppress(pymysql.MySQLError, OSError):
        connection.close()
