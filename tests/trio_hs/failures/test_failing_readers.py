"""One of two real readers fails in many ways. No read may fail."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio

import trio_hs
from tests.support.patience import patience, until
from tests.support.scheduling import scheduling_delay
from tests.trio_hs.support.real_servers import WRITER_LOCK, Reading, fill, listener, reading, slowest, sql_session
from tests.trio_hs.support.shared_servers import SharedServers, shared_servers
from trio_hs import Manager


@pytest.fixture(scope="module")
def servers(mariadb: None) -> Iterator[SharedServers]:
    """Servers with rows in them, two of them readers."""
    with shared_servers(readers=2) as opened:
        trio.run(fill, opened.cluster)
        yield opened


@asynccontextmanager
async def two_readers(servers: SharedServers, timeout: float) -> AsyncIterator[Manager]:
    """A Manager over the two readers. All servers run again afterwards."""
    try:
        async with trio_hs.open_manager([listener(server) for server in servers.cluster.readers], timeout=timeout) as hs:
            yield hs
    finally:
        with trio.CancelScope(shield=True):
            await servers.heal()


def reader_1(servers: SharedServers, state: str) -> str:
    """How the manager's `repr` shows it."""
    server = servers.server("reader-1")
    return f"{server.host}:{server.read_port} {state}"


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
async def test_a_killed_reader_fails_and_delays_no_read(servers: SharedServers) -> None:
    # A read that waited for the timeout would take far longer than the bound on any machine.
    async with two_readers(servers, timeout=60.0) as hs:
        with small_heap(), scheduling_delay() as waited:
            async with reading(hs, waited) as reads:
                before = list(reads.latencies)
                await servers.kill("reader-1")
                await until(lambda: reader_1(servers, "down") in repr(hs))
                await reads.more(700)
    # The bound is for the client, so the time that it waited for the CPU does not count. The time that the servers waited
    # for it does, so what reads took before the kill is added.
    worst, usual = (max(taken - waited for taken, waited in latencies) for latencies in (reads.latencies, before))
    print(f"{len(reads.latencies)} calls, the slowest {worst * 1e3:.1f} ms, before the kill {usual * 1e3:.1f} ms")
    assert worst < usual + patience(0.1)


Act = Callable[[SharedServers, Manager, Reading], Awaitable[None]]


async def until_down(servers: SharedServers, hs: Manager) -> None:
    await until(lambda: reader_1(servers, "down") in repr(hs), "the reader is never down")


async def kill_and_start(servers: SharedServers, hs: Manager, reads: Reading) -> None:
    await servers.kill("reader-1")
    await until_down(servers, hs)
    await servers.start("reader-1")


async def pause_and_resume(servers: SharedServers, hs: Manager, reads: Reading) -> None:
    await servers.pause("reader-1")
    await until_down(servers, hs)
    await servers.resume("reader-1")


async def stop(servers: SharedServers, hs: Manager, reads: Reading) -> None:
    await servers.stop("reader-1")


async def restart(servers: SharedServers, hs: Manager, reads: Reading) -> None:
    await servers.restart("reader-1")  # on the same port: every index id is forgotten


async def hold_the_writer_lock(servers: SharedServers, hs: Manager, reads: Reading) -> None:
    async with sql_session(servers.server("reader-1"), WRITER_LOCK):
        await reads.more()


async def lock_a_row(servers: SharedServers, hs: Manager, reads: Reading) -> None:
    async with sql_session(servers.server("reader-1"), "BEGIN", "SELECT * FROM cars.trucks FOR UPDATE"):
        await reads.more()


@pytest.mark.mariadb
@pytest.mark.parametrize("act", [stop, kill_and_start, restart, pause_and_resume, hold_the_writer_lock, lock_a_row])
async def test_one_of_two_readers_in_trouble_fails_no_read(act: Act, servers: SharedServers) -> None:
    """Requests sent to it wait for its timeout at most. All others go to the other reader. It is used again afterwards."""
    timeout = patience(0.5)
    async with two_readers(servers, timeout=timeout) as hs:

        def answers() -> int:
            return hs.statistics().readers[0].answers

        async with reading(hs) as reads:
            await act(servers, hs, reads)
            if act is stop:
                await until_down(servers, hs)
            else:
                answered = answers()
                await until(lambda: reader_1(servers, "up") in repr(hs) and answers() > answered, "it is never used again")
    assert slowest(reads.latencies) < max(3 * timeout, patience(1.5))
