"""The lock that keeps runs and `hs-drill restore` apart on one table, on a real server."""

from __future__ import annotations

import pytest

from hs_drill._cluster import Cluster, ClusterError
from hs_drill.servers import TableLock
from hs_drill.servers._sql import execute_sql

pytestmark = pytest.mark.mariadb


async def test_only_one_at_a_time_is_at_work_on_a_table(cluster: Cluster) -> None:
    """A run's before-image used to take in what an earlier run had left there, while restore was putting that back."""
    writer = cluster.writer
    run, restore = (TableLock(writer, "mine", name) for name in ("t", "T"))
    await run.take()
    async with TableLock(writer, "mine", "another" * 9):
        pass
    with pytest.raises(ClusterError, match=r"another run writes to mine\.T, or .* \(connection \d+ of writer\): wait until"):
        await restore.take()
    run.release()
    async with restore:
        with pytest.raises(ClusterError, match="another run writes"):
            await run.take()
    await run.take()
    run.release()


async def test_a_run_of_many_hours_keeps_its_lock(cluster: Cluster) -> None:
    """Its connection is idle. The server would end it after `wait_timeout`."""
    writer = cluster.writer
    (before,) = await execute_sql(writer, "SELECT @@GLOBAL.wait_timeout AS seconds")
    await execute_sql(writer, "SET GLOBAL wait_timeout = 1")
    try:
        async with TableLock(writer, "mine", "t") as lock:
            with lock._connection.cursor() as cursor:
                cursor.execute("SELECT @@SESSION.wait_timeout AS seconds")
                assert cursor.fetchone()["seconds"] == 31_536_000
    finally:
        await execute_sql(writer, f"SET GLOBAL wait_timeout = {before['seconds']}")
