"""Whether a server may be written to: it is no replica, and not read-only. A standby must not be, until it is promoted."""

from __future__ import annotations

from hs_drill._cluster import ClusterError, Server

from ._sql import execute_sql, sql_error_code

__all__ = ["promoted", "replicates", "require_standby", "require_writer", "why_no_writer"]

ACCESS_DENIED = 1227


async def require_writer(server: Server) -> None:
    """Raises `ClusterError` where writes to the server would diverge from the one that it replicates from."""
    reason = await why_no_writer(server)
    if reason:
        raise ClusterError(
            f"{server.name} is not one to write to: {reason}. Name the primary `writer`. If this is it now, make it one: STOP "
            "SLAVE; RESET SLAVE ALL; SET GLOBAL read_only=0. Of primaries that replicate from each other, test on one while it "
            "replicates from nobody. Nothing was written"
        )


async def require_standby(server: Server) -> None:
    """Raises `ClusterError` where the server takes writes, although nobody has promoted it: a load that loses its writer for a
    moment would write there, and then it cannot replicate from that writer any more."""
    if await _read_only(server) in ("0", "OFF"):
        raise ClusterError(
            f"{server.name} takes writes although it is not the primary, and the load would write there when it loses the "
            f"writer: SET GLOBAL read_only=1 on {server.name} until it is promoted. Nothing was written"
        )


async def why_no_writer(server: Server) -> str:
    """Why the server is none that takes writes; "" if it is. Raises `ClusterError` where SQL cannot be asked."""
    read_only = await _read_only(server)
    if read_only not in ("0", "OFF"):
        return f"it is read-only (read_only is {read_only})"
    for source, running in await replicates(server):
        return f"it replicates from {source}" if running else f"it is set up to replicate from {source}, which is stopped"
    return ""


async def promoted(server: Server) -> str:
    """What of the server looks like that of a primary, in words; "" where it replicates, or is a replica that is stopped."""
    found = await replicates(server)
    if not found:
        return "replicates from nobody now"
    if not any(running for _, running in found) and await _read_only(server) in ("0", "OFF"):
        return "is stopped now and takes writes"
    return ""


async def _read_only(server: Server) -> str:
    (row,) = await execute_sql(server, "SELECT @@global.read_only AS r")
    return str(row["r"]).upper()


async def replicates(server: Server) -> list[tuple[str, bool]]:
    """The addresses that the server replicates from, or would if it was started; and whether it does."""
    try:
        rows = await execute_sql(server, "SHOW ALL SLAVES STATUS")
    except ClusterError as error:
        if sql_error_code(error) != ACCESS_DENIED:
            raise
        raise ClusterError(
            f"{server.name}: whether it replicates from another server cannot be checked: the SQL account may not SHOW ALL "
            "SLAVES STATUS. GRANT SLAVE MONITOR ON *.* to it"
        ) from error
    return [
        (f"{row['Master_Host']}:{row['Master_Port']}", {row["Slave_IO_Running"], row["Slave_SQL_Running"]} != {"No"})
        for row in rows
    ]
