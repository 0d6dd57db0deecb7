"""A closed loop: starts and stops a task for each Locust user, which does one operation after the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import trio

from ._pace import User
from ._performer import Performer

__all__ = ["ClosedLoop"]


class ClosedLoop:
    """Starts and stops users. `numbers` are those that are still free."""

    def __init__(self, performer: Performer, nursery: trio.Nursery, numbers: Iterator[int] | None = None) -> None:
        self._performer = performer
        self._nursery = nursery
        self._users: list[User] = []
        self._numbers = itertools.count() if numbers is None else numbers

    def set_users(self, count: int) -> None:
        """Start or stop users, so that this many are active."""
        while len(self._users) > count:
            self._users.pop().stop()
        while len(self._users) < count:
            user = User(next(self._numbers))
            self._users.append(user)
            self._nursery.start_soon(self._performer.perform, user)

    def stop(self) -> None:
        """Let every user end its current operation."""
        self.set_users(0)

    def abandon(self) -> None:
        """Do nothing: a closed loop has no operations that wait to start."""
