"""Clients of Valkey, another store that many would take for reads by key. A row is a hash; its key is not stored in it again.

The package `valkey` has a connection for each command under way, and pipelines what is asked for together. `valkey-glide`
carries the commands of all tasks on one connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from ._base import (
    ASYNCIO,
    BATCH,
    COUNTED,
    FILLED,
    INSERTED,
    READ,
    THREADS,
    TRIO,
    VALKEY,
    Contender,
    WrongAnswer,
    check,
    payload,
)

COLUMNS = ["n", "payload"]
ROW = {"n": "0", "payload": INSERTED}


def check_sum(answer: object) -> None:
    """An increment's answer is the new sum; the run checks afterwards that no increment is missing."""
    if not isinstance(answer, int) or answer < 1:
        raise WrongAnswer(f"{answer!r} instead of a sum")


class ValkeyContender(Contender):
    kind = VALKEY

    def expected(self, key: int) -> Any:
        return ["0", payload(key)]

    def expected_many(self, keys: list[int]) -> Any:
        return [self.expected(key) for key in keys]

    def comparable(self, rows: Any) -> Any:
        return rows

    @property
    def address(self) -> dict[str, Any]:
        target = self.target
        return {"host": target.host, "port": target.valkey_port, "decode_responses": True, "single_connection_client": True}

    def many_gets(self, client: Any, keys: list[int]) -> Any:
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.hmget(f"{READ}:{key}", COLUMNS)
        return pipeline

    def many_inserts(self, client: Any) -> Any:
        pipeline = client.pipeline(transaction=False)
        for key, _, _ in self.new_rows():
            pipeline.hset(f"{FILLED}:{key}", mapping=ROW)
        return pipeline


class ValkeyAsyncio(ValkeyContender):
    name, mode, runtime = "valkey", "asyncio", ASYNCIO
    distributions = ("valkey", "libvalkey")

    @asynccontextmanager
    async def open(self, pool: int) -> AsyncIterator[list[Any]]:
        import valkey.asyncio

        clients = [await valkey.asyncio.Valkey(**self.address) for _ in range(pool)]
        yield clients
        for client in clients:
            await client.aclose()

    async def get(self, client: Any) -> int:
        key = self.next_key()
        check(await client.hmget(f"{READ}:{key}", COLUMNS), self.rows[key])
        return 1

    async def get_many(self, client: Any) -> int:
        keys, expected = self.next_sample()
        self.check_many(await self.many_gets(client, keys).execute(), expected)
        return BATCH

    async def insert(self, client: Any) -> int:
        check(await client.hset(f"{FILLED}:{self.next_new()}", mapping=ROW), len(ROW))
        return 1

    async def insert_many(self, client: Any) -> int:
        check(await self.many_inserts(client).execute(), [len(ROW)] * BATCH)
        return BATCH

    async def incr(self, client: Any) -> int:
        check_sum(await client.hincrby(f"{COUNTED}:{self.next_key()}", "n", 1))
        return 1


class ValkeyThreads(ValkeyContender):
    name, mode, runtime = "valkey", "threads", THREADS
    distributions = ("valkey", "libvalkey")

    @contextmanager
    def open(self, pool: int) -> Iterator[list[Any]]:
        import valkey

        clients = [valkey.Valkey(**self.address) for _ in range(pool)]
        yield clients
        for client in clients:
            client.close()

    def get(self, client: Any) -> int:
        key = self.next_key()
        check(client.hmget(f"{READ}:{key}", COLUMNS), self.rows[key])
        return 1

    def get_many(self, client: Any) -> int:
        keys, expected = self.next_sample()
        self.check_many(self.many_gets(client, keys).execute(), expected)
        return BATCH

    def insert(self, client: Any) -> int:
        check(client.hset(f"{FILLED}:{self.next_new()}", mapping=ROW), len(ROW))
        return 1

    def insert_many(self, client: Any) -> int:
        check(self.many_inserts(client).execute(), [len(ROW)] * BATCH)
        return BATCH

    def incr(self, client: Any) -> int:
        check_sum(client.hincrby(f"{COUNTED}:{self.next_key()}", "n", 1))
        return 1


class Glide(ValkeyContender):
    name, mode, runtime = "valkey-glide", "asyncio", ASYNCIO
    distributions = ("valkey-glide",)
    shared = True

    def expected(self, key: int) -> Any:
        return [b"0", payload(key).encode()]

    @asynccontextmanager
    async def open(self, pool: int) -> AsyncIterator[list[Any]]:
        import glide

        self.batch = glide.Batch
        address = glide.NodeAddress(self.target.host, self.target.valkey_port)
        client = await glide.GlideClient.create(glide.GlideClientConfiguration([address], request_timeout=10_000))
        yield [client]
        await client.close()

    async def get(self, client: Any) -> int:
        key = self.next_key()
        check(await client.hmget(f"{READ}:{key}", COLUMNS), self.rows[key])
        return 1

    async def get_many(self, client: Any) -> int:
        keys, expected = self.next_sample()
        batch = self.batch(is_atomic=False)
        for key in keys:
            batch.hmget(f"{READ}:{key}", COLUMNS)
        self.check_many(await client.exec(batch, raise_on_error=True), expected)
        return BATCH

    async def insert(self, client: Any) -> int:
        check(await client.hset(f"{FILLED}:{self.next_new()}", ROW), len(ROW))
        return 1

    async def insert_many(self, client: Any) -> int:
        batch = self.batch(is_atomic=False)
        for key, _, _ in self.new_rows():
            batch.hset(f"{FILLED}:{key}", ROW)
        check(await client.exec(batch, raise_on_error=True), [len(ROW)] * BATCH)
        return BATCH

    async def incr(self, client: Any) -> int:
        check_sum(await client.hincrby(f"{COUNTED}:{self.next_key()}", "n", 1))
        return 1


class GlideTrio(Glide):
    mode, runtime = "trio", TRIO
