"""Arrivals of an open loop: they follow the rate, do not depend on when one looks, and repeat with the same seed."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_drill.engine._arrivals import Arrivals, Course

SECOND = 1_000_000_000
START = 5 * SECOND
Kind = Literal["poisson", "even"]


def arrivals(course: list[tuple[float, float]], kind: Kind = "even", seed: int = 1, share: float = 1.0) -> Arrivals:
    made = Arrivals(Course(course), kind, random.Random(seed), START)
    assert made.set_share(share, START) == []
    return made


def all_until(made: Arrivals, looks: Iterable[float]) -> list[float]:
    """The arrivals in seconds from the start, found by looking at these seconds."""
    found = [moment for look in looks for moment in made.until(START + int(look * SECOND))]
    return [(moment - START) / SECOND for moment in found]


def _course(steps: list[tuple[float, float]]) -> list[tuple[float, float]]:
    lengths, rates = zip(*steps, strict=True)
    return list(zip(itertools.accumulate(lengths[1:], initial=0.0), rates, strict=True))


_POINTS = st.lists(st.tuples(st.floats(0, 3), st.floats(0, 500)), min_size=1, max_size=5).map(_course)


@given(_POINTS, st.floats(0, 20), st.floats(0, 20))
def test_a_course_is_integrated_exactly(points: list[tuple[float, float]], one: float, other: float) -> None:
    course = Course(points)
    low, high = sorted((one, other))
    parts = 2000
    step = (high - low) / parts
    summed = sum(course.rate(low + (index + 0.5) * step) for index in range(parts)) * step
    # A jump may lie anywhere within one step of the sum.
    assert course.integral(high) - course.integral(low) == pytest.approx(summed, abs=500 * step * len(points) + 1e-6)


@given(st.lists(st.floats(0.001, 0.5), min_size=1, max_size=30), st.floats(10, 2000), st.integers(0, 99))
@settings(deadline=None)
def test_even_arrivals_are_even_however_often_one_looks(looks: list[float], rate: float, seed: int) -> None:
    found = all_until(arrivals([(0, rate)], seed=seed), itertools.accumulate(looks))
    assert abs(len(found) - sum(looks) * rate) <= 1
    assert found == sorted(found)
    for before, after in itertools.pairwise(found):
        assert after - before == pytest.approx(1 / rate, abs=1e-6)
    assert not found or found[0] <= 1 / rate


@given(st.lists(st.floats(0.001, 0.5), min_size=1, max_size=30), st.sampled_from(["poisson", "even"]))
@settings(deadline=None)
def test_the_arrivals_do_not_depend_on_how_often_one_looks(looks: list[float], kind: Kind) -> None:
    often = all_until(arrivals([(0, 300)], kind), itertools.accumulate(looks))
    once = all_until(arrivals([(0, 300)], kind), [sum(looks)])
    # An arrival at the very moment of a look may be found by the next one.
    assert abs(len(often) - len(once)) <= 1
    for one, other in zip(often, once, strict=False):
        assert one == pytest.approx(other, abs=1e-6)


def test_a_ramp_is_followed_within_a_look() -> None:
    looks = [index / 1000 for index in range(1, 10_001)]
    found = all_until(arrivals([(0, 0), (10, 1000)]), looks)
    assert len(found) == pytest.approx(5000, abs=1)
    for nth in (50, 500, 2000, 4999):
        assert found[nth] == pytest.approx(math.sqrt(nth * 2 * 10 / 1000), abs=0.02)


def test_poisson_arrivals_have_the_right_variance() -> None:
    seconds, rate = 400, 100
    found = all_until(arrivals([(0, rate)], "poisson"), [index / 10 for index in range(1, seconds * 10 + 1)])
    counts = [0] * seconds
    for moment in found:
        counts[min(int(moment), seconds - 1)] += 1
    mean = sum(counts) / seconds
    variance = sum((count - mean) ** 2 for count in counts) / seconds
    assert mean == pytest.approx(rate, rel=0.02)
    assert variance == pytest.approx(rate, rel=0.25), "a Poisson process has the rate as its mean and variance"


def test_workers_share_the_rate_and_do_not_send_in_step() -> None:
    each = [all_until(arrivals([(0, 100)], seed=worker, share=1 / 4), [10]) for worker in range(4)]
    assert sum(map(len, each)) == pytest.approx(1000, abs=4)
    assert len({round(found[0], 4) for found in each}) == 4


def test_a_share_may_change_at_any_time() -> None:
    made = arrivals([(0, 1000)], share=0)
    assert made.wait() == math.inf
    assert made.until(START + SECOND) == []
    assert made.set_share(0.5, START + SECOND) == []
    assert 0 < made.wait() <= 1 / 500
    half = made.set_share(2.0, START + 2 * SECOND)
    assert len(half) == pytest.approx(500, abs=1)
    assert min(half) >= START + SECOND
    assert len(made.until(START + 3 * SECOND)) == pytest.approx(2000, abs=1)


def test_the_same_seed_draws_the_same() -> None:
    looks = [0.5, 1.0, 3.0]
    first, again, other = (all_until(arrivals([(0, 500)], "poisson", seed), looks) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_wait_predicts_the_next_arrival() -> None:
    made = arrivals([(0, 10)])
    made.until(START)
    wait = made.wait()
    assert made.until(START + int((wait - 1e-6) * SECOND)) == []
    assert len(made.until(START + int((wait + 1e-6) * SECOND))) == 1
