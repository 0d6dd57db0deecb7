"""Whether two addresses belong to one server. The checks write nothing and open no table.

Port numbers prove nothing, for containers and proxies map them. These prove it:

- HandlerSocket and SQL: SQL's process list shows the plugin's threads with the number of their connections. So open some
  connections, and see whether the number rises by as many (seen on 10.11).
- SQL and SQL: a named lock (GET_LOCK) of one session is visible to other sessions on the same server only.
"""

from __future__ import annotations

import re
import secrets
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import trio

from hs_drill._cluster import ClusterError, Server

from ._sql import as_cluster_errors, sql_session

__all__ = ["require_one_server", "same_server", "servers_behind"]

STEPS = 3
LEAST_MORE, MOST_MORE = 8, 24
"""A step opens a random number of connections between these. Clients come and go meanwhile, so the count may be off by a
quarter of that number. Another server's count would have to rise by about the same numbers, three times in a row."""
ATTEMPTS = 15
ROUTED_ATTEMPTS = 5
"""For a router, which may well lead to none of the servers, or to several."""
PAUSE = 0.2
"""Seconds between attempts."""
ANSWER_SECONDS = 5.0

TAKE_TURNS = "SELECT GET_LOCK('trio-hs load test: count connections', %s)"
"""Several runs may check one server. The lock is released when the session ends."""
MODES = {"read": "rd", "write": "wr"}
"""What a listener is for -> its mode in the process list."""
_THREADS = "SELECT state AS s FROM information_schema.processlist WHERE state LIKE 'handlersocket: mode=%'"
_STATE = re.compile(r"handlersocket: mode=(rd|wr), (\d+) conns")


async def require_one_server(server: Server) -> None:
    """Raise `ClusterError` if the listeners and the SQL port do not belong to one server, or that cannot be determined."""
    for listener, port, secret in server.listeners:
        if not await _belongs(server, MODES[listener], server.host, port, secret):
            raise ClusterError(
                f"{server.name}: the listener for {listener}s at {server.at(port)} and SQL at {server.at(server.sql_port)} "
                "belong to different servers: the SQL server's process list does not show our connections. Nothing was written"
            )


async def same_server(one: Server, other: Server) -> bool | None:
    """Whether two names mean one server; None if that cannot be determined, for neither has a SQL port."""
    if (one.host, one.read_port) == (other.host, other.read_port):
        return True
    if one.sql_port is not None and other.sql_port is not None:
        with as_cluster_errors(other):
            return await trio.to_thread.run_sync(_share_locks, one, other, abandon_on_cancel=True)
    if one.sql_port is None and other.sql_port is None:
        addresses = [await _addresses(server.host, server.read_port) for server in (one, other)]
        return True if addresses[0] & addresses[1] else None
    asked, tried = (one, other) if one.sql_port is not None else (other, one)
    return await _belongs(asked, "rd", tried.host, tried.read_port, tried.read_secret)


