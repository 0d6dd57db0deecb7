"""Events of a run, and the times of its faults, as the events give them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = [
    "ANSWERED_WRITES",
    "FORMER_PRIMARY",
    "PROMOTION",
    "SEMISYNC_OFF",
    "TWO_PRIMARIES",
    "UNAUDITED_WRITES",
    "UNMARKED",
    "USERS_CODE",
    "Event",
    "Former",
    "HistoryFaultWindow",
    "Lapse",
    "TwoPrimaries",
    "fault_key",
    "fault_windows",
    "former_primaries",
    "primaries_at_once",
    "semisync_lapses",
]

ANSWERED_WRITES = "answered-writes"
"""The kind of a worker's events that say from when to when (details `first` and `last`) a server answered on its connections
for writes, acknowledgements or refusals. In between there were no gaps longer than a batch."""
PROMOTION = "promotion"
"""The kind of the events that say which server became the primary. One that was seen from outside has `seen_within`: the
seconds before the event in which it happened. The server may have taken writes before, as a replica that was not read-only."""
TWO_PRIMARIES = "two-primaries"
"""The kind of the events that say that two servers were seen to take writes at once: `servers` (the primary before, and the one
that was promoted later, which also is the event's name), `first` and `last` (nanoseconds of the history's clock; `last` is None
until the end of the run)."""

FORMER_PRIMARY = "former-primary"
"""The kind of the events that say what was seen of a server after another one took its place: `promoted`, `open` and `closed`
(between which looks it took writes, or took none; pairs of nanoseconds of the history's clock), and `known` (whether the last
look said which)."""
SEMISYNC_OFF = "semisync-off"
"""The kind of the events that say that the commits of a primary waited for no replica, at some time between `first` and `last`
(nanoseconds of the history's clock; `last` is None until the end of the run). `commits`: how many did not, at least."""
USERS_CODE = "users-code"
"""The kind of a worker's events that say that it ran users in Python, of the class that is the event's name."""
UNAUDITED_WRITES = "unaudited-writes"
"""The kind of a worker's events that say that users in Python wrote to the audited table with a client of their own, or were
about to. The event's name is the table."""
UNMARKED = (ANSWERED_WRITES, FORMER_PRIMARY, USERS_CODE, UNAUDITED_WRITES)
"""Kinds of events that are no moment of the run to point at."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a run as a whole: `fault-started`, `fault-ended`, `promotion`, `phase`, ..."""

    time: int
    """Nanoseconds, by the clock of the history."""
    kind: str
    name: str = ""
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)


class HistoryFaultWindow(NamedTuple):
    """From when to when a fault was on. Until it had struck, and once its healing had begun, it may have been on, or partly."""

    name: str
    start: int
    """When it was requested. It was not on before."""
    end: int | None
    """When it had healed; None if no event of the history says so."""
    struck: int | None = None
    """When it had struck; None for a fault that happens at once, and if no event says so."""
    healing: int | None = None
    """When its healing began; None for a fault that happens at once, in old kept runs, and if no event says so."""

    @property
    def certain(self) -> tuple[int, int | None] | None:
        """From when to when it was certainly on; None if it is not known that it ever was.

        A fault that happens at once is on while it is injected.
        """
        if self.struck is None and self.end is None:
            return None
        return self.start if self.struck is None else self.struck, self.end if self.healing is None else self.healing


def fault_windows(events: Iterable[Event]) -> list[HistoryFaultWindow]:
    """The faults among the events, by their start. Each lasts from its `fault-started` to its `fault-ended`.

    A fault that could not strike is left out. A fault that did not heal lasts until the end.
    """
    on: dict[tuple[object, ...], HistoryFaultWindow] = {}
    windows = []
    for event in sorted(events, key=lambda event: event.time):
        key = fault_key(event)
        if event.kind == "fault-started":
            on.setdefault(key, HistoryFaultWindow(event.name, event.time, None))
        elif key not in on:
            continue
        elif event.kind == "fault-struck":
            on[key] = on[key]._replace(struck=event.time)
        elif event.kind == "fault-healing":
            on[key] = on[key]._replace(healing=event.time)
        elif event.kind == "fault-ended":
            windows.append(on.pop(key)._replace(end=event.time))
        elif event.kind == "fault-failed" and on[key].struck is None:
            del on[key]
    return sorted([*windows, *on.values()], key=lambda window: window.start)


