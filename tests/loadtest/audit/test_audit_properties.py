"""The audit against a simulated store: silent while the store is right, and exact about the one thing that it gets wrong."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hs_drill.audit import _buckets, _row_histories
from hs_drill.audit._audit import Audit, Validity
from hs_drill.audit._counter_history import CounterHistory
from hs_drill.audit._register import ENDLESS, Read
from hs_drill.store import NO_COUNT, RECORD
from hs_drill.workload import ABSENT, first_insert_key
from tests.loadtest.support.histories import Op, Store, audit_of, folder
from tests.support.amount import amount

ALL = {
    "lost",
    "recovered",
    "unexpected",
    "applied_twice",
    "counters",
    "stale_reads",
    "monotonic_reads",
    "read_your_writes",
    "monotonic_writes",
    "writes_follow_reads",
    "no_resurrection",
    "linearizable",
    "replicas",
}
LOADED = 4
randoms = st.randoms(use_true_random=False)


def audited(store: Store, **more: object) -> Audit:
    with folder() as path:
        return audit_of(path, store.ops, store.rows, loaded=LOADED, **more)  # type: ignore[arg-type]


def verdicts(result: Audit) -> dict[str, Validity]:
    assert set(result.checks) == ALL
    return {name: check.verdict for name, check in result.checks.items()}


def false(result: Audit) -> set[str]:
    return {name for name, verdict in verdicts(result).items() if verdict is Validity.FALSE}


def base_is_known(key: int, applied: list[Op]) -> bool:
    """Whether it is known what a counter was before its first step."""
    inserts = sum(op.key == key and op.operation == "insert" for op in applied)
    deleted = any(op.key == key and op.operation == "delete" for op in applied)
    return not deleted and inserts <= (0 if key <= LOADED else 1)


def assert_right(store: Store, result: Audit, *names: str) -> None:
    """Each of the checks is true where there was something to find, and not applicable where there was not."""
    reads = [op for op in store.ops if op.operation == "get"]
    writes = [op for op in store.ops if op.operation == "delete" or (op.operation != "get" and op.value)]
    acknowledged = [op for op in writes if op.outcome == "ok"]
    applied = [op for op in writes if op.outcome != "fail"]
    states = [op for op in acknowledged if op.operation in ("insert", "update", "delete")]
    before = {op.value: op for op in applied if op.operation in ("insert", "update")}
    something = {
        "lost": bool(acknowledged),
        "recovered": any(op.outcome == "info" for op in writes),
        "unexpected": True,
        "applied_twice": any(op.operation in ("incr", "decr") for op in applied),
        "counters": any(op.operation in ("incr", "decr") for op in applied),
        "stale_reads": any(write.key == read.key and write.end < read.start for read in reads for write in states)
        or any(
            step.key == read.key and step.end < read.start and read.n != NO_COUNT and base_is_known(step.key, applied)
            for read in reads
            for step in acknowledged
            if step.operation in ("incr", "decr")
        ),
    }
    if not any(op.operation == "delete" for op in applied):
        down = {op.key for op in applied if op.operation == "decr"}
        something["monotonic_reads"] = any(
            (one.worker, one.user, one.key) == (other.worker, other.user, other.key)
            and one.start < other.start
            and (one.value in before or (one.n > 0 and one.key not in down and base_is_known(one.key, applied)))
            for one in reads
            for other in reads
        )
    for name in names:
        if name in something:
            expected = Validity.TRUE if something[name] else Validity.NOT_APPLICABLE
            assert result[name].verdict is expected, result[name].explanation


@given(randoms, st.integers(0, 300), st.booleans())
def test_a_correct_store_passes_whatever_its_users_did(rng: random.Random, steps: int, primary: bool) -> None:
    store = Store(rng, LOADED)
    store.run(steps)
    result = audited(store, reads_primary=primary)
    assert_right(store, result, *ALL)
    assert result["stale_reads"].measured["stale"] == 0
    written = {op.key for op in store.ops if op.operation in ("insert", "update", "delete") and op.outcome != "fail"}
    read = primary and any(op.operation == "get" and op.key in written for op in store.ops)
    assert result["linearizable"].verdict is (Validity.TRUE if read else Validity.NOT_APPLICABLE)


@given(randoms, st.integers(0, 300))
def test_a_correct_store_never_fails_when_keys_are_used_for_everything(rng: random.Random, steps: int) -> None:
    store = Store(rng, LOADED, general=True)
    store.run(steps)
    result = audited(store, reads_primary=True)
    assert not false(result), [check.explanation for check in result.checks.values()]
    # What a counter should be is unknown when its row comes and goes; reads and writes can be checked.
    assert result["unexpected"].verdict is Validity.TRUE
    assert_right(store, result, "stale_reads", "monotonic_reads")


@given(randoms, st.integers(0, 300), st.floats(0, 1), st.integers(0, 1), st.booleans())
def test_operations_that_a_cut_history_lacks_are_never_held_against_the_store(
    rng: random.Random, steps: int, kept: float, worker: int, missing: bool
) -> None:
    store = Store(rng, LOADED)
    store.run(steps)
    theirs = sorted((op for op in store.ops if op.worker == worker), key=lambda op: op.end)
    theirs = theirs[: 0 if missing else int(len(theirs) * kept)]
    ops = [op for op in store.ops if op.worker != worker] + theirs
    with folder() as path:
        if missing and worker == 1:
            result = audit_of(path, ops, store.rows, loaded=LOADED, workers=[0, 1])
        else:
            result = audit_of(path, ops, store.rows, loaded=LOADED, cut=[worker])
    assert not false(result), [check.explanation for check in result.checks.values()]
    assert Validity.TRUE not in {result[name].verdict for name in ALL - {"replicas"}}


@given(randoms, st.integers(0, 100), st.integers(0, 100), st.sampled_from(["insert", "update", "delete", "incr", "decr"]))
def test_a_forgotten_write_is_found(rng: random.Random, before: int, after: int, operation: str) -> None:
    store = Store(rng, LOADED)
    key = first_insert_key(9, 0) if operation in ("insert", "delete") else 1
    store.run(before, spare=key)
    if operation == "delete":
        store.carry_out(Op("insert", key, store.version(0)))
    store.carry_out(Op(operation, key, store.version(0) if operation in ("insert", "update") else 3), times=0)
    store.run(after, spare=key)
    result = audited(store)
    also = {"incr": {"counters"}, "decr": {"counters"}, "delete": {"no_resurrection"}}
    assert false(result) == {"lost"} | also.get(operation, set())
    assert [finding.key for finding in result["lost"].findings] == [key]
    assert (result["lost"].count, result["lost"].possible) == (1, 0)


@given(randoms, st.integers(0, 100), st.integers(0, 100), st.sampled_from(["incr", "decr"]), st.integers(1, 5))
def test_what_is_applied_twice_is_found(rng: random.Random, before: int, after: int, operation: str, again: int) -> None:
    """By the server, or by a client that repeats an operation that it must not repeat: the history looks the same."""
    store = Store(rng, LOADED)
    store.run(before, spare=2)
    for times in (1, 1 + again, 1):
        store.carry_out(Op(operation, 2, 7), times=times)
    store.run(after, spare=2)
    result = audited(store)
    assert false(result) == {"applied_twice", "counters"}
    assert [finding.key for finding in result["applied_twice"].findings] == [2]
    assert result["applied_twice"].count == again


@given(
    randoms,
    st.integers(0, 100),
    st.integers(0, 100),
    st.sampled_from(["update", "delete"]),
    st.integers(1, 5000),
    st.booleans(),
)
def test_a_stale_read_is_found(rng: random.Random, before: int, after: int, operation: str, lag: int, primary: bool) -> None:
    store = Store(rng, LOADED)
    key = first_insert_key(9, 0) if operation == "delete" else 3
    store.run(before, spare=key)
    if operation == "delete":
        store.carry_out(Op("insert", key, store.version(0)))
    old = store.rows[key][0]
    write = store.carry_out(Op(operation, key, store.version(0) if operation == "update" else 0))
    store.now += lag
    read = store.carry_out(Op("get", key, user=7))
    store.ops[-1] = replace(read, value=old)
    store.run(after, spare=key)
    behind = read.start - write.end
    result = audited(store, reads_primary=primary)
    deleted = primary and operation == "delete"
    assert false(result) == {"stale_reads"} | ({"linearizable"} if primary else set()) | (
        {"no_resurrection"} if deleted else set()
    )
    assert [finding.key for finding in result["linearizable"].findings] == ([key] if primary else [])
    assert [finding.key for finding in result["stale_reads"].findings] == [key]
    assert result["stale_reads"].measured["max_seconds"] == pytest.approx(behind / 1e6)
    assert audited(store, staleness=behind / 1e6)["stale_reads"].verdict is Validity.TRUE
    assert audited(store, staleness=(behind - 1) / 1e6)["stale_reads"].verdict is Validity.FALSE


@given(randoms, st.integers(0, 100), st.booleans())
def test_a_user_who_sees_a_row_go_back_is_found(rng: random.Random, steps: int, other: bool) -> None:
    """No read is stale on its own: the write was not acknowledged yet."""
    store = Store(rng, LOADED)
    store.run(steps, spare=1)
    now, version = store.now, store.version(0)
    store.ops += [
        Op("update", 1, version, now + 1, now + 90),
        Op("get", 1, version, now + 10, now + 20, user=8),
        Op("get", 1, 0, now + 30, now + 40, user=9 if other else 8),
    ]
    store.rows[1] = (version, 0)
    result = audited(store)
    assert false(result) == (set() if other else {"monotonic_reads"})
    assert [finding.key for finding in result["monotonic_reads"].findings] == ([] if other else [1])


@given(randoms, st.integers(0, 100), st.sampled_from(["failed", "another's", "nobody's"]), st.booleans())
def test_data_that_no_write_left_is_found(rng: random.Random, steps: int, whose: str, read: bool) -> None:
    store = Store(rng, LOADED)
    store.run(steps, spare=1)
    version = store.version(0)
    if whose == "failed":
        store.carry_out(Op("update", 1, version), times=0)
        store.ops[-1] = replace(store.ops[-1], outcome="fail")
    elif whose == "another's":
        store.carry_out(Op("update", 2, version))
    if read:
        store.carry_out(Op("get", 1))
        store.ops[-1] = replace(store.ops[-1], value=version)
    else:
        store.rows[1] = (version, 0)
    result = audited(store)
    assert false(result) == {"unexpected"}
    assert [finding.key for finding in result["unexpected"].findings] == [1]


@given(randoms, st.integers(0, 100), st.sampled_from(["incr", "decr"]), st.integers(1, 5000), st.booleans())
def test_a_counter_that_lacks_an_acknowledged_step_is_found(
    rng: random.Random, before: int, operation: str, lag: int, primary: bool
) -> None:
    """On a replica the read is stale; on the primary the counter is wrong too."""
    store = Store(rng, LOADED)
    store.run(before, spare=3)
    old = 0
    for _ in range(2):
        step = store.carry_out(Op(operation, 3, 7))
        store.now += lag
        store.carry_out(Op("get", 3, user=7))
        store.ops[-1] = read = replace(store.ops[-1], n=old)
        old += 7 if operation == "incr" else -7
        assert read.start - step.end >= lag
    behind = read.start - step.end
    result = audited(store, reads_primary=primary)
    assert false(result) == ({"stale_reads", "counters"} if primary else {"stale_reads"})
    assert [finding.key for finding in result["stale_reads"].findings] == [3, 3]
    assert result["stale_reads"].measured["stale"] == 2
    assert result["stale_reads"].measured["max_seconds"] * 1e6 >= behind - 1
    assert result["counters"].count == int(primary)


@given(randoms, st.integers(0, 100), st.sampled_from(["incr", "decr"]), st.booleans())
def test_a_counter_that_no_steps_make_is_found_wherever_it_was_read(
    rng: random.Random, before: int, operation: str, primary: bool
) -> None:
    """A step that was applied twice, and is gone again at the end."""
    store = Store(rng, LOADED)
    store.run(before, spare=3)
    store.carry_out(Op(operation, 3, 7))
    store.carry_out(Op("get", 3))
    store.ops[-1] = replace(store.ops[-1], n=14 if operation == "incr" else -14)
    result = audited(store, reads_primary=primary)
    assert false(result) == ({"unexpected", "counters"} if primary else {"unexpected"})
    assert [finding.key for finding in result["unexpected"].findings] == [3]


@given(randoms, st.integers(0, 100), st.booleans())
def test_a_user_who_sees_a_counter_go_back_is_found(rng: random.Random, steps: int, counted_down: bool) -> None:
    """No read is stale on its own. If the row is decremented too, the lower counter may be the newer one."""
    store = Store(rng, LOADED)
    store.run(steps, spare=1)
    now = store.now
    store.ops += [
        Op("incr", 1, 2, now + 1, now + 90),
        Op("get", 1, 0, now + 10, now + 20, user=8, n=2),
        Op("get", 1, 0, now + 30, now + 40, user=8, n=0),
    ]
    store.rows[1] = (0, 2)
    if counted_down:
        store.ops.append(Op("decr", 1, 2, now + 1, now + 90))
        store.rows[1] = (0, 0)
    assert false(audited(store)) == (set() if counted_down else {"monotonic_reads"})


moments = st.integers(0, 20)
counted = st.tuples(st.sampled_from([-3, -1, 1, 2, 5]), moments, st.integers(0, 8), st.booleans())


@given(st.integers(-5, 5), st.lists(counted, max_size=7), moments, st.integers(0, 8), st.integers(-20, 20))
@example(0, [(-3, 0, 0, False)], 0, 0, -1)  # between two sums of its steps
def test_the_bounds_of_a_counter_are_those_of_trying_every_order(
    base: int, drawn: list[tuple[int, int, int, bool]], start: int, lasted: int, n: int
) -> None:
    """A read sees some of the steps that had begun before its end: with all that were acknowledged by a moment, the server is
    no further behind than that moment."""
    steps = [(amount, begun, begun + took if known else ENDLESS) for amount, begun, took, known in drawn]
    read = Read(start, start + lasted, 0, 0, n)
    begun = [step for step in steps if step[1] <= read.end]
    seen = [[step for at, step in enumerate(begun) if chosen >> at & 1] for chosen in range(1 << len(begun))]

    def may_be(until: int) -> set[int]:
        needed = [step for step in begun if step[2] <= until]
        return {
            base + sum(step[0] for step in some) for some in seen if all(some.count(one) >= needed.count(one) for one in needed)
        }

    def within(possible: set[int]) -> bool:
        return min(possible) <= n <= max(possible)

    # Between two sums of the steps: they are multiples of this.
    between = (n - base) % (math.gcd(*(amount for amount, _, _ in steps)) or 1) != 0
    assert not (between and n in may_be(-1))
    found = CounterHistory(base, steps).check(read)
    assert (found is None) == (within(may_be(start - 1)) and not between)
    if found is not None:
        assert (found.low, found.high) == (min(may_be(start - 1)), max(may_be(start - 1)))
        assert found.impossible == (between or not within(may_be(-1)))
        if not found.impossible:
            assert found.since == min(moment for moment in range(start) if not within(may_be(moment)))


@given(randoms, st.integers(0, 300))
@settings(max_examples=amount(12, 30))
def test_many_buckets_say_the_same_as_one(rng: random.Random, steps: int) -> None:
    store = Store(rng, LOADED)
    store.run(steps, spare=1)
    store.carry_out(Op("update", 1, store.version(0)), times=0)
    one = audited(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_row_histories, "BUCKET_ENTRIES", 7)
        patch.setattr(_buckets, "SPILL_BYTES", 5 * RECORD.size)
        patch.setattr("hs_drill.store._history.FLUSH_BYTES", 200)
        assert audited(store).to_dict() == one.to_dict()
    assert false(one) == {"lost"}
    assert ABSENT not in store.rows
