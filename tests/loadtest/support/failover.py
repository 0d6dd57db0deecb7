"""A failover under load: kill the writer, promote the standby, and compare the rows with what was acknowledged."""

from __future__ import annotations

from dataclasses import dataclass

import trio

import trio_hs
from hs_drill._cluster import Server
from hs_drill.servers._control import Control
from hs_drill.servers._opening import open_servers
from hs_drill.servers._sql import execute_sql
from tests.support.patience import patience
from trio_hs.testing import Table

TASKS = 16
ROWS = Table("drill", "rows", {"id": "INT NOT NULL"}, primary_key=["id"])


def write_listener(server: Server) -> trio_hs.Server:
    return trio_hs.Server("inet", server.host, server.write_port, secret=server.write_secret)


@dataclass
class Drill:
    """Rows by their ids: what was acknowledged, before the kill and in all, and what is there."""

    before: set[int]
    acknowledged: set[int]
    unknown: set[int]
    survived: set[int]
    on_reader: set[int]


async def ids_on(control: Control, name: str) -> set[int]:
    found: list[int] = []
    while page := await control.read_rows(name, ROWS, after=(found[-1],) if found else None):
        found += [row[0] for row in page if isinstance(row[0], int)]
    return set(found)


async def cut_off(control: Control, name: str) -> None:
    """Stop a replica's fetching. Not MariaDB's applying: with both stopped it would throw away what it had fetched."""
    if control.cluster.kind == "embedded":
        await control.stop_replication(name)
    else:
        await execute_sql(control.server(name), "STOP SLAVE IO_THREAD")


async def drill(control: Control, delay: float, *, cut: bool = False) -> Drill:
    """Insert through the client, kill the writer after `delay` seconds, promote the standby, and insert on.

    `cut` stops the replicas' fetching a moment before the kill.
    """
    await control.create_table(ROWS)
    groups = [[write_listener(control.server(name))] for name in ("writer", "standby")]
    acknowledged: set[int] = set()
    unknown: set[int] = set()
    ids = iter(range(1, 1 << 30))
    stop = False

    async with trio_hs.open_manager(write_servers=groups, write_databases=control.cluster.write_databases, timeout=2.0) as hs:
        rows = hs.table("drill", "rows", ["id"])

        async def insert() -> None:
            while not stop:
                id = next(ids)
                try:
                    await rows.insert([id])
                    acknowledged.add(id)
                except trio_hs.ConnectionError as error:
                    if error.maybe_applied:
                        unknown.add(id)
                except trio_hs.OperationalError:
                    await trio.sleep(0.01)  # the standby, before its promotion

        async def progress(more: int) -> None:
            goal = len(acknowledged) + more
            with trio.fail_after(patience(20)):
                while len(acknowledged) < goal:  # noqa: ASYNC110  (an event per insert would slow the load down)
                    await trio.sleep(0.005)

        async with trio.open_nursery() as nursery:
            for _ in range(TASKS):
                nursery.start_soon(insert)
            await progress(200)
            await trio.sleep(delay)
            if cut:
                for replica in control.cluster.replicas:
                    await cut_off(control, replica.name)
                await trio.sleep(0.3)
            await control.kill("writer")
            before = set(acknowledged)
            await control.promote("standby")
            await progress(100)  # the writer group moved over by itself
            stop = True

    await control.wait_replicated()
    return Drill(before, acknowledged, unknown, await ids_on(control, "standby"), await ids_on(control, "reader-1"))


async def write_through_drill(kind: str, replication: str, delay: float, *, cut: bool) -> Drill:
    async with open_servers(kind, readers=1, standby=True, topology="write-through", replication=replication) as control:
        result = await drill(control, delay, cut=cut)
    assert result.survived <= result.acknowledged | result.unknown
    assert result.on_reader == result.survived
    return result
