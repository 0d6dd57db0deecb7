"""Everything at the same time, at random: resets, silence, refusals, small windows, cancellation, purges, suspensions, hedging.

Whatever happens, every caller gets its own answer, every acknowledged write was applied once, a write that "had no effect" was
not applied, no write is applied twice, and every call ends.
"""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trio_hs
from tests.trio_hs.support.fake import FakeServer, Network, echo
from trio_hs import ConnectionError, HandlerSocketError, OperationalError, RetryPolicy

SEEDS = range(int(os.environ.get("CHAOS_FROM", "0")), int(os.environ.get("CHAOS_TO", "20")))


class World:
    """Fake servers in trouble, and what their callers were told of each write."""

    def __init__(self, nursery: trio.Nursery, rng: random.Random) -> None:
        self.rng = rng
        self.applied: Counter[bytes] = Counter()
        self.acknowledged: set[bytes] = set()
        self.without_effect: set[bytes] = set()
        self.callers_ended = 0
        self.refusing: set[int] = set()
        self._names = itertools.count(1)
        window = rng.choice([60, 300, 1 << 20])
        self.fakes = {port: FakeServer(nursery, self.answer_of(port), window) for port in range(1, 5)}

    def answer_of(self, port: int) -> Any:
        def answer(line: bytes) -> bytes | None:
            if line[:1] in (b"A", b"P"):
                return echo(line)
            if port in self.refusing:
                return b"1\t1\tlock_tables\n"
            if b"\t+" in line:
                self.applied[line.split(b"\t")[3]] += 1
            return echo(line)

        return answer

    async def trouble(self) -> None:
        rng = self.rng
        while True:
            await trio.sleep(rng.expovariate(8))
            port = rng.randint(1, 4)
            fake = self.fakes[port]
            match rng.randint(0, 5):
                case 0:
                    for connection in fake.open:
                        rng.choice([connection.reset, connection.end])()
                case 1:
                    fake.gate = trio.Event()
                    await trio.sleep(rng.choice([0.01, 0.5, 4]))
                    fake.gate.set()
                case 2:
                    self.refusing.add(port)
                case 3:
                    self.refusing.discard(port)
                case 4:
                    fake.refuses = ConnectionRefusedError(111, "refused")
                    for connection in fake.open:
                        connection.reset()
                case 5:
                    fake.refuses = None

    def name(self) -> str:
        """A key or value that no other operation has."""
        return f"v{next(self._names)}"

    async def call(self, hs: trio_hs.Manager) -> None:
        """Thirty operations, some of them with short deadlines."""
        rng = self.rng
        for _ in range(30):
            with trio.move_on_after(rng.choice([0.001, 0.05, 1000, 1000, 1000])), trio.fail_after(300):
                try:
                    await self.operate(hs, f"t{rng.randint(0, 3)}")
                except HandlerSocketError:
                    pass
            if rng.random() < 0.5:
                await trio.sleep(rng.expovariate(10))
        self.callers_ended += 1

    async def operate(self, hs: trio_hs.Manager, table: str) -> None:
        """One operation, or none."""
        rng = self.rng
        match rng.randint(0, 5):
            case 0 | 1:
                key = self.name()
                assert await hs.get("d", table, ["id"], key) == [("id", key)]
            case 2:
                keys = [self.name() for _ in range(rng.choice([1, 7, 40]))]
                assert await hs.get_many("d", table, ["id"], keys) == [[("id", key)] for key in keys]
            case 3:
                await self.increment(hs, table)
            case 4 if rng.random() < 0.7:
                await self.insert_many(hs, table)
            case 5 if rng.random() < 0.2:
                if rng.random() < 0.5:
                    await hs.purge()
                else:
                    async with hs.suspended():
                        now = hs.statistics()
                        assert not any(server.connections for server in (*now.readers, *now.writers))
                        await trio.sleep(rng.choice([0, 0.1, 2]))

    async def increment(self, hs: trio_hs.Manager, table: str) -> None:
        key = self.name()
        try:
            await hs.incr("d", table, "=", ["n"], [key])
            self.acknowledged.add(key.encode())
        except ConnectionError as error:
            if not error.maybe_applied:
                self.without_effect.add(key.encode())
            raise
        except OperationalError:
            self.without_effect.add(key.encode())
            raise

    async def insert_many(self, hs: trio_hs.Manager, table: str) -> None:
        keys = [self.name() for _ in range(self.rng.choice([1, 7, 40]))]
        outcomes = await hs.insert_many("d", table, ["id"], [[key] for key in keys])
        for key, outcome in zip(keys, outcomes, strict=True):
            if outcome == 1:
                self.acknowledged.add(key.encode())
            elif not getattr(outcome, "maybe_applied", False):
                self.without_effect.add(key.encode())

    def check(self) -> None:
        """Compare what the callers were told with what the servers applied."""
        assert not {key for key, times in self.applied.items() if times > 1}
        assert not [key for key in self.acknowledged if self.applied[key] != 1]
        assert not [key for key in self.without_effect if self.applied[key]]


@pytest.mark.parametrize("seed", SEEDS)
async def test_chaos(nursery: trio.Nursery, autojump_clock: MockClock, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr("trio_hs._network._connection.MAX_OPENED", rng.choice([2, 3, 10_000]))
    monkeypatch.setattr("trio_hs._network._pool.FEW", rng.choice([1, 4]))
    monkeypatch.setattr("trio_hs._dispatch._many.WRITE_LINES", rng.choice([3, 1000]))
    monkeypatch.setattr("trio_hs._dispatch._many.READ_KEYS", rng.choice([3, 256]))
    monkeypatch.setattr("trio_hs._dispatch._many.NEAR_KEYS", rng.choice([2, 256]))
    monkeypatch.setattr("trio_hs._dispatch._many.IN_KEYS", rng.choice([1, 16]))
    monkeypatch.setattr("tests.trio_hs.support.fake.MemoryTransport.round_trip", rng.choice([0.0001, None]), raising=False)
    world = World(nursery, rng)
    readers: Any = rng.choice([[("inet", "f", 1), ("inet", "f", 2)], [[("inet", "f", 1)], [("inet", "f", 2)]]])
    retry = RetryPolicy(hedge_after=rng.choice([None, 0.01, 0.2]), attempts=rng.choice([1, 2, 5]))
    async with trio_hs.open_manager(
        readers,
        [[("inet", "f", 3)], [("inet", "f", 4)]],
        connect=Network(world.fakes).connect,
        retry=retry,
        connections=rng.choice([1, 2]),
    ) as hs:
        async with trio.open_nursery() as troubled:
            troubled.start_soon(world.trouble)
            async with trio.open_nursery() as callers:
                for _ in range(25):
                    callers.start_soon(world.call, hs)
            troubled.cancel_scope.cancel()
        assert world.callers_ended == 25
        # Nothing is left behind: no parked task, no placeholder that is never answered.
        for fake in world.fakes.values():
            fake.gate.set()
        await trio.sleep(10)
        for pool in (hs._dispatcher.reader, hs._dispatcher.writer):
            assert not pool._waiters.present.is_set()
            assert not pool.retiring
            assert not any(link.refusing for link in pool._links)
            for link in pool._links:
                if link.connection is not None:
                    assert link.connection.load == 0, link.connection
                    assert not link.connection.stalled
    world.check()
