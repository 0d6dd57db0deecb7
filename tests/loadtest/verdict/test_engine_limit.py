"""Whether the load engine was the limit, on batches made by hand: its figures, and which missed latencies it leaves open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from hs_drill._exit_codes import ExitCode
from hs_drill.metrics import Batch, Begun, EngineUse, FaultWindow, OperationBatch
from hs_drill.scenario import Expect
from hs_drill.verdict._engine_limit import Engines, EngineTotal
from hs_drill.verdict._judge import Judgement, judge
from hs_drill.verdict._judged import Result

T0 = 1_700_000_000.0


def batch(at: float, ok: dict[int, int], *, busy: float = 0.5, late: int = 200, worker: int = 0, length: float = 0.25) -> Batch:
    """What one engine did in a quarter of a second that begins `at` seconds into the run: for a share of it busy, its event
    loop late by 50 µs, and once by `late`."""
    use = EngineUse(Counter({50: 24, late: 1}), length, busy * length)
    return Batch(T0 + at, T0 + at + length, {"get": OperationBatch(Counter(ok))} if ok else {}, engines={worker: use})


def steady(start: float, end: float, ok: dict[int, int], **more: Any) -> list[Batch]:
    return [batch(start + i * 0.25, ok, **more) for i in range(round((end - start) * 4))]


def judged(
    limits: dict[str, Any], batches: Sequence[Batch], *, open_loop: bool = True, faults: Sequence[FaultWindow] = ()
) -> Judgement:
    expect = Expect.model_validate({"latency": {"get": limits}})
    return judge(expect, batches, faults, None, audited=False, open_loop=open_loop)


SLOW = {1000: 50, 60_000: 50}
"""Latencies of operations in microseconds: p50 is 1 ms, p99 is 60 ms."""


def test_a_miss_while_the_engine_had_no_time_left_is_inconclusive() -> None:
    judgement = judged({"p99": "10ms"}, steady(0, 4, SLOW, busy=0.98))
    (one,) = judgement.judged
    assert (one.result, one.measured, judgement.exit_code) == (Result.UNKNOWN, 0.06, ExitCode.INCONCLUSIVE)
    assert "the load engine may be the cause" in one.line
    assert "for 800 of the 800 that took longer" in one.line
    assert "no time left in 4.0 of 4.0 s" in one.line


def test_nothing_was_due_before_the_load_began() -> None:
    """An engine that could report once in 4 s: what ended in that batch seems to have been due up to 2 s before it."""
    (one,) = judged({"p50": "10ms"}, [batch(0, {3_900_000: 1000}, busy=1.0, length=4)]).judged
    assert one.result is Result.UNKNOWN, one.line
    began = batch(0, {}, busy=0.9, length=0.1)  # part of this was before the load
    (one,) = judged({"p50": "10ms"}, [began, batch(0.1, {5_930_000: 1000}, busy=1.0, length=5.8)]).judged
    assert one.result is Result.UNKNOWN, one.line


def test_operations_of_a_long_batch_may_have_been_due_in_any_of_its_slots() -> None:
    """What ended at the end of the second batch was due in the first, before which the engine had time."""
    batches = [*steady(0, 2, {1000: 50}), batch(2, {}, busy=1.0, length=2), batch(4, {2_900_000: 1000}, busy=0.5, length=2)]
    (one,) = judged({"p99": "10ms"}, batches).judged
    assert one.result is Result.UNKNOWN, one.line


def test_a_miss_of_the_servers_is_a_miss() -> None:
    judgement = judged({"p99": "10ms"}, steady(0, 4, SLOW, busy=0.96))
    assert (judgement.judged[0].result, judgement.exit_code) == (Result.MISS, ExitCode.EXPECTATION_MISSED)
    assert "engine" not in judgement.judged[0].line


def test_a_limit_that_is_met_is_met_although_the_engine_added_to_it() -> None:
    judgement = judged({"p99": "60ms", "max": "60ms"}, steady(0, 4, SLOW, busy=1.0, late=50_000))
    assert [one.result for one in judgement.judged] == [Result.PASS, Result.PASS]
    assert judgement.exit_code == ExitCode.PASSED


@pytest.mark.parametrize("late, result", [(16_000, Result.MISS), (17_000, Result.UNKNOWN)])
@pytest.mark.parametrize("open_loop", [True, False])
def test_a_late_event_loop_explains_three_times_its_lag(late: int, result: Result, open_loop: bool) -> None:
    (one,) = judged({"p99": "10ms"}, steady(0, 4, SLOW, late=late), open_loop=open_loop).judged
    assert one.result is result, one.line


def test_in_a_closed_loop_a_busy_engine_is_no_excuse() -> None:
    """Its users wait for their answers, so nothing queues in the engine beyond what its lag shows."""
    (one,) = judged({"p99": "10ms"}, steady(0, 4, SLOW, busy=1.0), open_loop=False).judged
    assert one.result is Result.MISS


def stall(**more: Any) -> list[Batch]:
    """The servers stall for a second. Operations that were due in it are answered in the next quarter of a second, in which the
    engine has no time left."""
    answered = batch(3, dict.fromkeys(range(50000, 1050000, 10000), 50), busy=1.0, **more)
    answered.begun = [Begun(T0 + 2, T0 + 3, answered.operations)]
    return [
        *steady(0, 2, {1000: 1250}),
        *steady(2, 3, {}, busy=0.01),
        answered,
        *steady(3.25, 6, {1000: 1250}),
    ]


def test_what_was_due_while_the_servers_stalled_is_theirs() -> None:
    limits = {"p99": {"run": "100ms", "during": "100ms", "after": "100ms"}}
    judgement = judged(limits, stall(late=20_000), faults=[FaultWindow("pause", T0 + 2, T0 + 3)])
    assert [one.result for one in judgement.judged] == [Result.MISS, Result.MISS, Result.PASS]


def queue(breath: float, ok: dict[int, int]) -> list[Batch]:
    """For 3 s the engine has no time left, so that a queue of 0.9 s builds up. In the next quarter of a second it is busy for
    the share `breath`, and the operations `ok` end. Later the operations that were due in that time end."""
    return [
        *(batch(i / 4, {i * 75_000: 100}, busy=0.99) for i in range(12)),
        batch(3, ok, busy=breath),
        *steady(3.25, 3.75, {900_000: 100}, busy=0.99),
        batch(3.75, {600_000: 100}, busy=0.99),
        batch(4, {900_000: 100}, busy=0.99),
    ]


@pytest.mark.parametrize("breath", [0.96, 0.85])
def test_a_queue_in_the_engine_outlasts_one_slot_with_time_to_spare(breath: float) -> None:
    """What was due meanwhile waited for the queue, and not for the servers."""
    (one,) = judged({"max": "10ms"}, queue(breath, {900_000: 100})).judged
    assert one.result is Result.UNKNOWN, one.line


def test_operations_that_are_answered_at_once_show_that_there_is_no_queue() -> None:
    (one,) = judged({"max": "10ms"}, queue(0.85, {500: 100})).judged
    assert one.result is Result.MISS
    assert "engine" not in one.line


def test_enough_operations_that_the_engine_cannot_have_slowed_are_a_miss() -> None:
    both = [*steady(0, 2, SLOW, busy=0.98), *steady(2, 4, {1000: 99, 60_000: 1})]
    assert judged({"p99": "10ms"}, both).judged[0].result is Result.UNKNOWN, "without the engine's it would have been met"
    assert judged({"p99.9": "10ms"}, both).judged[0].result is Result.MISS, "and this one would not"
    assert judged({"max": "10ms"}, both).judged[0].result is Result.MISS


def test_one_engine_of_several_without_time_is_enough() -> None:
    others = [one for worker in (0, 1, 2) for one in steady(0, 4, SLOW, worker=worker)]
    assert judged({"p99": "10ms"}, others).judged[0].result is Result.MISS
    assert judged({"p99": "10ms"}, [*others, *steady(0, 4, SLOW, worker=3, busy=1.0)]).judged[0].result is Result.UNKNOWN


def test_runs_without_figures_of_their_engines_are_judged_without_them() -> None:
    old = [Batch(one.start, one.end, one.operations) for one in steady(0, 4, SLOW)]
    judgement = judged({"p99": "10ms"}, old)
    assert judgement.judged[0].result is Result.MISS
    assert judgement.engines == {}


def engines(batches: Sequence[Batch], phase: str = "run") -> EngineTotal:
    return Engines(batches, lambda moment: "before" if moment < T0 + 2 else "after", open_loop=True).total(phase)


def test_the_engine_was_the_limit_of_a_phase_when_it_had_no_time_left_in_a_fifth_of_it() -> None:
    run = [*steady(0, 2, SLOW), *steady(2, 3.75, SLOW), batch(3.75, SLOW, busy=0.98)]
    assert [engines(run, phase).was_limit for phase in ("run", "before", "after")] == [False, False, False]
    run[-2:] = steady(3.5, 4, SLOW, busy=0.98)
    assert [engines(run, phase).was_limit for phase in ("run", "before", "after")] == [False, False, True]
    assert not engines([]).was_limit


def test_the_wait_for_the_last_answers_does_not_count_as_load() -> None:
    """An engine is idle then, and was the limit all the same."""
    run = [*steady(0, 1, SLOW, busy=0.99), *steady(1, 4, SLOW)]
    for one in (tail := steady(4, 8, {}, busy=0.02)):
        one.load_end = T0 + 4
    total = judged({"p99": "1s"}, [*run, *tail]).engines["run"]
    assert (total.was_limit, total.seconds, total.no_time_left) == (True, 4, 1)
    assert total.busiest.busy == pytest.approx(0.6225)


def test_an_engine_that_waits_for_a_core_has_no_time_left_either() -> None:
    use = EngineUse(Counter({50: 25}), 0.25, 0.15, 0.1)
    total = engines([Batch(T0, T0 + 0.25, engines={0: use})])
    assert total.was_limit
    assert "60% of a core, and 40% of the time it waited for one" in total.in_words()
    found = total.to_dict()
    assert (found["cpu"], found["waited_for_cpu"]) == (pytest.approx(0.6), pytest.approx(0.4))
    assert (found["was_limit"], found["no_time_left_seconds"]) == (True, pytest.approx(0.25))
    assert found["lag"] == {"p50_us": 50, "p99_us": 50, "p99.9_us": 50, "max_us": 50}


def test_what_the_servers_took_is_shown_beside_what_the_engine_added() -> None:
    """In an open loop most of a short latency is the wait for the engine's next look at what is due."""
    run = steady(0, 1, {700: 100})
    for one in run:
        one.servers = {"reader-1": OperationBatch(Counter({100: 60, 300: 40}), Counter({9_000: 5}))}
    total = engines(run)
    assert total.in_words().count("; from sending a request to its answer 0.100 ms (p50), 0.300 ms (p99); no time left") == 1
    assert total.to_dict()["servers"] == {"p50_us": 100, "p99_us": 300, "p99.9_us": 300, "max_us": 300}
    assert engines(steady(0, 1, SLOW)).to_dict()["servers"]["p50_us"] is None


def test_an_engine_that_could_not_report_covers_all_that_time() -> None:
    """Its loop was held for a second: the batch is as long, and what was due in any part of it may be the engine's."""
    run = [*steady(0, 1, {1000: 99}), batch(1, {900_000: 100}, busy=1.0, length=1.0), *steady(2, 3, {1000: 99})]
    assert engines(run).no_time_left == pytest.approx(1.0)
    held = Engines(run, lambda _: "before", open_loop=True)
    for due in (1.0, 1.3, 1.6, 1.9):
        assert held.may_explain(batch(2, {}), round((2.1 - due) * 1e6), 1000)
    assert not held.may_explain(batch(2, {}), 50_000, 1000)
