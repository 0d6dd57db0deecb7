"""Reads the declarations of tables from a live server's ``information_schema``. ``_render`` writes them as Python."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._protocol import MAX_INSERT_VALUES
from ..exceptions import DecodingError
from ._declaration import Column, Columns, IndexPart

SECONDS_TO_CONNECT = 10
SECONDS_TO_ANSWER = 60

NO_PYMYSQL = "describe reads the declaration by SQL and needs PyMySQL: pip install 'trio-hs[describe]'"


class DescribeError(Exception):
    """The table cannot be described. The message is one clear line that says why."""


@dataclass(frozen=True)
class Description:
    """A table's declaration, with warnings for its user."""

    db: str
    table: str
    server: str
    """The server's version, as it shows it."""
    columns: Columns
    warnings: tuple[str, ...]


def describe(
    names: Sequence[str], *, host: str, port: int, user: str, password: str = "", unix_socket: str | None = None
) -> tuple[list[Description], list[str]]:
    """Reads the declarations of tables: ``DB.TABLE``, or ``DB`` for all tables of a database that can be described.

    Also returns why each of the others is left out. The account needs SELECT on the whole tables. It sees triggers only with
    TRIGGER. Raises DescribeError if PyMySQL is missing, the server does not answer or refuses, a table that is named cannot be
    declared, or no table of a database can.
    """
    try:
        import pymysql
        from pymysql.cursors import DictCursor
    except ImportError:
        raise DescribeError(NO_PYMYSQL) from None
    where = unix_socket or f"{host}:{port}"
    try:
        connection = pymysql.connect(
            host=host,
            port=port,
            user=user,
            password=password,
            unix_socket=unix_socket,
            charset="utf8mb4",
            cursorclass=DictCursor,
            connect_timeout=SECONDS_TO_CONNECT,
            read_timeout=SECONDS_TO_ANSWER,
        )
        with connection, connection.cursor() as cursor:
            return _read_all(cursor, names, f"{user} at {where}")
    except (pymysql.Error, OSError) as error:
        reason = error.args[-1] if error.args else type(error).__name__
        raise DescribeError(f"cannot read {', '.join(names)} as {user} at {where}: {reason}") from None


def _read_all(cursor: Any, names: Sequence[str], where: str) -> tuple[list[Description], list[str]]:
    found: list[Description] = []
    left_out: list[str] = []
    for name in dict.fromkeys(names):
        db, dot, table = name.partition(".")
        if dot:
            found.append(_Reader(cursor, db, table, where).read())
            continue
        cursor.execute(
            "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = %s ORDER BY table_name", (db,)
        )
        before, reasons = len(found), []
        for row in cursor.fetchall():
            try:
                found.append(_Reader(cursor, db, row["name"], where).read())
            except DescribeError as error:
                reasons.append(str(error))
        if len(found) == before:
            why = "; ".join(reasons) or f"{where} may see none"
            raise DescribeError(f"no table of the database {db} can be described: {why}")
        left_out += reasons
    return found, left_out


# ---- reading ----------------------------------------------------------------------------------------------------------


