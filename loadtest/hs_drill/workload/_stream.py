"""What the users do next: operations and keys, drawn in bulk because drawing one costs as much as sending it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import repeat

from hs_drill.scenario import Scenario

from ._keys import BULK, draw_keys

__all__ = ["Drawn", "operations"]

Drawn = int | tuple[int, ...]
"""The number of a loaded row, or several numbers for `get_many`. With the distribution `latest`: how many rows are younger."""


def operations(scenario: Scenario, worker: int) -> Iterator[tuple[str, Drawn]]:
    """Draw operations endlessly: each one's name and keys.

    The sequence depends only on the scenario and the worker's number, so the same seed repeats the same operations.
    """
    rng = random.Random(f"{scenario.seed}/{worker}")
    names, shares = [spec.name for spec in scenario.operations], [spec.weight for spec in scenario.operations]
    drawn_by = {spec.name: spec.keys or scenario.keys for spec in scenario.operations}
    streams = {keys: draw_keys(keys, scenario.table.rows, rng, worker) for keys in dict.fromkeys(drawn_by.values())}
    of: dict[str, Iterator[Drawn]] = {name: streams[keys] for name, keys in drawn_by.items()}
    for spec in scenario.operations:
        if spec.do == "get_many":
            of[spec.name] = zip(*[streams[drawn_by[spec.name]]] * spec.count, strict=True)
    if len(names) == 1:  # endless, too; choosing among one name would take half of the time
        yield from zip(repeat(names[0]), of[names[0]], strict=False)
    while True:
        chosen = rng.choices(names, shares, k=BULK)
        yield from zip(chosen, map(next, map(of.__getitem__, chosen)), strict=True)
