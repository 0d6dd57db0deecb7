"""Every operation of the client, in random sequences, against MariaDB and a model of it, and the tables that remain by SQL.

``DIFFERENTIAL_OPERATIONS=1000000`` in the environment makes the run longer. A disagreement is shrunk to the fewest
operations and printed with the seeds that make them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

import trio_hs
from loadtest._cluster import Cluster
from loadtest._mariadb import execute_sql

from .differential_model import DATABASE, SCHEMAS, Table
from .differential_operations import Clients, carry_out, expect, make

pytestmark = [pytest.mark.mariadb, pytest.mark.timeout(900)]

SEQUENCE = 200
OPERATIONS = int(os.environ.get("DIFFERENTIAL_OPERATIONS", "20000"))


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


async def run(cluster: Cluster, seeds: Sequence[int]) -> None:
    """Carries out the operations of these seeds on empty tables; raises AssertionError at the first disagreement."""
    await execute_sql(cluster.writer, *(f"DELETE FROM {DATABASE}.{schema.name}" for schema in SCHEMAS))
    tables = {schema.name: Table(schema) for schema in SCHEMAS}
    async with AsyncExitStack() as stack:
        clients = await open_clients(cluster, stack)
        for seed in seeds:
            operation = make(seed)
            answer = await carry_out(operation, clients)
            expected = expect(operation, tables[operation.schema.name], answer)
            note(f"{seed}: {operation}")
            assert answer == expected, f"answer {answer}, expected {expected}, from {seed}: {operation}"
    for table in tables.values():
        expected_rows = sorted((list(row.values()) for row in table.rows), key=repr)
        assert await rows_by_sql(cluster, table) == expected_rows, table.schema.name


def test_every_operation_does_what_the_model_says(tables: Cluster) -> None:
    done = 0

    @settings(
        max_examples=-(-OPERATIONS // SEQUENCE),
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow],
        print_blob=True,
    )
    @given(st.lists(st.integers(0, 2**64 - 1), min_size=SEQUENCE, max_size=SEQUENCE))
    def sequences(seeds: list[int]) -> None:
        nonlocal done
        trio.run(run, tables, seeds)
        done += len(seeds)

    sequences()
    assert done >= OPERATIONS
