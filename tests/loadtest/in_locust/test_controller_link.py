"""Locust's side of the controller: what it says when that dies."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import gevent
import pytest
from gevent.timeout import Timeout

from hs_drill.in_locust import _controller_link
from hs_drill.in_locust._child import StartError
from hs_drill.in_locust._controller_link import ControllerLink
from tests.support.patience import patience

SCENARIO = {"cluster": {"kind": "external", "create_table": True}, "table": {"database": "drill", "name": "t"}}


class Child:
    def __init__(self, module: str, on_message: Callable[[dict[str, Any]], None], on_end: Callable[[int], None]) -> None:
        self.on_message, self.on_end = on_message, on_end
        self.sent: list[dict[str, Any]] = []

    too_slow = False
    closed = False

    def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def close(self, timeout: float) -> bool:
        self.closed = True
        return self.too_slow


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """The child processes that were started."""
    started: list[Child] = []

    def start(*arguments: Any) -> Child:
        started.append(Child(*arguments))
        return started[-1]

    monkeypatch.setattr(_controller_link, "Child", start)
    return started


@pytest.mark.parametrize(
    "reported, code, died",
    [
        ([], -9, "killed by SIGKILL"),
        (["another table", "rows in drill.t"], -9, "killed by SIGKILL. So it left on your servers: rows in drill.t"),
        (["rows in drill.t"], 1, "exit code 1. So it left on your servers: rows in drill.t"),
        (["rows in drill.t"], 0, "exit code 0"),  # it has cleaned up
    ],
)
def test_a_dead_controller_s_leftovers_are_those_that_it_reported(
    reported: list[str], code: int, died: str, child: list[Child]
) -> None:
    """Not what the scenario would have had it do: it may have died before."""
    link = ControllerLink(SCENARIO, listener=None)  # type: ignore[arg-type]
    for one in reported:
        child[0].on_message({"type": "leaves", "left": one})
    child[0].on_end(code)
    with pytest.raises(StartError) as error:
        link.wait_ready()
    assert str(error.value) == f"the controller of the servers died: {died}"


@pytest.mark.parametrize("too_slow", [True, False])
def test_a_controller_that_had_to_be_killed_at_the_end_leaves_what_it_reported(
    too_slow: bool, child: list[Child], caplog: pytest.LogCaptureFixture
) -> None:
    link = ControllerLink(SCENARIO, listener=None)  # type: ignore[arg-type]
    child[0].on_message({"type": "leaves", "left": "drill.t"})
    child[0].too_slow = too_slow
    link.close()
    assert [record.getMessage() for record in caplog.records] == too_slow * [
        "the controller of the servers did not end within 60 s, and was killed. So it may have left on your servers: drill.t"
    ]


def test_what_begins_after_all_is_not_taken_for_the_next_run(child: list[Child]) -> None:
    """Start in the web UI, pressed twice: the second run used to write with the directory, and so the before-image, of the
    first."""
    link = ControllerLink(SCENARIO, listener=None)  # type: ignore[arg-type]
    gevent.spawn(link.begin, 1, "none").kill()
    second = gevent.spawn(link.begin, 2, "none")
    gevent.sleep(0)
    child[0].on_message({"type": "begun", "run": 1, "directory": "runs/1"})
    child[0].on_message({"type": "begun", "run": 2, "directory": "runs/2"})
    assert second.get(timeout=patience(10)) == "runs/2"


def test_a_controller_that_says_nothing_for_too_long_is_ended_and_begins_no_more(
    child: list[Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It used to go on keeping a before-image, of rows that the next run was changing."""
    monkeypatch.setattr(_controller_link, "BEGIN_TIMEOUT", 0.01)
    link = ControllerLink(SCENARIO, listener=None)  # type: ignore[arg-type]
    for run in (1, 2):
        with pytest.raises(StartError, match=r"did not answer within 0\.01 s"):
            link.begin(run, "none")
    assert child[0].closed
    assert [message["type"] for message in child[0].sent] == ["open", "begin"]


def test_a_controller_that_says_how_far_it_is_has_more_time(child: list[Child], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 500.0, 500.0, 1000.0])
    monkeypatch.setattr(_controller_link, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    class Answer:
        """Comes in the second of two waits, after a line of progress."""

        waits: ClassVar[list[float]] = []

        def get(self, timeout: float) -> str:
            self.waits.append(timeout)
            if len(self.waits) == 2:
                return "runs/1"
            child[0].on_message({"type": "leaves", "left": ""})
            raise Timeout

    monkeypatch.setattr(_controller_link, "AsyncResult", Answer)
    assert ControllerLink(SCENARIO, listener=None).begin(1, "none") == "runs/1"  # type: ignore[arg-type]
    assert Answer.waits == [600.0, 600.0]


def test_a_controller_that_dies_while_it_prepares_is_reported_once(child: list[Child]) -> None:
    """By the caller of `prepare`; a listener would end Locust a second time."""
    link = ControllerLink(SCENARIO, listener=None)  # type: ignore[arg-type]
    child[0].on_message({"type": "ready", "cluster": {}})
    preparing = gevent.spawn(link.prepare, 1)
    gevent.sleep(0)
    child[0].on_message({"type": "failed", "line": "1 sampled row has gone"})
    child[0].on_end(2)
    preparing.join(patience(10))
    assert str(preparing.exception) == "1 sampled row has gone"


def test_a_run_that_is_refused_does_not_keep_a_later_one_from_beginning(child: list[Child]) -> None:
    """A restore may be at work on the table, or the disk full. The controller used to end, and Locust had to be restarted."""
    link = ControllerLink(SCENARIO, listener=None)  # type: ignore[arg-type]
    child[0].on_message({"type": "ready", "cluster": {}})
    for run in (1, 2):
        beginning = gevent.spawn(link.begin, run, "none")
        gevent.sleep(0)
        child[0].on_message({"type": "refused", "run": run - 1, "line": "of an earlier one"})
        child[0].on_message({"type": "refused", "run": run, "line": f"refused {run}"})
        beginning.join(patience(10))
        assert (str(beginning.exception), link.running) == (f"refused {run}", False)
    gevent.spawn(link.begin, 3, "none")
    gevent.sleep(0)
    ending = gevent.spawn(link.finish, [], [], None, None, None)  # a Stop meanwhile
    gevent.sleep(0)
    child[0].on_message({"type": "refused", "run": 3, "line": "refused 3"})
    ending.join(patience(10))
    assert str(ending.exception) == "refused 3"
    preparing = gevent.spawn(link.prepare, 4)
    gevent.sleep(0)
    child[0].on_message({"type": "refused", "run": 4, "line": "refused 4"})
    preparing.join(patience(10))
    assert str(preparing.exception) == "refused 4"
    last = gevent.spawn(link.begin, 4, "none")
    gevent.sleep(0)
    child[0].on_message({"type": "begun", "run": 4, "directory": "runs/4"})
    assert last.get(timeout=patience(10)) == "runs/4"
    assert not child[0].closed
