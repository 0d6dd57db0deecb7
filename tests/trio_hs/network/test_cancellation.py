"""Cancelling at any moment, with hundreds of requests in flight on one connection, disturbs no other task and leaks nothing."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Callable

import pytest
import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from hs_drill._cluster import Cluster
from hs_drill.servers import execute_sql
from tests.support.amount import amount
from tests.trio_hs.support.connections import answer, ask, connected
from tests.trio_hs.support.fake import FakeConnection, FakeServer, echo
from trio_hs._network import Connection, Pool, Request

ADDRESS: trio_hs.Servers = [("inet", "fake", 1)]


class SlowServer(FakeServer):
    """Reads at intervals, and answers late and in pieces of any size, with a pause before each piece."""

    def __init__(
        self, nursery: trio.Nursery, rng: random.Random, largest_piece: int, longest_pause: float, window: int
    ) -> None:
        super().__init__(nursery, window=window)
        self.rng = rng
        self.largest_piece = largest_piece
        self.longest_pause = longest_pause

    async def serve(self, connection: FakeConnection) -> None:
        to_say, to_speak = trio.open_memory_channel[bytes](float("inf"))

        async def speak() -> None:
            async for said in to_speak:
                while said:
                    await trio.sleep(self.rng.random() * self.longest_pause)
                    piece = self.rng.randint(1, self.largest_piece)
                    while len(said) < piece and to_speak.statistics().current_buffer_used:
                        said += to_speak.receive_nowait()
                    connection.say(said[:piece])
                    said = said[piece:]

        self.nursery.start_soon(speak)
        with to_say:
            while (line := await connection.line()) is not None:
                self.lines.append(line)
                to_say.send_nowait(echo(line))
                if self.rng.random() < 0.2:  # meanwhile the client's queue grows
                    await trio.sleep(self.rng.random() * self.longest_pause)


def assert_empty(connection: Connection) -> None:
    """Check that the connection holds no request any more."""
    assert connection.usable
    assert connection.load == 0
    for name in ("_sent", "_queue", "_backlog", "_unsent"):
        assert not getattr(connection, name), name
    assert not connection._answers.incomplete


def live_requests() -> int:
    gc.collect()
    return sum(isinstance(thing, Request) for thing in gc.get_objects())


def the_connection(pool: Pool) -> Connection:
    connection = pool.choose()
    assert connection is not None
    return connection


CALLS = ("get", "find", "get_many", "insert", "update")


async def call(hs: trio_hs.Manager, kind: str, name: str) -> None:
    """One operation. Its answer must be its own, as far as the fake server's answers show."""
    row = [("id", name)]
    if kind == "get":
        assert await hs.get("d", "t", ["id"], name) == row
    elif kind == "find":
        assert await hs.find("d", "t", "=", ["id"], [name], limit=2) == [row]
    elif kind == "get_many":
        names = [f"{name}/{number}" for number in range(5)]
        assert await hs.get_many("d", "t", ["id"], names) == [[("id", each)] for each in names]
    elif kind == "insert":
        assert await hs.insert("d", "t", row) == 1
    else:
        assert await hs.update("d", "t", "=", ["id"], [name], ["x"]) == 1


