"""Task sets: tasks that belong together, which a user executes until one of them interrupts the set."""

from __future__ import annotations

import random
import time
from typing import NoReturn

import trio_hs
from hs_drill.scenario import Scenario
from hs_drill.user_classes import InterruptTaskSet

from ._audited_rows import AuditedRows
from ._pace import User
from ._trio_user import TrioUser
from ._user_results import Measure

__all__ = ["SequentialTaskSet", "TaskSet"]


class TaskSet:
    """Tasks of a user, or of another task set. A user that comes to it executes `on_start`, then the set's tasks, drawn by
    their weights, until one calls `interrupt`, and then `on_stop`."""

    def __init__(self, parent: TrioUser | TaskSet) -> None:
        self._parent = parent
        self._user: TrioUser = parent if isinstance(parent, TrioUser) else parent.user
        self._cp_last_run, self._cp_last_wait_time = time.perf_counter(), 0.0  # as in `TrioUser`

    async def on_start(self) -> None:
        """Called before the first task, each time that the user comes to the set. If it raises, the user leaves the set."""

    async def on_stop(self) -> None:
        """Called after the last task."""

    def wait_time(self) -> float:
        """How long the user waits after a task of the set: as it does after its own, unless the set says something else."""
        return self._user.wait_time()

    def interrupt(self, reschedule: bool = True) -> NoReturn:
        """Leave the set. The next task begins at once, or after the user's `wait_time` if `reschedule` is false."""
        raise InterruptTaskSet(reschedule)

    @property
    def user(self) -> TrioUser:
        """The user (and `user.user` is its number)."""
        return self._user

    @property
    def parent(self) -> TrioUser | TaskSet:
        """What the set is a task of."""
        return self._parent

    @property
    def hs(self) -> trio_hs.Manager:
        """The user's client."""
        return self._user.hs

    @property
    def random(self) -> random.Random:
        """The user's."""
        return self._user.random

    @property
    def rows(self) -> AuditedRows:
        """The user's."""
        return self._user.rows

    @property
    def scenario(self) -> Scenario:
        return self._user.scenario

    @property
    def _pace(self) -> User:
        return self._user._pace

    def measure(self, name: str) -> Measure:
        """See `TrioUser.measure`."""
        return self._user.measure(name)


class SequentialTaskSet(TaskSet):
    """A task set whose tasks come in the order in which the class has them, then again from the first one. A task of weight 3
    comes three times in a row."""
