"""What a row that is not linearizable tells, and what other checks tell already: lost writes, and a promotion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hs_drill.audit._audit import Validity
from hs_drill.store import Event, MixOperation, Operation
from tests.loadtest.support.audited import ONE, PRIMARY, get, update
from tests.loadtest.support.histories import Op, audit_of

PROMOTED = [Event(0, "phase", "load"), Event(100, "fault-started", "promote standby"), Event(110, "promotion", "standby")]
LOST = [update(1, 5, 10, 20), get(1, 5, 30, 40)]
"""The promoted server lacks it; that somebody had read it is no contradiction."""


def test_a_finding_names_the_operations_that_contradict_each_other(tmp_path: Path) -> None:
    ops = [update(1, 5, 0, 9), update(1, 6, 10, 11, user=3), get(1, 5, 20, 21, user=7, worker=1), get(1, 6, 22, 23)]
    check = audit_of(tmp_path, ops, {1: (6, 0)}, **PRIMARY, sampled=0.5)["linearizable"]
    (finding,) = check.findings
    assert (finding.key, finding.time) == (1, 20e-6)
    assert finding.line == (
        "no order explains that the update of version v0000000000000005 by user 0 of worker 0 (0.000000 to 0.000009 s) ended "
        "before the update of version v0000000000000006 by user 3 of worker 0 (0.000010 to 0.000011 s) began, and that ended "
        "before a read of version v0000000000000005 by user 7 of worker 1 (0.000020 to 0.000021 s) began"
    )
    assert check.explanation == (
        f"1 row shows what no order of its writes explains: key 1 at 0.000 s: {finding.line}; "
        "examined: 1 row that was written to, 2 reads of the primary, a sample of 50 %, what 1 row held at the "
        "end, 0 writes of unknown outcome"
    )


def test_what_a_row_held_at_the_end_is_told_as_the_last_read(tmp_path: Path) -> None:
    ops = [update(1, 5, 0, 9), update(1, 6, 0, 12, user=3), get(1, 5, 10, 11), get(1, 6, 13, 14)]
    check = audit_of(tmp_path, ops, {1: (5, 0)}, **PRIMARY)["linearizable"]
    (finding,) = check.findings
    assert (finding.key, finding.time) == (1, None)
    assert finding.line == (
        "no order explains that the update of version v0000000000000005 by user 0 of worker 0 (0.000000 to 0.000009 s) ended "
        "before a read of version v0000000000000006 by user 0 of worker 0 (0.000013 to 0.000014 s) began, and the update of "
        "version v0000000000000006 by user 3 of worker 0 (0.000000 to 0.000012 s) ended before the read-back of version "
        "v0000000000000005 (at the end) began"
    )


def test_a_write_of_unknown_outcome_is_told_as_one(tmp_path: Path) -> None:
    ops = [update(1, 5, 0, 1, "info"), get(1, 5, 4, 5), get(1, 0, 9, 10)]
    check = audit_of(tmp_path, ops, {1: (5, 0)}, **PRIMARY)["linearizable"]
    assert check.findings[0].line == (
        "no order explains that a read of version v0000000000000005 by user 0 of worker 0 (0.000004 to 0.000005 s) ended "
        "before a read of the version from before the run by user 0 of worker 0 (0.000009 to 0.000010 s) began"
    )
    assert check.explanation.endswith(", what 1 row held at the end, 1 write of unknown outcome")


def after_promotion(path: Path, *ops: Op, final: int) -> tuple[Validity, int, int]:
    check = audit_of(path, [*LOST, *ops], {1: (final, 0)}, events=PROMOTED, primary="standby", **PRIMARY)["linearizable"]
    return check.verdict, check.count, check.elsewhere


def test_what_a_promoted_server_lacks_is_told_as_lost(tmp_path: Path) -> None:
    assert after_promotion(tmp_path, get(1, 0, 120, 130), final=0) == (Validity.FALSE, 0, 1)


def test_also_if_a_later_write_hides_the_loss(tmp_path: Path) -> None:
    ops = [get(1, 0, 120, 130), update(1, 6, 140, 150), get(1, 6, 160, 170)]
    assert after_promotion(tmp_path, *ops, final=6) == (Validity.FALSE, 0, 1)


def test_which_is_not_told_as_what_another_check_found(tmp_path: Path) -> None:
    ops = [*LOST, get(1, 0, 120, 130), update(1, 6, 140, 150)]
    result = audit_of(tmp_path, ops, {1: (6, 0)}, events=PROMOTED, primary="standby", **PRIMARY)
    assert result["lost"].count == 0
    assert result["linearizable"].measured["promotion_rows"] == 1
    told = "not linearizable: 1 row because a promoted server lacked writes that later ones hide; examined: "
    assert result["linearizable"].explanation.startswith(told)


def test_a_read_during_the_promotion_may_be_of_either_server(tmp_path: Path) -> None:
    ops = [get(1, 0, 101, 109), update(1, 6, 140, 150)]
    assert after_promotion(tmp_path, *ops, final=6) == (Validity.FALSE, 0, 1)


def test_what_it_held_at_the_end_is_like_a_read_after_the_promotion(tmp_path: Path) -> None:
    seen = [update(1, 6, 60, 70, "info"), get(1, 6, 80, 90)]
    assert after_promotion(tmp_path, *seen, final=5) == (Validity.FALSE, 0, 1)


def test_but_not_what_the_promoted_server_had_shown_before(tmp_path: Path) -> None:
    seen = [update(1, 6, 60, 70, "info"), get(1, 6, 120, 130)]
    assert after_promotion(tmp_path, *seen, final=5) == (Validity.FALSE, 1, 0)


def test_an_old_primary_that_answers_after_the_promotion_is_no_loss(tmp_path: Path) -> None:
    ops = [update(1, 6, 140, 150), get(1, 5, 160, 170)]
    assert after_promotion(tmp_path, *ops, final=6) == (Validity.FALSE, 1, 0)


def test_nor_is_a_row_that_went_back_before_the_promotion(tmp_path: Path) -> None:
    assert after_promotion(tmp_path, get(1, 0, 50, 60), update(1, 6, 140, 150), final=6) == (Validity.FALSE, 1, 0)


def test_rows_that_other_checks_tell_are_counted(tmp_path: Path) -> None:
    ops = [update(1, 5, 0, 9), get(1, 0, 10, 11), update(2, 6, 0, 9, "fail"), update(2, 7, 0, 9), get(2, 6, 20, 21)]
    result = audit_of(tmp_path, ops, {1: (0, 0), 2: (7, 0)}, loaded=2, reads_primary=True)
    assert result["linearizable"].explanation == (
        "not linearizable: 1 row because of what `unexpected` found, 1 row because of what `lost` found; examined: 2 rows that "
        "were written to, 2 reads of the primary, what 2 rows held at the end, 0 writes of unknown outcome"
    )
    assert result["lost"].count == result["unexpected"].count == 1


def test_reads_of_readers_are_not_judged(tmp_path: Path) -> None:
    check = audit_of(tmp_path, [update(1, 5, 0, 9), get(1, 0, 10, 11)], {1: (5, 0)}, **ONE)["linearizable"]
    assert check.explanation == "reads went to readers, and a reader need not show the latest write"


MIX = (
    MixOperation(Operation.UPDATE, "update", Operation.UPDATE),
    MixOperation(Operation.GET, "get", Operation.GET, 0),
    MixOperation(9, "basket", Operation.GET, 0, (), True),
)


def test_of_a_mix_that_reads_there_and_elsewhere_only_reads_of_the_primary_count(tmp_path: Path) -> None:
    ops = [update(1, 5, 0, 9), get(1, 0, 10, 11), get(1, 5, 12, 13), update(2, 6, 0, 9), get(2, 0, 10, 11)]
    ops = [replace(op, operation="basket") if op.start == 12 or (op.key, op.operation) == (2, "get") else op for op in ops]
    result = audit_of(tmp_path, ops, {1: (5, 0), 2: (6, 0)}, loaded=2, mix=MIX)
    check = result["linearizable"]
    assert [finding.key for finding in check.findings] == [2]
    assert "examined: 2 rows that were written to, 2 reads of the primary, what 2 rows held at the end, " in check.explanation
    assert result["stale_reads"].count == 2
    assert result["replicas"].verdict is not Validity.NOT_APPLICABLE, "there are other servers"


def test_without_such_a_read_it_is_not_applicable(tmp_path: Path) -> None:
    check = audit_of(tmp_path, [update(1, 5, 0, 9), get(1, 5, 10, 11)], {1: (5, 0)}, mix=MIX, **ONE)["linearizable"]
    assert (check.verdict, check.explanation) == (Validity.NOT_APPLICABLE, "no read of the primary was kept")


def test_behind_a_router_it_is_not_known_which_reads_went_to_the_primary(tmp_path: Path) -> None:
    check = audit_of(tmp_path, [update(1, 5, 0, 9), get(1, 0, 10, 11)], {1: (5, 0)}, routed=True, **ONE)["linearizable"]
    assert check.explanation.startswith("which reads went to the primary is not known behind a router")
    assert check.verdict is Validity.NOT_APPLICABLE
