"""``connect="eager"``, ``connect()``, ``ready()`` and ``ping()``. Fake servers, virtual time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import A, B, managed
from tests.trio_hs.support.fake import REFUSED, black_hole, echo, kill, read_only, slow_to_connect
from trio_hs import AuthenticationError, ConnectionError
from trio_hs._network import connect_transport
from trio_hs.testing import EmbeddedServer, Table, open_server

TABLE = Table("d", "t", {"id": "INT NOT NULL"}, primary_key=["id"])


def refuse_the_secret(line: bytes) -> bytes | None:
    return b"3\t1\tunauth\n" if line[:1] == b"A" else echo(line)


# ---- connect


async def test_connecting_waits_for_every_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        slow_to_connect(fakes[2], 1.0)
        await hs.connect()
        assert trio.current_time() == 1.0
        assert [len(fake.open) for fake in fakes.values()] == [1, 1, 1, 1]
        await hs.connect()
        assert trio.current_time() == 1.0
        assert [len(fake.connections) for fake in fakes.values()] == [1, 1, 1, 1]


@pytest.mark.parametrize("port", [1, 2, 3, 4])
async def test_one_wrong_secret_is_an_error(nursery: trio.Nursery, autojump_clock: MockClock, port: int) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[port].answer = refuse_the_secret
        with pytest.raises(AuthenticationError, match=f"^fake:{port}: authentication failed") as caught:
            await hs.connect()
        assert caught.value.server == f"fake:{port}"
        fakes[port].answer = echo
        await trio.sleep(2)
        await hs.connect()


async def test_no_usable_server_is_an_error_after_one_attempt(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[1].refuses = REFUSED
        black_hole(fakes[2])
        with pytest.raises(
            ConnectionError, match=r"no server is usable \(fake:1: Connection refused; fake:2: no answer within 3 s"
        ):
            await hs.connect()
        assert trio.current_time() == 3.0
        await hs.connect(reads=False)


async def test_a_server_that_is_down_beside_another_is_no_error(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[1].refuses = fakes[3].refuses = REFUSED
        await hs.connect()
        assert hs.ready()


async def test_connecting_ends_with_the_manager(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as callers:
        async with managed(nursery) as (hs, fakes):
            black_hole(fakes[1])

            async def connect() -> None:
                with pytest.raises(ConnectionError, match="closed"):
                    await hs.connect()

            callers.start_soon(connect)
            await trio.sleep(1)
    with pytest.raises(ConnectionError, match="closed"):
        await hs.connect()
    async with managed(nursery) as (unused, _):
        pass
    with pytest.raises(ConnectionError, match="closed"):
        await unused.connect()


# ---- connect="eager"


async def open_eagerly(server: EmbeddedServer, **options: Any) -> None:
    """Open a manager of a server on sockets, and close it."""
    servers: dict[str, Any] = {"read_servers": [server.read_address], "write_servers": [server.write_address]}
    async with trio_hs.open_manager(**{**servers, **options}, connect="eager") as hs:
        assert all(each.connections for each in hs.statistics().readers)
        assert any(each.connections for each in hs.statistics().writers) == (options.get("write_servers", True) is not None)


async def test_opening_eagerly_connects_to_the_servers_that_are_given() -> None:
    async with open_server([TABLE]) as server:
        await server.listen(("127.0.0.1", 0), ("127.0.0.1", 0))
        await open_eagerly(server)
        await open_eagerly(server, write_servers=None)  # not to localhost:9999


async def test_opening_eagerly_raises_what_is_wrong() -> None:
    async with open_server([TABLE], read_secret="right") as server:
        await server.listen(("127.0.0.1", 0), ("127.0.0.1", 0))
        wrong = trio_hs.Server("inet", "127.0.0.1", server.read_address.port, secret="wrong")
        with pytest.raises(AuthenticationError, match="wrong secret"):
            await open_eagerly(server, read_servers=[server.read_address, wrong])
        address = server.read_address
        server.crash()
        with pytest.raises(ConnectionError, match=r"no server is usable .*Connection refused"):
            await open_eagerly(server, read_servers=[address], write_servers=None)


@pytest.mark.parametrize("connect", ["Eager", "lazy", None, 1])
async def test_another_word_is_refused(connect: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"connect must be .*an async function that takes a trio_hs.Server"):
        async with trio_hs.open_manager([A], connect=connect):
            pass


# ---- ready


async def test_ready(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        assert not hs.ready(writes=False)  # begins to connect
        await wait_all_tasks_blocked()
        assert hs.ready(writes=False)
        assert not fakes[3].connections
        assert not hs.ready()
        await wait_all_tasks_blocked()
        assert hs.ready()
        async with hs.suspended():
            assert not hs.ready()
        await wait_all_tasks_blocked()
        assert hs.ready()
        kill(fakes[1])
        await wait_all_tasks_blocked()
        assert hs.ready()
        kill(fakes[2])
        await wait_all_tasks_blocked()
        assert not hs.ready()
        assert hs.ready(reads=False)
    assert not hs.ready()


async def test_servers_that_only_refuse_or_stall_are_not_ready(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        await hs.connect()
        fakes[3].answer = fakes[4].answer = read_only
        with pytest.raises(trio_hs.ReadOnlyError):
            await hs.insert("d", "t", [("id", 1)])
        assert not hs.ready()
        assert hs.ready(writes=False)
        for port in (1, 2):
            fakes[port].gate = trio.Event()
            callers.start_soon(hs.get, "d", "t", ["id"], 1)
            callers.start_soon(hs.get, "d", "t", ["id"], 1)
            await trio.sleep(1)
        assert not hs.ready(writes=False)
        assert [server.usable for server in hs.statistics().readers] == [False, False]
        for port in (1, 2):
            fakes[port].gate.set()


# ---- ping


async def test_a_ping_of_each_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, connections=2) as (hs, fakes):
        answer = fakes[1].answer
        slow_to_connect(fakes[1], 1.0)  # which is no part of the round trip
        fakes[2].refuses = REFUSED
        fakes[3].answer = refuse_the_secret
        fakes[4].gate = trio.Event()
        pings = await hs.ping()
        assert trio.current_time() == 3.0
        assert pings.readers == (trio_hs.Ping("fake:1", 0.0, None), trio_hs.Ping("fake:2", None, "Connection refused"))
        refused, silent = pings.writers
        assert (refused.server, refused.seconds) == ("fake:3", None)
        assert "wrong secret" in str(refused.error)
        assert silent == trio_hs.Ping("fake:4", None, "no answer within 3 s")
        fakes[1].answer = answer
        await wait_all_tasks_blocked()
        assert not any(fake.open for port, fake in fakes.items() if port != 4)
        assert not fakes[1].requests  # it opened no index
        assert [server.connected for server in hs.statistics().readers] == [0, 0]
        assert not hs._dispatcher.reader.used


async def test_a_ping_leaves_the_connections_in_use_alone(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.connect()
        for _ in range(3):
            pings = await hs.ping()
            assert [ping.error for ping in (*pings.readers, *pings.writers)] == [None] * 4
        assert [len(fake.connections) for fake in fakes.values()] == [4, 4, 4, 4]
        assert [len(fake.open) for fake in fakes.values()] == [1, 1, 1, 1]
        assert [server.connected for server in hs.statistics().readers] == [1, 1]


async def test_a_cancelled_ping_leaves_nothing_open(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[2].gate = trio.Event()
        with trio.move_on_after(1) as scope:
            await hs.ping()
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        assert not any(fake.open for fake in fakes.values())
    with pytest.raises(ConnectionError, match="closed"):
        await hs.ping()


async def test_no_exception_group_comes_out_of_a_ping() -> None:
    async def connect(server: trio_hs.Server) -> Any:
        await trio.lowlevel.checkpoint()
        raise SystemExit(3)

    async with trio_hs.open_manager([A, B], [A], connect=connect) as hs:
        with pytest.raises(SystemExit):
            await hs.ping()


async def test_the_round_trip_of_a_real_connection() -> None:
    async with open_server([TABLE], write_secret="secret") as server:
        await server.listen(("127.0.0.1", 0), ("127.0.0.1", 0))
        async with trio_hs.open_manager([server.read_address], [server.write_address], connect=connect_transport) as hs:
            began = time.perf_counter()
            pings = await hs.ping()
            assert pings.writers[0].error is None
            assert pings.readers[0].seconds is not None
            assert 0 < pings.readers[0].seconds < time.perf_counter() - began


CALLS: dict[str, Callable[[trio_hs.Manager], Awaitable[Any]]] = {
    "insert": lambda hs: hs.insert("d", "t", [("id", 1)]),
    "get": lambda hs: hs.get("d", "t", ["id"], 1),
    "connect": lambda hs: hs.connect(),
}


@pytest.mark.parametrize("before", ["nothing", "a read", "a server that is down"])
@pytest.mark.parametrize("call", list(CALLS))
async def test_a_cancelled_block_refuses_calls_at_once(
    before: str, call: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A shielded `finally` waited for 3.25 s, and in `connect()` for ever, for tasks that had been cancelled."""
    with trio.move_on_after(1):
        async with managed(nursery) as (hs, fakes):
            try:
                if before == "a server that is down":
                    for fake in fakes.values():
                        black_hole(fake)
                if before != "nothing":
                    await hs.get("d", "t", ["id"], 1)
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await wait_all_tasks_blocked()
                    with pytest.raises(ConnectionError, match="has ended, or was cancelled"):
                        await CALLS[call](hs)
    assert trio.current_time() == 1
