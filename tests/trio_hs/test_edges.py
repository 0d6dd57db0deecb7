"""Rare turns of events that no other test takes: found by measuring branch coverage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.dispatch.test_manager import managed
from tests.trio_hs.support.fake import FakeConnection, FakeServer, MemoryTransport, Network, echo
from trio_hs.connection import Connection, Request
from trio_hs.pool import parse_server
from trio_hs.protocol import Index, get_tail

INDEX = Index("d", "t", ["id"])
ADDRESS: trio_hs.Servers = [("inet", "fake", 1)]


def nonsense(line: bytes) -> bytes:
    """An answer in form, but with more columns than any request here asks for."""
    return echo(line) if line[:1] in b"AP" else b"0\t3\ta\tb\tc\n"


# ---- the first exchange


async def test_a_long_secret_leaves_in_pieces(nursery: trio.Nursery) -> None:
    server = FakeServer(nursery, window=10)
    transport = await server.connect(trio_hs.Server("inet", "fake", 1))
    connection = Connection(transport, "fake", timeout=1, on_closed=lambda connection: None)
    await connection.authenticate("s" * 1000)
    assert server.lines == [b"A\t1\t" + b"s" * 1000]
    connection.invalidate(OSError())


FIRST_ANSWERS: list[tuple[type[Exception], str, Callable[[FakeConnection], None]]] = [
    (OSError, "closed the connection instead of answering", FakeConnection.end),
    (OSError, "reset by peer", FakeConnection.reset),
    (trio_hs.ProtocolError, "more than one answer", lambda peer: peer.say(b"0\t1\n0\t1\n")),
    (trio_hs.ProtocolError, "more than one answer", lambda peer: peer.say(b"0\t1\n0\t")),
    (trio_hs.ProtocolError, "no HandlerSocket server", lambda peer: peer.say(b"SSH-2.0-OpenSSH\n")),
    (trio_hs.AuthenticationError, "wrong secret", lambda peer: peer.say(b"3\t1\tunauth\n")),
]


@pytest.mark.parametrize("error, match, act", FIRST_ANSWERS)
async def test_a_first_answer_that_is_none(error: type[Exception], match: str, act: Callable[[FakeConnection], None]) -> None:
    transport = MemoryTransport(1000)
    connection = Connection(transport, "fake", timeout=1, on_closed=lambda connection: None)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def authenticate() -> None:
            with pytest.raises(error, match=match):
                await connection.authenticate("secret")

        await wait_all_tasks_blocked()
        act(FakeConnection(transport))


# ---- the rest of a long request


@pytest.mark.parametrize("act", [FakeConnection.reset, FakeConnection.end])
async def test_a_stream_that_breaks_under_a_long_request(nursery: trio.Nursery, act: Callable[[FakeConnection], None]) -> None:
    """Half of it is with the kernel: the server runs whole lines only, so it had no effect."""
    transport = MemoryTransport(100)
    peer = FakeConnection(transport)
    connection = Connection(transport, "fake", timeout=1, on_closed=lambda connection: None)
    nursery.start_soon(connection.run)
    await wait_all_tasks_blocked()
    request = Request()
    connection.submit(request, INDEX, [get_tail(b"x" * 1000)])
    await wait_all_tasks_blocked()
    assert len(transport.to_server) == 100
    act(peer)
    await request.wait()
    assert isinstance(request.failure, OSError)
    assert request.sent_lines == 0


# ---- answers in form that do not fit the request


async def test_reads_that_make_no_sense_at_two_servers_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[1].answer = fakes[2].answer = nonsense
        for read in (lambda: hs.get("d", "t", ["id"], 1), lambda: hs.get_many("d", "t", ["id"], [1, 2])):
            with pytest.raises(trio_hs.ConnectionError, match="3 columns where 1 were asked for") as caught:
                await read()
            assert not caught.value.maybe_applied
        assert len(fakes[1].requests) + len(fakes[2].requests) <= 2 + 2 * 2


async def test_many_reads_that_make_no_sense_at_one_server_go_to_another(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[1].answer = nonsense
        for _ in range(4):
            assert await hs.get_many("d", "t", ["id"], range(500)) == [[("id", str(number))] for number in range(500)]


async def test_rows_whose_outcome_makes_no_sense_may_be_there(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[3].answer = nonsense
        outcomes = await hs.insert_many("d", "t", ["id"], [[1], [2]])
        assert [type(outcome) for outcome in outcomes] == [trio_hs.IndexedConnectionError] * 2
        assert all(isinstance(outcome, trio_hs.ConnectionError) and outcome.maybe_applied for outcome in outcomes)
        assert len(fakes[3].requests) == 2
        assert not fakes[4].requests


async def test_the_low_level_tells_what_makes_no_sense(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = FakeServer(nursery, nonsense)
    async with trio_hs.open_write_socket(ADDRESS, connect=server.connect) as hs:
        index = await hs.get_index_id("d", "t", ["id"])
        calls: list[tuple[bool, Callable[[], Any]]] = [
            (False, lambda: hs.find(index, "=", [1])),
            (True, lambda: hs.insert(index, [1])),
            (True, lambda: hs.find_modify(index, "=", [1], "D")),
            (True, lambda: hs.find_modify(index, "=", [1], "U?", [2])),
        ]
        for maybe_applied, call in calls:
            with pytest.raises(trio_hs.IndexedConnectionError) as caught:
                await call()
            assert caught.value.maybe_applied is maybe_applied
            assert isinstance(caught.value.__cause__, trio_hs.ProtocolError)
        assert len(server.connections) == 4
        with pytest.raises(TypeError, match="list of column names"):
            await hs.get_index_id("d", "t", "id")


# ---- pools


async def test_suspending_while_it_connects(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A connection that comes up inside the block is given up, and the caller that asked for it is served afterwards."""
    server = FakeServer(nursery)

    async def connect(address: trio_hs.Server) -> MemoryTransport:
        await trio.sleep(0.1)
        return await server.connect(address)

    async with trio_hs.open_manager(ADDRESS, ADDRESS, connect=connect) as hs, trio.open_nursery() as callers:
        rows = []

        @callers.start_soon
        async def read() -> None:
            rows.append(await hs.get("d", "t", ["id"], 1))

        await trio.sleep(0.05)
        async with hs.suspended():
            await trio.sleep(1)
            assert len(server.connections) == 1
            assert not server.open
            assert not rows
        await trio.sleep(0.2)
        assert rows == [[("id", "1")]]


async def test_no_group_is_left_to_hope_for(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Both groups hang: each has its time, and then the caller waits for their timeouts, and is told."""
    fakes = {port: FakeServer(nursery, lambda line: None) for port in (1, 2)}
    servers: trio_hs.Servers = [[("inet", "fake", 1)], [("inet", "fake", 2)]]
    retry = trio_hs.RetryPolicy(attempts=1)
    async with trio_hs.open_manager(servers, connect=Network(fakes).connect, retry=retry, timeout=2) as hs:
        started = trio.current_time()
        with pytest.raises(trio_hs.ConnectionError, match="no answer within 2 s"):
            await hs.get("d", "t", ["id"], 1)
        assert 2 <= trio.current_time() - started < 3


def test_a_secret_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="the secret of a must be a str, not bytes"):
        parse_server(trio_hs.Server("inet", "a", 1, secret=b"hush"))  # type: ignore[arg-type]


def test_an_index_says_what_it_is() -> None:
    assert repr(INDEX) == "<Index d.t PRIMARY (id)>"
    assert repr(Index("d", "t", ["a", "b"], "i")) == "<Index d.t i (a, b)>"
