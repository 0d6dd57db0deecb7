"""Silence moves no write to another group of writers; a refusal does.

Fake servers, virtual time. The writers 3 and 4 are a primary and a standby that, as MariaDB's replicas are by default, is not
``read_only``: whatever reaches it is acknowledged, and the primary never gets it.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import managed
from tests.trio_hs.support.fake import (
    REFUSED,
    FakeServer,
    MemoryTransport,
    Network,
    black_hole,
    echo,
    kill,
    read_only,
    slow_to_connect,
)
from tests.trio_hs.support.operations import SILENCE, TIMEOUT, WAIT, in_doubt, insert_many, write
from trio_hs import ConnectionError, Manager
from trio_hs._network._waiters import GRACE


@pytest.mark.parametrize("connections", [1, 3])
async def test_a_row_lock_moves_no_write_to_the_standby(
    nursery: trio.Nursery, autojump_clock: MockClock, connections: int
) -> None:
    """The lock lasts 1.5 s. The standby used to acknowledge the writes of that time, silently."""
    async with managed(nursery, connections=connections) as (hs, fakes):
        await write(hs)
        await wait_all_tasks_blocked()
        fakes[3].gate = trio.Event()
        acknowledged = 0

        async def writer() -> None:
            nonlocal acknowledged
            await write(hs)
            acknowledged += 1

        async with trio.open_nursery() as writers:
            for number in range(15):
                writers.start_soon(writer)
                if number == 10:
                    writers.start_soon(insert_many, hs)
                await trio.sleep(0.1)
            assert any(server.stalled for server in hs.statistics().writers)
            assert acknowledged == 0
            fakes[3].gate.set()
        assert acknowledged == 15
        assert not fakes[4].requests


@pytest.mark.parametrize("seconds", [GRACE * 2, TIMEOUT - 0.1])
async def test_a_primary_that_is_slow_to_connect_keeps_the_writes(
    nursery: trio.Nursery, autojump_clock: MockClock, seconds: float
) -> None:
    """At first use, and when a connection is lost or replaced."""
    async with managed(nursery) as (hs, fakes):
        slow_to_connect(fakes[3], seconds)
        await write(hs)
        await trio.sleep(10)  # it served well, so the pool reconnects without a pause
        fakes[3].connections[-1].end()
        await wait_all_tasks_blocked()
        await write(hs)
        fakes[3].connections[-1].reset()
        await write(hs)
        await hs.purge()
        await write(hs)
        assert len(fakes[3].requests) == 4
        assert not fakes[4].requests


@pytest.mark.parametrize("call", [write, insert_many])
async def test_a_silent_primary_keeps_the_writes(
    nursery: trio.Nursery, autojump_clock: MockClock, call: Callable[[Manager], Awaitable[object]]
) -> None:
    """The watchdog ends the connection, and attempts to connect time out. Neither is a refusal."""
    async with managed(nursery) as (hs, fakes):
        await write(hs)
        black_hole(fakes[3])
        with pytest.raises(ConnectionError) as caught:
            await call(hs)
        assert caught.value.maybe_applied
        for _ in range(3):
            with pytest.raises(ConnectionError) as caught:
                await call(hs)
            assert not caught.value.maybe_applied
        assert str(caught.value).endswith(
            "no server is usable (fake:3: no answer within 3 s; "
            "not asked, because no refusal came: fake:4; see move_writes_on_silence)"
        )
        assert not fakes[4].requests


FAILURES = [
    OSError(errno.EHOSTUNREACH, "No route to host"),
    OSError(errno.ETIMEDOUT, "Connection timed out"),
    OSError(errno.ENETUNREACH, "Network is unreachable"),
    OSError(errno.EMFILE, "Too many open files"),
    OSError("a name that does not resolve"),
    trio.BrokenResourceError("a proxy"),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
]


def several_addresses(*errors: OSError) -> OSError:
    """The error that trio raises for a name with several addresses."""
    error = OSError("all attempts to connect failed")
    error.__cause__ = ExceptionGroup("all attempts to connect failed", list(errors))
    return error


@pytest.mark.parametrize("failure", [*FAILURES, several_addresses(REFUSED, FAILURES[1])], ids=str)  # type: ignore[arg-type]
@pytest.mark.parametrize("policy", [False, True])
async def test_an_unrefused_connect_failure_moves_writes_only_if_the_policy_says_so(
    nursery: trio.Nursery, autojump_clock: MockClock, failure: Exception, policy: bool
) -> None:
    async with managed(nursery, move_writes_on_silence=policy) as (hs, fakes):

        async def connect(server: trio_hs.Server) -> MemoryTransport:
            raise failure

        fakes[3].connect = connect  # type: ignore[method-assign]
        if policy:
            assert await write(hs) == 1
        else:
            with pytest.raises(ConnectionError, match="not asked, because no refusal came: fake:4"):
                await write(hs)
        assert len(fakes[4].requests) == int(policy)


@pytest.mark.parametrize(
    "refusal",
    [
        REFUSED,
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        several_addresses(REFUSED, REFUSED),
    ],
    ids=str,
)
async def test_a_refused_connection_moves_writes(nursery: trio.Nursery, autojump_clock: MockClock, refusal: OSError) -> None:
    async with managed(nursery) as (hs, fakes):
        await write(hs)
        kill(fakes[3])
        fakes[3].refuses = refusal
        assert await write(hs) == 1
        assert len(fakes[4].requests) == 1
        # It refused before and is silent now. Silence is no sign of life, and the standby may have been promoted.
        black_hole(fakes[3])
        for _ in range(10):
            assert await write(hs) == 1
            await trio.sleep(1)
        assert len(fakes[4].requests) == 11


NOT_AVAILABLE = OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
UNREACHABLE = OSError(errno.ENETUNREACH, "Network is unreachable")
NO_FAMILY = OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")


@pytest.mark.parametrize("failure", [NOT_AVAILABLE, UNREACHABLE, NO_FAMILY], ids=str)
@pytest.mark.parametrize("has_network", [False, True])
async def test_a_refusal_counts_though_another_address_has_no_network(
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    failure: OSError,
    has_network: bool,
) -> None:
    """`localhost` may be ::1, where nothing listens, and 127.0.0.1, for which no local port is free. That is no refusal."""
    monkeypatch.setattr("trio_hs._network._reasons._route_error", lambda address: None if has_network else failure.errno)
    async with managed(nursery) as (hs, fakes):

        async def connect(server: trio_hs.Server) -> MemoryTransport:
            raise several_addresses(REFUSED, failure)

        fakes[3].connect = connect  # type: ignore[method-assign]
        if has_network:
            with pytest.raises(ConnectionError, match="not asked, because no refusal came: fake:4"):
                await write(hs)
        else:
            assert await write(hs) == 1
        assert len(fakes[4].requests) == int(not has_network)


async def test_a_wrong_secret_moves_writes(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[3].answer = lambda line: b"3\t1\tunauth\n" if line[:1] == b"A" else echo(line)
        assert await write(hs) == 1
        assert len(fakes[4].requests) == 1


async def test_a_former_primary_that_falls_silent_does_not_get_the_writes_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It refused writes, and the promoted standby took them. Its silence does not move them back."""
    async with managed(nursery) as (hs, fakes):
        fakes[3].answer = read_only
        await write(hs)
        assert len(fakes[4].requests) == 1
        black_hole(fakes[3])
        # The client tries it again at intervals. A write sent to it then is in doubt.
        doubtful = 0
        for _ in range(100):
            with trio.fail_after(SILENCE):
                doubtful += await in_doubt(hs, write)
            await trio.sleep(0.1)
        assert doubtful == 1
        assert len(fakes[4].requests) == 100


