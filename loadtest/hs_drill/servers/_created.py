"""What a run creates on a user's server, and drops at its end.

Every creation has a token of the run in its comment, and only what has this token is dropped. Whatever other clients created
before, meanwhile or in its place stays. So it does not matter whether the answer to a CREATE arrived.

- The table is examined and dropped under LOCK TABLES, so that no client replaces or changes it in between. It stays if another
  client has changed its definition, or if it holds rows that the run cannot have written.
- MariaDB has no lock that covers a database and new objects in it. So one compound statement examines and drops: an object that
  a client creates in the microseconds in between would be dropped with the database.
- Whether the server is still the primary is asked immediately before each CREATE and DROP, because the locks may take long.
  The lock of the table holds up a planned switch-over that makes the server read-only first. A CREATE or DROP on a server that
  is not the primary any more would be a write that the new primary never gets: the server could not replicate from it.
- Replicas drop what their primary drops. So what they have is examined too, immediately before.
- Whether the account sees everything is left to the server: statements that need the privilege, and find nothing, are tried.
- Runs on one server take turns, by GET_LOCK.

Call these functions in threads, and do not abandon those. The timeouts of the session bound them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pymysql

from hs_drill._cluster import ClusterError, Server
from hs_drill._sql_text import quoted, table_name
from trio_hs.testing import Table

from ._sql import as_cluster_errors, sql_error_code, sql_session

__all__ = ["MARK", "Creation"]

MARK = "created by a load test of trio-hs, which drops it at its end: "
"""The comment of a created database or table is this and a token."""
LOCK_SECONDS = 10
"""How long other clients may take to release a table, and another run to create or drop. Locust waits 60 s for our end."""
READ_SECONDS = 2 * LOCK_SECONDS
SCAN_SECONDS = 8
"""How long the search for other clients' rows may take. It reads about two million rows in a second."""

ALREADY_THERE = (1007, 1050)
"""The errors for a database and a table that exist."""

_CONTENTS = """
SELECT LOWER(table_type) AS kind, table_name AS name FROM information_schema.tables WHERE table_schema = %s
UNION ALL SELECT LOWER(routine_type), routine_name FROM information_schema.routines WHERE routine_schema = BINARY %s
UNION ALL SELECT 'event', CONCAT(event_name, IF(event_schema = BINARY %s, '', CONCAT(' of ', event_schema,
' (dropped with it)'))) FROM information_schema.events WHERE event_schema = %s
"""
"""The schema of routines and events is compared without case. So does DROP DATABASE `Drill`: it drops the events, but not the
routines, of a database `drill` too (seen on 10.11)."""
_PROBES = {
    "SELECT": "SELECT 1 FROM {database}.{nothing}",
    "EVENT": "SHOW EVENTS FROM {database}",
    "EXECUTE": "CALL {database}.{nothing}()",
}
"""Statements that change nothing, by the privilege on the database that each needs. Who has it sees all tables, events or
routines of the database."""
DENIED = (1044, 1142, 1370)
NOTHING_THERE = (1049, 1146, 1305)
"""The errors for no privilege, and for a database, table and routine that do not exist."""


Gate = Callable[[], None]
"""Raises `ClusterError` if the server must not be written to now."""


