"""A split brain: an old primary that was not fenced took writes beside the promoted one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hs_drill.store import Event, fault_windows

__all__ = ["SplitBrain", "split_brain", "takeover"]

FENCES = ("kill", "stop", "restart", "rejoin")
"""Faults that leave an old primary down or read-only: a server that is not the primary starts read-only."""
CUT_OFF = ("pause", "partition", "blackhole")
"""Faults during which a server acknowledges nothing to any client."""
HARMS = ("kill", "stop", "restart", "stop-listener")
"""Faults after which the new primary may have lost writes that it had acknowledged itself."""


@dataclass(frozen=True)
class SplitBrain:
    """The time in which the old primary may have acknowledged writes that are lost at the end."""

    old: str
    promoted: str
    start: int
    """When the other server had been promoted, in nanoseconds of the history's clock."""
    end: int | None
    """When the old primary was fenced; None when it never was."""
    cut_off: Sequence[tuple[int, int | None]] = ()
    """When no client got an answer of the old primary: from and until, None for until the end."""

    def explains(self, start: int, end: int) -> bool:
        """Whether the old primary acknowledged a lost write that began and ended then. Nothing shows that the new primary lost
        what it had acknowledged itself; so where the old one can have acknowledged the write, it did."""
        fenced = self.end is not None and self.end <= start
        cut_off = any(since <= end and (until is None or end <= until) for since, until in self.cut_off)
        return self.start < start and not fenced and not cut_off


def split_brain(events: Sequence[Event], primary: str) -> SplitBrain | None:
    """The split brain after a run's last promotion; None when there can have been none, or when the new primary was hit too and
    so may have lost writes of its own.

    `events` are in order of time; `primary` is the server that was read back.
    """
    promotions = [number for number, event in enumerate(events) if event.kind == "promotion"]
    if not promotions:
        return None
    last = promotions[-1]
    promoted = events[last].name
    old = events[promotions[-2]].name if len(promotions) > 1 else "writer"
    before, after = events[:last], events[last + 1 :]
    asked = [n for n, event in enumerate(before) if event.kind == "fault-started" and event.name == f"promote {promoted}"]
    # An old primary that comes back during the promotion may be read-only already.
    fenced = _down(before, old) or _down(before[: asked[-1]] if asked else before, old)
    if promoted == old or promoted != primary or fenced or _on(before, f"switch-over {promoted}"):
        return None
    if any(event.kind in ("fault-started", "death") and _hits(event, promoted, HARMS) for event in after):
        return None
    return SplitBrain(old, promoted, events[last].time, _fenced_at(after, old), _cut_off(events, old))


def _cut_off(events: Sequence[Event], server: str) -> list[tuple[int, int | None]]:
    """When the server was certainly cut off from all clients, by faults that were on."""
    names = [f"{fault} {server}" for fault in CUT_OFF]
    windows = (window for window in fault_windows(events) if window.name in names and window.struck is not None)
    return [(window.struck or 0, window.end if window.healing is None else window.healing) for window in windows]


def takeover(events: Sequence[Event], primary: str) -> int | None:
    """When the server that was read back had been promoted; None when it was not, or another one after it."""
    promotions = [event for event in events if event.kind == "promotion"]
    return promotions[-1].time if promotions and promotions[-1].name == primary else None


def _fenced_at(events: Sequence[Event], server: str) -> int | None:
    """When an old primary was fenced; None when it never was."""
    kinds = ("fault-struck", "fault-ended", "death")
    return next((event.time for event in events if event.kind in kinds and _hits(event, server, FENCES)), None)


def _down(events: Sequence[Event], primary: str) -> bool:
    """Whether the primary is down at the end of these events. When it is started again as the primary, it is writable."""
    died = any(event.kind == "death" and event.name == primary for event in events)
    return died or any(_on(events, f"{fault} {primary}") for fault in FENCES)


def _on(events: Sequence[Event], fault: str) -> bool:
    """Whether a fault is on at the end of these events."""
    kinds = [event.kind for event in events if event.name == fault and event.kind.startswith("fault-")]
    return bool(kinds) and kinds[-1] not in ("fault-ended", "fault-failed")


def _hits(event: Event, server: str, faults: Sequence[str]) -> bool:
    if event.kind == "death":
        return event.name == server
    return event.name in [f"{fault} {server}" for fault in faults]
