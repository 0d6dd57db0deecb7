"""The checker of the fence: since another server took its place, a former primary took no writes.

It exists only for a run in which a promotion was seen: `FORMER_PRIMARY` in `store._events`. Looks at a server are moments. What
was acknowledged between two of them is known from the histories, as far as `_primaries` knows which server did it. Rows that
were inserted, never changed, and are there at the end are left out: those inserts have reached the new primary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Self

from hs_drill._counted import counted
from hs_drill.store import Former

from ._checker import Check, Checker, Context, Validity
from ._register import Write
from ._row_history import RowHistory

__all__ = ["Fenced"]

MOST_TOLD = 3
"""Of the times at which a former primary was open for writes."""


class Fenced(Checker):
    """No former primary is open for writes, nor acknowledges one. Its findings are such writes."""

    name = "fenced"
    needs_final = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._acknowledged = Counter[int]()
        """How many writes each former primary, by its place, certainly acknowledged after the promotion."""
        self._perhaps = Counter[int]()
        """How many more it may have acknowledged."""

    def check_row(self, row: RowHistory) -> None:
        if not self.context.one_clock:
            return
        for start, end, what in row.acknowledged():
            self._add(row.key, start, end, what)

    def _add(self, key: int, start: int, end: int, what: Write | str) -> None:
        for place, one in enumerate(self.context.former):
            # A write that began before the promotion was seen may have been acknowledged before it.
            if start < one.promoted_at or (one.until is not None and end > one.until) or one.was_closed(start, end):
                continue
            names = self.context.primaries.acknowledgers(start, end)
            if names and one.server not in names:
                continue
            certain = len(names) == 1
            if not certain and one.was_never_seen_open(start, end):
                continue
            (self._acknowledged if certain else self._perhaps)[place] += 1
            words = what if isinstance(what, str) else self.context.describe(what)
            by = f"by {one.server}," if names else "by which server is not known behind a router,"
            line = f"{words} was acknowledged{'' if names else ','} {by} after {one.promoted} had been promoted"
            self.add_finding(key, line, end, certain=certain)

    def merge(self, other: Self) -> None:
        super().merge(other)
        self._acknowledged.update(other._acknowledged)
        self._perhaps.update(other._perhaps)

    def result(self) -> Check:
        former = self.context.former
        missing = "; ".join(self.context.missing)
        line = "; ".join(self._line(place, one) for place, one in enumerate(former))
        self.measured = {"acknowledged": self._acknowledged.total(), "open": sum(len(one.open) for one in former)}
        if self.count or any(one.open for one in former):
            return self._check(Validity.FALSE, line)
        if missing:
            return self._check(Validity.UNKNOWN, f"{line}; cannot be checked fully: {missing}")
        unknown = self.possible or not all(one.known and one.closed for one in former)
        return self._check(Validity.UNKNOWN if unknown else Validity.TRUE, line)

    def _line(self, place: int, one: Former) -> str:
        return f"{one.server}, after {one.promoted} was promoted, {', and '.join(self._said(place, one))}"

    def _said(self, place: int, one: Former) -> Iterator[str]:
        sure, perhaps = self._acknowledged[place], self._perhaps[place]
        if one.open:
            times = [f"from {self._seconds(since)} to {self._seconds(until)} s" for since, until in one.open[:MOST_TOLD]]
            more = f", and {counted(len(one.open) - MOST_TOLD, 'more time')}" if len(one.open) > MOST_TOLD else ""
            yield f"was open for writes {', '.join(times)}{more}"
        elif not one.closed:
            yield "never said whether it was open for writes"
        elif not one.known:
            yield f"was closed for writes when it was last seen, at {self._seconds(one.closed[-1][1])} s, and silent later"
        else:
            yield "was never seen open for writes"
        some = f", and perhaps {perhaps:,} more" if perhaps and sure else f", or perhaps {perhaps:,}" if perhaps else ""
        first = f" ({self._first()})" if sure or perhaps else ""
        yield f"acknowledged {counted(sure, 'write') if sure else 'none'}{some}{first}"

    def _seconds(self, time: int) -> str:
        return f"{self.context.seconds(time):.3f}"
