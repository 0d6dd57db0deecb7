"""What ends a program, SystemExit or KeyboardInterrupt, leaves the client's block as itself: not in a group, and once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hs import Instrument, Server, Transport, open_manager, open_read_socket, open_write_socket
from trio_hs.testing import EmbeddedServer, Table, open_server

TABLE = Table("d", "t", {"id": "INT NOT NULL"}, primary_key=["id"])
ENDS: list[type[BaseException]] = [SystemExit, KeyboardInterrupt]


class Ending(Instrument):
    """Ends the program in one of its methods."""

    def __init__(self, event: str, end: type[BaseException]) -> None:
        self.calls = 0

        def ends(*_: Any) -> None:
            self.calls += 1
            raise end("enough")

        setattr(self, event, ends)


def openers(server: EmbeddedServer) -> dict[str, Callable[..., AbstractAsyncContextManager[Any]]]:
    return {
        "manager": lambda **options: open_manager([server.read_address], [server.write_address], **options),
        "reader": lambda **options: open_read_socket([server.read_address], **options),
        "writer": lambda **options: open_write_socket([server.write_address], **options),
    }


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", ["manager", "reader", "writer"])
async def test_a_connect_that_ends_the_program(kind: str, end: type[BaseException]) -> None:
    async def connect(server: Server) -> Transport:
        raise end("enough")

    async def program(server: EmbeddedServer) -> None:
        async with openers(server)[kind](connect=connect) as hs:
            if kind == "manager":
                await hs.get("d", "t", ["id"], 1)
            else:
                await hs.find(await hs.get_index_id("d", "t", ["id"]), "=", [1])

    async with open_server([TABLE]) as server:
        with pytest.raises(end, match="enough"):
            await program(server)


EVENTS = [
    "connection_up",
    "connection_down",
    "connect_failed",
    "failover",
    "request_done",
    "retry",
    "call_started",
    "request_ended",
]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("event", EVENTS)
async def test_an_instrument_that_ends_the_program(event: str, end: type[BaseException], autojump_clock: MockClock) -> None:
    ending = Ending(event, end)

    async def program(server: EmbeddedServer) -> None:
        async with (
            openers(server)["manager"](connect=server.connect, instruments=[ending]) as hs,
            trio.open_nursery() as nursery,  # the user's own, with callers in the middle of something
        ):
            for _ in range(3):
                nursery.start_soon(hs.get, "d", "t", ["id"], 1)
            await wait_all_tasks_blocked()
            server.crash()
            await trio.sleep(0.01)
            await hs.get("d", "t", ["id"], 1)

    async with open_server([TABLE]) as server:
        with pytest.raises(end, match="enough"):
            await program(server)
        assert ending.calls == 1
        await wait_all_tasks_blocked()
        assert not server.statistics().connections


@pytest.mark.parametrize("end", ENDS)
async def test_it_comes_before_an_error_of_the_block(end: type[BaseException]) -> None:
    async def program(server: EmbeddedServer) -> None:
        async with openers(server)["manager"](connect=server.connect, instruments=[Ending("connection_up", end)]) as hs:
            try:
                await hs.get("d", "t", ["id"], 1)
                await trio.sleep_forever()
            finally:
                raise ValueError("of the block")

    async with open_server([TABLE]) as server:
        with pytest.raises(end, match="enough"):
            await program(server)
