"""How long this thread waits for a core: subtracted, a latency is that of the code, on a busy machine too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def scheduling_delay() -> Iterator[Callable[[], float]]:
    """A clock of the seconds that this thread waited for the CPU."""
    with open("/proc/thread-self/schedstat", "rb") as file:
        yield lambda: int(os.pread(file.fileno(), 100, 0).split()[1]) / 1e9
