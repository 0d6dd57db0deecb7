"""What happened to the rows that findings are about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hs_drill.audit import _timelines as timelines
from hs_drill.audit._timelines import AFTER, BEFORE, MAX_MOMENTS, MAX_NAMED, MAX_ROWS, RowTimeline
from hs_drill.store import ANSWERED_WRITES, Event
from hs_drill.workload import UNSEEN
from tests.loadtest.support.audited import NEW, ONE, THEIRS, get, incr, update
from tests.loadtest.support.histories import Op, audit_of

V = [NEW + place for place in range(1000)]


def version(place: int) -> str:
    return f"version v{V[place]:016x}"


def only(path: Path, ops: list[Op], final: dict[int, tuple[int, ...]] | None, **more: Any) -> RowTimeline:
    (row,) = audit_of(path, ops, final, **{**ONE, **more}).timelines.rows
    return row


LOST = [
    update(1, V[1], 10, 20, user=3),
    update(1, V[2], 30, 40, user=4),
    get(1, UNSEEN, 41, 42, "fail"),
    update(1, V[3], 45, 50, "info", user=5),
    update(1, V[4], 46, 51, "fail", user=6),
    get(1, V[1], 60, 61, user=7, n=0),
]


def test_a_lost_write_is_shown_with_what_happened_around_it(tmp_path: Path) -> None:
    events = [Event(35, "fault-started", "kill writer"), Event(55, "promotion", "standby")]
    row = only(tmp_path, LOST, {1: (V[1], 0)}, events=events, primary="standby")
    assert row.key == 1
    assert dict(row.findings) == {"lost": pytest.approx(4e-5), "stale_reads": pytest.approx(6e-5)}
    assert [(one.user, one.name, one.outcome, one.value, one.about) for one in row.operations] == [
        (3, "update", "ok", version(1), True),  # the finding names what the row shows instead
        (4, "update", "ok", version(2), True),
        (5, "update", "unknown", version(3), False),
        (6, "update", "fail", version(4), False),
        (7, "get", "ok", f"{version(1)}, n = 0", True),
    ]
    assert [row.operations[1].start, row.operations[1].end] == pytest.approx([3e-5, 4e-5])
    assert (row.kept, row.final) == (5, f"{version(1)}, n = 0")
    assert [(one.what, one.end) for one in row.events] == [
        ("kill writer", None),
        ("promotion of standby", pytest.approx(5.5e-5)),
    ]


def test_the_server_is_named_where_it_is_known(tmp_path: Path) -> None:
    answered = [Event(30, ANSWERED_WRITES, "writer", {"first": 9_000, "last": 20_000})]
    answered += [Event(60, ANSWERED_WRITES, "standby", {"first": 25_000, "last": 60_000})]
    events = [Event(22, "promotion", "standby"), *answered]
    row = only(tmp_path, LOST, {1: (V[1], 0)}, events=events, primary="standby")
    assert [one.server for one in row.operations] == ["writer", "standby", "", "", ""]


def test_only_rows_with_findings_are_searched_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_: object) -> None:
        raise AssertionError("a clean run reads its histories once")

    monkeypatch.setattr(timelines, "_fill", read)
    assert audit_of(tmp_path, [update(1, V[1], 10, 20)], {1: (V[1], 0)}, **ONE).timelines == timelines.Timelines()


def test_a_row_with_many_operations_keeps_those_around_the_finding(tmp_path: Path) -> None:
    many = [update(1, V[place], 10 * place, 10 * place + 5, user=place) for place in range(1, 400)]
    stale = get(1, V[7], 2002, 2003, user=900)
    row = only(tmp_path, [*many, stale], {1: (V[399], 0)})
    users = [one.user for one in row.operations]
    assert users == [7, *range(200 - BEFORE, 200), 200, 900, *range(201, 201 + AFTER - 2)]
    assert [one.user for one in row.operations if one.about] == [7, 900], "what it showed, and the read"
    assert row.kept == 400


def test_a_finding_without_a_time_shows_the_last_operations(tmp_path: Path) -> None:
    steps = [incr(1, 1, 10 * place, user=place) for place in range(1, 30)]
    row = only(tmp_path, steps, {1: (V[1], 29)})
    assert row.findings == [("unexpected", None)]
    assert [(one.user, one.value) for one in row.operations] == [(place, "n +1") for place in range(30 - BEFORE, 30)]


def test_operations_of_all_workers_are_in_the_order_of_their_starts(tmp_path: Path) -> None:
    ops = [update(1, V[1], 10, 20), update(1, THEIRS + 1, 30, 40, worker=1), get(1, V[1], 50, 51)]
    row = only(tmp_path, ops, {1: (THEIRS + 1, 0)})
    assert [(one.worker, one.name) for one in row.operations] == [(0, "update"), (1, "update"), (0, "get")]


def test_the_number_of_rows_is_bounded_and_each_check_has_its_first(tmp_path: Path) -> None:
    lost = [update(key, V[key], 10 * key, 10 * key + 5) for key in range(1, 16)]
    stale = [update(key, V[key], 10 * key, 10 * key + 5) for key in range(16, 31)]
    stale += [get(key, 0, 10 * key + 6, 10 * key + 7) for key in range(16, 31)]
    final = {key: (0 if key < 16 else V[key], 0) for key in range(1, 31)}
    found = audit_of(tmp_path, [*lost, *stale], final, loaded=30).timelines
    places = range(1, MAX_ROWS // 2 + 1)
    assert [row.key for row in found.rows] == [key for place in places for key in (place, place + 15)]
    assert found.left_out == 30 - MAX_ROWS


def test_histories_that_cannot_be_searched_leave_the_findings_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object) -> None:
        raise OSError("the disk\nis gone")

    monkeypatch.setattr(timelines, "_fill", fill)
    found = audit_of(tmp_path, LOST, {1: (V[1], 0)}, **ONE)
    assert (found.timelines.rows, found.timelines.failed) == ((), "OSError: the disk is gone")
    assert found["lost"].count == 1


def test_what_is_held_in_memory_does_not_grow_with_the_operations_of_a_row(tmp_path: Path) -> None:
    ops = [update(1, V[place], 10 * place, 10 * place + 5) for place in range(1, 900)]
    ops += [get(1, V[1], 5000, 5001, user=user) for user in range(300)]
    (row,) = audit_of(tmp_path, ops, {1: (V[899], 0)}, **ONE).timelines.rows
    assert row.kept == 1199
    assert BEFORE + AFTER <= len(row.operations) <= MAX_NAMED + MAX_MOMENTS * (BEFORE + AFTER)
