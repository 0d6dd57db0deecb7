"""Users in Python: a trio task for each, which executes the tasks of its class, and of its task sets, one after the other."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

import trio_hs
from hs_drill.scenario import Scenario
from hs_drill.store import USERS_CODE, HistoryWriter
from hs_drill.user_classes import InterruptTaskSet, full_name

from ._audited_rows import AuditedRows
from ._pace import User
from ._task_plan import TaskPlan, TaskWeights, UserTask, shown_name
from ._task_sets import TaskSet
from ._trio_user import TrioUser
from ._user_results import UserResults, interrupt_in

__all__ = ["UserLoop", "Users", "came_of"]

PAUSE_AFTER_ERROR = 0.01
"""Seconds. A task that fails at once would do nothing but count errors."""
PAUSE_AFTER_START = 1.0
"""Seconds between two attempts of `on_start`."""
RUNS_WITHOUT_AWAITING = 20
"""A task that has been executed so often, and has never awaited anything, is reported."""
CANCELLED = (trio.Cancelled, GeneratorExit)
"""What ends users' tasks from outside."""


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
    tasks: TaskWeights = field(default_factory=dict)


class UserLoop:
    """Starts and stops the users of one class."""

    def __init__(self, cls: type[TrioUser], users: Users, nursery: trio.Nursery) -> None:
        self._cls = cls
        self._users = users
        self._nursery = nursery
        self._active: list[User] = []
        self._started = 0
        self._plans: dict[type, TaskPlan] = {}

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
        seed = f"{shared.scenario.seed}/{shared.worker}/{full_name(self._cls)}/{self._started}"
        user.random = user._random = random.Random(seed)
        self._started += 1
        user._rows = None if shared.rows is None else shared.rows(pace.number)
        user._pace, user._results, user._counted = pace, shared.results, []
        return user

    async def _perform(self, pace: User, user: TrioUser) -> None:
        name = self._cls.__name__
        while pace.active and not await self._attempt(user, f"{name}.on_start", user.on_start):
            await pace.wait_until(pace.now() + PAUSE_AFTER_START)
        if not self._plan_of(self._cls).tasks:  # after a change in Locust's web UI
            self._users.results.warn(name, f"{name} has no tasks left, so its users do nothing")
            await pace.wait_until(math.inf)
        if pace.active:
            pace.due = pace.now()
            await self._tasks_of(pace, user, user)
            await self._attempt(user, f"{name}.on_stop", user.on_stop)

    def _plan_of(self, cls: type[TrioUser | TaskSet]) -> TaskPlan:
        if (plan := self._plans.get(cls)) is None:
            plan = self._plans[cls] = TaskPlan(cls, self._users.tasks)
        return plan

    async def _tasks_of(self, pace: User, user: TrioUser, holder: TrioUser | TaskSet) -> None:
        """Execute the tasks of a user, or of its task set `holder`, until it is stopped. InterruptTaskSet leaves the set."""
        next_task = self._plan_of(type(holder)).begin(user._random)
        wait_time, within = holder.wait_time, holder is not user
        waits = f"{shown_name(type(holder))}.wait_time"
        itself: Any = trio.lowlevel.current_task()
        while pace.active:
            task, at_once = next_task(), False
            points = itself._schedule_points  # how often it has let other tasks run
            if task.set is not None:
                at_once = await self._visit(pace, user, task.set(holder))
                if itself._schedule_points == points:
                    await trio.lowlevel.checkpoint()
            elif await self._attempt(user, task.name, task.call, holder, within=within) and itself._schedule_points == points:
                self._not_awaited(task)
                await trio.lowlevel.checkpoint()
            elif not task.awaits:
                task.awaits = True
            if at_once:
                continue
            try:
                seconds = wait_time()
                if not isinstance(seconds, int | float):
                    raise TypeError(f"it returned {seconds!r}, which is no number of seconds")
                until = pace.now() + seconds if seconds > 0 else 0.0
            except Exception as error:
                self._count(user, waits, time.monotonic_ns(), error)
                until = pace.now() + PAUSE_AFTER_START
            if until:
                await pace.wait_until(until)

    async def _visit(self, pace: User, user: TrioUser, task_set: TaskSet) -> bool:
        """Execute a task set. Returns whether the next task begins without waiting."""
        name = shown_name(type(task_set))
        try:
            if not await self._attempt(user, f"{name}.on_start", task_set.on_start, within=True):
                return False
            await self._tasks_of(pace, user, task_set)
            at_once = False
        except InterruptTaskSet as interrupt:
            at_once = interrupt.reschedule
        await self._attempt(user, f"{name}.on_stop", task_set.on_stop)
        return at_once

    async def _attempt(
        self, user: TrioUser, name: str, call: Callable[..., Awaitable[None]], *arguments: Any, within: bool = False
    ) -> bool:
        """Execute a part of the user's code. Returns whether it raised nothing. Counts what it raised, but for InterruptTaskSet
        `within` a task set, which this raises too."""
        if user._counted:
            user._counted.clear()
        begin = time.monotonic_ns()
        try:
            await call(*arguments)
        except CANCELLED:
            raise
        except BaseException as error:  # also SystemExit, and what is no Exception in other libraries
            if within and (interrupt := interrupt_in(error)) is not None:
                raise interrupt from None
            errors, rest = (error, None) if not isinstance(error, BaseExceptionGroup) else error.split(_is_error)
            if errors is not None:
                self._count(user, name, begin, errors)
            if rest is not None:  # the run ends, and an error came before
                raise rest from None
        else:
            return True
        await trio.sleep(PAUSE_AFTER_ERROR)
        return False

    def _count(self, user: TrioUser, name: str, begin: int, error: BaseException) -> None:
        """Count an exception that ended a task, unless it ended an operation that the task measured."""
        if not came_of(error, user._counted):
            results = self._users.results
            results.failed(results.part(name), time.monotonic_ns() - begin, error, name)

    def _not_awaited(self, task: UserTask) -> None:
        task.executed += 1
        if task.executed == RUNS_WITHOUT_AWAITING and not task.awaits:
            why = "so it lets no other user run, and sends nothing: await what it should do"
            self._users.results.warn(task.place, f"{task.place}: {task.name} never awaits anything, {why}")


def _is_error(error: BaseException) -> bool:
    """Whether it is one to count; of a group no."""
    return not isinstance(error, (BaseExceptionGroup, *CANCELLED))


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
