"""When a cluster has recovered from a fault: the first success, no errors, steady throughput."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hs_drill.metrics import Batch, FaultWindow, Timeline
from hs_drill.verdict._recovery import recoveries
from tests.loadtest.support.judging import MISS, PASS, UNKNOWN, fault, judged, phases, steady


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
    assert [(one.fault, one.observed, one.until) for one in found] == [
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
    assert (one.observed, one.until, one.steady) == (2, "latency began again", None)
    assert (other.observed, other.until, other.steady) == (9, "the run ended", 6)


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
    assert [one.observed for one in found] == pytest.approx([9, 8.996])
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
