"""trio_hs, by `Manager` and by `Table`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio_hs

from ._base import BATCH, COUNTED, DATABASE, FIELDS, FILLED, INSERTED, OURS, READ, TRIO, Contender, check, payload


class _TrioHs(Contender):
    kind = OURS
    runtime = TRIO
    shared = True

    def expected(self, key: int) -> Any:
        return [("id", str(key)), ("n", "0"), ("payload", payload(key))]

    def expected_many(self, keys: list[int]) -> Any:
        return [self.expected(key) for key in keys]

    def comparable(self, rows: Any) -> Any:
        return rows

    def handles(self, hs: trio_hs.Manager) -> Any:
        """Return what the operations use."""
        raise NotImplementedError

    @asynccontextmanager
    async def open(self, pool: int) -> AsyncIterator[list[Any]]:
        target = self.target
        reader = trio_hs.Server("inet", target.host, target.read_port, secret=target.read_secret)
        writer = trio_hs.Server("inet", target.host, target.write_port, secret=target.write_secret)
        async with trio_hs.open_manager([reader], [writer], connections=pool) as hs:
            yield [self.handles(hs)]


class ManagerCalls(_TrioHs):
    name = "trio_hs, Manager"

    def handles(self, hs: trio_hs.Manager) -> Any:
        return hs

    async def get(self, hs: trio_hs.Manager) -> int:
        key = self.next_key()
        row = await hs.get(DATABASE, READ, FIELDS, key)
        check(row, self.rows[key])
        return 1

    async def get_many(self, hs: trio_hs.Manager) -> int:
        keys, expected = self.next_sample()
        rows = await hs.get_many(DATABASE, READ, FIELDS, keys)
        self.check_many(rows, expected)
        return BATCH

    async def insert(self, hs: trio_hs.Manager) -> int:
        await hs.insert(DATABASE, FILLED, [("id", self.next_new()), ("n", 0), ("payload", INSERTED)])
        return 1

    async def insert_many(self, hs: trio_hs.Manager) -> int:
        outcomes = await hs.insert_many(DATABASE, FILLED, FIELDS, self.new_rows())
        check(outcomes, [None] * BATCH)
        return BATCH

    async def incr(self, hs: trio_hs.Manager) -> int:
        count = await hs.incr(DATABASE, COUNTED, "=", ["n"], [self.next_key()])
        check(count, 1)
        return 1


@dataclass(frozen=True)
class _Tables:
    read: trio_hs.Table
    counted: trio_hs.Table
    filled: trio_hs.Table


class TableCalls(_TrioHs):
    name = "trio_hs, Table"
    operations = (*Contender.operations, "find_in")

    def handles(self, hs: trio_hs.Manager) -> Any:
        return _Tables(hs.table(DATABASE, READ, FIELDS), hs.table(DATABASE, COUNTED, ["n"]), hs.table(DATABASE, FILLED, FIELDS))

    async def get(self, tables: _Tables) -> int:
        key = self.next_key()
        row = await tables.read.get(key)
        check(row, self.rows[key])
        return 1

    async def get_many(self, tables: _Tables) -> int:
        keys, expected = self.next_sample()
        rows = await tables.read.get_many(keys)
        self.check_many(rows, expected)
        return BATCH

    async def find_in(self, tables: _Tables) -> int:
        keys, expected = self.next_sample()
        rows = await tables.read.find("=", [], in_=(0, keys))
        self.check_many(rows, expected)
        return BATCH

    async def insert(self, tables: _Tables) -> int:
        await tables.filled.insert((self.next_new(), 0, INSERTED))
        return 1

    async def insert_many(self, tables: _Tables) -> int:
        outcomes = await tables.filled.insert_many(self.new_rows())
        check(outcomes, [None] * BATCH)
        return BATCH

    async def incr(self, tables: _Tables) -> int:
        count = await tables.counted.incr("=", [self.next_key()])
        check(count, 1)
        return 1
