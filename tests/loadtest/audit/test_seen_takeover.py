"""Promotions that were only seen: which server acknowledged a lost write, and when that server stopped being the primary."""

from __future__ import annotations

import random
from bisect import bisect_right
from pathlib import Path

import pytest

from hs_drill.audit._audit import Audit
from hs_drill.audit._primaries import primaries_of
from hs_drill.audit._takeover import By, Takeover, takeover_of
from hs_drill.store import ANSWERED_WRITES, PROMOTION, Event
from hs_drill.workload import first_insert_key
from tests.support.amount import amount

from ..support.histories import Op, audit_of
from ..support.promotions import SECOND, answered, seen

NEW = first_insert_key(1, 0)


def fault(name: str, start: float, end: float, **details: object) -> list[Event]:
    kinds = {"started": start, "struck": start, "healing": end, "ended": end}
    return [Event(round(at * SECOND), f"fault-{kind}", name, details) for kind, at in kinds.items()]


def lost_between(
    tmp_path: Path, start: float, end: float, events: list[Event], primary: str = "standby", *, routed: bool = False
) -> Audit:
    write = Op("update", 1, NEW, round(start * SECOND), round(end * SECOND))
    events = sorted(events, key=lambda event: event.time)
    return audit_of(tmp_path, [write], {1: (0, 0)}, events=events, primary=primary, loaded=1, routed=routed)


AT_6 = [seen("standby", 6)]
BOTH = [answered("writer", 0, 5.5), answered("standby", 6.1, 9), answered("writer", 9.1, 20)]
ORDERED = Event(round(5.9 * SECOND), PROMOTION, "standby")
MOMENT = "between 5.750 and 6.000 s"
UNTIL = f"by writer, which was the primary until standby was promoted {MOMENT}"
ABOUT = f"by writer, about when standby was promoted ({MOMENT})"


@pytest.mark.parametrize(
    "start, end, events, words, shares",
    [
        # Before. A server may take writes before it is seen to be the primary, so what the engines know decides.
        (5, 5.7, AT_6, f"by standby or writer, before standby was promoted ({MOMENT})", [1, 1, 0, 0, 0, 0]),
        (5, 5.7, [*AT_6, answered("standby", 5, 9)], f"by standby, before it was promoted ({MOMENT})", [1, 1, 0, 0, 0, 0]),
        (5, 5.2, [*AT_6, *BOTH], UNTIL, [1, 1, 0, 0, 0, 0]),
        # A server that never was the primary answered something else.
        (5, 5.2, [*AT_6, *BOTH, answered("reader-1", 4, 6)], UNTIL, [1, 1, 0, 0, 0, 0]),
        # Of a write at the moment of the promotion only the server may be known.
        (5.7, 5.8, [*AT_6, answered("writer", 0, 9)], ABOUT, [0, 1, 0, 1, 0, 0]),
        (5.7, 6.5, [*AT_6, answered("writer", 0, 9)], ABOUT, [0, 1, 0, 1, 0, 0]),
        (5.9, 6.5, AT_6, f"by standby or writer, about when standby was promoted ({MOMENT})", [0, 1, 0, 1, 0, 1]),
        # The promoted server takes writes before that is seen, or before it is promoted.
        (
            5.8,
            5.9,
            [*AT_6, answered("standby", 5.8, 9)],
            f"by standby, about when it was promoted ({MOMENT})",
            [0, 1, 0, 0, 0, 1],
        ),
        (7, 8, [*AT_6, *BOTH], "by standby 2.000 to 2.250 s after its promotion", [0, 0, 0, 0, 1, 1]),
        (11, 12, [*AT_6, *BOTH], "by writer 6.000 to 6.250 s after standby had been promoted", [0, 0, 1, 1, 0, 0]),
        (11, 12, AT_6, "by standby or writer 6.000 to 6.250 s after standby had been promoted", [0, 0, 0, 1, 0, 1]),
        # A killed server may be started again by something else, and is writable then. Our own proxies are known.
        (7, 8, [*AT_6, *fault("kill writer", 5, 20)], "by standby or writer 2.000", [0, 0, 0, 1, 0, 1]),
        (7, 8, [*AT_6, *fault("pause writer", 5, 20)], "by standby or writer 2.000", [0, 0, 0, 1, 0, 1]),
        (7, 8, [*AT_6, *fault("partition writer", 5, 20, listener="both")], "by standby 2.000", [0, 0, 0, 0, 1, 1]),
        (7, 8, [*AT_6, *fault("partition writer", 5, 7.5, listener="both")], "by standby or writer 2.000", [0, 0, 0, 1, 0, 1]),
        (7, 8, [*AT_6, *fault("partition standby", 5, 20, listener="both")], "by writer 2.000", [0, 0, 1, 1, 0, 0]),
        # The run's own event of a promotion that it ordered, and the look that saw it: one promotion.
        (
            5,
            5.2,
            [ORDERED, *AT_6, *BOTH],
            "by writer, which was the primary until standby was promoted between 5.750 and 5.900 s",
            [1, 1, 0, 0, 0, 0],
        ),
        (5, 5.2, [*AT_6, Event(7 * SECOND, PROMOTION, "standby"), seen("standby", 8), *BOTH], UNTIL, [1, 1, 0, 0, 0, 0]),
        (5, 5.2, [seen("writer", 3), *AT_6, *BOTH], UNTIL, [1, 1, 0, 0, 0, 0]),
    ],
)
def test_who_acknowledged_a_lost_write(
    tmp_path: Path, start: float, end: float, events: list[Event], words: str, shares: list[int]
) -> None:
    lost = lost_between(tmp_path, start, end, events)["lost"]
    assert f"was acknowledged {words}" in lost.findings[0].line or words in lost.findings[0].line.partition(";")[0]
    names = ("before_promotion", "split_brain", "lost_by_promoted")
    assert [lost.measured[f"{perhaps}{name}"] for name in names for perhaps in ("", "perhaps_")] == shares


