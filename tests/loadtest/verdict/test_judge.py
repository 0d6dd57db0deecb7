"""The verdict: every expectation passed, missed and unknown, what the audit found, and the exit code."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hs_drill.audit._audit import Audit, Check, Validity
from hs_drill.audit._examination import CHECKERS
from hs_drill.metrics import NOT_THERE, OTHER_ERRORS, percentile
from hs_drill.scenario import Expect
from hs_drill.store import HistoryFaultWindow, unix_faults
from hs_drill.verdict._judge import ENDED, Judgement, judge
from hs_drill.verdict._judged import Judged, Result
from tests.loadtest.support.histories import write_history
from tests.loadtest.support.judging import KILL, MISS, PASS, RUN, UNKNOWN, batch, fault, judged, steady


@pytest.mark.parametrize(
    "expect, name, result, measured",
    [
        ({"availability": 0.975}, "availability", PASS, 0.975),
        ({"availability": "97.6%"}, "availability", MISS, 0.975),
        ({"availability": {"before": 1.0}}, "availability.before", PASS, 1),
        ({"availability": {"during": 0.9}}, "availability.during", PASS, 0.9),
        ({"availability": {"during": 0.95}}, "availability.during", MISS, 0.9),
        ({"availability": {"after": "100%"}}, "availability.after", PASS, 1),
        ({"throughput": 390.0}, "throughput", PASS, 390),
        ({"throughput": 391.0}, "throughput", MISS, 390),
        ({"throughput": {"during": 360.0}}, "throughput.during", PASS, 360),
        ({"latency": {"get": {"p50": 0.001}}}, "latency.get.p50", PASS, 0.001),
        ({"latency": {"get": {"p99": "49ms"}}}, "latency.get.p99", MISS, 0.05),
        ({"latency": {"all": {"p99.9": {"before": "1ms"}}}}, "latency.all.p99.9.before", PASS, 0.001),
        ({"latency": {"all": {"max": {"during": "50ms"}}}}, "latency.all.max.during", PASS, 0.05),
        ({"latency": {"insert": {"p50": "1s"}}}, "latency.insert.p50", UNKNOWN, None),
        ({"errors": 40}, "errors.all", PASS, 40),
        ({"errors": {"all": 39}}, "errors.all", MISS, 40),
        ({"errors": {"ConnectionError": 39}}, "errors.ConnectionError", MISS, 40),
        ({"errors": {NOT_THERE: 0}}, f"errors.{NOT_THERE}", PASS, 0),
        ({"recovery": "1s"}, "recovery.steady", PASS, 1),
        ({"recovery": {"steady": "900ms"}}, "recovery.steady", MISS, 1),
        ({"recovery": {"first_success": "250ms"}}, "recovery.first_success", PASS, 0.25),
        ({"recovery": {"first_success": "200ms"}}, "recovery.first_success", MISS, 0.25),
    ],
)
def test_what_is_expected_is_measured(expect: dict[str, Any], name: str, result: Result, measured: float | None) -> None:
    (one,) = judged(expect)
    assert (one.name, one.result) == (name, result), one.line
    assert one.measured == (None if measured is None else pytest.approx(measured))


@pytest.mark.parametrize(
    "expect",
    [
        {"availability": 0.1},
        {"throughput": 0.0},
        {"latency": {"all": {"p50": "1h"}}},
        {"errors": 0},
        {"recovery": "1h"},
    ],
)
def test_nothing_measured_is_unknown(expect: dict[str, Any]) -> None:
    (one,) = judged(expect, [], [])
    assert one.result is UNKNOWN
    assert one.measured is None


@pytest.mark.parametrize(
    "expect", [{"errors": {"all": 0, "ConnectionError": 0}}, {"recovery": {"first_success": "1h"}}, {"throughput": 0.0}]
)
def test_without_a_counted_operation_every_measurement_is_unknown(expect: dict[str, Any]) -> None:
    for one in judged(expect, steady(0, 8, 0), [fault(1, 2)]):
        assert (one.result, one.line) == (UNKNOWN, "no operation was counted")


def test_errors_of_unknown_kind_leave_the_expectation_unknown() -> None:
    batches = [batch(0, 1, 3), batch(0.25, 1, 2, error=OTHER_ERRORS)]
    for limit, result in ((2, MISS), (3, UNKNOWN), (4, UNKNOWN), (5, PASS)):
        assert [one.result for one in judged({"errors": {"ConnectionError": limit}}, batches, [])] == [result]
    assert [one.result for one in judged({"errors": 5}, batches, [])] == [PASS]


@given(st.dictionaries(st.integers(0, 100), st.integers(1, 5), min_size=1), st.sampled_from([50.0, 90.0, 99.0, 99.9, 100.0]))
def test_a_percentile_is_the_smallest_that_covers_its_share(latencies: dict[int, int], percent: float) -> None:
    counted = Counter(latencies)
    found = percentile(counted, percent)
    needed = counted.total() * percent / 100
    assert sum(count for value, count in counted.items() if value <= found) >= needed - 1e-6
    assert sum(count for value, count in counted.items() if value < found) < needed


def test_the_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no latencies"):
        percentile(Counter(), 50)


def test_faults_of_the_history_are_converted_to_unix_time(tmp_path: Path) -> None:
    header = write_history(tmp_path, 0, []).header
    windows = [HistoryFaultWindow("kill", header.monotonic_ns + 10**9, None)]
    (converted,) = unix_faults(windows, header)
    assert (converted.name, converted.end) == ("kill", None)
    assert converted.start == pytest.approx(header.unix_ns / 1e9 + 1)


def audit_with(**changed: Check) -> Audit:
    names = [*(checker.name for checker in CHECKERS), "replicas"]
    checks = {name: Check(name, Validity.TRUE, "fine") for name in names}
    return Audit({**checks, **changed}, (), (), 0)


def check(name: str, count: int = 0, possible: int = 0, verdict: str = "", **measured: float) -> Check:
    default = Validity.FALSE if count else Validity.UNKNOWN if possible else Validity.TRUE
    return Check(name, Validity(verdict) if verdict else default, "so it is", count, possible, (), measured)


def verdict(expect: dict[str, Any], audit: Audit | None) -> tuple[int, dict[str, Result]]:
    result = judge(Expect.model_validate(expect), RUN, KILL, audit, audited=True)
    return result.exit_code, {one.name: one.result for one in result.judged}


def test_an_audit_without_a_finding_passes() -> None:
    code, results = verdict({"staleness": 0.0, "monotonic_reads": True, "replicas_agree": True}, audit_with())
    assert code == 0
    always = {"lost", "applied_twice", "unexpected", "counters", "linearizable"}
    assert set(results) == always | {"staleness", "monotonic_reads", "replicas_agree"}


@pytest.mark.parametrize(
    "expect, found, code",
    [
        ({}, check("lost", 1), 3),
        ({"lost": 1}, check("lost", 1), 0),
        ({"lost": 1}, check("lost", 1, possible=1), 4),
        ({"lost": 2}, check("lost", 3), 3),
        ({"lost": "any"}, check("lost", 10**6), 0),
        ({}, check("lost", possible=1), 4),
        ({}, check("lost", verdict="unknown"), 4),
        ({"lost": 5}, check("lost", verdict="unknown"), 4),
        ({}, check("applied_twice", 1), 3),
        ({"applied_twice": "any"}, check("applied_twice", 1), 0),
        ({}, check("unexpected", 1), 3),
        ({"unexpected": 1}, check("unexpected", 1), 0),
        ({}, check("counters", 1), 3),
        ({"lost": 1}, check("counters", 1), 0),
        ({"lost": 1, "applied_twice": 1}, check("counters", 3), 3),
        ({"lost": "any"}, check("counters", 9), 0),
        ({}, check("stale_reads", 1, max_seconds=9.0), 0),
        ({"staleness": "2s"}, check("stale_reads", 1, telling=1, max_seconds=2.5), 1),
        ({"staleness": "2s"}, check("stale_reads", 1, telling=1, max_seconds=1.5), 0),
        ({"staleness": "2s"}, check("stale_reads", verdict="unknown", telling=1, max_seconds=1.5), 4),
        ({}, check("monotonic_reads", 1), 0),
        ({"monotonic_reads": True}, check("monotonic_reads", 1), 1),
        ({}, check("read_your_writes", 1), 0),
        ({"read_your_writes": True}, check("read_your_writes", 1), 1),
        ({"monotonic_writes": True}, check("monotonic_writes", 1), 1),
        ({"writes_follow_reads": True}, check("writes_follow_reads", 1), 1),
        ({}, check("no_resurrection", 1), 0),
        ({"no_resurrection": True}, check("no_resurrection", 1), 3),
        ({}, check("linearizable", 1), 3),
        ({}, check("linearizable", possible=1), 4),
        ({"linearizable": False}, check("linearizable", 1), 0),
        ({"linearizable": True}, check("linearizable", 1), 3),
        ({}, replace(check("linearizable", verdict="false"), elsewhere=2), 0),
        ({}, replace(check("linearizable", 1), elsewhere=2), 3),
        ({"linearizable": True}, replace(check("linearizable", verdict="false"), elsewhere=2), 3),
        ({}, replace(check("linearizable", verdict="false", promotion_rows=1), elsewhere=2), 3),
        ({"lost": "any"}, replace(check("linearizable", verdict="false", promotion_rows=1), elsewhere=2), 0),
        ({}, check("linearizable", verdict="not applicable"), 0),
        ({}, check("replicas", 1), 0),
        ({"replicas_agree": True}, check("replicas", 1), 3),
        ({"replicas_agree": True}, check("replicas", verdict="unknown"), 4),
        ({"errors": 0}, check("lost", 1), 3),
        ({"errors": 0}, check("lost", verdict="unknown"), 1),
        ({"errors": 0}, check("lost"), 1),
    ],
)
def test_what_the_audit_found_decides_the_exit_code(expect: dict[str, Any], found: Check, code: int) -> None:
    # Failures are expected here, so that only the audit decides.
    assert verdict({"availability": 0, **expect}, audit_with(**{found.name: found}))[0] == code


@pytest.mark.parametrize(
    "expect, name, judged_as, unknown",
    [
        ({"lost": 0}, "lost", "lost", True),
        ({"lost": 5}, "lost", "lost", True),
        ({"lost": "any"}, "lost", "lost", False),
        ({"errors": 40}, "lost", "lost", False),
        ({"applied_twice": 0}, "applied_twice", "applied_twice", True),
        ({"applied_twice": 0}, "counters", "counters", True),
        ({"lost": 0}, "counters", "counters", False),
        ({"staleness": "2s"}, "stale_reads", "staleness", True),
        ({"errors": 40}, "stale_reads", "staleness", False),
        ({"monotonic_reads": True}, "monotonic_reads", "monotonic_reads", True),
        ({"linearizable": True}, "linearizable", "linearizable", True),
        ({"errors": 40}, "linearizable", "linearizable", False),
        ({"replicas_agree": True}, "replicas", "replicas_agree", True),
    ],
)
def test_an_expectation_about_a_check_that_is_not_applicable_is_unknown(
    expect: dict[str, Any], name: str, judged_as: str, unknown: bool
) -> None:
    found = audit_with(**{name: check(name, verdict="not applicable")})
    result = judge(Expect.model_validate(expect), RUN, KILL, found, audited=True)
    assert {one.name for one in result.judged if one.result is UNKNOWN} == ({judged_as} if unknown else set())
    assert result.exit_code == (4 if unknown else 0)
    if unknown:
        (line,) = [one.line for one in result.judged if one.name == judged_as]
        assert line.startswith("not applicable, so the run shows nothing about it: so it is")


def test_a_default_expectation_about_a_check_that_is_not_applicable_counts_for_nothing() -> None:
    nothing = {name: check(name, verdict="not applicable") for name in ("applied_twice", "counters")}
    result = judge(Expect(lost=0), RUN, KILL, audit_with(**nothing), audited=True)
    assert {one.name for one in result.judged if one.result is Result.NOT_APPLICABLE} == {"applied_twice", "counters"}
    assert result.verdict == "pass: all 3 expectations hold"


@pytest.mark.parametrize("telling, measured, words", [(0, None, "at most 2 s"), (3, 0.5, "the stalest read lagged by 0.500 s")])
def test_how_far_reads_lagged_is_told_only_if_one_could_have_shown_it(telling: int, measured: float | None, words: str) -> None:
    stale = check("stale_reads", verdict="unknown", telling=telling, max_seconds=measured or 0.0)
    judged = judge(Expect(staleness=2.0), RUN, KILL, audit_with(stale_reads=stale), audited=True).judged
    (one,) = [one for one in judged if one.name == "staleness"]
    assert one.measured == measured
    assert one.line.startswith(words)


def test_an_audited_run_without_an_audit_is_inconclusive() -> None:
    code, results = verdict({"staleness": "2s"}, None)
    assert code == 4
    assert results == dict.fromkeys(["lost", "applied_twice", "unexpected", "counters", "staleness"], UNKNOWN)


def test_a_run_that_is_not_audited_is_not_judged_by_the_audit() -> None:
    result = judge(Expect(), steady(0, 2), KILL, None, audited=False)
    assert (result.exit_code, result.judged, result.verdict) == (0, [], "pass: nothing was expected")


@pytest.mark.parametrize("audited", [False, True])
def test_failures_where_nothing_is_expected_fail_the_run(audited: bool) -> None:
    found = audit_with() if audited else None
    result = judge(Expect(), RUN, KILL, found, audited=audited)
    assert (result.exit_code, result.verdict) == (1, "fail: 40 operations failed, and nothing was expected")
    assert [one.name for one in result.judged if one.result is MISS] == ["failures"]
    for expect in ({"errors": 40}, {"availability": 0}, {"latency": {"get": {"p50": "1s"}}}):
        result = judge(Expect.model_validate(expect), RUN, KILL, found, audited=audited)
        assert result.exit_code == 0, "what is expected says what may fail"
    lost = audit_with(lost=check("lost", 1))
    assert judge(Expect(), RUN, KILL, lost, audited=True).exit_code == 3


def test_failures_of_other_users_fail_a_run_that_expects_nothing() -> None:
    """Locust would exit with 1 for them, too."""
    requests = [{"name": "/", "failures": 1200}, {"name": "/x", "failures": 0}]
    others: dict[str, Any] = {"requests": requests, "errors": [], "exceptions": []}
    result = judge(Expect(), steady(0, 2), KILL, None, audited=False, others=others)
    assert (result.exit_code, result.verdict) == (1, "fail: 1,200 requests of other users failed, and nothing was expected")
    others["exceptions"] = [{"error": "'x'", "count": 3}]
    result = judge(Expect(), RUN, KILL, None, audited=False, others=others)
    failed = "40 operations and 1,200 requests of other users and 3 tasks of other users failed"
    assert (result.exit_code, result.verdict) == (1, f"fail: {failed}, and nothing was expected")
    expect = Expect.model_validate({"errors": 40})
    assert judge(expect, RUN, KILL, None, audited=False, others=others).exit_code == 0
    others = {"requests": [{"name": "/", "failures": 0}], "errors": [], "exceptions": []}
    assert judge(Expect(), steady(0, 2), KILL, None, audited=False, others=others).exit_code == 0


@pytest.mark.parametrize(
    "also, code",
    [
        ([], 5),
        ([Judged("x", UNKNOWN, None, 1, "y")], 5),
        ([Judged("x", MISS, 2, 1, "y")], 1),
        ([Judged("lost", MISS, 2, 1, "y", audit=True)], 3),
    ],
)
def test_a_run_that_was_ended_early_does_not_pass(also: list[Judged], code: int) -> None:
    result = Judgement([Judged(ENDED, UNKNOWN, None, None, "SIGTERM ended the run before its time"), *also])
    assert result.exit_code == code
    if code == 5:
        assert result.verdict == "incomplete: SIGTERM ended the run before its time; nothing was missed until then"


@pytest.mark.parametrize(
    "expected, error, counts",
    [
        ("ConnectionError", "IndexedConnectionError: reader-1: lost", True),
        ("ConnectionError", "ConnectionError: reader-1: lost", True),
        ("IndexedConnectionError", "ConnectionError: reader-1: lost", False),
        ("RecoverableConnectionError", "IndexedConnectionError: reader-1: lost", True),
        ("OperationalError", "ReadOnlyError: writer: it is", True),
        ("HandlerSocketError", "IndexedConnectionError: reader-1: lost", True),
        ("HandlerSocketError", NOT_THERE, False),
        (NOT_THERE, NOT_THERE, True),
        ("ReadOnlyError", "OperationalError: something else", False),
    ],
)
def test_an_error_counts_for_every_class_that_it_is_of(expected: str, error: str, counts: bool) -> None:
    run = [*steady(0, 1), batch(1, 90, failed=10, error=error)]
    (one,) = judged({"errors": {expected: 0}}, run, [])
    assert (one.result, one.measured) == ((MISS, 10) if counts else (PASS, 0))


def test_the_verdict_is_one_line() -> None:
    def one(result: Result, audit: bool = False) -> Judged:
        return Judged("x", result, None, None, "", audit)

    assert Judgement([one(PASS)]).verdict == "pass: all 1 expectations hold"
    assert Judgement([one(PASS), one(MISS)]).verdict == "fail: 1 of 2 expectations missed"
    assert Judgement([one(UNKNOWN), one(PASS)]).verdict == "inconclusive: 1 of 2 expectations could not be judged"
    assert Judgement([one(MISS, True)]).verdict.startswith("fail: the audit found writes")
    assert Judgement([one(MISS)]).to_dict()["exit_code"] == 1
