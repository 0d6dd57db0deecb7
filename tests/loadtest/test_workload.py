"""What the users do: as often as the mix says, on the rows that exist, and the same again for the same seed."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest._history import FOREIGN
from loadtest._scenario import Scenario, parse_scenario
from loadtest._workload import (
    VERSION_WIDTH,
    first_insert_key,
    group_of,
    operations,
    payload_of,
    payloads,
    version_of,
    writer_of,
)


def scenario(
    mix: str = "{get: 70, find: 15, insert: 10, incr: 5}", rows: int = 100, seed: int = 1, size: int = 25, audit: str = "true"
) -> Scenario:
    text = f"name: x\nseed: {seed}\ntable: {{rows: {rows}, groups: 10, value_size: {size}}}\nmix: {mix}\naudit: {audit}\n"
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


@given(_places)
def test_a_key_tells_its_worker(place: tuple[int, int]) -> None:
    first = first_insert_key(*place)
    assert {writer_of(first), writer_of(first + 2**40 - 1)} == {place[1]}
    assert writer_of(10_000_000) is None


def test_payloads_have_the_size_asked_for() -> None:
    for audit, size in (("true", 25), ("true", 18), ("false", 7), ("false", 0)):
        of = scenario(audit=audit, size=size)
        assert {len(text) for text in payloads(of)} == {size}
        assert payloads(of) == payloads(of)


@given(st.integers(0, 2**63 - 1), st.text(max_size=5))
def test_a_payload_tells_its_version(version: int, filler: str) -> None:
    text = payload_of(version, filler)
    assert version_of(text) == version_of(text.encode()) == version
    assert len(text) == VERSION_WIDTH + len(filler)


@given(st.none() | st.text(max_size=30) | st.binary(max_size=30))
def test_what_is_no_payload_of_ours_is_foreign(payload: str | bytes | None) -> None:
    assert version_of(payload) == FOREIGN


@pytest.mark.parametrize("payload", ["v0000000000000000", "v000000000000000g.", "w0000000000000000.", "v0000000000000000,x"])
def test_what_looks_like_a_payload_is_foreign(payload: str) -> None:
    assert version_of(payload) == FOREIGN


def test_loaded_rows_of_an_audited_run_have_version_0() -> None:
    assert {version_of(text) for text in payloads(scenario())} == {0}
