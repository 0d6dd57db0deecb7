"""Finds the line of the users' code that blocks the event loop, such as a `time.sleep`."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType

import trio

__all__ = ["BlockWatch"]

BEAT_SECONDS = 0.02
LOOK_SECONDS = 0.05
BLOCKED_SECONDS = 0.1
"""An event loop that has not run for so long is blocked, or lacks a core."""
STUCK_SECONDS = 3.0
"""An event loop that has not run for so long may never run again."""


class BlockWatch:
    """Looks, from a thread, at what the event loop's thread executes while it is blocked.

    `is_users` says whether code is the users'. `report` gets a line for each place, perhaps several times. It is called in the
    thread.
    """

    def __init__(self, is_users: Callable[[CodeType], bool], report: Callable[[str, str], None]) -> None:
        self._is_users = is_users
        self._report = report
        self._beat = time.monotonic()
        self._watched = threading.get_ident()
        self._seen: tuple[int, float] | None = None
        """The frame of the last look, and the loop's beat before it."""
        self._stuck = 0.0
        """The last beat before which the loop was stuck."""

    async def run(self) -> None:
        """Watch until cancelled."""
        ended = threading.Event()
        thread = threading.Thread(target=self._watch, args=(ended,), name="hs-drill block watch", daemon=True)
        thread.start()
        try:
            while True:
                self._beat = time.monotonic()
                await trio.sleep(BEAT_SECONDS)
        finally:
            ended.set()

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(LOOK_SECONDS):
            beat, now = self._beat, time.monotonic()
            self.look(sys._current_frames().get(self._watched) if now - beat > BLOCKED_SECONDS else None, beat, now)

    def look(self, frame: FrameType | None, beat: float, now: float) -> None:
        """Report what the loop's thread executes, if the look before has found the same call since the loop's last beat: one
        look alone may be chance, where a core is lacking."""
        while frame is not None and not self._is_users(frame.f_code):
            frame = frame.f_back
        seen = None if frame is None else (id(frame), beat)
        if frame is not None and seen == self._seen:
            place, blocked = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}", now - beat
            line = f"{place}: blocked all users of this engine for {blocked:.2f} s or longer; nothing may block in trio: await "
            line += "trio.sleep in place of time.sleep, and trio.to_thread.run_sync for what cannot be awaited"
            self._report(f"blocked {place}", line)
            if blocked > STUCK_SECONDS and beat != self._stuck:  # it may never come to send what was reported
                self._stuck = beat
                sys.stderr.write(f"{line}\n")
        self._seen = seen