def fault_key(event: Event) -> tuple[object, ...]:
    """What all events of one fault on one server have in common.

    The name is not enough: two faults of a scenario may have the same name and be on at once, and one may strike again before
    it has healed. Old kept runs have no `occurrence`.
    """
    return event.name, event.details.get("number"), event.details.get("occurrence")


class TwoPrimaries(NamedTuple):
    """From when to when two servers were seen to take writes at once. It may have begun earlier and ended later."""

    old: str
    new: str
    """The server that was promoted later."""
    first: int
    last: int | None
    """None: until the end of the run."""

    def holds(self, time: int) -> bool:
        return self.first <= time and (self.last is None or time <= self.last)


def primaries_at_once(events: Iterable[Event]) -> list[TwoPrimaries]:
    """When two servers were open for writes at once, by the first moment. A later event about the same pair and moment
    replaces an earlier one, which did not know the end yet."""
    found = {}
    for event in sorted(events, key=lambda event: event.time):
        if event.kind == TWO_PRIMARIES:
            old, new = event.details["servers"]
            one = TwoPrimaries(old, new, event.details["first"], event.details.get("last"))
            found[one[:3]] = one
    return sorted(found.values(), key=lambda one: one.first)


class Former(NamedTuple):
    """What was seen of a server after another one took its place."""

    server: str
    promoted: str
    """The server that took its place."""
    promoted_at: int
    """When that was seen."""
    until: int | None
    """When it was promoted again itself, at the earliest; None if it was not."""
    open: tuple[tuple[int, int], ...]
    """Between which looks it took writes."""
    closed: tuple[tuple[int, int], ...]
    """Between which looks it took none."""
    known: bool
    """Whether the last look said which of both it was."""

    def was_closed(self, start: int, end: int) -> bool:
        """Whether it took no writes at both ends of this time, and at each look in between."""
        return any(since <= start and end <= until for since, until in self.closed)

    def was_never_seen_open(self, start: int, end: int) -> bool:
        """Whether it was seen to take no writes before and after this time, and was silent at most in between, as a server that
        is starting is."""
        if not self.closed or start < self.closed[0][0] or end > self.closed[-1][1]:
            return False
        before = max(until for since, until in self.closed if since <= start)
        after = min((since for since, until in self.closed if until >= end), default=end)
        return not any(before <= since <= after for since, _ in self.open)


def former_primaries(events: Iterable[Event]) -> list[Former]:
    """The former primaries, as far as the events say what was seen of them, in the order of the promotions."""
    ordered = sorted(events, key=lambda event: event.time)
    promotions = [event for event in ordered if event.kind == PROMOTION]
    found, begin = [], 0
    for event in ordered:
        if event.kind != FORMER_PRIMARY:
            continue
        place = next((n for n in range(begin, len(promotions)) if promotions[n].name == event.details["promoted"]), None)
        if place is None:
            continue  # the promotion is missing in a damaged history
        begin = place + 1
        again = next((one for one in promotions[begin:] if one.name == event.name), None)
        until = None if again is None else again.time - round(again.details.get("seen_within", 0) * 1e9)
        looks = {name: tuple((since, last) for since, last in event.details[name]) for name in ("open", "closed")}
        promoted_at, known = promotions[place].time, event.details["known"]
        found.append(Former(event.name, event.details["promoted"], promoted_at, until, looks["open"], looks["closed"], known))
    return found


class Lapse(NamedTuple):
    """Commits of a primary waited for no replica, at some time between two moments."""

    server: str
    first: int
    last: int | None
    """None: until the end of the run."""
    commits: int
    """How many did not, at least."""


def semisync_lapses(events: Iterable[Event]) -> list[Lapse]:
    """When semi-synchronous replication was off, by the first moment."""
    found = [
        Lapse(event.name, event.details["first"], event.details["last"], event.details["commits"])
        for event in events
        if event.kind == SEMISYNC_OFF
    ]
    return sorted(found, key=lambda one: one.first)
