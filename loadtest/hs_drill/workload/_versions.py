"""What the users do next: operations and keys, drawn in bulk because drawing one at a time costs as much as sending it.

In an audited run every payload begins with the version of the write that left it and a checksum of the row: `v`, 16 characters
of base64 and a dot; the loaded rows have version 0. The audit rests on these facts:

- a version is written once, to one row, by one operation: each worker counts its own up from `first_insert_key`;
- a row that is loaded is never deleted or inserted; it may be updated and counted up and down by every worker;
- a row that is inserted has a key that no other operation ever inserts, and only the worker that inserted it deletes it.
"""

from __future__ import annotations

import random
import struct
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator
from itertools import repeat
from zlib import crc32

from hs_drill.scenario import VERSION_WIDTH, Scenario, TableSpec

from ._keys import BULK, draw_keys

__all__ = [
    "ABSENT",
    "DAMAGED",
    "FOREIGN",
    "INITIAL",
    "VERSION_WIDTH",
    "Drawn",
    "fillers",
    "first_insert_key",
    "group_of",
    "operations",
    "payload_of",
    "payloads",
    "version_of",
    "worker_of",
]

PAYLOADS = 64
VARIED_PAYLOADS = 1024
"""Where their sizes differ: so many can show what comes once in a thousand times."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"

# BIGINT keys: 2**40 for each worker's inserts of one run, 2**12 workers, 2**10 runs within one Locust process.
_PER_RUN = 2**40
_WORKERS = 2**12
_RUNS = 2**10


Drawn = int | tuple[int, ...]
"""What an operation is to work on: the key of a loaded row, or of several for `get_many`; where the distribution is `latest`,
how many rows are younger."""


def operations(scenario: Scenario, worker: int) -> Iterator[tuple[str, Drawn]]:
    """Without end, the name of an operation and what it is to work on.

    The sequence depends on the scenario and the worker's number alone, so the same seed asks the same again.
    """
    rng = random.Random(f"{scenario.seed}/{worker}")
    weights = scenario.mix.weights()
    names, shares = list(weights), list(weights.values())
    drawn_by = scenario.mix.keys(scenario.keys)
    streams = {keys: draw_keys(keys, scenario.table.rows, rng, worker) for keys in dict.fromkeys(drawn_by.values())}
    of: dict[str, Iterator[Drawn]] = {name: streams[keys] for name, keys in drawn_by.items()}
    if "get_many" in of:
        of["get_many"] = zip(*[streams[drawn_by["get_many"]]] * scenario.mix.get_many.count, strict=True)
    if len(names) == 1:  # without end, too; to choose the only one would be half of the drawing
        yield from zip(repeat(names[0]), of[names[0]], strict=False)
    while True:
        chosen = rng.choices(names, shares, k=BULK)
        yield from zip(chosen, map(next, map(of.__getitem__, chosen)), strict=True)


def first_insert_key(run: int, worker: int) -> int:
    """Where a worker's inserts of one run begin: above every preloaded row, and apart from other runs and workers."""
    return (1 + (run % _RUNS) * _WORKERS + worker % _WORKERS) * _PER_RUN


def run_of(number: int) -> int:
    """The run that a key or version above every loaded row belongs to, as far as numbers tell; for run 1 and later."""
    return (number // _PER_RUN - 1) // _WORKERS


def of_run(number: int, run: int) -> bool:
    """Whether a key or version can be one of this run's."""
    return number >= _PER_RUN and run_of(number) == run % _RUNS


def group_of(key: int, table: TableSpec) -> int:
    """The value of `grp` in the row of this key."""
    return key % table.groups


def worker_of(number: int) -> int | None:
    """The worker whose key or version this is; None for a loaded row's."""
    return (number // _PER_RUN - 1) % _WORKERS if number >= _PER_RUN else None


# CRC-32 is enough, for what is looked for are accidents: a server that cuts, mixes up or spoils a row does not compute it anew.
_ROW = struct.Struct(">qqQ")
"""What the checksum covers besides the filler: key, group and version. Not n, which is counted without writing the payload."""
_PREFIX = struct.Struct(">QI")
"""Version and checksum: 12 bytes, which are 16 characters of base64."""


def payload_of(version: int, key: int, group: int, filler: str) -> str:
    """What an audited write puts into the column `payload` of a row."""
    checksum = crc32(filler.encode(), crc32(_ROW.pack(key, group, version)))
    return f"v{b2a_base64(_PREFIX.pack(version, checksum), newline=False).decode()}.{filler}"


def version_of(key: int, group: int, payload: str | bytes | None) -> int:
    """The version of a row: `FOREIGN` when its payload has none, `DAMAGED` when it is not the row that was written with it."""
    try:
        text = payload.encode() if isinstance(payload, str) else payload or b""
        if text[0] != 118 or text[17] != 46:  # v and .
            return FOREIGN
        version, checksum = _PREFIX.unpack(a2b_base64(text[1:17]))
        whole = crc32(text[VERSION_WIDTH:], crc32(_ROW.pack(key, group, version))) == checksum
    except (IndexError, ValueError, struct.error):
        return FOREIGN
    # A version that does not fit into a history is none of ours either.
    return int(version) if whole and version < 2**63 else DAMAGED


def fillers(scenario: Scenario) -> list[str]:
    """Texts for the column `payload`, to be used in turn; in an audited run, for what comes after the version."""
    rng = random.Random(f"{scenario.seed}/payload")
    of = scenario.table.value_size
    sizes = of.spread(PAYLOADS if of.smallest == of.largest else VARIED_PAYLOADS)
    rng.shuffle(sizes)
    taken = VERSION_WIDTH if scenario.audited else 0
    return ["".join(rng.choices(_LETTERS, k=size - taken)) for size in sizes]


def payloads(scenario: Scenario) -> Iterator[str]:
    """The loaded rows' values in the column `payload`, by ascending key."""
    texts, table = fillers(scenario), scenario.table
    for key in range(1, table.rows + 1):
        text = texts[key % len(texts)]
        yield payload_of(INITIAL, key, group_of(key, table), text) if scenario.audited else text


# What a read may show in place of the version that a write left.
INITIAL = 0
"""The version of the rows that were loaded before the run."""


ABSENT = -1
"""There was no row."""


FOREIGN = -2
"""There was a row whose payload no write of ours can have left."""


DAMAGED = -4
"""There was a row whose payload has a version, and which is not as it was written with it, or not where."""