@pytest.mark.parametrize(
    "start, end, events, words",
    [
        (5, 5.7, AT_6, f"; 1 of them was acknowledged before standby had been promoted {MOMENT}"),
        (5.9, 6.5, AT_6, f"; 1 of them was acknowledged about when standby had been promoted {MOMENT}, before or after that"),
        (
            11,
            12,
            [*AT_6, *BOTH],
            f"; split brain: 1 of them was acknowledged by writer after standby had been promoted {MOMENT}",
        ),
        (7, 8, [*AT_6, *BOTH], f"; 1 of them was acknowledged by standby itself after standby had been promoted {MOMENT}"),
        (7, 8, AT_6, "either by writer, which is a split brain, or by standby itself"),
    ],
)
def test_the_lost_writes_are_counted_by_server(
    tmp_path: Path, start: float, end: float, events: list[Event], words: str
) -> None:
    explanation = lost_between(tmp_path, start, end, events)["lost"].explanation
    assert explanation.endswith(words)
    assert explanation.count("of them") == 1


ROUTED = ", by which server is not known behind a router,"


@pytest.mark.parametrize(
    "start, end, words, all_of_them",
    [
        (5, 5.7, f"{ROUTED} before standby was promoted ({MOMENT});", f" before standby had been promoted {MOMENT}"),
        (5.9, 6.5, f"{ROUTED} about when standby was promoted ({MOMENT});", f"{MOMENT}, before or after that"),
        (
            11,
            12,
            f"{ROUTED} 6.000 to 6.250 s after standby had been promoted;",
            f" after standby had been promoted {MOMENT}: which server acknowledged them is not known behind a router",
        ),
    ],
)
def test_behind_a_router_no_server_is_said_to_have_acknowledged_a_write(
    tmp_path: Path, start: float, end: float, words: str, all_of_them: str
) -> None:
    found = lost_between(tmp_path, start, end, AT_6, routed=True)
    assert f"was acknowledged{words}" in found["lost"].findings[0].line
    assert found["lost"].explanation.endswith(all_of_them)
    measured = found["lost"].measured
    assert measured["split_brain"] == measured["lost_by_promoted"] == 0
    servers = {operation.server for row in found.timelines.rows for operation in row.operations}
    assert servers == {""}


def test_a_finding_comes_after_what_was_seen(tmp_path: Path) -> None:
    (finding,) = lost_between(tmp_path, 6.5, 7, AT_6)["lost"].findings
    assert finding.after == "1.000 s after standby was seen as the primary"


BACK = [seen("standby", 6), seen("writer", 10)]


@pytest.mark.parametrize(
    "start, end, answers, words",
    [
        (5, 5.7, [answered("writer", 0, 5.7)], f"by writer, which was the primary until standby was promoted {MOMENT}"),
        (
            7,
            8,
            [answered("standby", 6, 9)],
            "by standby, which was the primary until writer was promoted between 9.750 and 10.000 s",
        ),
        (7, 8, [answered("writer", 6, 9)], "by writer 2.000 to 2.250 s after standby had been promoted"),
        (7, 8, [], "by standby or writer 2.000 to 2.250 s after standby had been promoted"),
        (5, 5.7, [], f"by standby or writer, before standby was promoted ({MOMENT})"),
        (9.7, 9.9, [answered("writer", 9, 11)], "by writer, about when it was promoted (between 9.750 and 10.000 s)"),
        (11, 12, [answered("writer", 9, 20)], "by writer 2.000 to 2.250 s after its promotion"),
        (11, 12, [answered("standby", 9, 20)], "by standby 2.000 to 2.250 s after writer had been promoted"),
    ],
)
def test_the_first_primary_is_promoted_again(
    tmp_path: Path, start: float, end: float, answers: list[Event], words: str
) -> None:
    found = lost_between(tmp_path, start, end, [*BACK, *answers], primary="writer")
    assert f"was acknowledged {words};" in found["lost"].findings[0].line
    assert found.takeover is not None
    assert (found.takeover.old, found.takeover.promoted) == ("standby", "writer")


