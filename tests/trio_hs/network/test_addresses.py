"""A name with several addresses: an address is good when the server has answered there."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.support.patience import patience
from tests.trio_hs.support.clients import ask, pool_of
from tests.trio_hs.support.fake import REFUSED, FakeServer, black_hole, slow_to_connect
from trio_hs import ConnectionError, Server
from trio_hs._network import Pool
from trio_hs._network._addresses import STAGGER, addresses_of
from trio_hs._network._connection import TICKS
from trio_hs._network._link import FIRST_PAUSE
from trio_hs._network._reasons import reason_of
from trio_hs.testing import Table, open_server

NAME = ("inet", "name", 7)


async def resolve(server: Server) -> list[Server]:
    """The addresses of the name: those of the fake servers 1, 2 and 3."""
    assert server.host == "name"
    await trio.lowlevel.checkpoint()
    return [replace(server, host="fake", port=port) for port in (1, 2, 3)]


@asynccontextmanager
async def named_pool(nursery: trio.Nursery, **options: Any) -> AsyncIterator[tuple[Pool, dict[int, FakeServer]]]:
    async with pool_of(nursery, [NAME], resolve=resolve, **options) as (pool, fakes):
        yield pool, fakes


def mute(fake: FakeServer) -> None:
    """Accept connections, and never answer."""
    fake.gate = trio.Event()


def refuse(fake: FakeServer) -> None:
    fake.refuses = REFUSED


@pytest.mark.parametrize("trouble, seconds", [(mute, STAGGER), (black_hole, STAGGER), (refuse, 0.0)])
async def test_the_address_that_answers_is_found_and_remembered(
    nursery: trio.Nursery, autojump_clock: MockClock, trouble: Any, seconds: float
) -> None:
    async with named_pool(nursery) as (pool, fakes):
        trouble(fakes[1])
        trouble(fakes[2])
        started = trio.current_time()
        await ask(pool)
        assert trio.current_time() - started == pytest.approx(2 * seconds)
        assert [len(fakes[port].open) for port in (1, 2, 3)] == [0, 0, 1]
        await trio.sleep(2)
        fakes[3].connections[-1].end()
        await wait_all_tasks_blocked()
        started = trio.current_time()
        await ask(pool)
        assert trio.current_time() == started
        assert len(fakes[3].connections) == 2


async def test_only_one_address_is_tried_while_it_answers(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with named_pool(nursery) as (pool, fakes):
        for _ in range(3):
            await ask(pool)
            await trio.sleep(2)
            fakes[1].connections[-1].end()
            await wait_all_tasks_blocked()
        assert [len(fakes[port].connections) for port in (1, 2, 3)] == [4, 0, 0]


async def test_an_address_that_falls_silent_is_left(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with named_pool(nursery, timeout=2.0) as (pool, fakes):
        await ask(pool)
        mute(fakes[1])
        started = trio.current_time()
        with pytest.raises(TimeoutError, match="no answer for 2 s"):
            await ask(pool)
        await ask(pool)
        assert trio.current_time() - started <= 2.0 * (1 + 2 / TICKS) + FIRST_PAUSE
        assert len(fakes[2].open) == 1


async def test_more_mute_addresses_than_fit_into_one_attempt(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The second attempt begins with the address that the first one did not come to."""
    async with named_pool(nursery, timeout=1.5 * STAGGER) as (pool, fakes):
        mute(fakes[1])
        mute(fakes[2])
        with pytest.raises(ConnectionError, match=r"name:7: no answer within 0\.375 s"):
            await ask(pool)
        started = trio.current_time()
        await ask(pool)
        assert trio.current_time() - started <= FIRST_PAUSE


