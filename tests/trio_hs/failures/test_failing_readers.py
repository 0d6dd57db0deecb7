"""One of two real readers fails in many ways. No read may fail."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio

import trio_hs
from hs_drill.servers import Control, open_servers
from tests.trio_hs.support.real_servers import WRITER_LOCK, fill, listener, read_while, slowest, sql_session
from trio_hs import Manager


@asynccontextmanager
async def two_readers(timeout: float = 3.0) -> AsyncIterator[tuple[Control, Manager]]:
    """Servers with rows in them, and a Manager over the two readers."""
    async with open_servers("mariadb", readers=2) as control:
        await fill(control.cluster)
        async with trio_hs.open_manager([listener(server) for server in control.cluster.readers], timeout=timeout) as hs:
            yield control, hs


@contextmanager
def scheduling_delay() -> Iterator[Callable[[], float]]:
    """A clock of the seconds that this thread waited for the CPU."""
    with open("/proc/thread-self/schedstat", "rb") as file:
        yield lambda: int(os.pread(file.fileno(), 100, 0).split()[1]) / 1e9


@contextmanager
def small_heap() -> Iterator[None]:
    """Exclude existing objects from garbage collection: going through all tests that pytest collected took 70 ms."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@pytest.mark.mariadb
async def test_a_killed_reader_fails_and_delays_no_read() -> None:
    async with two_readers() as (control, hs):
        with small_heap(), scheduling_delay() as waited:
            latencies = await read_while(hs, lambda: control.kill("reader-1"), 1.5, waited)
    assert len(latencies) > 1000
    # The bound is for the client, so the time that it waited for the CPU does not count. The time that the servers waited
    # for it does.
    worst = max(latencies, key=lambda pair: pair[0] - pair[1])
    print(
        f"{len(latencies)} calls, the slowest {slowest(latencies) * 1e3:.1f} ms; "
        f"without waiting for the CPU {(worst[0] - worst[1]) * 1e3:.1f} ms"
    )
    assert worst[0] - worst[1] < 0.1


async def kill_and_start(control: Control) -> None:
    await control.kill("reader-1")
    await trio.sleep(0.2)
    await control.start("reader-1")


async def pause_and_resume(control: Control) -> None:
    await control.pause("reader-1")
    await trio.sleep(1.2)
    await control.resume("reader-1")


async def stop(control: Control) -> None:
    await control.stop("reader-1")


async def restart(control: Control) -> None:
    await control.restart("reader-1")  # on the same port: every index id is forgotten


async def hold_the_writer_lock(control: Control) -> None:
    async with sql_session(control.server("reader-1"), WRITER_LOCK):
        await trio.sleep(0.5)


async def lock_a_row(control: Control) -> None:
    async with sql_session(control.server("reader-1"), "BEGIN", "SELECT * FROM cars.trucks FOR UPDATE"):
        await trio.sleep(0.5)


@pytest.mark.mariadb
@pytest.mark.parametrize("act", [stop, kill_and_start, restart, pause_and_resume, hold_the_writer_lock, lock_a_row])
async def test_one_of_two_readers_in_trouble_fails_no_read(act: Callable[[Control], Awaitable[None]]) -> None:
    """Requests sent to it wait for its timeout at most. All others go to the other reader. It is used again afterwards."""
    async with two_readers(timeout=0.5) as (control, hs):
        latencies = await read_while(hs, lambda: act(control), 1.5)
        one = control.server("reader-1")
        state = "up" if control.state("reader-1") == "running" else "down"
        assert f"{one.host}:{one.read_port} {state}" in repr(hs)
    assert slowest(latencies) < 1.5
