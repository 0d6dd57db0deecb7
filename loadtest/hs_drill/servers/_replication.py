"""Replication between servers by SQL: tables, positions, sources. Positions are MariaDB's GTIDs."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import trio

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill._sql_text import any_table, literal, quoted, table_name

from ._sql import Asking, asking, collecting, execute_sql, run_all

logger = logging.getLogger("hs_drill.control")

POLL_SECONDS = 0.02
SLAVE_STATUS = "SHOW ALL SLAVES STATUS"
"""Without ALL it shows the default connection, which a user's replica need not have."""
NOTICE_SECONDS = 2.0
"""How long a promotion waits for a replica to apply what it has fetched before it says so."""
REPLICATION_SECONDS = 15.0
PAGE = "docs/replication.md"
"""Where users read about the topologies."""


async def create_table(cluster: Cluster, database: str, table: str, columns_sql: str) -> None:
    """Create the InnoDB table `database.table (columns_sql)` on the writer, and wait until every replica has it.

    In the write-through topology, also create the FEDERATED twin on every server. Clients write to
    `cluster.write_databases[database]`; the server executes the writes on its own `database` through SQL, and so logs them.
    Clients must not open either table before this returns: opening a missing table on a write port spoils that writer thread
    (inserts fail with error 167) until the server restarts.

    Raises `ClusterError`. A cancelled call may leave the table on some servers only.
    """
    create = (
        f"CREATE DATABASE IF NOT EXISTS {quoted(database)}",
        f"CREATE TABLE {table_name(database, table)} ({columns_sql}) ENGINE=InnoDB",
    )
    alone = cluster.servers if cluster.replication == "none" else (cluster.writer,)
    await run_all(*(partial(_execute_all, server, create) for server in alone))
    await wait_replicated(cluster, REPLICATION_SECONDS)
    # Reaching the position does not prove that the table exists: a user's server may have a replication filter.
    await run_all(*(partial(_require_table, replica, database, table) for replica in cluster.replicas))
    if database in cluster.write_databases:
        twin = partial(_create_twin, cluster.write_databases[database], database, table, columns_sql)
        await run_all(*(partial(twin, server) for server in cluster.servers))


async def _execute_all(server: Server, statements: tuple[str, ...]) -> None:
    await execute_sql(server, *statements)


async def _require_table(server: Server, database: str, table: str) -> None:
    await execute_sql(server, f"SELECT 1 FROM {table_name(database, table)} LIMIT 0")


async def _create_twin(twin_database: str, database: str, table: str, columns_sql: str, server: Server) -> None:
    """Create the FEDERATED table that points back at its own server."""
    await _create_on(
        server,
        twin_database,
        database,
        f"CREATE TABLE {table_name(twin_database, table)} ({columns_sql}) ENGINE=FEDERATED "
        f"CONNECTION='{_link_name(database)}/{table}'",
    )


async def _create_on(server: Server, twin_database: str, database: str, *statements: str) -> None:
    """Run statements that create a twin. They are not logged, for each server's link names its own port."""
    known = await execute_sql(server, f"SELECT 1 FROM mysql.servers WHERE server_name = '{_link_name(database)}'")
    link = [] if known else _link_sql(server, database, _link_name(database))
    await execute_sql(server, "SET sql_log_bin=0", *link, f"CREATE DATABASE IF NOT EXISTS {quoted(twin_database)}", *statements)


def _link_name(database: str) -> str:
    return f"self_{database}"


def _link_sql(server: Server, database: str, itself: str) -> list[str]:
    # An ordinary user, to whom read_only applies: a replica's write port must not write.
    user, password = f"'{itself}'@'{server.host}'", secrets.token_hex(16)
    return [
        f"CREATE OR REPLACE USER {user} IDENTIFIED BY '{password}'",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {any_table(database)} TO {user}",
        f"CREATE SERVER {quoted(itself)} FOREIGN DATA WRAPPER mysql OPTIONS (HOST '{server.host}', "
        f"PORT {server.sql_port}, USER '{itself}', PASSWORD '{password}', DATABASE '{database}')",
    ]


async def wait_replicated(cluster: Cluster, within: float = 10.0) -> None:
    """Wait until every replica has applied what the writer has logged by now, at most `within` seconds.

    Raises `ClusterError`, which names the replica that did not and its replication error. It does not wait for HandlerSocket's
    writes in the plain topology, which are not logged. Without replication it returns at once.
    """
    if cluster.replication == "none":
        return
    position = (await execute_sql(cluster.writer, "SELECT @@gtid_binlog_pos AS position"))[0]["position"]
    await wait_all_applied(cluster.replicas, position, within)


