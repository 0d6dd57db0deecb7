"""A run's last promotion, and which server may have acknowledged a lost write: the old primary or the promoted one. Pure.

An old primary that was not fenced may take writes beside the promoted server: a split brain. The promoted server may lose
writes, too. A history does not say which server acknowledged a write. But it says when each server answered requests of the
clients' connections for writes, and when the faults left the old primary out of their reach.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from hs_drill.scenario import Fault, NetworkFault, kind_of
from hs_drill.store import ANSWERED_WRITES, Event, fault_windows

__all__ = ["By", "Share", "Takeover", "takeover_of"]

FOREVER = 2**62


class By(Enum):
    """Which server acknowledged a write."""

    EARLIER = auto()
    """The write began before the promotion, so it may have been any primary."""
    OLD = auto()
    PROMOTED = auto()
    UNKNOWN = auto()
    """The old primary or the promoted server."""


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
    promoted: str
    start: int
    """When the server had been promoted, in nanoseconds of the history's clock."""
    unreachable: Sequence[tuple[int, int]] = ()
    """When the old primary certainly acknowledged nothing: it was down, read-only or cut off. Sorted."""
    answered: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict, repr=False, hash=False)
    """When each server answered on connections for writes. Sorted. Empty if the histories do not say so."""

    def acknowledged_by(self, start: int, end: int) -> By:
        """Which server acknowledged a write between these times."""
        if start <= self.start:
            return By.EARLIER
        answering = {name for name, times in self.answered.items() if _meets(times, start, end)}
        if any(since <= start and end <= until for since, until in self.unreachable):
            answering = answering - {self.old} or {self.promoted}
        if answering == {self.old}:
            return By.OLD
        return By.PROMOTED if answering == {self.promoted} else By.UNKNOWN


def _meets(times: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    """Whether one of these times overlaps with the one from `start` to `end`."""
    began = bisect_right(times, end, key=lambda time: time[0])
    return began > 0 and start <= times[began - 1][1]


def takeover_of(events: Sequence[Event], primary: str, *, complete: bool) -> Takeover | None:
    """The run's last promotion; None if there was none, or if it was not that of `primary`, the server that was read back.

    `events` are in order of time. `complete`: they are of all workers.
    """
    promotions = [number for number, event in enumerate(events) if event.kind == "promotion"]
    if not promotions:
        return None
    last = promotions[-1]
    promoted = events[last].name
    old = events[promotions[-2]].name if len(promotions) > 1 else "writer"
    if promoted == old or promoted != primary:
        return None
    times: dict[str, list[tuple[int, int]]] = {}
    for event in events if complete else ():
        if event.kind == ANSWERED_WRITES:
            times.setdefault(event.name, []).append((event.details["first"], event.details["last"]))
    answered = {name: _joined(some) for name, some in times.items()}
    return Takeover(old, promoted, events[last].time, _unreachable(events, last, old), answered)


def _joined(windows: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The windows, sorted; those that touch are joined."""
    joined: list[tuple[int, int]] = []
    for since, until in sorted(windows):
        if joined and since <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(until, joined[-1][1])
        else:
            joined.append((since, until))
    return joined


def _unreachable(events: Sequence[Event], promotion: int, old: str) -> list[tuple[int, int]]:
    """When the old primary certainly acknowledged nothing."""
    windows = [(since, FOREVER) for since in [_fenced_at(events, promotion, old)] if since is not None]
    for window in fault_windows(event for event in events if _silences(event, old)):
        if window.certain is not None:
            since, until = window.certain
            windows.append((since, FOREVER if until is None else until))
    return _joined(windows)


def _silences(event: Event, server: str) -> bool:
    """Whether an event is of a fault during which the server acknowledges nothing to any client."""
    kind = _fault_of(event, server)
    # Old kept runs do not have the listener; then it may have been the one for reads.
    return kind.silences and (not issubclass(kind, NetworkFault) or event.details.get("listener") in ("both", "write"))


def _fenced_at(events: Sequence[Event], promotion: int, old: str) -> int | None:
    """When the old primary was fenced for the rest of the run; None if it never was."""
    before, after, promoted = events[:promotion], events[promotion + 1 :], events[promotion].name
    asked = [n for n, event in enumerate(before) if event.kind == "fault-started" and _fault_of(event, promoted).promotes]
    # An old primary that comes back during the promotion may be read-only already.
    if (
        _down(before, old)
        or _down(before[: asked[-1]] if asked else before, old)
        or _on(before, promoted, lambda kind: kind.demotes)
    ):
        return events[promotion].time
    kinds = ("fault-struck", "fault-ended", "death")
    return next((event.time for event in after if event.kind in kinds and _fences(event, old)), None)


def _down(events: Sequence[Event], primary: str) -> bool:
    """Whether the primary is down at the end of these events. When it is started again as the primary, it is writable."""
    died = any(event.kind == "death" and event.name == primary for event in events)
    return died or _on(events, primary, lambda kind: kind.fences)


def _on(events: Sequence[Event], server: str, wanted: Callable[[type[Fault]], bool]) -> bool:
    """Whether one of the wanted kinds of faults is on, on this server, at the end of these events."""
    last = {event.name: event.kind for event in events if event.kind.startswith("fault-") and wanted(_fault_of(event, server))}
    return any(kind not in ("fault-ended", "fault-failed") for kind in last.values())


def _fault_of(event: Event, server: str) -> type[Fault]:
    """The kind of fault on this server that the event is about; `Fault`, which has no effect, if it is about none."""
    return kind_of(event.name) if event.name.partition(" ")[2] == server else Fault


def _fences(event: Event, server: str) -> bool:
    if event.kind == "death":
        return event.name == server
    return _fault_of(event, server).fences
