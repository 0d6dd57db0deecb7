"""A run's last promotion, and which server may have acknowledged a lost write: an old primary or the promoted one. Pure.

An old primary that was not fenced may take writes beside the promoted server: a split brain. The promoted server may lose
writes, too. `_primaries` says which server may have acknowledged a write.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Flag

from hs_drill.store import Event

from ._primaries import FIRST, Primaries, Promotion, either, primaries_of

__all__ = ["NOT_KNOWN", "By", "Share", "Takeover", "takeover_of"]

NOT_KNOWN = "which server acknowledged them is not known behind a router"


class By(Flag):
    """Which server acknowledged a write. Several together: one of them."""

    EARLIER = 1
    """Before the promotion, so it may have been any primary. At a promotion of the run's own: the write began before it."""
    OLD = 2
    """A former primary, or one that took writes beside a primary, after the promotion."""
    PROMOTED = 4
    UNKNOWN = OLD | PROMOTED


@dataclass
class Share:
    """How many of the lost writes are of one kind: at least, and at most."""

    least: int = 0
    most: int = 0

    def add(self, least: int, most: int) -> None:
        self.least += least
        self.most += most

    @property
    def were(self) -> str:
        """The verb that follows "of them"."""
        return "was" if self.least == self.most == 1 else "were"

    def __str__(self) -> str:
        return f"{self.least:,}" if self.least == self.most else f"between {self.least:,} and {self.most:,}"


@dataclass(frozen=True)
class Takeover:
    """The last promotion, of the server that was read back."""

    old: str
    """The former primary that may have acknowledged writes after the promotion, in words; several: one of them."""
    promoted: str
    start: int
    """From when on the server was the primary, in nanoseconds of the history's clock."""
    earliest: int | None = None
    """Until when it was not, if the promotion was seen from outside; None if it was the run's own."""
    primaries: Primaries = field(default_factory=Primaries, repr=False)

    @property
    def seen(self) -> bool:
        """Whether the promotion was seen from outside."""
        return self.earliest is not None

    def moment(self, origin: int, digits: int = 3) -> str:
        """When it happened, in seconds from `origin`, such as "at 6.000 s"."""
        earliest = self.start if self.earliest is None else self.earliest
        return _moment(Promotion(self.promoted, earliest, self.start, self.seen), origin, digits)

    def acknowledged_by(self, start: int, end: int) -> By:
        """Which server acknowledged a write between these times."""
        if self.earliest is None and start <= self.start:
            return By.EARLIER
        if self.earliest is not None and end <= self.earliest:
            return By.EARLIER
        by, former = By.UNKNOWN if self.primaries.routed else By(0), self._former
        for name in self.primaries.acknowledgers(start, end):
            if name == self.promoted:
                by |= By.PROMOTED
            else:
                by |= By.OLD if name in former else By.UNKNOWN
        return by | By.EARLIER if start <= self.start else by

    @property
    def _former(self) -> set[str]:
        """The servers that took writes before, or beside a primary."""
        return _former(self.primaries)

    def told(self, start: int, end: int, origin: int) -> str:
        """Which server acknowledged a write, and whether it was the primary, in words that follow "was acknowledged".

        Of promotions of the run's own, only the last one counts: "" before it.
        """
        names = self.primaries.acknowledgers(start, end)
        if self.seen:
            return _told(self.primaries.promotions, names, start, end, origin)
        by, seconds = self.acknowledged_by(start, end), f"{(end - self.start) / 1e9:.3f} s"
        if by is By.EARLIER:
            return ""
        if by is By.PROMOTED:
            return f" by {self.promoted} {seconds} after its promotion"
        server = f" by {either(names)}" if by is By.OLD else ""
        return f"{server} {seconds} after {self.promoted} had been promoted"


def takeover_of(events: Sequence[Event], primary: str, *, complete: bool, routed: bool = False) -> Takeover | None:
    """The run's last promotion; None if there was none, or if it was not that of `primary`, the server that was read back.

    `events` are in order of time. `complete`: they are of all workers. `routed`: clients reached the servers through a router.
    """
    primaries = primaries_of(events, complete=complete, routed=routed)
    if not primaries.promotions:
        return None
    last = primaries.promotions[-1]
    before = primaries.promotions[-2].server if len(primaries.promotions) > 1 else FIRST
    if last.server == before or last.server != primary:
        return None
    able = [name for name in _former(primaries) - {last.server} if not primaries.fenced(name, last.latest)]
    earliest = last.earliest if primaries.seen else None
    return Takeover(either(able or [before]), last.server, last.latest, earliest, primaries)


def _former(primaries: Primaries) -> set[str]:
    *earlier, last = primaries.promotions
    return {FIRST, *(one.server for one in earlier), *(primaries.beside - {last.server})}


# ---- in words


def _told(promotions: Sequence[Promotion], names: frozenset[str], start: int, end: int, origin: int) -> str:
    """Compares the write with the last time that its server was the primary, or with the last promotion if it may be any."""
    if len(names) == 1:
        (name,) = names
        return f" by {name}{_of_one(promotions, name, start, end, origin)}"
    by = f" by {either(names)}" if names else ", by which server is not known behind a router,"
    before = [one for one in promotions if one.earliest < end]
    if not before:
        comma = "," if names else ""
        return f"{by}{comma} before {promotions[0].server} was promoted ({_moment(promotions[0], origin)})"
    return f"{by}{_beside(before[-1], start, end, origin).removeprefix('' if names else ',')}"


def _of_one(promotions: Sequence[Promotion], name: str, start: int, end: int, origin: int) -> str:
    promoted = [one for one in promotions if one.server == name]
    reigns = [place for place, one in enumerate(promotions, 1) if one.server == name and one.earliest < end]
    if not reigns and name != FIRST:
        return (
            f", before it was promoted ({_moment(promoted[0], origin)})" if promoted else ", which was not seen to be promoted"
        )
    reign = reigns[-1] if reigns else 0
    if reign and start <= promotions[reign - 1].latest:
        return f", about when it was promoted ({_moment(promotions[reign - 1], origin)})"
    if reign == len(promotions):
        return f" {_after(promotions[-1], end)} after its promotion"
    ended = promotions[reign]
    if end <= ended.earliest:
        return f", which was the primary until {ended.server} was promoted {_moment(ended, origin)}"
    return _beside(ended, start, end, origin)


def _beside(promotion: Promotion, start: int, end: int, origin: int) -> str:
    if start <= promotion.latest:
        return f", about when {promotion.server} was promoted ({_moment(promotion, origin)})"
    return f" {_after(promotion, end)} after {promotion.server} had been promoted"


def _after(promotion: Promotion, time: int) -> str:
    least, most = (f"{(time - moment) / 1e9:.3f}" for moment in (promotion.latest, promotion.earliest))
    return f"{least} s" if least == most else f"{least} to {most} s"


def _moment(promotion: Promotion, origin: int, digits: int = 3) -> str:
    if not promotion.seen:
        return f"at {(promotion.latest - origin) / 1e9:.{digits}f} s"
    unit = 10**digits
    since = math.floor((promotion.earliest - origin) / 1e9 * unit) / unit
    until = math.ceil((promotion.latest - origin) / 1e9 * unit) / unit
    return f"between {since:.{digits}f} and {until:.{digits}f} s"
