"""What a server says of a table that is there already: its columns and indexes, and what must not be done to it.

It is read by SQL from `information_schema`, so that HandlerSocket opens nothing that would crash the server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import trio_hs
from hs_drill._cluster import ClusterError, Server
from hs_drill._sql_text import any_table, literal, table_name

from ._sql import asking, sql_error_code
from ._table_checks import FORMER_ROWS

__all__ = ["LiveColumn", "LiveIndex", "LiveTable", "read_live_table"]

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
"""Names that a scenario can say."""
COUNTS_ON = re.compile(r" AUTO_INCREMENT=\d+")
NEEDS_PROCESS = 1227


@dataclass(frozen=True)
class LiveColumn:
    """A column as the server has it."""

    name: str
    type: str
    """As in SQL, with its character set."""
    nullable: bool
    auto_increment: bool = False
    generated: str = ""
    """`virtual` or `stored`, if the server computes it."""
    on_update: bool = False
    """Whether SQL sets it to the current time whenever its row changes."""

    @property
    def declared(self) -> trio_hs.Column:
        return trio_hs.Column.from_sql(self.name, self.type, nullable=self.nullable)


@dataclass(frozen=True)
class LiveIndex:
    """An index over whole columns."""

    columns: tuple[str, ...]
    unique: bool


@dataclass(frozen=True)
class LiveTable:
    """A table as the server has it, without what a scenario cannot use."""

    database: str
    name: str
    server: str
    columns: Mapping[str, LiveColumn]
    primary: tuple[str, ...]
    indexes: Mapping[str, LiveIndex]
    left_out: tuple[str, ...]
    """A line for each column or index that is left out."""
    lacks_columns: bool
    """Whether a column is among these."""
    on_update: tuple[str, ...]
    """Columns that SQL sets to the current time whenever their row changes, also those that are left out."""
    unique: Mapping[str, str]
    """Columns that made-up values would collide in: why."""
    foreign: Mapping[str, str]
    """Columns through which a change reaches other tables, or theirs reach this one: why."""
    unwritable: str
    """Why no row may be changed, if that is so."""
    unseen: str
    """Why `foreign` may lack columns, if that is so."""
    estimate: int
    """The server's own estimate of how many rows it has."""
    row_bytes: int
    """The same of how large one is."""
    created: str
    """When the server created it, or last built it anew."""
    definition: str
    unreadable: str = ""
    """Why a load must not even read it, if that is so."""

    @property
    def shown(self) -> str:
        return f"{self.database}.{self.name}"


async def read_live_table(server: Server, database: str, name: str) -> LiveTable:
    """The table `database`.`name`. Raises `ClusterError`, also if HandlerSocket would crash the server that has it."""
    if server.sql_port is None:
        raise ClusterError(
            f"the columns of {database}.{name} are read by SQL: give {server.name} a sql_port (the last number in --servers)"
        )
    async with asking(server) as ask:
        reader = _Reader(ask, server, database, name)
        return await reader.read()


