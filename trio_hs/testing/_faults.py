"""The faults of an embedded server, each with a way to end it."""

from __future__ import annotations

import random
from collections.abc import Callable


class Faults:
    """The faults of one server. A fault starts only when its method is called. Without ``rng`` nothing is random.

    Attributes:
      refusing: whether connections are refused.
      rng: chooses where an answer is cut, and the length of a delay between two bounds. None cuts in the middle, and takes the
        longer bound.
    """

    def __init__(self, changed: Callable[[], None], reset: Callable[[], None], rng: random.Random | None) -> None:
        self.refusing = False
        self.rng = rng
        self._changed = changed
        self._reset = reset
        self._stalled = {True: False, False: False}
        self._delay = (0.0, 0.0)
        self._drops = 0
        self._cuts = 0
        self._silent = False

    def refuse(self) -> None:
        """Refuses new connections until :meth:`accept`. Open ones stay open."""
        self.refusing = True
        self._changed()

    def accept(self) -> None:
        """Ends :meth:`refuse`."""
        self.refusing = False
        self._changed()

    def stall(self, *, reads: bool = True, writes: bool = True) -> None:
        """Receives requests, but does not execute them until :meth:`resume`: on the listener for reads, for writes, or
        both."""
        self._stalled = {False: self._stalled[False] or reads, True: self._stalled[True] or writes}

    def resume(self) -> None:
        """Ends :meth:`stall`. The requests that waited are executed and answered."""
        self._stalled = {True: False, False: False}
        self._changed()

    def delay(self, least: float, most: float | None = None) -> None:
        """Sends every answer ``least`` to ``most`` seconds late, in order. Requests are executed at once. 0 ends that."""
        most = least if most is None else most
        if not 0 <= least <= most:
            raise ValueError(f"a delay is not negative and its bounds are in order, not {least!r} and {most!r}")
        self._delay = (least, most)

    def drop_answers(self, count: int = 1, *, silent: bool = False) -> None:
        """Closes the connection instead of the next ``count`` sends of answers. The requests are executed.

        ``silent`` leaves the connection open, but sends nothing on it any more. 0 ends the fault.
        """
        self._drops, self._silent = count, silent

    def cut_answers(self, count: int = 1) -> None:
        """Sends only a part of the next ``count`` sends of answers, and then closes the connection. 0 ends the fault."""
        self._cuts = count

    def reset_connections(self) -> None:
        """Resets every connection now. Requests that were not executed yet are lost."""
        self._reset()

    def heal(self) -> None:
        """Ends every fault."""
        self.refusing = False
        self._delay = (0.0, 0.0)
        self._drops = self._cuts = 0
        self.resume()

    # ---- asked by the server

    def stalls(self, writable: bool) -> bool:
        return self._stalled[writable]

    def draw_delay(self) -> float:
        least, most = self._delay
        return most if self.rng is None or least == most else self.rng.uniform(least, most)

    def spoil(self, data: bytes) -> tuple[bytes, bool, bool]:
        """The part of an answer to send, whether the connection ends after it, and whether it falls silent."""
        if self._drops > 0:
            self._drops -= 1
            return b"", not self._silent, self._silent
        if self._cuts > 0:
            self._cuts -= 1
            length = len(data) // 2 if self.rng is None else self.rng.randrange(len(data))
            return data[:length], True, False
        return data, False, False
