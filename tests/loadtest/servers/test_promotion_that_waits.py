"""The promotion of a standby whose replication stands still says what it waits for, and why."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio

from hs_drill._cluster import ClusterError
from hs_drill.servers import Control, _replication, _sql_control
from hs_drill.servers._opening import open_servers
from hs_drill.servers._replication import logged, slave_status
from hs_drill.servers._sql import execute_sql
from tests.loadtest.support.external import TABLE
from tests.support.patience import patience

pytestmark = pytest.mark.mariadb


async def write_one_more(control: Control, key: int) -> None:
    """Write a row, and wait until the standby has fetched it."""
    await control.fill(TABLE, [(key, 1, 0, "x")])
    position = await logged(control.server("writer"))
    with trio.fail_after(patience(60)):
        while (await slave_status(control.server("standby")) or {}).get("Gtid_IO_Pos") != position:  # noqa: ASYNC110
            await trio.sleep(0.02)


async def test_what_a_promotion_waits_for_is_reported(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_sql_control, "APPLY_SECONDS", 1.0)
    monkeypatch.setattr(_replication, "NOTICE_SECONDS", 0.0)
    caplog.set_level(logging.WARNING, logger="hs_drill.control")
    async with open_servers("mariadb", readers=1, standby=True, topology="write-through") as control:
        await control.create_table(TABLE)
        standby = control.server("standby")

        # It cannot apply a row that it has already.
        await execute_sql(standby, "SET sql_log_bin=0", f"INSERT INTO {TABLE.database}.{TABLE.name} VALUES (1, 1, 0, 'y')")
        await write_one_more(control, 1)
        with pytest.raises(
            ClusterError, match=r"standby has not applied \S+ and has stopped: it is at \S+; .*Duplicate entry '1'"
        ):
            await control.promote("standby")
        await execute_sql(standby, "SET sql_log_bin=0", f"DELETE FROM {TABLE.database}.{TABLE.name}")
        await control.start_replication("standby")

        await control.set_lag("standby", 3600)
        await write_one_more(control, 2)
        late = (
            r"it is at \S+; it applies every change 3600 s late, for a lag is set; its SQL thread says 'Waiting until MASTER_"
        )
        with pytest.raises(ClusterError, match=rf"standby has not applied \S+ within 2 s: {late}"):
            await control.promote("standby")
        assert any(message.startswith("promoting standby waits until it has applied ") for message in caplog.messages)
        assert control.primary == "writer"
        with trio.fail_after(patience(60)):  # it goes on as before, once it has connected
            while not (await control.replication_status("standby")).running:  # noqa: ASYNC110
                await trio.sleep(0.02)

        # Once the reason is gone, it succeeds.
        await control.set_lag("standby", 0)
        await control.wait_replicated(60)
        await control.promote("standby")
        assert control.primary == "standby"
