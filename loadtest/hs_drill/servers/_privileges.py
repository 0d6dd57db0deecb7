"""The SQL privileges that a run needs on the user's own servers: which of them an account lacks, and the GRANTs for these.

Each is asked of the server itself, by a statement that needs it and changes nothing. Only the server knows what roles, PUBLIC
and patterns of databases add up to: of several grants for a database it uses the most specific one alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pymysql

from hs_drill._sql_text import any_table, literal, quoted, table_name

from ._sql import sql_error_code

__all__ = ["Privilege", "grants", "is_lost", "lacks_privilege", "needed_by_load", "needed_privileges", "to_grant"]

DENIED = (1044, 1142, 1143, 1227, 1370)
"""The server's errors for a missing privilege: on a database, table or column; on `*.*`; to execute a routine."""
LOST = (1053, 1152, 1158, 1159, 1160, 1161, 1184, 1927)
"""The server's errors for a connection that it ends: it shuts down, somebody killed the connection, or its network failed."""
CLIENT_ERRORS = range(2000, 3000)
"""The numbers that errors of the client itself have: it cannot connect, or has lost the connection."""

PROBES = {
    "PROCESS": "SELECT COUNT(*) AS n FROM information_schema.innodb_cmp",
    "SLAVE MONITOR": "SHOW ALL SLAVES STATUS",
    "BINLOG MONITOR": "SHOW MASTER STATUS",
    "SELECT": "SELECT 1 FROM {table} LIMIT 0",
    "INSERT": "EXPLAIN INSERT INTO {table} () VALUES ()",
    "UPDATE": "EXPLAIN UPDATE {table} SET nothing = 1 WHERE FALSE",
    "DELETE": "EXPLAIN DELETE FROM {table} WHERE FALSE",
    "CREATE": "PREPARE trio_hs FROM {create}",
    "DROP": "PREPARE trio_hs FROM {replace}",
    "LOCK TABLES": "LOCK TABLES {nothing} READ",
    "EVENT": "SHOW EVENTS FROM {database}",
    "EXECUTE": "CALL {nothing}()",
}
"""By the privilege that each needs. EXPLAIN and PREPARE check the privileges of what they do not execute (seen on 10.11)."""
NOTHING = "nothing of trio-hs"
"""A table and a routine that do not exist."""


@dataclass(frozen=True)
class Privilege:
    """One privilege, and what a run needs it for."""

    name: str
    why: str
    database: str = ""
    """Empty if it is granted on `*.*`."""
    table: str = NOTHING
    """Of those that may be granted on one table."""

    @property
    def scope(self) -> str:
        return any_table(self.database) if self.database else "*.*"

    @property
    def probe(self) -> str:
        """A statement that the server denies to an account without it, and that changes nothing."""
        nothing = table_name(self.database, NOTHING)
        return PROBES[self.name].format(
            database=quoted(self.database),
            table=table_name(self.database, self.table),
            nothing=nothing,
            create=literal(f"CREATE TABLE {nothing} (a INT)"),
            replace=literal(f"CREATE OR REPLACE TABLE {nothing} (a INT)"),
        )


def needed_privileges(
    *, marked: bool, loaded: bool, creates: bool, table: tuple[str, str], twin: str | None = None
) -> tuple[Privilege, ...]:
    """What a run needs on one server.

    `marked`: the run writes its marker row there. `loaded`: it inserts its rows there by SQL. `creates`: it may create its
    table. `table`: its database and name. `twin`: the database through which clients may write to this server, if any.
    """
    database, name = table
    needed = [
        Privilege("PROCESS", "to see that HandlerSocket and SQL are one server"),
        Privilege("SLAVE MONITOR", "to see what it replicates from, and so who is the primary"),
    ]
    if marked:
        needed.append(Privilege("BINLOG MONITOR", "to see whether HandlerSocket's writes reach the binary log"))
    needed.append(Privilege("SELECT", "to read the rows back", database, name))
    if loaded:
        needed.append(Privilege("INSERT", "to load the rows", database, name))
    if loaded and creates:
        needed += [
            Privilege("CREATE", "to create the table", database),
            Privilege("DROP", "to drop the created table and database", database),
            Privilege("LOCK TABLES", "to drop the table only as the run has created it", database),
        ]
    if creates:
        needed += [
            Privilege("EVENT", "to see what else is in the database before it is dropped", database),
            Privilege("EXECUTE", "to see what else is in the database before it is dropped", database),
        ]
    if twin is not None:
        needed.append(Privilege("SELECT", "to see the table that clients write through", twin, name))
    return tuple(needed)


def needed_by_load(table: tuple[str, str], *, written: bool) -> tuple[Privilege, ...]:
    """What the account of `driver: sql` needs on one server. One that is read-only, so not `written` yet, says nothing about
    writes."""
    names = ("SELECT", "INSERT", "UPDATE", "DELETE") if written else ("SELECT",)
    return tuple(Privilege(name, "for the load", *table) for name in names)


def is_lost(error: pymysql.MySQLError | OSError) -> bool:
    """Whether an error means that there is no connection any more, or was none: it says nothing about privileges."""
    code = sql_error_code(error)
    return isinstance(error, OSError) or code is None or code in LOST or code == 0 or code in CLIENT_ERRORS


def lacks_privilege(cursor: Any, privilege: Privilege) -> bool:
    """Whether the account of the session lacks it. Raises `pymysql.MySQLError` and OSError if that cannot be told."""
    try:
        cursor.execute(privilege.probe)
        cursor.fetchall()
    except pymysql.MySQLError as error:
        code = sql_error_code(error)
        if code in DENIED:
            return _denies(privilege, code, str(error.args[-1]))
        if code not in _FAILS_ANYWAY.get(privilege.name, ()):
            raise
    return False


_FAILS_ANYWAY = {
    "SELECT": (1049, 1146),
    "INSERT": (1049, 1146, 1364),
    "UPDATE": (1049, 1146, 1054),
    "DELETE": (1049, 1146),
    "LOCK TABLES": (1049, 1146),
    "EVENT": (1049,),
    "EXECUTE": (1049, 1305),
}
"""The errors of a probe by an account that has the privilege: there is no such database, table, routine or column, or one
has no default."""


def _denies(privilege: Privilege, code: int | None, message: str) -> bool:
    """Whether the server misses this privilege, or another one that the probe needs as well."""
    if privilege.name == "LOCK TABLES":
        return code == 1044  # otherwise it is SELECT
    if privilege.name == "DROP":  # otherwise it is CREATE
        return re.search(r"\bDROP\b", re.sub(r"'.*?'|`.*?`", "", message)) is not None
    return True


def to_grant(lacking: Iterable[Privilege], needed: Sequence[Privilege]) -> dict[str, list[str]]:
    """What to grant to an account that is `lacking` some of what it `needed`: the privileges, by their scope.

    Of a database all that it needs there: a grant on it hides those on a pattern such as `dr%`.
    """
    missed = list(lacking)
    wanted: dict[str, list[str]] = {}
    for scope in dict.fromkeys(one.scope for one in missed):
        names = [one.name for one in (missed if scope == "*.*" else needed) if one.scope == scope]
        wanted[scope] = list(dict.fromkeys(names))
    return wanted


def grants(account: str, wanted: Mapping[str, Sequence[str]]) -> list[str]:
    """The statements that give it privileges by their scope. `account` is `user@host`, as CURRENT_USER() says."""
    user, _, host = account.rpartition("@")
    return [f"GRANT {', '.join(names)} ON {scope} TO {quoted(user)}@{quoted(host)}" for scope, names in wanted.items()]
