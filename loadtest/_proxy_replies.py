"""Which answer to lose. The protocol answers in order, a line for a line, so counting lines tells whose answer is whose."""

from __future__ import annotations

from collections import deque

from ._proxy_faults import DropReplies

__all__ = ["Count", "Replies"]


class Count:
    """How many answers have passed since the last one was lost, on one connection or on all."""

    def __init__(self) -> None:
        self.passed = 0


class Replies:
    """Finds the answer to lose. While armed, answers are delivered whole, for the next one may be it."""

    def __init__(self) -> None:
        self._fault: DropReplies | None = None
        self._count = Count()
        self._partial = b""
        self._skip = False
        self._counts: deque[bool] | None = None
        self._in_line = False

    def arm(self, fault: DropReplies, total: Count, *, fresh: bool, at_boundary: bool) -> None:
        """`fresh`: nothing has passed yet; `at_boundary`: no half answer has been delivered."""
        self._fault = fault
        self._count = total if fault.scope == "total" else Count()
        self._skip = not (at_boundary or self._partial)
        self._counts = deque() if fresh else None

    def disarm(self) -> None:
        self._fault = None
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
        if self._fault is None:
            return data, False
        start = 0
        while (end := data.find(b"\n", start) + 1) > 0:
            if self._is_lost():
                half = (end - start) // 2 if self._fault.cut == "middle" else 0
                return data[: start + half], True
            start = end
        self._partial = b"" if self._skip else data[start:]
        return data[: len(data) - len(self._partial)], False

    def rest(self) -> bytes:
        """The beginning of an answer whose rest will never come."""
        rest, self._partial = self._partial, b""
        return rest

    def _is_lost(self) -> bool:
        assert self._fault is not None
        if self._skip:
            self._skip = False
            return False
        if self._counts and not self._counts.popleft():
            return False
        if self._count.passed < self._fault.after:
            self._count.passed += 1
            return False
        self._count.passed = 0
        return True
