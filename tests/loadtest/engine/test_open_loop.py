"""Open loop: every arrival is answered or counted as failed; latency counts from when it should have started."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import pytest
import trio
import yaml

from hs_drill.engine._arrivals import Arrivals, Course
from hs_drill.engine._bound_operations import BoundOperation
from hs_drill.engine._meter import Meter
from hs_drill.engine._open_loop import OpenLoop
from hs_drill.engine._performer import Performer
from hs_drill.metrics import NOT_STARTED, UNANSWERED, Batch, totals_of
from hs_drill.report._kept_run import KeptRun
from hs_drill.scenario import Load
from hs_drill.store import Operation, RunDirectory
from tests.loadtest.support.drills import path_of
from tests.loadtest.support.locust_process import Locust
from tests.support.patience import core_slowness, patience, slowness


class Done(NamedTuple):
    """A run's results: latencies in nanoseconds of successes and of failures, and the failures' reasons."""

    ok: list[int]
    failed: list[int]
    errors: list[str]


class Service:
    """Takes the place of the servers. `answer` decides how long an answer takes."""

    def __init__(self, answer: Callable[[], Awaitable[None]]) -> None:
        self._answer = answer
        self.in_flight = self.most = 0

    async def call(self, _key: object, _intent: object) -> bool:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await self._answer()
        finally:
            self.in_flight -= 1
        return True


async def carry_out(service: Service, load: Load, seconds: float, wait: float = 5.0, busy: float = 0.0) -> tuple[Done, float]:
    """Run the load for `seconds`, block it for `busy` seconds, then give the operations `wait` seconds to end.

    Also returns how long it really lasted: a busy machine oversleeps.
    """
    bound = {"get": BoundOperation(service.call, Operation.GET)}
    performer = Performer(bound, itertools.cycle([("get", 1)]).__next__, None, None, Meter({}))
    begun = time.monotonic_ns()
    arrivals = Arrivals(Course(load.course()), load.arrivals, random.Random(1), begun)
    with trio.CancelScope() as until_the_end:
        async with trio.open_nursery() as nursery:
            loop = OpenLoop(performer, arrivals, load, nursery)
            loop.set_users(load.locust_users)
            try:
                await trio.sleep(seconds)
                time.sleep(busy)  # noqa: ASYNC251  (nothing else may run)
            finally:
                loop.stop()
                lasted = (arrivals.now - begun) / 1e9
                until_the_end.deadline = trio.current_time() + wait
    loop.abandon()
    ((_, _, taken),) = performer.take()
    return Done(*taken["get"]), lasted


async def test_an_operation_that_waited_through_a_cut_belongs_before_it() -> None:
    """An operation belongs to the time when it should have started, from which its latency counts."""
    go_on = trio.Event()
    service = Service(go_on.wait)
    performer = Performer(
        {"get": BoundOperation(service.call, Operation.GET)}, itertools.cycle([("get", 1)]).__next__, None, None, Meter({})
    )
    load = Load(rate=500, arrivals="even", max_in_flight=2, max_wait=60)
    arrivals = Arrivals(Course(load.course()), load.arrivals, random.Random(1), time.monotonic_ns())
    async with trio.open_nursery() as nursery:
        loop = OpenLoop(performer, arrivals, load, nursery)
        loop.set_users(load.locust_users)
        await trio.sleep(0.2)  # two are in progress then, and the others wait
        performer.cut()
        performer.cut()
        await trio.sleep(0.2)
        go_on.set()
        await trio.sleep(0.1)
        loop.stop()
    end = time.monotonic_ns()
    generations = list(performer.take())
    for since, until, taken in generations:
        latencies = taken["get"][0]
        assert not taken["get"][1]
        # All ended after the second 0.2 s, so what should have started before the cut took longer than those.
        assert all(latency > 0.2e9 for latency in latencies) or until is None
        assert max(latencies, default=0) <= end - since
    assert len(generations[0][2]["get"][0]) == pytest.approx(100, rel=0.2)
    assert sum(len(taken["get"][0]) for _, _, taken in generations) == pytest.approx(250, rel=0.3)
    assert len(list(performer.take())) == 1, "the older generations are final"


async def test_the_rate_holds_although_answers_are_slow() -> None:
    service = Service(partial(trio.sleep, 0.05))
    done, lasted = await carry_out(service, Load(rate=1000, arrivals="even", max_wait=patience(30)), 1)
    assert not done.failed
    assert len(done.ok) == pytest.approx(1000 * lasted, rel=0.03)
    assert min(done.ok) >= 0.05e9
    assert service.most >= 50, "operations do not wait for each other's answers"


async def test_a_stall_counts_in_the_latency_of_every_arrival_during_it() -> None:
    begun, stalls = time.monotonic(), []

    async def stalled() -> None:
        now = time.monotonic() - begun
        if 0.3 <= now < 0.8:
            await trio.sleep(0.8 - now)
            stalls.append((now, time.monotonic() - begun))

    service = Service(stalled)
    done, lasted = await carry_out(service, Load(rate=1000, arrivals="even", max_in_flight=5), 1.2)
    assert service.most == 5
    assert not done.failed
    assert len(done.ok) == pytest.approx(1000 * lasted, rel=0.03)
    late = [latency / 1e9 for latency in done.ok if latency > 0.1e9]
    since, until = stalls[0]  # 0.3 s and 0.8 s on a machine that is not busy
    assert len(late) == pytest.approx(1000 * (until - since - 0.1), abs=60 * slowness()), (
        "the last 0.1 s of arrivals waited less"
    )
    assert max(late) == pytest.approx(until - since, abs=patience(0.1))


async def test_operations_that_cannot_start_are_counted() -> None:
    done, lasted = await carry_out(
        Service(trio.sleep_forever), Load(rate=500, arrivals="even", max_in_flight=3, max_wait=0.2), 1, wait=0
    )
    assert not done.ok
    # Three are still in flight. All others are counted, even those that have not waited their time.
    assert Counter(done.errors) == {NOT_STARTED: len(done.errors) - 3, UNANSWERED: 3}
    assert len(done.errors) == len(done.failed) == pytest.approx(500 * lasted, rel=0.03)
    assert sum(latency >= 0.2e9 for latency in done.failed) == pytest.approx(500 * (lasted - 0.2), rel=0.05)


async def test_arrivals_while_the_loop_was_blocked_at_the_end_are_carried_out() -> None:
    done, lasted = await carry_out(Service(trio.lowlevel.checkpoint), Load(rate=1000, arrivals="even"), 0.1, busy=0.2)
    assert not done.failed
    assert len(done.ok) == pytest.approx(1000 * lasted, rel=0.05)


async def test_unanswered_operations_fail_at_the_end_with_their_whole_latency() -> None:
    served = 0

    async def answers_ten() -> None:
        nonlocal served
        served += 1
        if served > 10:
            await trio.sleep_forever()

    done, lasted = await carry_out(Service(answers_ten), Load(rate=200, arrivals="even"), 0.5, wait=0.3)
    assert len(done.ok) == 10
    assert set(done.errors) == {UNANSWERED}
    assert len(done.errors) == len(done.failed) == pytest.approx(200 * lasted - 10, rel=0.06)
    # All end at one moment, at the earliest 0.3 s after the load: each latency counts from when its operation was due.
    assert min(done.failed) >= 0.29e9
    due = (lasted - 10 / 200) * 1e9
    assert 0.9 * due <= max(done.failed) - min(done.failed) <= 1.1 * due + patience(0.5e9), "a busy machine ends them slowly"


async def test_arrivals_before_the_end_are_still_carried_out_after_it() -> None:
    service = Service(partial(trio.sleep, 0.2))
    done, lasted = await carry_out(service, Load(rate=200, arrivals="even", max_in_flight=10), 0.5)
    assert not done.failed
    assert len(done.ok) == pytest.approx(200 * lasted, rel=0.06)


RATE = """\
name: rate
cluster: {kind: embedded, readers: 1}
table: {rows: 500}
load: {rate: 1000, duration: 4s}
mix: {get: 1}
"""


def batches_of(locust: Locust) -> list[Batch]:
    return list(RunDirectory.open(locust.run).batches())


def arrived_at(rate: float, batches: list[Batch]) -> bool:
    """Whether about `rate` operations a second ended. Arrivals are random, so a short load may deviate by more."""
    length = max(batch.end for batch in batches) - min(batch.start for batch in batches)
    count = sum(done.ok.total() for batch in batches for done in batch.operations.values())
    return abs(count - rate * length) <= 0.1 * rate * length + 4 * math.sqrt(rate * length)


@pytest.mark.process
def test_locusts_users_are_shares_of_the_rate_and_so_are_workers() -> None:
    seconds = str(round(patience(3)))  # on a busy machine the load begins seconds after Locust's clock
    scenario = RATE.replace("rate: 1000", "rate: 300")
    with Locust("--headless", "--only-summary", "-u", "50", "-t", seconds, "--processes", "2", scenario=scenario) as locust:
        assert locust.finish() == 0, locust.describe()
        batches = batches_of(locust)
        assert arrived_at(150, batches), locust.describe()
        assert not arrived_at(300, batches), "the load was too short to tell"
        assert not arrived_at(75, batches), "the load was too short to tell"


STAGES = """\
  users: 2
  think_time: 50ms
  stages: [{for: 1s, users: 10}, {for: 1s, users: 10}, {for: 0s, users: 4}, {for: 1s, users: 4}]
