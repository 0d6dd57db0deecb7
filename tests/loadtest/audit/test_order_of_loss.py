"""Whether a promoted server lost only the newest writes, or also some that are older than what it has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from hs_drill.store import TWO_PRIMARIES, Event
from tests.loadtest.support.audited import NEW, insert, update
from tests.loadtest.support.histories import Op, Rows, audit_of
from tests.loadtest.support.promotions import answered

S = 1_000_000
"""A second in a history's microseconds."""
PROMOTED = [
    Event(6 * S, "fault-started", "promote standby"),
    Event(7 * S, "promotion", "standby"),
    answered("writer", 0, 6),
    answered("standby", 6.5, 20),
]
SEEN = [Event(7 * S, "promotion", "standby", {"seen_within": 1.0})]
SUFFIX = "standby lacked only the newest ones: nothing that it had began after a lost write was acknowledged"


def holes(lost: str, newest: str) -> str:
    return f"the loss has holes: {lost} acknowledged before a write began that standby had ({newest})"


def written(key: int, at: float, *, version: int = 0, outcome: str = "ok") -> Op:
    """A write that takes 0.1 s."""
    start, end = round(at * S), round((at + 0.1) * S)
    return insert(key, key, start, end, outcome) if key >= NEW else update(key, version or key + 100, start, end, outcome)


def told(
    path: Path, ops: Sequence[Op], final: Rows, events: Sequence[Event] = PROMOTED, **more: object
) -> tuple[str, float | None]:
    """What the verdict says of the order, and how many lost writes are older than what is there."""
    check = audit_of(path, ops, final, loaded=4, events=events, primary="standby", **more)["lost"]  # type: ignore[arg-type]
    last = check.explanation.rpartition("; ")[2]
    return last if "holes" in check.measured else "", check.measured.get("holes")


@pytest.mark.parametrize("events", [PROMOTED, SEEN])
def test_the_newest_writes_are_lost(tmp_path: Path, events: Sequence[Event]) -> None:
    ops = [written(1, 1), written(NEW, 2), written(2, 3), written(NEW + 1, 4)]
    assert told(tmp_path, ops, {1: (101, 0), NEW: (NEW, 0), 2: (0, 0), 3: (0, 0), 4: (0, 0)}, events) == (SUFFIX, 0)


@pytest.mark.parametrize("events", [PROMOTED, SEEN])
def test_an_older_write_is_lost(tmp_path: Path, events: Sequence[Event]) -> None:
    ops = [written(1, 1), written(2, 2), written(3, 3), written(NEW, 4)]
    rows = {1: (0, 0), 2: (0, 0), 3: (103, 0), 4: (0, 0)}
    assert told(tmp_path, ops, rows, events) == (holes("2 of the lost writes were", "key 3 at 3.000 s"), 2)


def test_a_row_that_was_inserted_and_left_alone_counts(tmp_path: Path) -> None:
    ops = [written(1, 1), written(NEW, 2), written(NEW + 1, 3)]
    rows = {1: (0, 0), 2: (0, 0), 3: (0, 0), 4: (0, 0), NEW: (NEW, 0)}
    assert told(tmp_path, ops, rows) == (holes("1 of the lost writes was", f"key {NEW} at 2.000 s"), 1)


def test_concurrent_writes_have_no_order(tmp_path: Path) -> None:
    ops = [written(1, 2), written(2, 2.05)]
    assert told(tmp_path, ops, {1: (0, 0), 2: (102, 0), 3: (0, 0), 4: (0, 0)}) == (SUFFIX, 0)


@pytest.mark.parametrize("at", [6.5, 8])
def test_what_the_promoted_server_took_itself_counts_for_nothing(tmp_path: Path, at: float) -> None:
    ops = [written(1, 1), written(2, 2), written(3, at), written(NEW, at + 1)]
    rows = {1: (101, 0), 2: (0, 0), 3: (103, 0), 4: (0, 0), NEW: (NEW, 0)}
    assert told(tmp_path, ops, rows) == (SUFFIX, 0)


def test_what_is_not_acknowledged_counts_for_nothing(tmp_path: Path) -> None:
    """It may have been applied when it was sent, or by the promoted server."""
    ops = [written(1, 1), written(2, 2), written(3, 3, outcome="info")]
    assert told(tmp_path, ops, {1: (101, 0), 2: (0, 0), 3: (103, 0), 4: (0, 0)}) == (SUFFIX, 0)


def test_only_the_time_since_the_promotion_before_counts(tmp_path: Path) -> None:
    before = [
        Event(2 * S, "fault-started", "promote reader-1"),
        Event(2 * S, "promotion", "reader-1"),
        answered("reader-1", 2, 6),
    ]
    ops = [written(1, 1), written(2, 3), written(3, 4)]
    rows = {1: (0, 0), 2: (102, 0), 3: (0, 0), 4: (0, 0)}
    assert told(tmp_path, ops, rows, [*before, *PROMOTED]) == (SUFFIX, 0)


NOT_KNOWN = {
    "two servers took writes at once": [
        *SEEN, Event(8 * S, TWO_PRIMARIES, "standby", {"servers": ("writer", "standby"), "first": 8 * S, "last": None})
    ],
    "it is not known which servers answered": PROMOTED[:2],
    "nobody was promoted": [],
}  # fmt: skip
HOLES = [written(1, 1), written(2, 2)]


@pytest.mark.parametrize("why", NOT_KNOWN)
def test_nothing_is_told_when_it_is_not_known(tmp_path: Path, why: str) -> None:
    assert told(tmp_path, HOLES, {1: (0, 0), 2: (102, 0), 3: (0, 0), 4: (0, 0)}, NOT_KNOWN[why]) == ("", None)


def test_nothing_is_told_when_a_history_is_cut(tmp_path: Path) -> None:
    assert told(tmp_path, HOLES, {1: (0, 0), 2: (102, 0), 3: (0, 0), 4: (0, 0)}, cut=[1]) == ("", None)


def test_nothing_is_told_when_nothing_is_left(tmp_path: Path) -> None:
    assert told(tmp_path, HOLES, dict.fromkeys((1, 2, 3, 4), (0, 0))) == ("", None)
