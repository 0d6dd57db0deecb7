"""In which order a promoted server lost writes: only the newest ones, or also some that are older than what it has. Pure.

A replica that applies what the primary logs, in that order, lacks the end of it when it is promoted. So whatever it has was
acknowledged before, or while, the first lost write was under way. A write that it has although it began after a lost one was
acknowledged proves that it left something out: the loss has holes, and what it has is no state that the primary ever had.
"""

from __future__ import annotations

from array import array

from hs_drill._counted import counted

from ._register import ENDLESS, Write
from ._takeover import Takeover

__all__ = ["OrderOfLoss", "reign_before"]


def reign_before(takeover: Takeover | None, *, at_once: bool) -> tuple[int, int] | None:
    """From when to when the promoted server certainly took no writes, and one other server took them. None if that is unknown:
    two servers took writes at once, or it is not known which servers answered."""
    if takeover is None or at_once:
        return None
    *earlier, last = takeover.primaries.promotions
    since = earlier[-1].latest if earlier else -ENDLESS
    if takeover.seen:
        return since, last.earliest
    answered = takeover.primaries.answered
    if not answered:
        return None
    # The event of a promotion of the run's own comes when the server has been taking writes for a moment.
    first = [begin for begin, _ in answered.get(last.server, ()) if begin > since]
    return since, min([*first, last.latest])


class OrderOfLoss:
    """Takes the writes of the primary before the promotion, lost ones and such that are there, one after the other.

    It keeps 8 bytes for each lost write.
    """

    def __init__(self, reign: tuple[int, int] | None) -> None:
        self._reign = reign
        self._lost = array("q")
        """When each ended."""
        self.newest = -ENDLESS
        """When the newest write began of which it is known that it is there."""
        self.newest_key = -ENDLESS

    def lost(self, write: Write) -> None:
        if self._within(write.start, write.end):
            self._lost.append(write.end)

    def survived(self, key: int, start: int, end: int) -> None:
        # Not only the time, so that the order of the rows does not matter.
        if (start, key) > (self.newest, self.newest_key) and self._within(start, end):
            self.newest, self.newest_key = start, key

    def merge(self, other: OrderOfLoss) -> None:
        self._lost.extend(other._lost)
        self.newest, self.newest_key = max((self.newest, self.newest_key), (other.newest, other.newest_key))

    def _within(self, start: int, end: int) -> bool:
        return self._reign is not None and self._reign[0] < start and end < self._reign[1]

    @property
    def known(self) -> bool:
        """Whether there is something to compare: a lost write, and one that is there."""
        return bool(self._lost) and self.newest > -ENDLESS

    @property
    def holes(self) -> int:
        """How many lost writes were acknowledged before a write began that is there."""
        return sum(end < self.newest for end in self._lost)

    def words(self, promoted: str, shown: str) -> str:
        """In one line. `shown` names the newest write that is there."""
        if not self.holes:
            return f"{promoted} lacked only the newest ones: nothing that it had began after a lost write was acknowledged"
        lost = counted(self.holes, "of the lost writes was", "of the lost writes were")
        return f"the loss has holes: {lost} acknowledged before a write began that {promoted} had ({shown})"
