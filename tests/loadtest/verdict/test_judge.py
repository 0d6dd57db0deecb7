"""The verdict: every expectation passed, missed and unknown, the phases and recovery times behind them, and the exit code."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hs_drill.audit._audit import Audit, Check, Validity
from hs_drill.metrics import (
    EDGE,
    NOT_THERE,
    OTHER_ERRORS,
    PHASES,
    Batch,
    Begun,
    FaultWindow,
    OperationBatch,
    RunTotals,
    Timeline,
    collapse,
    percentile,
    total_of,
)
from hs_drill.scenario import Expect
from hs_drill.store import HistoryFaultWindow, unix_faults
from hs_drill.verdict._judge import Judged, Judgement, Result, judge
from hs_drill.verdict._recovery import recoveries
from tests.loadtest.support.histories import write_history

T0 = 1_700_000_000.0
PASS, MISS, UNKNOWN = Result.PASS, Result.MISS, Result.UNKNOWN


def batch(
    at: float, ok: int, failed: int = 0, *, us: int = 1000, name: str = "get", error: str = "ConnectionError: x"
) -> Batch:
    """A quarter of a second that begins `at` seconds into the run."""
    done = OperationBatch(
        Counter({us: ok} if ok else {}), Counter({5: failed} if failed else {}), Counter({error: failed} if failed else {})
    )
    return Batch(T0 + at, T0 + at + 0.25, {name: done} if ok or failed else {})


def steady(start: float, end: float, ok: int = 100, **more: Any) -> list[Batch]:
    return [batch(start + i * 0.25, ok, **more) for i in range(round((end - start) * 4))]


def fault(start: float, end: float | None, name: str = "kill") -> FaultWindow:
    return FaultWindow(name, T0 + start, None if end is None else T0 + end)


# One second good, one second of the fault with a tenth failing and slow answers, two seconds good.
RUN = [*steady(0, 1), *steady(1, 2, 90, failed=10, us=50_000), *steady(2, 4)]
KILL = [fault(1.0, 2.0)]


def judged(expect: dict[str, Any], batches: Sequence[Batch] = RUN, faults: Sequence[FaultWindow] = KILL) -> list[Judged]:
    result = judge(Expect.model_validate(expect), batches, faults, None, audited=False)
    for one in result.judged:
        assert one.line
        assert "\n" not in one.line
    return list(result.judged)


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


@pytest.mark.parametrize("phase", ["during", "after"])
def test_without_a_fault_nothing_is_during_or_after_it(phase: str) -> None:
    for expect in ({"availability": {phase: 0.0}}, {"throughput": {phase: 0.0}}, {"latency": {"all": {"p50": {phase: 1.0}}}}):
        assert [one.result for one in judged(expect, RUN, [])] == [UNKNOWN]
    assert [one.result for one in judged({"recovery": "1s"}, RUN, [])] == [UNKNOWN]


def test_errors_of_unknown_kind_leave_the_expectation_unknown() -> None:
    batches = [batch(0, 1, 3), batch(0.25, 1, 2, error=OTHER_ERRORS)]
    for limit, result in ((2, MISS), (3, UNKNOWN), (4, UNKNOWN), (5, PASS)):
        assert [one.result for one in judged({"errors": {"ConnectionError": limit}}, batches, [])] == [result]
    assert [one.result for one in judged({"errors": 5}, batches, [])] == [PASS]


def phases(batches: Sequence[Batch], faults: Sequence[FaultWindow]) -> dict[str, tuple[int, float]]:
    """How many operations each phase has, and how many seconds."""
    timeline = Timeline(batches, faults)
    found = {phase: timeline.total(phase) for phase in (*PHASES, EDGE)}
    return {phase: (done.ok.total() + done.failed.total(), round(length, 6)) for phase, (done, length) in found.items()}


def test_between_two_faults_is_after() -> None:
    # For a batch that begins as a fault ends, only latency shows when its operations began: some during the fault.
    assert phases(steady(0, 4), [fault(3, 3.5), fault(1, 1.5)]) == {
        "run": (1600, 4),
        "before": (400, 1),
        "during": (400, 1),
        "after": (600, 2),
        EDGE: (200, 0),
    }


def test_a_slot_that_a_fault_only_touches_belongs_to_no_phase() -> None:
    assert phases(steady(0, 2), [fault(0.6, 1.1)]) == {
        "run": (800, 2),
        "before": (200, 0.5),
        "during": (100, 0.25),
        "after": (300, 0.75),
        EDGE: (200, 0.5),
    }
    short = [fault(0.3, 0.31)]
    assert phases(steady(0, 1), short)["during"] == (0, 0)
    for expect in (
        {"latency": {"get": {"p50": {"during": "1h"}}}},
        {"availability": {"during": 0}},
        {"throughput": {"during": 0}},
    ):
        (one,) = judged(expect, steady(0, 1), short)
        assert one.result is UNKNOWN
        assert "during the faults, of which the longest was certainly on for 0.01 s; 100 operations were under way" in one.line


def test_a_fault_without_an_end_lasts() -> None:
    assert phases(steady(0, 1), [fault(0.5, None)])["during"] == (200, 0.5)


def test_what_a_fault_does_while_it_strikes_and_heals_is_at_the_edge() -> None:
    slow = FaultWindow("kill", T0 + 1, T0 + 3, struck=T0 + 1.5, healing=T0 + 2)
    found = phases(steady(0, 5), [slow])
    assert [length for _, length in found.values()] == [5, 1, 0.5, 2, 1.5]
    never = FaultWindow("kill", T0 + 1, None, struck=math.inf)
    assert phases(steady(0, 5), [never])["during"] == (0, 0)


def begun(start: float, end: float, *generations: tuple[float, float, int], us: int = 1000, **more: Any) -> Batch:
    """A batch whose operations are known to have begun between these moments, so many of them."""
    told = [Begun(T0 + since, T0 + until, {"get": OperationBatch(Counter({us: ok}))}) for since, until, ok in generations]
    return Batch(T0 + start, T0 + end, total_of(told), begun=told, **more)


def test_operations_that_a_stall_held_up_are_during_it_although_they_end_later() -> None:
    """They are not part of its throughput: nothing ended meanwhile."""
    run = [
        begun(0, 1, (0, 1, 100)),
        begun(1, 2, (1, 2, 0)),
        begun(2, 2.25, (0, 1, 8), (1, 2, 1), (2, 2.25, 25), us=1_200_000),  # of before the stall, of the stall, and of after it
        begun(2.25, 3, (2, 3, 75)),
    ]
    timeline = Timeline(run, [fault(1, 2)])
    assert {phase: timeline.total(phase)[0].ok.total() for phase in (*PHASES, EDGE)} == {
        "run": 209,
        "before": 100,
        "during": 9,
        "after": 100,
        EDGE: 0,
    }
    assert [timeline.throughput(phase) for phase in ("before", "during", "after")] == [100, 0, 109]


def test_throughput_divides_by_the_time_of_the_load() -> None:
    """Operations that end after the load count for the run, but the time after the load does not."""
    run = [
        *steady(0, 2),
        begun(2, 2.25, (0, 2, 8), us=100_000, load_end=T0 + 2),
        begun(2.25, 5, (0, 2, 0), load_end=T0 + 2),
    ]
    for faults in ([], [fault(1, None)]):
        timeline = Timeline(run, faults)
        assert timeline.seconds == 2
        assert timeline.total("run")[0].ok.total() == 808
        assert timeline.throughput("run") == 404
        assert timeline.throughput("during" if faults else "before") == 400
    (one,) = judged({"throughput": 404}, run, [])
    assert one.result is PASS
    record = RunTotals()
    for one_batch in run:
        record.merge(one_batch)
    assert record.seconds == 2


def test_a_queue_that_is_worked_off_after_the_load_does_not_count_as_throughput_of_the_last_phase() -> None:
    """An open loop of 200 a second of which 100 get done: no phase had more."""
    run = [
        *(begun(i / 4, (i + 1) / 4, (i / 8, (i + 1) / 8, 25)) for i in range(16)),
        begun(4, 6, (2, 4, 400), load_end=T0 + 4),
    ]
    timeline = Timeline(run, [fault(1, 2)])
    assert [timeline.throughput(phase) for phase in PHASES] == [200, 100, 100, 100]


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[FaultWindow], list[tuple[int, int]], list[int], list[int]]:
    """Faults, operations, moments of marks and of the ends of batches. In hundredths of a second; operations begin and end
    between those."""
    faults = []
    for _ in range(draw(st.integers(0, 3))):
        moments = sorted(draw(st.lists(st.integers(0, 60), min_size=4, max_size=4)))
        start, struck, healing, end = (T0 + moment / 100 for moment in moments)
        shape = draw(st.integers(0, 3))
        faults.append(
            [
                FaultWindow("slow", start, end, struck, healing),
                FaultWindow("at once", start, end),
                FaultWindow("stays", start, None, struck),
                FaultWindow("does not heal", start, None, struck, healing),
            ][shape]
        )
    begins = st.tuples(st.integers(0, 60), st.integers(0, 40))
    operations = [(begin, begin + length) for begin, length in draw(st.lists(begins, max_size=12))]
    marks = draw(st.lists(st.integers(1, 100), max_size=8))
    ends = draw(st.lists(st.integers(1, 100), max_size=8))
    return faults, operations, sorted({0, *marks}), sorted({*marks, *ends, 101})


def batches_of(operations: Sequence[tuple[int, int]], marks: Sequence[int], ends: Sequence[int], *, told: bool) -> list[Batch]:
    """What an engine would tell of these operations, each by a name of its own. Not `told`: as in old kept runs."""
    found, since = [], 0
    for until in ends:
        generations: dict[int, dict[str, OperationBatch]] = {max(mark for mark in marks if mark <= since): {}}
        for number, (begin, end) in enumerate(operations):
            if since <= end < until:
                generation = generations.setdefault(max(mark for mark in marks if mark <= begin), {})
                generation[f"{number}"] = OperationBatch(collapse({(end - begin) * 10_000: 1}))
        later = [*marks, math.inf]
        tell = [
            Begun(T0 + mark / 100, T0 + min(min(one for one in later if one > mark), until) / 100, done)
            for mark, done in sorted(generations.items())
        ]
        found.append(Batch(T0 + since / 100, T0 + until / 100, total_of(tell), begun=tell if told else []))
        since = until
    return found


def exactly(begin: float, end: float, faults: Sequence[FaultWindow]) -> str:
    """The phase of one operation whose interval is known."""
    if any(since <= until and begin <= until and end >= since for since, until in (fault.certain for fault in faults)):
        return "during"
    if any(begin < (math.inf if fault.end is None else fault.end) and end > fault.start for fault in faults):
        return EDGE
    return "after" if any(fault.start < begin for fault in faults) else "before"


@given(runs(), st.booleans(), st.booleans())
def test_no_operation_is_ever_in_a_wrong_phase(
    run: tuple[list[FaultWindow], list[tuple[int, int]], list[int], list[int]], told: bool, timely: bool
) -> None:
    """However late marks come, if at all. When they come in time, every operation that has a phase counts for it."""
    faults, operations, marks, ends = run
    if timely:
        edges = {
            round((moment - T0) * 100)
            for one in faults
            for moment in (one.start, one.end, *one.certain)
            if moment is not None and moment < math.inf
        }
        marks = sorted({*marks, *edges})
        ends = sorted({*ends, *edges} - {0})
    timeline = Timeline(batches_of(operations, marks, ends, told=told), faults)
    for number, (begin, end) in enumerate(operations):
        (found,) = [phase for phase in (*PHASES[1:], EDGE) if timeline.total(phase, f"{number}")[0]]
        exact = exactly(T0 + (begin + 0.5) / 100, T0 + (end + 0.5) / 100, faults)
        assert found == exact or (found == EDGE and not (told and timely)), (begin, end)
        assert timeline.total("run", f"{number}")[0].ok.total() == 1
    assert sum(timeline.total(phase)[1] for phase in (*PHASES[1:], EDGE)) == pytest.approx(timeline.seconds)


def test_engines_are_added_up_and_late_batches_belong_where_they_began() -> None:
    late = [Batch(T0 + i * 0.25 + 0.01, T0 + i * 0.25 + 0.28, steady(0, 0.25)[0].operations) for i in range(4)]
    timeline = Timeline([*steady(0, 1), *late], [])
    assert timeline.slot == 0.25
    assert [slot["get"].ok for slot in timeline.slots if slot] == [200] * 4


def test_longer_batches_make_longer_slots() -> None:
    one = Batch(T0, T0 + 1.0, steady(0, 0.25)[0].operations)
    assert Timeline([one, *steady(1, 2)], []).slot == 1.0


def recovery(batches: Sequence[Batch], *faults: FaultWindow) -> tuple[float | None, float | None, float | None]:
    (one,) = recoveries(Timeline(batches, faults))
    return one.first_error, one.first_success, one.steady


def test_a_fault_without_any_effect() -> None:
    assert recovery(steady(0, 4), fault(1, 2)) == (None, 0.0, 0.0)


def test_errors_without_a_success_until_the_server_is_back() -> None:
    run = [*steady(0, 1), *steady(1, 2), *steady(2, 3, 0, failed=5), *steady(3, 6)]
    assert list(recovery(run, fault(1.9, 3))) == pytest.approx([0.1, 1.35, 1.1])


def test_what_succeeded_just_before_the_first_error_is_no_recovery() -> None:
    run = [*steady(0, 1.75), *steady(1.75, 2, 60, failed=5), *steady(2, 4, 0, failed=5), *steady(4, 6)]
    assert recovery(run, fault(1.9, 3))[1] == pytest.approx(2.35)
    flickering = [*steady(0, 1.75), *steady(1.75, 4, 60, failed=5), *steady(4, 6)]
    assert recovery(flickering, fault(1.9, 3))[1] == pytest.approx(0.1)


def test_a_stall_makes_no_errors_and_is_no_steady_state() -> None:
    run = [*steady(0, 2), *steady(2, 3, 0), *steady(3, 6)]
    first_error, _, steady_again = recovery(run, fault(2, 3))
    assert first_error is None
    # The second that begins 0.25 s after the stall did has a quarter of the earlier throughput, but the stall goes on.
    assert steady_again == 1


@pytest.mark.parametrize("until, steady_again", [(3, 1), (3.25, 1.25), (3.75, 1.75), (5, 3)])
def test_a_stall_lasts_until_it_ends(until: float, steady_again: float) -> None:
    """Also when a little gets through. For a rare operation, a single slot shows nothing."""
    run = [*steady(0, 2), *steady(2, until, 3), *steady(until, 8)]
    assert recovery(run, fault(2, until))[2] == steady_again
    rare = [*steady(0, 2, 4), *steady(2, 3, 0), *steady(3, 3.25, 4), *steady(3.25, 3.5, 0), *steady(3.5, 8, 4)]
    assert recovery(rare, fault(2, 3))[2] == 0.25


@pytest.mark.parametrize("ok, steady_again", [(24, None), (25, 0.0)])
def test_a_quarter_of_the_throughput_before_is_steady(ok: int, steady_again: float | None) -> None:
    assert recovery([*steady(0, 4), *steady(4, 10, ok)], fault(4, None))[2] == steady_again


@pytest.mark.parametrize("start, before", [(0.0, "0.00"), (0.3, "0.25"), (-5.0, "0.00")])
def test_without_a_throughput_to_compare_with_nothing_is_steady(start: float, before: str) -> None:
    """However few operations succeed then: 4 of 400 a second, and in the end none."""
    slow = [*steady(0, 0.25), *steady(0.25, 6, 1), *steady(6, 8, 0)]
    (one,) = recoveries(Timeline(slow, [fault(start, None)]))
    assert (one.steady, one.first_success) == (None, 0.0)
    (unknown,) = judged({"recovery": "1s"}, slow, [fault(start, None)])
    assert (unknown.result, unknown.measured) == (UNKNOWN, None)
    assert unknown.line.startswith(f"only {before} s before the first fault were measured"), unknown.line
    assert "start that fault 1 s or more after the load, and after its warm-up" in unknown.line


def test_a_second_before_the_first_fault_is_enough_to_compare_with_although_slots_cut_it() -> None:
    for begun in (0.0, 0.1, 0.24):
        run = [Batch(one.start + begun, one.end + begun, one.operations) for one in [*steady(0, 1.25), *steady(1.25, 6, 1)]]
        (one,) = judged({"recovery": "1s"}, run, [fault(begun + 1, None)])
        assert one.result is MISS, one.line


def test_operations_that_all_failed_before_the_first_fault_are_nothing_to_compare_with() -> None:
    run = [*steady(0, 2, 0, failed=1), *steady(2, 6, 1)]
    (one,) = judged({"recovery": "1s"}, run, [fault(2, 3)])
    assert (one.result, one.line.partition(",")[0]) == (UNKNOWN, "no operation succeeded before the first fault")


def test_failing_for_too_long_is_a_miss_without_any_throughput_to_compare_with() -> None:
    run = [*steady(0, 3, 100, failed=1), *steady(3, 8)]
    for limit, result in (("2s", MISS), ("3s", UNKNOWN), ("5s", UNKNOWN)):
        (one,) = judged({"recovery": limit}, run, [fault(0, 1)])
        assert one.result is result, one.line


def test_one_operation_that_never_comes_back() -> None:
    run = [*steady(0, 6), *steady(0, 2, name="insert"), *steady(2, 6, 0, failed=1, name="insert")]
    first_error, first_success, steady_again = recovery(run, fault(2, None))
    assert (first_error, first_success, steady_again) == (0.0, None, None)
    (one,) = judged({"recovery": {"first_success": "2s"}}, run, [fault(2, None)])
    assert (one.result, one.measured) == (MISS, None)
    for limit in ("3.5s", "10s"):  # and what begins within the limit has to last for a second
        (one,) = judged({"recovery": {"first_success": limit}}, run, [fault(2, None)])
        assert one.result is UNKNOWN, "it was not watched for so long"


def test_a_run_that_ends_too_early_cannot_tell_whether_it_is_steady() -> None:
    run = [*steady(0, 1), *steady(1, 2, 0, failed=5), *steady(2, 2.5)]
    assert recovery(run, fault(1, 2))[2] is None
    assert recovery(steady(0, 2.75), fault(2, None))[2] is None, "not even where nothing happened"
    assert recovery(steady(0, 3), fault(2, None))[2] == 0.0


def test_a_slot_that_failed_since_before_the_fault_failed_from_its_start_on() -> None:
    run = [*steady(0, 1.75), *steady(1.75, 3, 50, failed=5), *steady(3, 6)]
    assert recovery(run, fault(1.9, 3))[0] == 0.0


def test_each_fault_is_watched_until_the_next_one() -> None:
    faults = [fault(6, 7, "c"), fault(2, 3, "a"), fault(4, 5, "b")]
    found = recoveries(Timeline(steady(0, 9), faults))
    assert [(one.fault, one.seen, one.until) for one in found] == [
        ("a", 2.0, "b began"),
        ("b", 2.0, "c began"),
        ("c", 3.0, "the run ended"),
    ]


def test_a_fault_within_another_of_its_name_ends_neither() -> None:
    run = [*steady(0, 2), *steady(2, 10, 1), *steady(10, 13)]
    long, short = fault(2, 10, "latency"), fault(4, 6, "latency")
    assert phases(run, [long, short])["after"][1] == 3
    assert phases(run, [long, short])["during"][1] == 8
    one, other = recoveries(Timeline(run, [long, short]))
    assert (one.seen, one.until, one.steady) == (2, "latency began again", None)
    assert (other.seen, other.until, other.steady) == (9, "the run ended", 6)


def test_each_of_several_faults_is_recovered_from_on_its_own() -> None:
    run = [*steady(0, 2), *steady(2, 2.5, 50, failed=1), *steady(2.5, 5), *steady(5, 6, 50, failed=1), *steady(6, 9)]
    one, other = recoveries(Timeline(run, [fault(5, 6, "b"), fault(2, 3, "a")]))
    assert (one.fault, other.fault) == ("a", "b")
    assert [one.steady, other.steady] == pytest.approx([0.5, 1.0])
    (judged_one,) = judged({"recovery": "1s"}, run, [fault(5, 6, "b"), fault(2, 3, "a")])
    assert judged_one.result is PASS
    assert "start of b" in judged_one.line


def test_a_remedy_belongs_to_the_fault_before_it() -> None:
    run = [*steady(0, 2), *steady(2, 4, 0, failed=5), *steady(4, 9)]
    killed, promoted = fault(2, None, "kill writer"), fault(3, 3.5, "promote standby")
    one, other = recoveries(Timeline(run, [killed, promoted]))
    assert (one.steady, other.steady) == (2.0, 1.0)
    (judged_one,) = judged({"recovery": "3s"}, run, [killed, promoted])
    assert (judged_one.result, judged_one.measured) == (PASS, 2.0), judged_one.line


def test_a_fault_of_several_servers_is_one() -> None:
    """As the nemesis starts them: one right after the other, some milliseconds apart when the disk is slow."""
    run = [*steady(0, 3), *steady(3, 6.25, 20, failed=1), *steady(6.25, 12)]
    both = [fault(3, 5, "kill reader-1"), fault(3.004, 5.1, "kill reader-2")]
    found = recoveries(Timeline(run, both))
    assert [one.steady for one in found] == pytest.approx([3.25, 3.246])
    assert [one.seen for one in found] == pytest.approx([9, 8.996])
    for limit, result in (("5s", PASS), ("500ms", MISS)):
        (one,) = judged({"recovery": limit}, run, both)
        assert one.result is result, one.line
        assert one.measured == pytest.approx(3.25)
    # A fault half a second later is another fault.
    (one,) = judged({"recovery": "5s"}, run, [*both, fault(3.5, 4, "reset reader-1")])
    assert one.result is UNKNOWN
    assert "until reset reader-1 began" in one.line


def test_first_success_needs_an_operation_that_ended_after_the_fault() -> None:
    """When no operation ends, none fails either."""
    run = [*steady(0, 2.25), *steady(2.25, 8, 0)]
    (one,) = judged({"recovery": {"first_success": "1s"}}, run, [fault(2.1, None)])
    assert one.result is UNKNOWN
    assert "no operation ended in the 5.90 s from the start of kill until the run ended" in one.line
    (one,) = judged({"recovery": {"first_success": "1s"}}, [*run, *steady(7.5, 8)], [fault(2.1, None)])
    assert one.result is PASS
    # An unknown recovery from one fault does not hide that the run never recovered from another.
    run = [*steady(0, 2), *steady(2, 5, 0, failed=1), *steady(5, 10, 0)]
    (one,) = judged({"recovery": {"first_success": "1s"}}, run, [fault(2, None, "kill"), fault(5, None, "pause")])
    assert one.result is MISS
    assert "from the start of kill until pause began" in one.line


def test_one_fault_without_recovery_in_time_is_a_miss_whatever_the_others_did() -> None:
    run = [*steady(0, 2), *steady(2, 5, 50, failed=1), *steady(5, 8), *steady(8, 8.5, 50, failed=1)]
    twice = [fault(2, 3, "kill reader-1"), fault(8, 9, "kill reader-1")]
    assert [one.steady for one in recoveries(Timeline(run, twice))] == [3.0, None]
    (missed,) = judged({"recovery": "2s"}, run, twice)
    assert (missed.result, missed.measured) == (MISS, 3.0)
    # The second fault was observed for half a second, however long the first one of the same name was.
    (unknown,) = judged({"recovery": "4s"}, run, twice)
    assert unknown.result is UNKNOWN
    assert "in the 0.50 s from the start of kill reader-1 until the run ended; at most 4 s expected" in unknown.line


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
    (told,) = unix_faults(windows, header)
    assert (told.name, told.end) == ("kill", None)
    assert told.start == pytest.approx(header.unix_ns / 1e9 + 1)


def audit_with(**changed: Check) -> Audit:
    names = ["lost", "recovered", "unexpected", "applied_twice", "counters", "stale_reads", "monotonic_reads", "replicas"]
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
    assert set(results) == {"lost", "applied_twice", "unexpected", "counters", "staleness", "monotonic_reads", "replicas_agree"}


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
        ({"staleness": "2s"}, check("stale_reads", 1, max_seconds=2.5), 1),
        ({"staleness": "2s"}, check("stale_reads", 1, max_seconds=1.5), 0),
        ({"staleness": "2s"}, check("stale_reads", verdict="unknown", max_seconds=1.5), 4),
        ({}, check("monotonic_reads", 1), 0),
        ({"monotonic_reads": True}, check("monotonic_reads", 1), 1),
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
    assert result.verdict == "pass: all 2 expectations hold"


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
