"""When a primary's semi-synchronous replication lapsed, as far as looks at it show. Pure.

A primary whose replicas do not acknowledge within `rpl_semi_sync_master_timeout` goes on without them, until they have caught
up: it acknowledges writes that no other server has. `Rpl_semi_sync_master_status` is OFF meanwhile. A lapse that is over before
the next look shows in `Rpl_semi_sync_master_no_tx`, which counts the transactions that were committed without an
acknowledgement while semi-synchronous replication was enabled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["STATUS", "Lapse", "Semisync", "SemisyncLook", "semisync_in"]

STATUS = "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_%'"


@dataclass(frozen=True)
class SemisyncLook:
    """What a server that takes writes said. Times are of the looks' clock, in seconds."""

    asked: float
    answered: float
    waits: bool
    """Whether its commits wait for a replica."""
    without: int
    """How many transactions have not: `Rpl_semi_sync_master_no_tx`."""


@dataclass(frozen=True)
class Lapse:
    """Commits of a primary waited for no replica, at some time between two moments."""

    server: str
    since: float
    """When it was last known to wait, or was first asked."""
    until: float | None
    """When it was first known to wait again, or was last asked; None until the end."""
    commits: int
    """How many transactions were committed without an acknowledgement, at least."""


def semisync_in(rows: Iterable[Mapping[str, Any]], asked: float, answered: float) -> SemisyncLook | None:
    """The answer to `STATUS`; None if the server has no semi-synchronous replication."""
    said = {str(row["Variable_name"]): str(row["Value"]) for row in rows}
    if "Rpl_semi_sync_master_status" not in said:
        return None
    waits = said["Rpl_semi_sync_master_status"] == "ON"
    return SemisyncLook(asked, answered, waits, int(said.get("Rpl_semi_sync_master_no_tx", 0)))


class Semisync:
    """Follows the primaries through one run's looks."""

    def __init__(self) -> None:
        self.finished: list[Lapse] = []
        """Those that are over; whoever reports them takes them out."""
        self._last: dict[str, SemisyncLook] = {}
        self._open: dict[str, Lapse] = {}

    def see(self, name: str, look: SemisyncLook | None) -> None:
        """A look at a server; None if it takes no writes, or said nothing."""
        last = self._last.get(name)
        if look is not None and last is not None and look.asked < last.asked:
            return  # a slow answer to an earlier question
        self._last.pop(name, None)
        lapse = self._open.pop(name, None)
        if look is not None:
            self._last[name] = look
            more = look.without - (last.without if last else look.without)
            if more < 0:  # FLUSH STATUS, or a restart
                more = look.without
            if not look.waits or more or (last is not None and not last.waits):
                lapse = lapse or Lapse(name, last.asked if last else look.asked, None, 0)
                self._open[name] = replace(lapse, until=look.answered, commits=lapse.commits + more)
                return
        if lapse is not None:
            self.finished.append(lapse)

    @property
    def lapses(self) -> list[Lapse]:
        """Those that still are."""
        return [replace(lapse, until=None) for lapse in self._open.values()]
