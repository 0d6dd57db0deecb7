"""Every checker of the audit on histories written by hand: what is true, false, unknown and not applicable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hs_drill.workload import ABSENT, DAMAGED, FOREIGN, UNSEEN
from tests.loadtest.support.audited import LATER, NEW, ONE, PRIMARY, THEIRS, decr, delete, get, incr, insert, update
from tests.loadtest.support.histories import Op, Rows, audit_of, write_state

TRUE, FALSE, UNKNOWN, NOTHING = "true", "false", "unknown", "not applicable"


# name, operations, final state (None: not read back), more arguments, expected verdict, count
CASES: dict[str, list[tuple[str, list[Op], Rows | None, dict[str, Any], str, int]]] = {
    "lost": [
        ("nothing happened", [], {}, {}, NOTHING, 0),
        ("an insert is there", [insert(NEW, NEW, 0, 9)], {NEW: (NEW, 0)}, {}, TRUE, 0),
        ("an insert is gone", [insert(NEW, NEW, 0, 9)], {}, {}, FALSE, 1),
        ("an insert that failed is gone", [insert(NEW, NEW, 0, 9, "fail")], {}, {}, NOTHING, 0),
        ("an insert of unknown outcome is gone", [insert(NEW, NEW, 0, 9, "info")], {}, {}, NOTHING, 0),
        ("an insert was deleted", [insert(NEW, NEW, 0, 9), delete(NEW, 10, 19)], {}, {}, TRUE, 0),
        ("an insert was deleted, after a find that was empty, in an older history",
         [insert(NEW, NEW, 0, 9), replace(delete(NEW, 10, 19), value=UNSEEN)],
         {}, {}, TRUE, 0),
        ("a delete came back", [insert(NEW, NEW, 0, 9), delete(NEW, 10, 19)], {NEW: (NEW, 0)}, {}, FALSE, 1),
        ("a delete of unknown outcome", [insert(NEW, NEW, 0, 9), delete(NEW, 10, 19, "info")], {NEW: (NEW, 0)}, {}, TRUE, 0),
        ("a delete that may come late", [delete(NEW, 0, 5, "info"), insert(NEW, NEW, 10, 19)], {}, {}, TRUE, 0),
        ("deleted and inserted again",
         [insert(NEW, 7, 0, 1), delete(NEW, 2, 3), insert(NEW, 8, 4, 5)],
         {NEW: (8, 0)}, {}, TRUE, 0),
        ("the second insert is lost", [insert(NEW, 7, 0, 1), delete(NEW, 2, 3), insert(NEW, 8, 4, 5)], {}, {}, FALSE, 1),
        ("back at the first insert",
         [insert(NEW, 7, 0, 1), delete(NEW, 2, 3), insert(NEW, 8, 4, 5)],
         {NEW: (7, 0)}, {}, FALSE, 2),
        ("an update is there", [update(1, 5, 0, 9)], {1: (5, 0)}, ONE, TRUE, 0),
        ("an update is lost", [update(1, 5, 0, 9)], {1: (0, 0)}, ONE, FALSE, 1),
        ("three updates in a row are lost", [update(1, v, 2 * v, 2 * v + 1) for v in (5, 6, 7)], {1: (0, 0)}, ONE, FALSE, 3),
        ("the last of three is lost", [update(1, v, 2 * v, 2 * v + 1) for v in (5, 6, 7)], {1: (6, 0)}, ONE, FALSE, 1),
        ("concurrent updates, either first", [update(1, 5, 0, 9), update(1, 6, 8, 20)], {1: (5, 0)}, ONE, TRUE, 0),
        ("concurrent updates, or the other", [update(1, 5, 0, 9), update(1, 6, 8, 20)], {1: (6, 0)}, ONE, TRUE, 0),
        ("one starts as the other ends", [update(1, 5, 0, 9), update(1, 6, 9, 20)], {1: (5, 0)}, ONE, TRUE, 0),
        ("both concurrent ones are lost", [update(1, 5, 0, 9), update(1, 6, 8, 20)], {1: (0, 0)}, ONE, FALSE, 2),
        ("an early unknown one may win", [update(1, 5, 0, 3, "info"), update(1, 6, 8, 20)], {1: (5, 0)}, ONE, TRUE, 0),
        ("a loaded row is gone", [], {2: (0, 0)}, {"loaded": 2}, FALSE, 1),
        ("a loaded row is gone with its counts", [incr(1, 3, 9), incr(1, 3, 19)], {}, ONE, FALSE, 3),
        ("an increment is lost", [incr(1, 3, 9), incr(1, 3, 19)], {1: (0, 3)}, ONE, FALSE, 1),
        ("or the cut worker has decremented", [incr(1, 3, 9), incr(1, 3, 19)], {1: (0, 3)}, {**ONE, "cut": [1]}, UNKNOWN, 0),
        ("at least three are lost", [incr(1, 3, 10 * i) for i in range(1, 6)], {1: (0, 7)}, ONE, FALSE, 3),
        ("a decrement is lost", [decr(1, 3, 9)], {1: (0, 0)}, ONE, FALSE, 1),
        ("an unknown increment is not there", [incr(1, 3, 9, "info")], {1: (0, 0)}, ONE, NOTHING, 0),
        ("lost, or the decrement applied twice", [incr(1, 3, 9), decr(1, 3, 19)], {1: (0, -3)}, ONE, UNKNOWN, 0),
        ("the state was not read back", [insert(NEW, NEW, 0, 9)], None, {}, UNKNOWN, 0),
        ("a history is missing", [insert(NEW, NEW, 0, 9)], {NEW: (NEW, 0)}, {"workers": [0, 1]}, UNKNOWN, 0),
        ("a cut history may explain it", [], {}, {"cut": [0], "loaded": 1}, UNKNOWN, 0),
        ("no other worker deletes this row", [insert(NEW, NEW, 0, 9)], {}, {"cut": [1]}, FALSE, 1),
        ("a missing history explains no older state", [update(1, 5, 0, 9)], {1: (0, 0)}, {**ONE, "cut": [1]}, FALSE, 1),
        ("before the run it was otherwise", [update(1, 5, 0, 9)], {1: (5, 4)}, {"before": {1: (3, 4), 2: (8, 8)}}, FALSE, 1),
    ],
    "recovered": [
        ("one was applied", [insert(NEW, NEW, 0, 9, "info")], {NEW: (NEW, 0)}, {}, TRUE, 0),
        ("none was unknown", [insert(NEW, NEW, 0, 9)], {NEW: (NEW, 0)}, {}, NOTHING, 0),
        ("not read back", [], None, {}, UNKNOWN, 0),
        ("cut", [], {}, {"cut": [0]}, UNKNOWN, 0),
    ],
    "unexpected": [
        ("all is as written", [update(1, 5, 0, 9), get(1, 5, 3, 4)], {1: (5, 0)}, ONE, TRUE, 0),
        ("a row that was never inserted", [], {NEW: (NEW, 0)}, {}, FALSE, 1),
        ("a row of an insert that failed", [insert(NEW, NEW, 0, 9, "fail")], {NEW: (NEW, 0)}, {}, FALSE, 1),
        ("a row of an unknown insert", [insert(NEW, NEW, 0, 9, "info")], {NEW: (NEW, 0)}, {}, TRUE, 0),
        ("another row's version", [update(1, 5, 0, 9)], {1: (5, 0), 2: (5, 0)}, {"loaded": 2}, FALSE, 1),
        ("a payload without a version", [], {1: (FOREIGN, 0)}, ONE, FALSE, 1),
        ("a damaged row", [], {1: (DAMAGED, 0)}, ONE, FALSE, 1),
        ("a damaged row, though a history is cut", [], {1: (DAMAGED, 0)}, {**ONE, "cut": [0]}, FALSE, 1),
        ("a read of a damaged row", [get(1, DAMAGED, 2, 3)], {1: (0, 0)}, ONE, FALSE, 1),
        ("in a later run as well", [get(1, DAMAGED, 2, 3)], {1: (0, 0)}, {"before": {1: (0, 0)}}, FALSE, 1),
        ("a read of what failed", [update(1, 5, 0, 9, "fail"), get(1, 5, 20, 21)], {1: (0, 0)}, ONE, FALSE, 1),
        ("a read of a row that must be there", [get(1, ABSENT, 2, 3, "fail")], {1: (0, 0)}, ONE, FALSE, 1),
        ("a read of the future", [get(1, 5, 0, 1), update(1, 5, 3, 9)], {1: (5, 0)}, ONE, FALSE, 1),
        ("a read that failed says nothing", [get(1, UNSEEN, 2, 3, "fail")], {1: (0, 0)}, ONE, TRUE, 0),
        ("a counter without a step", [], {1: (0, 4)}, ONE, FALSE, 1),
        ("it may be the cut worker's", [], {THEIRS: (THEIRS, 0)}, {"cut": [1]}, UNKNOWN, 0),
        ("it is not the cut worker's", [], {NEW: (NEW, 0)}, {"cut": [1]}, FALSE, 1),
        ("any worker's may be unreadable", [], {NEW: (NEW, 0)}, {"unreadable": ["history-1.bin: torn"]}, UNKNOWN, 0),
        ("not read back", [], None, {}, UNKNOWN, 0),
        ("not read back, but read", [get(1, 5, 0, 1)], None, ONE, FALSE, 1),
        ("a counter read as it is", [incr(1, 3, 9), get(1, 0, 10, 11, n=3)], {1: (0, 3)}, ONE, TRUE, 0),
        ("a counter read above all steps", [incr(1, 3, 9), get(1, 0, 10, 11, n=6)], {1: (0, 3)}, ONE, FALSE, 1),
        ("a counter read between two steps", [incr(1, 3, 9), get(1, 0, 10, 11, n=2)], {1: (0, 3)}, ONE, FALSE, 1),
        ("a counter read within the bounds", [incr(1, 3, 9, "info"), get(1, 0, 10, 11, n=1)], {1: (0, 3)}, ONE, FALSE, 1),
        ("a counter read below all steps", [decr(1, 3, 9), get(1, 0, 10, 11, n=-6)], {1: (0, -3)}, ONE, FALSE, 1),
        ("a counter read without a step", [get(1, 0, 10, 11, n=1)], {1: (0, 0)}, ONE, FALSE, 1),
        ("a counter read with a step that failed",
         [incr(1, 3, 9, "fail"), get(1, 0, 10, 11, n=3)],
         {1: (0, 0)}, ONE, FALSE, 1),
        ("with one of unknown outcome", [incr(1, 3, 9, "info"), get(1, 0, 10, 11, n=3)], {1: (0, 3)}, ONE, TRUE, 0),
        ("with one that is under way", [incr(1, 3, 9), get(1, 0, 5, 6, n=3)], {1: (0, 3)}, ONE, TRUE, 0),
        ("with one that had not begun", [incr(1, 3, 9), get(1, 0, 2, 3, n=3)], {1: (0, 3)}, ONE, FALSE, 1),
        ("which a cut history may explain", [get(1, 0, 2, 3, n=3)], {1: (0, 3)}, {**ONE, "cut": [1]}, UNKNOWN, 0),
        ("a counter of a row come and gone",
         [delete(1, 0, 1), insert(1, 5, 2, 3), get(1, 5, 4, 5, n=9)],
         {1: (5, 0)}, ONE, TRUE, 0),
        ("a counter of a row inserted", [insert(NEW, 5, 2, 3), get(NEW, 5, 4, 5, n=9)], {NEW: (5, 0)}, {}, FALSE, 1),
        ("a replica that never got an earlier run's steps", [get(1, 0, 4, 5, n=0)], {1: (0, 7)}, LATER, TRUE, 0),
        ("the primary without them", [get(1, 0, 4, 5, n=0)], {1: (0, 7)}, {**LATER, "reads_primary": True}, FALSE, 1),
    ],
    "applied_twice": [
        ("once", [incr(1, 3, 9)], {1: (0, 3)}, ONE, TRUE, 0),
        ("twice", [incr(1, 3, 9)], {1: (0, 6)}, ONE, FALSE, 1),
        ("three times", [decr(1, 3, 9)], {1: (0, -9)}, ONE, FALSE, 2),
        ("the unknown one as well", [incr(1, 3, 9), incr(1, 3, 19, "info")], {1: (0, 6)}, ONE, TRUE, 0),
        ("the unknown one twice", [incr(1, 3, 19, "info")], {1: (0, 6)}, ONE, FALSE, 1),
        ("one that failed was applied", [incr(1, 3, 9, "fail"), incr(1, 3, 19)], {1: (0, 6)}, ONE, FALSE, 1),
        ("twice, or the decrement is lost", [incr(1, 3, 9), decr(1, 3, 19)], {1: (0, 3)}, ONE, UNKNOWN, 0),
        ("the cut history may have more", [incr(1, 3, 9)], {1: (0, 6)}, {**ONE, "cut": [1]}, UNKNOWN, 0),
        ("not read back", [incr(1, 3, 9)], None, ONE, UNKNOWN, 0),
        ("no step", [update(1, 5, 0, 9)], {1: (5, 0)}, ONE, NOTHING, 0),
        ("a step that failed", [incr(1, 3, 9, "fail")], {1: (0, 0)}, ONE, NOTHING, 0),
        ("of a row come and gone", [delete(1, 0, 1), insert(1, 5, 2, 3), incr(1, 3, 19)], {1: (5, 3)}, ONE, NOTHING, 0),
    ],
    "counters": [
        ("both ways", [incr(1, 3, 9), decr(1, 1, 19)], {1: (0, 2)}, ONE, TRUE, 0),
        ("with all that is unknown", [incr(1, 3, 9, "info"), decr(1, 1, 19, "info")], {1: (0, 3)}, ONE, TRUE, 0),
        ("with some of it", [incr(1, 3, 9, "info"), decr(1, 1, 19, "info")], {1: (0, -1)}, ONE, TRUE, 0),
        ("within, but no sum of the steps", [incr(1, 3, 9, "info")], {1: (0, 2)}, ONE, FALSE, 1),
        ("above", [incr(1, 3, 9), decr(1, 1, 19)], {1: (0, 3)}, ONE, FALSE, 1),
        ("below", [incr(1, 3, 9), decr(1, 1, 19)], {1: (0, 1)}, ONE, FALSE, 1),
        ("an unknown step of one", [incr(1, 1, 9, "info")], {1: (0, 1)}, ONE, TRUE, 0),
        ("a refused decrement", [decr(1, 0, 9)], {1: (0, 0)}, ONE, NOTHING, 0),
        ("from where it was", [incr(1, 3, 9)], {1: (2, 10)}, {"before": {1: (2, 7)}}, TRUE, 0),
        ("of a row inserted", [insert(NEW, NEW, 0, 9), incr(NEW, 3, 19)], {NEW: (NEW, 3)}, {}, TRUE, 0),
        ("of a row come and gone", [delete(1, 0, 1), insert(1, 5, 2, 3), incr(1, 3, 19)], {1: (5, 3)}, ONE, UNKNOWN, 0),
        ("the cut history may have more", [], {1: (0, 6)}, {**ONE, "cut": [0]}, UNKNOWN, 0),
        ("not read back", [], None, {}, UNKNOWN, 0),
        ("read from a replica that is behind", [incr(1, 3, 9), get(1, 0, 10, 11, n=0)], {1: (0, 3)}, ONE, TRUE, 0),
        ("read behind from the primary", [incr(1, 3, 9), get(1, 0, 10, 11, n=0)], {1: (0, 3)}, PRIMARY, FALSE, 1),
        ("read so twice, and lost", [incr(1, 3, 9), *[get(1, 0, 10, 11, n=0)] * 2], {1: (0, 0)}, PRIMARY, FALSE, 1),
        ("read with a decrement missing",
         [incr(1, 3, 9), decr(1, 2, 19), get(1, 0, 20, 21, n=3)],
         {1: (0, 1)}, PRIMARY, FALSE, 1),
        ("read while it was under way",
         [incr(1, 3, 9), decr(1, 2, 19), get(1, 0, 15, 21, n=3)],
         {1: (0, 1)}, PRIMARY, TRUE, 0),
        ("which a cut history may explain",
         [incr(1, 3, 9), get(1, 0, 10, 11, n=0)],
         {1: (0, 3)}, {**PRIMARY, "cut": [1]}, UNKNOWN, 0),
    ],
    "stale_reads": [
        ("fresh", [update(1, 5, 0, 9), get(1, 5, 10, 11)], {1: (5, 0)}, ONE, TRUE, 0),
        ("stale", [update(1, 5, 0, 9), get(1, 0, 10, 11)], {1: (5, 0)}, ONE, FALSE, 1),
        ("not yet acknowledged", [update(1, 5, 0, 9), get(1, 0, 9, 11)], {1: (5, 0)}, ONE, NOTHING, 0),
        ("within the bound", [update(1, 5, 0, 9), get(1, 0, 19, 21)], {1: (5, 0)}, {**ONE, "staleness": 10e-6}, TRUE, 0),
        ("beyond the bound", [update(1, 5, 0, 9), get(1, 0, 20, 21)], {1: (5, 0)}, {**ONE, "staleness": 10e-6}, FALSE, 1),
        ("an unknown write may come late",
         [update(1, 5, 0, 1, "info"), update(1, 6, 2, 3), get(1, 5, 9, 10)],
         {1: (5, 0)}, ONE, TRUE, 0),
        ("an unknown write replaces nothing", [update(1, 5, 0, 1, "info"), get(1, 0, 9, 10)], {1: (5, 0)}, ONE, NOTHING, 0),
        ("a deleted row", [insert(NEW, 7, 0, 1), delete(NEW, 2, 3), get(NEW, 7, 4, 5)], {}, {}, FALSE, 1),
        ("an inserted row not yet there", [insert(NEW, 7, 0, 1), get(NEW, ABSENT, 4, 5, "fail")], {NEW: (7, 0)}, {}, FALSE, 1),
        ("cut", [get(1, 0, 4, 5)], {1: (0, 0)}, {**ONE, "cut": [0]}, UNKNOWN, 0),
        ("cut, and gone", [insert(NEW, 7, 0, 1), get(NEW, ABSENT, 4, 5, "fail")], {NEW: (7, 0)}, {"cut": [0]}, UNKNOWN, 0),
        ("no final state needed", [update(1, 5, 0, 9), get(1, 5, 10, 11)], None, ONE, TRUE, 0),
        ("a counter with its step", [incr(1, 3, 9), get(1, 0, 10, 11, n=3)], {1: (0, 3)}, ONE, TRUE, 0),
        ("a counter without it", [incr(1, 3, 9), get(1, 0, 10, 11, n=0)], {1: (0, 3)}, ONE, FALSE, 1),
        ("a counter that no steps make", [incr(1, 3, 9), get(1, 0, 10, 11, n=2)], {1: (0, 3)}, ONE, TRUE, 0),
        ("a counter without a decrement", [decr(1, 3, 9), get(1, 0, 10, 11, n=0)], {1: (0, -3)}, ONE, FALSE, 1),
        ("without it, within the bound",
         [incr(1, 3, 9), get(1, 0, 19, 21, n=0)],
         {1: (0, 3)}, {**ONE, "staleness": 10e-6}, TRUE, 0),
        ("and beyond it",
         [incr(1, 3, 9), incr(1, 3, 11), get(1, 0, 20, 21, n=0)],
         {1: (0, 6)}, {**ONE, "staleness": 10e-6}, FALSE, 1),
        ("a counter, not yet acknowledged", [incr(1, 3, 9), get(1, 0, 9, 11, n=0)], {1: (0, 3)}, ONE, NOTHING, 0),
        ("a counter without an unknown step",
         [incr(1, 3, 9, "info"), get(1, 0, 10, 11, n=0)],
         {1: (0, 0)}, ONE, NOTHING, 0),
        ("a counter that was not seen", [incr(1, 3, 9), get(1, 0, 10, 11)], {1: (0, 3)}, ONE, NOTHING, 0),
        ("one read, behind in both", [incr(1, 3, 9), update(1, 5, 0, 9), get(1, 0, 10, 11, n=0)], {1: (5, 3)}, ONE, FALSE, 1),
        ("without an earlier run's steps", [get(1, 0, 10, 11, n=0)], {1: (0, 7)}, LATER, FALSE, 1),
        ("a counter, cut", [incr(1, 3, 9), get(1, 0, 10, 11, n=0)], {1: (0, 3)}, {**ONE, "cut": [1]}, UNKNOWN, 0),
        ("no read", [update(1, 5, 0, 9)], {1: (5, 0)}, ONE, NOTHING, 0),
        ("a read that failed shows nothing", [get(1, UNSEEN, 2, 3, "fail")], {1: (0, 0)}, ONE, NOTHING, 0),
        ("of another row than was written",
         [update(1, 5, 0, 1), get(2, 0, 2, 3)],
         {1: (5, 0), 2: (0, 0)}, {"loaded": 2}, NOTHING, 0),
    ],
    "monotonic_reads": [
        ("forward", [update(1, 5, 0, 1), get(1, 0, 0, 1), get(1, 5, 2, 3), get(1, 5, 4, 5)], {1: (5, 0)}, ONE, TRUE, 0),
        ("not changed before the last read",
         [update(1, 5, 0, 1), get(1, 0, 0, 1), get(1, 5, 2, 3)],
         {1: (5, 0)}, ONE, NOTHING, 0),
        ("back", [update(1, 5, 0, 9), get(1, 5, 1, 2), get(1, 0, 3, 4)], {1: (5, 0)}, ONE, FALSE, 1),
        ("another user",
         [update(1, 5, 0, 9), get(1, 5, 1, 2), get(1, 0, 3, 4, user=1), get(1, 5, 5, 6)],
         {1: (5, 0)}, ONE, TRUE, 0),
        ("the same number, another worker",
         [update(1, 5, 0, 9), get(1, 5, 1, 2), get(1, 0, 3, 4, worker=1), get(1, 5, 5, 6)],
         {1: (5, 0)}, ONE, TRUE, 0),
        ("no read", [update(1, 5, 0, 9)], {1: (5, 0)}, ONE, NOTHING, 0),
        ("each user once", [update(1, 5, 0, 9), get(1, 5, 1, 2), get(1, 0, 3, 4, user=1)], {1: (5, 0)}, ONE, NOTHING, 0),
        ("each row once", [get(1, 0, 1, 2), get(2, 0, 3, 4)], {1: (0, 0), 2: (0, 0)}, {"loaded": 2}, NOTHING, 0),
        ("back over two steps",
         [update(1, 5, 0, 1), update(1, 6, 2, 3), get(1, 6, 4, 5), get(1, 0, 6, 7), get(1, 5, 8, 9)],
         {1: (6, 0)}, ONE, FALSE, 2),
        ("concurrent writes have no order",
         [update(1, 5, 0, 9), update(1, 6, 0, 9), get(1, 5, 1, 2), get(1, 6, 3, 4), get(1, 5, 5, 6)],
         {1: (5, 0)}, ONE, TRUE, 0),
        ("a counter forward", [incr(1, 3, 9), get(1, 0, 5, 6, n=3), get(1, 0, 7, 8, n=3)], {1: (0, 3)}, ONE, TRUE, 0),
        ("a counter back", [incr(1, 3, 9), get(1, 0, 5, 6, n=3), get(1, 0, 7, 8, n=0)], {1: (0, 3)}, ONE, FALSE, 1),
        ("a counter back, which a cut history may explain",
         [incr(1, 3, 9), get(1, 0, 5, 6, n=3), get(1, 0, 7, 8, n=0)],
         {1: (0, 3)}, {**ONE, "cut": [1]}, UNKNOWN, 0),
        ("a counter that goes down as well",
         [incr(1, 3, 9), decr(1, 3, 9), get(1, 0, 5, 6, n=3), get(1, 0, 7, 8, n=0)],
         {1: (0, 0)}, ONE, NOTHING, 0),
        ("cut", [get(1, 0, 4, 5)], {1: (0, 0)}, {**ONE, "cut": [0]}, UNKNOWN, 0),
    ],
}  # fmt: skip


def named(tmp_path: Path, more: dict[str, Any]) -> dict[str, Any]:
    if "before" in more:
        return {**more, "before": write_state(tmp_path, "before", more["before"])}
    return more


@pytest.mark.parametrize(
    "checker, case", [pytest.param(name, case, id=f"{name}: {case[0]}") for name, cases in CASES.items() for case in cases]
)
def test_by_hand(tmp_path: Path, checker: str, case: tuple[str, list[Op], Rows | None, dict[str, Any], str, int]) -> None:
    _, ops, final, more, verdict, count = case
    check = audit_of(tmp_path, ops, final, **named(tmp_path, more))[checker]
    assert (check.verdict.value, check.count) == (verdict, count), check
    assert "\n" not in check.explanation
    assert check.explanation
    touched = {op.key for op in ops} | set(final or ()) | {1, *more.get("before", ())}
    assert {finding.key for finding in check.findings} <= touched
    assert bool(check.findings) == bool(check.count or check.possible)


def test_every_checker_has_all_verdicts() -> None:
    for name, cases in CASES.items():
        # Recovered writes violate nothing, and every table that was read back may hold unexpected rows.
        never = {"recovered": FALSE, "unexpected": NOTHING}.get(name)
        assert {case[4] for case in cases} == {TRUE, FALSE, UNKNOWN, NOTHING} - {never}
