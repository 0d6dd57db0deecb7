"""Users in Python in one run of the engine: those of all classes, and a watch over their mistakes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType

import trio
import trio.lowlevel

from ._block_watch import BlockWatch
from ._setup import Setup
from ._unawaited import unawaited_reported
from ._user_loop import UserLoop, Users

__all__ = ["UserCode", "places_of"]

LOOK_SECONDS = 0.5
"""How often to look whether the run is cancelling what its users do; and how long it may take them to end."""


class UserCode:
    """Starts and stops the users of a run's classes. `users` is None if there are none; then it does nothing."""

    def __init__(self, setup: Setup, users: Users | None, nursery: trio.Nursery) -> None:
        self._users = users
        self._nursery = nursery
        self._is_users = setup.user_files.has
        self._loops: dict[str, UserLoop] = {}
        if users is not None:
            self._loops = {name: UserLoop(cls, users, nursery) for name, cls in setup.user_classes.items()}

    async def watch(self) -> None:
        """Look for code that blocks, awaits nothing, or does not end, until cancelled."""
        if self._users is None:
            return
        results = self._users.results
        with unawaited_reported(self._is_users, results.not_awaited):
            async with trio.open_nursery() as watching:
                watching.start_soon(BlockWatch(self._is_users, results.warn).run)
                while not results.ending():  # noqa: ASYNC110  (a deadline that passes sets no event)
                    await trio.sleep(LOOK_SECONDS)
                await trio.sleep(LOOK_SECONDS)
                for place in places_of(self._nursery.child_tasks, self._is_users):
                    why = "it catches trio.Cancelled, as `except:` and `except BaseException:` do, and does not raise it again"
                    results.warn(f"stays {place}", f"{place}: does not end, although the run has ended: {why}")

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


def places_of(tasks: Iterable[trio.lowlevel.Task], is_users: Callable[[CodeType], bool]) -> Iterator[str]:
    """The file and line of the users' code in which each task waits."""
    for task in tasks:
        found = [(frame.f_code, line) for frame, line in task.iter_await_frames() if is_users(frame.f_code)]
        if found:
            code, line = found[-1]
            yield f"{os.path.basename(code.co_filename)}:{line}"
