"""A table that the user has made for the load: what may differ from the one that a run would create, and what may not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hs_drill._cluster import Cluster, ClusterError
from hs_drill.servers import _mariadbd
from hs_drill.servers._opening import open_servers
from hs_drill.servers._sql import execute_sql
from hs_drill.workload import loaded
from tests.loadtest.support.external import SCENARIO, TABLE, external, fill

pytestmark = pytest.mark.mariadb

KEYS = "PRIMARY KEY (id), KEY grp (grp, id)"
FITTING = "VARCHAR(100) CHARACTER SET latin1 NOT NULL"


@pytest.mark.usefixtures("dropped")
@pytest.mark.parametrize(
    "columns",
    [
        pytest.param(
            f"payload {FITTING}, n BIGINT NOT NULL DEFAULT 0, grp INT NOT NULL, id BIGINT NOT NULL", id="another order"
        ),
        pytest.param(
            f"id BIGINT, grp SMALLINT NOT NULL, created TIMESTAMP DEFAULT now(), n INT NOT NULL DEFAULT 0, payload {FITTING}",
            id="one column more",
        ),
    ],
)
async def test_columns_are_written_and_read_back_by_name(cluster: Cluster, columns: str) -> None:
    await execute_sql(cluster.writer, "CREATE DATABASE drill", f"CREATE TABLE drill.t ({columns}, {KEYS}) ENGINE=InnoDB")
    async with external(cluster) as control:
        await fill(control, SCENARIO, any_rows=True)
        expected = [tuple(row) for row in loaded(SCENARIO)]
        assert await control.read_rows("writer", TABLE) == expected
        assert await control.read_rows("reader-1", TABLE, after=(40,)) == expected[40:]


@pytest.mark.usefixtures("dropped")
@pytest.mark.parametrize(
    "columns, wrong",
    [
        (f"id VARCHAR(20), grp INT, n INT, payload {FITTING}", "id must be an integer, and is varchar(20)"),
        ("id INT, grp INT, n INT, payload BLOB", "payload must be text, and is blob"),
        ("id INT, grp INT, n INT, payload VARBINARY(64)", "payload must be text, and is varbinary(64)"),
        (
            "id INT, grp DECIMAL(9,0), n DOUBLE, payload VARCHAR(64)",
            "grp must be an integer, and is decimal(9,0), n must be an",
        ),
        ("id INT, grp INT, n INT, payload VARCHAR(3)", "payload must take 100 characters, and is varchar(3)"),
    ],
)
async def test_a_column_that_does_not_hold_the_load_s_values_is_refused(cluster: Cluster, columns: str, wrong: str) -> None:
    """The server would change them without an error, and the audit would find data that no write left."""
    await execute_sql(cluster.writer, "CREATE DATABASE drill", f"CREATE TABLE drill.t ({columns}, {KEYS}) ENGINE=InnoDB")
    async with external(cluster) as control:
        with pytest.raises(ClusterError, match=re.escape(f"drill.t on writer cannot be used: {wrong}")):
            await control.create_table(TABLE)


async def test_a_name_in_upper_case_is_refused_where_the_server_stores_names_in_lower_case(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQL would find the table, and HandlerSocket would not."""
    original = _mariadbd.configuration

    def lower(*arguments: Any, **options: Any) -> str:
        return original(*arguments, **options) + "lower_case_table_names=1\n"

    monkeypatch.setattr(_mariadbd, "configuration", lower)
    async with open_servers("mariadb", readers=1) as owner:
        async with external(owner.cluster, may_create=True) as control:
            with pytest.raises(ClusterError, match=r"would not find Drill\.T there: write drill\.t .*Nothing was written$"):
                await control.create_table(replace(TABLE, database="Drill", name="T"))
            await control.create_table(TABLE)
