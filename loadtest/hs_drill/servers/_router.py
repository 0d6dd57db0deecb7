"""What stands between clients and servers of the user's own: whether it answers, and which server it leads to.

Which server acknowledges a write that goes through a router nobody knows later. So it is checked before anything is written
that writes go to the primary. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address

import trio

from hs_drill._cluster import ROUTER, Cluster, ClusterError, Server

from ._control import Control
from ._listeners import check_listener
from ._one_server import Led, addresses_of, led_by_listener, led_by_sql
from ._sql import execute_sql
from ._writable import NOT_READ_ONLY

__all__ = ["Behind", "SeenRouter", "ask_router", "require_router"]

SECONDS = 30.0
"""For all questions about one port. Each of several dozen connections waits for three answers, from afar perhaps."""


@dataclass(frozen=True)
class Behind:
    """Which servers one port of a router leads to."""

    led: Led | None = None
    """None if that is not known."""
    read_only: bool = False
    """Whether it leads to one server alone, which is read-only."""
    trouble: str = ""
    """Why it is not known."""
    needs_port: bool = False
    """Only the writer's sql_port is missing for that, and the port answers."""

    def __str__(self) -> str:
        if self.led is None:
            return f"which server is behind it is not known: {self.trouble}"
        return f"{self.led}{f' ({self.led.only} is read-only)' if self.read_only else ''}"


NEEDS_PORT = Behind(trouble="that takes the writer's sql_port", needs_port=True)


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
    same: str = ""
    """Which of its ports is a server's own, under another name; empty if none is."""

    @property
    def answers(self) -> bool:
        """Whether each port that was asked answers."""
        return not any(self.listeners.values()) and not (self.sql is not None and self.sql.trouble and not self.sql.needs_port)

    def lines(self) -> Iterator[str]:
        """What was seen, a line for each port."""
        router = self.router
        for listener, port, _ in self._asked:
            leads = f"; {self.writes}" if listener == "write" and self.writes is not None else ""
            yield f"HandlerSocket for {listener}s at {router.at(port)}: {self.listeners[listener] or 'answers'}{leads}"
        if self.sql is not None:
            writes = "writes were " if self.sql.led is not None else ""
            yield f"SQL at {router.at(router.sql_port)}: {writes}{self.sql}"

    def mistakes(self, *, by_sql: bool, writes: bool) -> Iterator[str]:
        """Why a load cannot go through it, or must not."""
        router = self.router
        if self.same:
            yield f"{ROUTER}: {self.same}, so no router: name the router's own address, or leave `router` out"
        for listener, port, _ in self._asked:
            if self.listeners[listener] and (writes or listener == "read"):
                yield f"{ROUTER}: the listener for {listener}s at {router.at(port)} {self.listeners[listener]}"
        if by_sql and self.sql is not None:
            at = f"{ROUTER}: SQL at {router.at(router.sql_port)}"
            if self.sql.trouble and not self.sql.needs_port:  # it may not even answer
                yield f"{at}: {self.sql.trouble}"
            elif writes:
                yield from _wrong_behind(self.sql, f"{ROUTER}: writes by SQL at {router.at(router.sql_port)}")
        elif self.writes is not None and writes:
            yield from _wrong_behind(self.writes, f"{ROUTER}: writes at {router.at(router.write_port)}")

    @property
    def _asked(self) -> list[tuple[str, int, str]]:
        return [one for one in self.router.listeners if one[0] in self.listeners]

    def unknown(self, *, by_sql: bool, writes: bool) -> Iterator[str]:
        """What could not be checked of the port that writes go through."""
        behind = self.sql if by_sql else self.writes
        if writes and behind is not None and behind.needs_port:
            yield f"not checked: which server {ROUTER} passes writes to ({behind.trouble})"


def _wrong_behind(behind: Behind, at: str) -> Iterator[str]:
    if behind.needs_port:
        return
    led = behind.led
    if led is None:
        yield f"{at}: which server they go to could not be checked, so they are not allowed ({behind.trouble})"
    elif led.only == "writer":
        if behind.read_only:
            yield f"{at} were {behind}, so no write gets through"
    elif led.only:
        yield f"{at} were {behind}, and not to writer: let the router lead to the primary, and name that `writer`"
    else:
        others = "" if led.exact else " (more or less, for other clients' connections come and go)"
        yield f"{at} were {behind}{others}: let it pass writes on to the primary alone"


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
    asked = [server for server in servers if server.sql_port is not None]
    asked.sort(key=lambda server: server.name != "writer")  # of two names of one server, this one counts
    blind = any(server.name == "writer" and server.sql_port is None for server in servers)
    used = () if by_sql else router.listeners
    listeners: dict[str, str] = {name: await _trouble(router, name, port, secret) for name, port, secret in used}
    writes = sql = None
    if listeners.get("write") == "":
        writes = NEEDS_PORT if blind else await _behind(asked, partial(led_by_listener, asked, router, "write"))
    if router.sql_port is not None:
        account = replace(router, admin_user=router.load_user, admin_password=router.load_password) if by_sql else router
        if account.admin_user:
            # Without the writer it shows at least whether the port answers.
            sql = await _behind(asked, partial(led_by_sql, [] if blind else asked, account))
            sql = NEEDS_PORT if blind and sql.led is not None else sql
        else:
            sql = Behind(trouble="SQL needs an account")
    return SeenRouter(router, listeners, writes, sql, await _same(router, servers))


async def _same(router: Server, servers: Sequence[Server]) -> str:
    """Which of its ports is a server's own under another name, such as localhost. A name that is not of this machine may move
    from one server to another, as after a failover: then it is a router."""
    for port in filter(None, (router.read_port, router.write_port, router.sql_port)):
        found = {address[0] for address in await addresses_of(router.host, port)}
        for server in servers:
            if port in (server.read_port, server.write_port, server.sql_port):
                both = found & {address[0] for address in await addresses_of(server.host, port)}
                if any(ip_address(address.partition("%")[0]).is_loopback for address in both):
                    return f"{router.at(port)} is {server.at(port)}, a port of {server.name}"
    return ""


async def _trouble(router: Server, listener: str, port: int, secret: str) -> str:
    try:
        # Without SQL, which would tell of the plugin at whatever server is behind that port.
        await check_listener(replace(router, sql_port=None), port, secret, f"{listener}s")
    except ClusterError as error:
        return str(error).partition(f"at {router.at(port)} ")[2]
    return ""


async def _behind(servers: Sequence[Server], look: Callable[[], Awaitable[Led]]) -> Behind:
    try:
        with trio.fail_after(SECONDS):
            led = await look()
            named = next((server for server in servers if server.name == led.only), None)
            return Behind(led, named is not None and await _is_read_only(named))
    except ClusterError as error:
        return Behind(trouble=str(error).removeprefix(f"{ROUTER}: "))
    except trio.TooSlowError:
        return Behind(trouble=f"that did not show within {SECONDS:g} s")


async def _is_read_only(server: Server) -> bool:
    (row,) = await execute_sql(server, "SELECT @@global.read_only AS r")
    return str(row["r"]).upper() not in NOT_READ_ONLY
