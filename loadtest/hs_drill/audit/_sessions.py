"""The checkers of session guarantees beside monotonic reads: see `_session_order`."""

from __future__ import annotations

from hs_drill.workload import ABSENT

from ._reads import ReadChecker, user_words
from ._register import Read, Write
from ._row_history import RowHistory
from ._session_order import SessionOrder

__all__ = ["MonotonicWrites", "ReadYourWrites", "WritesFollowReads"]


class _SessionChecker(ReadChecker):
    def _sessions(self, row: RowHistory) -> SessionOrder | None:
        """None where nothing could violate a guarantee."""
        if not row.reads:
            return None
        self.reads += len(row.reads)
        return row.sessions

    def _add(self, row: RowHistory, read: Read, write: Write, line: str) -> None:
        certain = self.context.one_clock and not (ABSENT in (read.state, write.state) and self.context.may_be_missing(row.key))
        self.add_finding(row.key, line, read.start, certain=certain)

    def _saw(self, read: Read) -> str:
        return f"{user_words(read.user_id)} saw {self.context.table.describe(read.state)}"


class ReadYourWrites(_SessionChecker):
    """No user reads a row in a state that is certainly older than the user's own last acknowledged write of it."""

    name = "read_your_writes"
    relevant_when = "after an acknowledged write of the same user"
    good = "no user missed an own write"
    bad = ("read lacks an own write of its user", "reads lack an own write of their user")

    def check_row(self, row: RowHistory) -> None:
        if (sessions := self._sessions(row)) is None:
            return
        self.relevant += sessions.after_own
        for read, write in sessions.own:
            line = f"{self._saw(read)}, which is older than {self.context.describe(write)} by the same user"
            self._add(row, read, write, line)


class MonotonicWrites(_SessionChecker):
    """Nobody sees a user's write of a row, and then an earlier one of the same user."""

    name = "monotonic_writes"
    relevant_when = "after a second write of one user was seen"
    good = "nobody saw the writes of one user in another order"
    bad = ("read shows the writes of a user in another order", "reads show the writes of a user in another order")

    def check_row(self, row: RowHistory) -> None:
        if (sessions := self._sessions(row)) is None:
            return
        self.relevant += sessions.after_second
        for read, write in sessions.earlier:
            later, whose = self.context.describe(write), user_words(write.user_id)
            self._add(row, read, write, f"{self._saw(read)}, after {later}, which {whose} wrote later")


class WritesFollowReads(_SessionChecker):
    """Nobody sees a user's write of a row, and then what that user had seen of the row before writing."""

    name = "writes_follow_reads"
    relevant_when = "after a write was seen whose user had read the row before"
    good = "nobody saw a write before what its user had read"
    bad = ("read shows what a user had read before writing", "reads show what a user had read before writing")

    def check_row(self, row: RowHistory) -> None:
        if (sessions := self._sessions(row)) is None:
            return
        self.relevant += sessions.after_informed
        for read, write in sessions.source:
            later, whose = self.context.describe(write), user_words(write.user_id)
            self._add(row, read, write, f"{self._saw(read)}, after {later}, which {whose} wrote having seen the other before")
