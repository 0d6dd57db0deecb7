"""An open loop: operations start when they arrive. A pool of tasks executes them, so none waits for another's answer."""

from __future__ import annotations

import time
from collections import deque

import trio

from hs_drill.scenario import Load

from ._arrivals import Arrivals
from ._pace import User
from ._performer import Performer
from ._timer import open_timer

__all__ = ["OpenLoop"]

SHORTEST = 0.0005
"""Seconds between two looks at the clock: arrivals in between start together. Each look costs about 30 µs."""
LONGEST = 0.01
"""The longest pause between two looks, when nothing is due soon: the rate may change."""


class OpenLoop:
    """Hands every arrival to an idle task. While none is idle the arrival waits, at most `load.max_wait`.

    Starts at once, in the nursery; without users nothing arrives.
    """

    def __init__(self, performer: Performer, arrivals: Arrivals, load: Load, nursery: trio.Nursery) -> None:
        self._performer = performer
        self._arrivals = arrivals
        self._max_tasks = load.max_in_flight
        self._max_wait = int(load.max_wait * 1e9)
        self._all_users = load.locust_users
        self._nursery = nursery
        self._due: deque[int] = deque()
        """When the waiting operations should have started."""
        self._idle = trio.lowlevel.ParkingLot()
        self._tasks = 0
        self._stopped = False
        performer.turn = self._turn
        nursery.start_soon(self._run)

    def set_users(self, count: int) -> None:
        """Set the number of users: their share of `load.users` is the share of the rate that arrives here."""
        self._admit(self._arrivals.set_share(count / self._all_users, time.monotonic_ns()))

    async def _run(self) -> None:
        with open_timer() as timer:
            while not self._stopped:
                self._admit(self._arrivals.until(time.monotonic_ns()))
                await timer.sleep(min(max(self._arrivals.wait(), SHORTEST), LONGEST))

    def stop(self) -> None:
        """Stop arrivals. What has arrived until now is still executed."""
        self._admit(self._arrivals.until(time.monotonic_ns()))
        self._stopped = True
        self._idle.unpark_all()

    def abandon(self) -> None:
        """Drop the operations that have not started."""
        while self._due:
            self._performer.give_up(self._due.popleft())

    def _admit(self, arrived: list[int]) -> None:
        due = self._due
        due.extend(arrived)
        if not due:
            return
        latest = time.monotonic_ns() - self._max_wait
        while due and due[0] < latest:
            self._performer.give_up(due.popleft())
        awake = len(self._idle.unpark(count=len(due)))
        for _ in range(min(len(due) - awake, self._max_tasks - self._tasks)):
            self._nursery.start_soon(self._performer.perform, User(self._tasks))
            self._tasks += 1

    async def _turn(self, _: User) -> int | None:
        while not self._due:
            if self._stopped:
                return None
            await self._idle.park()
        return self._due.popleft()
