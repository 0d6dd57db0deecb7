"""Finds the answer to lose. Requests are answered in order, so counting matches them; how, depends on the protocol."""

from __future__ import annotations

from collections import deque

from ._disturbances import DropReplies

__all__ = ["Count", "LineReplies", "Replies"]


class Count:
    """Counts answers since the last one was lost, on one connection or on all."""

    def __init__(self) -> None:
        self.passed = 0


class Replies:
    """Finds the answer to lose on one connection. `LineReplies` and `SqlReplies` know where an answer begins."""

    always = False
    """Whether it must see the connection from its first byte, also while it is not armed."""

    def __init__(self) -> None:
        self.lost_by: DropReplies | None = None
        """The disturbance by which an answer was lost."""
        self._armed: list[tuple[DropReplies, Count]] = []

    def arm(self, disturbance: DropReplies, total: Count, *, fresh: bool, at_boundary: bool) -> None:
        """Lose answers by this one too. `fresh`: nothing has passed yet; `at_boundary`: no half line was delivered."""
        self._armed.append((disturbance, total if disturbance.scope == "total" else Count()))

    def disarm(self, disturbance: DropReplies) -> None:
        self._armed = [one for one in self._armed if one[0] is not disturbance]

    def requests(self, data: bytes) -> None:
        """Remember which requests count."""
        raise NotImplementedError

    def answers(self, data: bytes) -> tuple[bytes, bool]:
        """Takes received bytes of answers. Returns those to deliver, and whether to cut the connection after them."""
        raise NotImplementedError

    def rest(self) -> bytes:
        """The beginning of an answer whose rest will never come."""
        return b""

    def _loses(self) -> DropReplies | None:
        """The disturbance by which the next answer is lost, if any. Of several it is the first, but all count the answer."""
        lost_by = None
        for disturbance, count in self._armed:
            count.passed += 1
            if count.passed > disturbance.after:
                count.passed = 0
                lost_by = lost_by or disturbance
        return lost_by


class LineReplies(Replies):
    """HandlerSocket: a line is an answer. While armed, it delivers whole answers: the next one may be lost."""

    def __init__(self) -> None:
        super().__init__()
        self._partial = b""
        self._skip = False
        self._counts: deque[bool] | None = None
        self._in_line = False

    def arm(self, disturbance: DropReplies, total: Count, *, fresh: bool, at_boundary: bool) -> None:
        if not self._armed:
            self._skip = not (at_boundary or self._partial)
            self._counts = deque() if fresh else None
        super().arm(disturbance, total, fresh=fresh, at_boundary=at_boundary)

    def disarm(self, disturbance: DropReplies) -> None:
        super().disarm(disturbance)
        if not self._armed:
            self._counts = None

    def requests(self, data: bytes) -> None:
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
        data, self._partial = self._partial + data, b""
        if not self._armed:
            return data, False
        start = 0
        while (end := data.find(b"\n", start) + 1) > 0:
            if (disturbance := self._loses()) is not None:
                self.lost_by = disturbance
                half = (end - start) // 2 if disturbance.cut == "middle" else 0
                return data[: start + half], True
            start = end
        self._partial = b"" if self._skip else data[start:]
        return data[: len(data) - len(self._partial)], False

    def rest(self) -> bytes:
        rest, self._partial = self._partial, b""
        return rest

    def _loses(self) -> DropReplies | None:
        if self._skip:
            self._skip = False
            return None
        if self._counts and not self._counts.popleft():
            return None
        return super()._loses()
