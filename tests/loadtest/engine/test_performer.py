"""The performer: operations count in the generation in which they began, and stopped users finish theirs."""

from __future__ import annotations

import itertools

import trio
import trio.testing

from hs_drill.engine._bound_operations import BoundOperation
from hs_drill.engine._closed_loop import ClosedLoop
from hs_drill.engine._meter import Meter
from hs_drill.engine._performer import Performer
from hs_drill.store import Operation


async def test_an_operation_that_outlives_cuts_is_counted_where_it_began() -> None:
    go_on = trio.Event()

    async def call(key: object, _intent: object) -> bool:
        if key == 1:
            await go_on.wait()
        else:
            await trio.sleep(0.001)
        return True

    keys = itertools.count(1)
    performer = Performer({"get": BoundOperation(call, Operation.GET)}, lambda: ("get", next(keys)), None, None, Meter({}))
    async with trio.open_nursery() as nursery:
        loop = ClosedLoop(performer, nursery)
        loop.set_users(2)
        for _ in range(20):
            await trio.sleep(0.005)
            performer.cut()
            taken = [(since, until) for since, until, _ in performer.take()]
            assert len(taken) <= 3
        go_on.set()
        await trio.sleep(0.005)
        loop.stop()
    first, *others = performer.take()
    assert len(first[2]["get"][0]) == 1, "the slow one, of the first generation"
    assert first[2]["get"][0][0] > 20 * 0.005e9
    assert len(others) <= 2, "finished generations are gone"


async def test_stopped_users_finish_their_operations(autojump_clock: trio.testing.MockClock) -> None:
    async def call(_key: object, _intent: object) -> bool:
        await trio.sleep(0.1)
        return True

    bound = {"get": BoundOperation(call, Operation.GET)}
    performer = Performer(bound, itertools.cycle([("get", 1)]).__next__, None, None, Meter({}))
    async with trio.open_nursery() as nursery:
        loop = ClosedLoop(performer, nursery)
        loop.set_users(3)
        await trio.sleep(0.05)
        loop.set_users(1)
        await trio.sleep(0.01)
        loop.stop()
    ((_, _, taken),) = performer.take()
    ok, _, errors = taken["get"]
    assert (len(ok), errors) == (3, [])
