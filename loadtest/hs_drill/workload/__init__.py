"""What the users do next, and how every write names itself. Pure."""

from __future__ import annotations

from ._versions import (
    ABSENT,
    DAMAGED,
    FOREIGN,
    INITIAL,
    Drawn,
    fillers,
    first_insert_key,
    group_of,
    of_run,
    operations,
    payload_of,
    payloads,
    version_of,
    worker_of,
)

__all__ = [
    "ABSENT",
    "DAMAGED",
    "FOREIGN",
    "INITIAL",
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