@pytest.mark.parametrize(
    "server, words",
    [
        ("writer", "split brain: 1 of them was acknowledged by reader-1 or writer after standby"),
        ("reader-1", "split brain: 1 of them was acknowledged by reader-1 or writer after standby"),
        ("standby", "1 of them was acknowledged by standby itself"),
        ("reader-2", "either by reader-1 or writer, which is a split brain, or by standby itself"),
    ],
)
def test_every_former_primary_may_have_acknowledged_it(tmp_path: Path, server: str, words: str) -> None:
    events = [seen("reader-1", 3), *AT_6, answered(server, 6, 20)]
    lost = lost_between(tmp_path, 11, 12, events)["lost"]
    assert words in lost.explanation
    if server in ("writer", "reader-1"):
        after = "9.000 to 9.250 s after reader-1" if server == "writer" else "6.000 to 6.250 s after standby"
        assert f"by {server} {after} had been promoted" in lost.findings[0].line


def test_a_promotion_of_another_server_than_was_read_back_is_no_takeover(tmp_path: Path) -> None:
    lost = lost_between(tmp_path, 5, 5.5, AT_6, primary="writer")["lost"]
    assert "was acknowledged;" in lost.findings[0].line
    assert lost.measured == {}


def test_moments_are_rounded_outwards() -> None:
    takeover = Takeover("writer", "standby", 6_010_000_000, 5_790_000_000)
    assert takeover.moment(0, 1) == "between 5.7 and 6.1 s"
    assert Takeover("writer", "standby", 6_010_000_000).moment(0, 1) == "at 6.0 s"


# ---- against what truly happened

SERVERS = ("writer", "standby", "reader-1")


@pytest.mark.parametrize("seed", range(amount(100, 2000)))
def test_what_is_said_is_never_false(seed: int) -> None:
    """Servers are promoted one after the other. Each acknowledges writes from its promotion on, perhaps also after the next, or
    already shortly before it."""
    rng = random.Random(seed)
    moments = sorted(rng.sample(range(1000, 9000), rng.randint(1, 4)))
    reigns, events = ["writer"], []
    for moment in moments:
        reigns.append(rng.choice([name for name in SERVERS if name != reigns[-1]]))
        last_otherwise, first_seen = moment - rng.randint(0, 300), moment + rng.randint(0, 300)
        events.append(Event(first_seen, PROMOTION, reigns[-1], {"seen_within": (first_seen - last_otherwise) / 1e9}))
    events.sort(key=lambda event: event.time)
    writes = []
    for _ in range(50):
        start = rng.randint(0, 10_000)
        end = start + rng.choice([10, 100, 1000])
        moment = rng.randint(start, end)
        primary = bisect_right(moments, moment)
        next_one = bisect_right(moments, moment + rng.randint(0, 200))
        server = rng.choice(reigns[: next_one + 1]) if rng.random() < 0.3 else reigns[primary]
        writes.append((start, moment, end, server))
    for _, moment, end, server in writes:
        # An answer is noted when it arrives, and joined with others of about that time.
        first, last = rng.randint(max(0, moment - 300), end), end + rng.randint(0, 300)
        events.append(Event(20_000, ANSWERED_WRITES, server, {"first": first, "last": last}))
    if [event.name for event in events[: len(moments)]] != reigns[1:]:
        return  # two promotions were seen in the wrong order
    takeover = takeover_of(events, reigns[-1], complete=rng.random() < 0.8)
    assert takeover is not None
    for start, moment, end, server in writes:
        assert server in takeover.primaries.acknowledgers(start, end)
        truth = By.EARLIER if moment < moments[-1] else By.PROMOTED if server == reigns[-1] else By.OLD
        assert truth in takeover.acknowledged_by(start, end), (start, moment, end, server)
        told = takeover.told(start, end, 0).removeprefix(" by ")
        names = takeover.primaries.acknowledgers(start, end)
        if len(names) == 1:
            assert told.startswith(server)
            primary = server == reigns[bisect_right(moments, moment)]
            assert ("which was the primary until" in told or "after its promotion" in told) <= primary
            assert ("had been promoted" in told) <= (not primary)


def test_an_incomplete_history_leaves_every_server_possible() -> None:
    billion = 10**9
    events = [
        Event(6 * billion, PROMOTION, "standby", {"seen_within": 0.25}),
        Event(9 * billion, ANSWERED_WRITES, "writer", {"first": 7 * billion, "last": 9 * billion}),
    ]
    for complete, servers in ((True, {"writer"}), (False, {"writer", "standby"})):
        assert primaries_of(events, complete=complete).acknowledgers(8 * billion, 8 * billion + 1) == servers
