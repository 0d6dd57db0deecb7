"""The advice that comes with a verdict that is not a pass."""

from __future__ import annotations

import pytest

from hs_drill.audit._audit import Audit, Check, Validity
from hs_drill.audit._takeover import Takeover, takeover_of
from hs_drill.scenario import parse_scenario
from hs_drill.store import PROMOTION, Event
from hs_drill.verdict._advice import advice
from hs_drill.verdict._judged import Judged, Result
from tests.loadtest.support.shop import SHOP, changed

LOST = Judged("lost", Result.MISS, 1, 0, "1 lost", audit=True)


@pytest.mark.parametrize(
    "cluster, primary, word",
    [
        ("{}", "writer", "This run promoted no other server, so as far as it knows the writer itself lost writes"),
        ("{standby: true}", "standby", "With cluster.topology: write-through they replicate"),
        ("{standby: true, topology: write-through}", "standby", "What standby had not fetched"),
        ("{standby: true, topology: write-through, replication: semisync}", "reader-1", "although replication was semisync"),
    ],
)
def test_why_writes_were_lost(cluster: str, primary: str, word: str) -> None:
    scenario = parse_scenario(f"name: x\ncluster: {cluster}\nmix: {{insert: 1}}\n", "s.yaml")
    (given,) = advice(scenario, [LOST], primary)
    assert word in given


def test_that_writes_straight_to_innodb_do_not_replicate_is_said_once() -> None:
    scenario = parse_scenario("name: x\ncluster: {standby: true}\nmix: {insert: 1}\n", "s.yaml")
    stale = Judged("staleness", Result.MISS, 9, 1, "")
    (given,) = advice(scenario, [LOST, stale], "standby")
    assert given.startswith("Stock MariaDB does not replicate writes straight to InnoDB: standby took over without them.")
    (given,) = advice(scenario, [stale], "standby")
    assert given.startswith("Writes straight to InnoDB never reach a reader")


def test_a_single_server_is_not_said_to_replicate() -> None:
    stale = Judged("staleness", Result.MISS, 9, 1, "")
    for alone, start in ((True, "Nothing replicates from a single server"), (False, "Writes straight to InnoDB never reach")):
        (given,) = advice(parse_scenario(EXTERNAL % "", "s.yaml"), [stale], "writer", Audit({}, (), (), 0, alone=alone))
        assert given.startswith(start)


def test_on_external_servers_it_is_not_known_whether_another_took_over() -> None:
    servers = "[{name: writer, host: a}, {name: reader-1, host: b}]"
    scenario = parse_scenario(f"name: x\ncluster: {{kind: external, servers: {servers}}}\nmix: {{insert: 1}}\n", "s.yaml")
    (given,) = advice(scenario, [LOST], "writer")
    assert "does not know whether another one took over" in given
    assert "the writer itself lost" not in given


SPLIT = "This is a split brain. Fence the old primary"
ITSELF = "standby itself lost writes that it had acknowledged. Check how durable"
FETCHED = "What standby had not fetched when it took over is lost."
BESIDE = "writer acknowledged them after standby had been promoted at 6.0 s (a split brain)"
ITS_OWN = "standby acknowledged them itself after its promotion at 6.0 s, and lost them"
EITHER = f"either {BESIDE}, or {ITS_OWN}. Look for them on writer. Fence"


@pytest.mark.parametrize(
    "before, old, promoted, given",
    [
        ((0, 0), (5, 5), (0, 0), [SPLIT]),
        ((2, 2), (5, 5), (0, 0), [SPLIT, FETCHED]),
        ((0, 2), (5, 7), (0, 0), [SPLIT]),
        ((0, 0), (0, 0), (5, 5), [ITSELF]),
        ((1, 1), (2, 2), (3, 3), [SPLIT, ITSELF, FETCHED]),
        ((0, 0), (0, 5), (0, 5), [f"It is not known what became of the lost writes: {EITHER}"]),
        ((1, 1), (0, 5), (0, 5), [f"It is not known what became of some of the lost writes: {EITHER}", FETCHED]),
        (
            (0, 1),
            (0, 1),
            (0, 0),
            [f"It is not known what became of the lost writes: either standby took over without them, or {BESIDE}. Look"],
        ),
    ],
)
def test_after_a_promotion_only_what_is_known_is_said(
    before: tuple[int, int], old: tuple[int, int], promoted: tuple[int, int], given: list[str]
) -> None:
    scenario = parse_scenario("name: x\ncluster: {standby: true, topology: write-through}\nmix: {insert: 1}\n", "s.yaml")
    measured = {}
    for name, share in {"before_promotion": before, "split_brain": old, "lost_by_promoted": promoted}.items():
        measured[name], measured[f"perhaps_{name}"] = map(float, share)
    check = Check("lost", Validity.FALSE, "", 9, measured=measured)
    audit = Audit({"lost": check}, (), (), 0, Takeover("writer", "standby", 6_000_000_000))
    lines = advice(scenario, [LOST], "standby", audit)
    assert [line.startswith(start) for line, start in zip(lines, given, strict=True)] == [True] * len(given), lines


EXTERNAL = (
    "name: x\ncluster: {kind: external, servers: [{name: writer, host: a}, {name: reader-1, host: b}]%s}\nmix: {insert: 1}\n"
)


