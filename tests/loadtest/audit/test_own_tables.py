"""The audit of a table with several counters, and columns that only some updates set: each fault by key and column."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hs_drill.audit import AuditedTable, _checker
from hs_drill.audit._audit import Audit, Validity, audit
from hs_drill.scenario import parse_scenario
from hs_drill.store import FinalState, MixOperation, Operation, WrongRow
from hs_drill.workload import DAMAGED, FOREIGN, INITIAL, UNNUMBERED, damaged
from tests.loadtest.support.audited import NEW
from tests.loadtest.support.histories import Op, Rows, audit_of, folder, write_history, write_state
from tests.loadtest.support.own_table import MIX, TABLE, held, left


def rename(key: int, version: int, start: int, end: int, outcome: str = "ok", **more: Any) -> Op:
    return Op("rename", key, version, start, end, outcome, **more)


def reprice(key: int, version: int, start: int, end: int, outcome: str = "ok", **more: Any) -> Op:
    return Op("reprice", key, version, start, end, outcome, **more)


def step(name: str, key: int, amount: int, end: int, outcome: str = "ok") -> Op:
    return Op(name, key, amount, end - 5, end, outcome)


def own(path: Path, ops: list[Op], final: Rows | None, **more: Any) -> Audit:
    return audit_of(path, ops, final, **{"mix": MIX, "table": TABLE, "loaded": 1, **more})


def faults(result: Audit) -> dict[str, list[tuple[int, tuple[str, ...]]]]:
    """Key and columns of all findings, by the checks that are false."""
    return {
        name: [(finding.key, finding.columns) for finding in check.findings]
        for name, check in result.checks.items()
        if check.verdict is Validity.FALSE
    }


FIVE = [rename(1, 5, 0, 9), reprice(1, 6, 10, 19)]
INSERTED = Op("new", NEW, NEW, 0, 9)
VIEWED = [step("count view", 1, 1, 9), step("count view", 1, 1, 19), step("unlike", 1, 2, 29)]

# What was done, what was found, and key and columns of the findings of each check that is false.
CASES: dict[str, tuple[list[Op], Rows, dict[str, list[tuple[int, tuple[str, ...]]]]]] = {
    "nothing happened": ([], {1: held(1, 0)}, {}),
    "two updates, each of its own column": (FIVE, {1: held(1, 6, name=5, price=6)}, {}),
    "one column is lost": (FIVE, {1: held(1, 6, price=6)}, {"lost": [(1, ("name",))]}),
    "the other column is older than its version": (
        [*FIVE, rename(1, 7, 20, 29)],
        {1: held(1, 7, name=7)},
        {"lost": [(1, ("price",))]},
    ),
    "both updates are lost, each counted once": (FIVE, {1: held(1, 0)}, {"lost": [(1, ())]}),
    "a column that no write left": (
        FIVE,
        {1: (*held(1, 6, name=5)[:4], 12345)},
        {"unexpected": [(1, ("price",))]},
    ),
    "a column of a write that failed": (
        [rename(1, 5, 0, 9, "fail"), reprice(1, 6, 10, 19)],
        {1: held(1, 6, name=5, price=6)},
        {"unexpected": [(1, ("name",))]},
    ),
    "a column of a write of unknown outcome": (
        [rename(1, 5, 0, 9, "info"), reprice(1, 6, 10, 19)],
        {1: held(1, 6, name=5, price=6)},
        {},
    ),
    "which may have failed as well": ([rename(1, 5, 0, 9, "info"), reprice(1, 6, 10, 19)], {1: held(1, 6, price=6)}, {}),
    "concurrent updates, either first": (
        [rename(1, 5, 0, 9), rename(1, 6, 5, 15), reprice(1, 7, 20, 29)],
        {1: held(1, 7, name=5, price=7)},
        {},
    ),
    "an inserted row": ([INSERTED], {1: held(1, 0), NEW: held(NEW, NEW, name=NEW, price=NEW)}, {}),
    "an inserted row, renamed": (
        [INSERTED, rename(NEW, 5, 10, 19)],
        {1: held(1, 0), NEW: held(NEW, 5, name=5, price=NEW)},
        {},
    ),
    "an inserted row, its renaming lost": (
        [INSERTED, rename(NEW, 5, 10, 19), reprice(NEW, 6, 20, 29)],
        {1: held(1, 0), NEW: held(NEW, 6, name=NEW, price=6)},
        {"lost": [(NEW, ("name",))]},
    ),
    "an inserted row that counted": ([INSERTED], {1: held(1, 0), NEW: held(NEW, NEW, 1, name=NEW, price=NEW)}, {
        "unexpected": [(NEW, ("views",))],
        "counters": [(NEW, ("views",))],
    }),
    "an inserted row with another row's counter": (
        [INSERTED],
        {1: held(1, 0), NEW: held(NEW, NEW, 0, 0, name=NEW, price=NEW)},
        {"unexpected": [(NEW, ("likes",))], "counters": [(NEW, ("likes",))]},
    ),
    "an inserted row, deleted": ([INSERTED, Op("drop", NEW, 0, 10, 19)], {1: held(1, 0)}, {}),
    "steps of both counters": (VIEWED, {1: held(1, 0, 2, -1)}, {}),
    "a step that was applied twice": (
        VIEWED,
        {1: held(1, 0, 3, -1)},
        {"applied_twice": [(1, ("views",))], "counters": [(1, ("views",))]},
    ),
    "a step that is lost": (VIEWED, {1: held(1, 0, 2, 1)}, {"lost": [(1, ("likes",))], "counters": [(1, ("likes",))]}),
    "one of each": (
        VIEWED,
        {1: held(1, 0, 3, 1)},
        {
            "applied_twice": [(1, ("views",))],
            "lost": [(1, ("likes",))],
            "counters": [(1, ("views",)), (1, ("likes",))],
        },
    ),
    "a step in the wrong counter": (
        [step("count view", 1, 1, 9)],
        {1: held(1, 0, 0, 2)},
        {
            "lost": [(1, ("views",))],
            "unexpected": [(1, ("likes",))],
            "counters": [(1, ("likes",)), (1, ("views",))],
        },
    ),
    "steps are gone with the row": (VIEWED, {}, {"lost": [(1, ()), (1, ("views",)), (1, ("likes",))]}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_by_hand(tmp_path: Path, name: str) -> None:
    ops, final, expected = CASES[name]
    found = {check: sorted(findings) for check, findings in faults(own(tmp_path, ops, final)).items()}
    assert found == {check: sorted(findings) for check, findings in expected.items()}


def test_findings_say_what_was_done_and_found(tmp_path: Path) -> None:
    result = own(tmp_path, [*FIVE, *VIEWED], {1: held(1, 6, 3, 1, price=6)})
    assert [finding.line for finding in result["lost"].findings] == [
        "the update `rename` of version v0000000000000005 was acknowledged; at the end name has an older value",
        "the counter likes is 1 and should be -1",
    ]
    assert result["applied_twice"].explanation.endswith(": the counter views is 3 and should be 2")
    assert result["lost"].count == 2


def test_a_value_that_several_writes_leave_is_of_the_latest_of_them(tmp_path: Path) -> None:
    """As of a column with few values: an acknowledged write may leave what was there before."""
    few = replace(TABLE, fingerprint=lambda column, number, version: version % 2)
    ops = [rename(1, 5, 0, 9), rename(1, 6, 10, 19), reprice(1, 7, 20, 29)]
    assert faults(own(tmp_path, ops, {1: (7, 0, 1, 0, 1)}, table=few)) == {}
    (tmp_path / "lost").mkdir()
    assert faults(own(tmp_path / "lost", ops, {1: (7, 0, 1, 1, 1)}, table=few)) == {"lost": [(1, ("name",))]}


def test_a_cut_history_may_explain_what_a_column_holds(tmp_path: Path) -> None:
    result = own(tmp_path, FIVE, {1: held(1, 6, name=9, price=6)}, cut=[1])
    assert (faults(result), result["unexpected"].possible) == ({}, 1)
    assert "perhaps: at the end: a value in name, which no write left in this row" in result["unexpected"].explanation
    (tmp_path / "lost").mkdir()
    result = own(tmp_path / "lost", FIVE, {1: held(1, 6, price=6)}, cut=[1])
    assert (faults(result), result["lost"].possible) == ({}, 1)


def test_a_row_that_does_not_fit_its_version_is_found_with_each_wrong_column(tmp_path: Path) -> None:
    wrong = [WrongRow(1, "", (("name", "'ab'", "'abc'"), ("price", "1.00", "12.00")))]
    final = {1: (DAMAGED, 0, 1, left("name", 1, 7), left("price", 1, 0))}
    result = own(tmp_path, FIVE, final, wrong=wrong)
    (finding,) = result["unexpected"].findings
    assert (finding.key, finding.columns) == (1, ("name", "price"))
    assert finding.line == (
        "at the end: a row with columns that do not fit its version (name is 'ab' and should be 'abc'; "
        "price is 1.00 and should be 12.00), which no write left in this row"
    )
    assert faults(result)["lost"] == [(1, ("price",))]


def test_a_row_whose_key_is_none_of_ours_is_found_by_that_key(tmp_path: Path) -> None:
    result = own(tmp_path, [], {-77: (FOREIGN, 0, 0, 1, 2), 1: held(1, 0)}, wrong=[WrongRow(-77, "'eu', 9", ())])
    (finding,) = result["unexpected"].findings
    assert (finding.key, finding.primary) == (-77, "'eu', 9")
    assert result["unexpected"].explanation == (
        "1 row or read shows data that no write left: "
        "key 'eu', 9: at the end: a row with a key that no run makes, which no write left in this row"
    )


def test_a_key_that_is_not_the_number_is_shown(tmp_path: Path) -> None:
    table = replace(TABLE, key_of=lambda number: f"'eu', {number}")
    result = own(tmp_path, FIVE, {1: held(1, 0)}, table=table)
    assert result["lost"].findings[0].primary == "'eu', 1"
    assert "2 acknowledged writes are lost: key 'eu', 1 at" in result["lost"].explanation


COMPOSITE = """
name: by region
table:
  rows: 9
  columns:
    region: {type: char(2), values: eu}
    id:     {type: KIND, values: MADE}
    seen:   {type: int, values: {between: [3, 9]}}
    note:   {type: varchar(18), values: version}
  primary: [PRIMARY]