"""


@pytest.mark.process
def test_stages_of_users_are_locusts_users() -> None:
    scenario = RATE.replace("{rate: 1000, duration: 4s}\n", f"\n{STAGES}")
    with Locust("--headless", "--only-summary", scenario=scenario) as locust:
        assert locust.finish() == 0, locust.describe()
        assert re.findall(r"Ramping to (\d+) users", locust.stderr) == ["2", "10", "4"]
        batches = batches_of(locust)
        assert max(batch.end for batch in batches) - min(batch.start for batch in batches) == pytest.approx(
            3, abs=patience(0.5)
        )


@pytest.mark.process
def test_a_rate_beyond_the_servers_shows_as_operations_that_were_not_started() -> None:
    scenario = RATE.replace("duration: 4s", "max_in_flight: 2, max_wait: 100ms, duration: 2500ms")
    scenario += "faults: [{fault: pause, target: reader-1, at: 1s, for: 1s}]\n"
    with Locust("--headless", "--only-summary", scenario=scenario) as locust:
        assert locust.finish() == 1, locust.describe()
        not_started = sum(done.errors[NOT_STARTED] for batch in batches_of(locust) for done in batch.operations.values())
        assert not_started > 800, "all of the second except the 100 ms that each may wait"
        assert f"{not_started:,} operations arrived and were not started in time" in locust.stdout
        assert re.search(rf"^ *get +[\d,]+ +{not_started:,} +{not_started:,} ", locust.stdout, re.MULTILINE), locust.stdout


@pytest.mark.process
def test_a_rate_beyond_the_engine_says_nothing_about_the_servers() -> None:
    """Three times what an engine can do on a fast machine: its own queue makes up most of every latency. (Many times what it
    can do here would keep it from ending in time.)"""
    rate = round(400_000 / core_slowness())  # a machine that is only busy now may have time when the load begins
    scenario = RATE.replace("rate: 1000, duration: 4s", f"rate: {rate}, max_wait: 200ms, duration: 2s")
    scenario += "expect: {latency: {get: {p50: 5ms}}}\n"
    with Locust("--headless", "--only-summary", "--explain", scenario=scenario) as locust:
        assert locust.finish() == 4, locust.describe()
        assert (
            "The load engine was the limit: operations that were due while it had no time left waited for it" in locust.stdout
        )
        result = json.loads((locust.run / "result.json").read_text())
        (latency,) = result["expectations"]
        assert latency["result"] == "unknown"
        assert latency["measured"] > 0.005
        assert result["engine"]["phases"]["run"]["was_limit"]
        assert "The load engine was the limit: " in (locust.run / "report.html").read_text()


@pytest.mark.process
def test_a_reader_that_stays_silent_to_the_end_causes_failures() -> None:
    scenario = RATE.replace("rate: 1000, duration: 4s", "rate: 500, duration: 2s")
    scenario += "faults: [{fault: pause, target: reader-1, at: 1s}]\n"
    scenario += f"expect: {{availability: 100%, errors: {{{UNANSWERED}: 0}}}}\n"
    with Locust("--headless", "--only-summary", "--explain", scenario=scenario) as locust:
        assert locust.finish() == 1, locust.describe()
        batches = batches_of(locust)
        done = totals_of(batches)["get"]
        result = json.loads((locust.run / "result.json").read_text())
        begun, stopped = batches[0].start, batches[-1].load_end
        assert stopped is not None
        struck = KeptRun.read(RunDirectory(locust.run), result).timeline.faults[0].struck
        assert struck is not None
        silent = stopped - struck  # 1 s, if the machine is not busy
        assert done["failed"]["count"] == done["errors"][UNANSWERED] == pytest.approx(500 * silent, rel=0.2), done
        assert done["ok"]["count"] + done["failed"]["count"] == pytest.approx(500 * (stopped - begun), rel=0.15), (
            "every arrival"
        )
        assert f"{done['errors'][UNANSWERED]:,} x get: {UNANSWERED}" in locust.stdout
        assert {one["name"]: one["result"] for one in result["expectations"]} == {
            "availability": "miss",
            f"errors.{UNANSWERED}": "miss",
        }
        at_the_server = [
            batch.servers["reader-1"].failed.total() for batch in batches_of(locust) if "reader-1" in batch.servers
        ]
        assert sum(at_the_server) >= done["failed"]["count"], "each of them had been sent to the server"


@pytest.mark.process
def test_a_stall_shows_in_an_open_loops_percentiles() -> None:
    """The shipped scenario for four seconds, with its reader paused during the second one."""
    short = yaml.safe_load(path_of("open-loop-stall").read_text())
    short |= {"table": {"rows": 500}, "load": {"duration": 4.0, "rate": 300}}
    short["faults"][0] |= {"at": 1.5}
    with Locust("--headless", "--only-summary", "--cluster", "embedded", scenario=yaml.safe_dump(short)) as locust:
        assert locust.finish() == 1, locust.describe()
        batches = batches_of(locust)
        done = totals_of(batches)["get"]
        (fault,) = json.loads((locust.run / "result.json").read_text())["faults"]
        assert done["ok"]["p99.9_us"] > 0.9e6 * (fault["end"] - fault["struck"]), done
        stopped = batches[-1].load_end
        assert stopped is not None
        count = done["ok"]["count"] + done["failed"]["count"]
        assert count == pytest.approx(300 * (stopped - batches[0].start), rel=0.1), "the rate held"
        assert done["failed"]["count"] < done["ok"]["count"] / 100, done["errors"]
