"""Connections that the proxy resets, swallows, ignores or closes, seen from both of its sides with plain sockets."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from hs_drill.proxy._disturbances import Blackhole, Flapping, HalfOpen, IdleTimeout, Latency, ResetPeer
from tests.loadtest.support.proxied import RESET, SHORT, SILENCE, hear, hear_all, playground
from tests.support.patience import until


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


async def test_an_idle_connection_is_closed_in_order_and_a_busy_one_is_not(mock_clock: trio.testing.MockClock) -> None:
    async def pass_time(seconds: int) -> None:
        for _ in range(10 * seconds):
            mock_clock.jump(0.1)
            await trio.testing.wait_all_tasks_blocked()

    async with playground() as (proxy, target):
        idle, idle_server = await target.pair()
        busy, busy_server = await target.pair()
        proxy.start(IdleTimeout(3))
        for _ in range(2):
            await pass_time(1)
            await busy_server.send_all(b"x")
            assert await hear(busy) == b"x"
        assert proxy.statistics().open == 2
        await pass_time(2)
        assert await hear(idle) == b""
        assert await hear(idle_server) == b""
        await busy_server.send_all(b"x")
        assert await hear(busy) == b"x"
        await pass_time(4)
        assert await hear(busy) == b"", "its turn has come"
        fresh, fresh_server = await target.pair()
        proxy.heal(IdleTimeout(3))
        await pass_time(5)
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
