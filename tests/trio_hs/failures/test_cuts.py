"""Connections that are cut at random bytes, among many operations: nothing is lost, doubled or wrong. Real sockets."""

from __future__ import annotations

import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_hs
from tests.support.amount import amount
from tests.support.patience import patience
from trio_hs import ConnectionError, Manager, RetryPolicy, Server
from trio_hs._network import background_nursery
from trio_hs.testing import EmbeddedServer, Table, open_server

TABLES = [
    Table("d", "rows", {"id": "INT NOT NULL", "v": "VARCHAR(20) NOT NULL"}, primary_key=["id"]),
    Table("d", "counters", {"id": "INT NOT NULL", "n": "INT NOT NULL"}, primary_key=["id"]),
]
TASKS = 20

Cut = Callable[[trio.SocketStream, trio.SocketStream], None]


def reset(client: trio.SocketStream, server: trio.SocketStream) -> None:
    """End both connections at once, without what is still under way."""
    for stream in (client, server):
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()


def end(client: trio.SocketStream, server: trio.SocketStream) -> None:
    """End both connections in order."""
    client.socket.close()
    server.socket.close()


def end_answers(client: trio.SocketStream, server: trio.SocketStream) -> None:
    """Only the direction to the client ends: it may still send, and nothing comes back."""
    client.socket.shutdown(socket.SHUT_WR)


def end_requests(client: trio.SocketStream, server: trio.SocketStream) -> None:
    """Only the direction to the server ends: it takes the end of the stream for the end of the client."""
    server.socket.shutdown(socket.SHUT_WR)


class Relay:
    """Forwards connections to a server, and cuts them in the middle of a piece of data until there were enough cuts."""

    def __init__(self, target: Server, cuts: int, rng: random.Random) -> None:
        self.target = target
        self.left = cuts
        self.rng = rng
        self.enough = trio.Event()

    async def serve(self, client: trio.SocketStream) -> None:
        assert self.target.port is not None
        server = await trio.open_tcp_stream(self.target.host, self.target.port)
        async with client, server, trio.open_nursery() as nursery:

            async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
                try:
                    while data := await source.receive_some(65536):
                        if self.left and self.rng.random() < 0.05:
                            self.left -= 1
                            if not self.left:  # before what may raise, or be cancelled when the other direction ends
                                self.enough.set()
                            await sink.send_all(data[: self.rng.randrange(len(data) + 1)])
                            cut: Cut = self.rng.choice((reset, end, end_answers, end_requests))
                            cut(client, server)
                            if cut in (reset, end):
                                break
                            return  # the other direction goes on
                        await sink.send_all(data)
                except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(pump, client, server)
            nursery.start_soon(pump, server, client)


class Callers:
    """Tasks that write and read, and what they were told."""

    def __init__(self, hs: Manager, rng: random.Random) -> None:
        self.hs = hs
        self.rng = rng
        self.told: dict[int, str] = {}
        self.counted: Counter[tuple[int, str]] = Counter()
        self.operations = 0

    async def run(self, number: int, stop: trio.Event) -> None:
        rows, counters = self.hs.table("d", "rows", ["id", "v"]), self.hs.table("d", "counters", ["n"])
        done: list[int] = []
        while not stop.is_set():
            self.operations += 1
            with trio.move_on_after(self.rng.choice((0.001, 0.003, 60, 60, 60, 60))) as limit:
                match self.rng.randrange(4):
                    case 0:
                        key = number + TASKS * (len(done) + 1)
                        done.append(key)
                        self.told[key] = "doubt"
                        self.told[key] = await self.outcome(rows.insert([key, f"v{key}"]))
                    case 1:
                        self.counted[number, "doubt"] += 1
                        outcome = await self.outcome(counters.incr("=", [number]))
                        self.counted[number, "doubt"] -= 1
                        self.counted[number, outcome] += 1
                    case 2 if done:
                        key = self.rng.choice(done)
                        await self.outcome(self.check([key], [rows.get(key)]))
                    case _ if done:
                        keys = self.rng.choices(done, k=min(len(done), 20))
                        await self.outcome(self.check(keys, rows.get_many(keys)))
            assert not limit.cancelled_caught or limit.deadline - trio.current_time() < 1, "an operation hangs"
            await trio.lowlevel.checkpoint()

    async def outcome(self, operation: Awaitable[Any]) -> str:
        try:
            await operation
        except ConnectionError as error:
            return "doubt" if error.maybe_applied else "nothing"
        return "done"

    async def check(self, keys: list[int], reads: Any) -> None:
        found = [await reads[0]] if isinstance(reads, list) else await reads
        for key, row in zip(keys, found, strict=True):
            assert row == [("id", str(key)), ("v", f"v{key}")] or (not row and self.told[key] != "done"), (key, row)

    def judge(self, server: EmbeddedServer) -> None:
        tables = server.database.tables
        held = {int(str(row[0])) for row in tables["d", "rows"].rows}
        assert {key for key, told in self.told.items() if told == "done"} <= held
        assert not held & {key for key, told in self.told.items() if told == "nothing"}
        assert held <= set(self.told)
        for key, n in (map(int, map(str, row)) for row in tables["d", "counters"].rows):
            assert self.counted[key, "done"] <= n <= self.counted[key, "done"] + self.counted[key, "doubt"]


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.slow
async def test_cuts_at_random_bytes(kind: str, tmp_path: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    rng = random.Random(seed)
    async with open_server(TABLES) as server, background_nursery() as relays:
        await server.listen(("127.0.0.1", 0), ("127.0.0.1", 0))
        await server.load("d", "counters", [[number, 0] for number in range(TASKS)])
        relay = Relay(server.write_address, amount(40, 1_000), rng)
        address: tuple[Any, ...]
        if kind == "tcp":
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            address = ("inet", *listener.socket.getsockname())
        else:
            unix = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            await unix.bind(str(tmp_path / "socket"))
            unix.listen()
            listener = trio.SocketListener(unix)
            address = ("unix", str(tmp_path / "socket"))
        relays.start_soon(trio.serve_listeners, relay.serve, [listener])
        retry = RetryPolicy(attempts=20, backoff=0.001, max_backoff=0.01)
        async with trio_hs.open_manager([address], [address], retry=retry, connections=2) as hs:
            callers = Callers(hs, rng)
            with trio.fail_after(patience(120) * amount(1, 5)):
                async with trio.open_nursery() as nursery:
                    for number in range(TASKS):
                        nursery.start_soon(callers.run, number, relay.enough)
            with trio.fail_after(patience(30)):
                for number in range(TASKS):  # nothing is left in its way, but the client may notice the last cut only now
                    assert len(await hs.get("d", "counters", ["n"], number)) == 1
                    told = ""
                    while told != "done":
                        told = await callers.outcome(hs.incr("d", "counters", "=", ["n"], [number]))
                        callers.counted[number, told] += 1
        print(callers.operations, "operations", Counter(callers.told.values()), hs.statistics().retries, "retries")
        callers.judge(server)