class _Reader:
    def __init__(self, ask: Any, server: Server, database: str, name: str) -> None:
        self._ask, self._server = ask, server
        self._database, self._name = database, name
        self._shown = f"{database}.{name} on {server.name}"
        self._where = f"table_schema = {literal(database)} AND table_name = {literal(name)}"
        self._left_out: list[str] = []
        self._indexed: set[str] = set()

    async def _rows(self, query: str) -> list[dict[str, Any]]:
        return [{name.lower(): value for name, value in row.items()} for row in await self._ask(query)]

    async def read(self) -> LiveTable:
        table = await self._table()
        every = await self._every_column()
        columns = {column.name: column for column in every if self._usable(column)}
        lacks = len(columns) < len(every)
        primary, indexes, unique = await self._indexes(columns)
        foreign, unseen = await self._foreign_keys()
        created = await self._rows(f"SHOW CREATE TABLE {table_name(self._database, self._name)}")
        return LiveTable(
            self._database,
            self._name,
            self._server.name,
            columns,
            primary,
            indexes,
            tuple(self._left_out),
            lacks,
            tuple(column.name for column in every if column.on_update),
            unique,
            foreign,
            await self._unwritable(table, every),
            unseen,
            int(table["estimate"] or 0),
            int(table["row_bytes"] or 0),
            str(table["created"]),
            COUNTS_ON.sub("", str(created[0]["create table"])),
            f"it has system versioning, and {FORMER_ROWS}" if str(table["kind"]) == "SYSTEM VERSIONED" else "",
        )

    async def _table(self) -> dict[str, Any]:
        found = await self._rows(
            "SELECT table_type AS kind, engine AS engine, table_rows AS estimate, avg_row_length AS row_bytes, "
            "create_time AS created, "
            f"create_options LIKE '%partitioned%' AS partitioned FROM information_schema.tables WHERE {self._where}"
        )
        if not found:
            raise ClusterError(f"there is no table {self._shown} that the SQL account may see")
        (table,) = found
        kind = str(table["kind"]).lower()
        if kind not in ("base table", "system versioned"):
            raise ClusterError(f"{self._shown} is a {kind}: opening one through HandlerSocket crashes the server")
        if table["partitioned"]:
            raise ClusterError(f"{self._shown} is partitioned: using it through HandlerSocket crashes the server")
        return table

    async def _every_column(self) -> list[LiveColumn]:
        json = {
            row["name"]
            for row in await self._rows(
                "SELECT constraint_name AS name, check_clause AS clause FROM information_schema.check_constraints "
                f"WHERE constraint_schema = {literal(self._database)} AND table_name = {literal(self._name)}"
            )
            if row["clause"] == f"json_valid(`{row['name']}`)"
        }
        found = await self._rows(
            "SELECT column_name AS name, data_type AS kind, column_type AS type, character_set_name AS charset, "
            f"is_nullable AS nullable, extra AS extra FROM information_schema.columns WHERE {self._where} "
            "ORDER BY ordinal_position"
        )
        columns = []
        for row in found:
            extra = str(row["extra"]).upper()
            charset = f" character set {row['charset']}" if row["charset"] else ""
            is_json = row["kind"] == "longtext" and row["name"] in json
            generated = ("stored" if "STORED" in extra else "virtual") if "GENERATED" in extra else ""
            columns.append(
                LiveColumn(
                    str(row["name"]),
                    "json" if is_json else f"{row['type']}{charset}",
                    row["nullable"] == "YES",
                    "AUTO_INCREMENT" in extra,
                    generated,
                    "ON UPDATE" in extra,
                )
            )
        return columns

    def _usable(self, column: LiveColumn) -> bool:
        """Whether a scenario can have the column. Notes why not."""
        if not PLAIN.fullmatch(column.name):
            why = "its name is not a plain one"
        else:
            try:
                column.declared  # noqa: B018  (whether it can be made)
            except ValueError as error:
                why = str(error).removeprefix(f"column {column.name}: ")
            else:
                return True
        self._left_out.append(f"column {column.name} ({column.type}) is left out: {why}")
        return False

    async def _indexes(self, columns: Mapping[str, LiveColumn]) -> tuple[tuple[str, ...], dict[str, LiveIndex], dict[str, str]]:
        """The columns of the primary key, the other usable indexes, and which columns are in unique ones."""
        found = await self._rows(
            "SELECT index_name AS name, index_type AS kind, column_name AS part, sub_part AS prefix, non_unique AS non_unique "
            f"FROM information_schema.statistics WHERE {self._where} ORDER BY index_name, seq_in_index"
        )
        parts: dict[str, list[dict[str, Any]]] = {}
        for row in found:
            parts.setdefault(str(row["name"]), []).append(row)
            self._indexed.add(str(row["part"]))
        indexes: dict[str, LiveIndex] = {}
        unique: dict[str, str] = {}
        for name, rows in parts.items():
            if rows[0]["kind"] == "HASH":
                raise ClusterError(
                    f"{self._shown} has the UNIQUE key {name} of unlimited length: an insert or update through HandlerSocket "
                    "crashes the server"
                )
            if not rows[0]["non_unique"]:
                unique |= {str(row["part"]): f"is in the unique index {name}, where made-up values collide" for row in rows}
            if why := _unusable(name, rows, columns):
                self._left_out.append(f"index {name} is left out: {why}")
            else:
                indexes[name] = LiveIndex(tuple(str(row["part"]) for row in rows), not rows[0]["non_unique"])
        if "PRIMARY" not in indexes:
            raise ClusterError(
                f"{self._shown} has no primary key of whole columns that a scenario can name, and rows are found by it: "
                f"{'; '.join(self._left_out) or 'give it one'}"
            )
        return indexes.pop("PRIMARY").columns, indexes, unique

    async def _foreign_keys(self) -> tuple[dict[str, str], str]:
        """Columns of foreign keys, and why some may be missing. (`key_column_usage` hides tables that the account may not
        use.)"""
        found = dict[str, str]()
        of = literal(f"{self._database}/{self._name}")
        try:
            for mine, other, what in (
                ("for", "ref", "is a foreign key to"),
                ("ref", "for", "is what a foreign key refers to in"),
            ):
                for row in await self._rows(
                    f"SELECT c.{mine}_col_name AS name, f.{other}_name AS other FROM information_schema.innodb_sys_foreign f "
                    f"JOIN information_schema.innodb_sys_foreign_cols c ON c.id = f.id WHERE f.{mine}_name = {of}"
                ):
                    found[str(row["name"])] = f"{what} {str(row['other']).replace('/', '.')}"
        except ClusterError as error:
            if sql_error_code(error) != NEEDS_PROCESS:
                raise
            return {}, "its foreign keys, and those that refer to it, cannot be seen without the privilege PROCESS"
        return found, ""

    async def _unwritable(self, table: Mapping[str, Any], columns: list[LiveColumn]) -> str:
        """Why a run may not change rows of the table: it could not put them back. HandlerSocket runs no triggers, and SQL,
        which puts rows back, does."""
        triggers = await self._rows(
            "SELECT trigger_name AS name FROM information_schema.triggers WHERE "
            f"event_object_schema = {literal(self._database)} AND event_object_table = {literal(self._name)}"
        )
        stored = [column.name for column in columns if column.generated == "stored"]
        virtual = [column.name for column in columns if column.generated == "virtual" and column.name in self._indexed]
        if table["engine"] != "InnoDB":
            return f"its engine is {table['engine']}, not InnoDB"
        if stored:
            return f"the server computes {', '.join(stored)} and stores it, which HandlerSocket's writes leave wrong"
        if virtual:
            return f"an index covers {', '.join(virtual)}, which the server computes: HandlerSocket's writes corrupt it"
        if triggers:
            return (
                f"it has triggers ({', '.join(str(row['name']) for row in triggers)}), which would run when rows are put back"
            )
        if not await self._sees_triggers():
            return f"whether it has triggers cannot be seen: GRANT TRIGGER ON {self._database}.{self._name} TO the SQL account"
        return ""

    async def _sees_triggers(self) -> bool:
        """Whether `information_schema.triggers` has those of the table. Grants on a pattern of databases do not count, for the
        server takes the most specific grant alone."""
        name = table_name(self._database, self._name)
        scopes = {"*.*", f"{name.partition('.')[0]}.*", any_table(self._database), name}
        for row in await self._ask("SHOW GRANTS"):  # its roles' as well
            grant = re.match(r"GRANT (.+) ON (\S+) TO ", str(next(iter(row.values()))))
            if grant and grant[2] in scopes and re.search(r"\bTRIGGER\b|^ALL PRIVILEGES$", re.sub(r"\(.*?\)", "", grant[1])):
                return True
        return False


def _unusable(name: str, rows: list[dict[str, Any]], columns: Mapping[str, LiveColumn]) -> str:
    if rows[0]["kind"] in ("FULLTEXT", "SPATIAL"):
        return f"HandlerSocket finds nothing through a {rows[0]['kind']} index"
    if name != "PRIMARY" and not PLAIN.fullmatch(name):
        return "its name is not a plain one"
    for row in rows:
        if row["prefix"] is not None:
            return f"it covers a prefix of {row['part']}"
        if row["part"] not in columns:
            return f"{row['part']} is left out"
        if columns[str(row["part"])].generated:
            return f"the server computes {row['part']}"
    return ""
