"""How each server of a pool is doing."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from ._connection import Connection
from ._link import Link
from ._servers import Server


@dataclass(frozen=True)
class ServerStatistics:
    """How one server of a pool is doing, over all connections to it."""

    server: str
    """Its address."""
    connections: int
    """Connections that take requests now."""
    stalled: int
    """Connections whose server is suspiciously silent with requests outstanding."""
    busy: int
    """Connections with requests outstanding."""
    max_connections: int
    """The number of connections that the client keeps to it, at most."""
    outstanding: int
    """Requests that wait for an answer or for their turn. Long ones count for several."""
    answers: int
    """Answers since the Manager was opened, or since :meth:`Manager.set_servers` added the server."""
    connected: int
    """How often a connection was made and the server answered on it."""
    failed_attempts: int
    """How often an attempt to connect failed."""
    refusing: bool
    """True while it is avoided because it answered ``lock_tables``. It is tried again after 0.1 s, later every second."""
    usable: bool
    """Whether it is connected, and neither stalls nor refuses requests. A less preferred server is usable too, but gets no
    requests while a preferred one takes them."""
    last_error: str | None
    """Why the last attempt to connect failed or the last connection was lost; None if nothing ever went wrong, or if the server
    has answered since. That a server closes an idle connection is no error."""
    last_error_at: float | None
    """When ``last_error`` happened, on the monotonic clock of ``trio.current_time()``. None where ``last_error`` is."""


@dataclass(frozen=True)
class Statistics:
    """The state of the servers at one moment. Returned by :meth:`Manager.statistics`."""

    readers: tuple[ServerStatistics, ...]
    """The servers for reads, in order of preference."""
    writers: tuple[ServerStatistics, ...]
    """The servers for writes, in order of preference."""
    retries: int
    """Failed attempts that were followed by another one, since the Manager was opened."""


class ConnectionPool(Protocol):
    """A pool of connections, as an :class:`Instrument` gets it. What is here may be used in any thread."""

    @property
    def for_writes(self) -> bool:
        """Whether its servers are those for writes."""

    @property
    def waiting(self) -> int:
        """Callers that wait for a usable server."""

    def statistics(self) -> tuple[ServerStatistics, ...]:
        """How its servers are doing."""


def statistics_of(links: Iterable[Link], retiring: Collection[Connection]) -> tuple[ServerStatistics, ...]:
    """How every server is doing, in the order of the links. Also called in other threads, so it copies before it iterates."""
    retiring = tuple(retiring)
    by_server: dict[Server, list[Link]] = {}
    for link in tuple(links):
        by_server.setdefault(link.server, []).append(link)
    return tuple(_of_one(server, its_links, retiring) for server, its_links in by_server.items())


def _of_one(server: Server, links: list[Link], retiring: Collection[Connection]) -> ServerStatistics:
    connections = [connection for link in links if (connection := link.connection) is not None]
    problems = [(link.failed_at, problem) for link in links if (problem := link.problem) is not None]
    last_error_at, last_error = max(problems, default=(None, None))
    return ServerStatistics(
        server=str(server),
        connections=len(connections),
        stalled=sum(connection.stalled for connection in connections),
        busy=sum(connection.load > 0 for connection in connections),
        max_connections=len(links),
        outstanding=sum(connection.load for connection in connections),
        answers=sum(link.answered for link in links)
        + sum(each.answered for each in (*connections, *retiring) if each.peer == str(server)),
        connected=sum(link.connected for link in links),
        failed_attempts=sum(link.failed_attempts for link in links),
        refusing=any(link.refusing for link in links),
        usable=bool(connections) and not any(link.flaw for link in links),
        last_error=last_error,
        last_error_at=last_error_at,
    )
