"""Events of a run, and the windows of its faults that they add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["Event", "HistoryFaultWindow", "fault_key", "fault_windows"]


@dataclass(frozen=True)
class Event:
    """Something that happened to the run as a whole: `fault-started`, `fault-ended`, `promotion`, `phase`, ..."""

    time: int
    """Nanoseconds of the history's clock."""
    kind: str
    name: str = ""
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)


class HistoryFaultWindow(NamedTuple):
    """From when to when a fault was on. Before it had struck and once its healing had begun it was perhaps on, or in part."""

    name: str
    start: int
    """When it was asked for: before that it was not on."""
    end: int | None
    """When it had healed; None when nothing in the history ended it."""
    struck: int | None = None
    """When it was on; None for one that happens at once, and where nothing tells."""
    healing: int | None = None
    """When its healing began; None for one that happens at once, in old kept runs and where nothing ended it."""

    @property
    def certain(self) -> tuple[int, int | None] | None:
        """From when to when it was certainly on. One that happens at once is on while it is carried out. None for one that was
        never seen to be on."""
        if self.struck is None and self.end is None:
            return None
        return self.start if self.struck is None else self.struck, self.end if self.healing is None else self.healing


def fault_windows(events: Iterable[Event]) -> list[HistoryFaultWindow]:
    """The faults among the events, by their start: each lasts from its `fault-started` to its `fault-ended`.

    One that could not be put on is none; one that did not heal lasts until the end.
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
    """What the events of one fault on one server have in common. Two faults of a scenario may have the same name and be on at
    once, and one may come again before it has healed. (Old kept runs do not tell which time it was.)"""
    return event.name, event.details.get("number"), event.details.get("occurrence")
