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

    def send(self, message: dict[str, Any]) -> None:
        pass


@pytest.mark.parametrize(
    "reported, left",
    [
        ([], ""),
        (["the run's rows in drill.t"], ". So it left on your servers: the run's rows in drill.t"),
        (["the run's rows in drill.t", ""], ""),
    ],
)
def test_a_dead_controller_s_leftovers_are_those_that_it_reported(
    reported: list[str], left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what the scenario would have had it do: it may have died before."""
    children: list[Child] = []

    def child(*arguments: Any) -> Child:
        children.append(Child(*arguments))
        return children[-1]

    monkeypatch.setattr(_controller_link, "Child", child)
    link = ControllerLink(SCENARIO, listener=None)  # type: ignore[arg-type]
    for one in reported:
        children[0].on_message({"type": "leaves", "left": one})
    children[0].on_end(-9)
    with pytest.raises(StartError) as died:
        link.wait_ready()
    assert str(died.value) == f"the controller of the servers died: killed by SIGKILL{left}"
