"""Checks that a user's FEDERATED twin leads to the very table beside which it stands: a run keeps the rows of that one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hs_drill._cluster import ClusterError, Server
from hs_drill._sql_text import literal, table_name

from ._replication import PAGE
from ._sql import execute_sql

__all__ = ["require_twin"]

URL = re.compile(r"\w+://(?:.*@)?(?P<host>[^@:/]*)(?::(?P<port>\d+))?/(?P<database>[^/]+)/(?P<table>.+)")
LOCAL = ("", "localhost", "127.0.0.1", "::1")
DEFAULT_PORT = 3306


@dataclass(frozen=True)
class Link:
    """Where a FEDERATED table leads. Without its account."""

    host: str
    port: int
    database: str
    table: str

    @property
    def shown(self) -> str:
        return f"{self.database}.{self.table} at {self.host or 'localhost'}:{self.port}"


async def require_twin(server: Server, database: str, name: str, twin_database: str) -> None:
    """Raise `ClusterError` unless `twin_database`.`name` leads to `database`.`name` on the same server."""
    twin = f"{twin_database}.{name}"
    (row,) = await execute_sql(
        server,
        f"SELECT engine AS engine FROM information_schema.tables WHERE table_schema = {literal(twin_database)} "
        f"AND table_name = {literal(name)}",
    )
    if row["engine"] != "FEDERATED":
        raise ClusterError(
            f"{twin} on {server.name} is no twin of {database}.{name}, for its engine is {row['engine']}, not FEDERATED: what "
            f"the run would change there is kept nowhere: see {PAGE}. Nothing was written"
        )
    (created,) = await execute_sql(server, f"SHOW CREATE TABLE {table_name(twin_database, name)}")
    connection = re.search(r" CONNECTION='((?:[^']|'')*)'", str(created["Create Table"]))
    text = connection[1].replace("''", "'") if connection else ""
    link = link_of(text, [] if "://" in text else await execute_sql(server, "SELECT * FROM mysql.servers"), name)
    (own,) = await execute_sql(server, "SELECT @@hostname AS host, @@port AS port")
    here = link.host in (*LOCAL, own["host"], server.host) and link.port in (own["port"], server.sql_port)
    if not here or (link.database, link.table) != (database, name):
        raise ClusterError(
            f"{twin} on {server.name} leads to {link.shown}, and what a run changes must be {database}.{name} on that server, "
            f"whose rows it keeps: let it lead to 127.0.0.1:{own['port']}, see {PAGE}. Nothing was written"
        )


def link_of(connection: str, servers: Sequence[dict[str, Any]], table: str) -> Link:
    """Where a `CONNECTION` leads, given the rows of mysql.servers: a URL, or the name of such a row and perhaps a table."""
    if url := URL.fullmatch(connection):
        return Link(url["host"], int(url["port"] or DEFAULT_PORT), url["database"], url["table"])
    name, _, remote = connection.partition("/")
    for row in servers:
        if row["Server_name"] == name:
            host = "" if row["Socket"] else row["Host"]
            return Link(host, int(row["Port"]) or DEFAULT_PORT, row["Db"], remote or table)
    return Link(f"the unknown server {name!r}", 0, "?", "?")  # not more of the text, which may hold a password
