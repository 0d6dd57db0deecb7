"""The live figures of a run, from handmade batches and faults, with a clock that the test moves."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from hs_drill.in_locust._live import KEPT_SECONDS, Live
from hs_drill.metrics import NOT_STARTED, Batch, EngineUse, OperationBatch, Standing
from hs_drill.scenario import parse_scenario
from tests.loadtest.support.own_failover import OWN

FAULTS = parse_scenario(
    """\
name: x
mix: {get: 1}
faults:
  - {fault: kill, target: reader-1, at: 2s, for: 2s}
  - {fault: pause, target: reader-2, at: 8s, for: 2s}
""",
    "x.yaml",
).faults


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "time", lambda: 1_000_000 + made.now)
    return made


@pytest.fixture
def live(clock: Clock) -> Live:
    return Live(["writer", "reader-1", "reader-2"], FAULTS, clock)


def batch(clock: Clock, ok: int = 10, **more: Any) -> Batch:
    """A batch of the last quarter of a second."""
    end = 1_000_000 + clock.now
    return Batch(end - 0.25, end, {"get": OperationBatch(Counter({500: ok}))}, **more)


def event(number: int, name: str, start: float, *, end: float | None = None, error: str = "", note: str = "") -> dict[str, Any]:
    fault, server = name.split()
    struck = None if error else start + 0.1
    return {
        "number": number, "fault": fault, "server": server, "start": start, "struck": struck, "end": end, "error": error,
        "note": note,
    }  # fmt: skip


def test_figures_are_of_the_last_whole_seconds(live: Live, clock: Clock) -> None:
    for _ in range(8 * 4):
        clock.now += 0.25
        live.count(0, batch(clock))
        live.count(1, batch(clock, ok=5))
    told = live.to_dict()
    assert told["seconds"] == 8
    assert told["all"] == {"rate": 60, "failed": 0, "p50": 500, "p99": 500, "p99.9": 500, "max": 500}
    assert told["operations"] == {"get": told["all"]}
    assert [point["rate"] for point in told["points"]] == [60] * 7
    assert [point["at"] for point in told["points"]] == pytest.approx(range(7), abs=0.01)


def test_a_worker_that_reports_late_still_counts_in_its_second(live: Live, clock: Clock) -> None:
    late = []
    for _ in range(3 * 4):
        clock.now += 0.25
        live.count(0, batch(clock))
        late.append(batch(clock))
    assert [point["rate"] for point in live.to_dict()["points"]] == [40, 40]
    for one in late:
        live.count(1, one)
    assert [point["rate"] for point in live.to_dict()["points"]] == [80, 80]


def test_only_the_last_minutes_are_kept(live: Live, clock: Clock) -> None:
    for _ in range(2 * KEPT_SECONDS):
        clock.now += 1
        live.count(0, batch(clock))
    assert len(live.to_dict()["points"]) == KEPT_SECONDS - 1


def test_a_servers_state_combines_all_workers(live: Live, clock: Clock) -> None:
    answers = {"writer": OperationBatch(Counter({100: 8}))}
    live.count(0, batch(clock, servers=answers, standings={"writer": Standing(1, 0, 3), "reader-1": Standing(0)}))
    live.count(1, batch(clock, standings={"writer": Standing(1, 1, 4), "reader-1": Standing(0)}))
    clock.now += 1
    live.count(0, batch(clock, standings={"writer": Standing(1, 0, 2), "reader-1": Standing(0)}))
    told = live.to_dict()
    assert [(one["name"], one["state"], one["in_flight"]) for one in told["servers"]] == [
        ("writer", "stalled", 6),
        ("reader-1", "down", 0),
        ("reader-2", "not used", 0),
    ]
    assert told["servers"][0]["rate"] == 8
    assert told["in_flight"] == 6
    live.count(1, batch(clock, standings={"writer": Standing(1, 0, 0, 1), "reader-1": Standing(1)}))
    assert [one["state"] for one in live.to_dict()["servers"]] == ["refusing", "up", "not used"]


def test_how_busy_and_how_late_the_engines_are(live: Live, clock: Clock) -> None:
    clock.now += 0.25
    live.count(0, batch(clock))
    nothing = {"busy": None, "no_time_left": False, "p50": None, "p99": None, "p99.9": None, "max": None}
    assert live.to_dict()["engine"] == nothing
    for _ in range(3 * 4):
        clock.now += 0.25
        live.count(0, batch(clock, engines={0: EngineUse(Counter({50: 25}), 0.25, 0.1)}))
        live.count(1, batch(clock, engines={1: EngineUse(Counter({50: 20, 8000: 5}), 0.25, 0.2, 0.045)}))
    told = live.to_dict()
    assert told["engine"] == {
        "busy": pytest.approx(0.98),
        "no_time_left": True,
        "p50": 50,
        "p99": 8000,
        "p99.9": 8000,
        "max": 8000,
    }
    assert told["points"][-1]["busy"] == pytest.approx(0.98)
    assert (told["points"][-1]["lag_p50"], told["points"][-1]["lag_p99"]) == (50, 8000)


def test_failures_and_repetitions_of_all_workers_are_counted(live: Live, clock: Clock) -> None:
    failed = OperationBatch(Counter({5: 1}), Counter({9: 3}), Counter({"ConnectionError: x": 2, "DuplicateKeyError: y": 1}))
    end = 1_000_000 + clock.now
    for worker in range(2):
        live.count(worker, Batch(end - 0.25, end, {"insert": failed}, retries=5))
    told = live.to_dict()
    assert (told["failures"], told["not_started"], told["repeated"]) == (6, 0, 10)


def test_operations_that_were_not_started_are_counted_separately(live: Live, clock: Clock) -> None:
    late = OperationBatch(Counter({5: 1}), Counter({9: 3}), Counter({NOT_STARTED: 2, "DuplicateKeyError: y": 1}))
    end = 1_000_000 + clock.now
    live.count(0, Batch(end - 0.25, end, {"get": late}))
    assert (live.to_dict()["failures"], live.to_dict()["not_started"]) == (3, 2)


def test_phase_and_faults(live: Live, clock: Clock) -> None:
    assert live.phase == "before"
    assert [one["state"] for one in live.to_dict()["faults"]] == ["planned", "planned"]
    live.fault_changed(event(0, "kill reader-1", 102))
    clock.now = 103
    assert live.phase == "during kill reader-1"
    assert live.to_dict()["faults"] == [
        {"name": "kill reader-1", "state": "on", "start": 2, "end": None, "told": ""},
        {"name": "pause reader-2", "state": "planned", "start": 8, "end": None, "told": ""},
    ]
    live.fault_changed(event(0, "kill reader-1", 102, end=104.5, note="it took its time"))
    assert live.phase == "after"
    live.fault_changed(event(1, "pause reader-2", 108, error="it is down"))
    assert live.phase == "after"
    assert [(one["state"], one["end"], one["told"]) for one in live.to_dict()["faults"]] == [
        ("over", 4.5, "it took its time"),
        ("failed", None, "it is down"),
    ]
    assert Live([], [], clock).phase == ""


def test_a_fault_is_on_until_it_heals_even_if_another_of_the_same_name_heals(live: Live) -> None:
    live.fault_changed(event(0, "latency reader-1", 110))
    live.fault_changed(event(1, "latency reader-1", 112))
    assert live.phase == "during latency reader-1"
    live.fault_changed(event(1, "latency reader-1", 112, end=114))
    live.fault_changed({**event(0, "latency reader-1", 110), "error": "did not heal: it is down"})
    assert live.phase == "during latency reader-1"


def test_time_stands_still_when_the_load_has_ended(live: Live, clock: Clock) -> None:
    clock.now += 5
    assert (live.seconds, live.to_dict()["ended"]) == (5, False)
    live.end()
    clock.now += 5
    live.end()
    assert (live.seconds, live.to_dict()["ended"]) == (5, True)


def test_before_the_first_batch_there_are_no_figures(live: Live) -> None:
    told = live.to_dict()
    assert told["all"] == {"rate": 0, "failed": 0, "p50": None, "p99": None, "p99.9": None, "max": None}
    assert told["points"] == []


def test_a_fault_without_a_target_is_shown_by_what_it_is() -> None:
    planned = Live(["writer", "reader-1"], parse_scenario(OWN, "own.yaml").faults).to_dict()["faults"]
    assert [one["name"] for one in planned][2:] == ["command drop the lease", "command flush", "external failover"]


def test_faults_and_states_for_prometheus(live: Live, clock: Clock) -> None:
    assert live.states() == {}, "nobody has seen the servers yet"
    up, stalled = Standing(connections=2, outstanding=1), Standing(connections=2, stalled=1, outstanding=5)
    live.count(0, batch(clock, standings={"writer": up, "reader-1": up}))
    live.count(1, batch(clock, standings={"writer": stalled}))
    assert live.states() == {"writer": ("stalled", 6), "reader-1": ("up", 1), "reader-2": ("not used", 0)}

    assert live.faults() == {}
    live.fault_changed(event(0, "kill reader-1", 102.0))
    live.fault_changed(event(1, "pause reader-2", 103.0, end=103.5))
    live.fault_changed(event(2, "lag reader-2", 104.0, error="no such server"))
    assert live.faults() == {("kill", "reader-1"): (True, 1_000_102.0), ("pause", "reader-2"): (False, 1_000_103.0)}
    live.fault_changed(event(0, "kill reader-1", 102.0, end=104.0))
    live.fault_changed(event(0, "kill reader-1", 105.0, end=106.0))
    assert live.faults()["kill", "reader-1"] == (False, 1_000_105.0)
    live.end()
    assert live.states() == {}, "nobody sees them any more"
