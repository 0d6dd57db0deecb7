"""The weights of utf8mb4_uca1400_ai_ci and utf8mb4_unicode_ci are those of a real server, for every character."""

from __future__ import annotations

import pytest

from hs_drill._cluster import Cluster
from hs_drill.servers import execute_sql
from trio_hs.testing import _uca400, _uca1400

CHARACTER = "CONVERT(CHAR(seq USING utf32) USING utf8mb4)"
STEP = 0x22000


@pytest.mark.mariadb
@pytest.mark.parametrize("first", range(0, 0x110000, STEP))
@pytest.mark.parametrize("collation", ["uca1400_ai_ci", "unicode_ci"])
async def test_the_weight_of_every_character(cluster: Cluster, first: int, collation: str) -> None:
    weights = _uca400.weights if collation == "unicode_ci" else _uca1400.weights
    rows = await execute_sql(
        cluster.writer,
        "USE mysql",
        f"SELECT seq, WEIGHT_STRING({CHARACTER} COLLATE utf8mb4_{collation}) AS weights FROM seq_{first}_to_{first + STEP - 1}",
    )
    assert len(rows) == STEP
    for row in rows:
        expected = b"".join(weight.to_bytes(2, "big") for weight in weights(row["seq"]))
        assert expected == row["weights"], f"U+{row['seq']:04X}"