async def wait_all_applied(replicas: Iterable[Server], position: str, within: float) -> None:
    """`wait_applied` for each. If one cannot get there, such as a former primary that is down or replicates from no server yet,
    wait for the others all the same, and then raise the errors of all that cannot."""
    troubles: list[str] = []
    await run_all(*(collecting(troubles, partial(wait_applied, replica, position, within)) for replica in replicas))
    if troubles:
        raise ClusterError("; ".join(sorted(troubles)))


async def wait_applied(replica: Server, position: str, within: float, *, promoting: bool = False) -> None:
    """Wait until a replica has applied a position. `promoting`: it does not fetch meanwhile; say early what this waits for.

    Raises `ClusterError`, which says how far the replica is, and what its replication reports.
    """
    async with asking(replica) as ask:
        await _wait_applied(ask, replica, position, within, promoting)


async def _wait_applied(ask: Asking, replica: Server, position: str, within: float, promoting: bool) -> None:
    begin = trio.current_time()
    said = not promoting
    # In slices: then a cancelled caller leaves no thread behind for long, and we notice a stopped replica.
    wait = f"SELECT MASTER_GTID_WAIT('{position}', 0.25) AS late"
    while (await ask(wait))[0]["late"]:
        status = await ask(SLAVE_STATUS)
        stopped = all(one["Slave_SQL_Running"] != "Yes" for one in status)
        waited = trio.current_time() - begin
        if stopped or waited >= within:
            when = "and has stopped" if stopped else f"within {within:g} s"
            raise ClusterError(
                f"{replica.name} has not applied {position} {when}: {await _progress(replica, status, promoting)}"
            )
        if not said and waited >= NOTICE_SECONDS:
            said = True
            progress = await _progress(replica, status, promoting)
            logger.warning("promoting %s waits until it has applied %s: %s", replica.name, position, progress)


async def _progress(replica: Server, status: Sequence[Mapping[str, Any]], promoting: bool) -> str:
    """How far a replica is, and what holds it up."""
    if not status:
        return "it is not a replica"
    one = status[0]
    parts = [f"it is at {await applied(replica) or 'the beginning'}"]
    if one.get("SQL_Delay"):
        parts.append(f"it applies every change {one['SQL_Delay']} s late, for a lag is set")
    if one.get("Slave_SQL_Running_State"):
        parts.append(f"its SQL thread says {one['Slave_SQL_Running_State']!r}")
    # While a replica is promoted, it is we who have stopped its IO thread.
    shown = {**one, "Slave_IO_Running": None} if promoting else one
    return "; ".join([*parts, replication_trouble(shown)])


async def follow(replica: Server, source: Server, cluster: Cluster) -> None:
    """Make `replica` replicate from `source`, from its own position on, and wait until it does.

    Raises `ClusterError`; a `DivergedError` if `replica` holds transactions that `source` lacks: it would attach, then stop.
    """
    missing = await unreplicated(replica, source)
    if missing:
        raise DivergedError(f"{replica.name} holds transactions that {source.name} never got: {missing}")
    await execute_sql(
        replica,
        "STOP SLAVE",
        f"CHANGE MASTER TO master_host='{source.peer_host or source.host}', master_port={source.sql_port}, "
        f"master_user='{cluster.replication_user}', master_password='{cluster.replication_password}', "
        # By default a replica waits a minute before it reconnects to a restarted writer.
        "master_use_gtid=slave_pos, master_connect_retry=1",
    )
    await start_slave(replica)


async def start_slave(replica: Server) -> None:
    """Start fetching and applying, and wait until both run. Raises `ClusterError` with the server's reason."""
    await execute_sql(replica, "START SLAVE")
    status: Mapping[str, Any] = {}
    with trio.move_on_after(REPLICATION_SECONDS):
        async with asking(replica) as ask:
            while True:
                status = next(iter(await ask(SLAVE_STATUS)), {})
                if status.get("Slave_IO_Running") == status.get("Slave_SQL_Running") == "Yes":
                    return
                if status.get("Last_IO_Errno") == NOT_IN_BINLOG:
                    raise DivergedError(f"{replica.name} cannot replicate: {replication_trouble(status)}")
                await trio.sleep(POLL_SECONDS)
    raise ClusterError(f"{replica.name} does not replicate: {replication_trouble(status)}")


async def slave_status(server: Server) -> Mapping[str, Any] | None:
    """The server's SHOW SLAVE STATUS; None if it is not a replica."""
    return next(iter(await execute_sql(server, SLAVE_STATUS)), None)


