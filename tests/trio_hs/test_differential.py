"""Random sequences of every operation of the client, compared with a model of MariaDB, and the tables at the end by SQL.

Each run is another one. In the environment, ``DIFFERENTIAL_SEED`` repeats one and ``DIFFERENTIAL_OPERATIONS=1000000`` makes it
longer. A disagreement is cut down to the operations that it needs, and printed with the seeds that make them.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

import trio_hs
from hs_drill._cluster import Cluster
from hs_drill.servers import execute_sql
from tests.support.amount import amount
from tests.trio_hs.support.differential_model import DATABASE, SCHEMAS, Table
from tests.trio_hs.support.differential_operations import KINDS, Clients, carry_out, expect, make

SEQUENCE = 200
OPERATIONS = int(os.environ.get("DIFFERENTIAL_OPERATIONS") or amount(5_000, 20_000))
SEED = int(os.environ.get("DIFFERENTIAL_SEED") or random.SystemRandom().getrandbits(64))
SHRINK_SECONDS = 60.0

pytestmark = [pytest.mark.mariadb, pytest.mark.timeout(600 + OPERATIONS // 20)]


@pytest.fixture(scope="module")
def tables(cluster: Cluster) -> Iterator[Cluster]:
    trio.run(execute_sql, cluster.writer, f"CREATE DATABASE {DATABASE}", *(schema.sql for schema in SCHEMAS))
    yield cluster
    trio.run(execute_sql, cluster.writer, f"DROP DATABASE {DATABASE}")


async def open_clients(cluster: Cluster, stack: AsyncExitStack) -> Clients:
    server = cluster.writer
    read: list[Any] = [("inet", server.host, server.read_port)]
    write: list[Any] = [("inet", server.host, server.write_port)]
    clients = Clients({}, {}, {})
    for text in (False, True):
        encoding = "utf-8" if text else None
        clients.managers[text] = await stack.enter_async_context(
            trio_hs.open_manager(
                read, write, read_secret=server.read_secret, write_secret=server.write_secret, encoding=encoding
            )
        )
        clients.readers[text] = await stack.enter_async_context(
            trio_hs.open_read_socket(read, server.read_secret, encoding=encoding)
        )
        clients.writers[text] = await stack.enter_async_context(
            trio_hs.open_write_socket(write, server.write_secret, encoding=encoding)
        )
    return clients


async def rows_by_sql(cluster: Cluster, table: Table) -> list[list[bytes | None]]:
    columns = ", ".join(f"CAST({name} AS BINARY) AS {name}" for name in table.schema.columns)
    rows = await execute_sql(cluster.writer, f"SELECT {columns} FROM {DATABASE}.{table.schema.name}")
    return sorted((list(row.values()) for row in rows), key=repr)


async def disagreement(cluster: Cluster, seeds: Sequence[int], agreed: Counter[str]) -> str | None:
    """Execute the operations of these seeds on empty tables. Returns the first disagreement of client and model, or None.

    ``agreed`` counts the operations, by kind, whose answers were compared and equal.
    """
    # Not logged: HandlerSocket's writes were not logged, so a replica would not find these rows, and stop.
    await execute_sql(cluster.writer, "SET sql_log_bin=0", *(f"DELETE FROM {DATABASE}.{schema.name}" for schema in SCHEMAS))
    tables = {schema.name: Table(schema) for schema in SCHEMAS}
    async with AsyncExitStack() as stack:
        clients = await open_clients(cluster, stack)
        for seed in seeds:
            operation = make(seed)
            try:
                answer = await carry_out(operation, clients)
            except Exception as error:
                return f"{operation}\nraised {error!r}"
            expected = expect(operation, tables[operation.schema.name], answer)
            if answer != expected:
                return f"{operation}\nanswered {answer!r}\nexpected {expected!r}"
            agreed[operation.kind] += 1
    for table in tables.values():
        expected = sorted((list(row.values()) for row in table.rows), key=repr)
        rows = await rows_by_sql(cluster, table)
        if rows != expected:
            return f"{table.schema} holds\n{rows!r}\nexpected\n{expected!r}"
    return None


async def shrink(cluster: Cluster, seeds: list[int]) -> list[int]:
    """A part of the sequence that still disagrees, with nothing left that can be left out alone."""
    size = len(seeds)
    with trio.move_on_after(SHRINK_SECONDS):
        while size := size // 2:
            start = 0
            while start < len(seeds):
                fewer = seeds[:start] + seeds[start + size :]
                if await disagreement(cluster, fewer, Counter()):
                    seeds = fewer
                else:
                    start += size
    return seeds


async def test_every_operation_does_what_the_model_says(tables: Cluster) -> None:
    rng = random.Random(SEED)
    agreed: Counter[str] = Counter()
    while agreed.total() < OPERATIONS:
        seeds = [rng.getrandbits(64) for _ in range(SEQUENCE)]
        first = await disagreement(tables, seeds, agreed)
        if first is not None:
            seeds = await shrink(tables, seeds)
            report = [f"DIFFERENTIAL_SEED={SEED}", first, "cut down to:", *(f"{seed}: {make(seed)}" for seed in seeds)]
            last = await disagreement(tables, seeds, Counter())
            pytest.fail("\n".join([*report, last or "which did not disagree once more"]), pytrace=False)
    assert agreed.total() >= OPERATIONS
    assert set(agreed) == set(KINDS), agreed
