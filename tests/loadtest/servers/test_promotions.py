"""Whether a server, or its source, may have been promoted between two looks at how it replicates."""

from __future__ import annotations

from typing import Any

import pytest

from hs_drill.servers._promotions import Logged, Replication, change, lacks
from hs_drill.servers._writable import Source


def replication(*, takes_writes: bool = False, position: str = "0-1-7", **sources: str) -> Replication:
    """`sources`: address by the name of the connection; with a `-` before it the connection is stopped."""
    each = {
        name.strip("_"): Source(address.strip("-"), running := not address.startswith("-"), running)
        for name, address in sources.items()
    }
    return Replication(each, takes_writes, position)


REPLICA: dict[str, Any] = {"_": "w:3306"}
STOPPED = {"_": "-w:3306"}
BOTH = REPLICA | {"x": "v:3306"}
WRITES: dict[str, Any] = {"takes_writes": True}
MOVED = {"position": "0-1-8"}
GONE = "has replicated since the run began, does not any more, and takes writes"


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
        (STOPPED | WRITES, STOPPED | WRITES | MOVED, GONE),
        (BOTH | {"_": "-w:3306"} | WRITES, BOTH | {"_": "-w:3306"} | WRITES | MOVED, GONE),
        # It was no replica.
        (WRITES, WRITES, ""),
        (WRITES, WRITES | MOVED, GONE),
        (WRITES, REPLICA | WRITES, "is set up to replicate from w:3306 now, and was not when the run began"),
    ],
)
def test_a_change_that_may_be_a_promotion_is_seen(before: dict[str, Any], now: dict[str, Any], seen: str) -> None:
    assert change(replication(**before), replication(**now)) == seen


def test_the_address_of_a_proxy_does_not_hide_another_source_and_another_name_is_no_other_source() -> None:
    def follows(address: str, server_id: int) -> Replication:
        return Replication({"": Source(address, True, True, server_id)}, False, "")

    assert change(follows("vip:3306", 1), follows("vip:3306", 2)) == (
        "replicates from the server with id 2 now, and from 1 when the run began"
    )
    assert change(follows("w:3306", 1), follows("w.example:3306", 1)) == ""


LOGGED = Logged("0-1-10,0-2-4", "")


@pytest.mark.parametrize(
    "writer, replica, gtid",
    [
        (LOGGED, replication(position="0-1-10", **REPLICA), ""),
        (LOGGED, replication(position="0-2-4", **REPLICA), ""),
        (LOGGED, replication(position="0-3-11", **REPLICA), "0-3-11"),
        (LOGGED, replication(position="0-2-5", **REPLICA), "0-2-5"),
        # The writer was a replica itself, and does not log what it replicated.
        (Logged("0-1-10", "0-3-11"), replication(position="0-3-11", **REPLICA), ""),
        (Logged("0-1-10", "0-3-11"), replication(position="0-3-12", **REPLICA), "0-3-12"),
        (Logged("", ""), replication(position="0-3-11", **REPLICA), "0-3-11"),
        (LOGGED, replication(position="0-3-11", **BOTH), ""),
    ],
)
def test_a_transaction_of_a_replica_that_the_writer_lacks_is_found(writer: Logged, replica: Replication, gtid: str) -> None:
    assert lacks(writer, replica) == gtid


@pytest.mark.parametrize("takes_writes, gtid", [(False, ""), (True, "0-2-12")])
def test_local_transactions_count_where_a_server_takes_writes_and_does_not_replicate(takes_writes: bool, gtid: str) -> None:
    for running in (False, True):  # its SQL thread alone may be stopped, by an error
        replica = Replication({"": Source("w:3306", running, False)}, takes_writes, "0-1-10", "0-2-12")
        assert lacks(LOGGED, replica) == gtid
        assert lacks(LOGGED, replica, replica) == "", "it had them before"


def test_transactions_of_another_time_do_not_count() -> None:
    """A domain that the writer does not use. But if one appears while the run lasts, another primary uses it."""
    old = replication(position="0-1-10,7-200-9", **REPLICA)
    assert lacks(LOGGED, old) == lacks(LOGGED, old, old) == ""
    assert lacks(LOGGED, replication(position="0-1-10,7-200-10", **REPLICA), old) == "7-200-10"
