"""The audit of a table with several counters and columns against a simulated store: silent while the store is right, and exact
about the one thing that it gets wrong."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hs_drill.audit import AuditedTable
from hs_drill.audit._audit import Audit, Validity
from hs_drill.workload import first_insert_key
from tests.loadtest.support.histories import Op, Store, audit_of, folder
from tests.loadtest.support.own_table import MIX, TABLE, left

LOADED = 4
SPARE = 2
"""A row that only the test itself uses."""
FEW = replace(TABLE, fingerprint=lambda column, number, version: left(column, number, version) % 3)
"""Its columns have few values, so many writes leave the same."""
PLACES = {column: 1 + place for place, column in enumerate((*TABLE.counters, *TABLE.extras))}
randoms = st.randoms(use_true_random=False)
tables = st.sampled_from([TABLE, FEW])


def store_of(rng: random.Random, table: AuditedTable = TABLE, *, general: bool = False) -> Store:
    return Store(rng, LOADED, general=general, mix=MIX, table=table)


def audited(store: Store, ops: list[Op] | None = None, **more: object) -> Audit:
    ops = store.ops if ops is None else ops
    with folder() as path:
        return audit_of(path, ops, store.rows, loaded=LOADED, mix=MIX, table=store.table, **more)  # type: ignore[arg-type]


def faults(result: Audit) -> dict[str, list[tuple[int, tuple[str, ...]]]]:
    return {
        name: [(finding.key, finding.columns) for finding in check.findings]
        for name, check in result.checks.items()
        if check.verdict is Validity.FALSE
    }


@given(randoms, tables, st.integers(0, 300), st.booleans(), st.booleans())
def test_a_correct_store_never_fails(rng: random.Random, table: AuditedTable, steps: int, general: bool, primary: bool) -> None:
    store = store_of(rng, table, general=general)
    store.run(steps)
    result = audited(store, reads_primary=primary)
    assert faults(result) == {}, [check.explanation for check in result.checks.values()]
    if not general:
        assert Validity.UNKNOWN not in {check.verdict for name, check in result.checks.items() if name != "replicas"}


@given(randoms, tables, st.integers(0, 300), st.floats(0, 1), st.integers(0, 1))
def test_operations_that_a_cut_history_lacks_are_never_held_against_the_store(
    rng: random.Random, table: AuditedTable, steps: int, kept: float, worker: int
) -> None:
    store = store_of(rng, table)
    store.run(steps)
    theirs = sorted((op for op in store.ops if op.worker == worker), key=lambda op: op.end)
    ops = [op for op in store.ops if op.worker != worker] + theirs[: int(len(theirs) * kept)]
    result = audited(store, ops, cut=[worker])
    assert faults(result) == {}, [check.explanation for check in result.checks.values()]


@given(randoms, st.integers(0, 100), st.integers(0, 100), st.sampled_from([("rename", "name"), ("reprice", "price")]))
def test_a_write_that_is_lost_in_one_column_is_found_by_that_column(
    rng: random.Random, before: int, after: int, update: tuple[str, str]
) -> None:
    """An update of the other column comes after it, so the row's version is right."""
    name, column = update
    store = store_of(rng)
    store.run(before, spare=SPARE)
    store.carry_out(Op(name, SPARE, store.version(0)))
    kept = store.rows[SPARE][PLACES[column]]
    store.carry_out(Op(name, SPARE, store.version(0)))
    other = "reprice" if name == "rename" else "rename"
    store.carry_out(Op(other, SPARE, store.version(0)))
    row = list(store.rows[SPARE])
    row[PLACES[column]] = kept
    store.rows[SPARE] = tuple(row)
    store.run(after, spare=SPARE)
    result = audited(store)
    assert faults(result) == {"lost": [(SPARE, (column,))]}
    assert result["lost"].count == 1


@given(randoms, st.integers(0, 100), st.sampled_from(["name", "price"]), st.booleans())
def test_a_column_that_no_write_left_is_found(rng: random.Random, steps: int, column: str, inserted: bool) -> None:
    store = store_of(rng)
    key = first_insert_key(9, 0) if inserted else SPARE
    store.run(steps, spare=key)
    if inserted:
        store.carry_out(Op("new", key, store.version(0)))
    store.carry_out(Op("reprice" if column == "name" else "rename", key, store.version(0)))
    row = list(store.rows[key])
    row[PLACES[column]] = 7
    store.rows[key] = tuple(row)
    assert faults(audited(store)) == {"unexpected": [(key, (column,))]}


@given(randoms, st.integers(0, 100), st.sampled_from(["count view", "like", "unlike"]), st.sampled_from([0, 2]))
def test_a_step_that_is_lost_or_applied_twice_is_found_by_its_counter(
    rng: random.Random, steps: int, name: str, times: int
) -> None:
    store = store_of(rng)
    store.run(steps, spare=SPARE)
    store.carry_out(Op(name, SPARE, 7))
    store.carry_out(Op(name, SPARE, 7), times=times)
    found = (SPARE, ("views" if name == "count view" else "likes",))
    result = audited(store)
    assert faults(result) == {"lost" if times == 0 else "applied_twice": [found], "counters": [found]}


@given(randoms, st.integers(0, 100), st.sampled_from(["views", "likes"]))
def test_a_counter_that_a_read_saw_wrong_is_found_by_its_column(rng: random.Random, steps: int, column: str) -> None:
    store = store_of(rng)
    store.run(steps, spare=SPARE)
    read = store.carry_out(Op("page" if column == "views" else "like page", SPARE))
    store.ops[-1] = replace(read, n=read.n + 1)
    assert faults(audited(store, reads_primary=True)) == {
        "unexpected": [(SPARE, (column,))],
        "counters": [(SPARE, (column,))],
    }


@pytest.mark.parametrize("update, sets", [("rename", "name"), ("reprice", "price")])
def test_the_store_that_the_others_trust_sets_what_it_should(update: str, sets: str) -> None:
    store = store_of(random.Random(1))
    version = store.version(0)
    before = store.rows[SPARE]
    store.carry_out(Op(update, SPARE, version))
    changed = {column for column, place in PLACES.items() if store.rows[SPARE][place] != before[place]}
    assert (changed, store.rows[SPARE][0]) == ({sets}, version)
