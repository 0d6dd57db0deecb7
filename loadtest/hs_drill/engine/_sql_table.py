"""The operations of a mix on one table by SQL, with the names and results of `trio_hs.Table`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import trio_hs
from hs_drill._sql_text import literal, quoted, table_name

from ._sql_statements import Layout, Statement, search

__all__ = ["SqlTable"]


class Client(Protocol):
    """Sends statements with their arguments. Raises `trio_hs`'s errors."""

    async def read(self, statement: Statement, arguments: Sequence[str]) -> Sequence[Sequence[Any]]: ...

    async def write(self, statement: Statement, arguments: Sequence[str]) -> int:
        """Returns the number of rows that matched."""


class SqlTable:
    """One table with its columns `fields`, through one index; None is the primary key. Takes Python values."""

    def __init__(self, client: Client, layout: Layout, db: str, table: str, fields: Sequence[str], index: str | None) -> None:
        self._client = client
        self._layout = layout
        self._fields = fields
        self._index = index
        self._compared = list(map(layout.compared, layout.key(index)))
        self._keys = list(map(layout.compared, layout.primary))
        self._finds: dict[tuple[str, tuple[bool, ...], int], tuple[Statement, list[int]]] = {}
        self._selects: dict[tuple[int, int], Statement] = {}
        self._name = name = table_name(db, table)
        self._columns = columns = ", ".join(map(quoted, fields))
        places = ", ".join("?" * len(fields))
        new = ", ".join(f"{quoted(field)} = ?" for field in fields)
        key = " AND ".join(f"{quoted(column)} = ?" for column in layout.primary)
        counter = quoted(fields[0])
        one, _ = search(layout, None, "=", [False])
        self._get = Statement(f"SELECT {columns} FROM {name} {one} LIMIT 1")
        self._insert = Statement(f"INSERT INTO {name} ({columns}) VALUES ({places})")
        self._update = Statement(f"UPDATE {name} SET {new} WHERE {key}")
        self._delete = Statement(f"DELETE FROM {name} WHERE {key}")
        self._incr = Statement(f"UPDATE {name} SET {counter} = {counter} + ? WHERE {key}")
        # As in HandlerSocket, a counter that would change its sign stays as it is.
        same = f"NOT ({counter} > 0 AND {counter} < ?)"
        self._decr = Statement(f"UPDATE {name} SET {counter} = {counter} - ? WHERE {key} AND {same}")
        self._decr_unsigned = Statement(f"UPDATE {name} SET {counter} = {counter} - ? WHERE {key} AND {counter} >= ?")

    def _named(self, row: Sequence[Any]) -> trio_hs.Row:
        return list(zip(self._fields, row, strict=True))

    def _key(self, values: Sequence[Any]) -> list[str]:
        """The literals of the primary key's first columns, to compare with."""
        return [compared(value) for compared, value in zip(self._keys, values, strict=False)]

    async def get(self, value: Any) -> trio_hs.Row:
        """The row whose primary key begins with this value, or `[]`."""
        rows = await self._client.read(self._get, [literal(value)])
        return self._named(rows[0]) if rows else []

    async def find(self, operation: str, values: Sequence[Any], *, limit: int = 1) -> list[trio_hs.Row]:
        """Rows in the order of the index."""
        return [self._named(row) for row in await self._client.read(*self.find_statement(operation, values, limit))]

    def find_statement(self, operation: str, values: Sequence[Any], limit: int) -> tuple[Statement, list[str]]:
        """The statement of a find, and its arguments."""
        nulls = tuple([value is None for value in values])
        statement, places = self._finds.get((operation, nulls, limit)) or self._new_find(operation, nulls, limit)
        given = [compared(value) for compared, value in zip(self._compared, values, strict=False)]
        return statement, [given[place] for place in places]

    def _new_find(self, operation: str, nulls: tuple[bool, ...], limit: int) -> tuple[Statement, list[int]]:
        wanted, places = search(self._layout, self._index, operation, nulls)
        forced = f" FORCE INDEX ({quoted(self._index)})" if self._index else ""
        statement = Statement(f"SELECT {self._columns} FROM {self._name}{forced} {wanted} LIMIT {limit}")
        self._finds[operation, nulls, limit] = statement, places
        return statement, places

    async def get_many(self, values: Sequence[Any]) -> list[trio_hs.Row]:
        """The row for each value of the first column of the primary key, `[]` without one."""
        return await self._by_keys([(value,) for value in values], 1)

    async def find_each(self, keys: Sequence[Sequence[Any]]) -> list[trio_hs.Row]:
        """The row for each whole primary key, `[]` without one."""
        return await self._by_keys(list(map(tuple, keys)), len(self._layout.primary))

    async def _by_keys(self, keys: Sequence[tuple[Any, ...]], width: int) -> list[trio_hs.Row]:
        """`width` is the number of columns of each key."""
        statement = self._selects.get((len(keys), width)) or self._new_select(len(keys), width)
        decoders, shown = self._layout.decoders[:width], len(self._fields)
        found: dict[tuple[Any, ...], trio_hs.Row] = {}
        for row in await self._client.read(statement, [one for key in keys for one in self._key(key)]):
            key = tuple([decode(value) for decode, value in zip(decoders, row[shown:], strict=True)])
            found[key] = self._named(row[:shown])
        return [found.get(key, []) for key in keys]

    def _new_select(self, count: int, width: int) -> Statement:
        key = list(map(quoted, self._layout.primary[:width]))
        if width == 1:
            where = f"{key[0]} IN ({', '.join('?' * count)})"
        else:  # the optimizer reads these as ranges of the index
            where = " OR ".join([f"({' AND '.join(f'{column} = ?' for column in key)})"] * count)
        statement = Statement(f"SELECT {', '.join([self._columns, *key])} FROM {self._name} WHERE {where}")
        self._selects[count, width] = statement
        return statement

    async def insert(self, values: Sequence[Any]) -> None:
        await self._client.write(self._insert, [literal(value) for value in values])

    async def update(self, _: str, keys: Sequence[Any], values: Sequence[Any]) -> int:
        """Returns the number of rows that matched."""
        return await self._client.write(self._update, [*map(literal, values), *self._key(keys)])

    async def incr(self, _: str, keys: Sequence[Any], step: Sequence[int]) -> int:
        return await self._client.write(self._incr, [*map(literal, step), *self._key(keys)])

    async def decr(self, _: str, keys: Sequence[Any], step: Sequence[int], *, filters: Sequence[trio_hs.Filter] = ()) -> int:
        """With a filter, which must be that the counter is at least the step, for an unsigned one."""
        decr = self._decr_unsigned if filters else self._decr
        return await self._client.write(decr, [*(by := list(map(literal, step))), *self._key(keys), *by])

    async def delete(self, _: str, keys: Sequence[Any]) -> int:
        return await self._client.write(self._delete, self._key(keys))
