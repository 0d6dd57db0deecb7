"""Checks that the HandlerSocket listeners of a user's server answer, and says what is wrong there as far as SQL shows."""

from __future__ import annotations

import trio

from hs_drill._cluster import ROUTER, ClusterError, Server

from ._sql import execute_sql

__all__ = ["check_listener", "check_listeners"]

ANSWER_SECONDS = 5.0


async def check_listeners(server: Server) -> None:
    """Raise `ClusterError` unless every HandlerSocket listener of the server answers and accepts its secret."""
    for listener, port, secret in server.listeners:
        await check_listener(server, port, secret, f"{listener}s")


async def check_listener(server: Server, port: int, secret: str, what: str) -> None:
    """Raise `ClusterError` unless the listener answers and accepts the secret."""
    at = f"{server.name}: the listener for {what} at {server.at(port)}"
    answer = b""
    with trio.move_on_after(ANSWER_SECONDS) as scope:
        try:
            async with await trio.open_tcp_stream(server.host, port) as stream:
                await stream.send_all(b"A\t1\t%s\n" % secret.encode())
                while not answer.endswith(b"\n") and (received := await stream.receive_some()):
                    answer += received
        except (OSError, trio.BrokenResourceError) as error:
            raise ClusterError(f"{at} cannot be reached: {error}{await _trouble(server, what)}") from error
    if scope.cancelled_caught:
        raise ClusterError(f"{at} does not answer within {ANSWER_SECONDS:g} s{await _trouble(server, what)}")
    if not answer and server.name == ROUTER:
        raise ClusterError(f"{at} closes the connection without an answer: does it lead to a server that is up?")
    if answer.startswith(b"3\t"):
        raise ClusterError(f"{at} refuses the secret: use that server's handlersocket_plain_secret{'_wr' * (what == 'writes')}")
    if answer != b"0\t1\n":
        raise ClusterError(f"{at} does not speak HandlerSocket: it answered {answer[:40]!r}")


async def _trouble(server: Server, what: str) -> str:
    reader = what == "writes" and server.name.startswith("reader-")
    return (" (a reader needs none: leave its write_port out)" if reader else "") + await _plugin_trouble(server)


async def _plugin_trouble(server: Server) -> str:
    """Why a server might not listen, as far as SQL shows: a parenthesis to append to a message."""
    if server.sql_port is None:
        return ""
    try:
        plugin = await execute_sql(
            server, "SELECT plugin_status AS s FROM information_schema.plugins WHERE plugin_name='handlersocket'"
        )
        maturity = (await execute_sql(server, "SELECT @@plugin_maturity AS m"))[0]["m"]
    except ClusterError as error:
        return f" (SQL cannot be asked either: {error})"
    if plugin and plugin[0]["s"] == "ACTIVE":
        return " (the plugin is active there: is it another port, or has another program taken that?)"
    return (
        " (the plugin is not loaded there: set plugin-load-add=handlersocket.so and plugin-maturity=beta, "
        f"which is {maturity} now, and restart it)"
    )
