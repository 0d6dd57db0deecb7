"""Whether ports answer, keep silent or refuse: listeners of the test's own, which speak neither SQL nor HandlerSocket well."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from hs_drill._cluster import ClusterError, Server
from hs_drill.servers import _ports
from hs_drill.servers._ports import ask_ports, described, refuses

Handler = Callable[[trio.SocketStream], Awaitable[None]]


async def answer(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"3\t1\tunauth\n")
    await trio.sleep_forever()


async def keep_silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def close(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def too_many(stream: trio.SocketStream) -> None:
    """The packet by which a server refuses a connection: error 1040."""
    error = b"\xff\x10\x04Too many connections"
    await stream.send_all(len(error).to_bytes(3, "little") + b"\0" + error)
    await stream.aclose()


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.fixture
def unused() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize(
    "handler, seen", [(answer, "answers"), (keep_silent, "is silent"), (close, "refuses"), (None, "refuses")]
)
async def test_what_a_listener_of_handlersocket_does(
    handler: Handler | None, seen: str, unused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ports, "ANSWER_SECONDS", 0.3)
    async with listening(handler or close) as port:
        server = Server("reader-1", "127.0.0.1", port if handler else unused, 0, "", "")
        found = await ask_ports(server)
        assert found == {"reads": seen}
        assert described(server, found) == f"127.0.0.1:{server.read_port} (reads) {seen}"


@pytest.mark.parametrize(
    "handler, seen", [(too_many, "answers"), (keep_silent, "is silent"), (close, "refuses"), (None, "refuses")]
)
async def test_what_a_port_for_sql_does(
    handler: Handler | None, seen: str, unused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ports, "ANSWER_SECONDS", 0.3)
    async with listening(handler or close) as port, listening(answer) as hs:
        server = Server("writer", "127.0.0.1", hs, unused, "", "", sql_port=port if handler else unused)
        assert await ask_ports(server) == {"reads": "answers", "writes": "refuses", "SQL": seen}


@pytest.mark.parametrize(
    "error, seen",
    [
        (ConnectionRefusedError(), "refuses"),
        (ConnectionResetError(), "refuses"),
        (OSError(errno.EHOSTUNREACH, "no route"), "is unreachable"),
        (OSError(errno.EMFILE, "too many open files"), None),
        (socket.gaierror(socket.EAI_AGAIN, "no resolver"), None),
    ],
)
@pytest.mark.parametrize("addresses", [1, 2])
async def test_what_says_nothing_of_the_server_is_no_refusal(
    error: OSError, seen: str | None, addresses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(host: str, port: int) -> trio.SocketStream:
        cause = error if addresses == 1 else ExceptionGroup("all attempts failed", [error, error])
        raise OSError("all attempts failed") from cause

    monkeypatch.setattr(trio, "open_tcp_stream", fail)
    server = Server("writer", "db1", 1, 2, "", "")
    if seen is None:
        with pytest.raises(ClusterError, match=r"^cannot try to connect to db1:[12]: "):
            await ask_ports(server)
    else:
        assert await ask_ports(server) == {"reads": seen, "writes": seen}
    assert await refuses(server) is (seen == "refuses")


async def test_whether_a_connection_is_refused_just_now(unused: int) -> None:
    async with listening(keep_silent) as port:
        assert not await refuses(Server("writer", "127.0.0.1", port, 0, "", ""))
        assert await refuses(Server("writer", "127.0.0.1", unused, 0, "", ""))
