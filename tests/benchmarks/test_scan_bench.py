"""`./dev bench scan`: that each way reads every row once, and that it says so if one does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.scan import COLUMNS, READERS, Measured, report
from trio_hs import open_manager
from trio_hs.testing import Table, open_server


@pytest.mark.parametrize("name", READERS)
async def test_each_way_reads_every_row(name: str) -> None:
    async with (
        open_server([Table.from_columns("scans", "t", COLUMNS)]) as server,
        open_manager([server.read_address], [server.write_address], connect=server.connect) as hs,
    ):
        await server.load("scans", "t", [(number, 0, "") for number in range(1, 26)])
        assert await READERS[name](hs, 10) == (25, 325)


@pytest.mark.parametrize("rows, keys", [(99, 5050), (100, 5049)])
def test_a_row_that_is_missing_or_twice_is_reported(rows: int, keys: int, capsys: pytest.CaptureFixture[str]) -> None:
    good = Measured(100, 5050, 0.5, 0.25, 3 << 20)
    assert report(100, {"scan": [good, good]})
    out = capsys.readouterr().out
    assert "200 (200 to 200)" in out
    assert "2500.00" in out
    assert not report(100, {"scan": [good, replace(good, rows=rows, keys=keys)]})
    assert f"scan: {rows} rows with keys of {keys:,}, not each of 100 once" in capsys.readouterr().out
