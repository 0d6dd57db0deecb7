"""What stands between clients and servers of the user's own: whether it answers, and which server it leads to.

Which server acknowledges a write that goes through a router nobody knows later. So it is checked before anything is written
that writes go to the primary. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import trio

from hs_drill._cluster import ROUTER, Cluster, ClusterError, Server

from ._control import Control
from ._listeners import check_listener
from ._one_server import servers_behind
from ._sql import execute_sql
from ._writable import NOT_READ_ONLY

__all__ = ["Behind", "SeenRouter", "ask_router", "require_router"]

SECONDS = 10.0
"""For all questions about one port."""
SQL_LOOKS = 3
"""A router may pass each connection on to another server."""
IN_TRANSACTION = ("START TRANSACTION", "SELECT @@server_id AS id, @@global.read_only AS r")
"""Routers that tell reads from writes send a transaction to the server for writes."""


@dataclass(frozen=True)
class Behind:
    """Which servers one port of a router leads to."""

    servers: tuple[str, ...] = ()
    """Their names, or words for one that the scenario does not name."""
    read_only: bool = False
    """Whether the only one is read-only."""
    trouble: str = ""
    """Why that is not known; empty if it is."""

    def __str__(self) -> str:
        if self.trouble:
            return f"which server is behind it is not known: {self.trouble}"
        return f"leads to {' and '.join(self.servers)}{', which is read-only' if self.read_only else ''}"


@dataclass(frozen=True)
class SeenRouter:
    """What was seen of a router."""

    router: Server
    listeners: Mapping[str, str] = field(default_factory=dict)
    """HandlerSocket's listeners behind it: `read` or `write` -> why it cannot be used; empty if it can. With `driver: sql` none
    is asked."""
    writes: Behind | None = None
    """Its port for HandlerSocket's writes, if that was asked and answered."""
    sql: Behind | None = None
    """Its port for SQL, if it has one."""

    @property
    def answers(self) -> bool:
        """Whether each port that was asked answers."""
        return not any(self.listeners.values()) and not (self.sql is not None and self.sql.trouble)

    def lines(self) -> Iterator[str]:
        """What was seen, a line for each port."""
        router = self.router
        for listener, port, _ in self._asked:
            leads = f"; {self.writes}" if listener == "write" and self.writes is not None else ""
            yield f"HandlerSocket for {listener}s at {router.at(port)}: {self.listeners[listener] or 'answers'}{leads}"
        if self.sql is not None:
            yield f"SQL at {router.at(router.sql_port)}: {self.sql}"

    def mistakes(self, *, by_sql: bool, writes: bool) -> Iterator[str]:
        """Why a load cannot go through it, or must not."""
        router = self.router
        for listener, port, _ in self._asked:
            if self.listeners[listener] and (writes or listener == "read"):
                yield f"{ROUTER}: the listener for {listener}s at {router.at(port)} {self.listeners[listener]}"
        if by_sql and self.sql is not None:
            yield from _wrong_behind(self.sql, f"{ROUTER}: SQL at {router.at(router.sql_port)}", by_sql, writes)
        elif self.writes is not None:
            yield from _wrong_behind(self.writes, f"{ROUTER}: writes at {router.at(router.write_port)}", by_sql, writes)

    @property
    def _asked(self) -> list[tuple[str, int, str]]:
        return [one for one in self.router.listeners if one[0] in self.listeners]

    def unknown(self, *, by_sql: bool, writes: bool) -> Iterator[str]:
        """What could not be checked of the port that writes go through."""
        if writes and not by_sql and self.writes is not None and self.writes.trouble:
            yield f"not checked: which server {ROUTER} passes writes to ({self.writes.trouble})"


def _wrong_behind(behind: Behind, at: str, by_sql: bool, writes: bool) -> Iterator[str]:
    if behind.trouble:
        if by_sql:  # it does not even answer
            yield f"{at}: {behind.trouble}"
    elif not writes:
        return
    elif behind.servers == ("writer",):
        if behind.read_only:
            yield f"{at} {behind}, so no write gets through"
    elif len(behind.servers) > 1:
        yield f"{at} {behind}, a connection here and a connection there: let it pass writes on to the primary alone"
    else:
        yield f"{at} {behind}, and not to writer: let the router lead to the primary, and name that `writer`"


