"""The callers of a pool that wait for a usable server. Each is woken only when it can go on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import trio
from outcome import Value
from trio.lowlevel import Abort, current_task, reschedule, wait_task_rescheduled

#: Seconds to wait for the preferred group while it is being connected, before the next group is asked.
GRACE = 0.25

LinkT = TypeVar("LinkT")


class Patience:
    """How long one operation may still wait for a usable server, over all its attempts.

    Attributes:
      left: seconds; None before the first wait, where it is the pool's ``longest_wait``.
    """

    left: float | None = None  # most operations never wait, and None costs nothing

    @property
    def exhausted(self) -> bool:
        return self.left is not None and self.left <= 0


class Waiters(Generic[LinkT]):
    """Tasks that wait until a server is usable, or until each server that they may use has failed once more.

    A failed attempt to connect costs the same however many tasks wait: it wakes only those that have now seen all servers fail.
    Failures are numbered, and a task remembers the number at which it began to wait. Both the tasks and the links of a group
    are in the order of these numbers, so it is enough to look at the first of each.

    Attributes:
      present: set while a task waits. The links try again sooner then.
    """

    def __init__(self, overdue: Callable[[], None]) -> None:
        self.present = trio.Event()
        self._tasks: OrderedDict[trio.lowlevel.Task, int] = OrderedDict()
        self._failures = 0
        self._failed: list[OrderedDict[LinkT, int]] = []
        self._failed_of: dict[LinkT, OrderedDict[LinkT, int]] = {}
        self._overdue = overdue  # called when tasks have waited for GRACE, and after each further GRACE
        self._overdue_at = 0.0
        self._timing = False

    @property
    def count(self) -> int:
        """How many tasks wait."""
        return len(self._tasks)

    def regroup(self, groups: Sequence[Sequence[LinkT]]) -> None:
        """Sets the links. Tasks that wait now wait until each of them has failed from now on."""
        self._failed = [OrderedDict.fromkeys(group, 0) for group in groups]
        self._failed_of = {link: failed for failed in self._failed for link in failed}

    async def wait(self, start: Callable[[Callable[[], Any]], None]) -> bool:
        """Returns True when every server that may be used has failed since the call, False for any other news.

        ``start`` runs a background task. A checkpoint.
        """
        task = current_task()
        if not self._tasks:
            self.present.set()
            self._overdue_at = trio.current_time() + GRACE
            if not self._timing:
                self._timing = True
                start(self._time)
        self._tasks[task] = self._failures

        def abort(_raise_cancel: Any) -> Abort:
            del self._tasks[task]
            self._note_absence()
            return Abort.SUCCEEDED

        return bool(await wait_task_rescheduled(abort))

    async def _time(self) -> None:
        while self._tasks:
            await trio.sleep_until(self._overdue_at)
            if self._tasks and trio.current_time() >= self._overdue_at:
                self._overdue_at += GRACE
                self._overdue()
        self._timing = False

    def failed(self, link: LinkT) -> None:
        """Counts a failed attempt of a link, if it is one of those that callers wait for."""
        failed = self._failed_of.get(link)
        if failed is None:
            return
        self._failures += 1
        failed[link] = self._failures
        failed.move_to_end(link)

    def wake_hopeless(self, groups: int) -> None:
        """Wakes the tasks that have seen every link of the first ``groups`` groups fail since they began to wait."""
        if not self._tasks:
            return
        oldest = min(next(iter(failed.values())) for failed in self._failed[:groups])
        while self._tasks and next(iter(self._tasks.values())) < oldest:
            reschedule(self._tasks.popitem(last=False)[0], Value(True))
        self._note_absence()

    def wake_all(self) -> None:
        """Wakes every task: a server is usable, or the pool is suspended or closed."""
        while self._tasks:
            reschedule(self._tasks.popitem(last=False)[0], Value(False))
        self._note_absence()

    def _note_absence(self) -> None:
        if not self._tasks and self.present.is_set():
            self.present = trio.Event()
