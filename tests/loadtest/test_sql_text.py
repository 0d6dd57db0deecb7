"""What a literal or a quoted name says, the server reads back as it was."""

from __future__ import annotations

import pytest

from hs_drill._cluster import Cluster
from hs_drill._sql_text import literal, quoted
from hs_drill.servers import execute_sql

TEXTS = [
    "",
    "plain",
    "it's",
    "''",
    "\\",
    "\\'",
    "'\\",
    "\\\\n",
    '"',
    "`",
    "%s {}",
    "\0\b\n\r\t\x1a",
    "é—日本🎉",
    "-- ",
    "/*",
    "; DROP",
]


@pytest.mark.mariadb
async def test_the_server_reads_back_what_a_literal_says(cluster: Cluster) -> None:
    values = [*TEXTS, 0, -1, 2**63 - 1, None]
    columns = ", ".join(f"{literal(value)} AS c{number}" for number, value in enumerate(values))
    (row,) = await execute_sql(cluster.writer, f"SELECT {columns}")
    assert list(row.values()) == values


@pytest.mark.mariadb
async def test_the_server_reads_back_a_quoted_name(cluster: Cluster) -> None:
    for name in ("plain", "a`b", "``", "it's", "select"):
        (row,) = await execute_sql(cluster.writer, f"SELECT 1 AS {quoted(name)}")
        assert list(row) == [name]
