"""Whether a server may be written to, checked before a run on external servers writes: no replica, read-only or standby."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hs_drill._cluster import ClusterError, Server

from ._control import bounded
from ._sql import execute_sql, sql_error_code

__all__ = [
    "NOT_READ_ONLY",
    "SOURCES",
    "Source",
    "denied_sources",
    "require_alone",
    "require_standby",
    "require_writer",
    "sources_in",
    "sources_of",
    "takes_writes",
    "why_not_writable",
]

ACCESS_DENIED = 1227
ANSWER_SECONDS = 10.0
NOT_READ_ONLY = ("0", "OFF")
SOURCES = "SHOW ALL SLAVES STATUS"


@dataclass(frozen=True)
class Source:
    """A server that another one replicates from."""

    address: str
    io: str
    """The state of the thread that fetches: Yes, No, Connecting or Preparing."""
    sql: str
    """The state of the thread that applies: Yes or No."""
    server_id: int = 0
    """Of the server that answered at the address; 0 if none has yet. The address may be that of a proxy."""

    @property
    def healthy(self) -> bool:
        """Whether the replica fetches and applies."""
        return self.io == self.sql == "Yes"

    @property
    def stopped(self) -> bool:
        """Whether somebody, or an error, has stopped one of the two threads. One that connects is not stopped."""
        return "No" in (self.io, self.sql)

    @property
    def threads(self) -> str:
        return f"IO thread {self.io}, SQL thread {self.sql}"


async def require_writer(server: Server) -> None:
    """Raise `ClusterError` if writes to the server would make it diverge from its source, or would fail."""
    reason = await why_not_writable(server)
    if reason:
        raise ClusterError(
            f"{server.name} must not be written to: {reason}. Name the primary `writer`. If this server is to be it, run STOP "
            "SLAVE; RESET SLAVE ALL; SET GLOBAL read_only=0. If primaries replicate from each other, test on one that does not "
            "replicate meanwhile. Nothing was written"
        )


async def require_alone(server: Server) -> None:
    """`require_writer` for a server that is not the writer, where servers are said not to replicate and so each is written."""
    reason = await why_not_writable(server)
    if reason:
        raise ClusterError(
            f"{server.name} must not be written to: {reason}. With cluster.replication: none a run writes to every server. If "
            f"{server.name} is a replica of writer, leave that key out. Nothing was written"
        )


async def require_standby(server: Server) -> None:
    """Raise `ClusterError` if the server takes writes although it was not promoted. A load that loses its writer for a moment
    would write there, and then the server could not replicate from that writer any more."""
    if await takes_writes(server):
        raise ClusterError(
            f"{server.name} takes writes although it is not the primary in this scenario, and the load would write there when "
            f"it loses the writer. If it is the primary now, name it `writer`; else SET GLOBAL read_only=1 on {server.name} "
            "until it is promoted. Nothing was written"
        )


async def why_not_writable(server: Server) -> str:
    """Why the server must not be written to; "" if it may. Raises `ClusterError` if SQL fails, or does not answer."""
    with bounded(f"asking {server.name} whether it may be written to", ANSWER_SECONDS):
        return await _why_not_writable(server)


async def _why_not_writable(server: Server) -> str:
    read_only = await _read_only(server)
    if read_only not in NOT_READ_ONLY:
        return f"it is read-only (read_only is {read_only})"
    for source in (await sources_of(server)).values():
        address = source.address
        return (
            f"it is set up to replicate from {address}, which is stopped"
            if source.io == source.sql == "No"
            else f"it replicates from {address}"
        )
    return ""


async def takes_writes(server: Server) -> bool:
    """Whether the server is not read-only, for accounts without privileges and for HandlerSocket."""
    return await _read_only(server) in NOT_READ_ONLY


async def _read_only(server: Server) -> str:
    (row,) = await execute_sql(server, "SELECT @@global.read_only AS r")
    return str(row["r"]).upper()


async def sources_of(server: Server) -> dict[str, Source]:
    """The server's replication sources, by the name of the connection ("" is the default one)."""
    with denied_sources(server):
        return sources_in(await execute_sql(server, SOURCES))


@contextmanager
def denied_sources(server: Server) -> Iterator[None]:
    """Say which privilege `SOURCES` needs, if the account lacks it."""
    try:
        yield
    except ClusterError as error:
        if sql_error_code(error) != ACCESS_DENIED:
            raise
        raise ClusterError(
            f"{server.name}: whether it replicates from another server cannot be checked: the SQL account may not SHOW ALL "
            "SLAVES STATUS. GRANT SLAVE MONITOR ON *.* to it"
        ) from error


def sources_in(rows: Iterable[Mapping[str, Any]]) -> dict[str, Source]:
    """The sources in the rows of `SOURCES`."""
    return {
        str(row["Connection_name"]): Source(
            f"{row['Master_Host']}:{row['Master_Port']}",
            str(row["Slave_IO_Running"]),
            str(row["Slave_SQL_Running"]),
            int(row["Master_Server_Id"] or 0),
        )
        for row in rows
    }
