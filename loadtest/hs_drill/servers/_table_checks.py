"""Checks the load's table on a user's server: does it exist, does it have what the load needs, is it empty?

The checks go through HandlerSocket's port for reads: opening a missing table on the port for writes spoils that writer thread.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import trio

import trio_hs
from hs_drill._addresses import read_address
from hs_drill._cluster import ClusterError, Server
from hs_drill._sql_text import literal
from trio_hs.testing import Table

from ._control import Row, bounded
from ._created import MARK
from ._server_table import declared, least_key, unfit
from ._sql import asking, execute_sql
from ._writable import sources_of

__all__ = [
    "find_rows",
    "has_table",
    "how_to_empty",
    "leftover_database",
    "require_case",
    "require_empty",
    "require_one_zone",
    "require_stored",
    "wait_for_table",
    "would_stop_replication",
]

INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
POLL_SECONDS = 0.05
FORMER_ROWS = "HandlerSocket finds also what rows of it held before, and deleted ones"

Ask = Callable[[str], Awaitable[list[dict[str, Any]]]]
"""Runs a query of SQL, and returns its rows."""


async def require_case(server: Server, table: Table) -> None:
    """Raise `ClusterError` if the server stores names in lower case, and HandlerSocket would not find this one."""
    (row,) = await execute_sql(server, "SELECT @@lower_case_table_names AS lower")
    shown = f"{table.database}.{table.name}"
    if row["lower"] and shown != shown.lower():
        raise ClusterError(
            f"lower_case_table_names is {row['lower']} on {server.name}, so HandlerSocket would not find {shown} there: write "
            f"{shown.lower()} (table.database, table.name). Nothing was written"
        )


async def require_one_zone(servers: Iterable[Server], table: Table) -> None:
    """Raise `ClusterError` if the table has a TIMESTAMP, which servers in different time zones show differently."""
    columns = declared(table)
    if columns is None or all(column.type != "timestamp" for column in columns):
        return
    ahead: dict[int, str] = {}
    for server in servers:
        (row,) = await execute_sql(server, "SELECT TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(), NOW()) AS minutes")
        ahead.setdefault(row["minutes"], server.name)
    if len(ahead) > 1:
        shown = " and ".join(f"{name} is {minutes} minutes ahead of UTC" for minutes, name in ahead.items())
        raise ClusterError(
            f"{table.database}.{table.name} has a TIMESTAMP, which servers show in their time zones, and {shown}: give them "
            "one time_zone, or make the column a datetime. Nothing was written"
        )


async def require_stored(server: Server, table: Table) -> None:
    """Raise `ClusterError` if a column would not hold what the load writes, but what the server makes."""
    found = await execute_sql(
        server,
        "SELECT column_name AS name, extra FROM information_schema.columns "
        f"WHERE table_schema = {literal(table.database)} AND table_name = {literal(table.name)} "
        "AND (extra LIKE '%on update%' OR extra LIKE '%generated%')",
    )
    if made := [f"{row['name']} is {row['extra']}" for row in found if row["name"] in table.columns]:
        raise ClusterError(
            f"{table.database}.{table.name} on {server.name} cannot be used: {', '.join(made)}, and a run would find "
            f"values that it has not written; it needs ({table.columns_sql()})"
        )


async def has_table(server: Server, table: Table, database: str) -> bool:
    """Whether the table exists. Raises `ClusterError` if it lacks a column or an index that the load needs, if using it would
    crash the server, if a column has a type that does not hold the load's values, or if it belongs to another run. (Without a
    SQL port the last three go unnoticed.)
    """
    return await _has_table(server, table, database, (), partial(execute_sql, server))


async def wait_for_table(server: Server, table: Table, ours: Collection[str], within: float) -> None:
    """Wait until `has_table`, where tables whose comment is in `ours` are this run's. Raises `ClusterError`, also if that takes
    longer than `within` seconds."""
    shown = f"{table.database}.{table.name}"
    async with asking(server) as ask:
        with bounded(f"waiting until {server.name} has the table {shown}", within):
            while not await _has_table(server, table, table.database, ours, ask):  # noqa: ASYNC110  (the server is asked)
                await trio.sleep(POLL_SECONDS)


async def _has_table(server: Server, table: Table, database: str, ours: Collection[str], ask: Ask) -> bool:
    if server.sql_port is not None and not await _sql_shows(server, table, database, ours, ask):
        return False
    indexes = {"PRIMARY": list(table.columns), **{name: list(columns) for name, columns in table.indexes.items()}}
    try:
        for index, columns in indexes.items():
            with suppress(trio_hs.DecodingError):  # of a row that holds something odd, such as 0000-00-00: the index is there
                # The server opens a table at the first request only.
                await _find(server, table, database, index, columns, "=", least_key(table, index), 1)
    except trio_hs.TableNotFoundError:
        return False
    except trio_hs.HandlerSocketError as error:
        raise ClusterError(
            f"{server.name}: {database}.{table.name} cannot be used: {error}; it needs ({table.columns_sql()})"
        ) from error
    return True


async def _sql_shows(server: Server, table: Table, database: str, ours: Collection[str], ask: Ask) -> bool:
    found = await ask(
        "SELECT t.table_type AS type, t.table_comment AS comment, t.create_options LIKE '%partitioned%' AS partitioned, "
        "EXISTS (SELECT 1 FROM information_schema.statistics s WHERE s.table_schema = t.table_schema AND "
        "s.table_name = t.table_name AND s.index_type = 'HASH' AND t.engine = 'InnoDB') AS hashed "
        f"FROM information_schema.tables t WHERE t.table_schema = {literal(database)} AND t.table_name = {literal(table.name)}"
    )
    if not found:
        return False
    (row,) = found
    shown = f"{database}.{table.name} on {server.name}"
    if row["type"] == "SYSTEM VERSIONED":
        raise ClusterError(f"{shown} has system versioning, and {FORMER_ROWS}. Name another table")
    for deadly, what in (
        (row["type"] != "BASE TABLE", f"is a {row['type'].lower()}"),
        (row["partitioned"], "is partitioned"),
        (row["hashed"], "has a UNIQUE key of unlimited length"),
    ):
        if deadly:
            raise ClusterError(f"{shown} {what}: using it through HandlerSocket crashes the server. Name another table")
    if row["comment"].startswith(MARK) and row["comment"] not in ours:
        other = "or name another table (table.database, table.name)"
        if sources := await sources_of(server):
            source = " and ".join(source.address for source in sources.values())
            raise ClusterError(
                f"{shown} belongs to another run, which drops it on the server that {server.name} replicates from ({source}): "
                f"wait until SHOW SLAVE STATUS says that {server.name} has caught up, {other}. Do not drop it on {server.name}"
            )
        raise ClusterError(
            f"{shown} belongs to another run, which drops it at its end: wait for that, {other}. If no run is active, it is "
            f"the leftover of one that was killed: DROP TABLE {database}.{table.name}; and DROP DATABASE {database} if it is "
            "empty then and its comment says the same"
        )
    if wrong := await _wrong_types(ask, table, database):
        raise ClusterError(f"{shown} cannot be used: {wrong}; it needs ({table.columns_sql()})")
    return True


async def leftover_database(server: Server, database: str) -> str:
    """What to say of a database that another run created, perhaps one that was killed; "" if none has."""
    found = await execute_sql(
        server, f"SELECT schema_comment AS comment FROM information_schema.schemata WHERE schema_name = {literal(database)}"
    )
    if not any(str(row["comment"]).startswith(MARK) for row in found):
        return ""
    return (
        f"the database {database} on {server.name} belongs to another run, which drops it at its end. If no run is active, it "
        f"is the leftover of one that was killed. This run leaves it: if it is empty then, DROP DATABASE {database} removes it"
    )


async def _wrong_types(ask: Ask, table: Table, database: str) -> str:
    """Which columns could not hold, and give back, what the load writes; "" if all can. Missing ones are not looked for."""
    found = await ask(
        "SELECT column_name AS name, data_type AS type, column_type AS declared, character_maximum_length AS length, "
        "character_set_name AS charset, is_nullable = 'YES' AS nullable "
        f"FROM information_schema.columns WHERE table_schema = {literal(database)} AND table_name = {literal(table.name)}"
    )
    if (columns := declared(table)) is not None:
        given = {row["name"]: row for row in found}
        return ", ".join(
            f"{column.name} must be {table.columns[column.name]}, and {why}"
            for column in columns
            if column.name in given and (why := unfit(column, given[column.name]))
        )
    wrong = []
    for row in found:
        wanted = table.columns.get(row["name"], "")
        if "INT" in wanted.split("(")[0]:
            if row["type"] not in INTEGERS:
                wrong.append(f"{row['name']} must be an integer, and is {row['declared']}")
        elif length := re.search(r"CHAR\((\d+)\)", wanted):
            if row["type"] not in TEXTS:
                wrong.append(f"{row['name']} must be text, and is {row['declared']}")
            elif row["length"] < int(length[1]):
                wrong.append(f"{row['name']} must take {length[1]} characters, and is {row['declared']}")
    return ", ".join(wrong)


async def would_stop_replication(replica: Server, writer: Server, database: str) -> bool:
    """Whether a CREATE DATABASE on the writer would stop the replication of the replica. False without a SQL port."""
    if replica.sql_port is None:
        return False
    exists = (
        f"SELECT @@global.slave_ddl_exec_mode AS mode FROM information_schema.schemata WHERE schema_name = {literal(database)}"
    )
    modes = [row["mode"] for row in await execute_sql(replica, exists)]
    return modes == ["STRICT"] and not await execute_sql(writer, exists)


async def find_rows(
    server: Server, table: Table, operation: trio_hs.FindOperation, key: Sequence[Any], limit: int = 1
) -> list[Row]:
    """Rows of the table by its primary key, through HandlerSocket. Raises `ClusterError`."""
    try:
        found = await _find(server, table, table.database, "PRIMARY", list(table.columns), operation, key, limit)
    except trio_hs.HandlerSocketError as error:
        raise ClusterError(f"{server.name}: {error}") from error
    integers = ["INT" in declaration.split()[0].upper() for declaration in table.columns.values()]
    return [
        tuple(int(value) if integer and value is not None else value for integer, value in zip(integers, row, strict=True))
        for row in found
    ]


async def _find(
    server: Server,
    table: Table,
    database: str,
    index: str,
    columns: Sequence[str],
    operation: trio_hs.FindOperation,
    key: Sequence[Any],
    limit: int,
) -> list[list[Any]]:
    """The values of rows, on a new connection: one that has asked for a missing table makes a replica wait that is to create
    it. Raises `trio_hs`'s errors."""
    known = declared(table)
    if known is None:
        async with trio_hs.open_read_socket([read_address(server)]) as hs:
            opened = await hs.get_index_id(database, table.name, columns, index)
            return [*await hs.find(opened, operation, [str(value) for value in key], limit)]
    async with trio_hs.open_manager([read_address(server)]) as manager:
        handle = manager.table(database, table.name, columns, index, columns=known)
        return [[value for _, value in row] for row in await handle.find(operation, key, limit)]


def how_to_empty(table: Table, server: str) -> str:
    """What empties a table that may hold rows which replicas never got. They execute a TRUNCATE as it is; a DELETE replicates
    row by row, and stops a replica at the first row that it does not have (error 1032)."""
    return (
        f"run TRUNCATE TABLE {table.database}.{table.name} on {server} if nobody needs its rows, and if no other server has "
        "been promoted. Do not DELETE them: that stops replicas that never got rows written through HandlerSocket"
    )


async def require_empty(server: Server, table: Table, emptied_on: str) -> None:
    """Raise `ClusterError` if the table holds rows. `emptied_on` is the server on which the user would empty it."""
    if await find_rows(server, table, ">=", least_key(table)):
        raise ClusterError(
            f"{table.database}.{table.name} on {server.name} holds rows, and a run changes and deletes rows: give it another "
            f"table (table.database, table.name), or {how_to_empty(table, emptied_on)}"
        )
