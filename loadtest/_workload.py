"""What the users do next: operations and keys, drawn in bulk because drawing one at a time costs as much as sending it."""

from __future__ import annotations

import random
from collections.abc import Iterator

from loadtest._scenario import Scenario, Table

__all__ = ["first_insert_key", "group_of", "operations", "payloads"]

BULK = 4096
PAYLOADS = 64
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"

# BIGINT keys: 2**40 for each worker's inserts of one run, 2**12 workers, 2**10 runs within one Locust process.
_PER_RUN = 2**40
_WORKERS = 2**12
_RUNS = 2**10


def operations(scenario: Scenario, worker: int) -> Iterator[tuple[str, int]]:
    """Without end, the name of an operation and the key of one of the preloaded rows for it.

    The sequence depends on the scenario and the worker's number alone, so the same seed asks the same again.
    """
    rng = random.Random(f"{scenario.seed}/{worker}")
    weights = scenario.mix.weights()
    names, shares = list(weights), list(weights.values())
    keys = range(1, scenario.table.rows + 1)
    while True:
        yield from zip(rng.choices(names, shares, k=BULK), rng.choices(keys, k=BULK), strict=True)


def first_insert_key(run: int, worker: int) -> int:
    """Where a worker's inserts of one run begin: above every preloaded row, and apart from other runs and workers."""
    return (1 + (run % _RUNS) * _WORKERS + worker % _WORKERS) * _PER_RUN


def group_of(key: int, table: Table) -> int:
    """The value of `grp` in the row of this key."""
    return key % table.groups


def payloads(scenario: Scenario) -> list[str]:
    """Values for the column `payload`, to be used in turn."""
    rng = random.Random(f"{scenario.seed}/payload")
    return ["".join(rng.choices(_LETTERS, k=scenario.table.value_size)) for _ in range(PAYLOADS)]
