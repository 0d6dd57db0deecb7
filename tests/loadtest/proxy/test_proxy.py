"""The proxy's disturbances, seen from both sides with plain sockets, and by the real client in front of real servers."""

from __future__ import annotations

import os
import random
import socket
import statistics
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
import trio.testing

import trio_hs
from hs_drill._cluster import Cluster, Server
from hs_drill.proxy._connection import Connection
from hs_drill.proxy._disturbances import (
    Bandwidth,
    Blackhole,
    Disturbance,
    DropReplies,
    Flapping,
    HalfOpen,
    IdleTimeout,
    Latency,
    Partition,
    ResetPeer,
)
from hs_drill.proxy._lane import Lane
from hs_drill.proxy._proxy import Proxy, open_proxy
from hs_drill.servers import execute_sql
from hs_drill.servers._replication import wait_replicated

SHORT = 0.1
"""Seconds in which nothing must arrive."""

RESET = "reset"
SILENCE = "silence"


class Target:
    """A server that the test plays by hand, and the clients of the proxy in front of it."""

    def __init__(self) -> None:
        self.proxy: Proxy
        self.port = 0
        self.listener: trio.socket.SocketType
        self._streams: list[trio.SocketStream] = []

    async def listen(self) -> None:
        self.listener = trio.socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(100)
        self.port = self.listener.getsockname()[1]

    async def accept(self) -> trio.SocketStream:
        with trio.fail_after(5):
            self._streams.append(trio.SocketStream((await self.listener.accept())[0]))
        return self._streams[-1]

    async def dial(self) -> trio.SocketStream:
        """A client's connection to the proxy."""
        with trio.fail_after(5):
            self._streams.append(await trio.open_tcp_stream("127.0.0.1", self.proxy.port))
        return self._streams[-1]

    async def is_refused(self) -> bool:
        try:
            await self.dial()
        except OSError:
            return True
        return False

    async def pair(self) -> tuple[trio.SocketStream, trio.SocketStream]:
        """Both ends of a new connection, which has carried a byte each way."""
        client = await self.dial()
        server = await self.accept()
        await client.send_all(b"?")
        assert await hear(server) == b"?"
        await server.send_all(b"!")
        assert await hear(client) == b"!"
        return client, server

    async def close(self) -> None:
        self.listener.close()
        for stream in self._streams:
            await trio.aclose_forcefully(stream)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@asynccontextmanager
async def playground() -> AsyncIterator[tuple[Proxy, Target]]:
    """A proxy and its target; afterwards no task and no socket of the proxy may be left."""
    tasks, files = trio.lowlevel.current_statistics().tasks_living, open_files()
    target = Target()
    await target.listen()
    try:
        with trio.fail_after(20):
            async with open_proxy("127.0.0.1", target.port, rng=random.Random(1)) as target.proxy:
                yield target.proxy, target
    finally:
        with trio.CancelScope(shield=True):
            await target.close()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert open_files() == files


