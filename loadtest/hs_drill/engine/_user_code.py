"""Users in Python in one run of the engine: those of all classes, and a watch over their mistakes."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from ._block_watch import BlockWatch
from ._setup import Setup
from ._unawaited import unawaited_reported
from ._user_loop import UserLoop, Users

__all__ = ["UserCode"]


class UserCode:
    """Starts and stops the users of a run's classes. `users` is None if there are none; then it does nothing."""

    def __init__(self, setup: Setup, users: Users | None, nursery: trio.Nursery) -> None:
        self._users = users
        self._loops: dict[str, UserLoop] = {}
        if users is not None:
            self._is_users = setup.user_files.has
            self._watch = BlockWatch(self._is_users, users.results.warn)
            self._loops = {name: UserLoop(cls, users, nursery) for name, cls in setup.user_classes.items()}

    async def watch(self) -> None:
        """Look for code that blocks, or awaits nothing, until cancelled."""
        if self._users is not None:
            with unawaited_reported(self._is_users, self._users.results.not_awaited):
                await self._watch.run()

    def cut(self) -> None:
        """A new generation of operations has begun."""
        if self._users is not None:
            self._users.results.cut()

    def set_users(self, counts: Mapping[str, int]) -> None:
        """Set how many users of each class are active, by the classes' full names."""
        for name, loop in self._loops.items():
            loop.set_users(counts.get(name, 0))

    def stop(self) -> None:
        """Let every user end its current task."""
        self.set_users({})
