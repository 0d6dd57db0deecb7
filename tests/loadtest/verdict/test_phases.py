"""Before, during and after a fault: which operations belong to which phase."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hs_drill.metrics import EDGE, PHASES, Batch, Begun, FaultWindow, OperationBatch, RunTotals, Timeline, collapse, total_of
from tests.loadtest.support.judging import PASS, RUN, T0, UNKNOWN, fault, judged, phases, steady


@pytest.mark.parametrize("phase", ["during", "after"])
def test_without_a_fault_nothing_is_during_or_after_it(phase: str) -> None:
    for expect in ({"availability": {phase: 0.0}}, {"throughput": {phase: 0.0}}, {"latency": {"all": {"p50": {phase: 1.0}}}}):
        assert [one.result for one in judged(expect, RUN, [])] == [UNKNOWN]
    assert [one.result for one in judged({"recovery": "1s"}, RUN, [])] == [UNKNOWN]


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
    """A batch whose operations began in these generations: from, until, and how many."""
    parts = [Begun(T0 + since, T0 + until, {"get": OperationBatch(Counter({us: ok}))}) for since, until, ok in generations]
    return Batch(T0 + start, T0 + end, total_of(parts), begun=parts, **more)


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


def batches_of(
    operations: Sequence[tuple[int, int]], marks: Sequence[int], ends: Sequence[int], *, generations: bool
) -> list[Batch]:
    """What an engine would report of these operations, each under a name of its own. Old kept runs have no `generations`."""
    found, since = [], 0
    for until in ends:
        by_mark: dict[int, dict[str, OperationBatch]] = {max(mark for mark in marks if mark <= since): {}}
        for number, (begin, end) in enumerate(operations):
            if since <= end < until:
                generation = by_mark.setdefault(max(mark for mark in marks if mark <= begin), {})
                generation[f"{number}"] = OperationBatch(collapse({(end - begin) * 10_000: 1}))
        later = [*marks, math.inf]
        parts = [
            Begun(T0 + mark / 100, T0 + min(min(one for one in later if one > mark), until) / 100, done)
            for mark, done in sorted(by_mark.items())
        ]
        found.append(Batch(T0 + since / 100, T0 + until / 100, total_of(parts), begun=parts if generations else []))
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
    run: tuple[list[FaultWindow], list[tuple[int, int]], list[int], list[int]], generations: bool, timely: bool
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
    timeline = Timeline(batches_of(operations, marks, ends, generations=generations), faults)
    for number, (begin, end) in enumerate(operations):
        (found,) = [phase for phase in (*PHASES[1:], EDGE) if timeline.total(phase, f"{number}")[0]]
        exact = exactly(T0 + (begin + 0.5) / 100, T0 + (end + 0.5) / 100, faults)
        assert found == exact or (found == EDGE and not (generations and timely)), (begin, end)
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
