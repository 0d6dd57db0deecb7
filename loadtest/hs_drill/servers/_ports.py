"""Whether the ports of a server answer, keep silent or refuse: how the effect of a kill, a pause or a restart shows."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Literal, TypeAlias

import pymysql
import trio

from hs_drill._cluster import ClusterError, Server

from ._sql import connect_sql, run_all

__all__ = ["Answer", "ask_ports", "described", "refuses"]

Answer: TypeAlias = Literal["answers", "is silent", "refuses", "is unreachable"]
"""`is silent`: it accepts the connection, and then says nothing. `refuses`: it does not accept it, or closes it at once.
`is unreachable`: not even the attempt to connect is answered."""

UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT)

ANSWER_SECONDS = 1.0
CANNOT_CONNECT = 2003
SERVER_ERRORS = range(1000, 2000)
"""Codes of errors that the server itself reports, such as too many connections; 2000 and above are the client's."""


async def ask_ports(server: Server) -> dict[str, Answer]:
    """What each port of the server does, by its name: `SQL`, `reads`, `writes`. Takes about `ANSWER_SECONDS` at most.

    Raises `ClusterError` if it could not even be tried, as when the name is not resolved: that says nothing of the server.
    """
    found: dict[str, Answer] = {}

    async def handlersocket(name: str, port: int, secret: str) -> None:
        found[name] = await _ask_handlersocket(server.host, port, secret)

    async def sql() -> None:
        with trio.move_on_after(3 * ANSWER_SECONDS):  # a name that is not resolved
            found["SQL"] = await trio.to_thread.run_sync(_ask_sql, server, abandon_on_cancel=True)
            return
        found["SQL"] = "is unreachable"

    calls = [partial(handlersocket, f"{listener}s", port, secret) for listener, port, secret in server.listeners]
    await run_all(*calls, *([sql] if server.sql_port is not None else []))
    return found


def described(server: Server, found: Mapping[str, Answer]) -> str:
    """What each port does, for the user."""
    ports = {f"{listener}s": port for listener, port, _ in server.listeners} | {"SQL": server.sql_port}
    return ", ".join(f"{server.at(ports[name])} ({name}) {answer}" for name, answer in sorted(found.items()))


async def refuses(server: Server) -> bool:
    """Whether the listener for reads refuses a connection just now; False if that could not be tried."""
    try:
        stream = await _connect(server.host, server.read_port)
    except ClusterError:
        return False
    if isinstance(stream, trio.SocketStream):
        await stream.aclose()
    return stream == "refuses"


async def _connect(host: str, port: int) -> trio.SocketStream | Answer:
    stream: trio.SocketStream | None = None
    with trio.move_on_after(ANSWER_SECONDS):
        try:
            stream = await trio.open_tcp_stream(host, port)
        except OSError as error:
            return _answer_in(error, f"{host}:{port}")
    return stream or "is unreachable"


def _answer_in(error: OSError, where: str) -> Answer:
    """What the failure to connect says of the server. Raises `ClusterError` if it says nothing."""
    each = list(_leaves(error))
    if any(isinstance(one, ConnectionError) for one in each):
        return "refuses"
    if any(one.errno in UNREACHABLE for one in each):
        return "is unreachable"
    raise ClusterError(f"cannot try to connect to {where}: {error}") from error


def _leaves(error: BaseException | None) -> Iterator[OSError]:
    """An error and its causes: trio tries each address of a name, and groups what it gets."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    elif isinstance(error, OSError):
        yield error
        yield from _leaves(error.__cause__)


async def _ask_handlersocket(host: str, port: int, secret: str) -> Answer:
    stream = await _connect(host, port)
    if isinstance(stream, str):
        return stream
    async with stream:
        with trio.move_on_after(ANSWER_SECONDS):
            with suppress(trio.BrokenResourceError):
                await stream.send_all(b"A\t1\t%s\n" % secret.encode())
                if await stream.receive_some(1):
                    return "answers"
            return "refuses"
    return "is silent"


def _ask_sql(server: Server) -> Answer:
    # With an account: a server blocks hosts that give up too often before they have said who they are.
    try:
        connect_sql(server, connect_timeout=ANSWER_SECONDS, read_timeout=ANSWER_SECONDS, write_timeout=ANSWER_SECONDS).close()
    except pymysql.MySQLError as error:
        code = error.args[0] if error.args else 0
        if code in SERVER_ERRORS:
            return "answers"
        cause = getattr(error, "original_exception", None) or error.__context__
        if isinstance(cause, TimeoutError):
            return "is unreachable" if code == CANNOT_CONNECT else "is silent"
        if code == CANNOT_CONNECT and isinstance(cause, OSError):
            return _answer_in(cause, server.at(server.sql_port))
        return "refuses"
    except OSError as error:
        return _answer_in(error, server.at(server.sql_port))
    return "answers"