# Not shrunk: most of an example follows from its seed, so a smaller example is a different one, and each takes long.
@pytest.mark.slow
@settings(max_examples=amount(6, 25), phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    seed=st.integers(0, 2**32),
    tasks=st.integers(2, 300),
    victims=st.floats(0.1, 1),
    largest_piece=st.sampled_from([3, 40, 500, 100_000]),
    longest_pause=st.sampled_from([0.0, 0.01, 0.1]),
    window=st.sampled_from([11, 300, 1 << 20]),
)
def test_tasks_that_are_not_cancelled_get_their_own_answers(
    seed: int, tasks: int, victims: float, largest_piece: int, longest_pause: float, window: int
) -> None:
    rng = random.Random(seed)
    survivors = 0
    cancelled = 0
    # Examples with many pieces get short pauses, to bound the time.
    longest_pause *= min(1.0, largest_piece / tasks)

    async def main() -> None:
        nonlocal survivors, cancelled
        async with trio.open_nursery() as nursery:
            server = SlowServer(nursery, rng, largest_piece, longest_pause, window)
            async with trio_hs.open_manager(ADDRESS, ADDRESS, connect=server.connect, timeout=1000) as hs:
                await call(hs, "get", "first")
                await call(hs, "insert", "first")

                async def user(number: int, cancelled_after: float) -> None:
                    nonlocal survivors, cancelled
                    with trio.move_on_after(cancelled_after) as scope:
                        for turn in range(3):
                            await call(hs, rng.choice(CALLS), f"{number}.{turn}")
                        survivors += 1
                    cancelled += scope.cancelled_caught

                doomed = rng.sample(range(tasks), int(victims * tasks))
                span = 10 * longest_pause * tasks / largest_piece
                async with trio.open_nursery() as users:
                    for number in range(tasks):
                        when = rng.choice([0.0, rng.random() * span]) if number in doomed else float("inf")
                        users.start_soon(user, number, when)
                await call(hs, "get_many", "last")
                await call(hs, "update", "last")
                for pool in (hs._dispatcher.reader, hs._dispatcher.writer):
                    await wait_until(lambda pool=pool: the_connection(pool).load == 0)  # type: ignore[misc]
                    assert_empty(the_connection(pool))
                assert len(server.connections) == 2  # one for reads, one for writes: none was lost
            nursery.cancel_scope.cancel()

    before = live_requests()
    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert survivors >= tasks - int(victims * tasks)
    assert survivors + cancelled == tasks
    assert live_requests() <= before


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait (with a limit) until the placeholders of cancelled requests have dropped their answers."""
    with trio.fail_after(1000):
        while not condition():  # noqa: ASYNC110  (virtual time)
            await trio.sleep(1)


@pytest.mark.slow
async def test_memory_stays_level_over_many_rounds_of_cancellation(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    rng = random.Random(1)
    server = FakeServer(nursery)
    async with trio_hs.open_manager(ADDRESS, ADDRESS, connect=server.connect, timeout=1000) as hs:

        async def round_() -> None:
            server.gate = trio.Event()
            async with trio.open_nursery() as users:
                for number in range(200):
                    users.start_soon(call, hs, rng.choice(CALLS), str(number))
                await wait_all_tasks_blocked()
                users.cancel_scope.cancel()
            server.gate.set()
            await call(hs, "get", "after")
            await call(hs, "insert", "after")
            server.lines.clear()

        sizes = []
        before = live_requests()  # of other tests, whose errors may not have been collected yet
        tracemalloc.start()
        try:
            for number in range(amount(40, 60)):
                await round_()
                if number % 10 == 9:
                    assert live_requests() <= before
                    sizes.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        for pool in (hs._dispatcher.reader, hs._dispatcher.writer):
            assert_empty(the_connection(pool))
        assert len(server.connections) == 2
    # 6,000 requests or more were cancelled meanwhile; one word kept of each would be 48 kB.
    assert sizes[-1] - sizes[0] < 40_000, sizes


@pytest.mark.mariadb
async def test_the_real_server_under_cancellation(cluster: Cluster) -> None:
    server = cluster.writer
    rng = random.Random()
    await execute_sql(
        server,
        "CREATE DATABASE cancel",
        "CREATE TABLE cancel.t (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL, n INT NOT NULL)",
    )
    try:
        async with trio_hs.open_manager(
            [("inet", server.host, server.read_port)],
            [("inet", server.host, server.write_port)],
            read_secret=server.read_secret,
            write_secret=server.write_secret,
        ) as hs:
            table = hs.table("cancel", "t", ["id", "name"])
            counter = hs.table("cancel", "t", ["n"])
            rows = {number: [("id", str(number)), ("name", f"name {number}")] for number in range(500)}
            await hs.insert_many("cancel", "t", ["id", "name", "n"], [[number, f"name {number}", 0] for number in rows])
            answered = cancelled = acknowledged = sent = 0

            async def user(number: int) -> None:
                nonlocal answered, cancelled, acknowledged, sent
                for _ in range(15):
                    with trio.move_on_after(rng.choice([float("inf"), 0.0, rng.random() * 0.03])) as scope:
                        key = rng.randrange(500)
                        assert await table.get(key) == rows[key]
                        some = rng.sample(range(500), 10)
                        assert await table.get_many(some) == [rows[each] for each in some]
                        sent += 1
                        assert await counter.incr("=", [number]) == 1
                        acknowledged += 1
                        answered += 1
                    cancelled += scope.cancelled_caught

            for _ in range(3):
                async with trio.open_nursery() as users:
                    for number in range(300):
                        users.start_soon(user, number)
            assert await table.get(7) == rows[7]
            assert answered > 1000
            assert cancelled > 1000
            # A cancelled increment may have been applied, an acknowledged one was, and none twice. Answers come in order, so
            # after this one no increment is in flight.
            assert await counter.update("=", [499], [0]) == 1
            total = (await execute_sql(server, "SELECT CAST(SUM(n) AS SIGNED) AS total FROM cancel.t"))[0]["total"]
            assert acknowledged <= total <= sent
            for pool in (hs._dispatcher.reader, hs._dispatcher.writer):
                assert_empty(the_connection(pool))
                assert pool.statistics()[0].connected == 1
    finally:
        await execute_sql(server, "DROP DATABASE cancel")


@settings(max_examples=amount(25, 60))
@given(data=st.data())
def test_cancelling_at_any_point_disturbs_no_other_task(data: st.DataObject) -> None:
    """Cancel requests before they are sent, while they wait, and as their answers arrive."""
    tasks = data.draw(st.integers(2, 120), label="tasks")
    bound = data.draw(st.sampled_from([1, 3, 16, 1024]), label="bound")
    window = data.draw(st.sampled_from([7, 50, 1 << 20]), label="window")
    victims = data.draw(st.sets(st.integers(0, tasks - 1)), label="victims")
    steps = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=6), label="steps")
    clock = MockClock(autojump_threshold=0)  # a hang becomes the connection's timeout immediately
    finished: list[int] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = FakeServer(nursery, window=window)
            async with connected(server, max_outstanding=bound) as (connection, _):
                scopes = {number: trio.CancelScope() for number in victims}

                async def user(number: int) -> None:
                    with scopes.get(number, trio.CancelScope()):
                        for turn in range(4):
                            name = f"{number}.{turn}"
                            assert await ask(connection, name) == answer(name)
                        finished.append(number)

                async def cancel() -> None:
                    for position, scope in enumerate(scopes.values()):
                        for _ in range(steps[position % len(steps)]):
                            await trio.lowlevel.checkpoint()
                        scope.cancel()

                async with trio.open_nursery() as users:
                    for number in range(tasks):
                        users.start_soon(user, number)
                    users.start_soon(cancel)
                # The cancelled requests left nothing that could reach another caller.
                for number in range(10):
                    assert await ask(connection, f"after {number}") == answer(f"after {number}")
                await wait_all_tasks_blocked()
                assert connection.usable
                assert connection.load == 0
                assert not connection._sent
                assert not connection._queue
            nursery.cancel_scope.cancel()

    trio.run(main, clock=clock)
    assert set(finished) >= set(range(tasks)) - victims


async def test_an_unsent_request_that_is_cancelled_is_never_sent(nursery: trio.Nursery) -> None:
    server = FakeServer(nursery)
    async with connected(server, max_outstanding=1) as (connection, _):
        await ask(connection, "open")
        server.gate = trio.Event()
        async with trio.open_nursery() as callers:
            callers.start_soon(ask, connection, "first")
            await wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                scope.cancel()
                await ask(connection, "second")
            assert scope.cancelled_caught
            server.gate.set()
        assert [line.split(b"\t")[-1] for line in server.requests] == [b"open", b"first"]


async def test_cancelled_requests_free_their_memory(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Callers with short deadlines try a stuck server again and again."""
    server = FakeServer(nursery)
    async with connected(server, timeout=1000.0, max_outstanding=10) as (connection, _):
        await ask(connection, "a")
        server.gate = trio.Event()
        for _ in range(2000):
            with trio.move_on_after(0.001):
                await ask(connection, "b")
        assert connection.load <= 11
        server.gate.set()
        await trio.sleep(1)
        assert connection.load == 0
        assert await ask(connection, "c") == answer("c")