async def _addresses(host: str, port: int) -> set[Any]:
    try:
        return {address for *_, address in await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError:
        return set()


def _share_locks(one: Server, other: Server) -> bool:
    name = f"trio-hs {secrets.token_hex(16)}"
    with sql_session(one) as first, sql_session(other) as second:
        first.execute("SELECT GET_LOCK(%s, 0)", (name,))
        second.execute("SELECT IS_USED_LOCK(%s) AS owner", (name,))
        return second.fetchall()[0]["owner"] is not None


# --- HandlerSocket and SQL -------------------------------------------------------------------------------------------


async def _belongs(server: Server, mode: str, host: str, port: int, secret: str) -> bool:
    """Whether the listener belongs to the server at `server`'s SQL port."""
    with as_cluster_errors(server):
        return await trio.to_thread.run_sync(
            partial(_connections_show, server, mode, host, port, secret), abandon_on_cancel=True
        )


def _connections_show(server: Server, mode: str, host: str, port: int, secret: str) -> bool:
    with sql_session(server) as cursor:
        cursor.execute(TAKE_TURNS, (ANSWER_SECONDS,))
        for _ in range(ATTEMPTS):
            if _count(server, cursor, mode) is None:
                return False
            if _attempt(server, cursor, mode, (host, port), secret):
                return True
            time.sleep(PAUSE)
    return False


def _attempt(server: Server, cursor: Any, mode: str, address: tuple[str, int], secret: str) -> bool:
    with ExitStack() as stack:
        count = _count(server, cursor, mode)
        for _ in range(STEPS):
            more = LEAST_MORE + secrets.randbelow(MOST_MORE - LEAST_MORE + 1)
            for _ in range(more):
                stack.enter_context(_connected(address, secret))
            now = _count(server, cursor, mode)
            if count is None or now is None or abs(now - count - more) > more // 4:
                return False
            count = now
    return True


# --- A router's listener and the servers ------------------------------------------------------------------------------


async def servers_behind(servers: Sequence[Server], router: Server, listener: str) -> tuple[str, ...]:
    """The names of the servers to which a router's listener passes connections on; none if that does not show.

    Asks `servers` by SQL; of two names of one server the first one counts. Raises `ClusterError`.
    """
    ((port, secret),) = [(port, secret) for name, port, secret in router.listeners if name == listener]
    find = partial(_behind, servers, MODES[listener], (router.host, port), secret)
    with as_cluster_errors(router):
        return await trio.to_thread.run_sync(find, abandon_on_cancel=True)


def _behind(servers: Sequence[Server], mode: str, address: tuple[str, int], secret: str) -> tuple[str, ...]:
    with ExitStack() as stack:
        cursors: dict[str, tuple[Server, Any]] = {}
        ids = set()
        for server in servers:
            with as_cluster_errors(server):
                cursor = stack.enter_context(sql_session(server))
                cursor.execute("SELECT @@server_id AS id")
                if (found := cursor.fetchall()[0]["id"]) not in ids and _count(server, cursor, mode) is not None:
                    ids.add(found)
                    cursors[server.name] = server, cursor
                    cursor.execute(TAKE_TURNS, (ANSWER_SECONDS,))
        for attempt in range(ROUTED_ATTEMPTS):
            time.sleep(PAUSE if attempt else 0)
            with ExitStack() as connections:
                steps = [_step(cursors, mode, address, secret, connections) for _ in range(STEPS)]
            if steps[0] and all(step == steps[0] for step in steps):
                return steps[0]
    return ()


def _step(
    cursors: Mapping[str, tuple[Server, Any]], mode: str, address: tuple[str, int], secret: str, connections: ExitStack
) -> tuple[str, ...]:
    """The servers whose counts rise with some more connections; none if the counts do not rise by as many together."""
    before = {name: _count(server, cursor, mode) or 0 for name, (server, cursor) in cursors.items()}
    more = LEAST_MORE + secrets.randbelow(MOST_MORE - LEAST_MORE + 1)
    for _ in range(more):
        connections.enter_context(_connected(address, secret))
    rise = {name: (_count(server, cursor, mode) or 0) - before[name] for name, (server, cursor) in cursors.items()}
    passed_on = {name: count for name, count in rise.items() if count > more // 4}
    return tuple(passed_on) if abs(sum(passed_on.values()) - more) <= more // 4 else ()


def _count(server: Server, cursor: Any, mode: str) -> int | None:
    """The number of connections to the listener, from SQL's process list; None if the server has no listeners.

    Raises `ClusterError` if the account may not see them.
    """
    cursor.execute(_THREADS)
    threads = [match for row in cursor.fetchall() if (match := _STATE.match(row["s"]))]
    if threads:
        return sum(int(match[2]) for match in threads if match[1] == mode)
    cursor.execute("SELECT plugin_status AS s FROM information_schema.plugins WHERE plugin_name = 'handlersocket'")
    if [row["s"] for row in cursor.fetchall()] != ["ACTIVE"]:
        return None
    raise ClusterError(
        f"{server.name}: whether SQL at {server.at(server.sql_port)} and the HandlerSocket ports are one server cannot be "
        "checked, for the SQL account may not see the plugin's threads: GRANT PROCESS ON *.* to it. Nothing was written"
    )


@contextmanager
def _connected(address: tuple[str, int], secret: str) -> Iterator[None]:
    """A connection that the plugin has counted. It counts one at the end of the cycle in which it first answers on it."""
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(socket.create_connection(address, ANSWER_SECONDS))
            for _ in range(2):
                connection.sendall(b"A\t1\t%s\n" % secret.encode())
                answer = b""
                while not answer.endswith(b"\n"):
                    received = connection.recv(100)
                    if not received:
                        raise ConnectionAbortedError("it closed the connection")
                    answer += received
        except OSError as error:
            raise ClusterError(f"the listener at {address[0]}:{address[1]}: {error}") from error
        yield
