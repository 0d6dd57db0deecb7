"""Partitions, latency and bandwidth, seen from both sides of the proxy with plain sockets."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
import trio
import trio.testing

from hs_drill.proxy._disturbances import Bandwidth, Latency, Partition
from tests.loadtest.support.proxied import SHORT, SILENCE, hear, hear_all, playground
from tests.support.patience import patience


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
        assert 0.1 <= time.perf_counter() - started < patience(1)
        assert first + await hear_all(server, len(expected) - len(first)) == expected
        assert await hear(server) == b""
        other, other_server = await target.pair()
        proxy.start(Latency(60, direction="upstream"))
        await other.send_all(b"held")
        await other_server.send_all(b"free")
        assert await hear(other) == b"free"  # the other way is as fast as ever
        assert await hear(other_server, SHORT) == SILENCE


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
        assert 0.38 <= time.perf_counter() - started < patience(2)
        proxy.start(Bandwidth(1, "upstream"))
        await one.send_all(bytes(1_000_000))  # they would take days
        proxy.heal()
        await hear_all(one_server, 1_000_000)
