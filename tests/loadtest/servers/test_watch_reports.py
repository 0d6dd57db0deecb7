"""What the watch on the primary reports of the looks that it has taken, without any server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from hs_drill._cluster import ClusterError, Server
from hs_drill.servers import FormerPrimary, Lapse, _primary_watch
from hs_drill.servers._control import Promotion
from hs_drill.servers._primacy import Look
from hs_drill.servers._primary_watch import PrimaryWatch
from hs_drill.servers._semisync import SemisyncLook
from tests.loadtest.support.looks import of


class Watched:
    """A watch whose looks are made by hand, on a writer and its replica `a`."""

    def __init__(self) -> None:
        self.seen: list[FormerPrimary | Lapse] = []
        self.lines: list[str] = []
        self.servers = [Server(name, "127.0.0.1", 1, 2, "", "", sql_port=3) for name in ("writer", "a")]
        before = {"writer": of("writer", "writes"), "a": of("a", "writer")}
        promotions: list[Promotion] = []
        control = SimpleNamespace(
            primary="writer",
            cluster=SimpleNamespace(replication="semisync", writer=self.servers[0]),
            promotions=promotions,
            note_promotion=promotions.append,
            on_two_primaries=lambda *_: None,
            on_seen=self.seen.append,
            on_notice=self.lines.append,
        )
        known = SimpleNamespace(before=before.__getitem__, notice=lambda _: None)
        self.watch = PrimaryWatch(cast(Any, control), self.servers, cast(Any, known), clock=lambda: 100.0)

    def see(self, name: str, asked: float, what: str, semisync: tuple[bool, int] | None = None) -> None:
        (server,) = (one for one in self.servers if one.name == name)
        waits = None if semisync is None else SemisyncLook(asked, asked + 0.1, *semisync)
        self.watch._see(server, Look(asked, asked + 0.1, of(name, what), semisync=waits))


def test_what_became_of_the_former_primary_is_reported_at_the_end() -> None:
    watched = Watched()
    watched.see("writer", 100.0, "reads")
    watched.see("a", 100.2, "writer")
    watched.see("a", 101.0, "writes")
    watched.see("writer", 101.5, "reads")
    assert watched.seen == []
    watched.watch.end()
    assert watched.seen == [FormerPrimary("writer", "a", (), ((101.1, 101.6),), known=True)]


def test_a_lapse_is_told_when_it_is_seen_and_reported_when_it_is_over() -> None:
    watched = Watched()
    for number, semisync in enumerate([(True, 0), (False, 2), (False, 3), (True, 3), (True, 3)]):
        watched.see("writer", 100.0 + number, "writes", semisync)
        assert len(watched.lines) == (number > 0)
    assert watched.lines == ["commits on writer have waited for no replica (seen after 0.0 s)"]
    assert watched.seen == [Lapse("writer", 100.0, 103.1, 3)]
    watched.see("writer", 105.0, "writes", (False, 4))
    watched.watch.end()
    assert watched.seen[1:] == [Lapse("writer", 104.0, None, 1)]


def test_a_replica_waits_for_nobody_and_has_no_lapse() -> None:
    watched = Watched()
    watched.see("a", 100.0, "writer", (False, 0))
    watched.watch.end()
    assert watched.seen == []


def test_a_run_begins_with_nothing_seen() -> None:
    watched = Watched()
    watched.see("writer", 99.0, "writes", (False, 2))
    watched.watch.begin(100.0)
    watched.watch.end()
    assert watched.seen == []


@pytest.mark.parametrize(
    "said, reason",
    [
        (None, "cluster.primary.command: exit status 3"),
        ("", "cluster.primary.command: exit status 3"),
        ("it is read-only", "writer is not the primary any more: it is read-only"),
    ],
)
async def test_the_failure_of_the_owners_command_is_the_reason_unless_the_writer_says_more(
    monkeypatch: pytest.MonkeyPatch, said: str | None, reason: str
) -> None:
    watched = Watched()

    async def look() -> None:
        watched.watch._doubt("cluster.primary.command: exit status 3")

    async def why_not_writable(_: Server) -> str:
        if said is None:
            raise ClusterError("writer: SQL error 2003")
        return said

    monkeypatch.setattr(watched.watch, "look", look)
    monkeypatch.setattr(_primary_watch, "why_not_writable", why_not_writable)
    assert await watched.watch.why_unknown() == reason
