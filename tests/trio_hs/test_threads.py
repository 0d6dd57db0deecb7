"""A client belongs to the thread that opened it. In another one every call raises RuntimeError, and nothing is sent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from threading import get_ident
from typing import Any

import pytest
import trio

from trio_hs import Call, Find, Instrument, Manager, ReadSocket, RetryPolicy, open_manager, open_read_socket
from trio_hs.testing import EmbeddedServer, Table, open_server

TABLE = Table("d", "t", {"id": "INT NOT NULL"}, primary_key=["id"])
ANOTHER_THREAD = "opened in another thread"

CALLS: dict[str, Callable[[Manager, ReadSocket], Awaitable[Any]]] = {
    "get": lambda hs, _: hs.get("d", "t", ["id"], 1),
    "get_many": lambda hs, _: hs.get_many("d", "t", ["id"], range(40)),
    "find": lambda hs, _: hs.table("d", "t", ["id"]).find("=", [1]),
    "insert": lambda hs, _: hs.insert("d", "t", [("id", 2)]),
    "insert_many": lambda hs, _: hs.insert_many("d", "t", ["id"], [[2], [3]]),
    "delete": lambda hs, _: hs.delete("d", "t", "=", ["id"], [1]),
    "purge": lambda hs, _: hs.purge(),
    "suspended": lambda hs, _: hs.suspended().__aenter__(),
    "get_index_id": lambda _, socket: socket.get_index_id("d", "t", ["id"]),
    "ReadSocket.find": lambda _, socket: socket.find(0, "=", [1]),
    "execute_many": lambda _, socket: socket.execute_many([Find(0, "=", [1])]),
    "ReadSocket.purge": lambda _, socket: socket.purge(),
}


async def in_threads(server: EmbeddedServer, hs: Manager, name: str) -> None:
    """The call in a thread with a trio run of its own, and in one with asyncio."""
    async with open_read_socket([server.read_address], connect=server.connect) as socket:
        assert await socket.get_index_id("d", "t", ["id"]) == 0
        before = server.statistics().requests

        async def call() -> object:
            return await CALLS[name](hs, socket)

        for run in (lambda: trio.run(call), lambda: asyncio.run(call())):
            with pytest.raises(RuntimeError, match=ANOTHER_THREAD):
                await trio.to_thread.run_sync(run)
        assert server.statistics().requests == before


class AtHome(Instrument):
    """Fails in another thread than that in which it was made."""

    def __init__(self) -> None:
        self.thread = get_ident()
        self.failed = False

    def call_started(self, call: Call) -> None:
        self.failed = self.failed or get_ident() != self.thread


@pytest.mark.parametrize("policy", [RetryPolicy(), RetryPolicy(deadline=1.0)], ids=["usual", "with a deadline"])
@pytest.mark.parametrize("watched", [False, True], ids=["not watched", "watched"])
@pytest.mark.parametrize("used", [False, True], ids=["new", "connected"])
@pytest.mark.parametrize("name", list(CALLS))
async def test_a_call_from_another_thread_is_refused(name: str, used: bool, watched: bool, policy: RetryPolicy) -> None:
    instrument = AtHome()
    options: dict[str, Any] = {"retry": policy, "instruments": [instrument] if watched else []}
    async with (
        open_server([TABLE]) as server,
        open_manager([server.read_address], [server.write_address], connect=server.connect, **options) as hs,
    ):
        if used:
            assert await hs.insert("d", "t", [("id", 1)]) is None
            assert await hs.get("d", "t", ["id"], 1) == [("id", "1")]
        await in_threads(server, hs, name)
        assert await hs.get("d", "t", ["id"], 1) == ([("id", "1")] if used else [])
    assert not instrument.failed


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 and newer: other tests left threads
async def test_a_call_in_a_forked_process_is_refused() -> None:
    """A child shares the sockets, and took answers that its parent waited for."""
    async with (
        open_server([TABLE]) as server,
        open_manager([server.read_address], [server.write_address], connect=server.connect) as hs,
    ):
        await hs.insert("d", "t", [("id", 1)])
        before = server.statistics().requests
        child = os.fork()
        if not child:
            refused = 0
            for call in (hs.get("d", "t", ["id"], 1), hs.insert("d", "t", [("id", 2)]), hs.ping()):
                try:
                    call.send(None)
                except RuntimeError as error:
                    refused += "another thread or process" in str(error)
                except BaseException:
                    break
            os._exit(3 - refused)
        _, status = await trio.to_thread.run_sync(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert await hs.get("d", "t", ["id"], 1) == [("id", "1")]
        assert server.statistics().requests == before + 3, "the secret, the index and the get"


async def test_a_thread_reaches_the_client_through_trio() -> None:
    async with (
        open_server([TABLE]) as server,
        open_manager([server.read_address], [server.write_address], connect=server.connect) as hs,
    ):
        row = await trio.to_thread.run_sync(lambda: trio.from_thread.run(hs.get, "d", "t", ["id"], 1))
        assert row == []


def test_asyncio_is_refused_by_name() -> None:
    async def opened() -> None:
        async with open_manager():
            pass

    with pytest.raises(RuntimeError, match="trio_hs needs trio"):
        asyncio.run(opened())