class _Reader:
    def __init__(self, cursor: Any, db: str, table: str, where: str) -> None:
        self._cursor = cursor
        self.db = db
        self.table = table
        self.name = f"{db}.{table}"
        self.where = where
        self.warnings: list[str] = []
        self._until_2106 = False

    def _rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query on the table, with the names of their columns in lower case."""
        self._cursor.execute(query, (self.db, self.table))
        return [{name.lower(): value for name, value in row.items()} for row in self._cursor.fetchall()]

    def read(self) -> Description:
        # NULL where timestamps end in 2038.
        self._cursor.execute("SELECT VERSION() AS version, FROM_UNIXTIME(4294967295) AS last")
        server = self._cursor.fetchone()
        self._until_2106 = server["last"] is not None
        self._table()
        checks = {
            row["constraint_name"]: row["check_clause"]
            for row in self._rows(
                "SELECT constraint_name, check_clause FROM information_schema.check_constraints"
                " WHERE constraint_schema = %s AND table_name = %s"
            )
        }
        columns = self._columns(checks)
        indexes, unique = self._indexes()
        declared = Columns(columns, indexes, unique)
        self._warn(declared, checks)
        return Description(self.db, self.table, server["version"], declared, tuple(self.warnings))

    def _table(self) -> None:
        """Refuses a table that HandlerSocket cannot open."""
        found = self._rows(
            "SELECT table_type, engine FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
        )
        if not found:
            raise DescribeError(f"there is no table {self.name} that {self.where} may see")
        kind, engine = found[0]["table_type"], found[0]["engine"]
        if kind.endswith("VIEW"):
            raise DescribeError(f"{self.name} is a view: opening an index on a view kills the server")
        if kind == "SEQUENCE":
            raise DescribeError(f"{self.name} is a sequence: HandlerSocket cannot open one")
        if kind == "SYSTEM VERSIONED":
            self.warnings.append("System versioning: HandlerSocket writes leave no history.")
        if engine == "FEDERATED":
            self.warnings.append(
                "FEDERATED: find with < and <= is refused, in_ stops at the first missing value, and acknowledged writes are"
                " lost when SQL changes the same rows at the same time."
            )
        partitions = self._rows(
            "SELECT partition_name FROM information_schema.partitions"
            " WHERE table_schema = %s AND table_name = %s AND partition_name IS NOT NULL"
        )
        if partitions:
            raise DescribeError(f"{self.name} is partitioned: a lookup other than by the whole primary key may kill the server")
        self.engine = engine

    def _columns(self, checks: Mapping[str, str]) -> list[Column]:
        rows = self._rows(
            "SELECT column_name, data_type, column_type, character_maximum_length, numeric_precision, numeric_scale,"
            " datetime_precision, character_set_name, is_nullable, column_default, extra"
            " FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position"
        )
        columns = []
        for row in rows:
            if row["data_type"] == "longtext" and checks.get(row["column_name"]) == f"json_valid(`{row['column_name']}`)":
                row["data_type"] = "json"
            try:
                columns.append(_column(row, self._until_2106))
            except (TypeError, ValueError) as error:
                raise DescribeError(f"{self.name}: a declared table cannot have this {row['column_type']}: {error}") from None
            self._warn_of_question_marks(columns[-1], row["column_default"])
            if "on update" in row["extra"].lower():
                self.warnings.append(
                    f"ON UPDATE: HandlerSocket writes leave {row['column_name']} alone; it has to be set by the caller."
                )
        return columns

    def _warn_of_question_marks(self, column: Column, default: str | None) -> None:
        if column.default_is_expression and default and _STRING.fullmatch(default) and _may_hide(column, default):
            self.warnings.append(
                f"The default of {column.name} is left out: the server may show ? for what it has, as in {default}."
                " An insert has to give a value."
            )
        if column.members and _may_hide(column, "".join(column.members)):
            self.warnings.append(
                f"Members of {column.name}: the server shows ? for characters beyond U+FFFF. Compare them with what created"
                " the table."
            )

    def _indexes(self) -> tuple[dict[str, tuple[IndexPart, ...]], tuple[str, ...]]:
        """The columns of each index, and the names of those that are unique."""
        rows = self._rows(
            "SELECT index_name, index_type, column_name, sub_part, non_unique, collation FROM information_schema.statistics"
            " WHERE table_schema = %s AND table_name = %s ORDER BY index_name <> 'PRIMARY', index_name, seq_in_index"
        )
        indexes: dict[str, tuple[IndexPart, ...]] = {}
        unique: dict[str, None] = {}
        for row in rows:
            name, kind, column = row["index_name"], row["index_type"], row["column_name"]
            if kind == "HASH" and self.engine != "MEMORY":
                raise DescribeError(
                    f"{self.name} has the long unique key {name} (UNIQUE on {column}, kept as a hash): an insert or update"
                    " through HandlerSocket kills the server"
                )
            if kind == "HASH" and name not in indexes:
                self.warnings.append(
                    f"Index {name} is a HASH index, which has no order: look rows up with = only. Ranges and scans through it"
                    " miss rows."
                )
            if kind in ("FULLTEXT", "SPATIAL"):
                self.warnings.append(f"Index {name} is left out: HandlerSocket finds nothing through a {kind} index.")
                continue
            if row["collation"] == "D":
                column = f"{column} DESC"
            part: IndexPart = column if row["sub_part"] is None else (column, int(row["sub_part"]))
            indexes[name] = (*indexes.get(name, ()), part)
            if not row["non_unique"] and name != "PRIMARY":
                unique[name] = None
        return indexes, tuple(unique)

    def _warn(self, columns: Columns, checks: Mapping[str, str]) -> None:
        warn = self.warnings.append
        if "PRIMARY" not in columns.indexes:
            warn("No primary key: every handle needs an index_name.")
        for column in columns:
            if column.generated == "stored":
                warn(f"STORED column {column.name}: HandlerSocket does not compute it; inserts and updates are refused.")
        for name, key in columns.indexes.items():
            if any(part.column.generated == "virtual" for part in key):
                warn(f"Index {name} covers a virtual column: HandlerSocket writes would corrupt it, and are refused.")
        if checks:
            warn(f"CHECK is not checked by HandlerSocket writes: {', '.join(checks)}.")
        triggers = self._rows(
            "SELECT trigger_name FROM information_schema.triggers WHERE event_object_schema = %s AND event_object_table = %s"
        )
        if triggers:
            warn(f"Triggers do not run on HandlerSocket writes: {', '.join(row['trigger_name'] for row in triggers)}.")
        sent = [column for column in columns if not column.generated]
        if len(sent) > MAX_INSERT_VALUES:
            warn(f"{len(sent)} columns: HandlerSocket sets at most {MAX_INSERT_VALUES} in an insert, so inserts are refused.")


_STRING = re.compile(r"'((?:[^'\\]|''|\\.)*)'", re.DOTALL)
_STRING_ESCAPE = re.compile(r"''|\\(.)", re.DOTALL)
_CONTROLS = {"0": "\0", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_HEX = re.compile(r"x'((?:[0-9a-f]{2})*)'|0x((?:[0-9a-f]{2})+)", re.IGNORECASE)
_BITS = re.compile(r"b'([01]+)'")


def _unquoted(text: str) -> str:
    return _STRING_ESCAPE.sub(lambda match: _CONTROLS.get(match[1], match[1]) if match[1] else "'", text)


_BEYOND_BMP = (None, "utf8mb4", "utf16", "utf16le", "utf32")


def _is_binary(column: Column) -> bool:
    return column.type in ("binary", "varbinary") or column.type.endswith("blob")


def _may_hide(column: Column, text: str) -> bool:
    """Whether a question mark in a text of ``information_schema`` may stand for something else.

    ``information_schema`` is in utf8mb3, as is SHOW CREATE TABLE. So there is one for each byte that is no text, and for each
    character beyond the Basic Multilingual Plane, and no way to read the original.
    """
    return "?" in text and (_is_binary(column) or column.charset in _BEYOND_BMP)


def _column(row: Mapping[str, Any], until_2106: bool) -> Column:
    """The column in a row of ``information_schema.columns``. Raises ValueError if it cannot be declared."""
    extra = row["extra"].upper()
    kind = row["data_type"]
    options: dict[str, Any] = {"nullable": row["is_nullable"] == "YES", "invisible": "INVISIBLE" in extra}
    if kind in ("char", "varchar", "binary", "varbinary"):
        options["length"] = int(row["character_maximum_length"])
    elif kind == "bit":
        options["length"] = int(row["numeric_precision"])
    elif kind == "decimal" or (kind in ("float", "double") and "(" in row["column_type"]):
        options.update(precision=int(row["numeric_precision"]), scale=int(row["numeric_scale"]))
    elif row["datetime_precision"] and kind != "date":
        options["precision"] = int(row["datetime_precision"])
    elif kind in ("enum", "set"):
        members = options["members"] = [_unquoted(member[1]) for member in _STRING.finditer(row["column_type"])]
        if len(set(members)) < len(members):
            raise ValueError(f"column {row['column_name']}: the server shows ? for members of characters beyond U+FFFF")
    if row["character_set_name"] not in (None, "utf8mb4"):
        options["charset"] = row["character_set_name"]
    if kind == "timestamp" and until_2106:
        options["until_2106"] = True
    if "unsigned" in row["column_type"] and row["numeric_precision"] is not None:
        options["unsigned"] = True
    if "GENERATED" in extra:
        return Column(row["column_name"], kind, generated="virtual" if "VIRTUAL" in extra else "stored", **options)
    if "AUTO_INCREMENT" in extra:
        return Column(row["column_name"], kind, auto_increment=True, **options)
    return _with_default(Column(row["column_name"], kind, **options), row["column_default"], options)


def _with_default(column: Column, default: str | None, options: Mapping[str, Any]) -> Column:
    """The column with its default, or marked as one for which a caller has to give a value."""
    if default in (None, "NULL"):
        return column
    try:
        return Column(column.name, column.type, default=_default(column, str(default)), **options)
    except (DecodingError, LookupError, ValueError):
        return Column(column.name, column.type, default_is_expression=True, **options)


def _default(column: Column, text: str) -> Any:
    """The value of a literal as ``information_schema`` shows it. Raises one of several errors if it is not known."""
    if match := _BITS.fullmatch(text):
        return int(match[1], 2)
    binary = _is_binary(column)
    # MariaDB 11.8 shows x'616200' where 10.11 shows 'ab\0'. In any other column it stands for an expression.
    if binary and (match := _HEX.fullmatch(text)):
        return bytes.fromhex(match[1] or match[2] or "")
    string = _STRING.fullmatch(text)
    if string is None and not _NUMBER.fullmatch(text):
        raise LookupError(f"{text} is computed")
    if string is not None:
        text = _unquoted(string[1])
    if _may_hide(column, text):
        raise LookupError("the default is not shown")
    if binary:
        return text.encode("ascii")
    if column.type == "set":
        return frozenset(text.split(",") if text else ())
    if column.charset or column.type in ("enum", "json") or column.type.endswith(("char", "text")):
        return text
    return column.decode(text.encode())
