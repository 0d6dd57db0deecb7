"""A user's database on the shared servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hs_drill._cluster import Cluster
from hs_drill.servers._sql import execute_sql
from tests.loadtest.support.external import secrets_in_environment
from tests.loadtest.support.users_table import environment


@pytest.fixture
async def mine(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A database `mine` on the writer, without tables."""
    for name, value in (environment(cluster) | secrets_in_environment(cluster)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    await execute_sql(cluster.writer, "DROP DATABASE IF EXISTS mine", "CREATE DATABASE mine")
    yield cluster
    await execute_sql(cluster.writer, "DROP DATABASE mine")
