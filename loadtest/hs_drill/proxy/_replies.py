"""Which answer to lose. The protocol answers in order, a line for a line, so counting lines tells whose answer is whose."""

from __future__ import annotations

from collections import deque

from ._disturbances import DropReplies

__all__ = ["Count", "Replies"]


class Count:
    """How many answers have passed since the last one was lost, on one connection or on all."""

    def __init__(self) -> None:
        self.passed = 0


class Replies:
    """Finds the answer to lose. While armed, answers are delivered whole, for the next one may be it."""

    def __init__(self) -> None:
        self.lost_by: DropReplies | None = None
        """The fault by which an answer was lost."""
        self._faults: list[tuple[DropReplies, Count]] = []
        self._partial = b""
        self._skip = False
        self._counts: deque[bool] | None = None
        self._in_line = False

    def arm(self, fault: DropReplies, total: Count, *, fresh: bool, at_boundary: bool) -> None:
        """Lose answers by this fault too. `fresh`: nothing has passed yet; `at_boundary`: no half answer was delivered."""
        if not self._faults:
            self._skip = not (at_boundary or self._partial)
            self._counts = deque() if fresh else None
        self._faults.append((fault, total if fault.scope == "total" else Count()))

    def disarm(self, fault: DropReplies) -> None:
        self._faults = [one for one in self._faults if one[0] is not fault]
        if not self._faults:
            self._counts = None

    def requests(self, data: bytes) -> None:
        """Remembers which of the requests count."""
        if self._counts is None:
            return
        *ended, rest = data.split(b"\n")
        for line in ended:
            if not self._in_line:
                self._counts.append(line[:1] not in (b"A", b"P"))
            self._in_line = False
        if rest and not self._in_line:
            self._counts.append(rest[:1] not in (b"A", b"P"))
            self._in_line = True

    def answers(self, data: bytes) -> tuple[bytes, bool]:
        """What to deliver of the answers so far, and whether the connection is to be cut behind it."""
        data, self._partial = self._partial + data, b""
        if not self._faults:
            return data, False
        start = 0
        while (end := data.find(b"\n", start) + 1) > 0:
            if (fault := self._loses()) is not None:
                self.lost_by = fault
                half = (end - start) // 2 if fault.cut == "middle" else 0
                return data[: start + half], True
            start = end
        self._partial = b"" if self._skip else data[start:]
        return data[: len(data) - len(self._partial)], False

    def rest(self) -> bytes:
        """The beginning of an answer whose rest will never come."""
        rest, self._partial = self._partial, b""
        return rest

    def _loses(self) -> DropReplies | None:
        """The fault by which the next answer is lost: of several the first. Each counts all the same."""
        if self._skip:
            self._skip = False
            return None
        if self._counts and not self._counts.popleft():
            return None
        lost_by = None
        for fault, count in self._faults:
            count.passed += 1
            if count.passed > fault.after:
                count.passed = 0
                lost_by = lost_by or fault
        return lost_by