async def test_all_addresses_fail_and_each_reason_is_named(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with named_pool(nursery) as (pool, fakes):
        refuse(fakes[1])
        refuse(fakes[2])
        fakes[3].answer = lambda line: b"3\t1\tunauth\n"
        with pytest.raises(ConnectionError, match=r"\(name:7: Connection refused; authentication failed: .*\)"):
            await ask(pool)
        for fake in fakes.values():
            fake.refuses = None
            fake.answer = fakes[3].answer
        with pytest.raises(trio_hs.AuthenticationError, match="name:7"):
            await ask(pool)


@pytest.mark.parametrize("silent", [False, True])
async def test_writes_leave_a_name_only_when_every_address_refuses(
    nursery: trio.Nursery, autojump_clock: MockClock, silent: bool
) -> None:
    async def resolve(server: Server) -> list[Server]:
        return [replace(server, port=port) for port in ((1, 2) if server.host == "name" else (3,))]

    servers = [[NAME], [("inet", "standby", 3)]]
    async with pool_of(nursery, servers, resolve=resolve, for_writes=True) as (pool, fakes):
        refuse(fakes[1])
        (black_hole if silent else refuse)(fakes[2])
        if silent:
            with pytest.raises(ConnectionError, match="not asked, because no refusal came: standby:3"):
                await ask(pool)
        else:
            await ask(pool)
        assert len(fakes[3].requests) == int(not silent)


async def test_of_two_addresses_that_answer_at_once_one_is_kept(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with named_pool(nursery) as (pool, fakes):
        slow_to_connect(fakes[1], 2 * STAGGER)
        slow_to_connect(fakes[2], STAGGER)
        await ask(pool)
        await wait_all_tasks_blocked()
        assert sum(len(fake.open) for fake in fakes.values()) == 1


async def test_closing_the_pool_in_the_middle_leaves_nothing_open(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    for steps in range(40):  # `pool_of` looks for open connections at its end
        async with named_pool(nursery) as (pool, fakes), trio.open_nursery() as callers:
            mute(fakes[1])
            mute(fakes[2])
            callers.start_soon(ask, pool)
            await trio.sleep(2 * STAGGER)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            callers.cancel_scope.cancel()


async def test_a_connect_of_ones_own_gets_the_name(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fake, seen = FakeServer(nursery), set()

    async def connect(server: Server) -> trio_hs.Transport:
        seen.add((server.host, server.port))
        return await fake.connect(server)

    async with trio_hs.open_manager([NAME], connect=connect) as hs:
        await hs.get("d", "t", ["id"], 1)
    assert seen == {NAME[1:]}


class Resolver(trio.abc.HostnameResolver):
    def __init__(self, *addresses: tuple[Any, ...]) -> None:
        self.addresses = addresses

    async def getaddrinfo(self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        assert host == b"two.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address[0], port, *address[1:])) for address in self.addresses]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


async def test_the_addresses_of_a_name() -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(("fe80::1", 0, 3), ("::1", 0, 0), ("127.0.0.1",), ("::1", 0, 0)))
    found = await addresses_of(Server("inet", "two.example", 7, 2.5, "secret"))
    assert found == [Server("inet", host, 7, 2.5, "secret") for host in ("fe80::1%3", "::1", "127.0.0.1")]
    for host in ("127.0.0.1", "::1"):
        assert await addresses_of(Server("inet", host, 7)) == [Server("inet", host, 7)]
    assert await addresses_of(Server("unix", "/s")) == [Server("unix", "/s")]


async def test_a_real_name_with_a_mute_address() -> None:
    """The kernel accepts connections for a listener that never does. Trio's own choice is the first address to connect."""
    table = Table("d", "t", {"id": "INT NOT NULL"}, primary_key=["id"])
    trio.socket.set_custom_hostname_resolver(Resolver(("127.0.0.2",), ("127.0.0.3",)))
    with socket.create_server(("127.0.0.2", 0)) as listener:
        port = listener.getsockname()[1]
        async with open_server([table]) as server:
            await server.load("d", "t", [[1]])
            await server.listen(("127.0.0.3", port), ("127.0.0.3", 0))
            with trio.fail_after(patience(30)):
                async with trio_hs.open_manager([("inet", "two.example", port)], timeout=patience(10)) as hs:
                    assert await hs.get("d", "t", ["id"], 1) == [("id", "1")]
                    assert hs.statistics().readers[0].failed_attempts == 0


async def test_a_name_without_an_address_is_said_to_have_none(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def nothing(server: Server) -> list[Server]:
        await trio.lowlevel.checkpoint()
        return []

    async with pool_of(nursery, [NAME], resolve=nothing) as (pool, _):
        with pytest.raises(ConnectionError, match=r"name:7: the name has no address"):
            await pool.acquire()


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "error, reason",
    [
        (MemoryError(), "MemoryError"),
        (OSError(111, ""), "Connection refused"),
        (OSError(5, None), "Input/output error"),
        (Mute(), "Mute"),
    ],
)
def test_a_failure_without_a_text_still_has_a_reason(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
