"""What stays on a user's server if the controller dies, in words."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hs_drill.controller._existing import Existing
from hs_drill.scenario import parse_scenario
from hs_drill.workload import Sample


def test_every_run_is_named_the_last_one_first() -> None:
    """Each run keeps what it found, so the first one's rows come back only if all are undone. It used to name only the last."""
    live: Any = SimpleNamespace(shown="shop.products")
    existing = Existing(parse_scenario("name: x\nmix: {get: 1}", "x.yaml"), Sample.none(), live)
    assert existing.left_by(Path("/r/1")) == ("what the run has changed in shop.products: hs-drill restore /r/1 puts it back")
    existing.left_by(Path("/r/2"))
    assert existing.left_by(Path("/r/a b")) == (
        "what 3 runs have changed in shop.products: hs-drill restore '/r/a b', then hs-drill restore /r/2, then hs-drill "
        "restore /r/1 put it back"
    )
