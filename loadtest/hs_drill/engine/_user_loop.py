"""Users in Python: a trio task for each, which executes the tasks of its class one after the other."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import trio

import trio_hs
from hs_drill.scenario import Scenario
from hs_drill.store import USERS_CODE, HistoryWriter
from hs_drill.user_classes import full_name, place_of, tasks_of

from ._audited_rows import AuditedRows
from ._pace import User
from ._trio_user import TrioUser
from ._user_results import UserResults

__all__ = ["UserLoop", "Users", "came_of"]

PAUSE_AFTER_ERROR = 0.01
"""Seconds. A task that fails at once would do nothing but count errors."""
PAUSE_AFTER_START = 1.0
"""Seconds between two attempts of `on_start`."""
RUNS_WITHOUT_AWAITING = 20
"""A task that has been executed so often, and has never awaited anything, is reported."""


@dataclass(frozen=True)
class Users:
    """What the users of a run share."""

    scenario: Scenario
    worker: int
    hs: trio_hs.Manager
    results: UserResults
    numbers: Iterator[int]
    """The numbers of users that are still free."""
    history: HistoryWriter | None
    """Says which classes had users."""
    rows: Callable[[int], AuditedRows] | None
    """Makes `TrioUser.rows` of a user's number."""


class _Task:
    """A task of a class."""

    def __init__(self, cls: type[TrioUser], name: str, function: Callable[[TrioUser], Awaitable[None]]) -> None:
        self.name = f"{cls.__name__}.{name}"
        self.call = function
        self.place = place_of(function)
        self.executed = 0
        self.awaits = False
        """Whether it has ever awaited something."""


class UserLoop:
    """Starts and stops the users of one class."""

    def __init__(self, cls: type[TrioUser], users: Users, nursery: trio.Nursery) -> None:
        self._cls = cls
        self._users = users
        self._nursery = nursery
        self._active: list[User] = []
        self._started = 0
        found = tasks_of(cls)
        self._tasks = [_Task(cls, name, function) for name, (function, _) in found.items()]
        self._weights = list(itertools.accumulate(weight for _, weight in found.values()))

    def set_users(self, count: int) -> None:
        """Start or stop users, so that this many are active."""
        while len(self._active) > count:
            self._active.pop().stop()
        while len(self._active) < count:
            pace = User(next(self._users.numbers))
            self._active.append(pace)
            self._nursery.start_soon(self._perform, pace, self._new_user(pace))

    def _new_user(self, pace: User) -> TrioUser:
        shared = self._users
        if not self._started and shared.history is not None:
            shared.history.event(USERS_CODE, self._cls.__name__)
        user = self._cls()
        user.hs, user.scenario, user.user = shared.hs, shared.scenario, pace.number
        user.random = random.Random(f"{shared.scenario.seed}/{shared.worker}/{full_name(self._cls)}/{self._started}")
        self._started += 1
        user._rows = None if shared.rows is None else shared.rows(pace.number)
        user._pace, user._results, user._counted = pace, shared.results, []
        return user

    async def _perform(self, pace: User, user: TrioUser) -> None:
        name = self._cls.__name__
        while pace.active and not await self._attempt(user, f"{name}.on_start", user.on_start):
            await pace.wait_until(pace.now() + PAUSE_AFTER_START)
        if pace.active:
            await self._tasks_of(pace, user)
            await self._attempt(user, f"{name}.on_stop", user.on_stop)

    async def _tasks_of(self, pace: User, user: TrioUser) -> None:
        tasks, weights, choices = self._tasks, self._weights, user.random.choices
        only = tasks[0] if len(tasks) == 1 else None
        wait_time: Callable[[], float] = user.wait_time
        waits = f"{self._cls.__name__}.wait_time"
        itself: Any = trio.lowlevel.current_task()
        pace.due = pace.now()
        while pace.active:
            task = only or choices(tasks, cum_weights=weights)[0]
            points = itself._schedule_points  # how often it has let other tasks run
            if await self._attempt(user, task.name, task.call, user) and itself._schedule_points == points:
                self._not_awaited(task)
                await trio.lowlevel.checkpoint()
            elif not task.awaits:
                task.awaits = True
            try:
                seconds = wait_time()
                until = pace.now() + seconds if seconds > 0 else 0.0
            except Exception as error:
                self._count(user, waits, time.monotonic_ns(), error)
                until = pace.now() + PAUSE_AFTER_START
            if until:
                await pace.wait_until(until)

    async def _attempt(self, user: TrioUser, name: str, call: Callable[..., Awaitable[None]], *arguments: Any) -> bool:
        """Execute a part of the user's code. Returns whether it raised nothing. Counts what it raised."""
        if user._counted:
            user._counted.clear()
        begin = time.monotonic_ns()
        try:
            await call(*arguments)
        except (Exception, SystemExit) as error:
            self._count(user, name, begin, error)
        except BaseExceptionGroup as group:  # the run ends, and an error came before
            errors, rest = group.split(Exception)
            if errors is not None:
                self._count(user, name, begin, errors)
            if rest is not None:
                raise rest from None
        else:
            return True
        await trio.sleep(PAUSE_AFTER_ERROR)
        return False

    def _count(self, user: TrioUser, name: str, begin: int, error: BaseException) -> None:
        """Count an exception that ended a task, unless it ended an operation that the task measured."""
        if not came_of(error, user._counted):
            results = self._users.results
            results.failed(results.recorder(name), time.monotonic_ns() - begin, error, name)

    def _not_awaited(self, task: _Task) -> None:
        task.executed += 1
        if task.executed == RUNS_WITHOUT_AWAITING and not task.awaits:
            why = "so it lets no other user run, and sends nothing: await what it should do"
            self._users.results.warn(task.place, f"{task.place}: {task.name} never awaits anything, {why}")


def came_of(error: BaseException, counted: Sequence[BaseException]) -> bool:
    """Whether an exception is one of those that are counted already, or was raised because of one."""
    if not counted:
        return False
    if isinstance(error, trio.TooSlowError) and any(isinstance(one, trio.Cancelled) for one in counted):
        return True
    seen: BaseException | None = error
    while seen is not None:
        if any(seen is one for one in counted):
            return True
        if isinstance(seen, BaseExceptionGroup) and any(came_of(one, counted) for one in seen.exceptions):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
