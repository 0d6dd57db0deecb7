"""Inserts, increments, updates and deletes through the client are on every reader within 2 s, on every kind of server."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio

import trio_hs
from hs_drill.servers._opening import open_servers
from tests.loadtest.support.server_kinds import EVERY_REPLICATION
from tests.support.patience import patience
from trio_hs.testing import Table

pytestmark = pytest.mark.process

TABLE = Table("drill", "t", {"id": "INT NOT NULL", "n": "INT NOT NULL", "v": "VARCHAR(20) NOT NULL"}, primary_key=["id"])
FIELDS = ["id", "n", "v"]
TASKS = 20


@EVERY_REPLICATION
async def test_every_reader_has_the_clients_writes_within_2_seconds(kind: str, temporary: Path) -> None:
    started = time.monotonic()
    async with open_servers(kind, readers=2, standby=True, topology="write-through") as control:
        assert time.monotonic() - started < patience(30)
        await control.create_table(TABLE)
        writer = control.cluster.writer
        address = trio_hs.Server("inet", writer.host, writer.write_port, secret=writer.write_secret)
        databases = control.cluster.write_databases
        async with trio_hs.open_manager(write_servers=[address], write_databases=databases, timeout=30) as hs:
            rows = hs.table("drill", "t", FIELDS)

            async def work(first: int) -> None:
                for id in range(first, 1001, TASKS):
                    await rows.insert([id, 0, "new"])
                    assert await hs.incr("drill", "t", "=", ["n"], [id], [id]) == 1
                    if id % 2:
                        assert await hs.update("drill", "t", "=", ["id", "v"], [id], [id, f"updated {id}"]) == 1
                    else:
                        assert await hs.delete("drill", "t", "=", ["id"], [id]) == 1

            async with trio.open_nursery() as nursery:
                for first in range(1, TASKS + 1):
                    nursery.start_soon(work, first)

        await control.wait_replicated(patience(2))
        expected = [(id, id, f"updated {id}") for id in range(1, 1001, 2)]
        for server in control.cluster.servers:
            assert await control.read_rows(server.name, TABLE) == expected, server.name
