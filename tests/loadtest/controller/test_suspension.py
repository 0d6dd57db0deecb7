"""How the controller suspends all clients, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from hs_drill._cluster import ClusterError
from hs_drill.controller._suspension import SUSPEND_SECONDS, Clients


class Locust:
    """Keeps what it receives, and confirms a suspension `after` seconds, or never."""

    def __init__(self, nursery: trio.Nursery, after: float | None = 1.0) -> None:
        self.received: list[str] = []
        self.clients = Clients(self._receive)
        self._nursery = nursery
        self._after = after

    async def _receive(self, message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        self.received.append(message["type"])
        if message["type"] == "suspend" and self._after is not None:
            self._nursery.start_soon(self._answer, message["number"])

    async def _answer(self, number: int) -> None:
        assert self._after is not None
        await trio.sleep(self._after)
        self.clients.confirm(number)


async def test_the_block_begins_once_all_clients_have_let_go_and_they_go_on_after_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        locust = Locust(nursery)
        async with locust.clients.suspended():
            assert trio.current_time() == pytest.approx(1)
            assert locust.received == ["suspend"]
        assert locust.received == ["suspend", "resume"]


async def test_a_client_that_does_not_let_go_is_not_waited_for_forever(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        locust = Locust(nursery, after=None)
        with pytest.raises(ClusterError, match="still had connections after 10 s"):
            async with locust.clients.suspended():
                pytest.fail("clients still have connections")
        assert trio.current_time() == pytest.approx(SUSPEND_SECONDS)
        assert locust.received == ["suspend", "resume"]


@pytest.mark.parametrize("moment", [0.5, 1.5])
async def test_clients_go_on_when_the_block_is_cancelled(moment: float, autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        locust = Locust(nursery)
        with trio.move_on_after(moment):
            async with locust.clients.suspended():
                await trio.sleep_forever()
        assert locust.received == ["suspend", "resume"]


async def test_a_late_confirmation_does_not_count_for_the_next_suspension(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        locust = Locust(nursery, after=11.0)
        for _ in range(2):
            with pytest.raises(ClusterError):
                async with locust.clients.suspended():
                    pytest.fail("the first confirmation came at 11 s")


async def test_blocks_take_turns(autojump_clock: trio.testing.MockClock) -> None:
    inside = 0

    async def block(locust: Locust) -> None:
        nonlocal inside
        async with locust.clients.suspended():
            inside += 1
            assert inside == 1
            await trio.sleep(1)
            inside -= 1

    async with trio.open_nursery() as nursery:
        locust = Locust(nursery)
        nursery.start_soon(block, locust)
        nursery.start_soon(block, locust)
    assert locust.received == ["suspend", "resume"] * 2
