"""Whether the ports of a server answer, keep silent or refuse: how the effect of a kill, a pause or a restart shows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Literal, TypeAlias

import pymysql
import trio

from hs_drill._cluster import Server

from ._sql import connect_sql

__all__ = ["Answer", "ask_ports", "described", "refuses"]

Answer: TypeAlias = Literal["answers", "is silent", "refuses", "is unreachable"]
"""`is silent`: it accepts the connection, and then says nothing. `refuses`: it does not accept it, or closes it at once.
`is unreachable`: not even the attempt to connect is answered."""

ANSWER_SECONDS = 1.0
CANNOT_CONNECT = 2003
SERVER_ERRORS = range(1000, 2000)
"""Codes of errors that the server itself reports, such as too many connections; 2000 and above are the client's."""


async def ask_ports(server: Server) -> dict[str, Answer]:
    """What each port of the server does, by its name: `SQL`, `reads`, `writes`. Takes about `ANSWER_SECONDS` at most."""
    found: dict[str, Answer] = {}

    async def handlersocket(name: str, port: int, secret: str) -> None:
        found[name] = await _ask_handlersocket(server.host, port, secret)

    async def sql() -> None:
        with trio.move_on_after(3 * ANSWER_SECONDS):  # a name that is not resolved
            found["SQL"] = await trio.to_thread.run_sync(_ask_sql, server, abandon_on_cancel=True)
            return
        found["SQL"] = "is unreachable"

    async with trio.open_nursery() as nursery:
        for listener, port, secret in server.listeners:
            nursery.start_soon(handlersocket, f"{listener}s", port, secret)
        if server.sql_port is not None:
            nursery.start_soon(sql)
    return found


def described(server: Server, found: Mapping[str, Answer]) -> str:
    """What each port does, for the user."""
    ports = {f"{listener}s": port for listener, port, _ in server.listeners} | {"SQL": server.sql_port}
    return ", ".join(f"{server.at(ports[name])} ({name}) {answer}" for name, answer in sorted(found.items()))


async def refuses(server: Server) -> bool:
    """Whether the listener for reads refuses a connection just now."""
    stream = await _connect(server.host, server.read_port)
    if isinstance(stream, trio.SocketStream):
        await stream.aclose()
    return stream == "refuses"


async def _connect(host: str, port: int) -> trio.SocketStream | Answer:
    stream: trio.SocketStream | None = None
    with trio.move_on_after(ANSWER_SECONDS):
        try:
            stream = await trio.open_tcp_stream(host, port)
        except OSError:
            return "refuses"
    return stream or "is unreachable"


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
        return "refuses"
    except OSError:
        return "refuses"
    return "answers"
