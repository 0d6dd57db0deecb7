"""The advice that comes with a verdict that is not a pass."""

from __future__ import annotations

import pytest

from hs_drill.audit._audit import Audit, Check, Validity
from hs_drill.audit._split_brain import SplitBrain
from hs_drill.scenario import parse_scenario
from hs_drill.verdict._advice import advice
from hs_drill.verdict._judge import Judged, Result

LOST = Judged("lost", Result.MISS, 1, 0, "1 lost", audit=True)


@pytest.mark.parametrize(
    "cluster, primary, word",
    [
        ("{}", "writer", "No other server took over"),
        ("{standby: true}", "standby", "With cluster.topology: write-through they replicate"),
        ("{standby: true, topology: write-through}", "standby", "What standby had not fetched"),
        ("{standby: true, topology: write-through, replication: semisync}", "reader-1", "although replication was semisync"),
    ],
)
def test_why_writes_were_lost(cluster: str, primary: str, word: str) -> None:
    scenario = parse_scenario(f"name: x\ncluster: {cluster}\nmix: {{insert: 1}}\n", "s.yaml")
    (given,) = advice(scenario, [LOST], primary)
    assert word in given


def test_on_external_servers_it_is_not_known_whether_another_took_over() -> None:
    servers = "[{name: writer, host: a}, {name: reader-1, host: b}]"
    scenario = parse_scenario(f"name: x\ncluster: {{kind: external, servers: {servers}}}\nmix: {{insert: 1}}\n", "s.yaml")
    (given,) = advice(scenario, [LOST], "writer")
    assert "does not know whether another one took over" in given
    assert "the writer itself lost" not in given


@pytest.mark.parametrize("lost, perhaps, others", [(5, 5, 0), (7, 5, 1), (7, 7, 0)])
def test_a_split_brain_is_called_one(lost: int, perhaps: int, others: int) -> None:
    scenario = parse_scenario("name: x\ncluster: {standby: true, topology: write-through}\nmix: {insert: 1}\n", "s.yaml")
    check = Check("lost", Validity.FALSE, "", lost, measured={"split_brain": 5, "perhaps_split_brain": perhaps})
    audit = Audit({"lost": check}, (), (), 0, SplitBrain("writer", "standby", 6_000_000_000, None))
    given, *more = advice(scenario, [LOST], "standby", audit)
    assert given.startswith("This is a split brain: standby had been promoted at 6.0 s, and writer still took writes.")
    assert len(more) == others
    assert all("What standby had not fetched" in one for one in more)


def test_what_began_after_the_promotion_was_not_lost_by_it() -> None:
    """The old primary was cut off, so the new one acknowledged it."""
    scenario = parse_scenario("name: x\ncluster: {standby: true}\nmix: {insert: 1}\n", "s.yaml")
    check = Check("lost", Validity.FALSE, "", 20, measured={"after_takeover": 20})
    (given,) = advice(scenario, [LOST], "standby", Audit({"lost": check}, (), (), 0))
    assert given.startswith(
        "20 lost writes began after standby had been promoted. If no other server took writes then, standby "
    )
    check = Check("lost", Validity.FALSE, "", 21, measured={"after_takeover": 20})
    _, more = advice(scenario, [LOST], "standby", Audit({"lost": check}, (), (), 0))
    assert "standby took over without them" in more


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
