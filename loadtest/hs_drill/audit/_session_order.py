"""What the users of a row saw of it, in the order of each user's operations. Pure.

D. B. Terry et al., "Session Guarantees for Weakly Consistent Replicated Data" (1994), where a session is a user here:

- read your writes: a user's read shows the row at least as new as the user's last acknowledged write before it;
- monotonic writes: nobody sees a user's write, and then an earlier write of the same user;
- writes follow reads: nobody sees a user's write, and then what that user had seen before writing.

The fourth, monotonic reads, is in `_reads`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hs_drill.store import Outcome
from hs_drill.workload import ABSENT

from ._register import ENDLESS, Read, Register, Write

__all__ = ["NO_SESSIONS", "SessionOrder", "session_order"]


@dataclass
class SessionOrder:
    """The reads that violate a guarantee, each with the write that the user had made or seen; and how many could have."""

    own: list[tuple[Read, Write]] = field(default_factory=list)
    after_own: int = 0
    earlier: list[tuple[Read, Write]] = field(default_factory=list)
    after_second: int = 0
    source: list[tuple[Read, Write]] = field(default_factory=list)
    after_informed: int = 0


NO_SESSIONS = SessionOrder()
"""Of a row in which nothing could violate a guarantee."""


def session_order(register: Register, writes: Iterable[Write], reads: Sequence[Read]) -> SessionOrder:
    """Examine a row. `reads` are in the order of their starts."""
    if not reads or not register.acknowledged:
        return NO_SESSIONS
    found = SessionOrder()
    mine: dict[int, tuple[list[int], list[Write]]] = {}
    for write in register.acknowledged:
        ends, some = mine.setdefault(write.user_id, ([], []))
        ends.append(write.end)
        some.append(write)
    _own(found, register, mine, reads)
    if len(reads) > 1:
        _others(found, mine, writes, reads)
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

    def __init__(self) -> None:
        self.last: dict[int, Write] = {}
        """The latest one of each writer."""
        self.latest = -ENDLESS
        """When the latest one of all began."""
        self.second = False
        """One of them came after an acknowledged write of the same user."""
        self.informed = False
        """One of them came after a read of the same user."""


def _others(
    found: SessionOrder, mine: dict[int, tuple[list[int], list[Write]]], writes: Iterable[Write], reads: Iterable[Read]
) -> None:
    # Several deletes leave the same state, so of a read that found no row it is not known what it saw.
    failed = Outcome.FAIL
    by_state = {write.state: write for write in writes if write.outcome is not failed and write.state != ABSENT}
    seen_by: dict[int, _Seen] = {}
    first_read: dict[int, int] = {}
    first_seen: dict[int, int] = {}
    first_seen_by: dict[tuple[int, int], int] = {}
    for read in reads:
        _, end, state, user, _, _ = read
        seen, write = seen_by.get(user), by_state.get(state)
        if seen is not None:
            found.after_second += seen.second
            found.after_informed += seen.informed
            if write is not None and (later := seen.last.get(write.user_id)) is not None and write.end < later.start:
                found.earlier.append((read, later))
            if state != ABSENT and first_seen.get(state, ENDLESS) < seen.latest:
                informed = (one for writer, one in seen.last.items() if first_seen_by.get((writer, state), ENDLESS) < one.start)
                if (follows := next(informed, None)) is not None:
                    found.source.append((read, follows))
        if write is not None:
            if seen is None:
                seen = seen_by[user] = _Seen()
            last = seen.last.get(write.user_id)
            if last is None or last.start < write.start:
                seen.last[write.user_id] = write
            seen.latest = max(seen.latest, write.start)
            own = mine.get(write.user_id)
            seen.second = seen.second or (own is not None and own[0][0] < write.start)
            seen.informed = seen.informed or first_read.get(write.user_id, ENDLESS) < write.start
        first_read.setdefault(user, end)
        first_seen_by.setdefault((user, state), end)
        if end < first_seen.get(state, ENDLESS):
            first_seen[state] = end
