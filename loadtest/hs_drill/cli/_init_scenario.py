"""Writes a scenario for a table like a live one: its declaration, and a mix to begin with, with a comment on each line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from hs_drill.scenario import HEADROOM, MOST_INSERTED, VERSION_WIDTH, bounds_of
from hs_drill.servers import LiveColumn, LiveTable

from ._init_values import like, null_share, some_uuids

__all__ = ["NotNumberedError", "scenario_text"]

MOST_ROWS = 100_000
"""To load, to begin with."""
_NOTES = ("note", "remark", "comment", "description", "info", "text", "body")
Values = Mapping[str, Sequence[Any]]


class NotNumberedError(Exception):
    """No column of the primary key can hold a row's number; one line for the user."""


def scenario_text(live: LiveTable, found: Values) -> str:
    """The scenario. `found` are values of some rows, by column. Raises `NotNumberedError`."""
    return "\n".join(_Writer(live, found).lines()) + "\n"


def _flow(value: Any) -> str:
    shown = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False).strip()
    return shown.removesuffix("\n...")


def _most(column: LiveColumn) -> int:
    return bounds_of(column.declared)[1]


class _Writer:
    def __init__(self, live: LiveTable, found: Values) -> None:
        self._live, self._found = live, found
        self._columns = {name: column for name, column in live.columns.items() if not column.generated}
        self._others = [name for name in self._columns if name not in live.primary]
        self._indexed = {name for index in live.indexes.values() for name in index.columns}
        self._numbered = self._numbered_column()
        self._version = self._version_column()
        self._counter = self._counter_column()
        self._set = self._updated_column()

    # ---- which column plays which part

    def _numbered_column(self) -> str:
        key = [self._columns[name] for name in self._live.primary]
        integers = sorted((one for one in key if one.declared.is_integer), key=_most, reverse=True)
        uuids = [one for one in key if self._holds_uuid(one)]
        if not integers and not uuids:
            raise NotNumberedError(
                f"{self._live.shown}: no column of its primary key ({', '.join(self._live.primary)}) can hold a row's number, "
                "from which its other values are made: that needs an integer, a uuid, a char(36) or a binary(16). To measure "
                "the table where it is, say `table: {existing: true}`"
            )
        if integers and (not uuids or integers[0].declared.type == "bigint"):
            return integers[0].name
        return uuids[0].name  # a smaller integer has no room for the rows that a run inserts

    def _holds_uuid(self, column: LiveColumn) -> bool:
        declared = column.declared
        least = {"uuid": 0, "char": 36, "varchar": 36, "varbinary": 16}.get(declared.type)
        return (declared.type == "binary" and declared.length == 16) or (least is not None and (declared.length or 0) >= least)

    def _version_column(self) -> str | None:
        """A text that is long enough, best one that no index has and whose name says that it is free text."""

        def fits(name: str) -> bool:
            declared = self._columns[name].declared
            text = declared.type in ("char", "varchar", "text", "mediumtext", "varbinary", "blob", "tinytext")
            ascii_based = declared.charset is None or not declared.charset.startswith(("ucs", "utf16", "utf32"))
            return text and ascii_based and (declared.length is None or declared.length >= VERSION_WIDTH)

        fitting = [name for name in self._others if fits(name)]
        named = [name for name in fitting if any(word in name.lower() for word in _NOTES)]
        free = [name for name in fitting if name not in self._indexed]
        return next(iter([*[name for name in named if name in free], *reversed(free), *reversed(fitting)]), None)

    def _counter_column(self) -> str | None:
        for name in self._others:
            column = self._columns[name]
            declared = column.declared
            if not declared.is_integer or column.nullable or (declared.type == "bigint" and declared.unsigned):
                continue
            if max((value for value in self._found.get(name, ()) if value is not None), default=100) + HEADROOM < _most(column):
                return name
        return None

    def _updated_column(self) -> str | None:
        used = (self._version, self._counter)
        fitting = [name for name in self._others if name not in used and not self._is_null(name)]
        return next(iter([*[name for name in fitting if name not in self._indexed], *fitting]), None)

    def _is_null(self, name: str) -> bool:
        """Whether it is NULL in all rows that were read, and nothing else is made for it."""
        found = self._found.get(name, ())
        return bool(found) and all(value is None for value in found) and name != self._version

    # ---- the lines

    def lines(self) -> Iterator[str]:
        live = self._live
        rows = max(min(live.estimate, MOST_ROWS), 1)
        numbered = self._columns[self._numbered]
        if numbered.declared.is_integer:
            rows = min(rows, _most(numbered))
        yield f"# A table like {live.shown}, written by `hs-drill init`. The run creates and loads it on servers of its own."
        yield "# `values` follow what some of the rows hold; make them yours, and the mix, too. See docs/scenarios.md."
        for line in live.left_out:
            yield f"# {line}"
        yield f"name: {_flow(live.name)}"
        yield f"description: {_flow(f'A load on a table like {live.shown}.')}"
        yield ""
        yield "cluster:"
        yield "  kind: auto                  # the first kind of server that works on this machine"
        yield "  readers: 1"
        yield ""
        yield "table:"
        yield f"  database: {_flow(live.database)}"
        yield f"  name: {_flow(live.name)}"
        yield f"  rows: {rows}    # to load; the live one has about {live.estimate:,}"
        yield "  columns:"
        for name in self._columns:
            yield f"    {_flow(name)}: {_flow(self._entry(name))}    # {self._comment(name)}"
        for name, column in live.columns.items():
            if column.generated:
                yield f"    # {name} is left out: the server computes it"
        yield f"  primary: {_flow(list(live.primary))}    # by which rows are found and changed"
        indexes = {name: list(index.columns) for name, index in live.indexes.items()}
        if indexes:
            unique = ", ".join(name for name, index in live.indexes.items() if index.unique)
            yield f"  indexes: {_flow(indexes)}    # {f'without UNIQUE: {unique}' if unique else 'for finds'}"
        yield ""
        yield "load:"
        yield "  users: 16                   # each sends one operation after the other"
        yield "  duration: 20s"
        yield ""
        yield "mix:                          # the weights are relative"
        for name, operation, comment in self._mix():
            yield f"  {name}: {_flow(operation)}    # {comment}"
        yield ""
        if self._version is None:
            yield "# No column can say which write left a row, so writes are only measured. One could if it were a"
            yield f"# varchar({VERSION_WIDTH}) with `values: version`."
        else:
            yield "expect:"
            yield "  availability: 100%"
            yield "  lost: 0                     # no acknowledged write"
            yield "  unexpected: 0               # no value that no write left"
            yield ""
        yield "seed: 1                       # the same seed makes the same rows and operations"

    def _entry(self, name: str) -> dict[str, Any]:
        column, found = self._columns[name], self._found.get(name, ())
        entry: dict[str, Any] = {"type": column.type}
        if name == self._numbered:
            return {**entry, "values": "sequence" if column.declared.is_integer else "uuid"}
        if name == self._version:
            return {**entry, "values": "version"}
        if name in self._live.primary and column.declared.type == "uuid":
            return {**entry, "values": some_uuids()}
        entry["values"] = like(column.declared, found)
        if entry["values"] is None:
            return entry  # `values: null` makes it nullable
        if column.nullable and name not in self._live.primary:
            share = null_share(found)
            if share and column.declared.type == "uuid":  # those made from the row's number are in every row
                entry["values"] = some_uuids()
            entry |= {"null": share} if share else {"nullable": True}
        return entry

    def _comment(self, name: str) -> str:
        if name == self._numbered:
            return "the row's number" if self._columns[name].declared.is_integer else "made from the row's number"
        if name == self._version:
            return "says which write left the row: the audit needs it"
        if name in self._live.primary:
            return "in the primary key: follows from the row's number"
        if name == self._counter:
            return "counted up by the mix"
        if self._is_null(name):
            return "NULL in all rows that were read"
        return "as in some of the rows" if self._found.get(name) else "no rows were there to follow"

    def _mix(self) -> Iterator[tuple[str, dict[str, Any], str]]:
        yield "read row", {"do": "get", "weight": 60}, "all columns, by the primary key"
        for name, index in self._live.indexes.items():
            by = [index.columns[0]]
            yield (
                _flow(f"find {name}"),
                {"do": "find", "index": name, "by": by, "limit": 10, "weight": 10},
                f"10 rows from the {by[0]} of a drawn row on",
            )
            break
        if columns := [*filter(None, [self._set, self._version])]:
            yield "change row", {"do": "update", "set": columns, "weight": 10}, f"a new {columns[0]}"
        if self._counter is not None:
            yield f"count {self._counter}", {"do": "incr", "column": self._counter, "weight": 10}, "by 1"
        numbered = self._columns[self._numbered].declared
        if len(self._columns) <= MOST_INSERTED and (numbered.type == "bigint" or not numbered.is_integer):
            yield "add row", {"do": "insert", "weight": 5}, "with a number of its own"
