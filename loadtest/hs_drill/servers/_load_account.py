"""Checks the SQL account of `driver: sql` before it writes: `read_only` must apply to it, as to an application's account.

An administrator's account would write to a standby that was not promoted, and so split the cluster.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

from hs_drill._cluster import ClusterError, Server
from hs_drill._sql_text import table_name

from ._sql import execute_sql, run_all

__all__ = ["require_load_account"]

BEYOND_AN_APPLICATION = ("ALL PRIVILEGES", "SUPER", "READ_ONLY ADMIN")
"""With one of these on `*.*` an account writes in spite of `read_only`, on some version of MariaDB."""
READ_ONLY = "SQL error 1290:"
HOW = "give the load an account that may SELECT, INSERT, UPDATE and DELETE, and no more (load_user, TRIO_HS_LOAD_USER)"


async def require_load_account(
    servers: Sequence[Server], primary: str, table: tuple[str, str], *, alone: bool, followers: Collection[str] = ()
) -> None:
    """Check the account on every server. Writes nothing.

    `primary` is the name of the server that takes the writes, `table` the database and name of the table under load.
    `alone`: the servers do not replicate, so none needs to be read-only. The standby must be, and so must the `followers`: the
    names of servers to which writes move. Raises `ClusterError`.
    """
    (source,) = (server for server in servers if server.name == primary)
    written = {"standby", *followers}
    await run_all(*(partial(_check, server, source, table, alone, server.name in written) for server in servers))


async def _check(server: Server, primary: Server, table: tuple[str, str], alone: bool, written: bool) -> None:
    if server.sql_port is None:
        raise ClusterError(f"{server.name}: driver: sql needs its sql_port")
    if not server.load_user:
        raise ClusterError(f"{server.name}: driver: sql needs an account of its own: {HOW}")
    account = replace(server, admin_user=server.load_user, admin_password=server.load_password)
    grants = [str(next(iter(row.values()))) for row in await execute_sql(account, "SHOW GRANTS")]  # its roles' as well
    beyond = [name for grant in grants for name in _beyond(grant)]
    if beyond:
        raise ClusterError(
            f"{server.name}: driver: sql cannot use the account {server.load_user!r}, which may write in spite of read_only, "
            f"for it has {', '.join(beyond)}: {HOW}"
        )
    if alone or _address(server) == _address(primary):
        return
    if not (await execute_sql(account, "SELECT @@global.read_only AS r"))[0]["r"]:
        if not written:  # the load only reads from it
            return
        raise ClusterError(
            f"{server.name} takes writes although {primary.name} is the primary, and driver: sql would write there when it "
            f"loses {primary.name}: SET GLOBAL read_only=1 on {server.name}"
        )
    try:
        # read_only refuses this before the server looks at rights, table or rows. If it does not, the statement deletes no row.
        await execute_sql(account, f"DELETE FROM {table_name(*table)} WHERE 1=0")
        answer = "it may delete there"
    except ClusterError as error:
        answer = str(error)
    if READ_ONLY not in answer:
        raise ClusterError(f"{server.name}: read_only does not apply to the account {server.load_user!r} ({answer}): {HOW}")


def _beyond(grant: str) -> list[str]:
    match = re.match(r"GRANT (.+) ON \*\.\* TO ", grant)
    return [name for name in match[1].split(", ") if name in BEYOND_AN_APPLICATION] if match else []


def _address(server: Server) -> tuple[str, int | None]:
    return server.host, server.sql_port
