"""Looks at the servers of a user's own, written by hand."""

from __future__ import annotations

from collections.abc import Mapping

from hs_drill.servers._primacy import Look, Primacy
from hs_drill.servers._promotions import Replication
from hs_drill.servers._writable import Source

IDS = {"writer": 1, "a": 2, "b": 3}
"""The scenario's servers; another one has the id 9."""
NOBODY = "cannot be reached"


def of(name: str, what: str, server_id: int = 0) -> Replication:
    """`what`: `writes` (a primary), `reads` (read-only, without a source), or what it replicates from, such as `writer`; before
    it a `-` for stopped, a `~` for connecting; behind it a `+` if it takes writes.
    """
    own = server_id or IDS[name]
    if what in ("writes", "reads"):
        return Replication({}, what == "writes", "", "", 1, own)
    source = what.strip("-~+")
    io, sql = {"-": ("No", "No"), "~": ("Connecting", "Yes")}.get(what[0], ("Yes", "Yes"))
    source_id = 0 if what[0] == "~" else IDS.get(source, 9)
    return Replication({"": Source(f"{source}:3306", io, sql, source_id)}, what.endswith("+"), "", "", 1, own)


class Looks:
    """Looks at one server after the other, a tenth of a second each."""

    def __init__(self, owner_says: bool = False, **before: str) -> None:
        started = {"writer": "writes", "a": "writer", "b": "writer"} | before
        self.now = 100.0
        known: Mapping[str, Replication | None] = {
            name: None if what == NOBODY else of(name, what) for name, what in started.items()
        }
        self.primacy = Primacy("writer", known, self.now, {name: f"{name}:3306" for name in IDS}, owner_says=owner_says)
        self.state = dict(started)

    def look(self, name: str, what: str = "", *, server_id: int = 0) -> None:
        self.state[name] = what = what or self.state[name]
        asked, self.now = self.now, round(self.now + 0.1, 3)
        if what in ("down", "silent", NOBODY):
            self.primacy.see(name, Look(asked, self.now, None, f"{name} is {what}", what == "down"))
        else:
            self.primacy.see(name, Look(asked, self.now, of(name, what, server_id)))

    def see(self, **states: str) -> None:
        """The servers have changed, in this order; each change is seen, then all are looked at again."""
        for name, what in states.items():
            self.look(name, what)
        for _ in range(2):
            for name in self.state:
                self.look(name)

    @property
    def promoted(self) -> list[str]:
        return [promotion.server for promotion in self.primacy.promotions]

    @property
    def twos(self) -> list[tuple[str, str]]:
        return [(two.old, two.new) for two in (*self.primacy.finished, *self.primacy.two_primaries)]
