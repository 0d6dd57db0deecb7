"""The rank test against counting every split, its approximation against exact values, and the interval against its promise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hs_drill.metrics import _two_samples, p_higher, ratio_interval, ratio_of_medians, smallest_p

SMALL = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=5)


def u_of(a: Sequence[float], b: Sequence[float]) -> float:
    """By its definition: in how many pairs `b` is higher; equal ones count half."""
    return sum(1.0 if y > x else 0.5 if y == x else 0.0 for x in a for y in b)


def counted_p(a: Sequence[float], b: Sequence[float]) -> float:
    """By trying every way to call `len(b)` of the values b."""
    values = [*a, *b]
    splits = list(combinations(range(len(values)), len(b)))
    reached = 0
    for split in splits:
        others = [value for number, value in enumerate(values) if number not in split]
        reached += u_of(others, [values[number] for number in split]) >= u_of(a, b)
    return reached / len(splits)


@given(SMALL, SMALL)
def test_p_is_the_share_of_splits_that_rank_as_high(a: list[float], b: list[float]) -> None:
    assert p_higher(a, b) == pytest.approx(counted_p(a, b))


@pytest.mark.parametrize(
    "a, b, p",
    [
        ([1, 2, 3], [4, 5, 6], 1 / 20),
        ([4, 5, 6], [1, 2, 3], 1.0),
        ([1], [2], 1 / 2),
        ([1, 2, 3, 4, 5], [6, 7, 8, 9, math.inf], 1 / 252),
        ([7, 7, 7], [7, 7, 7], 1.0),
        ([1.0] * 40, [1.0] * 40, 1.0),
    ],
)
def test_known_p_values(a: list[float], b: list[float], p: float) -> None:
    assert p_higher(a, b) == pytest.approx(p)


def test_no_p_is_smaller_than_the_smallest() -> None:
    for a, b in ((1, 1), (3, 3), (2, 6), (1, 19), (5, 5)):
        assert p_higher(range(a), range(100, 100 + b)) == pytest.approx(smallest_p(a, b))


@pytest.mark.parametrize("rounded", [False, True])
def test_the_approximation_is_near_the_exact_value_where_it_takes_over(rounded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = Random(1)
    pairs = [([rng.gauss(10, 1) for _ in range(15)], [rng.gauss(10.5, 1) for _ in range(15)]) for _ in range(20)]
    if rounded:
        pairs = [([round(value * 5) / 5 for value in a], [round(value * 5) / 5 for value in b]) for a, b in pairs]
    exact = [(p_higher(a, b), p_higher(b, a[:-1])) for a, b in pairs]
    monkeypatch.setattr(_two_samples, "MOST_EXACT", 0)
    for (a, b), both in zip(pairs, exact, strict=True):
        for approximate, right in zip((p_higher(a, b), p_higher(b, a[:-1])), both, strict=True):
            assert approximate == pytest.approx(right, abs=0.003 if right < 0.1 else 0.02)
    assert min(exact) < (0.05, 1) < max(exact), "some of them decide"


def test_no_p_is_zero() -> None:
    assert 0 < p_higher(range(60), range(100, 160)) < 1e-20


def test_the_ratio_of_medians() -> None:
    assert ratio_of_medians([1, 2, 9], [4, 4]) == 2
    assert ratio_of_medians([0, 0], [0]) == 1
    assert ratio_of_medians([0, 0], [1]) == math.inf


def test_an_interval_needs_five_values_on_each_side_and_a_finite_ratio() -> None:
    five = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert ratio_interval(five, five[:4], 0.95) is None
    assert ratio_interval(five[:4], five, 0.95) is None
    assert ratio_interval([0.0] * 5, five, 0.95) is None
    assert ratio_interval([0.0] * 5, [0.0] * 5, 0.95) == (1, 1)
    assert ratio_interval([2.0] * 5, [3.0] * 5, 0.95) == (1.5, 1.5)


@given(st.lists(st.floats(1, 2), min_size=5, max_size=8), st.lists(st.floats(1, 2), min_size=5, max_size=8), st.randoms())
def test_an_interval_depends_on_nothing_but_the_values(a: list[float], b: list[float], rng: Random) -> None:
    found = ratio_interval(a, b, 0.95)
    assert found is not None
    assert min(b) / max(a) <= found[0] <= found[1] <= max(b) / min(a)
    rng.shuffle(a)
    assert ratio_interval(a, b, 0.95) == found


@pytest.mark.parametrize("sizes", [(5, 5), (10, 10), (5, 12)])
def test_an_interval_contains_the_ratio_as_often_as_it_says(sizes: tuple[int, int]) -> None:
    """95 % within the spread of 300 tries, which is 1.3 % (standard deviation)."""
    rng = Random(7)
    contained = 0
    for _ in range(300):
        a, b = ([math.exp(rng.gauss(0, 0.05)) for _ in range(size)] for size in sizes)
        low, high = ratio_interval(a, b, 0.95) or (1, 1)
        contained += low <= 1 <= high and low < high
    assert 0.91 <= contained / 300 <= 0.99