class Creation:
    """A table on one server, and its database if that was missing.

    `foreign_rows` is a SQL condition for rows that the run cannot have written: see `Control.foreign_rows`.
    """

    def __init__(self, server: Server, table: Table, foreign_rows: str = "TRUE") -> None:
        self.server = server
        self._foreign_rows = foreign_rows
        self._database = table.database
        self._table = table
        self.comment = MARK + secrets.token_hex(8)
        self._made: dict[str, bool | None] = {"table": False, "database": False}
        """What was created; None if that is not certain."""
        self._definitions: dict[str, str] = {}
        """The created table's, as each server shows it; missing if its creation was not confirmed."""

    @property
    def _shown(self) -> str:
        return table_name(self._table.database, self._table.name)

    @property
    def _named(self) -> str:
        return f"{self._table.database}.{self._table.name} on {self.server.name}"

    @property
    def described(self) -> str:
        """What may be left if this process dies."""
        return f"{self._named} and the database {self._database}, each if its comment says {self.comment!r}"

    def create(self, gate: Gate) -> None:
        """Create the table, and its database if needed. Raises `ClusterError`, also if the table exists by now."""
        with as_cluster_errors(self.server), _exclusive_session(self.server) as sql:
            sql.execute("SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", (self._database,))
            if not sql.fetchall():
                gate()
                self._make("database", sql, f"CREATE DATABASE {quoted(self._database)} COMMENT %s")
            gate()
            self._make("table", sql, f"CREATE TABLE {self._shown} ({self._table.columns_sql()}) ENGINE=InnoDB COMMENT %s")
            if not self._made["table"]:
                raise ClusterError(
                    f"{self._named} exists after all: another client has just created it, or the SQL account does not see it. "
                    "It is left alone: name another table (table.database, table.name)"
                )
            self._definitions[self.server.name] = self._defined(sql)

    def remember(self, replicas: Sequence[Server]) -> None:
        """Note how the table is defined on replicas. They may have another default character set. Raises `ClusterError`."""
        for replica in replicas:
            if replica.sql_port is not None:
                with as_cluster_errors(replica), sql_session(replica, read_timeout=READ_SECONDS) as there:
                    self._definitions[replica.name] = self._defined(there)

    def _make(self, what: str, sql: Any, statement: str) -> None:
        self._made[what] = None
        try:
            sql.execute(statement, (self.comment,))
        except pymysql.MySQLError as error:
            if sql_error_code(error) not in ALREADY_THERE:
                raise
            self._made[what] = False
        else:
            self._made[what] = True

    def undo(self, replicas: Sequence[Server], gate: Gate) -> list[str]:
        """Drop what was created, unless it was replaced. Return lines that say what is left and why.

        `replicas` drop what this server drops. So what they have is examined too, by SQL. If the gate is closed, all is left.
        """
        if not self.left(""):
            return []
        try:
            gate()
            with _exclusive_session(self.server) as sql:
                return [*self._drop_table(sql, replicas, gate), *self._drop_database(sql, replicas, gate)]
        except ClusterError as error:
            return self.left(str(error))
        except (pymysql.MySQLError, OSError) as error:
            return self.left(f"{self.server.name}: {_words(error)}")

    def left(self, reason: str) -> list[str]:
        """The lines to report if nothing can be dropped."""
        names = {"table": f"the table {self._table.database}.{self._table.name}", "database": f"the database {self._database}"}
        perhaps = [name for what, name in names.items() if self._made[what] is not False]
        return perhaps and [
            f"{reason}. So what this run created on {self.server.name} is left: {' and '.join(perhaps)}, if the comment there "
            f"says {self.comment!r}"
        ]

    # ---- the table

    def _table_comment(self, sql: Any) -> str | None:
        sql.execute(
            "SELECT table_comment AS c FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            (self._database, self._table.name),
        )
        return next((str(row["c"]) for row in sql.fetchall()), None)

    def _drop_table(self, sql: Any, replicas: Sequence[Server], gate: Gate) -> Iterator[str]:
        comment = self._table_comment(sql)
        if comment == self.comment:
            try:
                sql.execute(f"LOCK TABLES {self._shown} WRITE")
                comment = self._table_comment(sql)
                if comment == self.comment:
                    foreign = self._foreign(sql, self.server) or self._on_replicas(replicas, self._foreign_there)
                    if foreign:
                        yield (
                            f"{self._named}, which this run created, is left: {foreign}. If nobody needs that, run on "
                            f"{self.server.name}: DROP TABLE {self._shown}"
                        )
                    else:
                        gate()
                        sql.execute(f"DROP TABLE {self._shown}")
                        self._made["table"] = False
                    return
            except pymysql.MySQLError as error:
                yield f"{self._named}, which this run created, is left: {_words(error)}"
                return
            finally:
                sql.execute("UNLOCK TABLES")
        if self._made["table"]:
            yield f"the table that this run created, {self._named}, is gone" + (
                "" if comment is None else ", and another one is there, which is left alone"
            )

    def _defined(self, sql: Any) -> str:
        sql.execute(f"SHOW CREATE TABLE {self._shown}")
        return str(sql.fetchall()[0]["Create Table"])

    def _foreign(self, sql: Any, server: Server) -> str:
        """What other clients have put into the table, as far as that can be told apart from what the run has."""
        known = self._definitions.get(server.name, "")
        before, now = ([line.strip(" ,") for line in text.splitlines()] for text in (known, self._defined(sql)))
        if before and before != now:
            changed = [line for line in now if line not in before] or [f"without {line}" for line in before if line not in now]
            return f"another client has changed its definition ({', '.join(changed) or 'the order of its columns'})"
        sql.execute(
            "SELECT trigger_name AS name FROM information_schema.triggers "
            "WHERE event_object_schema = %s AND event_object_table = %s",
            (self._database, self._table.name),
        )
        if triggers := [str(row["name"]) for row in sql.fetchall()]:
            return f"another client has given it the trigger {', '.join(triggers)}"
        keys = ", ".join(map(quoted, self._table.primary_key))
        # The condition holds no parameters, but % perhaps: so no arguments.
        sql.execute(
            f"SET STATEMENT max_statement_time = {SCAN_SECONDS} FOR "
            f"SELECT {keys} FROM {self._shown} WHERE {self._foreign_rows} ORDER BY {keys} LIMIT 1"
        )
        for row in sql.fetchall():
            return f"it holds rows that this run did not write ({', '.join(f'{name} {key}' for name, key in row.items())})"
        return ""

    def _foreign_there(self, sql: Any, replica: Server) -> str:
        comment = self._table_comment(sql)
        if comment is None:
            return self._unseen(sql, "SELECT")
        if comment != self.comment:
            return "there is another table of that name"
        # On the writer such a key makes the DROP fail. On a replica it stops the replication.
        sql.execute(
            "SELECT for_name AS name FROM information_schema.innodb_sys_foreign WHERE ref_name = %s AND for_name <> ref_name",
            (f"{self._database}/{self._table.name}",),
        )
        if children := [str(row["name"]).replace("/", ".") for row in sql.fetchall()]:
            return f"{', '.join(children)} has a foreign key that refers to it, and so the DROP would stop the replication"
        return self._foreign(sql, replica)

    # ---- the database

    def _drop_database(self, sql: Any, replicas: Sequence[Server], gate: Gate) -> Iterator[str]:
        if self._database_comment(sql) == self.comment:
            reason = self._why_it_stays(sql) or self._on_replicas(replicas, self._why_it_stays_there)
            if not reason:
                gate()
                sql.execute(
                    f"BEGIN NOT ATOMIC IF NOT EXISTS ({_CONTENTS}) AND EXISTS (SELECT 1 FROM information_schema.schemata "
                    f"WHERE schema_name = %s AND schema_comment = %s) THEN DROP DATABASE {quoted(self._database)}; END IF; END",
                    (*[self._database] * 5, self.comment),
                )
                if self._database_comment(sql) != self.comment:
                    return
                reason = "another client has just created something in it"
            yield f"the database {self._database} on {self.server.name}, which this run created, is left: {reason}"

    def _why_it_stays(self, sql: Any) -> str:
        if inside := _contents(sql, self._database):
            return f"there is {_listed(inside)} in it"
        return self._unseen(sql)

    def _why_it_stays_there(self, sql: Any, replica: Server) -> str:
        # Perhaps it has yet to drop the table that this run created.
        ours = ("base table", self._table.name) if self._table_comment(sql) == self.comment else None
        if inside := [one for one in _contents(sql, self._database) if one != ours]:
            return f"there is {_listed(inside)} in it"
        if self._database_comment(sql) not in (None, self.comment):
            return "there is another one of that name"
        return self._unseen(sql)

    # ---- what can be known

    def _on_replicas(self, replicas: Sequence[Server], why_it_stays: Callable[[Any, Server], str]) -> str:
        """Why one of the replicas must not drop it, in words; "" if all may."""
        for replica in replicas:
            where = f"on {replica.name}, which would drop it too,"
            try:
                with sql_session(replica, read_timeout=READ_SECONDS) as there:
                    if reason := why_it_stays(there, replica):
                        return f"{where} {reason}"
            except (pymysql.MySQLError, OSError) as error:
                return f"{where} it cannot be examined: {_words(error)}"
        return ""

    def _unseen(self, sql: Any, *privileges: str) -> str:
        """Why the account may not see everything in the database, or what one privilege shows, in words; "" if it does."""
        names = {"database": quoted(self._database), "nothing": quoted(f"nothing_{secrets.token_hex(8)}")}
        lacking = []
        for privilege in privileges or _PROBES:
            try:
                sql.execute(_PROBES[privilege].format(**names))
            except pymysql.MySQLError as error:
                if sql_error_code(error) in DENIED:
                    lacking.append(privilege)
                elif sql_error_code(error) not in NOTHING_THERE:
                    raise
        if not lacking:
            return ""
        return f"the SQL account lacks {', '.join(lacking)} on the database, and so may not see what else is in it"

    def _database_comment(self, sql: Any) -> str | None:
        sql.execute("SELECT schema_comment AS c FROM information_schema.schemata WHERE schema_name = %s", (self._database,))
        return next((str(row["c"]) for row in sql.fetchall()), None)


def _contents(sql: Any, database: str) -> list[tuple[str, str]]:
    sql.execute(_CONTENTS, [database] * 4)
    return [(str(row["kind"]), str(row["name"])) for row in sql.fetchall()]


def _listed(contents: Any) -> str:
    return ", ".join(f"the {kind.removeprefix('base ')} {name}" for kind, name in contents)


def _words(error: BaseException) -> str:
    return "SQL error {}: {}".format(*(*error.args, "", "")[:2])


@contextmanager
def _exclusive_session(server: Server) -> Iterator[Any]:
    """A session during which no other run creates or drops on the server."""
    with sql_session(server, read_timeout=READ_SECONDS) as sql:
        # Less than the session's timeout: the server would go on with a statement that we gave up, and execute it later.
        sql.execute(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
        sql.execute("SELECT GET_LOCK('trio-hs load test: create or drop', %s) AS mine", (LOCK_SECONDS,))
        if not sql.fetchall()[0]["mine"]:
            raise ClusterError(f"{server.name}: another run has been creating or dropping its table for {LOCK_SECONDS} s")
        yield sql