NOT_IN_BINLOG = 1236
"""\"Got fatal error 1236 from master\": its binary log does not have the requested position."""


class DivergedError(ClusterError):
    """The replica has transactions that its source lacks, or needs some that its source no longer has. Only a rebuild helps."""


async def unreplicated(server: Server, source: Server) -> str:
    """The last transactions in `server`'s binary log that `source` never received, as GTIDs; empty if there are none."""
    ours, theirs = [gtids((await execute_sql(s, "SELECT @@gtid_binlog_state AS s"))[0]["s"]) for s in (server, source)]
    # Compare per origin: a source that took writes itself has a greater number in the domain, and still lacks them.
    return ",".join(f"{d}-{o}-{number}" for (d, o), number in sorted(ours.items()) if number > theirs.get((d, o), 0))


def gtids(position: str) -> dict[tuple[int, int], int]:
    """`0-1-100,0-2-110` as `{(0, 1): 100, (0, 2): 110}`: the last number of each domain and server of origin."""
    triples = (map(int, gtid.split("-")) for gtid in position.split(",") if gtid)
    return {(domain, origin): number for domain, origin, number in triples}


async def applied(server: Server) -> str:
    """The position that a replica has applied."""
    return str((await execute_sql(server, "SELECT @@gtid_slave_pos AS position"))[0]["position"])


async def logged(server: Server) -> str:
    """The position at the end of a server's binary log."""
    return str((await execute_sql(server, "SELECT @@gtid_binlog_pos AS position"))[0]["position"])


async def drain(replica: Server, within: float, most_delay: float) -> None:
    """Stop fetching, and apply what was fetched. (A semi-synchronous acknowledgement promises only the fetching.)

    Takes at most `within` seconds, and a lag that was set, if that is at most `most_delay` seconds.

    Raises `ClusterError` if that cannot be applied, or is already lost. If neither of a replica's two threads runs, it discards
    what it has fetched as soon as either starts, and Gtid_IO_Pos goes back as if nothing had been there (seen on 10.11). So
    this reads the position first, and starts the applying thread before it stops the fetching thread.
    """
    status = await slave_status(replica) or {}
    await execute_sql(replica, "START SLAVE SQL_THREAD", "STOP SLAVE IO_THREAD")
    delay = min(status.get("SQL_Delay", 0), most_delay)
    await wait_applied(replica, status.get("Gtid_IO_Pos", ""), within + delay, promoting=True)


async def start_fetching(replica: Server) -> None:
    """Undo `drain`."""
    await execute_sql(replica, "START SLAVE")


async def copy_twins(cluster: Cluster, source: Server, server: Server) -> None:
    """Create the FEDERATED twins of `source` that `server` lacks. They are in no binary log."""
    for database, twin_database in cluster.write_databases.items():
        tables = f"SELECT table_name AS name FROM information_schema.tables WHERE table_schema = {literal(twin_database)}"
        names = [{row["name"] for row in await execute_sql(s, tables)} for s in (source, server)]
        for name in sorted(names[0] - names[1]):
            shown = await execute_sql(source, f"SHOW CREATE TABLE {table_name(twin_database, name)}")
            await _create_on(server, twin_database, database, f"USE {quoted(twin_database)}", shown[0]["Create Table"])


# --- Semi-synchronous replication: a commit waits until a replica has fetched it ----------------------------------------


async def wait_for_acknowledgements(primary: Server, within: float) -> bool:
    """Make the primary's commits wait for a replica, if one that acknowledges attaches within `within` seconds.

    Not earlier: the wait is practically unbounded, so without such a replica the primary would hang at its first commit.
    Replicas attach while the primary's side is still off (seen on 10.11).
    """
    attached = "SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'"
    with trio.move_on_after(within):
        async with asking(primary) as ask:
            while int((await ask(attached))[0]["Value"]) == 0:  # noqa: ASYNC110  (the server is asked)
                await trio.sleep(POLL_SECONDS)
        await execute_sql(primary, "SET GLOBAL rpl_semi_sync_master_enabled=1")
        return True
    return False


def replication_trouble(status: Mapping[str, Any]) -> str:
    errors = [str(status[key]) for key in ("Last_IO_Error", "Last_SQL_Error") if status.get(key)]
    threads = {"IO thread": status.get("Slave_IO_Running"), "SQL thread": status.get("Slave_SQL_Running")}
    return "; ".join([", ".join(f"{name} {state}" for name, state in threads.items() if state is not None), *errors])
