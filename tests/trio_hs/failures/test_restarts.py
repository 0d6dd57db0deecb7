"""What callers see when real servers are restarted or killed.

Writes are checked against the table afterwards: it holds every acknowledged write, and beyond these only writes in doubt.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio

import trio_hs
from hs_drill.servers import Control, execute_sql
from hs_drill.servers._replication import create_table
from tests.support.amount import amount
from tests.support.patience import until
from tests.trio_hs.support.real_servers import configure, counters_of, create_counter, fill, listener, write_listener
from tests.trio_hs.support.shared_servers import SharedServers, shared_servers
from trio_hs import Manager


@pytest.fixture(scope="module")
def servers(mariadb: None) -> Iterator[SharedServers]:
    """One server with rows in it."""
    with shared_servers(readers=0) as opened:
        trio.run(fill, opened.cluster)
        yield opened


@pytest.fixture(scope="module")
def impatient_server(mariadb: None) -> Iterator[SharedServers]:
    """A server that closes idle connections, and in `beside` a client of it that stays idle for so long.

    That takes over 30 s: the server silently raises smaller values, and checks every few seconds. So the waiting begins with
    this module's first test.
    """
    with pytest.MonkeyPatch.context() as patch:
        configure(patch, "handlersocket_timeout=30")
        with shared_servers(readers=0, beside=use_after_idling) as opened:
            yield opened


async def use_after_idling(control: Control) -> None:
    await fill(control.cluster)
    server = control.server("writer")
    async with trio_hs.open_manager([listener(server)], [write_listener(server)]) as hs:
        table = hs.table("cars", "trucks", ["id", "model"])

        def renewed() -> bool:
            statistics = hs.statistics()
            return all(s.connected == 2 for s in (*statistics.readers, *statistics.writers))

        assert await table.get(1)
        assert await table.insert([1000, "v"]) is None
        assert not renewed()
        await until(renewed, "the server does not close idle connections", 50, every=0.1)
        assert await table.get(1000) == [("id", "1000"), ("model", "v")]  # on an index that has to be opened again
        assert await table.insert([1001, "v"]) is None


@pytest.mark.mariadb
@pytest.mark.usefixtures("impatient_server")
async def test_indexes_are_opened_again_after_the_only_server_restarts(servers: SharedServers) -> None:
    async with trio_hs.open_manager([listener(servers.server("writer"))]) as hs:
        table = hs.table("cars", "trucks", ["id", "model"])
        assert await table.get(1) == [("id", "1"), ("model", "m1")]
        await servers.restart("writer")
        assert await table.get(2) == [("id", "2"), ("model", "m2")]


@pytest.mark.mariadb
async def test_a_changed_secret_is_an_authentication_error_until_the_client_has_the_new_one(servers: SharedServers) -> None:
    old = servers.server("writer")
    async with trio_hs.open_manager([listener(old)], [write_listener(old)]) as hs:
        table = hs.table("cars", "trucks", ["id", "model"])
        await table.get(1)
        assert await table.insert([1000, "before"]) is None
        new = await servers.restart("writer", new_secrets=True)
        for attempt in (table.get(1), table.insert([1001, "never"])):
            with pytest.raises(trio_hs.AuthenticationError, match="wrong secret") as caught:
                await attempt
            assert old.read_secret not in str(caught.value)
            assert old.write_secret not in str(caught.value)
    async with trio_hs.open_manager([listener(new)], [write_listener(new)]) as hs:
        table = hs.table("cars", "trucks", ["id", "model"])
        assert await table.insert([1002, "after"]) is None
        assert [bool(await table.get(id)) for id in (1000, 1001, 1002)] == [True, False, True]


KILLS = amount(8, 50)


class Writers:
    """Tasks that increment one counter and insert rows, and record the outcome of every write."""

    def __init__(self, hs: Manager) -> None:
        self._counters = hs.table("drill", "counters", ["value"])
        self._rows = hs.table("drill", "rows", ["id"])
        self._ids = iter(range(1, 1 << 30))
        self._stop = False
        self.acknowledged = 0
        self.unknown = 0
        self.inserted: set[int] = set()
        self.maybe_inserted: set[int] = set()

    @asynccontextmanager
    async def at_work(self, *, increments: int = 16, inserts: int = 4) -> AsyncIterator[None]:
        self._stop = False
        async with trio.open_nursery() as nursery:
            for _ in range(increments):
                nursery.start_soon(self._increment)
            for _ in range(inserts):
                nursery.start_soon(self._insert)
            yield
            self._stop = True

    async def _increment(self) -> None:
        while not self._stop:
            try:
                assert await self._counters.incr("=", [1]) == 1
                self.acknowledged += 1
            except trio_hs.ConnectionError as error:
                self.unknown += error.maybe_applied

    async def _insert(self) -> None:
        while not self._stop:
            id = next(self._ids)
            try:
                await self._rows.insert([id])
                self.inserted.add(id)
            except trio_hs.ConnectionError as error:
                if error.maybe_applied:
                    self.maybe_inserted.add(id)

    async def progress(self, acknowledged: int) -> None:
        """Wait for this many more acknowledged increments."""
        goal = self.acknowledged + acknowledged
        # An event per increment would slow the load down.
        await until(lambda: self.acknowledged >= goal, "no more increments are acknowledged", every=0.005)


@pytest.mark.mariadb
async def test_kills_lose_no_acknowledged_write_and_add_at_most_those_in_doubt(servers: SharedServers) -> None:
    """Under concurrent writes, kill the server with SIGKILL at a random moment and start it again, many times."""
    chance = random.Random()
    server = servers.server("writer")
    await create_counter(servers.cluster)
    await create_table(servers.cluster, "drill", "rows", "id INT NOT NULL PRIMARY KEY")
    async with trio_hs.open_manager([listener(server)], [write_listener(server)]) as hs:
        writers = Writers(hs)
        for kill in range(1, KILLS + 1):
            async with writers.at_work():
                await writers.progress(50)
                await trio.sleep(chance.uniform(0, 0.05))
                await servers.kill("writer")
                await servers.start("writer")
                await writers.progress(20)
            applied = (await counters_of(server))[1]
            told = f"kill {kill}: {applied} applied, {writers.acknowledged} acknowledged, {writers.unknown} unknown"
            assert writers.acknowledged <= applied <= writers.acknowledged + writers.unknown, told
    there = {row["id"] for row in await execute_sql(server, "SELECT id FROM drill.rows")}
    print(f"{told}; {len(writers.inserted)} rows acknowledged, {len(writers.maybe_inserted)} unknown")
    assert writers.inserted <= there, f"acknowledged and lost: {sorted(writers.inserted - there)[:10]}"
    assert there <= writers.inserted | writers.maybe_inserted
    # Otherwise the kills hit no write, and the bounds above would hold trivially.
    assert writers.unknown >= KILLS
    assert writers.maybe_inserted


@pytest.mark.mariadb
async def test_connections_that_the_server_closes_when_idle_cause_no_error(impatient_server: SharedServers) -> None:
    await trio.to_thread.run_sync(impatient_server.beside.result)
