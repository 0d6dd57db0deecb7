"""Keys of loaded rows, drawn in bulk by each of the distributions of a scenario."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import accumulate, chain
from random import Random

from hs_drill.scenario import HOT_KEYS, HOT_OPERATIONS, THETA, Keys

__all__ = ["draw_keys"]

BULK = 4096
HEAD = 1000
"""Ranks of a Zipfian distribution whose shares are exact; those of the tail are so by less than a millionth of themselves."""


def draw_keys(keys: Keys, rows: int, rng: Random, worker: int) -> Iterator[int]:
    """Without end, keys from 1 to `rows`; for `latest` how many rows are younger than the one that is meant, from 0 on."""
    return chain.from_iterable(_bulks(keys, rows, rng, worker))


def _bulks(keys: Keys, rows: int, rng: Random, worker: int) -> Iterator[list[int] | range]:
    match keys.distribution:
        case "uniform":
            loaded = range(1, rows + 1)
            while True:
                yield rng.choices(loaded, k=BULK)
        case "sequential":
            # Workers begin far from each other, or all would ask for the same rows at the same time.
            yield range(1 + worker * _stride(rows) % rows, rows + 1)
            while True:
                yield range(1, rows + 1)
        case "zipfian" | "latest":
            key_of = _scattered(rows) if keys.distribution == "zipfian" else int
            yield from _zipfian(rows, keys.theta or THETA, key_of, rng)
        case "hot-set":
            yield from _hot_set(keys, rows, rng)


def _stride(rows: int) -> int:
    """A step that visits every row before it comes back, and lands far from where it was."""
    step = max(int(rows * 0.6180339887), 1)
    while math.gcd(step, rows) > 1:
        step += 1
    return step


def _scattered(rows: int) -> Callable[[int], int]:
    """From a rank, counted from 0, to its key. Popular rows lie all over the table, as they do in life: as neighbours they
    would share their pages."""
    stride = _stride(rows)
    return lambda rank: 1 + rank * stride % rows


def _zipfian(rows: int, theta: float, key_of: Callable[[int], int], rng: Random) -> Iterator[list[int]]:
    """Rank r, from 1 on, is drawn in proportion to r**-theta. Those of the head one by one; the tail as a whole, and within it
    by the inverse of its integral, which needs no table of all rows."""
    head = min(rows, HEAD)
    power = 1 - theta if abs(theta - 1) > 1e-6 else 1e-6  # the integral of 1/r is no power
    low, high = (head + 0.5) ** power, (rows + 0.5) ** power
    shares = [*((rank + 1) ** -theta for rank in range(head)), (high - low) / power]
    ends = list(accumulate(shares))
    # Drawn by its number, for the keys are looked up afterwards: -1 stands for the tail.
    drawn_as = [*range(head), -1]
    keys = [key_of(rank) for rank in range(head)]
    random, inverse = rng.random, 1 / power

    def tail() -> int:
        return key_of(min(int((low + (high - low) * random()) ** inverse - 0.5), rows - 1))

    while True:
        yield [keys[rank] if rank >= 0 else tail() for rank in rng.choices(drawn_as, cum_weights=ends, k=BULK)]


def _hot_set(keys: Keys, rows: int, rng: Random) -> Iterator[list[int]]:
    share = HOT_OPERATIONS if keys.hot_operations is None else keys.hot_operations
    hot = max(round(rows * (HOT_KEYS if keys.hot_keys is None else keys.hot_keys)), 1)
    if hot == rows:
        share = 1.0
    random, stride = rng.random, _stride(rows)
    per_hot = hot / (share or 1)
    per_cold = (rows - hot) / ((1 - share) or 1)
    while True:
        drawn = [random() for _ in range(BULK)]
        ranks = [int(u * per_hot) if u < share else hot + int((u - share) * per_cold) for u in drawn]
        # Rounding may reach the end of the range, which is one too far.
        yield [1 + (rank if rank < rows else rows - 1) * stride % rows for rank in ranks]
