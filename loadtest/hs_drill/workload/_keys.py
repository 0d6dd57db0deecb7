"""Draws keys of loaded rows in bulk, by each distribution that a scenario may name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import accumulate, chain
from random import Random

from hs_drill.scenario import Keys

__all__ = ["draw_keys"]

BULK = 4096
HEAD = 1000
"""Ranks of a Zipfian distribution with exact shares. Shares of later ranks are off by less than a millionth of themselves."""


def draw_keys(keys: Keys, rows: int, rng: Random, worker: int) -> Iterator[int]:
    """Draw keys from 1 to `rows` endlessly. For `latest`, draw how many rows are younger than the one meant, from 0 on."""
    return chain.from_iterable(_bulks(keys, rows, rng, worker))


def _bulks(keys: Keys, rows: int, rng: Random, worker: int) -> Iterator[list[int] | range]:
    match keys.distribution:
        case "uniform":
            loaded = range(1, rows + 1)
            while True:
                yield rng.choices(loaded, k=BULK)
        case "sequential":
            # Workers begin far from each other, so that they do not ask for the same rows at the same time.
            yield range(1 + worker * _stride(rows) % rows, rows + 1)
            while True:
                yield range(1, rows + 1)
        case "zipfian" | "latest":
            key_of = _scattered(rows) if keys.distribution == "zipfian" else int
            yield from _zipfian(rows, keys.skew, key_of, rng)
        case "hot-set":
            yield from _hot_set(keys, rows, rng)


def _stride(rows: int) -> int:
    """A step that visits every row before it repeats one, and goes far each time (the golden ratio)."""
    step = max(int(rows * 0.6180339887), 1)
    while math.gcd(step, rows) > 1:
        step += 1
    return step


def _scattered(rows: int) -> Callable[[int], int]:
    """From a rank (from 0) to its key. Popular rows lie all over the table, as in practice: neighbours would share pages."""
    stride = _stride(rows)
    return lambda rank: 1 + rank * stride % rows


def _zipfian(rows: int, theta: float, key_of: Callable[[int], int], rng: Random) -> Iterator[list[int]]:
    """Draw rank r (from 1) in proportion to r**-theta.

    The ranks of the head are drawn from a table, in which the tail is one entry. The rank within the tail comes from the
    inverse of the integral, so no table of all rows is needed.
    """
    head = min(rows, HEAD)
    power = 1 - theta if abs(theta - 1) > 1e-6 else 1e-6  # the integral of 1/r is not a power
    low, high = (head + 0.5) ** power, (rows + 0.5) ** power
    shares = [*((rank + 1) ** -theta for rank in range(head)), (high - low) / power]
    ends = list(accumulate(shares))
    # -1 stands for the tail.
    drawn_as = [*range(head), -1]
    keys = [key_of(rank) for rank in range(head)]
    random, inverse = rng.random, 1 / power

    def tail() -> int:
        return key_of(min(int((low + (high - low) * random()) ** inverse - 0.5), rows - 1))

    while True:
        yield [keys[rank] if rank >= 0 else tail() for rank in rng.choices(drawn_as, cum_weights=ends, k=BULK)]


def _hot_set(keys: Keys, rows: int, rng: Random) -> Iterator[list[int]]:
    share = keys.hot_operations_share
    hot = max(round(rows * keys.hot_keys_share), 1)
    if hot == rows:
        share = 1.0
    random, stride = rng.random, _stride(rows)
    per_hot = hot / (share or 1)
    per_cold = (rows - hot) / ((1 - share) or 1)
    while True:
        drawn = [random() for _ in range(BULK)]
        ranks = [int(u * per_hot) if u < share else hot + int((u - share) * per_cold) for u in drawn]
        # Rounding may reach `rows`, which is one too far.
        yield [1 + (rank if rank < rows else rows - 1) * stride % rows for rank in ranks]
