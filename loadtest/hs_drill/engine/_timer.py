"""A sleep with sub-millisecond accuracy (timerfd). trio's own is up to 1 ms late on Linux: epoll counts in milliseconds."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import trio

__all__ = ["Timer", "open_timer"]

CLOCK_MONOTONIC = 1


class Timer:
    """The fallback: trio's own sleep."""

    async def sleep(self, seconds: float) -> None:
        """Sleep. A checkpoint."""
        await trio.sleep(seconds)


class _Spec(ctypes.Structure):
    """struct itimerspec"""

    _fields_ = [(name, ctypes.c_long) for name in ("interval_s", "interval_ns", "value_s", "value_ns")]


class _TimerFd(Timer):
    """A Linux timerfd, from the C library: Python has it only from 3.13 on."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._set = library.timerfd_settime
        self.fd: int = library.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _Spec()

    async def sleep(self, seconds: float) -> None:
        whole = int(seconds)
        self._spec.value_s, self._spec.value_ns = whole, max(int((seconds - whole) * 1e9), 1)
        self._set(self.fd, 0, ctypes.byref(self._spec), None)
        await trio.lowlevel.wait_readable(self.fd)
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 8)


@contextmanager
def open_timer() -> Iterator[Timer]:
    """The most accurate timer of this platform. Only one task may use it."""
    try:
        timer = _TimerFd(ctypes.CDLL(None, use_errno=True)) if sys.platform == "linux" and sys.maxsize > 2**32 else Timer()
    except (OSError, AttributeError):
        timer = Timer()
    try:
        yield timer
    finally:
        if isinstance(timer, _TimerFd):
            os.close(timer.fd)
