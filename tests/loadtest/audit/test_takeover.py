"""Which server acknowledged the lost writes after a promotion: the old primary or the promoted one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hs_drill.audit._audit import Validity
from hs_drill.store import Event
from hs_drill.workload import first_insert_key

from ..support.histories import Op, audit_of
from ..support.promotions import SECOND, answered

NEW = first_insert_key(1, 0)
PAUSED = [
    Event(3 * SECOND, "fault-started", "pause writer"),
    Event(6 * SECOND, "promotion", "standby"),
    Event(9 * SECOND, "fault-ended", "pause writer"),
]
OLD, PROMOTED, EITHER, EARLIER = "old", "promoted", "either", "earlier"

BEFORE = answered("writer", 0, 3)
BY_OLD = [BEFORE, answered("standby", 6.1, 9), answered("writer", 9.1, 20)]
BY_PROMOTED = [BEFORE, answered("standby", 6.1, 20)]
BY_BOTH = [*BY_OLD, answered("standby", 11.5, 11.6)]


def fault(name: str, start: float, end: float | None = None, **details: object) -> list[Event]:
    events = [Event(round(start * SECOND), f"fault-{kind}", name, details) for kind in ("started", "struck")]
    return events if end is None else [*events, Event(round(end * SECOND), "fault-ended", name, details)]


PROMOTED_AT_6 = [Event(6 * SECOND, "promotion", "standby")]
CUT_OFF = [*fault("partition writer", 3, listener="both"), *PROMOTED_AT_6]


@pytest.mark.parametrize(
    "events, by",
    [
        # The engines say which servers answered.
        ([*PAUSED, *BY_OLD], OLD),
        ([*PAUSED, *BY_PROMOTED], PROMOTED),
        ([*PAUSED, *BY_BOTH], EITHER),
        (PAUSED, EITHER),  # an old run: its engines said nothing
        # Fenced: before or with the promotion, or soon enough after it.
        ([*fault("kill writer", 5), *PAUSED], PROMOTED),
        ([*fault("kill writer", 4, 5), *PAUSED], EITHER),
        ([*fault("kill writer", 3, 5), Event(4 * SECOND, "fault-started", "promote standby"), *PAUSED], PROMOTED),
        ([Event(5 * SECOND, "death", "writer"), *PAUSED], PROMOTED),
        ([Event(5 * SECOND, "fault-started", "switch-over standby"), *PAUSED], PROMOTED),
        ([*PAUSED, Event(10 * SECOND, "fault-ended", "rejoin writer")], PROMOTED),
        ([*PAUSED, Event(13 * SECOND, "fault-ended", "rejoin writer")], EITHER),
        # Cut off: no client could reach it, so it acknowledged nothing while that lasted.
        (CUT_OFF, PROMOTED),
        ([*CUT_OFF, *BY_OLD], PROMOTED),
        ([*fault("blackhole writer", 3, listener="write"), *PROMOTED_AT_6], PROMOTED),
        ([*fault("pause writer", 3), *PROMOTED_AT_6], PROMOTED),
        ([*fault("pause writer", 3, 10), *fault("partition writer", 9, listener="both"), *PROMOTED_AT_6], PROMOTED),
        ([*fault("partition writer", 3, 10, listener="both"), *PROMOTED_AT_6], EITHER),
        ([*fault("partition writer", 3, 10, listener="both"), *PROMOTED_AT_6, *BY_OLD], OLD),
        ([*fault("partition writer", 3, 11.5, listener="both"), *PROMOTED_AT_6], EITHER),
        ([*fault("partition writer", 3, listener="read"), *PROMOTED_AT_6], EITHER),
        ([*fault("partition writer", 3), *PROMOTED_AT_6], EITHER),  # an old run: of which listener?
        ([*fault("partition reader-1", 3, listener="both"), *PROMOTED_AT_6], EITHER),
        ([*fault("latency writer", 3, listener="both"), *PROMOTED_AT_6], EITHER),
        # The new primary was hit, too: it may be its own loss.
        ([*PAUSED, *fault("kill standby", 13)], EITHER),
        ([*PAUSED, Event(13 * SECOND, "death", "standby")], EITHER),
        ([*PAUSED, *BY_OLD, *fault("kill standby", 13)], OLD),
        # Several promotions: the last one counts. Nobody fenced the writer, which was up again before the first one.
        ([*PAUSED, Event(13 * SECOND, "promotion", "reader-1")], None),
        ([*fault("kill writer", 0, 1), Event(2 * SECOND, "promotion", "reader-1"), *PAUSED], EITHER),
    ],
)
def test_who_acknowledged_a_lost_write(tmp_path: Path, events: list[Event], by: str | None) -> None:
    before = Op("update", 1, NEW, 5 * SECOND, 6 * SECOND + 1)  # acknowledged later, but by whom?
    during = Op("update", 2, NEW + 1, 11 * SECOND, 12 * SECOND)
    events = sorted(events, key=lambda event: event.time)
    result = audit_of(tmp_path, [before, during], {1: (0, 0), 2: (0, 0)}, events=events, primary="standby", loaded=2)
    lost = result["lost"]
    assert (lost.verdict, lost.count) == (Validity.FALSE, 2)
    names = ("before_promotion", "split_brain", "perhaps_split_brain", "lost_by_promoted", "perhaps_lost_by_promoted")
    shares = {OLD: [1, 1, 1, 0, 0], PROMOTED: [1, 0, 0, 1, 1], EITHER: [1, 0, 1, 0, 1], None: []}
    assert [lost.measured[name] for name in names if name in lost.measured] == shares[by]
    old = "reader-1 or writer" if Event(2 * SECOND, "promotion", "reader-1") in events else "writer"
    after = "after standby had been promoted at 6.000 s"
    words = {
        OLD: f"; split brain: 1 of them was acknowledged by writer {after}",
        PROMOTED: f"; 1 of them was acknowledged by standby itself {after}",
        EITHER: f"; 1 of them was acknowledged {after}: either by {old}, which is a split brain, or by standby itself",
        None: "the final state has the version from before the run",
    }
    assert lost.explanation.endswith(words[by])
    lines = {
        OLD: "was acknowledged by writer 6.000 s after standby had been promoted",
        PROMOTED: "was acknowledged by standby 6.000 s after its promotion",
        EITHER: "was acknowledged 6.000 s after standby had been promoted",
        None: "was acknowledged;",
    }
    assert lines[by] in lost.findings[1].line


@pytest.mark.parametrize(
    "earlier, beside, final, of_old_primary, words",
    [
        (0, 2, 0, (2, 2), "2 of them were acknowledged by writer"),
        (1, 3, 1, (2, 3), "between 2 and 3 of them were acknowledged by writer"),
        (2, 1, 0, (1, 1), "1 of them was acknowledged by writer"),  # more are lost than it took
        (3, 1, 3, (0, 1), ""),  # perhaps none
        (3, 0, 1, (0, 0), ""),
    ],
)
def test_lost_steps_are_the_old_primarys_if_no_others_can_account_for_them(
    tmp_path: Path, earlier: int, beside: int, final: int, of_old_primary: tuple[int, int], words: str
) -> None:
    steps = [Op("incr", 1, 1, at := (1 + number) * SECOND, at) for number in range(earlier)]
    steps += [Op("incr", 1, 1, at := (11 + number) * SECOND, at) for number in range(beside)]
    events = sorted([*PAUSED, *BY_OLD], key=lambda event: event.time)
    lost = audit_of(tmp_path, steps, {1: (0, final)}, events=events, primary="standby", loaded=1)["lost"]
    assert (lost.verdict, lost.count) == (Validity.FALSE, earlier + beside - final)
    assert (lost.measured["split_brain"], lost.measured["perhaps_split_brain"]) == of_old_primary
    assert words in lost.explanation
    assert bool(words) == ("split brain" in lost.explanation)


def test_a_cut_history_does_not_say_which_servers_answered(tmp_path: Path) -> None:
    """The missing part may say that the promoted server answered, too."""
    events = sorted([*PAUSED, *BY_OLD], key=lambda event: event.time)
    write = Op("update", 2, NEW + 1, 11 * SECOND, 12 * SECOND)
    lost = audit_of(tmp_path, [write], {1: (0, 0), 2: (0, 0)}, cut=[0], events=events, primary="standby", loaded=2)["lost"]
    assert "either by writer, which is a split brain, or by standby itself" in lost.explanation
