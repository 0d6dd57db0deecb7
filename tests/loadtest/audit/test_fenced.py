"""Whether a former primary was fenced: what looks saw of it, and what it acknowledged after the promotion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hs_drill.audit._audit import Check, Validity
from hs_drill.store import FORMER_PRIMARY, Event

from ..support.audited import NEW, incr, insert
from ..support.histories import US, Op, audit_of
from ..support.promotions import SECOND, answered, seen

Times = tuple[tuple[float, float], ...]


def former(server: str, promoted: str, *, open: Times = (), closed: Times = (), known: bool = True, told: float = 30) -> Event:
    times = {
        name: [[round(time * SECOND) * US for time in one] for one in given]
        for name, given in (("open", open), ("closed", closed))
    }
    return Event(round(told * SECOND), FORMER_PRIMARY, server, {"promoted": promoted, "known": known, **times})


def times(*seconds: float) -> tuple[int, int]:
    start, end = (round(second * SECOND) for second in seconds)
    return start, end


LOST = NEW
"""The key of a row that is not there at the end. One that is was not acknowledged by the former primary alone."""


def fenced(tmp_path: Path, ops: list[Op], *events: Event, standby_from: float = 6, **more: Any) -> Check:
    given = sorted([seen("standby", 6), answered("standby", standby_from, 20), *events], key=lambda event: event.time)
    rows = {op.key: (op.value, 0) for op in ops if op.operation == "insert" and op.key != LOST}
    return audit_of(tmp_path, ops, rows, events=given, primary="standby", **more)["fenced"]


def test_a_former_primary_that_was_closed_and_acknowledged_nothing(tmp_path: Path) -> None:
    ops = [insert(NEW + second, NEW + second, *times(second, second + 0.5)) for second in (3, 7, 9)]
    check = fenced(tmp_path, ops, answered("writer", 1, 5), former("writer", "standby", closed=((6, 15),)))
    assert check.verdict is Validity.TRUE
    assert check.explanation == ("writer, after standby was promoted, was never seen open for writes, and acknowledged none")


def test_one_that_was_open_was_not_fenced_although_nobody_wrote(tmp_path: Path) -> None:
    check = fenced(tmp_path, [], former("writer", "standby", open=((7, 9),), closed=((6, 6.5), (9.5, 15))))
    assert (check.verdict, check.count) == (Validity.FALSE, 0)
    assert "was open for writes from 7.000 to 9.000 s, and acknowledged none" in check.explanation


def test_writes_that_it_acknowledged_between_two_looks_are_named(tmp_path: Path) -> None:
    """As a server that hung does with the requests that it had received, when it goes on."""
    ops = [insert(LOST, NEW, *times(8, 8.1)), incr(2, 5, times(8, 8.1)[1]), insert(NEW + 1, NEW + 1, *times(9.6, 9.7))]
    events = [former("writer", "standby", closed=((9.5, 15),)), answered("writer", 7.9, 8.2)]
    check = fenced(tmp_path, ops, *events, standby_from=9, loaded=3)
    assert (check.verdict, check.count) == (Validity.FALSE, 2)
    assert "acknowledged 2 writes (key " in check.explanation
    assert {finding.key for finding in check.findings} == {2, LOST}
    assert all("by writer, after standby had been promoted" in finding.line for finding in check.findings)


@pytest.mark.parametrize("at, count", [(3, 0), (6.5, 0), (8, 1)], ids=["before the promotion", "while closed", "in between"])
def test_only_what_it_can_have_acknowledged_after_the_promotion_counts(tmp_path: Path, at: float, count: int) -> None:
    events = [former("writer", "standby", closed=((6, 7), (9, 15))), answered("writer", at, at + 0.2)]
    check = fenced(tmp_path, [insert(LOST, NEW, *times(at, at + 0.1))], *events, standby_from=12)
    assert (check.count, check.possible) == (count, 0)
    assert check.verdict is (Validity.FALSE if count else Validity.TRUE)


def test_a_write_that_either_may_have_acknowledged_leaves_it_unknown(tmp_path: Path) -> None:
    events = [former("writer", "standby", closed=((9, 15),)), answered("writer", 7.9, 8.2)]
    check = fenced(tmp_path, [insert(LOST, NEW, *times(8, 8.1))], *events)
    assert (check.verdict, check.count, check.possible) == (Validity.UNKNOWN, 0, 1)
    assert "acknowledged none, or perhaps 1" in check.explanation


def test_behind_a_router_a_write_may_be_any_servers(tmp_path: Path) -> None:
    check = fenced(tmp_path, [insert(LOST, NEW, *times(8, 8.1))], former("writer", "standby", closed=((9, 15),)), routed=True)
    assert (check.verdict, check.count, check.possible) == (Validity.UNKNOWN, 0, 1)
    assert "was acknowledged, by which server is not known behind a router, after standby had" in check.findings[0].line


def test_a_server_that_starts_is_silent_for_a_moment_and_was_not_open_for_that(tmp_path: Path) -> None:
    """Its answers to clients that connect are no acknowledgements."""
    events = [former("writer", "standby", closed=((6, 7), (9, 15))), answered("writer", 7.9, 8.2)]
    ops = [insert(LOST, NEW, *times(8, 8.1))]
    assert fenced(tmp_path, ops, *events).verdict is Validity.TRUE
    (again := tmp_path / "again").mkdir()
    opened = former("writer", "standby", closed=((6, 7), (9, 15)), open=((7.5, 8.5),))
    assert fenced(again, ops, opened, events[1]).possible == 1


@pytest.mark.parametrize(
    "given, words",
    [
        ({"known": False}, "never said whether it was open for writes"),
        ({"closed": ((6, 7),), "known": False}, "was closed for writes when it was last seen, at 7.000 s, and silent later"),
    ],
)
def test_one_that_does_not_answer_at_the_end_is_unknown(tmp_path: Path, given: dict[str, Any], words: str) -> None:
    check = fenced(tmp_path, [], former("writer", "standby", **given))
    assert check.verdict is Validity.UNKNOWN
    assert words in check.explanation


def test_a_cut_history_leaves_it_unknown(tmp_path: Path) -> None:
    assert fenced(tmp_path, [], former("writer", "standby", closed=((6, 15),)), cut=[1]).verdict is Validity.UNKNOWN


def test_without_such_an_event_there_is_no_such_check(tmp_path: Path) -> None:
    found = audit_of(tmp_path, [insert(LOST, NEW, 0, 9)], {NEW: (NEW, 0)}, events=[seen("standby", 6)], primary="standby")
    assert "fenced" not in found.checks


def test_a_former_primary_that_was_promoted_again_may_take_writes(tmp_path: Path) -> None:
    events = [seen("writer", 10), former("writer", "standby", closed=((6, 9),), told=30), answered("writer", 10, 20)]
    events.append(former("standby", "writer", closed=((10, 15),), told=31))
    check = fenced(tmp_path, [insert(LOST, NEW, *times(11, 11.1))], *events)
    assert check.verdict is Validity.TRUE
