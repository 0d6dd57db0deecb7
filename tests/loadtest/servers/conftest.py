"""Fixtures for the tests of a user's own servers."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import trio

from hs_drill._cluster import Cluster
from hs_drill.servers._replication import wait_replicated
from hs_drill.servers._replication_check import check_replication
from hs_drill.servers._sql import execute_sql


@pytest.fixture
def dropped(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Drops what a test has created in `drill`, also on the reader alone.

    HandlerSocket's writes do not replicate to these readers, and the check does not wait for them for long.
    """
    monkeypatch.setattr(check_replication, "__defaults__", (0.2,))

    async def drop() -> None:
        await execute_sql(cluster.writer, "DROP DATABASE IF EXISTS drill")
        await wait_replicated(cluster)  # rows that are still on their way need their table
        await execute_sql(cluster.readers[0], "SET sql_log_bin=0", "DROP DATABASE IF EXISTS drill")

    yield
    trio.run(drop)


@pytest.fixture(autouse=True)
def _warnings_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="hs_drill.external")
