"""Runs that cannot begin, with Locust's own runners: no user starts, as nothing is kept of what the load would change."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gevent
import pytest
from gevent.event import Event
from locust import User, constant, task
from locust.argument_parser import get_parser
from locust.env import Environment
from locust.event import Events
from locust.runners import STATE_SPAWNING, LocalRunner, MasterRunner, WorkerNode

from hs_drill.in_locust import _local, _owner
from hs_drill.in_locust._child import StartError
from hs_drill.in_locust._engine_link import RunStart
from hs_drill.in_locust._interrupts import Interrupts
from hs_drill.in_locust._local import LocalSession
from hs_drill.in_locust._master import MasterSession
from hs_drill.in_locust._messages import RUN
from hs_drill.scenario import parse_scenario
from tests.loadtest.support.locust_process import free_port
from tests.support.patience import patience, wait_until

GONE = "1 sampled row of shop.products has gone meanwhile"
USERS = 3


class Waiting(User):
    wait_time = constant(1000)

    @task
    def nothing(self) -> None:
        pass


class Controller:
    """Begins a run as `begins` says, by its number."""

    scenario: Any = None
    sample = None

    def __init__(self) -> None:
        self.running = self.closed = False
        self.scenario_text = "name: x\nmix: {get: 1}"
        self.prepared: list[int] = []
        self.prepares: Callable[[], object] = lambda: None
        self.begins: dict[int, Callable[[], object]] = {}
        self.begun: list[int] = []

    def wait_ready(self) -> dict[str, Any]:
        return {"kind": "external", "why": "", "servers": []}

    def prepare(self, run: int) -> None:
        self.prepares()
        self.prepared.append(run)

    def begin(self, run: int, options: str) -> str:
        self.begun.append(run)
        self.running = True
        self.begins.get(run, lambda: None)()
        return f"runs/{run}"

    def finish(self, *_: object) -> None:
        self.running = False

    def take_part(self, worker: int) -> None:
        pass

    def end_load(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class Engine:
    def __init__(self) -> None:
        self.runs: list[str | None] = []

    def configure(self, *_: object, **__: object) -> None:
        pass

    def wait_ready(self) -> None:
        pass

    def start(self, run: RunStart) -> None:
        self.runs.append(run.history)

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Controller:
    made = Controller()
    monkeypatch.setattr(sys, "argv", ["locust"])  # Locust's parts look there
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_owner, "ControllerLink", lambda *_: made)
    monkeypatch.setattr(_owner, "Choice", lambda _: SimpleNamespace(scenario=parse_scenario(made.scenario_text, "x.yaml")))
    monkeypatch.setattr(_local, "EngineLink", lambda *_: Engine())
    return made


def environment(headless: bool, *, autostart: bool = False) -> Environment:
    options = get_parser().parse_args([])
    options.headless, options.autostart, options.hs_events, options.explain = headless, autostart, None, False
    return Environment(user_classes=[Waiting], events=cast("Any", Events)(), parsed_options=options)


def local(*, headless: bool = False, autostart: bool = False) -> tuple[LocalRunner, Engine]:
    made = environment(headless, autostart=autostart)
    runner = made.create_local_runner()
    session = LocalSession(made, runner, Interrupts(print))
    return runner, cast("Engine", session.engine)


def start(runner: LocalRunner) -> gevent.Greenlet:
    runner.start(USERS, 100)
    assert runner.spawning_greenlet is not None
    return runner.spawning_greenlet


def run_once(runner: LocalRunner) -> None:
    start(runner).join(patience(20))
    assert runner.user_count == USERS
    runner.stop()


def refuse() -> None:
    raise StartError(GONE)


def test_a_later_run_that_cannot_begin_has_no_users(controller: Controller) -> None:
    """Locust ignores `runner.stop()` between two runs: it used to start the users, who wrote without a directory."""
    runner, engine = local()
    run_once(runner)
    controller.begins[2] = refuse
    starting = start(runner)
    starting.join(patience(20))
    gevent.sleep(0)  # what it has left to do elsewhere
    assert (runner.user_count, runner.state, engine.runs) == (0, "stopped", ["runs/1/history-0.bin"])
    assert runner.environment.process_exit_code == 1
    runner.environment.process_exit_code = 3  # of an audit
    controller.begins[3] = refuse
    start(runner).join(patience(20))
    assert runner.environment.process_exit_code == 3, "the gravest"
    run_once(runner)
    assert engine.runs[1:] == ["runs/4/history-0.bin"]


def test_a_controller_that_dies_as_the_run_begins_leaves_no_load_either(controller: Controller) -> None:
    runner, engine = local()
    run_once(runner)
    controller.begins[2] = lambda: setattr(controller, "running", False)
    start(runner).join(patience(20))
    assert (runner.user_count, len(engine.runs)) == (0, 1)


def test_a_headless_run_that_cannot_begin_ends_locust(controller: Controller) -> None:
    """It used to be waited for until the run time was over, as Locust's end of it was cut off."""
    runner, engine = local(headless=True)
    controller.begins[1] = refuse
    start(runner)
    wait_until(lambda: gevent.sleep(0.01) or not runner.greenlet, lambda: "Locust goes on")
    assert (engine.runs, runner.environment.process_exit_code) == ([], 1)


