"""Two kinds of users in Python, on the harness's own table: readers with the client, and clerks whose writes are audited."""

from __future__ import annotations

from hs_drill.users import TrioUser, between, constant_throughput, task


class Shopper(TrioUser):
    """Reads with the client, `self.hs`: all of `trio_hs`."""

    weight = 3
    wait_time = between(0.01, 0.05)

    async def on_start(self) -> None:
        self.products = self.hs.table("drill", "t", ["id", "grp", "payload"])
        self.groups = self.hs.table("drill", "t", ["id"], "grp")

    @task(5)
    async def product(self) -> None:
        number = self.random.randrange(1, 1001)
        async with self.measure("product"):
            row = await self.products.get(number)
            assert dict(row)["id"] == str(number)

    @task
    async def browse(self) -> None:
        async with self.measure("browse"):
            first = await self.groups.find(">=", [self.random.randrange(100)], limit=5)
            await self.products.get_many([dict(row)["id"] for row in first])


class Clerk(TrioUser):
    """Writes with `self.rows`: the audit knows of each write, and says what became of it."""

    wait_time = constant_throughput(20)

    async def on_start(self) -> None:
        self.orders: list[int] = []

    @task(3)
    async def order(self) -> None:
        async with self.measure("order"):
            number = await self.rows.insert()
            self.orders.append(number)
            assert await self.rows.incr(self.rows.draw(), 2)

    @task(2)
    async def change(self) -> None:
        if self.orders:
            async with self.measure("change"):
                number = self.random.choice(self.orders)
                assert await self.rows.update(number)
                await self.rows.get(number)

    @task
    async def cancel(self) -> None:
        if self.orders:
            async with self.measure("cancel"):
                assert await self.rows.delete(self.orders.pop())
