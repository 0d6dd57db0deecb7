"""Servers that answer in broken ways, or not at all, alone and beside a real one."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Awaitable, Callable

import pytest
import trio

import trio_hs
from hs_drill._cluster import Cluster
from hs_drill.servers import execute_sql
from tests.support.patience import patience, until
from tests.trio_hs.support.real_servers import fill, listener, reading, slowest

Handler = Callable[[trio.SocketStream], Awaitable[None]]


async def silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


def after_authentication(answer: bytes, *, then_close: bool) -> Handler:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"0\t1\n")
        await stream.receive_some()
        await stream.send_all(answer)
        if not then_close:
            await trio.sleep_forever()

    return handler


async def hang_up(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def reset(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"0\t1\n")
    await stream.receive_some()
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await stream.aclose()


async def reset_mid_answer(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"0\t1\n")
    await stream.receive_some()
    await stream.send_all(b"0\t1\n0\t2\t1")
    await trio.sleep(0.05)  # otherwise the reset overtakes the sent data
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await stream.aclose()


BROKEN = [
    pytest.param(silent, id="accepts and never answers"),
    pytest.param(hang_up, id="accepts and hangs up"),
    pytest.param(reset, id="reset"),
    pytest.param(reset_mid_answer, id="reset in the middle of an answer"),
    pytest.param(after_authentication(b"0\t1\n0\t2\t1", then_close=True), id="ends in the middle of an answer"),
    pytest.param(after_authentication(b"0\t1\n0\t2\t1", then_close=False), id="half an answer, then silence"),
    pytest.param(after_authentication(b"HTTP/1.1 400 Bad Request\r\n", then_close=False), id="garbage"),
    pytest.param(after_authentication(b"0\t1\n0\t9\t1\n", then_close=False), id="wrong number of columns"),
]


@pytest.mark.mariadb
@pytest.mark.parametrize("handler", BROKEN)
async def test_a_broken_server_beside_a_good_one(cluster: Cluster, nursery: trio.Nursery, handler: Handler) -> None:
    await fill(cluster)
    try:
        tried = 0

        async def counted(stream: trio.SocketStream) -> None:
            nonlocal tried
            tried += 1
            await handler(stream)

        listeners = await nursery.start(trio.serve_tcp, counted, 0)
        port = listeners[0].socket.getsockname()[1]
        servers = [trio_hs.Server("inet", "127.0.0.1", port), listener(cluster.writer)]
        timeout = patience(0.5)
        async with trio_hs.open_manager(servers, timeout=timeout) as hs, reading(hs) as reads:
            await until(lambda: tried >= 2, "the client tries the broken server once only")
        assert slowest(reads.latencies) < max(3 * timeout, patience(1.5))
    finally:
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await execute_sql(cluster.writer, "DROP DATABASE cars")


@pytest.mark.mariadb
@pytest.mark.parametrize(
    "broken, alone",
    [
        pytest.param(lambda good: closed_port(), (trio_hs.ConnectionError, "refused"), id="port closed"),
        pytest.param(
            lambda good: trio_hs.Server("inet", "no-such-host.invalid", 9998),
            (trio_hs.ConnectionError, "no-such-host.invalid"),
            id="name does not resolve",
        ),
        pytest.param(
            lambda good: dataclasses.replace(good, secret="wrong"),
            (trio_hs.AuthenticationError, "wrong secret"),
            id="wrong secret",
        ),
    ],
)
async def test_an_unavailable_server_beside_a_good_one_and_alone(
    cluster: Cluster,
    broken: Callable[[trio_hs.Server], trio_hs.Server],
    alone: tuple[type[Exception], str],
) -> None:
    await fill(cluster)
    good = listener(cluster.writer)
    bad = broken(good)
    try:
        async with trio_hs.open_manager([bad, good]) as hs, reading(hs) as reads:
            await until(lambda: hs.statistics().readers[0].failed_attempts >= 2, "the client tries the bad server once only")
        assert slowest(reads.latencies) < patience(1.5)
        # Without a good server, reads and writes fail with a clear error, and nothing was applied.
        async with trio_hs.open_manager([bad], [bad]) as hs:
            table = hs.table("cars", "trucks", ["id", "model"])
            for attempt in (table.get(1), table.insert([1, "x"])):
                with trio.fail_after(patience(15)), pytest.raises(alone[0], match=alone[1]) as caught:
                    await attempt
                assert not getattr(caught.value, "maybe_applied", False)
    finally:
        with trio.CancelScope(shield=True):
            await execute_sql(cluster.writer, "DROP DATABASE cars")


def closed_port() -> trio_hs.Server:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    return trio_hs.Server("inet", "127.0.0.1", port)


@pytest.mark.parametrize("handler", [*BROKEN[:1], *BROKEN[2:]])
async def test_a_write_sent_to_a_broken_server_is_in_doubt_and_not_repeated(nursery: trio.Nursery, handler: Handler) -> None:
    lines: list[bytes] = []

    async def noting(stream: trio.SocketStream) -> None:
        receive = stream.receive_some

        async def note(max_bytes: int | None = None) -> bytes:
            data = bytes(await receive(max_bytes))
            lines.extend(line for line in data.split(b"\n") if b"\t+\t1\t5" in line)
            return data

        stream.receive_some = note  # type: ignore[method-assign]
        await handler(stream)

    listeners = await nursery.start(trio.serve_tcp, noting, 0)
    port = listeners[0].socket.getsockname()[1]
    server = trio_hs.Server("inet", "127.0.0.1", port, secret="s")
    async with trio_hs.open_manager([server], [server], timeout=patience(0.3)) as hs:
        with trio.fail_after(patience(10)), pytest.raises(trio_hs.ConnectionError) as caught:
            await hs.insert("cars", "trucks", [("id", 5)])
    nursery.cancel_scope.cancel()
    # A server that never completes authentication never gets the request.
    assert (len(lines), caught.value.maybe_applied) == ((1, True) if handler is not silent else (0, False))
