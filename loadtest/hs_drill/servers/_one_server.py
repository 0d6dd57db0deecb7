"""Whether two addresses belong to one server. The checks write nothing and open no table.

Port numbers prove nothing, for containers and proxies map them. Nor do server ids, for a cloned server may have kept its own.
These prove it:

- HandlerSocket and SQL: SQL's process list shows the plugin's threads with the number of their connections. So open some
  connections, and see whether the number rises by as many (seen on 10.11).
- SQL and SQL: a named lock (GET_LOCK) of one session is visible to other sessions on the same server only.
"""

from __future__ import annotations

import re
import secrets
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import trio

from hs_drill._cluster import ClusterError, Server

from ._sql import as_cluster_errors, run_sql, sql_session

__all__ = ["Led", "addresses_of", "led_by_listener", "led_by_sql", "require_one_server", "same_server"]

STEPS = 3
LEAST_MORE, MOST_MORE = 8, 24
"""A step opens a random number of connections between these. Clients come and go meanwhile, so the count may be off by a
quarter of that number. Another server's count would have to rise by about the same numbers, three times in a row."""
ATTEMPTS = 15
ROUTED_ATTEMPTS = 5
"""For a router, which may well lead to none of the servers, or to several. The more attempts, the more likely one meets none of
the connections that a router seldom passes elsewhere."""
LOOKS = 20
"""Connections by SQL through a router, which may pass each one on to another server."""
LOOKS_AT_ONCE = 5
UNNAMED = "a server whose sql_port is not named here"
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
        addresses = [await addresses_of(server.host, server.read_port) for server in (one, other)]
        return True if addresses[0] & addresses[1] else None
    asked, tried = (one, other) if one.sql_port is not None else (other, one)
    return await _belongs(asked, "rd", tried.host, tried.read_port, tried.read_secret)


