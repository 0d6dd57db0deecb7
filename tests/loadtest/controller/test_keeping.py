"""What a run that may write to a user's table does before its first write: it keeps every row, or refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from hs_drill._cluster import Cluster
from hs_drill.controller import _before_image
from hs_drill.store import BeforeImage
from tests.loadtest.support.restoring import ROWS, begun, create_filled, scenario_on

pytestmark = pytest.mark.mariadb


def images(folder: Path) -> list[BeforeImage]:
    return [BeforeImage(path) for path in folder.glob("runs/*/before-image.bin")]


async def test_it_says_how_far_it_is_and_ends_at_once_when_it_is_cancelled(
    mine: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For a million rows it was silent for minutes, and a Ctrl-C waited for the last one."""
    monkeypatch.setattr(_before_image, "TOLD_CHUNKS", 1)
    await create_filled(mine)
    said: list[str] = []
    await begun(scenario_on(mine), said)
    assert [line for line in said if line.endswith(" rows kept")] == [
        f"{kept:,} of {ROWS:,} rows kept" for kept in (500, 1000, 1200)
    ]

    class Said(list[str]):
        def append(self, line: str) -> None:
            super().append(line)
            if line.endswith("rows kept"):
                scope.cancel()

    with trio.CancelScope() as scope:
        await begun(scenario_on(mine), cut := Said())
    assert scope.cancelled_caught
    assert cut[-1] == f"500 of {ROWS:,} rows kept"
    assert [image.rows for image in images(tmp_path) if image.flaw] == [500]
