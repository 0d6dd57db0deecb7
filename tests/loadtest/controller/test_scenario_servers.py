"""What the controller asks of the servers of a scenario."""

from __future__ import annotations

import pytest

from hs_drill.controller._servers import writes_by_handlersocket
from hs_drill.scenario import parse_scenario
from tests.loadtest.support.shop import changed

VIEWS = "  product page:  {do: get, columns: [name, price, views], weight: 70}\n"
HEAD = changed().partition("mix:")[0]


@pytest.mark.parametrize(
    "text, writes",
    [
        ("name: x\nmix: {get: 1, insert: 1}\n", True),
        ("name: x\nmix: {get: 1}\n", False),
        (f"{HEAD}mix:\n{VIEWS}", False),
        (f"{HEAD}mix:\n{VIEWS}  count view: {{do: incr, column: views, weight: 10}}\n", True),
    ],
    ids=["drill's", "reads", "own reads", "own names"],
)
def test_what_the_operations_do_says_whether_clients_write(text: str, writes: bool) -> None:
    """Not what they are called: with names of their own, the writer was not refused as a Galera node."""
    assert writes_by_handlersocket(parse_scenario(text, "x")) is writes
    assert not writes_by_handlersocket(parse_scenario(f"{text}driver: sql\n", "x"))
