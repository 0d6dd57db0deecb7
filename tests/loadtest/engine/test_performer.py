"""The performer: operations count in the generation in which they began, and stopped users finish theirs."""

from __future__ import annotations

import itertools
from pathlib import Path

import trio
import trio.testing

from hs_drill.engine._bound_operations import BoundOperation, Intent
from hs_drill.engine._closed_loop import ClosedLoop
from hs_drill.engine._meter import Meter
from hs_drill.engine._pace import User
from hs_drill.engine._performer import Performer
from hs_drill.engine._scribe import Scribe
from hs_drill.store import NO_COUNT, History, HistoryWriter, Operation, Outcome
from hs_drill.workload import UNSEEN


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


async def test_what_a_read_did_not_find_is_not_taken_for_the_value_of_the_next_write(tmp_path: Path) -> None:
    user, rows = User(1), {7: True}

    async def find(_key: object, _intent: Intent) -> list[object]:
        return []

    async def delete(_key: object, intent: Intent) -> bool:
        intent.key = 7
        user.active = False
        return rows.pop(7)

    bound = {
        "find": BoundOperation(find, Operation.FIND, lambda key, _: (key, UNSEEN, NO_COUNT)),
        "delete": BoundOperation(delete, Operation.DELETE),
    }
    with HistoryWriter(tmp_path / "history-0.bin", worker=0) as history:
        drawn = iter([("find", 3), ("delete", 0)])
        await Performer(bound, drawn.__next__, None, Scribe(history, 1.0, {}), Meter({})).perform(user)
    found, deleted = History(tmp_path / "history-0.bin").records()
    assert (found.operation, found.outcome, found.key, found.value) == (Operation.FIND, Outcome.FAIL, 3, UNSEEN)
    assert (deleted.operation, deleted.outcome, deleted.key) == (Operation.DELETE, Outcome.OK, 7)
    assert deleted.value != UNSEEN, "which the audit takes for a read that saw nothing"
