"""A manager or a pool of the client that connects to fake servers."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.fake import FakeServer, Network
from trio_hs import Column, Columns, Manager
from trio_hs._network import Pool, background_nursery
from trio_hs._protocol import Index, get_tail

INDEX = Index("d", "t", ["id"])
IDS = Columns([Column("id", "int")], {"PRIMARY": ["id"]})
A, B, C, D, E = (("inet", "fake", port) for port in (1, 2, 3, 4, 5))
ADDRESS: trio_hs.Servers = [A]
READERS = [A, B]
WRITERS = [[("inet", "fake", 3)], [("inet", "fake", 4)]]


@asynccontextmanager
async def managed(nursery: trio.Nursery, **options: Any) -> AsyncIterator[tuple[Manager, dict[int, FakeServer]]]:
    """A manager with the readers 1 and 2, the writer 3 and its standby 4."""
    fakes = {port: FakeServer(nursery) for port in (1, 2, 3, 4)}
    async with trio_hs.open_manager(READERS, WRITERS, connect=Network(fakes).connect, **options) as hs:
        yield hs, fakes


@asynccontextmanager
async def pool_of(nursery: trio.Nursery, servers: Any, **options: Any) -> AsyncIterator[tuple[Pool, dict[int, FakeServer]]]:
    """A pool of some of the fake servers 1, 2 and 3. At its end it must have closed every connection."""
    fakes = {port: FakeServer(nursery) for port in (1, 2, 3)}
    options = {"secret": None, "timeout": 3.0, "connections": 1, "rng": random.Random(0), **options}
    async with background_nursery() as background:
        yield Pool(background, servers, connect=Network(fakes).connect, **options), fakes
    await wait_all_tasks_blocked()
    assert not any(fake.open for fake in fakes.values())


async def ask(pool: Pool, value: str = "x") -> None:
    """Send one request, and check that the answer is its own."""
    request = await pool.execute(INDEX, (get_tail(value.encode()),))
    if request.failure is not None:
        raise request.failure
    assert request.answers == [b"0\t1\t" + value.encode()]


async def get(hs: Manager, key: object = 1) -> None:
    """Read a row, and check that it is the right one."""
    assert await hs.get("d", "t", ["id"], str(key)) == [("id", str(key))]


async def incr(hs: Manager) -> None:
    assert await hs.incr("d", "t", "=", ["n"], [1]) == 1


def asked(fake: FakeServer) -> int:
    """How many requests a server has got."""
    return len(fake.requests)
