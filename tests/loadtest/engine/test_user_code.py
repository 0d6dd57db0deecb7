"""Where users' code waits that does not end with its run."""

from __future__ import annotations

import trio
import trio.testing

from hs_drill.engine._user_code import places_of


async def stubborn() -> None:
    await trio.sleep_forever()


async def test_the_line_in_which_a_task_waits() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stubborn)
        nursery.start_soon(trio.sleep_forever)  # nobody's code but trio's
        await trio.testing.wait_all_tasks_blocked()
        found = list(places_of(nursery.child_tasks, lambda code: code.co_filename == __file__))
        nursery.cancel_scope.cancel()
    assert found == [f"test_user_code.py:{stubborn.__code__.co_firstlineno + 1}"]