def lost_on_own_servers(
    measured: dict[str, float], *promoted: tuple[str, int], primary: str, more: str = "", routed: bool = False
) -> list[str]:
    events = [Event(at * 10**9, PROMOTION, server, {"seen_within": 0.25}) for server, at in promoted]
    audit = Audit(
        {"lost": Check("lost", Validity.FALSE, "", 9, measured=measured)},
        events,
        (),
        0,
        takeover_of(events, primary, complete=True, routed=routed),
    )
    return advice(parse_scenario(EXTERNAL % more, "s.yaml"), [LOST], primary, audit)


BEFORE = {"before_promotion": 2.0, "perhaps_before_promotion": 2.0}
SEEN = "Lost writes were acknowledged before reader-1 was promoted between 5.7 and 6.0 s"


@pytest.mark.parametrize(
    "more, words",
    [
        (", topology: write-through", f"{SEEN}. What a promoted server had not fetched and applied by then is lost"),
        (", topology: write-through, replication: semisync", f"{SEEN}. Either no replica had acknowledged them"),
        ("", f"{SEEN}. Stock MariaDB does not replicate writes straight to InnoDB."),
    ],
)
def test_on_external_servers_a_promotion_that_was_seen_is_known(more: str, words: str) -> None:
    (given,) = lost_on_own_servers(BEFORE, ("reader-1", 6), primary="reader-1", more=more)
    assert given.startswith(words)
    assert "does not know" not in given


def test_on_external_servers_too_a_split_brain_is_one() -> None:
    measured = {"split_brain": 1.0, "perhaps_split_brain": 1.0}
    (given,) = lost_on_own_servers(measured, ("reader-1", 6), primary="reader-1")
    assert given.startswith(SPLIT)


@pytest.mark.parametrize(
    "before, either",
    [
        ({"perhaps_before_promotion": 1.0}, "the lost writes: either reader-1 took over without them, or they were"),
        ({}, "the lost writes: they were"),
        (BEFORE, "some of the lost writes: they were"),
    ],
)
def test_behind_a_router_no_server_is_blamed(before: dict[str, float], either: str) -> None:
    measured = {**before, "perhaps_split_brain": 1.0, "perhaps_lost_by_promoted": 1.0}
    given = lost_on_own_servers(measured, ("reader-1", 6), primary="reader-1", routed=True)[0]
    assert given == (
        f"It is not known what became of {either} acknowledged after reader-1 had been promoted between 5.7 and 6.0 s, and "
        "which server acknowledged them is not known behind a router. Look for them on every server that the router may have "
        "led to. Fence the old primary before you promote another server: stop it, or make it read-only. Start every server "
        "read-only."
    )


def test_after_two_promotions_it_is_not_said_that_there_was_none() -> None:
    (given,) = lost_on_own_servers(BEFORE, ("reader-1", 6), ("writer", 9), primary="writer")
    last = "writer was promoted between 8.7 and 9.0 s, the last of 2 promotions (reader-1, writer)"
    assert given.startswith(f"Lost writes were acknowledged before {last}.")
    (given,) = lost_on_own_servers({}, ("reader-1", 6), ("writer", 9), primary="writer")
    assert given.startswith(f"{last}. Check what it had by then")
    events = [Event(6, PROMOTION, "standby"), Event(9, PROMOTION, "writer")]
    audit = Audit({"lost": Check("lost", Validity.FALSE, "", 9)}, events, (), 0)
    scenario = parse_scenario("name: x\ncluster: {standby: true, topology: write-through}\nmix: {insert: 1}\n", "s.yaml")
    assert advice(scenario, [LOST], "writer", audit)[0].startswith("What writer had not fetched when it took over is lost.")


def test_another_server_than_the_promoted_one_was_read_back() -> None:
    (given,) = lost_on_own_servers({}, ("reader-1", 6), primary="writer")
    assert given.startswith("Promoted in this run: reader-1; read back at the end: writer. Check what each of them holds")


def test_why_reads_were_stale() -> None:
    stale = Judged("staleness", Result.MISS, 9, 1, "")
    for cluster, count in (("{}", 1), ("{topology: write-through}", 0)):
        scenario = parse_scenario(f"name: x\ncluster: {cluster}\nmix: {{insert: 1}}\n", "s.yaml")
        assert len(advice(scenario, [stale], "writer")) == count


def test_a_pass_needs_no_advice_and_unknown_is_not_a_pass() -> None:
    scenario = parse_scenario("name: x\nmix: {get: 1}\n", "s.yaml")
    assert advice(scenario, [Judged("lost", Result.PASS, 0, 0, "")], "writer") == []
    unknown = [
        Judged(name, Result.UNKNOWN, None, 1, "") for name in ("availability", "recovery.steady", "recovery.first_success")
    ]
    assert [line.partition(":")[0] for line in advice(scenario, unknown[:1], "writer")] == ["Unknown is not a pass"]
    assert len(advice(scenario, unknown, "writer")) == 2


def test_that_writes_were_not_audited_is_said_whatever_the_verdict() -> None:
    scenario = parse_scenario(changed(("values: version", "values: x")), "s.yaml")
    (given,) = advice(scenario, [], "writer")
    assert given.startswith(
        "Writes were measured, and not audited: no column of shop.products says which write left a row; give"
    )
    assert advice(parse_scenario(SHOP, "s.yaml"), [], "writer") == []
