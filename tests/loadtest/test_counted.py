"""Numbers and their nouns agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from hs_drill._counted import counted
from hs_drill.cli import _check
from hs_drill.report import words
from hs_drill.scenario import parse_scenario


@pytest.mark.parametrize(
    "number, shown",
    [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1000, "1,000 rows"), (1.0, "1 row"), (0.9, "1 row"), (1.5, "2 rows")],
)
def test_a_number_agrees_with_its_noun(number: float, shown: str) -> None:
    assert counted(number, "row") == shown


def test_a_plural_may_be_given() -> None:
    assert [counted(n, "write is lost", "writes are lost") for n in (0, 1, 2)] == [
        "0 writes are lost",
        "1 write is lost",
        "2 writes are lost",
    ]


ONE = """\
name: one
cluster: {readers: 1}
table: {rows: 1, groups: 1}
load: {LOAD}
mix: {insert: 1}
expect: {lost: 1, applied_twice: 1, unexpected: 1, errors: 1, throughput: 1}
"""


@pytest.mark.parametrize("load", ["users: 1", "rate: 1", "stages: [{for: 1s, users: 1}]", "stages: [{for: 1s, rate: 1}]"])
def test_one_of_everything_reads_well(load: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(ONE.replace("LOAD", load))
    assert _check.main([str(path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for expected in ("1 reader ", "1 row of", "1 user" if "users" in load else "1 operation a second"):
        assert expected in shown
    for wrong in ("readers", "rows", "users", "stages", "operations"):
        assert f" 1 {wrong}" not in shown
    assert dict(words.expectations(parse_scenario(path.read_text(), "one.yaml"))) == {
        "throughput": "at least 1 operation succeeds per second over the run",
        "errors.all": "at most 1 error",
        "lost": "at most 1 acknowledged write is lost",
        "applied_twice": "at most 1 increment or decrement is applied twice",
        "unexpected": "at most 1 row or read shows data that no write left",
        "counters": "at most 2 counters are off from what was acknowledged",
    }
