"""Reads rows of a user's table exactly as they are stored, and puts them back. For use in threads.

By SQL, not through HandlerSocket: it puts back every value to the last bit, in one transaction for some hundred rows, and
locks them meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pymysql

from hs_drill._cluster import ClusterError, Server
from hs_drill._sql_text import quoted, table_name

from ._exact_values import ExactColumn, exact_session, key_condition, keys_beyond
from ._live_table import LiveTable
from ._sql import sql_error_code

__all__ = ["Exact", "ExactRows", "identity", "leave_checks", "log_statements"]

Exact = Sequence[bytes | None]
"""A row, or a key, of exact values."""
Key = tuple[bytes | None, ...]
PAGE_ROWS = 10_000
BATCH_STATEMENTS = 100
BATCH_BYTES = 16_000
"""Far below any max_allowed_packet."""
OF_ONE_ROW = (1062, 1264, 1265, 1292, 1300, 1366, 1406, 1451, 1452, 4025)
"""Errors of a row's values, keys and foreign keys: other rows may still be put back, also in the same transaction."""


class ExactRows:
    """Some columns of a table, on one connection."""

    def __init__(self, cursor: Any, table: LiveTable, columns: Sequence[str]) -> None:
        self._cursor = cursor
        self._name = table_name(table.database, table.name)
        self._columns = [ExactColumn(table.columns[name]) for name in columns]
        self._selected = ", ".join(column.selected for column in self._columns)
        self._key = [ExactColumn(table.columns[name]) for name in table.primary]
        self._on_update = table.on_update
        self.refused = 0
        """Rows that the server did not let us put back or delete."""
        self.refusal = ""
        """Why it refused the first of these."""
        self._key_at = [list(columns).index(name) for name in table.primary]

    def key_of(self, row: Exact) -> Key:
        return tuple([row[at] for at in self._key_at])

    def by_shown_keys(self, keys: Sequence[Exact]) -> list[Exact]:
        """The rows with these keys, which are as HandlerSocket shows them."""
        return self._select([[part.shown_literal(value) for part, value in zip(self._key, key, strict=True)] for key in keys])

    def by_keys(self, rows: Sequence[Exact], *, lock: bool = False) -> dict[Key, Exact]:
        """What the rows with these rows' keys hold now, by these keys; with `lock`, locked until the transaction ends."""
        literals = {self.key_of(row): self._literals(row) for row in rows}
        behind = " FOR UPDATE" if lock else ""
        found = {self.key_of(row): row for row in self._select(list(literals.values()), behind)}
        if found.keys() <= literals.keys():
            return found
        # Some keys have other bytes now, and are equal by their collation: only the server can say whose row that is.
        for key in literals.keys() - found.keys():
            for row in self._select([literals[key]], behind):
                found[key] = row
        return {key: found[key] for key in literals if key in found}

    def _literals(self, row: Exact) -> list[str]:
        return [part.literal(row[at]) for part, at in zip(self._key, self._key_at, strict=True)]

    def differing(self, rows: Sequence[Exact], found: Mapping[Key, Exact], columns: Sequence[str]) -> list[Exact]:
        """Those of `rows` that were `found` with other values in these columns."""
        at = [place for place, column in enumerate(self._columns) if column.name in columns]
        now = [(row, found.get(self.key_of(row))) for row in rows]
        return [row for row, held in now if held is not None and any(held[place] != row[place] for place in at)]

    def _select(self, keys: Sequence[Sequence[str]], behind: str = "") -> list[Exact]:
        if len(self._key) == 1:
            where = f"{quoted(self._key[0].name)} IN ({', '.join(key[0] for key in keys)})"
        else:
            names = [quoted(part.name) for part in self._key]
            where = " OR ".join(
                f"({' AND '.join(f'{name} = {value}' for name, value in zip(names, key, strict=True))})" for key in keys
            )
        # Of a small table the optimizer would rather read, and lock, all rows.
        self._cursor.execute(f"SELECT {self._selected} FROM {self._name} FORCE INDEX (PRIMARY) WHERE {where}{behind}")
        return list(self._cursor.fetchall())

    def transaction(self, do: Callable[[], None]) -> None:
        """`do` in one transaction. An exception ends the session, and undoes it."""
        self._cursor.execute("START TRANSACTION")
        do()
        self._cursor.execute("COMMIT")

    def put_back(self, rows: Sequence[Exact], columns: Sequence[str]) -> list[Exact]:
        """Put back what the rows held in these columns, and change no other: not even one with ON UPDATE. Gives those that are
        not `refused`."""
        done = self._do([self.update(row, columns) for row in rows])
        return [row for row, changed in zip(rows, done, strict=True) if changed is not None]

    def update(self, row: Exact, columns: Sequence[str]) -> str:
        """The statement of `put_back`."""
        new = [
            f"{quoted(column.name)} = {column.literal(value)}"
            for column, value in zip(self._columns, row, strict=True)
            if column.name in columns
        ]
        same = [f"{quoted(name)} = {quoted(name)}" for name in self._on_update if name not in columns]
        where = key_condition(self._key, self.key_of(row))
        return f"UPDATE {self._name} SET {', '.join([*new, *same])} WHERE {where}"

    def delete(self, keys: Sequence[Exact]) -> int:
        """How many rows are deleted, without those that are `refused`."""
        done = self._do([f"DELETE FROM {self._name} WHERE {key_condition(self._key, key)}" for key in keys])
        return sum(changed or 0 for changed in done)

    def _do(self, statements: Sequence[str]) -> list[int | None]:
        """How many rows each statement changes; None if the server refuses its row. Many go at once: a far server would take
        hours for as many round trips."""
        done: list[int | None] = []
        while len(done) < len(statements):
            try:
                self._cursor.execute(_batch(statements[len(done) :]))
                done.append(self._cursor.rowcount)
                while self._cursor.nextset():
                    done.append(self._cursor.rowcount)
            except pymysql.MySQLError as error:  # the server leaves out what follows
                if sql_error_code(error) not in OF_ONE_ROW:
                    raise
                self.refused += 1
                self.refusal = self.refusal or f"SQL error {error.args[0]}: {error.args[1]}"
                done.append(None)
        return done

    def longest_statement(self) -> int:
        """How many bytes one may have."""
        self._cursor.execute("SELECT @@max_allowed_packet")
        return int(self._cursor.fetchone()[0]) - 1

    def require_settable(self, rows: Sequence[Exact], columns: Sequence[str], most: int) -> None:
        """Raise `ClusterError` unless `put_back` takes at most `most` bytes for each of the rows."""
        for row in rows:
            if 4 * sum(len(value) for value in row if value is not None) < most:
                continue
            if (length := len(self.update(row, columns))) >= most:
                raise ClusterError(
                    f"the row ({', '.join(self._literals(row))}) of {self._name} is too large to be put back: that takes a "
                    f"statement of {length:,} bytes, and max_allowed_packet is {most + 1:,}. Raise that, or do not change "
                    f"{', '.join(columns)}. Nothing was written"
                )

    def keys_between(self, column: str, first: int, last: int) -> Iterator[list[Exact]]:
        """Keys of rows in which an integer `column` of the key is between two numbers, some at a time."""
        yield from self._pages(f"{quoted(column)} BETWEEN {first} AND {last}")

    def every_key(self) -> Iterator[list[Exact]]:
        yield from self._pages("TRUE")

    def _pages(self, which: str) -> Iterator[list[Exact]]:
        selected = ", ".join(part.selected for part in self._key)
        order = ", ".join(quoted(part.name) for part in self._key)
        beyond = ""
        while True:
            where = f"({which}){beyond}"
            self._cursor.execute(f"SELECT {selected} FROM {self._name} WHERE {where} ORDER BY {order} LIMIT {PAGE_ROWS}")
            page = list(self._cursor.fetchall())
            yield page
            if len(page) < PAGE_ROWS:
                return
            beyond = f" AND ({keys_beyond(self._key, page[-1])})"


