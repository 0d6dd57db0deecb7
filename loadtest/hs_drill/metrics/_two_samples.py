"""Two samples compared: the Mann-Whitney U test, and a bootstrap interval of the ratio of their medians.

Neither assumes a normal distribution. Both give the same result for the same input. Own code: the base install has no numpy.
Sources: Mann and Whitney 1947 (the test); Lehmann 1975, *Nonparametrics*, 1.4 (ties); Efron 1979 (the bootstrap).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from random import Random
from statistics import median

from ._percentiles import rank

__all__ = ["FEWEST_FOR_INTERVAL", "p_higher", "ratio_interval", "ratio_of_medians", "smallest_p"]

MOST_EXACT = 450
"""Up to this many values together, times those of the smaller sample, p-values are exact: up to 15 and 15, or 4 and 100. That
takes a few hundredths of a second."""
RESAMPLES = 2000
FEWEST_FOR_INTERVAL = 5
"""Values that each sample needs for an interval. With three, an interval of 95 % contains the ratio in 88 of 100 cases."""


def ratio_of_medians(a: Sequence[float], b: Sequence[float]) -> float:
    """The median of `b` over that of `a`. No value is negative. If that of `a` is 0: 1 if both are, else infinite."""
    return _ratio(median(a), median(b))


def _ratio(a: float, b: float) -> float:
    if a:
        return b / a
    return math.inf if b else 1.0


def smallest_p(a: int, b: int) -> float:
    """The smallest p-value that `p_higher` can give for samples of these sizes."""
    return 1 / math.comb(a + b, a)


def p_higher(a: Sequence[float], b: Sequence[float]) -> float:
    """The p-value of the one-sided Mann-Whitney U test: how likely `b` ranks as high above `a` as it does, or higher, if both
    are drawn from the same distribution. Ties count as they are."""
    ranks = _doubled_midranks([*a, *b])
    everything = tuple(sorted(ranks[value] for value in (*a, *b)))
    smaller, sign = (b, 1) if len(b) <= len(a) else (a, -1)  # that `b` ranks high is that `a` ranks low
    observed = sum(ranks[value] for value in smaller)
    if len(everything) * len(smaller) <= MOST_EXACT:
        sums = _sums(everything, len(smaller))
        reached = sum(count for total, count in sums.items() if sign * total >= sign * observed)
        return reached / math.comb(len(everything), len(smaller))
    return _approximate_p(everything, len(smaller), observed, sign)


def _doubled_midranks(values: Sequence[float]) -> dict[float, int]:
    """Twice the rank of each value; equal values share their average rank. Doubled, so that all are whole numbers."""
    ranks, below = {}, 0
    for value, equals in groupby(sorted(values)):
        count = len(list(equals))
        ranks[value] = 2 * below + count + 1
        below += count
    return ranks


@lru_cache(maxsize=64)
def _sums(ranks: tuple[int, ...], size: int) -> Counter[int]:
    """In how many ways `size` of the ranks have each sum."""
    ways: list[Counter[int]] = [Counter({0: 1}), *(Counter() for _ in range(size))]
    for one in ranks:
        for taken in range(size, 0, -1):
            for total, count in ways[taken - 1].items():
                ways[taken][total + one] += count
    return ways[size]


def _approximate_p(ranks: Sequence[int], size: int, observed: int, sign: int) -> float:
    """By the normal distribution, with corrections for continuity and for ties."""
    number = len(ranks)
    ties = sum(count**3 - count for count in Counter(ranks).values())
    variance = size * (number - size) / 12 * (number + 1 - ties / (number * (number - 1)))
    if not variance:
        return 1.0  # all are equal
    beyond = sign * (observed - size * (number + 1)) / 2 - 0.5
    return math.erfc(beyond / math.sqrt(2 * variance)) / 2  # 1 - cdf would be 0 from about eight standard deviations on


def ratio_interval(a: Sequence[float], b: Sequence[float], confidence: float) -> tuple[float, float] | None:
    """The percentile bootstrap interval of `ratio_of_medians`. None if a sample is too small or the ratio may be infinite."""
    if min(len(a), len(b)) < FEWEST_FOR_INTERVAL:
        return None
    medians = [_resampled_medians(sorted(sample), seed) for seed, sample in enumerate((a, b))]
    ratios = sorted(map(_ratio, *medians))
    tail = (1 - confidence) / 2 * 100
    low, high = (ratios[rank(RESAMPLES, percent) - 1] for percent in (tail, 100 - tail))
    return (low, high) if high < math.inf else None


def _resampled_medians(ordered: Sequence[float], seed: int) -> list[float]:
    return [(ordered[one] + ordered[other]) / 2 for one, other in _middles(len(ordered), seed)]


@lru_cache(maxsize=64)
def _middles(size: int, seed: int) -> list[tuple[int, int]]:
    """Of each resample, between which two places of the ordered sample its median lies. That depends on the size alone. The two
    samples need different seeds, because they are independent."""
    draw = Random(seed)
    taken = (sorted(draw.choices(range(size), k=size)) for _ in range(RESAMPLES))
    return [(one[(size - 1) // 2], one[size // 2]) for one in taken]
