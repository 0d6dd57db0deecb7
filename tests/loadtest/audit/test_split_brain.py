"""Two servers that were seen to take writes at once: when, and what each of them acknowledged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hs_drill.audit import _counters, split_brain_line
from hs_drill.audit._audit import Check, Validity, audit
from hs_drill.audit._checker import MAX_FINDINGS
from hs_drill.store import TWO_PRIMARIES, Event, TwoPrimaries, primaries_at_once

from ..support.audited import NEW, decr, delete, get, incr, insert, update
from ..support.histories import US, Op, audit_of, write_history
from ..support.promotions import SECOND, answered, seen


def at_once(first: float, last: float | None, old: str = "writer", new: str = "standby", *, told: float = 30) -> Event:
    details = {"servers": [old, new], "first": round(first * SECOND) * US}
    return Event(
        round(told * SECOND), TWO_PRIMARIES, new, {**details, "last": None if last is None else round(last * SECOND) * US}
    )


def times(*seconds: float) -> tuple[int, int]:
    start, end = (round(second * SECOND) for second in seconds)
    return start, end


AT_6 = [seen("standby", 6), at_once(8, 12)]
EACH = [*AT_6, answered("standby", 6, 10), answered("writer", 10.5, 20)]


def split_brain(tmp_path: Path, ops: list[Op], events: list[Event], **more: Any) -> Check:
    events = sorted(events, key=lambda event: event.time)
    rows = {op.key: (op.value, 0) for op in ops if op.operation == "insert"}
    return audit_of(tmp_path, ops, rows, events=events, primary="standby", **more)["split_brain"]


def test_it_says_when_and_which_server_acknowledged_what(tmp_path: Path) -> None:
    ops = [insert(NEW + second, NEW + second, *times(second, second + 0.5)) for second in range(5, 15)]
    check = split_brain(tmp_path, ops, EACH)
    assert (check.verdict, check.count) == (Validity.FALSE, 1)
    assert check.measured == {"writes": 4, "by_standby": 2, "by_writer": 1}
    by_writer = f"writer at least 1 write (the first: key {NEW + 11} at 11.500 s)"
    by_standby = f"standby at least 2 writes (the first: key {NEW + 8} at 8.500 s)"
    assert check.explanation == (
        f"writer and standby were both open for writes from 8.000 to 12.000 s, and acknowledged in that time: "
        f"{by_writer}, {by_standby}; of 1 more it is not known which server acknowledged them"
    )
    assert [(finding.key - NEW, finding.time) for finding in check.findings] == [(11, 11.5), (8, 8.5), (10, 10.5), (9, 9.5)]
    assert "was acknowledged by writer, while standby was open for writes too" in check.findings[0].line
    assert "was acknowledged by standby, while writer was open for writes too" in check.findings[1].line
    assert "was acknowledged while writer and standby were both open for writes" in check.findings[2].line
    assert check.findings[0].after == "5.500 s after standby was seen as the primary"


def test_writes_of_the_new_primary_alone_are_no_evidence(tmp_path: Path) -> None:
    ops = [insert(NEW + second, NEW + second, *times(second, second + 0.5)) for second in range(7, 12)]
    check = split_brain(tmp_path, ops, [*AT_6, answered("standby", 6, 20)])
    assert (check.verdict, check.findings) == (Validity.FALSE, ())
    assert "acknowledged in that time: writer 0 writes, standby 4 writes" in check.explanation


def test_every_kind_of_acknowledged_write_counts_and_nothing_else(tmp_path: Path) -> None:
    since, until = times(10.7, 11)
    ops = [
        insert(NEW, NEW, since, until),
        update(1, 5, since, until),
        delete(NEW + 1, since, until),
        incr(2, 5, until),
        decr(2, 3, until),
        update(3, 6, since, until, "fail"),
        update(3, 7, since, until, "info"),
        incr(3, 1, until, "info"),
        get(3, 0, since, until),
        update(3, 8, *times(7, 7.9)),
        update(3, 9, *times(11, 12.1)),
    ]
    check = split_brain(tmp_path, ops, EACH, loaded=3)
    assert check.measured == {"writes": 5, "by_writer": 5}
    lines = sorted(finding.line.partition(" was")[0].partition(" of ")[0] for finding in check.findings)
    assert lines == ["a decrement", "a delete", "an increment", "the insert", "the update"]


def test_without_such_an_event_there_is_no_such_check(tmp_path: Path) -> None:
    found = audit_of(tmp_path, [insert(NEW, NEW, 0, 9)], {NEW: (NEW, 0)}, events=[seen("standby", 6)], primary="standby")
    assert "split_brain" not in found.checks


def test_a_time_without_a_write_is_a_split_brain_too(tmp_path: Path) -> None:
    check = split_brain(tmp_path, [], [seen("standby", 6), at_once(8, None)])
    assert (check.verdict, check.count, check.findings) == (Validity.FALSE, 1, ())
    assert check.explanation == (
        "writer and standby were both open for writes from 8.000 s until the end of the run, and acknowledged in that time: "
        "writer 0 writes, standby 0 writes"
    )


def test_what_is_missing_leaves_numbers_open_but_no_doubt(tmp_path: Path) -> None:
    ops = [insert(NEW, NEW, *times(8.5, 9))]
    check = split_brain(tmp_path, ops, EACH, cut=[1])
    assert check.verdict is Validity.FALSE
    assert "at least 1 write was acknowledged in that time; which server acknowledged them is not known" in check.explanation
    assert check.explanation.endswith("(which writes is not fully known: the history of worker 1 is cut)")


def test_a_state_that_was_not_read_back_does_not_matter(tmp_path: Path) -> None:
    found = audit_of(tmp_path, [insert(NEW, NEW, *times(8.5, 9))], None, events=[*AT_6, answered("standby", 6, 12)])
    assert found["lost"].verdict is Validity.UNKNOWN
    assert found["split_brain"].measured == {"writes": 1, "by_standby": 1}


def test_a_checker_that_crashes_still_knows_when(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hs_drill.audit._split_brain.SplitBrain._add", lambda *_: 1 / 0)
    check = split_brain(tmp_path, [insert(NEW, NEW, *times(8.5, 9))], EACH)
    assert (check.verdict, check.count) == (Validity.FALSE, 1)
    when = "writer and standby were both open for writes from 8.000 to 12.000 s"
    assert check.explanation == f"{when}; the checker failed: ZeroDivisionError: division by zero"


def test_only_the_first_writes_of_each_server_are_kept(tmp_path: Path) -> None:
    by_standby = [insert(NEW + n, NEW + n, *times(8, 8.1 + n / 1000)) for n in range(100)]
    by_writer = [insert(NEW + n, NEW + n, *times(11, 11.1 + n / 1000)) for n in range(200, 300)]
    check = split_brain(tmp_path, [*reversed(by_standby), *by_writer], EACH)
    assert check.measured == {"writes": 200, "by_standby": 100, "by_writer": 100}
    assert len(check.findings) == MAX_FINDINGS
    assert [finding.key - NEW for finding in check.findings[:4]] == [200, 0, 201, 1]


def test_several_times_are_told_one_by_one(tmp_path: Path) -> None:
    events = [seen("standby", 6), *(at_once(second, second + 1) for second in range(10, 20, 2)), answered("writer", 9, 20)]
    check = split_brain(tmp_path, [insert(NEW, NEW, *times(12.5, 12.6))], events)
    assert check.count == 5
    assert check.explanation.startswith(
        "5 times two servers were open for writes at once: writer and standby were both open for writes from 10.0"
    )
    assert f"from 12.000 to 13.000 s, and acknowledged in that time: writer 1 write (the first: key {NEW} " in check.explanation
    assert check.explanation.endswith("; and 2 more times")


def test_a_server_that_was_never_promoted_may_be_one_of_them(tmp_path: Path) -> None:
    events = [at_once(8, 12, "writer", "reader-1"), answered("reader-1", 8, 9), answered("writer", 10, 12)]
    ops = [insert(NEW, NEW, *times(8.5, 8.6)), insert(NEW + 1, NEW + 1, *times(11, 11.1))]
    check = split_brain(tmp_path, ops, events)
    assert check.measured == {"writes": 2, "by_reader-1": 1, "by_writer": 1}


def test_a_later_event_tells_the_end_of_a_time() -> None:
    events = [at_once(8, None, told=8), at_once(8, 12, told=13), at_once(20, None, told=20)]
    found = primaries_at_once(events)
    assert found == [
        TwoPrimaries("writer", "standby", 8_000_000_000, 12_000_000_000),
        TwoPrimaries("writer", "standby", 20_000_000_000, None),
    ]
    assert [found[0].holds(second * 10**9) for second in (7, 8, 12, 13)] == [False, True, True, False]
    assert found[1].holds(10**12)
    assert (
        split_brain_line(found[1:], 10**9)
        == "writer and standby were both open for writes from 19.000 s until the end of the run"
    )


def test_a_checker_of_rows_that_crashes_leaves_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_counters, "deviation_of", lambda _: 1 / 0)
    check = split_brain(tmp_path, [incr(2, 5, times(8, 9)[1])], EACH, loaded=3)
    assert check.measured == {"writes": 1, "by_standby": 1}


def test_clocks_that_cannot_be_compared_leave_open_which_writes(tmp_path: Path) -> None:
    history = write_history(tmp_path, 0, [insert(NEW, NEW, *times(8.5, 9))])
    object.__setattr__(history.header, "clock", "another boot")
    check = audit([history, write_history(tmp_path, -1, [], events=AT_6)], None, loaded=0)["split_brain"]
    assert (check.verdict, check.measured, check.findings) == (Validity.FALSE, {"writes": 0}, ())
    when = "writer and standby were both open for writes from 8.000 to 12.000 s"
    assert check.explanation.startswith(
        f"{when} (which writes is not fully known: the histories come from machines whose clocks"
    )
