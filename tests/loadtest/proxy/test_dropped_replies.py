"""Replies that the proxy drops, seen from both of its sides with plain sockets."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

from hs_drill.proxy._disturbances import DropReplies, Latency
from tests.loadtest.support.proxied import RESET, SHORT, SILENCE, hear, hear_all, playground


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