async def quickest_echo(sender: trio.SocketStream, receiver: trio.SocketStream) -> float:
    """Seconds; the best of five, for a busy machine may disturb some."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        await sender.send_all(b"x")
        assert await hear(receiver) == b"x"
        times.append(time.perf_counter() - started)
    return min(times)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110  (sockets set no event)
            await trio.sleep(0.01)


async def hear(stream: trio.SocketStream, seconds: float = 5) -> bytes | str:
    """What comes next; b"" for the end of the stream."""
    with trio.move_on_after(seconds):
        try:
            return await stream.receive_some(65536)
        except trio.BrokenResourceError:
            return RESET
    return SILENCE


async def hear_all(stream: trio.SocketStream, size: int) -> bytes:
    data = b""
    with trio.fail_after(15):
        while len(data) < size:
            more = await stream.receive_some(1 << 20)
            assert more
            data += more
    return data


# --- Undisturbed -----------------------------------------------------------------------------------------------------


async def test_a_large_stream_passes_whole_both_ways_at_once() -> None:
    data = random.Random(2).randbytes(8 << 20)
    async with playground() as (proxy, target):
        client, server = await target.pair()
        heard: list[bytes] = []

        async def collect(stream: trio.SocketStream) -> None:
            heard.append(await hear_all(stream, len(data)))

        async with trio.open_nursery() as nursery:
            for stream in (client, server):
                nursery.start_soon(stream.send_all, data)
                nursery.start_soon(collect, stream)
        assert heard == [data, data]
        statistics = proxy.statistics()
        assert (statistics.upstream_bytes, statistics.downstream_bytes) == (len(data) + 1, len(data) + 1)
        assert (statistics.open, statistics.accepted, statistics.disturbances) == (1, 1, ())


async def test_a_server_with_nagles_algorithm_does_not_wait_for_the_proxy() -> None:
    """Its second answer waits until the first is acknowledged, which a kernel likes to put off by 40 ms."""
    async with playground() as (_, target):
        client, server = await target.pair()
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        times = []
        for _ in range(20):
            await client.send_all(b"??")
            assert await hear(server) == b"??"
            started = time.perf_counter()
            for _ in range(2):
                await server.send_all(b"!")
                assert await hear(client) == b"!"
            times.append(time.perf_counter() - started)
        assert statistics.median(times) < 0.03


async def test_a_receiver_that_does_not_read_stops_the_sender() -> None:
    async with playground() as (proxy, target):
        client, server = await target.pair()
        data, sent = bytes(1 << 20), 0
        with trio.move_on_after(1):
            while sent < 500:
                await client.send_all(data)
                sent += 1
        assert sent < 100
        assert proxy.statistics().upstream_bytes < 100 << 20
        assert len(await hear_all(server, sent << 20)) >= sent << 20


async def test_each_end_of_the_stream_is_passed_on() -> None:
    async with playground() as (_proxy, target):
        client, server = await target.pair()
        await client.send_eof()
        assert await hear(server) == b""
        await server.send_all(b"last words")
        assert await hear(client) == b"last words"
        await server.send_eof()
        assert await hear(client) == b""


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_reset_is_passed_on_at_once(side: str) -> None:
    async with playground() as (_proxy, target):
        ends = dict(zip(("client", "server"), await target.pair(), strict=True))
        dying = ends.pop(side)
        dying.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await dying.aclose()
        assert await hear(ends.popitem()[1]) == RESET


async def test_a_dead_server_looks_dead_and_a_restarted_one_alive() -> None:
    async with playground() as (proxy, target):
        target.listener.close()
        assert await hear(await target.dial()) == RESET
        assert proxy.statistics().unreachable == 1
        await target.listen()
        await target.pair()


# --- Disturbances ----------------------------------------------------------------------------------------------------


async def test_a_partition_holds_bytes_and_endings_until_it_heals() -> None:
    async with playground() as (proxy, target):
        client, server = await target.pair()
        late = await target.dial()
        late_server = await target.accept()
        partition = Partition()
        proxy.start(partition)
        await client.send_all(b"up")
        await server.send_all(b"down")
        await late.aclose()
        for stream in (client, server, late_server):
            assert await hear(stream, SHORT) == SILENCE
        proxy.heal(partition)
        assert await hear(server) == b"up"
        assert await hear(client) == b"down"
        assert await hear(late_server) == b""


@pytest.mark.parametrize("direction", ["upstream", "downstream"])
async def test_a_partition_one_way_lets_the_other_way_pass(direction: Any) -> None:
    async with playground() as (proxy, target):
        client, server = await target.pair()
        sender, receiver = (client, server) if direction == "upstream" else (server, client)
        proxy.start(Partition(direction))
        await sender.send_all(b"held")
        await receiver.send_all(b"free")
        assert await hear(sender) == b"free"
        assert await hear(receiver, SHORT) == SILENCE
        proxy.heal()
        assert await hear(receiver) == b"held"


async def test_during_a_silent_partition_new_connections_wait_and_those_that_gave_up_never_reach_the_server() -> None:
    async with playground() as (proxy, target):
        proxy.start(Partition())
        patient, gave_up = await target.dial(), await target.dial()
        for stream in (gave_up, patient):
            await stream.send_all(b"request")
        await gave_up.aclose()
        assert await hear(patient, SHORT) == SILENCE
        assert proxy.statistics().accepted == 0
        proxy.heal()
        server = await target.accept()
        await server.send_all(b"answer")
        assert await hear(server) == b"request"
        assert await hear(patient) == b"answer"
        with trio.move_on_after(SHORT):
            await target.listener.accept()
            raise AssertionError("the connection that gave up reached the server")


async def test_a_partition_may_refuse_new_connections_and_keeps_its_port() -> None:
    async with playground() as (proxy, target):
        client, server = await target.pair()
        for _ in range(2):
            proxy.start(Partition(new_connections="refuse"))
            assert await target.is_refused()
            with socket.socket() as thief, pytest.raises(OSError, match="in use"):
                thief.bind(("127.0.0.1", proxy.port))
            await client.send_all(b"held")
            assert await hear(server, SHORT) == SILENCE
            proxy.heal()
            assert await hear(server) == b"held"
            await target.pair()


async def test_latency_delays_and_jitter_keeps_the_order() -> None:
    async with playground() as (proxy, target):
        client, server = await target.pair()
        proxy.start(Latency(0.1, direction="upstream"))
        proxy.start(Latency(0.05, jitter=0.05, direction="upstream"))  # they add up
        started = time.perf_counter()
        expected = b""
        for number in range(30):
            await client.send_all(b"%02d" % number)
            expected += b"%02d" % number
            await trio.sleep(0.002)
        await client.send_eof()
        first = await hear(server)
        assert isinstance(first, bytes)
        assert 0.1 <= time.perf_counter() - started < 1
        assert first + await hear_all(server, len(expected) - len(first)) == expected
        assert await hear(server) == b""
        assert await quickest_echo(server, client) < 0.1  # the other way is as fast as ever


async def test_healing_latency_releases_what_is_delayed_in_order() -> None:
    async with playground() as (proxy, target):
        client, server = await target.pair()
        proxy.start(Latency(60))
        await client.send_all(b"early")
        assert await hear(server, SHORT) == SILENCE
        proxy.heal()
        await client.send_all(b"late")
        assert await hear_all(server, 9) == b"earlylate"


async def test_a_latency_that_begins_right_after_another_has_healed_is_its_own() -> None:
    async with playground() as (proxy, target):
        client, server = await target.pair()
        proxy.start(Latency(60))
        await client.send_all(b"old")
        assert await hear(server, SHORT) == SILENCE
        proxy.heal()
        proxy.start(Latency(0.2))
        assert await hear(server) == b"old"
        await client.send_all(b"new")
        assert await hear(server) == b"new"


async def test_bytes_that_are_delayed_are_bounded() -> None:
    async with playground() as (proxy, target):
        client, server = await target.pair()
        proxy.start(Latency(60))
        sent = 0
        with trio.move_on_after(1):
            while sent < 500:
                await client.send_all(bytes(1 << 20))
                sent += 1
        assert proxy.statistics().upstream_bytes < 6 << 20
        proxy.heal()
        await hear_all(server, sent << 20)


async def test_bandwidth_is_shared_by_all_connections() -> None:
    async with playground() as (proxy, target):
        (one, one_server), (two, two_server) = await target.pair(), await target.pair()
        proxy.start(Bandwidth(100_000, "upstream"))
        started = time.perf_counter()
        for client in (one, two):
            await client.send_all(bytes(20_000))
        async with trio.open_nursery() as nursery:
            for server in (one_server, two_server):
                nursery.start_soon(hear_all, server, 20_000)
        assert 0.38 <= time.perf_counter() - started < 2
        await one.send_all(bytes(1_000_000))
        proxy.heal()
        started = time.perf_counter()
        await hear_all(one_server, 1_000_000)
        assert time.perf_counter() - started < 2


async def test_reset_peer_resets_every_open_connection_and_no_later_one() -> None:
    async with playground() as (proxy, target):
        ends = [*await target.pair(), *await target.pair()]
        proxy.start(ResetPeer())
        for stream in ends:
            assert await hear(stream) == RESET
        assert proxy.statistics().disturbances == ()
        await target.pair()
        assert proxy.statistics().reset == 2


@pytest.mark.parametrize("vanished", ["client", "server"])
async def test_half_open_swallows_what_the_other_side_says(vanished: Any) -> None:
    async with playground() as (proxy, target):
        client, server = await target.pair()
        gone, left = (client, server) if vanished == "client" else (server, client)
        proxy.start(HalfOpen(vanished))
        assert await hear(gone) == RESET
        for _ in range(20):  # more than the kernel's buffers hold
            await left.send_all(bytes(1 << 20))
        assert await hear(left, SHORT) == SILENCE
        await target.pair()  # later ones work
        proxy.heal()
        assert await hear(left) == RESET
        assert proxy.statistics().half_open == 1


async def test_a_blackhole_accepts_and_never_answers_and_nothing_reaches_the_server() -> None:
    async with playground() as (proxy, target):
        client, server = await target.pair()
        proxy.start(Blackhole())
        late = await target.dial()
        for stream in (client, late):
            await stream.send_all(bytes(1 << 20))
            assert await hear(stream, SHORT) == SILENCE
        assert await hear(server, SHORT) == SILENCE
        proxy.heal()
        for stream in (client, late, server):
            assert await hear(stream) == RESET
        await target.pair()


async def test_healing_one_disturbance_leaves_the_connections_of_another_as_they_are() -> None:
    async with playground() as (proxy, target):
        half_open, _ = await target.pair()
        proxy.start(HalfOpen())
        proxy.start(Blackhole())
        swallowed = await target.dial()
        proxy.heal(HalfOpen())
        assert await hear(half_open) == RESET
        assert await hear(swallowed, SHORT) == SILENCE
        proxy.heal(Blackhole())
        assert await hear(swallowed) == RESET


async def test_a_blackhole_lets_go_of_clients_that_leave() -> None:
    async with playground() as (proxy, target):
        client, server = await target.pair()
        proxy.start(Blackhole())
        await client.aclose()
        assert await hear(server) == b""
        await until(lambda: not proxy.statistics().open)


async def test_an_idle_connection_is_closed_in_order_and_a_busy_one_is_not() -> None:
    async with playground() as (proxy, target):
        idle, idle_server = await target.pair()
        busy, busy_server = await target.pair()
        proxy.start(IdleTimeout(0.3))
        begin = time.perf_counter()
        for _ in range(5):
            await trio.sleep(0.1)
            await busy_server.send_all(b"x")
            assert await hear(busy) == b"x"
        assert await hear(idle) == b""
        assert await hear(idle_server) == b""
        assert time.perf_counter() - begin > 0.3
        assert await hear(busy) == b"", "its turn has come"
        fresh, fresh_server = await target.pair()
        proxy.heal(IdleTimeout(0.3))
        await trio.sleep(0.5)
        await fresh.send_all(b"x")
        assert await hear(fresh_server) == b"x"


async def test_flapping_alternates() -> None:
    async with playground() as (proxy, target):
        client, server = await target.pair()
        flapping = Flapping(down=0.3, up=0.3)
        proxy.start(flapping)

        async def talk() -> None:
            while True:
                await client.send_all(b"x")
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            for _ in range(3):
                while await hear(server, 0.15) != SILENCE:
                    pass
                assert isinstance(await hear(server), bytes)
            nursery.cancel_scope.cancel()
        proxy.start(Latency(0.01))  # combined: the flapping goes on
        proxy.heal(flapping)
        await client.send_all(b"y")
        heard = b""
        while not heard.endswith(b"y"):
            heard += await hear_all(server, 1)
        assert proxy.statistics().disturbances == (Latency(0.01),)


# --- Lost answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cut, delivered",
    [("boundary", b"0\t1\n0\t1\n0\t1\t1\n0\t1\t2\n"), ("middle", b"0\t1\n0\t1\n0\t1\t1\n0\t1\t2\n0\t1")],
    ids=["boundary", "middle"],
)
@pytest.mark.parametrize("end", ["reset", "close"])
@pytest.mark.parametrize("portion", [1, 4, 100])
async def test_the_answer_after_n_is_lost_though_the_server_gave_it(cut: Any, delivered: bytes, end: Any, portion: int) -> None:
    async with playground() as (proxy, target):
        proxy.start(DropReplies(after=2, cut=cut, end=end))
        client = await target.dial()
        server = await target.accept()
        requests = b"A\t1\ts\nP\t0\td\tt\n0\t=\t1\n0\t=\t2\n0\t=\t3\n0\t=\t4\n"
        answers = b"0\t1\n0\t1\n0\t1\t1\n0\t1\t2\n0\t1\t3\n0\t1\t4\n"
        for start in range(0, len(requests), portion):
            await client.send_all(requests[start : start + portion])
            await trio.testing.wait_all_tasks_blocked()
        assert await hear_all(server, len(requests)) == requests
        with suppress(trio.BrokenResourceError):  # it was cut before the last answer
            for start in range(0, len(answers), portion):
                await server.send_all(answers[start : start + portion])
                await trio.testing.wait_all_tasks_blocked()
        heard = b""
        while isinstance(more := await hear(client), bytes) and more:
            heard += more
        assert heard == delivered
        assert more == (RESET if end == "reset" else b"")
        assert proxy.statistics().cut == 1


async def test_all_answers_count_on_a_connection_from_before_and_an_answer_under_way_is_spared() -> None:
    async with playground() as (proxy, target):
        client, server = await target.pair()
        await server.send_all(b"half of ")
        assert await hear_all(client, 8) == b"half of "
        proxy.start(DropReplies(after=1))
        await client.send_all(b"P\tone\nP\ttwo\nP\tthree\n")
        await server.send_all(b"one\n1\n2\n")
        assert await hear_all(client, 6) == b"one\n1\n"
        assert await hear(client) == RESET


async def test_answers_in_total_are_counted_over_all_connections_and_anew_after_each_loss() -> None:
    async with playground() as (proxy, target):
        proxy.start(DropReplies(after=2, scope="total"))
        outcomes = ""
        client: trio.SocketStream | None = None
        for _ in range(9):
            if client is None or outcomes[-2:] == "++":  # also a fresh connection in the middle of the count
                client = await target.dial()
                server = await target.accept()
            await client.send_all(b"0\t=\t1\n")
            assert await hear(server) == b"0\t=\t1\n"
            await server.send_all(b"0\t1\n")
            answered = await hear(client) == b"0\t1\n"
            outcomes += "+" if answered else "-"
            client = client if answered else None
        assert outcomes == "++-++-++-"


async def test_of_two_disturbances_that_drop_replies_each_counts() -> None:
    async with playground() as (proxy, target):
        often, seldom = DropReplies(after=3), DropReplies(after=1)
        proxy.start(often)
        proxy.start(seldom)

        async def answered() -> int:
            """How many of five requests on a connection of their own get an answer."""
            client = await target.dial()
            server = await target.accept()
            await client.send_all(b"0\n" * 5)
            await hear_all(server, 10)
            with suppress(trio.BrokenResourceError):
                await server.send_all(b"1\n" * 5)
            heard = b""
            while isinstance(more := await hear(client), bytes) and more:
                heard += more
                if len(heard) == 10:
                    break
            return len(heard) // 2

        assert await answered() == 1
        proxy.heal(seldom)
        assert await answered() == 3
        proxy.heal(often)
        assert await answered() == 5
        assert proxy.statistics().cut == 2


async def test_dropped_replies_and_latency_combine() -> None:
    async with playground() as (proxy, target):
        drop = DropReplies(after=1)
        proxy.start(drop)
        proxy.start(Latency(0.2, direction="downstream"))
        client = await target.dial()
        server = await target.accept()
        await client.send_all(b"0\n0\n")
        await server.send_all(b"1\n2\n")
        assert await hear(client, 0.1) == SILENCE
        proxy.heal(drop)  # too late: its second answer is lost already
        assert await hear(client) == b"1\n"
        assert await hear(client) == RESET


async def test_a_server_that_dies_in_the_middle_of_an_answer_is_seen_to() -> None:
    async with playground() as (proxy, target):
        proxy.start(DropReplies(after=5))
        client, server = await target.dial(), await target.accept()
        await server.send_all(b"0\t1")
        await server.send_eof()
        assert await hear_all(client, 3) == b"0\t1"
        assert await hear(client) == b""


async def test_healing_dropped_replies_delivers_the_answer_under_way() -> None:
    async with playground() as (proxy, target):
        client, server = await target.pair()
        proxy.start(DropReplies(after=5))
        await server.send_all(b"0\t1")
        assert await hear(client, SHORT) in (SILENCE, b"0\t1")
        proxy.heal()
        await server.send_all(b"\t1\n0\t1\n")
        assert await hear(client) in (b"\t1\n0\t1\n", b"0\t1\t1\n0\t1\n")


# --- Start and heal --------------------------------------------------------------------------------------------------

EVERY_DISTURBANCE: list[Disturbance] = [
    Partition(),
    Partition(new_connections="refuse"),
    Partition("upstream"),
    Latency(30, 1),
    Bandwidth(1),
    ResetPeer(),
    HalfOpen("client"),
    HalfOpen("server"),
    Blackhole(),
    DropReplies(0),
    IdleTimeout(30),
    Flapping(0.01, 0.01),
]


async def test_all_disturbances_at_once_heal_even_in_a_cancelled_task() -> None:
    async with playground() as (proxy, target):
        for _ in range(3):
            await target.pair()
            with trio.CancelScope() as scope:
                try:
                    for disturbance in EVERY_DISTURBANCE:
                        proxy.start(disturbance)
                    scope.cancel()
                    await trio.sleep_forever()
                finally:
                    proxy.heal()
            assert proxy.statistics().disturbances == ()
            await until(lambda: not proxy.statistics().open)
        await target.pair()
        proxy.heal()
        proxy.heal(Blackhole())  # not active: nothing to do
        await target.pair()


@pytest.mark.parametrize("broken_first", [True, False])
async def test_a_connection_that_is_reset_before_it_began_ends_quietly(broken_first: bool) -> None:
    client, peer = socket.socketpair()
    server, other_peer = socket.socketpair()

    async def connect() -> socket.socket:
        connection.reset()  # as when a disturbance begins in the very step in which the connecting ends
        return server

    lanes = Lane("upstream", random.Random(1)), Lane("downstream", random.Random(1))
    connection = Connection(client, connect, *lanes)
    if broken_first:
        connection.lose(None, Blackhole())
    await connection.run()
    assert (client.fileno(), server.fileno()) == (-1, -1)
    peer.close()
    other_peer.close()


@pytest.mark.parametrize("disturbance", EVERY_DISTURBANCE, ids=lambda disturbance: type(disturbance).__name__)
async def test_nothing_is_left_when_the_proxy_ends_during_a_disturbance(disturbance: Disturbance) -> None:
    async with playground() as (proxy, target):
        client, server = await target.pair()
        proxy.start(disturbance)
        if not await target.is_refused():
            with suppress(trio.BrokenResourceError):
                await client.send_all(bytes(1 << 16))
                await server.send_all(bytes(1 << 16))
        await trio.sleep(0.02)
    proxy.heal()  # still without effect or error


async def test_an_exception_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with playground() as (_, target):
            await target.pair()
            raise ZeroDivisionError


async def test_a_given_port_is_used_and_a_taken_one_refused() -> None:
    async with open_proxy("127.0.0.1", 1, rng=random.Random(1)) as first:
        with pytest.raises(OSError, match="in use"):
            async with open_proxy("127.0.0.1", 1, port=first.port, rng=random.Random(1)):
                pass
    async with open_proxy("127.0.0.1", 1, port=first.port, rng=random.Random(1)) as second:
        assert second.port == first.port


async def test_a_disturbance_cannot_be_started_twice() -> None:
    async with playground() as (proxy, _):
        latency = Latency(1)
        proxy.start(latency)
        with pytest.raises(ValueError, match="is active; heal it first"):
            proxy.start(latency)


async def test_equal_disturbances_add_up_and_heal_one_by_one() -> None:
    async with playground() as (proxy, target):
        client, server = await target.pair()
        one, other = Latency(0.1, direction="upstream"), Latency(0.1, direction="upstream")
        proxy.start(one)
        proxy.start(other)
        assert proxy.statistics().disturbances == (one, other)
        sent = trio.current_time()
        await client.send_all(b"x")
        assert await hear(server) == b"x"
        assert trio.current_time() - sent >= 0.2
        proxy.heal(other)
        assert [disturbance is one for disturbance in proxy.statistics().disturbances] == [True]
        proxy.start(Latency(60, direction="upstream"))
        proxy.start(Latency(60, direction="upstream"))
        await client.send_all(b"y")
        await trio.sleep(SHORT)
        proxy.heal(Latency(60, direction="upstream"))  # what is held goes on its way, as after any other
        assert await hear(server) == b"y"
        proxy.heal()

        for _ in range(2):
            proxy.start(Partition())
        proxy.heal(Partition())
        await client.send_all(b"z")
        assert await hear(server, SHORT) == SILENCE
        proxy.heal(Partition())
        assert await hear(server) == b"z"


async def test_of_equal_disturbances_that_break_connections_each_has_its_own() -> None:
    async with playground() as (proxy, target):
        first, _ = await target.pair()
        one, other = HalfOpen(), HalfOpen()
        proxy.start(one)
        second, _ = await target.pair()
        proxy.start(other)
        proxy.heal(other)
        assert await hear(second) == RESET
        assert await hear(first, SHORT) == SILENCE
        proxy.heal(one)
        assert await hear(first) == RESET


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Partition("sideways"), "direction must be one of both, upstream, downstream, not 'sideways'"),  # type: ignore[arg-type]
        (lambda: Partition(new_connections="no"), "new_connections must be one of silent, refuse"),  # type: ignore[arg-type]
        (lambda: Latency(-1), "latency must be 0 or more, not -1"),
        (lambda: Latency(float("nan")), "latency must be 0 or more"),
        (lambda: Latency(0), "latency and jitter must not both be 0"),
        (lambda: Latency(1, -1), "jitter must be 0 or more"),
        (lambda: Bandwidth(0), "rate must be more than 0, not 0"),
        (lambda: HalfOpen("both"), "vanished must be one of server, client"),  # type: ignore[arg-type]
        (lambda: DropReplies(-1), "after must be 0 or more answers"),
        (lambda: DropReplies(1, scope="all"), "scope must be one of connection, total"),  # type: ignore[arg-type]
        (lambda: Flapping(0, 1), "down must be more than 0"),
        (lambda: IdleTimeout(0), "after must be more than 0"),
    ],
)
def test_a_disturbance_with_a_bad_value_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [lambda: Latency("1"), lambda: Bandwidth(True), lambda: DropReplies(1.5)])  # type: ignore[arg-type]
def test_a_disturbance_with_a_bad_type_is_refused(make: Any) -> None:
    with pytest.raises(TypeError, match="must be a number"):
        make()


# --- The client in front of real servers -----------------------------------------------------------------------------

ROWS = 20


@pytest.fixture
async def proxied(cluster: Cluster) -> AsyncIterator[Cluster]:
    """The cluster, with rows whose `n` is their `id`. HandlerSocket must not open the table before it is there."""
    rows = ",".join(f"({number},{number})" for number in range(ROWS))
    await execute_sql(
        cluster.writer,
        "CREATE DATABASE proxied",
        "CREATE TABLE proxied.t (id INT NOT NULL PRIMARY KEY, n INT NOT NULL)",
        f"INSERT INTO proxied.t VALUES {rows}",
    )
    await wait_replicated(cluster)
    yield cluster
    await execute_sql(cluster.writer, "DROP DATABASE proxied")


def through(proxy: Proxy, server: Server) -> trio_hs.Server:
    return trio_hs.Server("inet", proxy.host, proxy.port, timeout=0.4, secret=server.read_secret)


@pytest.mark.mariadb
async def test_reads_through_two_readers_never_fail_whatever_disturbs_one(proxied: Cluster) -> None:
    servers = (proxied.writer, proxied.readers[0])
    rng = random.Random(1)
    async with (
        open_proxy(servers[0].host, servers[0].read_port, rng=rng) as healthy,
        open_proxy(servers[1].host, servers[1].read_port, rng=rng) as disturbed,
        trio_hs.open_manager([through(healthy, servers[0]), through(disturbed, servers[1])]) as hs,
    ):
        handle = hs.table("proxied", "t", ["id", "n"])
        reads = 0

        async def user(number: int) -> None:
            nonlocal reads
            while True:
                number = (number * 7 + 1) % ROWS
                assert await handle.get(number) == [("id", str(number)), ("n", str(number))]
                reads += 1

        async def both_serve() -> None:
            goals = [(proxy, proxy.statistics().downstream_bytes + 1000) for proxy in (healthy, disturbed)]
            await until(lambda: all(proxy.statistics().downstream_bytes > goal for proxy, goal in goals))

        async with trio.open_nursery() as users:
            for number in range(16):
                users.start_soon(user, number)
            await both_serve()
            for disturbance in [*EVERY_DISTURBANCE[:-1], DropReplies(5), Flapping(0.1, 0.1)]:
                disturbed.start(disturbance)
                await trio.sleep(0.45)  # more than the timeout: what was under way has gone to the other one
                goal = reads + 100
                await until(lambda goal=goal: reads > goal)  # type: ignore[misc]
                disturbed.heal()
                await both_serve()
            users.cancel_scope.cancel()


@pytest.mark.mariadb
@pytest.mark.parametrize("disturbance", [DropReplies(3), DropReplies(7, "total", "middle", "close")], ids=["reset", "close"])
async def test_increments_whose_answers_are_lost_are_reported_as_maybe_applied(
    proxied: Cluster, disturbance: DropReplies
) -> None:
    server = proxied.writer
    acknowledged = unknown = refused = 0
    async with (
        open_proxy(server.host, server.write_port, rng=random.Random(1)) as proxy,
        trio_hs.open_manager(
            [("inet", server.host, server.read_port)],
            [("inet", proxy.host, proxy.port)],
            read_secret=server.read_secret,
            write_secret=server.write_secret,
        ) as hs,
    ):

        async def user() -> None:
            nonlocal acknowledged, unknown, refused
            for _ in range(15):
                try:
                    await hs.incr("proxied", "t", "=", ["n"], ["0"], index_name="PRIMARY")
                    acknowledged += 1
                except trio_hs.ConnectionError as error:
                    unknown += error.maybe_applied
                    refused += not error.maybe_applied

        proxy.start(disturbance)
        async with trio.open_nursery() as users:
            for _ in range(4):
                users.start_soon(user)
        cuts = proxy.statistics().cut
        proxy.heal()
        counter = int(dict(await hs.get("proxied", "t", ["id", "n"], "0"))["n"])
    assert cuts >= 3
    assert acknowledged > 0
    assert acknowledged + unknown + refused == 60
    assert acknowledged + cuts <= counter <= acknowledged + unknown  # each cut hides an increment that was applied
