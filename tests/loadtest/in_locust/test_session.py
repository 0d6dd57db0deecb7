"""A session's handlers of Locust's events, without Locust's processes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import gevent.pool
import pytest
from locust.env import Environment
from locust.event import Events
from locust.runners import STATE_INIT, STATE_SPAWNING, WorkerRunner

from hs_drill.in_locust import _worker
from hs_drill.in_locust._child import StartError
from hs_drill.in_locust._engine_link import RunStart
from hs_drill.in_locust._interrupts import Interrupts
from hs_drill.in_locust._messages import SETUP
from hs_drill.in_locust._owner import Owner
from hs_drill.in_locust._worker import WorkerSession


class Engine:
    """Records its calls."""

    configured = False

    def __init__(self, *_: object) -> None:
        self.told: list[tuple[str, RunStart | None]] = []

    def start(self, run: RunStart | None) -> None:
        self.told.append(("start", run))

    def configure(self, *_: object, each: bool, run: RunStart | None, sample: bytes | None, code: object) -> None:
        self.told.append(("configure", run))


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The listeners for the master's messages, by kind."""
    monkeypatch.setattr(_worker, "EngineLink", Engine)
    return {}


def worker(messages: dict[str, Any], state: str) -> tuple[WorkerSession, Any]:
    def register(kind: str, listener: Any, concurrent: bool = False) -> None:
        messages[kind] = listener

    runner = SimpleNamespace(worker_state=state, register_message=register, greenlet=gevent.pool.Group())
    events: Any = cast("Any", Events)()  # not typed
    session = WorkerSession(Environment(events=events), cast("WorkerRunner", runner), Interrupts(lambda: None))
    runner.greenlet.kill()  # it would ask the master for its set-up
    return session, events


def set_up(messages: dict[str, Any]) -> None:
    run = {"number": 2, "directory": "runs/x", "elapsed": 1.5}
    data = {"worker": 3, "each": False, "run": run, "cluster": {}, "scenario": {}}
    messages[SETUP](SimpleNamespace(data=data))


def test_a_worker_whose_users_started_before_init_begins_the_run(messages: dict[str, Any]) -> None:
    """Locust's worker obeys its master as soon as it exists, and fires `init` later. A worker that joined a run at once used to
    begin nothing, although it had users."""
    session, _ = worker(messages, STATE_SPAWNING)
    set_up(messages)
    (first, of_nothing), (second, run) = cast("Engine", session.engine).told
    assert (first, of_nothing, second) == ("start", None, "configure")
    assert run is not None
    assert (run.number, run.history) == (2, "runs/x/history-3.bin")


def test_a_worker_begins_a_run_at_locusts_test_start(messages: dict[str, Any]) -> None:
    session, events = worker(messages, STATE_INIT)
    assert cast("Engine", session.engine).told == []
    events.test_start.fire()
    assert cast("Engine", session.engine).told == [("start", None)]


def test_a_switch_whose_engine_does_not_start_ends_the_servers_before() -> None:
    """They used to run on until Locust ended."""
    closed: list[str] = []

    def fail(_: object) -> None:
        raise StartError("the load engine died")

    new = SimpleNamespace(wait_ready=dict, close=lambda: closed.append("new"))
    choice = SimpleNamespace(read=lambda _: SimpleNamespace(faults=[]), select=lambda *_: None)
    session: Any = SimpleNamespace(
        choice=choice, _launch=lambda _: new, _controller=SimpleNamespace(close=lambda: closed.append("old")), _use=fail
    )
    with pytest.raises(StartError):
        Owner._switch(session, ("other.yaml", ""))
    assert (closed, session._controller) == (["old"], new)
