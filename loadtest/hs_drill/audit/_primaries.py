"""A run's primaries, one after the other, and which of them may have acknowledged a write. Pure.

A history does not say which server acknowledged a write. But it says when each server answered requests of the clients'
connections for writes, when the faults left a server out of their reach, and when servers were promoted.

A promotion of the run's own is over when its event is written. One that was only seen (`seen_within`) happened some time
before. And on servers that are not the run's own a killed server may be started again by something else, and be writable then.
So there only faults of the network, which are in the run's own proxies, keep a server out of reach.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from hs_drill.scenario import Fault, NetworkFault, kind_of
from hs_drill.store import ANSWERED_WRITES, PROMOTION, Event, fault_windows, primaries_at_once

__all__ = ["Primaries", "Promotion", "either", "primaries_of"]

FIRST = "writer"
"""The primary at the start of a run."""
FOREVER = 2**62


def either(servers: Iterable[str]) -> str:
    """Servers in words, of which one did it."""
    *others, last = sorted(servers)
    return f"{', '.join(others)} or {last}" if others else last


class Promotion(NamedTuple):
    """When a server became the primary."""

    server: str
    earliest: int
    """Until then it was not the primary. Nanoseconds of the history's clock, as `latest` is."""
    latest: int
    """From then on it was the primary."""
    seen: bool
    """It was seen from outside, so the moment is not known exactly."""
    place: int = 0
    """The number of its event."""


@dataclass(frozen=True)
class Primaries:
    """The primaries of a run."""

    promotions: Sequence[Promotion] = ()
    """By time."""
    beside: frozenset[str] = frozenset()
    """Servers that were seen to take writes beside the primary."""
    unreachable: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)
    """When a server certainly acknowledged nothing: it was down, read-only or cut off. Sorted."""
    answered: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict, repr=False)
    """When each server answered on connections for writes. Sorted. Empty if the histories do not say so."""
    routed: bool = False
    """Clients reached the servers through a router, which may have led them to any server, also to one that is not named."""

    @property
    def seen(self) -> bool:
        """Whether the servers are not the run's own, and it was seen from outside which ones took writes."""
        return bool(self.beside) or any(promotion.seen for promotion in self.promotions)

    def acknowledgers(self, start: int, end: int) -> frozenset[str]:
        """The servers of which one has acknowledged a write between these times. None behind a router: it may be any server."""
        if self.routed:
            return frozenset()
        ever = self._ever(end)
        possible = frozenset(name for name, times in self.answered.items() if _meets(times, start, end))
        if self.seen and possible & ever:
            possible &= ever  # the others were never seen to take writes
        elif self.seen or not possible:
            possible |= ever
        able = possible - self._unreachable(start, end)
        return able or ever - self._unreachable(start, end) or possible

    def fenced(self, server: str, since: int) -> bool:
        """Whether a server certainly acknowledged nothing from this time on."""
        return any(start <= since and end == FOREVER for start, end in self.unreachable.get(server, ()))

    def _ever(self, end: int) -> frozenset[str]:
        """The servers that have been the primary. If that was only seen, they may have taken writes before."""
        promoted = {one.server for one in self.promotions if self.seen or one.earliest < end}
        return self.beside | {FIRST} | promoted

    def _unreachable(self, start: int, end: int) -> set[str]:
        windows = self.unreachable.items()
        return {name for name, times in windows if any(since <= start and end <= until for since, until in times)}


def _meets(times: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    """Whether one of these times overlaps with the one from `start` to `end`."""
    began = bisect_right(times, end, key=lambda time: time[0])
    return began > 0 and start <= times[began - 1][1]


def primaries_of(events: Sequence[Event], *, complete: bool, routed: bool = False) -> Primaries:
    """The primaries of the run with these events, which are in order of time. `complete`: they are of all workers. `routed`:
    clients reached the servers through a router."""
    promotions, at_once = _promotions(events), primaries_at_once(events)
    beside = frozenset(name for one in at_once for name in (one.old, one.new))
    times: dict[str, list[tuple[int, int]]] = {}
    for event in events if complete else ():
        if event.kind == ANSWERED_WRITES:
            times.setdefault(event.name, []).append((event.details["first"], event.details["last"]))
    answered = {name: _joined(some) for name, some in times.items()}
    primaries = Primaries(promotions, beside, {}, answered, routed)
    return replace(primaries, unreachable=_unreachable(events, primaries))


def _promotions(events: Sequence[Event]) -> list[Promotion]:
    """A server that is promoted while it is the primary is none, if that was seen: two events tell of one promotion."""
    promotions: list[Promotion] = []
    for place, event in enumerate(events):
        if event.kind != PROMOTION:
            continue
        within = event.details.get("seen_within")
        earliest = event.time if within is None else event.time - round(within * 1e9)
        one = Promotion(event.name, earliest, event.time, within is not None, place)
        last = promotions[-1] if promotions else None
        if last is None or last.server != one.server or not (last.seen or one.seen):
            if last is not None or not one.seen or one.server != FIRST:
                promotions.append(one)
        elif not last.seen:
            promotions[-1] = last._replace(earliest=min(one.earliest, last.latest), seen=True)
    return promotions


def _joined(windows: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The windows, sorted; those that touch are joined."""
    joined: list[tuple[int, int]] = []
    for since, until in sorted(windows):
        if joined and since <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(until, joined[-1][1])
        else:
            joined.append((since, until))
    return joined


# ---- when a server certainly acknowledged nothing


def _unreachable(events: Sequence[Event], primaries: Primaries) -> dict[str, list[tuple[int, int]]]:
    promotions = primaries.promotions
    if primaries.seen:
        names = {*primaries.beside, FIRST, *(promotion.server for promotion in promotions)}
        return {name: _out_of_reach(events, partial(_cuts_off, server=name)) for name in names}
    return {name: _of_old_primary(events, promotion, name) for name, promotion in _replaced(promotions).items()}


def _replaced(promotions: Sequence[Promotion]) -> dict[str, Promotion]:
    """The former primaries but the last promoted server, and the promotion that ended the last time of each as the primary."""
    names = [FIRST, *(promotion.server for promotion in promotions)]
    ended = dict(zip(names, promotions, strict=False))
    return {name: promotion for name, promotion in ended.items() if name != names[-1]}


def _of_old_primary(events: Sequence[Event], promotion: Promotion, old: str) -> list[tuple[int, int]]:
    since = _fenced_at(events, promotion.place, old)
    fenced = [(since, FOREVER)] if since is not None else []
    return _joined([*fenced, *_out_of_reach(events, partial(_silences, server=old))])


def _out_of_reach(events: Sequence[Event], wanted: Callable[[Event], bool]) -> list[tuple[int, int]]:
    """When one of the wanted faults was certainly on."""
    certain = [window.certain for window in fault_windows(event for event in events if wanted(event))]
    return _joined((times[0], FOREVER if times[1] is None else times[1]) for times in certain if times is not None)


def _cuts_off(event: Event, server: str) -> bool:
    """Whether an event is of a fault of the network during which the server acknowledges nothing to any client."""
    return issubclass(_fault_of(event, server), NetworkFault) and _silences(event, server)


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
