"""What a run that may write to a user's table does before its first write: it keeps every row, or refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from hs_drill._cluster import Cluster, ClusterError
from hs_drill.controller import _before_image
from hs_drill.servers._sql import execute_sql
from hs_drill.store import BeforeImage
from tests.loadtest.support.restoring import ROWS, WRITES, begun, create_filled, put_back, rows, scenario_on

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


SQL = WRITES + "driver: sql\n"
FEW = "few@'127.0.0.1'"
RENAMES = SQL.replace(" insert: 1, delete: 1", "")


@pytest.fixture
async def few(mine: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """The account may do what a run needs by itself."""
    await create_filled(mine)
    await execute_sql(
        mine.writer,
        f"CREATE USER {FEW} IDENTIFIED BY 'few'",
        f"GRANT PROCESS, SLAVE MONITOR, BINLOG MONITOR ON *.* TO {FEW}",
        f"GRANT SELECT, INSERT, TRIGGER ON mine.* TO {FEW}",
    )
    monkeypatch.setenv("TRIO_HS_SQL_USER", "few")
    monkeypatch.setenv("TRIO_HS_SQL_PASSWORD", "few")
    yield mine
    await execute_sql(mine.writer, f"DROP USER {FEW}")


@pytest.mark.parametrize(
    "text, first, refused",
    [
        (RENAMES, "GRANT DELETE ON mine.t", r"UPDATE command denied to user .*\. GRANT UPDATE ON mine\.t to the SQL account"),
        (RENAMES, "GRANT UPDATE (n) ON mine.t", r"UPDATE command denied .* column 'name' .*\. GRANT UPDATE ON mine\.t"),
        (SQL, "GRANT UPDATE ON mine.t", r"DELETE command denied to user .*\. GRANT DELETE ON mine\.t to the SQL account"),
        (WRITES, "GRANT UPDATE, DELETE ON mine.t", "the SQL account needs BINLOG ADMIN"),
    ],
)
async def test_an_account_that_could_not_put_rows_back_is_refused_before(
    few: Cluster, text: str, first: str, refused: str
) -> None:
    """Restore used to find out, when a million rows had been changed."""
    await execute_sql(few.writer, f"{first} TO {FEW}")
    with pytest.raises(ClusterError, match=rf"{refused}.*Nothing was written$"):
        await begun(scenario_on(few, text), [])


@pytest.mark.parametrize(
    "text, grants",
    [
        (RENAMES, ["UPDATE (name, n) ON mine.t"]),
        (SQL, ["UPDATE, DELETE ON mine.t"]),
        (WRITES, ["UPDATE, DELETE ON mine.t", "BINLOG ADMIN ON *.*"]),
    ],
)
async def test_an_account_with_these_rights_can_put_rows_back(few: Cluster, text: str, grants: list[str]) -> None:
    await execute_sql(few.writer, *(f"GRANT {grant} TO {FEW}" for grant in grants))
    before = await rows(few)
    directory, _ = await begun(scenario_on(few, text), [])
    assert await rows(few) == before, "EXPLAIN changes nothing"
    await execute_sql(few.writer, "UPDATE mine.t SET n = -1 WHERE id < 10", "INSERT INTO mine.t VALUES (7, 'mine', 0, 0)")
    restored = await put_back(directory, scenario_on(few, text))
    assert (restored.changed, restored.refused) == (4, 0)
    assert await rows(few) == sorted([*before, (7, "mine", 0, 0)])
