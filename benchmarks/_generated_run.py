"""Histories and a final state as a run of any length leaves them: written with the store's own writer, and without a fault."""

from __future__ import annotations

import heapq
import random
from array import array
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path

from hs_drill.store import NO_COUNT, FinalState, History, HistoryWriter, Operation, Outcome, write_final_state
from hs_drill.workload import INITIAL, first_insert_key

__all__ = ["generate"]

USERS = 64
"""Of each worker."""
BETWEEN = 100_000
"""Nanoseconds between the starts of two operations of a worker."""
LASTS = (USERS - 1) * BETWEEN
"""Of an operation, so that each user has one in progress nearly all the time."""
RECENT = 1000
"""A worker reads and deletes only the latest rows that it inserted."""
UNKNOWN = 0.001
"""The share of the writes whose outcome is unknown. They were applied."""
MIX = {Operation.GET: 40, Operation.UPDATE: 20, Operation.INSERT: 20, Operation.INCR: 15, Operation.DELETE: 5}
"""Percent of what the histories keep. A run keeps all writes and, if its scenario says nothing else, a tenth of the reads."""


def generate(folder: Path, operations: int, workers: int) -> tuple[list[History], FinalState, int]:
    """Write the files of a run on one server, which shows every write at once. Returns also how many rows had been loaded.

    Each worker has rows of its own, and a process of its own to write its history.
    """
    loaded = max(operations // 100, 1000)
    write = partial(_write, folder, workers, operations // workers, loaded)
    with ProcessPoolExecutor(workers) as pool:
        left = list(pool.map(write, range(workers)))
    path = folder / "final-writer.bin"
    write_final_state(path, heapq.merge(*map(_rows, left)))
    return [History(folder / f"history-{worker}.bin") for worker in range(workers)], FinalState(path, "writer"), loaded


def _rows(left: tuple[range, array[int], array[int], array[int]]) -> Iterator[tuple[int, int, int]]:
    """Number, version and counter of each row, by ascending number."""
    keys, versions, counters, inserted = left
    return chain(zip(keys, versions, counters, strict=True), ((key, key, 0) for key in inserted))


def _write(
    folder: Path, workers: int, operations: int, loaded: int, worker: int
) -> tuple[range, array[int], array[int], array[int]]:
    """Write a worker's history. Returns the rows that it leaves: see `_rows`."""
    rng = random.Random(worker)
    keys = range(1 + worker, loaded + 1, workers)
    versions, counters = array("q", [INITIAL]) * len(keys), array("q", [0]) * len(keys)
    recent, inserted, fresh = deque([first_insert_key(1, worker)]), array("q"), first_insert_key(1, worker)
    kinds = rng.choices(list(MIX), list(MIX.values()), k=100_003)
    kinds[0] = Operation.INSERT
    with HistoryWriter(folder / f"history-{worker}.bin", worker=worker, reads_primary=True, clock=lambda: 0) as writer:
        for number in range(operations):
            kind, place, chance = kinds[number % len(kinds)], int(rng.random() * len(keys)), rng.random()
            key, value, n = keys[place], 0, NO_COUNT
            if kind is Operation.GET and chance < 0.3:
                key = value = recent[int(rng.random() * len(recent))]
                n = 0
            elif kind is Operation.GET:
                value, n = versions[place], counters[place]
            elif kind is Operation.UPDATE:
                fresh += 1
                versions[place] = value = fresh
            elif kind is Operation.INCR:
                value = 1
                counters[place] += 1
            elif kind is Operation.DELETE and len(recent) > 1:
                key = recent.popleft()
            else:
                if number:
                    fresh += 1
                    recent.append(fresh)
                kind, key, value = Operation.INSERT, fresh, fresh
                if len(recent) > RECENT:
                    inserted.append(recent.popleft())
            start = number * BETWEEN
            outcome = Outcome.INFO if chance < UNKNOWN and kind is not Operation.GET else Outcome.OK
            writer.append(kind, outcome, key, value, start, start + LASTS, number % USERS, n=n)
    inserted.extend(recent)
    return keys, versions, counters, inserted
