"""When users do their next operation, in virtual time."""

from __future__ import annotations

import itertools
import random

import pytest
import trio
import trio.testing

from hs_drill.engine._pace import User, turn_of
from hs_drill.scenario import Load, ThinkTime


async def starts(load: Load, lasting: float, until: float) -> list[float]:
    """When a user starts its operations, each of which takes `lasting` seconds."""
    turn, user, found = turn_of(load, random.Random(1)), User(0), []
    assert turn is not None
    begun = trio.current_time()

    async def work() -> None:
        while await turn(user) is not None:
            found.append(round(trio.current_time() - begun, 6))
            await trio.sleep(lasting)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await trio.sleep(until)
        user.stop()
    assert trio.current_time() - begun <= until + lasting, "a user that waits stops at once"
    return found


async def test_a_user_thinks_after_each_operation(autojump_clock: trio.testing.MockClock) -> None:
    assert await starts(Load(think_time=ThinkTime(min=2, max=2)), 1, 10) == [0, 3, 6, 9]


async def test_think_times_are_spread_over_their_range(autojump_clock: trio.testing.MockClock) -> None:
    found = await starts(Load(think_time=ThinkTime(min=1, max=3)), 0, 2000)
    waits = [after - before for before, after in itertools.pairwise(found)]
    assert 1 <= min(waits) < 1.1
    assert 2.9 < max(waits) <= 3
    assert sum(waits) / len(waits) == pytest.approx(2, abs=0.1)


async def test_a_pace_is_from_start_to_start(autojump_clock: trio.testing.MockClock) -> None:
    assert await starts(Load(pacing=3), 1, 10) == [0, 3, 6, 9]


async def test_a_user_that_is_late_does_not_catch_up(autojump_clock: trio.testing.MockClock) -> None:
    assert await starts(Load(pacing=1), 2.5, 9) == [0, 2.5, 5, 7.5]


def test_users_without_waits_have_no_turn() -> None:
    assert turn_of(Load(), random.Random(1)) is None
    assert turn_of(Load(think_time=ThinkTime(max=0)), random.Random(1)) is None
