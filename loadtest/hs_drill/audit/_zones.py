"""Whether the writes and reads of one row are linearizable: could they have happened one after the other, each at a moment
between its start and its end? Pure.

Every write leaves another state (its version), so each read says which write it saw. Then this can be decided exactly, by
sorting (P. B. Gibbons and E. Korach, "Testing shared memories", SIAM Journal on Computing 26, 1997):

1. A write and the reads that saw it are a cluster: in any order that explains them, nothing of another state is between them.
   The state from before the run is a cluster, too; it comes first.
2. A cluster must come before another one if any of its operations ended before any of the other's began. So two numbers of a
   cluster matter: its first end and its last start. The times between them are its zone.
3. Clusters can be put in order unless two of them must each come before the other. (If A must precede B, and C must precede D,
   then the first end of A or that of C is before both last starts: A must precede D, or C must precede B. So the shortest
   circle has two members.)
4. Such a pair has a zone that runs forward (its first end is before its last start). The other zone overlaps it, or, if it
   runs backward, lies within it.

A write of unknown outcome belongs to the order only if somebody saw it. It took effect before the first such read ended,
which is all that is known of its end. If nobody saw it, leaving it out contradicts nothing.

Deletes leave the same state, no row. If the row did not exist before the run either, a read that found nothing may have come
before everything else or after a delete. It can have come first exactly if nothing that certainly happened, beside such reads,
ended before it began. Where it can, that is assumed: it only takes a constraint off a delete. For a row that one delete removed
this is exact, too. If several deletes may have left what a read saw, the row is examined without that read: a contradiction is
certain then, but if there is none, nothing is known. (In general the question is NP-complete.)
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from hs_drill.store import Outcome
from hs_drill.workload import ABSENT

from ._register import ENDLESS, Read, Register, Write

__all__ = ["Contradiction", "Examined", "examine"]

_FIRST = ENDLESS
"""Stands for `ABSENT` from before the run, if deletes leave it as well."""


class Contradiction(NamedTuple):
    """Operations that no order explains: `older` ended before `newer` began, and `newest` ended before `again` began.

    The outer two are of one state, and so are the inner two, which may be the same operation. Or the inner one is a read that
    found no row, after something had happened to it and before the first delete.
    """

    older: Write | Read | None
    """None: it is the state from before the run, which came before everything."""
    newer: Write | Read
    newest: Write | Read
    again: Write | Read


class Examined(NamedTuple):
    """What is known about a row."""

    contradiction: Contradiction | None
    undecided: bool = False
    """There is no contradiction without the reads of which it is not known which write they saw."""
    left_out: bool = False
    """Some reads show what no write can have left by then."""


_NOTHING = Examined(None)


class _Zone(NamedTuple):
    first_end: int
    last_start: int
    state: int


def examine(register: Register, writes: Sequence[Write], reads: Sequence[Read]) -> Examined:
    """Examine a row. The register was made of its writes. Reads that show what no write left, or what a write left that began
    after they had ended, are left out."""
    seen = _seen(reads)
    if register.shared.isdisjoint(seen) and _is_consistent(register, seen):
        return _NOTHING
    sources = register.sources
    known = [read for read in reads if read.state in sources and sources[read.state].earliest <= read.end]
    return _examine(register.before, writes, known)._replace(left_out=len(known) < len(reads))


def _is_consistent(register: Register, seen: Mapping[int, Sequence[int]]) -> bool:
    """Whether there is no contradiction, if each state that was read has one source. What the register has sorted is enough for
    that: a write that nobody read contradicts a zone exactly if it lies within it."""
    zones, forward = [], False
    for state, (end, start) in seen.items():
        source = register.sources.get(state)
        if source is None or end < source.earliest:
            return False
        first_end, last_start = min(end, source.latest), max(start, source.earliest)
        if first_end < last_start:
            if register.has_write_within(first_end, last_start):
                return False
            forward = True
        zones.append((first_end, last_start, state))
    return not forward or len(zones) == 1 or _pair([_Zone(*zone) for zone in zones]) is None


def _examine(before: int, writes: Sequence[Write], reads: Sequence[Read]) -> Examined:
    if before == ABSENT:
        deletes = [write for write in writes if write.state == ABSENT and write.outcome is not Outcome.FAIL]
        if deletes:
            happened: list[Write | Read] = [*writes, *reads]
            first = min(filter(_is_something, happened), key=_end, default=None)
            before, reads = _FIRST, _told_apart(reads, ENDLESS if first is None else first.end)
            delete = min(deletes)
            early = min((read for read in reads if read.state == ABSENT), key=_end, default=None)
            if first is not None and early is not None and early.end < delete.start:
                return Examined(Contradiction(first, early, early, delete))
    zones, shared = _zones(before, writes, reads)
    if shared:
        reads = [read for read in reads if read.state not in shared]
        zones, _ = _zones(before, writes, reads)
    pair = _pair(zones)
    if pair is None:
        return Examined(None, undecided=bool(shared))
    around, inner = (_cluster(zone.state, writes, reads) for zone in pair)
    older = None if pair[0].state == before else min(around, key=_end)
    newest = min(inner, key=_end)
    newer = newest if older is None or older.end < newest.start else max(inner, key=_start)
    return Examined(Contradiction(older, newer, newest, max(around, key=_start)))


def _is_something(one: Write | Read) -> bool:
    """Whether it certainly happened, and is no read that found no row."""
    return one.outcome is Outcome.OK if isinstance(one, Write) else one.state != ABSENT


def _told_apart(reads: Sequence[Read], until: int) -> list[Read]:
    """The reads; those that found no row and can have come first show `_FIRST`."""
    return [read._replace(state=_FIRST) if read.state == ABSENT and read.start <= until else read for read in reads]


def _seen(reads: Iterable[Read]) -> dict[int, list[int]]:
    """By the states that were read: the first end and the last start of such a read."""
    seen: dict[int, list[int]] = {}
    for start, end, state, *_ in reads:
        zone = seen.get(state)
        if zone is None:
            seen[state] = [end, start]
        else:
            if end < zone[0]:
                zone[0] = end
            if start > zone[1]:
                zone[1] = start
    return seen


def _zones(before: int, writes: Iterable[Write], reads: Iterable[Read]) -> tuple[list[_Zone], set[int]]:
    """The zones, and the states that were read and that several writes may have left."""
    seen = _seen(reads)
    zones: list[_Zone] = []
    known, shared, failed = {before}, set[int](), Outcome.FAIL
    if before in seen:
        zones.append(_Zone(-ENDLESS, seen[before][1], before))
    for start, end, state, _, outcome, _ in writes:
        if outcome is failed:
            continue
        zone = seen.get(state)
        if zone is None:
            zones.append(_Zone(end, start, state))  # of unknown outcome, it never ends, and contradicts nothing
            continue
        if state in known:
            shared.add(state)
        known.add(state)
        zones.append(_Zone(min(end, zone[0]), max(start, zone[1]), state))
    return zones, shared


def _pair(zones: list[_Zone]) -> tuple[_Zone, _Zone] | None:
    """Two zones whose clusters must each come before the other; the first one runs forward. None if there are none.

    Of several pairs one that shows early.
    """
    forward = sorted(zone for zone in zones if zone.first_end < zone.last_start)
    if not forward:
        return None
    first_ends = [zone.first_end for zone in forward]
    longest = list(accumulate(forward, _longer))
    """Of the forward zones up to each: the one with the last start of all."""
    pairs = [(longest[place], zone) for place, zone in enumerate(forward[1:]) if longest[place].last_start > zone.first_end]
    for zone in zones:
        if zone.first_end >= zone.last_start:
            place = bisect_left(first_ends, zone.last_start)
            if place and longest[place - 1].last_start > zone.first_end:
                pairs.append((longest[place - 1], zone))
    return min(pairs, key=lambda pair: max(pair[0].last_start, pair[1].last_start), default=None)


def _longer(one: _Zone, other: _Zone) -> _Zone:
    return other if other.last_start > one.last_start else one


def _cluster(state: int, writes: Iterable[Write], reads: Iterable[Read]) -> list[Write | Read]:
    of_state: list[Write | Read] = [read for read in reads if read.state == state]
    return of_state + [write for write in writes if write.state == state and write.outcome is not Outcome.FAIL]


def _start(one: Write | Read) -> int:
    return one.start


def _end(one: Write | Read) -> int:
    return one.end
