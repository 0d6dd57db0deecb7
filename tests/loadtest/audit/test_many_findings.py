"""Which findings are kept, where reads see what is wrong in a row again and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hs_drill.audit._audit import Audit
from hs_drill.audit._checker import MAX_FINDINGS
from hs_drill.store import WrongRow
from hs_drill.workload import DAMAGED, FOREIGN, damaged
from tests.loadtest.support.histories import Op, audit_of
from tests.loadtest.support.own_table import MIX, TABLE, held

NAME, PRICE = TABLE.columns.index("name"), TABLE.columns.index("price")
STRANGER = WrongRow(-77, "'eu', 9", ())


def own(path: Path, ops: list[Op], final: dict[int, tuple[int, ...]], loaded: int, **more: Any) -> Audit:
    return audit_of(path, ops, final, mix=MIX, table=TABLE, loaded=loaded, **more)


def saw(key: int, state: int, at: int) -> Op:
    return Op("page", key, state, at, at + 1)


def test_a_foreign_row_that_reads_meet_does_not_hide_other_rows(tmp_path: Path) -> None:
    """A row that SQL inserted is met by many reads; twelve others are damaged, and found at the end only."""
    planted = range(1, 13)
    wrong = [STRANGER, *(WrongRow(number, "", (("name", "'x'", "'y'"),)) for number in planted)]
    final = {-77: (FOREIGN, 0, 0, 1, 2), **{number: (DAMAGED, *held(number, 0)[1:]) for number in planted}}
    result = own(tmp_path, [saw(-77, FOREIGN, at) for at in range(100, 500, 2)], final, 12, wrong=wrong)
    check = result["unexpected"]
    assert [(finding.key, finding.columns) for finding in check.findings] == [
        (-77, ()),
        *((number, ("name",)) for number in planted),
    ]
    assert check.count == 13
    assert (check.findings[0].primary, check.findings[0].line) == (
        "'eu', 9",
        "200 reads, and the row at the end: a row with a key that no run makes, which no write left in this row",
    )


READS = [saw(1, damaged([NAME, PRICE]), 20), *(saw(1, damaged([NAME]), at) for at in (30, 40)), saw(1, FOREIGN, 50)]
BOTH = ("name", "price"), "a read: a row with name and price that do not fit its version, which no write left in this row"
NO_VERSION = ("note",), "a read: a note without a version, which no write left in this row"


def told(result: Audit) -> list[tuple[tuple[str, ...], str]]:
    return [(finding.columns, finding.line) for finding in result["unexpected"].findings]


def test_a_read_names_the_columns_that_it_saw_damaged(tmp_path: Path) -> None:
    result = own(tmp_path, READS, {1: held(1, 0)}, 1)
    one = "2 reads: a row with name that does not fit its version, which no write left in this row"
    assert told(result) == [BOTH, (("name",), one), NO_VERSION]
    assert result["unexpected"].count == 3


def test_reads_are_told_together_with_what_the_row_shows_at_the_end(tmp_path: Path) -> None:
    wrong = [WrongRow(1, "", (("name", "'x'", "'y'"),))]
    result = own(tmp_path, READS, {1: (DAMAGED, *held(1, 0)[1:])}, 1, wrong=wrong)
    what = "a row with columns that do not fit its version (name is 'x' and should be 'y'), which no write left in this row"
    assert told(result) == [BOTH, (("name",), f"2 reads, and the row at the end: {what}"), NO_VERSION]
    assert result["unexpected"].count == 3


def test_one_finding_of_each_row_comes_before_the_second_of_any(tmp_path: Path) -> None:
    rows = MAX_FINDINGS - 2
    twice = [saw(key, damaged([place]), 10 * key + place) for key in range(1, rows + 1) for place in (NAME, PRICE)]
    check = own(tmp_path, twice, {key: held(key, 0) for key in range(1, rows + 1)}, rows)["unexpected"]
    assert [(finding.key, finding.columns) for finding in check.findings] == [
        *((key, ("name",)) for key in range(1, rows + 1)),
        *((key, ("price",)) for key in (1, 2)),
    ]
    assert check.count == 2 * rows


def test_a_counter_that_many_reads_saw_wrong_counts_once(tmp_path: Path) -> None:
    ops = [Op("page", 1, 0, at, at + 1, n=5) for at in range(10, 100)] + [Op("like page", 1, 0, 60, 61, n=7)]
    check = own(tmp_path, ops, {1: held(1, 0)}, 1)["unexpected"]
    assert [(finding.columns, finding.time) for finding in check.findings] == [(("views",), 10e-6), (("likes",), 60e-6)]
    assert check.count == 2
