"""What rows hold beside their key: the group, and the filler that `payload` has after its version (see `_versions`)."""

from __future__ import annotations

import random

from hs_drill.scenario import VERSION_WIDTH, Scenario, TableSpec

__all__ = ["fillers", "group_of"]

PAYLOADS = 64
"""Distinct texts, where all have the same size."""
VARIED_PAYLOADS = 1024
"""Distinct texts, where sizes differ: enough to include a size that one value in a thousand has."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def group_of(key: int, table: TableSpec) -> int:
    """The value of the column `grp` in the row with this key."""
    return key % table.groups


def fillers(scenario: Scenario) -> list[str]:
    """Texts for the column `payload`, to be used in turn. In an audited run they follow the version."""
    rng = random.Random(f"{scenario.seed}/payload")
    of = scenario.table.value_size
    sizes = of.spread(PAYLOADS if of.smallest == of.largest else VARIED_PAYLOADS)
    rng.shuffle(sizes)
    taken = VERSION_WIDTH if scenario.audited else 0
    return ["".join(rng.choices(_LETTERS, k=size - taken)) for size in sizes]
