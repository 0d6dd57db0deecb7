"""The shipped scenario of a table of one's own, with a clean audit: with a reader killed, and then a promotion."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.loadtest.support.drills import path_of
from tests.loadtest.support.locust_process import HEADLESS, Locust, result_of
from tests.loadtest.support.server_kinds import EVERY_REPLICATION

pytestmark = pytest.mark.process

OPERATIONS = ("product page", "category list", "count view", "rename", "new product")
FAULTS = [
    {"fault": "kill", "target": "reader-1", "at": 1, "for": 1},
    {"fault": "kill", "target": "writer", "at": 3, "for": 4},
    {"fault": "promote", "target": "standby", "at": 3.5},
]
SEMISYNC = {"standby": True, "topology": "write-through", "replication": "semisync"}


def shop(**changes: Any) -> str:
    """The scenario with few rows and users, who think."""
    scenario: dict[str, Any] = yaml.safe_load(path_of("shop").read_text())
    scenario["table"]["rows"] = 500
    scenario["load"] |= {"users": 16, "think_time": "40ms"}
    cluster = scenario["cluster"] | changes.pop("cluster", {})
    return yaml.safe_dump({**scenario, **changes, "cluster": cluster})


@EVERY_REPLICATION
def test_the_shop_passes_with_a_clean_audit(kind: str) -> None:
    """No read fails, for there is another reader; and the standby acknowledged every write before it was promoted."""
    expect = {"lost": 0, "applied_twice": 0, "unexpected": 0, "availability": {"before": "100%"}}
    scenario = shop(faults=FAULTS, cluster=SEMISYNC, expect=expect)
    with Locust(*HEADLESS, "--cluster", kind, "-t", "0", scenario=scenario) as locust:
        locust.wait_for_operations(*OPERATIONS)
        locust.wait_for("fault over: kill reader-1")
        locust.wait_for("fault over: kill writer")
        locust.interrupt()
        assert locust.finish() == 0, locust.describe()
        result = result_of(locust)
        assert result["troubles"] == []
        judged = {one["name"]: one["result"] for one in result["expectations"]}
        assert {"lost", "applied_twice", "unexpected", "counters"} <= judged.keys()
        assert set(judged.values()) == {"pass"}
        assert all(result["operations"][name]["failed"]["count"] == 0 for name in ("product page", "category list"))
        assert "Traceback" not in locust.stderr, locust.describe()
        for operation in OPERATIONS:
            assert f"\n  {operation} " in locust.stdout
