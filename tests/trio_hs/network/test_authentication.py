"""The first exchange on a connection, with and without a secret. Fake servers, virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import A, B, ask, pool_of
from tests.trio_hs.support.fake import FakeConnection, FakeServer, MemoryTransport, echo
from trio_hs import AuthenticationError, ConnectionError, Server
from trio_hs._network import Connection
from trio_hs._network._servers import parse_servers


async def test_a_wrong_secret_is_an_authentication_error(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with pool_of(nursery, [A, B], secret="s3cret") as (pool, fakes):
        for fake in fakes.values():
            fake.answer = lambda line: b"3\t1\tunauth\n" if line[:1] == b"A" else echo(line)
        with pytest.raises(AuthenticationError, match="fake:1, fake:2: authentication failed") as caught:
            await ask(pool)
        assert "s3cret" not in str(caught.value) + repr(pool)


async def test_a_server_may_have_a_secret_of_its_own(nursery: trio.Nursery) -> None:
    server = Server("inet", "fake", 1, secret="own")
    assert "own" not in repr(server) + str(server)
    async with pool_of(nursery, [server], secret="common") as (pool, fakes):
        await ask(pool)
        assert fakes[1].lines[0] == b"A\t1\town"


async def test_a_server_without_authentication_is_fine_when_there_is_no_secret(nursery: trio.Nursery) -> None:
    async with pool_of(nursery, [A]) as (pool, fakes):
        fakes[1].answer = lambda line: b"2\t1\tcmd\n" if line[:1] == b"A" else echo(line)
        await ask(pool)


async def test_the_secret_is_not_shown_when_it_is_echoed(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with pool_of(nursery, [A], secret="TOPSECRET") as (pool, fakes):
        fakes[1].answer = lambda line: line + b"\n"
        with pytest.raises(ConnectionError, match="not from a HandlerSocket server") as caught:
            await ask(pool)
        assert "TOPSECRET" not in str(caught.value) + repr(caught.value.__cause__) + repr(pool) + caplog.text
    misplaced: Any = ("inet", "h", 1, None, "TOPSECRET")
    with pytest.raises(TypeError) as wrong:
        parse_servers([misplaced])
    assert "TOPSECRET" not in str(wrong.value)


async def test_a_long_secret_is_sent_in_pieces(nursery: trio.Nursery) -> None:
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
    (trio_hs.ProtocolError, "not from a HandlerSocket server", lambda peer: peer.say(b"SSH-2.0-OpenSSH\n")),
    (trio_hs.AuthenticationError, "wrong secret", lambda peer: peer.say(b"3\t1\tunauth\n")),
]


@pytest.mark.parametrize("error, match, act", FIRST_ANSWERS)
async def test_a_wrong_first_answer_ends_authentication(
    error: type[Exception], match: str, act: Callable[[FakeConnection], None]
) -> None:
    transport = MemoryTransport(1000)
    connection = Connection(transport, "fake", timeout=1, on_closed=lambda connection: None)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def authenticate() -> None:
            with pytest.raises(error, match=match):
                await connection.authenticate("secret")

        await wait_all_tasks_blocked()
        act(FakeConnection(transport))
