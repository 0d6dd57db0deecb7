"""``os.fork()``: a child's copy of a pool shares the sockets of its parent, and would take the parent's answers for its own."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Threaded(Protocol):
    """What works in one thread only.

    Attributes:
      thread: the id of that thread.
    """

    thread: int


_known: WeakSet[Threaded] = WeakSet()


def end_with_fork(one: Threaded) -> None:
    """Changes its ``thread`` in each child of this process to 0, which no thread has."""
    _known.add(one)


def _in_child() -> None:
    for one in _known:
        one.thread = 0


if hasattr(os, "register_at_fork"):  # not where there is no fork
    os.register_at_fork(after_in_child=_in_child)
