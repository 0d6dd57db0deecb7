"""The checker of a split brain: two servers were seen to take writes at once. Unlike all others it is about the servers.

It exists only for a run in which that was seen: `TWO_PRIMARIES` in `store._events`. Nothing that is missing in a history
explains it, so it is false in any case. Which server acknowledged a write is told as far as `_primaries` knows it.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import Self

from hs_drill._counted import counted
from hs_drill.store import TwoPrimaries

from ._checker import MAX_FINDINGS, Check, Checker, Context, Finding, Validity
from ._register import Write
from ._row_history import RowHistory

__all__ = ["SplitBrain", "split_brain_line"]

MOST_TOLD = 3
"""Of the times at which two servers were open for writes at once."""


def split_brain_line(at_once: Sequence[TwoPrimaries], origin: int) -> str:
    """From when to when two servers were open for writes at once, in one line. Times count from `origin`."""
    return _together([_when(one, origin) for one in at_once])


def _when(one: TwoPrimaries, origin: int) -> str:
    since = f"{(one.first - origin) / 1e9:.3f}"
    until = " s until the end of the run" if one.last is None else f" to {(one.last - origin) / 1e9:.3f} s"
    return f"{one.old} and {one.new} were both open for writes from {since}{until}"


def _together(told: Sequence[str]) -> str:
    if len(told) == 1:
        return told[0]
    more = [f"and {counted(len(told) - MOST_TOLD, 'more time', 'more times')}"] if len(told) > MOST_TOLD else []
    return f"{len(told):,} times two servers were open for writes at once: {'; '.join([*told[:MOST_TOLD], *more])}"


class SplitBrain(Checker):
    """Two servers never take writes at once. Its findings are writes of that time: the first ones of each server."""

    name = "split_brain"
    needs_final = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.total = Counter[str]()
        """How many writes each server acknowledged while two took writes; "" stands for those of which it is not known which
        server did."""
        self.acknowledged: list[Counter[str]] = [Counter() for _ in context.two_primaries]
        """The same for each time."""
        self._earliest: dict[tuple[int, str], list[tuple[int, int, str]]] = defaultdict(list)
        """End, key and words of the first writes, by time and server."""

    def check_row(self, row: RowHistory) -> None:
        if not self.context.one_clock:
            return
        for start, end, what in row.acknowledged():
            self._add(row.key, start, end, what)

    def _add(self, key: int, start: int, end: int, what: Write | str) -> None:
        places = [place for place, one in enumerate(self.context.two_primaries) if one.holds(end)]
        if not places:
            return
        names = self.context.primaries.acknowledgers(start, end)
        (server,) = names if len(names) == 1 else ("",)
        self.total[server] += 1
        for place in places:
            self.acknowledged[place][server] += 1
            earliest = self._earliest[place, server]
            if len(earliest) < MAX_FINDINGS or (end, key) <= earliest[-1][:2]:
                words = what if isinstance(what, str) else self.context.describe(what)
                insort(earliest, (end, key, f"{words} was acknowledged {_by(server, self.context.two_primaries[place])}"))
                del earliest[MAX_FINDINGS:]

    def merge(self, other: Self) -> None:
        super().merge(other)
        self.total.update(other.total)
        for ours, theirs in zip(self.acknowledged, other.acknowledged, strict=True):
            ours.update(theirs)
        for place, earliest in other._earliest.items():
            self._earliest[place] = sorted([*self._earliest[place], *earliest])[:MAX_FINDINGS]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The first write of each server, then the second ones, and so on."""
        at_once = self.context.two_primaries
        # Where only the new primary acknowledged writes, none of these is evidence of anything.
        shown = {place for place, one in enumerate(at_once) if set(self.acknowledged[place]) - {one.new}}
        order = [(place, server) for place, one in enumerate(at_once) for server in (one.old, one.new)]
        order += [place for place in sorted(self._earliest) if place not in order]
        tiers = zip_longest(*(self._earliest.get((place, server), ()) for place, server in order if place in shown))
        found = [one for one in chain.from_iterable(tiers) if one is not None]
        return tuple(self.context.finding(key, line, end) for end, key, line in found[:MAX_FINDINGS])

    def result(self) -> Check:
        lines = [self._line(place, one) for place, one in enumerate(self.context.two_primaries)]
        by_server = {f"by_{name}": number for name, number in sorted(self.total.items()) if name}
        self.measured = {"writes": self.total.total(), **by_server}
        unknown = f" (which writes is not fully known: {'; '.join(self.context.missing)})" if self.context.missing else ""
        return self._found(f"{_together(lines)}{unknown}")

    def _line(self, place: int, one: TwoPrimaries) -> str:
        line = _when(one, self.context.origin)
        if not self.context.one_clock:
            return line
        writes = self.acknowledged[place]
        if set(writes) == {""}:
            least = "at least " if self.context.missing else ""
            acknowledged = counted(writes[""], "write was", "writes were")
            return f"{line}; {least}{acknowledged} acknowledged in that time; which server acknowledged them is not known"
        least = "at least " if self.context.missing or writes[""] else ""
        by = [f"{name} {least}{counted(writes[name], 'write')}{self._first_of(place, name)}" for name in _in_order(writes, one)]
        more = f"; of {writes['']:,} more it is not known which server acknowledged them" if writes[""] else ""
        return f"{line}, and acknowledged in that time: {', '.join(by)}{more}"

    def _first_of(self, place: int, server: str) -> str:
        for end, key, line in self._earliest.get((place, server), ())[:1]:
            found = self.context.finding(key, line, end)
            return f" (the first: key {found.primary or found.key} at {found.time:.3f} s)"
        return ""

    def crashed(self, error: Exception) -> Check:
        """Two servers were open for writes at once, whatever is known about their writes."""
        when = split_brain_line(self.context.two_primaries, self.context.origin)
        return self._found(f"{when}; {super().crashed(error).explanation}")

    def _found(self, explanation: str) -> Check:
        self.count = len(self.context.two_primaries)
        return self._check(Validity.FALSE, explanation)


def _by(server: str, one: TwoPrimaries) -> str:
    if not server:
        return f"while {one.old} and {one.new} were both open for writes"
    others = [other for other in (one.old, one.new) if other != server]
    return f"by {server}, while {' and '.join(others)} {'was' if len(others) == 1 else 'were'} open for writes too"


def _in_order(writes: Iterable[str], one: TwoPrimaries) -> list[str]:
    return list(dict.fromkeys([one.old, one.new, *sorted(name for name in writes if name)]))