async def addresses_of(host: str, port: int) -> set[Any]:
    """What a name means here; nothing if that cannot be found out."""
    try:
        return {address for *_, address in await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError:
        return set()


def _share_locks(one: Server, other: Server) -> bool:
    with _locked((one, other)) as sessions:
        return len(sessions) == 1


class _Session(NamedTuple):
    server: Server
    cursor: Any
    lock: str
    """The name of a lock that the session holds. Sessions on the same server see it, and no others do."""


@contextmanager
def _locked(servers: Sequence[Server]) -> Iterator[list[_Session]]:
    """A session on each of these servers, for threads. Of two names of one server the first one counts."""
    sessions: list[_Session] = []
    with ExitStack() as stack:
        for server in servers:
            with as_cluster_errors(server):
                cursor = stack.enter_context(sql_session(server))
                if not any(_is_used(cursor, session.lock) for session in sessions):
                    lock = f"trio-hs {secrets.token_hex(16)}"
                    cursor.execute("SELECT GET_LOCK(%s, 0)", (lock,))
                    sessions.append(_Session(server, cursor, lock))
        yield sessions


def _is_used(cursor: Any, lock: str) -> bool:
    cursor.execute("SELECT IS_USED_LOCK(%s) AS owner", (lock,))
    return cursor.fetchall()[0]["owner"] is not None


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


# --- A router and the servers -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Led:
    """Where a router has led our connections."""

    to: Mapping[str, int]
    """How many to which server: its name, or words for one that is not named."""
    exact: bool = True
    """Otherwise the numbers include other clients' connections, which came and went."""

    @property
    def only(self) -> str:
        """The one server that all of them certainly reached; empty if there is none."""
        return next(iter(self.to)) if len(self.to) == 1 and self.exact else ""

    def __str__(self) -> str:
        about = "" if self.exact else "about "
        each = " and ".join(f"to {name} in {about}{count}" for name, count in self.to.items())
        return f"led {each} of {sum(self.to.values())} connections"


async def led_by_sql(servers: Sequence[Server], router: Server) -> Led:
    """Where a router leads those who write by SQL. Asks `servers` by SQL; of two names of one server the first one counts.

    Raises `ClusterError`.
    """
    with as_cluster_errors(router):
        return await trio.to_thread.run_sync(_look_by_sql, servers, router, abandon_on_cancel=True)


def _look_by_sql(servers: Sequence[Server], router: Server) -> Led:
    with _locked(servers) as sessions, ThreadPoolExecutor(LOOKS_AT_ONCE) as threads:
        owners = "".join(f", IS_USED_LOCK('{session.lock}') AS owner{place}" for place, session in enumerate(sessions))
        # Routers that tell reads from writes send a transaction to the server for writes.
        statements = ("START TRANSACTION", f"SELECT @@server_id AS id{owners}")
        timeout = int(ANSWER_SECONDS)
        looks = threads.map(lambda _: run_sql(router, statements, timeout, timeout)[0], range(LOOKS))
        return Led(Counter(_owner(sessions, look) for look in looks))


def _owner(sessions: Sequence[_Session], look: Mapping[str, Any]) -> str:
    names = (session.server.name for place, session in enumerate(sessions) if look[f"owner{place}"] is not None)
    return next(names, f"{UNNAMED} (server id {look['id']})")


async def led_by_listener(servers: Sequence[Server], router: Server, listener: str) -> Led:
    """Where a router's listener leads. Asks `servers` by SQL; of two names of one server the first one counts.

    Raises `ClusterError`, also if other clients come and go so much that it does not show.
    """
    ((port, secret),) = [(port, secret) for name, port, secret in router.listeners if name == listener]
    find = partial(_look_by_listener, servers, MODES[listener], (router.host, port), secret)
    with as_cluster_errors(router):
        return await trio.to_thread.run_sync(find, abandon_on_cancel=True)


def _look_by_listener(servers: Sequence[Server], mode: str, address: tuple[str, int], secret: str) -> Led:
    with _locked(servers) as sessions:
        cursors: dict[str, tuple[Server, Any]] = {}
        for server, cursor, _ in sessions:
            with as_cluster_errors(server):
                if _count(server, cursor, mode) is not None:
                    cursor.execute(TAKE_TURNS, (ANSWER_SECONDS,))
                    cursors[server.name] = server, cursor
        steps: list[_Step] = []
        for attempt in range(ROUTED_ATTEMPTS):
            time.sleep(PAUSE if attempt else 0)
            with ExitStack() as connections:
                steps += [_step(cursors, mode, address, secret, connections) for _ in range(STEPS)]
            names = {step.only for step in steps[-STEPS:]}
            if len(names) == 1 and (name := names.pop()):
                return Led({name: sum(step.more for step in steps[-STEPS:])})
        return _about(steps)


class _Step(NamedTuple):
    more: int
    """How many connections were opened."""
    rise: Mapping[str, int]
    """By how many each server's count rose."""

    @property
    def only(self) -> str:
        """The server that all of them reached; empty if that does not show."""
        if all(count == 0 for count in self.rise.values()):
            return UNNAMED
        return next((name for name, count in self.rise.items() if count == self.more), "")


def _about(steps: Sequence[_Step]) -> Led:
    """Where connections led that did not all reach one server, or other clients' came and went beside them."""
    more = sum(step.more for step in steps)
    rise = {name: sum(step.rise[name] for step in steps) for name in steps[0].rise}
    elsewhere = more - sum(rise.values())
    if min(rise.values()) < 0 or elsewhere < 0 or more in rise.values():
        counts = ", ".join(f"{name}'s by {count}" for name, count in rise.items())
        raise ClusterError(
            f"other clients' connections come and go: with {more} of ours the servers' numbers of connections rose otherwise "
            f"({counts})"
        )
    to = {name: count for name, count in {**rise, UNNAMED: elsewhere}.items() if count}
    return Led(to, exact=False)


def _step(
    cursors: Mapping[str, tuple[Server, Any]], mode: str, address: tuple[str, int], secret: str, connections: ExitStack
) -> _Step:
    before = {name: _count(server, cursor, mode) or 0 for name, (server, cursor) in cursors.items()}
    more = LEAST_MORE + secrets.randbelow(MOST_MORE - LEAST_MORE + 1)
    try:
        for _ in range(more):
            connections.enter_context(_connected(address, secret))
    except ClusterError as error:
        raise ClusterError(f"{error}; the check opens up to {STEPS * MOST_MORE} connections at once") from error
    after = {name: _count(server, cursor, mode) or 0 for name, (server, cursor) in cursors.items()}
    return _Step(more, {name: after[name] - before[name] for name in cursors})


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
