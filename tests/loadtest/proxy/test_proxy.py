"""The proxy passes bytes on, begins and ends disturbances, and leaves nothing behind. Tested with plain sockets at each end."""

from __future__ import annotations

import random
import socket
import statistics
import struct
import time
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

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
)
from hs_drill.proxy._lane import Lane
from hs_drill.proxy._proxy import open_proxy
from hs_drill.proxy._replies import LineReplies
from tests.loadtest.support.proxied import EVERY_DISTURBANCE, RESET, SHORT, SILENCE, hear, hear_all, playground
from tests.support.patience import until
from tests.support.scheduling import scheduling_delay


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
        with scheduling_delay() as waited:
            for _ in range(20):
                await client.send_all(b"??")
                assert await hear(server) == b"??"
                started = time.perf_counter() - waited()
                for _ in range(2):
                    await server.send_all(b"!")
                    assert await hear(client) == b"!"
                times.append(time.perf_counter() - waited() - started)
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
    connection = Connection(client, connect, *lanes, LineReplies())
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
