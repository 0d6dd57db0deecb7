"""An open loop: operations start when they arrive; a pool of tasks carries them out, so none waits for another's answer."""

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
"""Seconds between two looks at the clock: what arrives in between starts together. Each look costs some 30 µs."""
LONGEST = 0.01
"""The same, where nothing is due soon: by then the rate may have changed."""


class OpenLoop:
    """Gives every arrival to a task that is idle; while there is none it waits, `load.max_wait` at most.

    Begins at once, in the nursery, and without users, that is without arrivals.
    """

    def __init__(self, performer: Performer, arrivals: Arrivals, load: Load, nursery: trio.Nursery) -> None:
        self._performer = performer
        self._arrivals = arrivals
        self._most = load.max_in_flight
        self._patience = int(load.max_wait * 1e9)
        self._whole = load.locust_users
        self._nursery = nursery
        self._due: deque[int] = deque()
        """When the operations that have arrived and not started should have started."""
        self._idle = trio.lowlevel.ParkingLot()
        self._tasks = 0
        self._stopped = False
        performer.turn = self._turn
        nursery.start_soon(self._run)

    def set_users(self, count: int) -> None:
        """From now on the share of the rate arrives that so many of `load.users` are."""
        self._admit(self._arrivals.share(count / self._whole, time.monotonic_ns()))

    async def _run(self) -> None:
        with open_timer() as timer:
            while not self._stopped:
                self._admit(self._arrivals.until(time.monotonic_ns()))
                await timer.sleep(min(max(self._arrivals.wait(), SHORTEST), LONGEST))

    def stop(self) -> None:
        """Nothing arrives any more; what has arrived is still carried out, also since the last look at the clock."""
        self._admit(self._arrivals.until(time.monotonic_ns()))
        self._stopped = True
        self._idle.unpark_all()

    def abandon(self) -> None:
        """Give up what has not started."""
        while self._due:
            self._performer.give_up(self._due.popleft())

    def _admit(self, arrived: list[int]) -> None:
        due = self._due
        due.extend(arrived)
        if not due:
            return
        latest = time.monotonic_ns() - self._patience
        while due and due[0] < latest:
            self._performer.give_up(due.popleft())
        awake = len(self._idle.unpark(count=len(due)))
        for _ in range(min(len(due) - awake, self._most - self._tasks)):
            self._nursery.start_soon(self._performer.perform, User(self._tasks))
            self._tasks += 1

    async def _turn(self, _: User) -> int | None:
        while not self._due:
            if self._stopped:
                return None
            await self._idle.park()
        return self._due.popleft()