def _batch(statements: Sequence[str]) -> str:
    """The first of the statements, and as many more as are small enough."""
    batch = statements[0]
    for statement in statements[1:BATCH_STATEMENTS]:
        if len(batch) + len(statement) > BATCH_BYTES:
            break
        batch += f";{statement}"
    return batch


def identity(server: Server) -> str:
    """What identifies a server, by its own words. Raises pymysql's errors."""
    with exact_session(server) as cursor:
        cursor.execute("SELECT CONCAT('server_id ', @@server_id, ' at ', @@hostname, ':', @@port)")
        return str(cursor.fetchone()[0].decode())


def leave_checks(cursor: Any) -> None:
    """Let the session, and replicas with its statements, change rows that violate a CHECK: HandlerSocket evaluates none, so the
    table may have such rows, and an UPDATE evaluates all of them, also of columns that it does not set."""
    cursor.execute("SET SESSION check_constraint_checks = 0")


def log_statements(cursor: Any, database: str) -> None:
    """Let what follows go into the binary log as statements, not as rows. Raises `ClusterError` if the account may not.

    A statement changes on a replica the columns that it names, of rows that are there. An event of a row would put all of the
    writer's columns there, and stop a replica that does not have the row. Statements are logged even if they change nothing
    on the writer (10.11).
    """
    cursor.execute("SELECT @@log_bin")
    if cursor.fetchone()[0] == b"0":
        return
    try:
        cursor.execute("SET SESSION binlog_format = 'STATEMENT'")
    except Exception as error:
        raise ClusterError(
            "the SQL account needs BINLOG ADMIN (or SUPER): the run's writes went through HandlerSocket and are in no binary "
            "log, so what undoes them must be there as statements, or replicas would stop at rows that they do not have "
            f"({error.args[-1] if error.args else error}). Nothing was written"
        ) from error
    cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # InnoDB logs no statements below it
    cursor.execute(f"USE {quoted(database)}")  # a replica's filters of databases go by it
