"""How every write names itself: the version and checksum that begin its payload, and keys that no other write has.

In an audited run every payload begins with the version of the write that left it and a checksum of the row: `v`, 16 characters
of base64 and a dot. Loaded rows have version 0. The audit rests on these facts:

- A version is written once, to one row, by one operation: each worker counts its versions up from `first_insert_key`.
- A loaded row is never deleted or inserted. Every worker may update it and count it up and down.
- An inserted row has a key that no other operation ever inserts. Only the worker that inserted the row deletes it.
"""

from __future__ import annotations

import struct
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from zlib import crc32

from hs_drill.scenario import VERSION_WIDTH

__all__ = [
    "ABSENT",
    "DAMAGED",
    "FOREIGN",
    "INITIAL",
    "NO_COUNT",
    "OPS",
    "UNNUMBERED",
    "UNSEEN",
    "damaged",
    "damaged_places",
    "first_insert_key",
    "insert_keys",
    "of_run",
    "payload_of",
    "version_of",
    "worker_of",
]

# What a read may show in place of a write's version.
INITIAL = 0
"""The row is as it was loaded before the run."""
ABSENT = -1
"""There was no row."""
FOREIGN = -2
"""No write of ours can have left the row's payload."""
UNSEEN = -3
"""The read failed and showed nothing."""
DAMAGED = -4
"""The payload has a version, but the row is not the one written with it. Lower states also say in which columns: see
`damaged`."""
_MOST_PLACES = 60
NO_COUNT = -(2**63)
"""In place of a counter that a read does not show."""
UNNUMBERED = 0
"""In place of the number of a row that has none of ours."""

OPS = 64
"""In a declared table `version % OPS` is the place of the operation that wrote it in the scenario's mix."""


def damaged(places: Iterable[int]) -> int:
    """The state of a row that is damaged in the columns at these places, of which the first 60 are kept."""
    return DAMAGED - sum(1 << place for place in {*places} if place < _MOST_PLACES)


def damaged_places(state: int) -> list[int] | None:
    """Where a row in this state is damaged, as far as that was kept; None if it is not."""
    return None if state > DAMAGED else [place for place in range(_MOST_PLACES) if DAMAGED - state >> place & 1]


# BIGINT keys: 2**40 for each worker's inserts of one run, 2**12 workers, 2**10 runs within one Locust process.
_PER_RUN = 2**40
_WORKERS = 2**12
_RUNS = 2**10


def first_insert_key(run: int, worker: int) -> int:
    """The first key and version of a worker in a run: above every loaded row, and apart from other runs and workers."""
    return (1 + (run % _RUNS) * _WORKERS + worker % _WORKERS) * _PER_RUN


def insert_keys(run: int) -> range:
    """The keys of all rows that any worker may insert in a run."""
    return range(first_insert_key(run, 0), first_insert_key(run, _WORKERS - 1) + _PER_RUN)


def run_of(number: int) -> int:
    """The run of a key or version above every loaded row, modulo 2**10. Runs count from 1."""
    return (number // _PER_RUN - 1) // _WORKERS


def of_run(number: int, run: int) -> bool:
    """Whether a key or version may belong to this run."""
    return number >= _PER_RUN and run_of(number) == run % _RUNS


def worker_of(number: int) -> int | None:
    """The worker that this key or version belongs to; None for a loaded row."""
    return (number // _PER_RUN - 1) % _WORKERS if number >= _PER_RUN else None


# CRC-32 is enough to find accidents: a server that truncates, mixes up or corrupts a row does not recompute it.
_ROW = struct.Struct(">qqQ")
"""Key, group and version, which the checksum covers besides the filler. Not n: increments do not write the payload."""
_PREFIX = struct.Struct(">QI")
"""Version and checksum: 12 bytes, which are 16 characters of base64."""


def payload_of(version: int, key: int, group: int, filler: str) -> str:
    """The value that an audited write puts into a row's column `payload`."""
    checksum = crc32(filler.encode(), crc32(_ROW.pack(key, group, version)))
    return f"v{b2a_base64(_PREFIX.pack(version, checksum), newline=False).decode()}.{filler}"


def version_of(key: int, group: int, payload: str | bytes | None) -> int:
    """The version in a row's payload. `FOREIGN` when there is none, `DAMAGED` when the checksum does not match the row."""
    try:
        text = payload.encode() if isinstance(payload, str) else payload or b""
        if text[0] != 118 or text[17] != 46:  # v and .
            return FOREIGN
        version, checksum = _PREFIX.unpack(a2b_base64(text[1:17]))
        whole = crc32(text[VERSION_WIDTH:], crc32(_ROW.pack(key, group, version))) == checksum
    except (IndexError, ValueError, struct.error):
        return FOREIGN
    # Histories hold signed 64-bit versions, so a larger one is not ours.
    return int(version) if whole and version < 2**63 else DAMAGED