async def test_a_primary_that_takes_writes_again_keeps_them_when_it_stalls(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with managed(nursery) as (hs, fakes):
        fakes[3].answer = read_only
        await write(hs)
        fakes[3].answer = echo
        await trio.sleep(2)
        await write(hs)
        before = len(fakes[4].requests)
        await hs.purge()
        fakes[3].gate = trio.Event()
        async with trio.open_nursery() as writers:
            for _ in range(15):
                writers.start_soon(write, hs)
                await trio.sleep(0.1)
            fakes[3].gate.set()
        assert len(fakes[4].requests) == before


async def test_a_primary_that_was_restarted_keeps_its_writes_when_it_is_slow_at_first(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It refuses writes while it shuts down, and connections until it is back. Its first write takes 1.5 s because its caches
    are cold."""
    async with managed(nursery) as (hs, fakes):
        await write(hs)
        fakes[3].answer = read_only
        await write(hs)
        kill(fakes[3])
        for _ in range(30):
            await write(hs)
            await trio.sleep(0.1)
        fakes[3].answer = echo
        fakes[3].refuses = None
        while not hs.statistics().writers[0].connections:  # noqa: ASYNC110  (virtual time)
            await trio.sleep(0.01)
        await trio.sleep(1)
        before = len(fakes[4].requests)
        fakes[3].gate = trio.Event()
        async with trio.open_nursery() as writers:
            for _ in range(15):
                writers.start_soon(write, hs)
                await trio.sleep(0.1)
            fakes[3].gate.set()
        assert len(fakes[4].requests) == before


async def test_within_a_group_writes_leave_a_stalled_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A group may hold several proxies of one primary, or several primaries. Writes may go to any of them."""
    fakes = {port: FakeServer(nursery) for port in (3, 4, 5)}
    writers = [[("inet", "fake", 3), ("inet", "fake", 4)], [("inet", "fake", 5)]]
    async with trio_hs.open_manager(None, writers, connect=Network(fakes).connect) as hs:
        await write(hs)
        await wait_all_tasks_blocked()
        fakes[3].gate = trio.Event()
        async with trio.open_nursery() as stuck:
            for _ in range(2):
                stuck.start_soon(write, hs)
            await trio.sleep(0.7)
            for _ in range(10):
                with trio.fail_after(0.1):
                    await write(hs)
            # When all of them stall, the writes wait for them.
            fakes[4].gate = trio.Event()
            for _ in range(15):
                stuck.start_soon(write, hs)
                await trio.sleep(0.1)
            fakes[3].gate.set()
            fakes[4].gate.set()
        assert not fakes[5].requests


async def test_a_low_level_socket_for_writes_stays_with_the_primary(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fakes = {port: FakeServer(nursery) for port in (3, 4)}
    writers = [[("inet", "fake", 3)], [("inet", "fake", 4)]]
    for policy in (False, True):
        async with trio_hs.open_write_socket(writers, connect=Network(fakes).connect, move_writes_on_silence=policy) as hs:
            index = await hs.get_index_id("d", "t", ["id"])
            if not policy:
                await hs.insert(index, [1])
                black_hole(fakes[3])
                for doubt in (True, False, False):
                    started = trio.current_time()
                    with pytest.raises(ConnectionError) as caught:
                        await hs.insert(index, [1])
                    assert caught.value.maybe_applied == doubt
                    assert trio.current_time() - started <= max(SILENCE, WAIT)
            else:
                assert await hs.insert(index, [1]) == 1
            assert len(fakes[4].requests) == int(policy)


@pytest.mark.parametrize("served", [False, True])
async def test_with_the_policy_writes_leave_a_primary_after_its_whole_timeout(
    nursery: trio.Nursery, autojump_clock: MockClock, served: bool
) -> None:
    async with managed(nursery, move_writes_on_silence=True) as (hs, fakes):
        if served:
            await write(hs)
        black_hole(fakes[3])
        started = trio.current_time()
        if served:
            with pytest.raises(ConnectionError) as caught:
                await write(hs)
            assert caught.value.maybe_applied
            assert not fakes[4].requests
        else:
            assert await write(hs) == 1
        assert TIMEOUT <= trio.current_time() - started <= max(SILENCE, WAIT)
        before = len(fakes[4].requests)
        started = trio.current_time()
        for _ in range(5):
            assert await write(hs) == 1
        assert trio.current_time() - started < 0.1
        assert len(fakes[4].requests) - before == 5


async def test_with_the_policy_a_stall_still_moves_no_write(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, move_writes_on_silence=True) as (hs, fakes):
        await write(hs)
        fakes[3].gate = trio.Event()
        async with trio.open_nursery() as writers:
            for _ in range(15):
                writers.start_soon(write, hs)
                await trio.sleep(0.1)
            fakes[3].gate.set()
        assert not fakes[4].requests


@pytest.mark.parametrize("wrong", [None, 1, "yes"])
async def test_move_writes_on_silence_must_be_a_bool(wrong: Any) -> None:
    with pytest.raises(TypeError, match="move_writes_on_silence must be a bool"):
        async with trio_hs.open_manager(move_writes_on_silence=wrong):
            pass
    with pytest.raises(TypeError, match="move_writes_on_silence must be a bool"):
        async with trio_hs.open_write_socket([("inet", "fake", 1)], move_writes_on_silence=wrong):
            pass
