"""What the users of a row saw of it, in the order of each user's operations. Pure.

D. B. Terry et al., "Session Guarantees for Weakly Consistent Replicated Data" (1994), where a session is a user here:

- read your writes: a user's read shows the row at least as new as the user's last acknowledged write before it;
- monotonic writes: nobody sees a user's write, and then an earlier write of the same user;
- writes follow reads: nobody sees a user's write, and then what that user had seen before writing.

The fourth, monotonic reads, is in `_reads`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from hs_drill.workload import ABSENT

from ._register import ENDLESS, Read, Register, Write

__all__ = ["SessionOrder", "session_order"]


@dataclass
class SessionOrder:
    """The reads that violate a guarantee, each with the write that the user had made or seen; and how many could have."""

    own: list[tuple[Read, Write]] = field(default_factory=list)
    after_own: int = 0
    earlier: list[tuple[Read, Write]] = field(default_factory=list)
    after_second: int = 0
    source: list[tuple[Read, Write]] = field(default_factory=list)
    after_informed: int = 0


def session_order(register: Register, reads: Sequence[Read]) -> SessionOrder | None:
    """Examine a row. `reads` are in the order of their starts. None, as for most rows, if nobody who read it had written it or
    read it twice: then nothing could violate a guarantee."""
    readers = {read.user_id for read in reads}
    read_again = len(readers) < len(reads)
    if not read_again and readers.isdisjoint([write.user_id for write in register.acknowledged]):
        return None
    found = SessionOrder()
    mine: dict[int, tuple[list[int], list[Write]]] = {}
    for write in register.acknowledged:
        own = mine.get(write.user_id)
        if own is None:
            mine[write.user_id] = [write.end], [write]
        else:
            own[0].append(write.end)
            own[1].append(write)
    _own(found, register, mine, reads)
    if read_again and len(register.sources) > 1:
        _others(found, register, mine, reads)
    return found


def _own(
    found: SessionOrder, register: Register, mine: dict[int, tuple[list[int], list[Write]]], reads: Iterable[Read]
) -> None:
    sources = register.sources
    for read in reads:
        own = mine.get(read.user_id)
        if own is None:
            continue
        before = bisect_left(own[0], read.start)
        if before:
            found.after_own += 1
            last, source = own[1][before - 1], sources.get(read.state)
            if source is not None and source.latest < last.start:
                found.own.append((read, last))


class _Seen:
    """The writes that a user has seen."""

    __slots__ = ("informed", "last", "newest", "second")

    def __init__(self, newest: Write) -> None:
        self.newest = newest
        """The one that began last."""
        self.last: dict[int, Write] = {}
        """The one of each writer that began last."""
        self.second = False
        """One of them came after an acknowledged write of the same user."""
        self.informed = False
        """One of them came after a read of the same user."""


def _others(
    found: SessionOrder, register: Register, mine: dict[int, tuple[list[int], list[Write]]], reads: Sequence[Read]
) -> None:
    # Several deletes leave the same state, so of a read that found no row it is not known what it saw.
    shown = {read.state for read in reads if read.state != ABSENT}
    by_state = {write.state: write for write in chain(register.acknowledged, register.unknown) if write.state in shown}
    second, informed = _after_another(by_state, mine), _after_a_read(by_state, reads)
    seen_by: dict[int, _Seen] = {}
    first_seen: dict[tuple[int, int], int] = {}
    for read in reads:
        _, _, state, user, _, _, _ = read
        seen, write = seen_by.get(user), by_state.get(state)
        if seen is not None:
            found.after_second += seen.second
            found.after_informed += seen.informed
            if write is seen.newest:
                continue
            if state != ABSENT and (write is None or write.start < seen.newest.start):  # it may be older than what was seen
                first_seen = first_seen or _first_seen(reads)
                _add_older(found, read, write, seen, first_seen)
        if write is None:
            continue
        if seen is None:
            seen = seen_by[user] = _Seen(write)
        elif write.start > seen.newest.start:
            seen.newest = write
        last = seen.last.get(write.user_id)
        if last is None or last.start < write.start:
            seen.last[write.user_id] = write
        seen.second = seen.second or state in second
        seen.informed = seen.informed or state in informed


def _after_another(by_state: Mapping[int, Write], mine: Mapping[int, tuple[list[int], list[Write]]]) -> set[int]:
    """What was written after an acknowledged write of the same user."""
    return {state for state, write in by_state.items() if write.user_id in mine and mine[write.user_id][0][0] < write.start}


def _after_a_read(by_state: Mapping[int, Write], reads: Sequence[Read]) -> set[int]:
    """What was written after a read of the same user."""
    first = {read.user_id: read.end for read in reversed(reads)}
    return {state for state, write in by_state.items() if first.get(write.user_id, ENDLESS) < write.start}


def _first_seen(reads: Sequence[Read]) -> dict[tuple[int, int], int]:
    """When each user had first seen each state."""
    return {(read.user_id, read.state): read.end for read in reversed(reads)}


def _add_older(
    found: SessionOrder, read: Read, write: Write | None, seen: _Seen, first_seen: Mapping[tuple[int, int], int]
) -> None:
    """Note it if what was read is older than what the user has seen. `write` left it; None: it is from before the run."""
    if write is not None and (later := seen.last.get(write.user_id)) is not None and write.end < later.start:
        found.earlier.append((read, later))
    knew = (one for writer, one in seen.last.items() if first_seen.get((writer, read.state), ENDLESS) < one.start)
    if (follows := next(knew, None)) is not None:
        found.source.append((read, follows))
