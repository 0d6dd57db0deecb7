"""Locust's side of the controller: what it says when that dies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hs_drill.in_locust import _controller_link
from hs_drill.in_locust._child import StartError
from hs_drill.in_locust._controller_link import ControllerLink

SCENARIO = {"cluster": {"kind": "external", "create_table": True}, "table": {"database": "drill", "name": "t"}}


class Child:
    def __init__(self, module: str, on_message: Callable[[dict[str, Any]], None], on_end: Callable[[int], None]) -> None:
        self.on_message, self.on_end = on_message, on_end

    too_slow = False

    def send(self, message: dict[str, Any]) -> None:
        pass

    def close(self, timeout: float) -> bool:
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
