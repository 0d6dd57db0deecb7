"""Promotions that were seen: whoever waits for one gets the first that it does not know yet."""

from __future__ import annotations

import trio
import trio.testing

from hs_drill.servers._control import Promotion
from tests.loadtest.support.nemesis import FakeControl

FIRST = Promotion("standby", seen=5.0, otherwise=4.75)
SECOND = Promotion("reader-1", seen=6.0, otherwise=5.75)


async def test_a_promotion_that_was_seen_before_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    control = FakeControl()
    control.note_promotion(FIRST)
    assert await control.wait_promotion() == FIRST
    with trio.move_on_after(10) as scope:
        await control.wait_promotion(len(control.promotions))
    assert scope.cancelled_caught


async def test_all_who_wait_get_the_same_promotion_although_another_one_follows_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = FakeControl()
    got: list[Promotion] = []

    async def wait() -> None:
        got.append(await control.wait_promotion())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        control.note_promotion(FIRST)
        control.note_promotion(SECOND)
    assert got == [FIRST, FIRST]
    assert control.promotions == [FIRST, SECOND]
    assert control.primary == "reader-1"