mix: {get: 5, count: {do: incr, column: seen, weight: 1}}
"""


def table_of(kind: str, made: str, primary: str) -> AuditedTable:
    text = COMPOSITE.replace("KIND", kind).replace("MADE", made).replace("PRIMARY", primary)
    return AuditedTable.of(parse_scenario(text, "s.yaml"))


def test_the_table_of_a_scenario() -> None:
    plain, composite, uuid = (
        table_of("bigint", "sequence", "id"),
        table_of("bigint", "sequence", "region, id"),
        table_of("binary(16)", "uuid", "id"),
    )
    assert [table.key_of(5) for table in (plain, composite)] == ["", "'eu', 5"]
    assert uuid.key_of(5).startswith("x'")
    assert {table.key_of(UNNUMBERED) for table in (plain, composite, uuid)} == {"unknown"}, "as of a row that a `find` saw"
    assert {table.key_of(-5) for table in (plain, composite, uuid)} == {"unknown"}, "as of one that is gone at the end"
    assert (plain.counters, plain.extras, plain.version_column) == (("seen",), (), "note")
    assert plain.counter_ends == {"seen": (-(2**31), 2**31 - 1)}
    assert {plain.initial(number)[0] for number in range(1, 100)} <= set(range(3, 10))
    assert plain.loaded(5) == (INITIAL, *plain.initial(5))
    drill = AuditedTable.of(parse_scenario("name: x\nmix: {update: 1}\n", "s.yaml"))
    assert (drill.counters, drill.extras, drill.loaded(5), drill.key_of(0)) == (("n",), (), (INITIAL, 0), "")


def test_reads_show_the_counter_of_their_operation(tmp_path: Path) -> None:
    reads = [Op("page", 1, 0, 30, 31, n=2), Op("like page", 1, 0, 30, 31, n=-1)]
    result = own(tmp_path, [*VIEWED, *reads], {1: held(1, 0, 2, -1)}, reads_primary=True)
    assert faults(result) == {}
    (tmp_path / "wrong").mkdir()
    swapped = [replace(reads[0], n=-1), replace(reads[1], n=2)]
    result = own(tmp_path / "wrong", [*VIEWED, *swapped], {1: held(1, 0, 2, -1)}, reads_primary=True)
    assert faults(result)["unexpected"] == [(1, ("views",)), (1, ("likes",))]
    assert faults(result)["counters"] == [(1, ("views",)), (1, ("likes",))]


def test_each_counter_goes_back_on_its_own(tmp_path: Path) -> None:
    """The likes are decremented too; only the views can be seen to go back."""
    steps = [Op("count view", 1, 1, 0, 99), Op("like", 1, 1, 0, 99), Op("unlike", 1, 1, 0, 99)]
    reads = [
        Op(name, 1, 0, at, at + 1, n=n)
        for name, at, n in (("page", 10, 1), ("like page", 12, 2), ("page", 14, 0), ("like page", 16, 1))
    ]
    result = own(tmp_path, [*steps, *reads], {1: held(1, 0, 1, 1)})
    assert faults(result) == {"monotonic_reads": [(1, ("views",))]}
    assert result["monotonic_reads"].findings[0].line == (
        "user 0 of worker 0 saw the counter views at 1 and then at 0, which is older"
    )


def test_a_stale_counter_is_named(tmp_path: Path) -> None:
    result = own(tmp_path, [*VIEWED, Op("page", 1, 0, 40, 41, n=1)], {1: held(1, 0, 2, -1)})
    assert faults(result) == {"stale_reads": [(1, ("views",))]}
    assert "a read saw the counter views at 1, without a step acknowledged" in result["stale_reads"].explanation


def test_steps_beyond_the_end_of_a_type_are_not_lost(tmp_path: Path) -> None:
    table = replace(TABLE, counter_ends={"views": (-128, 127), "likes": (-128, 127)})
    up = [step("count view", 1, 8, 10 * at) for at in range(1, 18)]
    down = [step("unlike", 1, 50, 10 * at) for at in range(1, 4)]
    read = Op("page", 1, 0, 200, 201, n=127)
    result = own(tmp_path, [*up, *down, read], {1: held(1, 0, 127, -128)}, table=table, reads_primary=True)
    assert faults(result) == {}
    assert (result["counters"].verdict, result["counters"].possible) == (Validity.UNKNOWN, 2)
    assert result["counters"].findings[1].line == (
        "perhaps: the counter views is 127 and should be 136, but its type ends before that, where the server clips"
    )
    (tmp_path / "lost").mkdir()
    result = own(tmp_path / "lost", up[:15], {1: held(1, 0, 112)}, table=table)
    assert faults(result)["lost"] == [(1, ("views",))], "120 are within the type"


def test_a_later_run_begins_with_what_the_rows_held(tmp_path: Path) -> None:
    before = write_state(tmp_path, "before", {1: held(1, 3, 10, 20, name=2, price=3)}, TABLE)
    ops = [reprice(1, NEW, 0, 9), step("like", 1, 1, 9)]
    result = own(tmp_path, ops, {1: held(1, NEW, 10, 21, name=2, price=NEW)}, before=before)
    assert faults(result) == {}
    (tmp_path / "wrong").mkdir()
    result = own(tmp_path / "wrong", ops, {1: held(1, NEW, 10, 20, name=1, price=NEW)}, before=before)
    assert faults(result) == {
        "lost": [(1, ("likes",))],
        "unexpected": [(1, ("name",))],
        "counters": [(1, ("likes",))],
    }


CATEGORY = ("category", "'x'", "'books'")
"""Wrong in a column that no operation sets."""


@pytest.mark.parametrize("known", [True, False], ids=["described", "beyond those that are described"])
def test_what_an_earlier_run_left_damaged_is_not_found_again(
    tmp_path: Path, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_checker, "MOST_WRONG_ROWS", 0)
    damaged_row = (DAMAGED, *held(1, 0)[1:])
    before = write_state(tmp_path, "before", {1: damaged_row}, TABLE, [WrongRow(1, "", (CATEGORY,), 0)] if known else [])
    table = replace(TABLE, columns=("id", "name", "price", "category", "views", "likes", "note"))
    page = Op("page", 1, damaged([3]), 30, 31, n=0)

    def later(name: str, ops: list[Op], row: tuple[int, ...], *wrong: tuple[str, str, str], shown: int = NEW) -> Audit:
        (tmp_path / name).mkdir()
        described = [WrongRow(1, "", wrong, shown)] if known else []
        return own(tmp_path / name, ops, {1: row}, before=before, wrong=described, table=table)

    renamed = (DAMAGED, *held(1, NEW, name=NEW)[1:])
    assert faults(later("untouched", [page], damaged_row, CATEGORY, shown=0)) == {}
    assert faults(later("renamed", [rename(1, NEW, 0, 9), page], renamed, CATEGORY)) == {}
    lost = later("lost", [rename(1, NEW, 0, 9)], damaged_row, CATEGORY, shown=0)
    assert faults(lost).get("lost", []) == ([(1, ())] if known else [])
    assert lost["lost"].verdict is (Validity.FALSE if known else Validity.UNKNOWN)
    if known:
        more = later("more", [rename(1, NEW, 0, 9)], renamed, CATEGORY, ("added", "NULL", "'2024-01-01'"))
        assert faults(more) == {"unexpected": [(1, ("category", "added"))]}
        seen = later("seen", [replace(page, value=damaged([1, 3]))], damaged_row, CATEGORY, shown=0)
        assert faults(seen) == {"unexpected": [(1, ("name", "category"))]}


def test_a_damaged_row_names_the_write_that_left_it(tmp_path: Path) -> None:
    wrong = [WrongRow(1, "", (CATEGORY,), INITIAL)]
    result = own(tmp_path, [rename(1, 5, 0, 9)], {1: (DAMAGED, *held(1, 0)[1:])}, wrong=wrong)
    assert faults(result) == {"lost": [(1, ())], "unexpected": [(1, ("category",))]}


def test_replicas_differ_in_columns(tmp_path: Path) -> None:
    primary = {1: held(1, 0), 2: held(2, 0), 3: held(3, 0)}
    other = {1: held(1, 0, price=5), 2: held(2, 0, 1), 3: (DAMAGED, *held(3, 0)[1:])}
    replica = write_state(tmp_path, "reader-1", other, TABLE, [WrongRow(3, "", (("added", "NULL", "'2024-01-01'"),))])
    result = own(tmp_path, [], primary, loaded=3, replicas=[replica])
    assert faults(result) == {"replicas": [(1, ("price",)), (2, ("views",)), (3, ())]}
    assert [finding.line for finding in result["replicas"].findings] == [
        "reader-1 has the version from before the run, views 0, likes 1; "
        "writer has the version from before the run, views 0, likes 1; they differ in price",
        "reader-1 has the version from before the run, views 1, likes 2; "
        "writer has the version from before the run, views 0, likes 2",
        "reader-1 has a row with columns that do not fit its version (added is NULL and should be '2024-01-01'), "
        "views 0, likes 3; writer has the version from before the run, views 0, likes 3",
    ]


def test_replicas_differ_in_what_no_write_left(tmp_path: Path) -> None:
    rows = {key: (DAMAGED, *held(key, 0)[1:]) for key in (1, 2, 3)} | {4: held(4, 0)}
    added, category = ("added", "NULL", "'2024-01-01'"), ("category", "'x'", "'books'")
    replica = write_state(tmp_path, "reader-1", rows, TABLE, [WrongRow(1, "", (category,)), WrongRow(2, "", (added,))])
    wrong = [WrongRow(1, "", (added,)), WrongRow(2, "", (added,))]
    result = own(tmp_path, [], rows, loaded=4, replicas=[replica], wrong=wrong)
    assert faults(result)["replicas"] == [(1, ("added", "category"))]
    (finding,) = result["replicas"].findings
    assert "category is 'x' and should be 'books'" in finding.line
    assert "added is NULL and should be '2024-01-01'" in finding.line


def test_files_of_another_table_prove_nothing(tmp_path: Path) -> None:
    other = replace(TABLE, counters=("views",))
    state = write_state(tmp_path, "writer", {1: held(1, 0)[:4]}, other)
    result = own(tmp_path, FIVE, None, before=state)
    assert result["lost"].verdict is Validity.UNKNOWN
    assert f"{state.path} is of a table with other columns" in result["lost"].explanation


@pytest.mark.parametrize("spoilt, words", [(b"", "is cut before its first block"), (b"x" * 200, "is damaged at byte 15")])
def test_a_final_state_whose_header_is_cut_or_damaged_proves_nothing(tmp_path: Path, spoilt: bytes, words: str) -> None:
    history = write_history(tmp_path, 0, FIVE, mix=MIX)
    path = write_state(tmp_path, "writer", {1: held(1, 0)}, TABLE).path
    path.write_bytes(path.read_bytes()[:15] + spoilt)
    result = audit([history], FinalState(path, "writer"), loaded=1, table=TABLE)
    assert result["lost"].verdict is Validity.UNKNOWN
    assert words in result["lost"].explanation
    assert "failed" not in result["lost"].explanation


def test_workers_that_did_different_things_cannot_be_judged_together(tmp_path: Path) -> None:
    histories = [
        write_history(tmp_path, 0, FIVE, mix=MIX),
        write_history(tmp_path, 1, [], mix=[MixOperation(14, "rename", Operation.UPDATE, None, ("price",))]),
    ]
    result = audit(histories, write_state(tmp_path, "writer", {1: held(1, 0)}, TABLE), loaded=1, table=TABLE)
    assert result["lost"].verdict is Validity.UNKNOWN
    assert "lists other operations than the histories of other workers" in result["lost"].explanation


@given(st.integers(1, 6), st.integers(0, 6))
def test_a_table_may_have_any_number_of_counters_and_extras(counters: int, extras: int) -> None:
    table = replace(
        TABLE,
        counters=tuple(f"c{at}" for at in range(counters)),
        extras=tuple(f"e{at}" for at in range(extras)),
        initial=lambda number: tuple(range(number, number + counters)),
    )
    mix = [MixOperation(9, "last", Operation.INCR, counters - 1), MixOperation(10, "set", Operation.UPDATE, None, table.extras)]
    ops = [step("last", 1, 2, 9), Op("set", 1, 5, 10, 19)]
    right = (5, *range(1, counters), counters + 2, *(left(column, 1, 5) for column in table.extras))
    with folder() as path:
        assert faults(own(path, ops, {1: right}, table=table, mix=mix)) == {}
    with folder() as path:
        wrong = (*right[:counters], counters, *right[counters + 1 :])
        last = (1, (table.counters[-1],))
        assert faults(own(path, ops, {1: wrong}, table=table, mix=mix)) == {"lost": [last], "counters": [last]}
