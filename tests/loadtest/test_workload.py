"""What the users do: as often as the mix says, on the rows that exist, and the same again for the same seed."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from loadtest._scenario import Scenario, parse_scenario
from loadtest._workload import first_insert_key, group_of, operations, payloads


def scenario(mix: str = "{get: 70, find: 15, insert: 10, incr: 5}", rows: int = 100, seed: int = 1) -> Scenario:
    text = f"name: x\nseed: {seed}\ntable: {{rows: {rows}, groups: 10, value_size: 7}}\nmix: {mix}\n"
    return parse_scenario(text, "s.yaml")


def draw(of: Scenario, count: int, worker: int = 0) -> list[tuple[str, int]]:
    return list(itertools.islice(operations(of, worker), count))


def test_operations_come_as_often_as_the_mix_says() -> None:
    drawn = Counter(name for name, _ in draw(scenario(), 100_000))
    for name, weight in {"get": 0.70, "find": 0.15, "insert": 0.10, "incr": 0.05}.items():
        assert abs(drawn[name] / 100_000 - weight) < 0.01
    assert set(drawn) == {"get", "find", "insert", "incr"}


def test_keys_are_those_of_the_preloaded_rows_and_uniform() -> None:
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
def test_inserts_of_different_runs_and_workers_never_meet(one: tuple[int, int], other: tuple[int, int]) -> None:
    first, second = first_insert_key(*one), first_insert_key(*other)
    assert 10_000_000 < first < 2**63 - 2**40
    assert one == other or abs(first - second) >= 2**40


def test_rows_are_dealt_out_over_the_groups() -> None:
    table = scenario().table
    assert set(Counter(group_of(key, table) for key in range(1, 101)).values()) == {10}


def test_payloads_have_the_size_asked_for() -> None:
    assert {len(text) for text in payloads(scenario())} == {7}
    assert payloads(scenario()) == payloads(scenario())
