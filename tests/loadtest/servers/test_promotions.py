"""Whether a server, or its source, may have been promoted between two looks at how it replicates."""

from __future__ import annotations

from typing import Any

import pytest

from hs_drill.servers._promotions import Replication, change
from hs_drill.servers._writable import Source


def replication(*, takes_writes: bool = False, position: str = "0-1-7", **sources: str) -> Replication:
    """`sources`: address by the name of the connection; with a `-` before it the connection is stopped."""
    each = {name.strip("_"): Source(address.strip("-"), not address.startswith("-")) for name, address in sources.items()}
    return Replication(each, takes_writes, position)


REPLICA = {"_": "w:3306"}
STOPPED = {"_": "-w:3306"}
BOTH = REPLICA | {"x": "v:3306"}
WRITES: dict[str, Any] = {"takes_writes": True}
MOVED = {"position": "0-1-8"}


@pytest.mark.parametrize(
    "before, now, seen",
    [
        (REPLICA, REPLICA | MOVED, ""),
        (REPLICA, STOPPED, ""),  # it takes no writes
        (REPLICA | WRITES, REPLICA | WRITES | MOVED, ""),  # MariaDB's replicas are not read-only by default
        (REPLICA, {}, "does not replicate from w:3306 any more"),
        (REPLICA, WRITES, "does not replicate from w:3306 any more"),
        (REPLICA, STOPPED | WRITES, "has stopped replicating from w:3306 and takes writes"),
        (REPLICA, REPLICA | WRITES, "takes writes, and was read-only when the run began"),
        # Another server was promoted, and this one follows it.
        (REPLICA, {"_": "r2:3306"}, "replicates from r2:3306 now, and from w:3306 when the run began"),
        # Of two sources, one goes on.
        (BOTH, {"x": "v:3306"}, "does not replicate from w:3306 any more"),
        (
            REPLICA | {"x": "v:3306"} | WRITES,
            STOPPED | {"x": "v:3306"} | WRITES,
            "has stopped replicating from w:3306 and takes writes",
        ),
        # It was stopped when the run began.
        (STOPPED | WRITES, STOPPED | WRITES, ""),
        (STOPPED | WRITES, REPLICA | WRITES | MOVED, ""),
        (STOPPED | WRITES, WRITES | MOVED, "does not replicate from w:3306 any more"),
        (STOPPED | WRITES, STOPPED | WRITES | MOVED, "has replicated since the run began, does not any more, and takes writes"),
        # It was no replica.
        (WRITES, WRITES, ""),
        (WRITES, WRITES | MOVED, "has replicated since the run began, does not any more, and takes writes"),
        (WRITES, REPLICA | WRITES, "is set up to replicate from w:3306 now, and was not when the run began"),
    ],
)
def test_a_change_that_may_be_a_promotion_is_seen(before: dict[str, Any], now: dict[str, Any], seen: str) -> None:
    assert change(replication(**before), replication(**now)) == seen
