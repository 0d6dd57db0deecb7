"""The audit as a whole, on histories written by hand: findings, replicas, damage, and data that are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from hs_drill.audit import _counters, _writes
from hs_drill.audit._audit import Audit, Validity, audit
from hs_drill.audit._checker import MAX_FINDINGS
from hs_drill.report._words import place_of
from hs_drill.store import UNAUDITED_WRITES, Event, History
from hs_drill.store._blocks import block_of
from hs_drill.workload import FOREIGN
from tests.loadtest.support.audited import NEW, ONE, PRIMARY, THEIRS, decr, delete, get, incr, insert, update
from tests.loadtest.support.histories import Rows, audit_of, write_history, write_state


@pytest.mark.parametrize(
    "sampled, words", [(1.0, "2 reads were examined"), (0.125, "2 reads were examined, a sample of 12.5 %")]
)
def test_the_explanation_says_how_many_reads_were_examined(tmp_path: Path, sampled: float, words: str) -> None:
    ops = [update(1, 5, 0, 9), get(1, 5, 10, 11), get(1, 5, 12, 13)]
    result = audit_of(tmp_path, ops, {1: (5, 0)}, **ONE, sampled=sampled)
    assert (
        result["stale_reads"].explanation == f"no read was stale; {words}, 2 of them after an acknowledged change of their row"
    )
    seen = "1 of them after the same user saw their row changed"
    assert result["monotonic_reads"].explanation == f"no user saw a row go back in time; {words}, {seen}"


def test_recovered_writes_are_counted(tmp_path: Path) -> None:
    ops = [
        insert(NEW, NEW, 0, 1, "info"),
        insert(NEW + 1, NEW + 1, 0, 2, "info"),
        update(1, 5, 3, 4, "info"),
        get(1, 5, 5, 6),
        update(1, 6, 7, 8),
        delete(NEW + 2, 9, 10, "info"),
        insert(NEW + 2, 7, 0, 3),
        incr(2, 5, 15, "info"),
        incr(2, 5, 16, "info"),
        incr(2, 5, 17),
        decr(3, 2, 18, "info"),
    ]
    final = {1: (6, 0), 2: (0, 10), 3: (0, 0), NEW: (NEW, 0)}
    check = audit_of(tmp_path, ops, final, loaded=3)["recovered"]
    assert check.measured == {"applied": 4, "doubtful": 7}
    assert check.explanation == "of 7 writes of unknown outcome, at least 4 were applied"


def test_a_finding_names_the_faults_that_were_on(tmp_path: Path) -> None:
    events = [
        Event(0, "phase", "load"),
        Event(5, "fault-started", "kill writer"),
        Event(7, "fault-started", "slow reader-1"),
        Event(8, "fault-ended", "slow reader-1"),
        Event(30, "fault-ended", "kill writer"),
    ]
    ops = [insert(NEW + i, NEW + i, 1, end) for i, end in enumerate((3, 8, 20, 40))]
    result = audit_of(tmp_path, ops, {}, events=events)
    assert [finding.faults for finding in result["lost"].findings] == [
        (),
        ("kill writer", "slow reader-1"),
        ("kill writer",),
        (),
    ]
    assert [event.kind for event in result.events] == [event.kind for event in events]
    assert "during" not in result["lost"].explanation
    assert "during kill writer" in audit_of(_sub(tmp_path), ops[2:3], {}, events=events)["lost"].explanation


def _sub(path: Path) -> Path:
    (path / "sub").mkdir()
    return path / "sub"


def test_the_first_findings_are_kept_and_certain_ones_before_possible_ones(tmp_path: Path) -> None:
    theirs = [insert(THEIRS + i, THEIRS + i, 0, 1 + i, worker=1) for i in range(30)]
    ours = [insert(NEW + i, NEW + i, 50, 100 - i) for i in range(30)]
    check = audit_of(tmp_path, theirs + ours, {}, cut=[1])["lost"]
    assert (check.count, check.possible, check.verdict) == (30, 30, Validity.FALSE)
    assert [finding.key for finding in check.findings] == [NEW + i for i in range(29, 29 - MAX_FINDINGS, -1)]


def replicas_of(tmp_path: Path, primary: Rows | None, *others: Rows, torn: bool = False) -> Audit:
    states = [write_state(tmp_path, f"reader-{number}", rows) for number, rows in enumerate(others, 1)]
    if torn:
        states[0].path.write_bytes(states[0].path.read_bytes()[:-1])
        states[0] = type(states[0])(states[0].path, states[0].server)
    return audit_of(tmp_path, [], primary, loaded=2, replicas=states)


def test_replicas_that_agree_and_that_differ(tmp_path: Path) -> None:
    rows = {1: (0, 0), 2: (0, 0)}
    assert replicas_of(tmp_path, rows, rows, rows)["replicas"].verdict is Validity.TRUE
    other = {0: (0, 0), 2: (0, 1), 3: (7, 0)}
    check = replicas_of(_sub(tmp_path), rows, rows, other)["replicas"]
    assert (check.verdict, check.count, check.measured) == (Validity.FALSE, 4, {"reader-2": 4})
    assert {finding.key for finding in check.findings} == {0, 1, 2, 3}


def test_replicas_that_could_not_be_read_back(tmp_path: Path) -> None:
    rows = {1: (0, 0), 2: (0, 0)}
    check = replicas_of(tmp_path, rows, rows, rows, torn=True)["replicas"]
    assert (check.verdict, check.explanation) == (Validity.UNKNOWN, "cannot be checked: reader-1 could not be read back")
    assert replicas_of(_sub(tmp_path), None, rows)["replicas"].verdict is Validity.UNKNOWN
    both = _sub(tmp_path / "sub")
    assert replicas_of(both, rows, rows, {}, torn=True)["replicas"].verdict is Validity.FALSE


def test_a_final_state_that_was_cut_makes_the_checks_unknown(tmp_path: Path) -> None:
    history = write_history(tmp_path, 0, [insert(NEW, NEW, 0, 9)])
    state = write_state(tmp_path, "writer", {})
    state.path.write_bytes(state.path.read_bytes()[:-5])
    result = audit([history], type(state)(state.path, "writer"), loaded=0)
    assert result["lost"].verdict is Validity.UNKNOWN
    assert "writer was not read back to its end" in result["lost"].explanation


def test_a_checker_that_crashes_says_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise KeyError("oh\nno")

    for module in (_counters, _writes):
        monkeypatch.setattr(module, "deviation_of", broken)
    result = audit_of(tmp_path, [update(1, 5, 0, 9), get(1, 0, 10, 11)], {1: (5, 0)}, loaded=1)
    for name in ("lost", "unexpected", "applied_twice", "counters"):
        assert result[name].verdict is Validity.UNKNOWN
        assert result[name].explanation == "the checker failed: KeyError: 'oh\\nno'"
    assert result["stale_reads"].verdict is Validity.FALSE


def test_a_history_that_is_damaged_half_way_counts_as_cut(tmp_path: Path) -> None:
    history = write_history(tmp_path, 0, [update(1, 5, 0, 9)], cut=True)
    with history.path.open("ab") as file:
        file.write(block_of(b"what is no record", file.tell()))
    result = audit([History(history.path)], write_state(tmp_path, "writer", {1: (5, 0)}), loaded=1)
    assert {check.verdict for name, check in result.checks.items() if name not in ("linearizable", "replicas")} == {
        Validity.UNKNOWN
    }
    assert f"{history.path}: has a block that is not of whole records" in result["lost"].explanation


def test_clocks_that_cannot_be_compared_leave_the_order_open(tmp_path: Path) -> None:
    one = write_history(tmp_path, 0, [update(1, 5, 0, 9), insert(NEW, 3, 0, 8, "fail")])
    other = write_history(tmp_path, 1, [get(1, 0, 20, 21, worker=1)])
    object.__setattr__(other.header, "clock", "another boot")
    result = audit([one, other], write_state(tmp_path, "writer", {1: (0, 0), NEW: (3, 0)}), loaded=1)
    assert result["lost"].verdict is Validity.UNKNOWN
    assert result["stale_reads"].verdict is Validity.UNKNOWN
    assert result["unexpected"].verdict is Validity.FALSE, "no order is needed for that"


def test_without_any_history_nothing_is_true(tmp_path: Path) -> None:
    result = audit([], write_state(tmp_path, "writer", {1: (0, 0)}), loaded=1)
    assert {check.verdict for name, check in result.checks.items() if name != "replicas"} == {Validity.UNKNOWN}


SECOND = 1_000_000


def test_a_finding_says_what_came_last_before_it(tmp_path: Path) -> None:
    writes = [update(key, NEW + key, at * SECOND, at * SECOND + 1) for key, at in enumerate((1, 4, 7, 10), 1)]
    kill = [Event(2 * SECOND, "fault-started", "kill writer"), Event(8 * SECOND, "fault-ended", "kill writer")]
    promote = [Event(3 * SECOND, "promotion", "standby")]
    found = audit_of(tmp_path, writes, dict.fromkeys(range(1, 5), (0, 0)), events=[*kill[:1], *promote, *kill[1:]], loaded=4)
    places = [(finding.faults, finding.after) for finding in found["lost"].findings]
    assert places == [((), ""), (("kill writer",), ""), (("kill writer",), ""), ((), "2.000 s after the end of kill writer")]
    found = audit_of(_sub(tmp_path), writes[2:3], {3: (0, 0)}, events=promote, loaded=3)
    assert found["lost"].findings[0].after == "4.000 s after the promotion of standby"
    shown = found["lost"].to_dict()["findings"]
    assert place_of(shown[0]) == "at 7.000 s, 4.000 s after the promotion of standby"
    assert "at 7.000 s, 4.000 s after the promotion of standby: " in found["lost"].explanation


def test_the_controllers_history_may_be_cut_because_it_holds_no_writes(tmp_path: Path) -> None:
    histories = [write_history(tmp_path, 0, []), write_history(tmp_path, -1, [], cut=True)]
    result = audit(histories, write_state(tmp_path, "writer", {}), loaded=0, workers=[0])
    verdicts = {name: check.verdict for name, check in result.checks.items() if name != "replicas"}
    assert verdicts.pop("unexpected") is Validity.TRUE
    assert set(verdicts.values()) == {Validity.NOT_APPLICABLE}, "which it would not be if a write could be missing"
    assert {result[name].explanation for name in ("stale_reads", "monotonic_reads")} == {"no read was kept"}


def test_all_on_one_row(tmp_path: Path) -> None:
    steps = [incr(1, 2, 10 + i) for i in range(20_000)]
    result = audit_of(tmp_path, steps, {1: (0, 40_000)}, loaded=1)
    assert result["counters"].verdict is Validity.TRUE


def test_replicas_of_which_none_was_read_back_are_not_known_to_agree(tmp_path: Path) -> None:
    rows: Rows = {1: (0, 0), 2: (0, 0)}
    assert replicas_of(tmp_path, rows)["replicas"].verdict is Validity.UNKNOWN


def test_a_server_alone_has_no_replica_that_could_differ(tmp_path: Path) -> None:
    check = audit_of(tmp_path, [], {1: (0, 0)}, **PRIMARY)["replicas"]
    assert (check.verdict, check.explanation) == (Validity.NOT_APPLICABLE, "there is no server but the primary")


def test_rows_that_are_as_they_were_inserted_count_as_writes_that_could_have_been_lost(tmp_path: Path) -> None:
    """They are left out when they cannot violate a check."""
    assert audit_of(tmp_path, [insert(NEW, NEW, 0, 9)], {NEW: (NEW, 0)})["lost"].verdict is Validity.TRUE


def test_where_others_wrote_too_nothing_is_held_against_the_servers(tmp_path: Path) -> None:
    """Users in Python may write to the audited table with a client of their own. The lost write, the foreign row and the
    counter that is off may all be their doing."""
    ops, final = [update(1, NEW, 10, 20), incr(2, 1, 30)], {1: (0, 0), 2: (FOREIGN, 5)}
    without = audit_of(tmp_path, ops, final, loaded=2)
    wrong = {name for name, check in without.checks.items() if check.verdict is Validity.FALSE}
    assert wrong >= {
        "lost",
        "unexpected",
        "counters",
    }
    found = audit_of(_sub(tmp_path), ops, final, loaded=2, events=[Event(5, UNAUDITED_WRITES, "drill.t")])
    assert not [name for name, check in found.checks.items() if check.verdict is Validity.FALSE]
    for name in ("lost", "unexpected", "counters"):
        check = found[name]
        assert (check.verdict, check.count) == (Validity.UNKNOWN, 0)
        assert "users in Python wrote to drill.t with a client of their own, and no history holds that" in check.explanation
        assert check.possible > 0
