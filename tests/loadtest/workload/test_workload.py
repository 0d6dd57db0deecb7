"""What users do: operations by the weights of the mix, keys of existing rows, and the same again for the same seed."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_drill.scenario import VERSION_WIDTH, Keys, Scenario, ValueSize, parse_scenario
from hs_drill.workload import loaded
from hs_drill.workload._keys import draw_keys
from hs_drill.workload._payloads import group_of
from hs_drill.workload._stream import Drawn, operations
from hs_drill.workload._versions import DAMAGED, FOREIGN, first_insert_key, payload_of, version_of, worker_of


def scenario(
    mix: str = "{get: 70, find: 15, insert: 10, incr: 5}", rows: int = 100, seed: int = 1, size: int = 25, audit: str = "true"
) -> Scenario:
    text = f"name: x\nseed: {seed}\ntable: {{rows: {rows}, groups: 10, value_size: {size}}}\nmix: {mix}\naudit: {audit}\n"
    return parse_scenario(text, "s.yaml")


def draw(of: Scenario, count: int, worker: int = 0) -> list[tuple[str, Drawn]]:
    return list(itertools.islice(operations(of, worker), count))


def test_operations_come_as_often_as_the_mix_says() -> None:
    drawn = Counter(name for name, _ in draw(scenario(), 100_000))
    for name, weight in {"get": 0.70, "find": 0.15, "insert": 0.10, "incr": 0.05}.items():
        assert abs(drawn[name] / 100_000 - weight) < 0.01
    assert set(drawn) == {"get", "find", "insert", "incr"}


def test_keys_are_uniform_over_the_loaded_rows() -> None:
    drawn = Counter(key for _, key in draw(scenario(), 100_000))
    assert set(drawn) == set(range(1, 101))
    assert min(drawn.values()) > 800
    assert max(drawn.values()) < 1200


def test_the_same_seed_and_worker_draw_the_same() -> None:
    assert draw(scenario(), 10_000) == draw(scenario(), 10_000)
    assert draw(scenario(), 100) != draw(scenario(seed=2), 100)
    assert draw(scenario(), 100) != draw(scenario(), 100, worker=1)


_places = st.tuples(st.integers(1, 1000), st.integers(0, 4000))


@given(_places, _places)
def test_inserts_of_different_runs_and_workers_never_collide(one: tuple[int, int], other: tuple[int, int]) -> None:
    first, second = first_insert_key(*one), first_insert_key(*other)
    assert 10_000_000 < first < 2**63 - 2**40
    assert one == other or abs(first - second) >= 2**40


def keys_of(count: int, rows: int, worker: int = 0, seed: int = 1, **keys: Any) -> list[int]:
    return list(itertools.islice(draw_keys(Keys(**keys), rows, random.Random(seed), worker), count))


_KEYS = st.one_of(
    st.fixed_dictionaries({"distribution": st.sampled_from(["uniform", "sequential"])}),
    st.fixed_dictionaries({"distribution": st.just("zipfian"), "theta": st.floats(0.01, 5)}),
    st.fixed_dictionaries({"distribution": st.just("hot-set"), "hot_keys": st.floats(0, 1), "hot_operations": st.floats(0, 1)}),
)


@given(_KEYS, st.integers(1, 5000), st.integers(0, 5), st.integers(0, 100))
@settings(deadline=None, max_examples=60)
def test_every_distribution_draws_loaded_rows_only(keys: dict[str, Any], rows: int, worker: int, seed: int) -> None:
    drawn = keys_of(5000, rows, worker, seed, **keys)
    assert 1 <= min(drawn) <= max(drawn) <= rows


@pytest.mark.parametrize("theta", [0.5, 0.99, 1.0, 1.5])
@pytest.mark.parametrize("rows", [10, 1000, 5000, 200_000])
def test_zipfian_shares_follow_the_formula(theta: float, rows: int) -> None:
    count = 300_000
    drawn = [number for _, number in Counter(keys_of(count, rows, distribution="zipfian", theta=theta)).most_common()]
    total = sum(rank**-theta for rank in range(1, rows + 1))
    for first in (1, 2, 5):
        expected = first**-theta / total * count
        assert abs(drawn[first - 1] - expected) < 6 * expected**0.5 + 5
    # The ranks that are not drawn from a table: their share together.
    head = sum(rank**-theta for rank in range(1, min(rows, 1000) + 1)) / total
    ranks = keys_of(count, rows, distribution="latest", theta=theta)
    assert abs(sum(rank < 1000 for rank in ranks) / count - head) < 0.005
    assert 0 <= min(ranks) <= max(ranks) < rows


def test_popular_rows_are_scattered_and_every_row_is_drawn() -> None:
    popular = [key for key, _ in Counter(keys_of(200_000, 10_000, distribution="zipfian")).most_common(10)]
    assert min(abs(one - other) for one, other in itertools.combinations(popular, 2)) > 10
    assert set(keys_of(20_000, 100, distribution="zipfian", theta=0.1)) == set(range(1, 101))


def test_a_hot_set_gets_its_share() -> None:
    drawn = Counter(keys_of(200_000, 1000, distribution="hot-set", hot_keys=0.1, hot_operations=0.9))
    hot = [number for _, number in drawn.most_common(100)]
    assert abs(sum(hot) / 200_000 - 0.9) < 0.01
    assert max(hot) < 1.3 * min(hot), "every row of the hot set is equally likely"
    assert len(drawn) == 1000


def test_sequential_keys_follow_each_other_and_workers_begin_apart() -> None:
    assert keys_of(250, 100, distribution="sequential") == [*range(1, 101), *range(1, 101), *range(1, 51)]
    begins = [keys_of(1, 1000, worker, distribution="sequential")[0] for worker in range(4)]
    assert min(abs(one - other) for one, other in itertools.combinations(begins, 2)) > 100


def test_an_operation_may_have_keys_of_its_own() -> None:
    of = scenario("{get: {weight: 1, keys: sequential}, find: 1, get_many: {weight: 1, count: 3, keys: sequential}}", rows=1000)
    drawn = draw(of, 300)
    flat: list[int] = []
    for name, one in drawn:
        if name == "get_many":
            assert isinstance(one, tuple)
            assert len(one) == 3
            flat.extend(one)
        elif name == "get":
            assert isinstance(one, int)
            flat.append(one)
    assert flat == list(range(1, len(flat) + 1)), "operations with the same keys share one sequence"
    assert len({one for name, one in drawn if name == "find"}) > 50
    assert drawn == draw(of, 300)


@given(st.integers(18, 3000), st.integers(0, 500), st.integers(1, 2000))
def test_sizes_of_a_range_are_spread_evenly(low: int, more: int, count: int) -> None:
    spread = ValueSize(min=low, max=low + more).spread(count)
    assert len(spread) == count
    assert low <= min(spread) <= max(spread) <= low + more
    assert abs(sum(spread) / count - (low + more / 2)) <= (more + 1) / count + 0.5


@given(st.lists(st.tuples(st.integers(0, 1000), st.floats(0.01, 100)), min_size=1, max_size=5), st.integers(64, 1024))
def test_sizes_come_as_often_as_their_weights_say(shares: list[tuple[int, float]], count: int) -> None:
    spread = ValueSize.model_validate({"sizes": [{"size": size, "weight": weight} for size, weight in shares]}).spread(count)
    assert len(spread) == count
    expected: Counter[int] = Counter()
    for size, weight in shares:
        expected[size] += weight / sum(weight for _, weight in shares)  # type: ignore[assignment]
    for size, share in expected.items():
        assert abs(spread.count(size) - share * count) <= len(shares)


def test_payloads_have_every_size_of_a_range() -> None:
    text = "name: x\ntable: {rows: 1024, value_size: {min: 18, max: 117}}\nmix: {insert: 1}\n"
    sizes = Counter(len(payload) for *_, payload in loaded(parse_scenario(text, "s.yaml")))
    assert set(sizes) == set(range(18, 118))


def test_rows_are_spread_evenly_over_the_groups() -> None:
    table = scenario().table
    assert set(Counter(group_of(key, table) for key in range(1, 101)).values()) == {10}


@given(_places)
def test_a_key_tells_its_worker(place: tuple[int, int]) -> None:
    first = first_insert_key(*place)
    assert {worker_of(first), worker_of(first + 2**40 - 1)} == {place[1]}
    assert worker_of(10_000_000) is None


def test_payloads_have_the_size_asked_for() -> None:
    for audit, size in (("true", 25), ("true", 18), ("false", 7), ("false", 0)):
        of = scenario(audit=audit, size=size)
        assert {len(payload) for *_, payload in loaded(of)} == {size}
        assert list(loaded(of)) == list(loaded(of))


keys, groups, versions = st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**63 - 1)
fillers = st.text(st.characters(codec="ascii"), max_size=30)


@given(keys, groups, versions, fillers)
def test_a_payload_tells_its_version(key: int, group: int, version: int, filler: str) -> None:
    text = payload_of(version, key, group, filler)
    assert version_of(key, group, text) == version_of(key, group, text.encode()) == version
    assert len(text) == VERSION_WIDTH + len(filler)


@given(keys, groups, versions, fillers, st.data())
def test_a_changed_row_is_damaged(key: int, group: int, version: int, filler: str, data: st.DataObject) -> None:
    """Its payload is changed or cut at any place, or is that of another row or group."""
    text = payload_of(version, key, group, filler)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda one: one != text[at]))
    assert version_of(key, group, text[:at] + other + text[at + 1 :]) in (DAMAGED, FOREIGN)
    assert version_of(key, group, text[:at]) == (DAMAGED if at >= VERSION_WIDTH else FOREIGN)
    assert version_of(key, group, text + other) == DAMAGED
    assert version_of(key ^ 1, group, text) == DAMAGED
    assert version_of(key, group ^ 1, text) == DAMAGED


@given(st.none() | st.text(max_size=30) | st.binary(max_size=30))
def test_a_payload_without_a_version_is_foreign(payload: str | bytes | None) -> None:
    assert version_of(1, 1, payload) in (FOREIGN, DAMAGED)


@pytest.mark.parametrize("payload", ["v" + 16 * "A", "v" + 15 * "A" + "!.", "w" + 16 * "A" + ".", "v" + 16 * "A" + ",x"])
def test_a_payload_that_only_looks_like_ours_is_foreign(payload: str) -> None:
    assert version_of(1, 1, payload) == FOREIGN


def test_loaded_rows_of_an_audited_run_have_version_0() -> None:
    of = scenario()
    rows = list(loaded(of))
    assert len(rows) == of.table.rows
    assert {version_of(key, group, text) for key, group, _, text in rows} == {0}
