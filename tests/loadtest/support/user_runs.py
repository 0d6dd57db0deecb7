"""A run of the engine with users in Python, without a client: their loop, and what they counted."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from hs_drill.engine._meter import Meter
from hs_drill.engine._tallies import Tallies
from hs_drill.engine._task_plan import TaskWeights
from hs_drill.engine._trio_user import TrioUser
from hs_drill.engine._user_loop import UserLoop, Users
from hs_drill.engine._user_results import UserFiles, UserResults
from hs_drill.scenario import parse_scenario

TESTS = str(Path(__file__).parents[1] / "engine/test_user_loop.py")
"""In whose folder the code of the users is."""
SCENARIO = parse_scenario("name: x\n", "s.yaml")


class Run:
    """A run with one class of users."""

    def __init__(
        self, cls: type[TrioUser], nursery: trio.Nursery, scope: trio.CancelScope, weights: TaskWeights | None = None
    ) -> None:
        self.tallies = Tallies()
        self.results = UserResults(self.tallies, UserFiles([TESTS]), Meter({}), lambda: scope.cancel_called)
        hs: Any = None  # these users send nothing
        users = Users(SCENARIO, 0, hs, self.results, itertools.count(10), None, None, weights or {})
        self.loop = UserLoop(cls, users, nursery)

    def counts(self) -> tuple[dict[str, int], Counter[tuple[str, str]]]:
        """How many operations of each name succeeded, and each name's errors, without the lines of their places."""
        ok: Counter[str] = Counter()
        errors: Counter[tuple[str, str]] = Counter()
        for _, _, taken in self.tallies.take():
            for name, (succeeded, failed, messages) in taken.items():
                ok[name] += len(succeeded)
                assert len(failed) == len(messages)
                errors.update((name, message) for message in messages)
        return {name: count for name, count in ok.items() if count}, errors


@asynccontextmanager
async def running(cls: type[TrioUser], users: int = 1, weights: TaskWeights | None = None) -> AsyncIterator[Run]:
    """Users that begin; they finish their tasks when the block ends."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            run = Run(cls, nursery, scope, weights)
            run.loop.set_users(users)
            yield run
            run.loop.set_users(0)
