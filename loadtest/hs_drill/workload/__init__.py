"""What the users do next, and how every write names itself. No I/O."""

from __future__ import annotations

from ._payloads import fillers, group_of, payloads
from ._stream import Drawn, operations
from ._versions import ABSENT, DAMAGED, FOREIGN, INITIAL, UNSEEN, first_insert_key, of_run, payload_of, version_of, worker_of

__all__ = [
    "ABSENT",
    "DAMAGED",
    "FOREIGN",
    "INITIAL",
    "UNSEEN",
    "Drawn",
    "fillers",
    "first_insert_key",
    "group_of",
    "of_run",
    "operations",
    "payload_of",
    "payloads",
    "version_of",
    "worker_of",
]