async def require_router(
    control: Control, router: Server, *, by_sql: bool, writes: bool, progress: Callable[[str], None]
) -> Cluster:
    """The cluster with the router, through which clients reach it. Reports what was seen, and what was not checked.

    Raises `ClusterError` if the load cannot go through it, or if `writes` would not go to the writer. Nothing was written then.
    """
    cluster = control.cluster
    seen = await ask_router(router, cluster.servers, by_sql=by_sql)
    for line in seen.lines():
        progress(f"{ROUTER}: {line}")
    for mistake in seen.mistakes(by_sql=by_sql, writes=writes):
        raise ClusterError(f"{mistake}. Nothing was written")
    for line in seen.unknown(by_sql=by_sql, writes=writes):
        progress(line)
    if writes:
        progress(f"which server acknowledges a write is not known, for clients reach them through the {ROUTER} alone")
    return replace(cluster, router=router)


async def ask_router(router: Server, servers: Sequence[Server], *, by_sql: bool) -> SeenRouter:
    """Ask its ports, and by SQL the servers. With `by_sql` as the account of `driver: sql`. Raises nothing."""
    asked = [server for server in servers if server.sql_port is not None and server.admin_user]
    asked.sort(key=lambda server: server.name != "writer")  # of two names of one server, this one counts
    used = () if by_sql else router.listeners
    listeners: dict[str, str] = {name: await _trouble(router, name, port, secret) for name, port, secret in used}
    writes = sql = None
    if listeners.get("write") == "":
        writes = await _behind_listener(router, asked)
    if router.sql_port is not None:
        account = replace(router, admin_user=router.load_user, admin_password=router.load_password) if by_sql else router
        sql = await _behind_sql(account, asked)
    return SeenRouter(router, listeners, writes, sql)


async def _trouble(router: Server, listener: str, port: int, secret: str) -> str:
    try:
        # Without SQL, which would tell of the plugin at whatever server is behind that port.
        await check_listener(replace(router, sql_port=None), port, secret, f"{listener}s")
    except ClusterError as error:
        return str(error).partition(f"at {router.at(port)} ")[2]
    return ""


async def _behind_listener(router: Server, servers: Sequence[Server]) -> Behind:
    if "writer" not in [server.name for server in servers]:
        return Behind(trouble="that takes the writer's sql_port")
    try:
        with trio.fail_after(SECONDS):
            names = await servers_behind(servers, router, "write")
            if not names:
                return Behind(("no server whose sql_port is named here",))
            return Behind(names, len(names) == 1 and await _is_read_only(servers, names[0]))
    except ClusterError as error:
        return Behind(trouble=str(error))
    except trio.TooSlowError:
        return Behind(trouble=f"that did not show within {SECONDS:g} s")


async def _is_read_only(servers: Sequence[Server], name: str) -> bool:
    (server,) = (server for server in servers if server.name == name)
    (row,) = await execute_sql(server, "SELECT @@global.read_only AS r")
    return str(row["r"]).upper() not in NOT_READ_ONLY


async def _behind_sql(router: Server, servers: Sequence[Server]) -> Behind:
    if not router.admin_user:
        return Behind(trouble="SQL needs an account")
    names: dict[str, bool] = {}
    try:
        with trio.fail_after(SECONDS):
            ids: dict[str, str] = {}
            for server in servers:
                ids.setdefault(str((await execute_sql(server, "SELECT @@server_id AS id"))[0]["id"]), server.name)
            for _ in range(SQL_LOOKS):
                (row,) = await execute_sql(router, *IN_TRANSACTION)
                name = ids.get(str(row["id"]), f"a server whose sql_port is not named here (server id {row['id']})")
                names[name] = str(row["r"]).upper() not in NOT_READ_ONLY
    except ClusterError as error:
        return Behind(trouble=str(error).removeprefix(f"{ROUTER}: "))
    except trio.TooSlowError:
        return Behind(trouble=f"no answer within {SECONDS:g} s")
    return Behind(tuple(names), len(names) == 1 and all(names.values()))