@pytest.mark.parametrize("before", [0, 1], ids=["the first run", "a later one"])
def test_a_stop_while_a_run_begins_keeps_the_load_from_starting(before: int, controller: Controller) -> None:
    runner, engine = local()
    for _ in range(before):
        run_once(runner)
    kept = Event()
    controller.begins[before + 1] = kept.wait
    starting = start(runner)
    wait_until(lambda: gevent.sleep(0.01) or len(controller.begun) > before, lambda: "it does not begin")
    assert runner.state == STATE_SPAWNING
    runner.stop()
    kept.set()
    starting.join(patience(20))
    assert (runner.user_count, runner.state, len(engine.runs)) == (0, "stopped", before)


def test_a_second_start_while_a_run_begins_begins_another_run(controller: Controller) -> None:
    runner, engine = local()
    controller.begins[1] = Event().wait
    start(runner)
    wait_until(lambda: gevent.sleep(0.01) or bool(controller.begun), lambda: "it does not begin")
    start(runner).join(patience(20))
    assert (controller.begun, engine.runs, runner.user_count) == ([1, 2], ["runs/2/history-0.bin"], USERS)
    runner.stop()


WRITES = """\
name: x
table: {existing: true, writes: allowed, database: d, name: t, columns: {c: {values: 0}}}
mix: {update: {set: [c], weight: 1}}
"""


@pytest.mark.parametrize(
    "how, text, prepared",
    [
        ({"headless": True}, WRITES, [1]),
        ({"autostart": True}, WRITES, [1]),
        ({"headless": True}, "name: x\nmix: {get: 1}", []),
        ({}, WRITES, []),  # hours may pass before somebody presses Start
    ],
)
def test_before_locust_counts_the_run_time_the_rows_are_kept(
    how: dict[str, bool], text: str, prepared: list[int], controller: Controller
) -> None:
    """With a run time of 20 s and many rows there was no load at all: it ended as they were being kept."""
    controller.scenario_text = text
    local(**how)
    assert (controller.prepared, controller.begun) == (prepared, [])


def test_rows_that_cannot_be_kept_end_locust_with_one_line(controller: Controller, capsys: pytest.CaptureFixture[str]) -> None:
    controller.scenario_text = WRITES
    controller.prepares = refuse
    with pytest.raises(SystemExit) as ended:
        local(headless=True)
    assert (ended.value.code, capsys.readouterr().err, controller.closed) == (2, f"{GONE}\n", True)


def test_the_run_time_of_the_web_ui_begins_with_the_load(controller: Controller) -> None:
    runner, engine = local()
    web_ui: Any = runner.environment.create_web_ui("127.0.0.1", free_port(), delayed_start=True)
    controller.begins[1] = lambda: gevent.sleep(1.5)
    answer = web_ui.app.test_client().post("/swarm", data={"user_count": USERS, "spawn_rate": 100, "run_time": "1s"})
    assert answer.json["success"], answer.json
    wait_until(lambda: gevent.sleep(0.01) or bool(engine.runs), lambda: "no load")
    wait_until(lambda: gevent.sleep(0.01) or runner.state == "stopped", lambda: "no end of the load")


@pytest.mark.parametrize("failing", [1, 2])
def test_a_master_sends_nothing_to_workers_of_a_run_that_cannot_begin(
    failing: int, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCUST_WAIT_FOR_WORKERS_REPORT_AFTER_RAMP_UP", "0")
    made = environment(headless=False)
    runner: MasterRunner = made.create_master_runner("127.0.0.1", free_port())
    sent: list[str] = []
    monkeypatch.setattr(runner.server, "send_to_client", lambda message: sent.append(message.type))
    MasterSession(made, runner, Interrupts(print))
    runner.clients["w"] = WorkerNode("w")
    for _ in range(1, failing):
        gevent.spawn(runner.start, USERS, 100).join(patience(20))
        assert {RUN, "spawn"} <= set(sent)
        runner.stop()
        runner.check_stopped()
    sent.clear()
    controller.begins[failing] = refuse
    starting = gevent.spawn(runner.start, USERS, 100)
    starting.join(patience(20))
    assert starting.successful(), "no traceback in Locust's log"
    assert (sent, runner.state) == ([], "ready" if failing == 1 else "stopped")
    runner.greenlet.kill()
