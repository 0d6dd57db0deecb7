"""Whether a server, or its source, may have been promoted between two looks at how it replicates."""

from __future__ import annotations

from typing import Any

import pytest

from hs_drill.servers._promotions import Logged, Replication, change, lacks
from hs_drill.servers._writable import Source


def replication(*, takes_writes: bool = False, position: str = "0-1-7", **sources: str) -> Replication:
    """`sources`: address by the name of the connection; with a `-` before it the connection is stopped."""
    each = {name.strip("_"): source(address) for name, address in sources.items()}
    return Replication(each, takes_writes, position)


def source(address: str, server_id: int = 0) -> Source:
    """A `-` before the address: stopped; a `~`: it connects, and applies."""
    io, sql = {"-": ("No", "No"), "~": ("Connecting", "Yes")}.get(address[0], ("Yes", "Yes"))
    return Source(address.strip("-~"), io, sql, server_id)


REPLICA: dict[str, Any] = {"_": "w:3306"}
STOPPED = {"_": "-w:3306"}
BOTH = REPLICA | {"x": "v:3306"}
WRITES: dict[str, Any] = {"takes_writes": True}
MOVED = {"position": "0-1-8"}
STOPPED_AND_WRITES = "has stopped replicating from w:3306 and takes writes (IO thread No, SQL thread No)"


@pytest.mark.parametrize(
    "before, now, seen",
    [
        (REPLICA, REPLICA | MOVED, ""),
        (REPLICA, STOPPED, ""),  # it takes no writes
        (REPLICA | WRITES, REPLICA | WRITES | MOVED, ""),  # MariaDB's replicas are not read-only by default
        (REPLICA, {}, "does not replicate from w:3306 any more"),
        (REPLICA, WRITES, "does not replicate from w:3306 any more"),
        (REPLICA, STOPPED | WRITES, STOPPED_AND_WRITES),
        (REPLICA, REPLICA | WRITES, "takes writes, and was read-only when the run began"),
        # Another server was promoted, and this one follows it.
        (REPLICA, {"_": "r2:3306"}, "replicates from r2:3306 now, and from w:3306 when the run began"),
        # Of two sources, one goes on.
        (BOTH, {"x": "v:3306"}, "does not replicate from w:3306 any more"),
        (
            REPLICA | {"x": "v:3306"} | WRITES,
            STOPPED | {"x": "v:3306"} | WRITES,
            STOPPED_AND_WRITES,
        ),
        # It was stopped when the run began.
        (STOPPED | WRITES, STOPPED | WRITES, ""),
        (STOPPED | WRITES, REPLICA | WRITES | MOVED, ""),
        (STOPPED | WRITES, WRITES | MOVED, "does not replicate from w:3306 any more"),
        (BOTH | {"_": "-w:3306"} | WRITES, BOTH | {"_": "-w:3306"} | WRITES | MOVED, ""),
        # It was no replica.
        (WRITES, WRITES | MOVED, ""),
        (WRITES, REPLICA | WRITES, "is set up to replicate from w:3306 now, and was not when the run began"),
    ],
)
def test_a_change_that_may_be_a_promotion_is_seen(before: dict[str, Any], now: dict[str, Any], seen: str) -> None:
    assert change(replication(**before), replication(**now)) == seen


def follows(*sources: Source, takes_writes: bool = False, own: str = "") -> Replication:
    """A replica of the writer with the server id 1, or of other servers."""
    return Replication({f"c{number}": one for number, one in enumerate(sources)}, takes_writes, "", own, 1)


def test_the_address_of_a_proxy_does_not_hide_another_source_and_another_name_is_no_other_source() -> None:
    assert change(follows(source("vip:3306", 1)), follows(source("vip:3306", 2))) == (
        "replicates from the server with id 2 now, and from 1 when the run began"
    )
    assert change(follows(source("w:3306", 1)), follows(source("w.example:3306", 1))) == ""
    for io in ("No", "Preparing", "Connecting"):  # it still has the id of the former one
        assert change(follows(source("w:3306", 1)), follows(Source("r:3306", io, "Yes", 1))) == (
            "replicates from r:3306 now, and from w:3306 when the run began"
        )


@pytest.mark.parametrize("io, sql", [("No", "Yes"), ("Yes", "No"), ("Connecting", "Yes"), ("Preparing", "Yes")])
def test_a_server_that_takes_writes_is_a_replica_only_while_both_threads_run(io: str, sql: str) -> None:
    """What HandlerSocket writes to a promoted server has no GTID. An interruption may pass, so a watcher asks again."""
    before, half = source("w:3306", 1), Source("w:3306", io, sql, 1)
    seen = change(follows(before, takes_writes=True), follows(half, takes_writes=True))
    assert seen.endswith(
        f"replicating from w:3306 and takes writes (IO thread {io}, SQL thread {sql})".removeprefix("replicating ")
    )
    watched = change(follows(before, takes_writes=True), follows(half, takes_writes=True), watching=True)
    assert bool(watched) is ("No" in (io, sql))
    assert change(follows(before), follows(half)) == "", "it takes no writes"


def test_a_connection_to_another_server_than_the_writer_proves_nothing_and_its_end_is_no_promotion() -> None:
    other, stopped = source("v:3306", 9), source("-v:3306", 9)
    before = follows(source("w:3306", 1), other, takes_writes=True)
    assert change(before, follows(source("w:3306", 1), stopped, takes_writes=True)) == ""
    assert change(before, follows(source("-w:3306", 1), other, takes_writes=True)) != ""
    assert not follows(source("-w:3306", 1), other).follows


@pytest.mark.parametrize(
    "sources, why",
    [
        ([source("w:3306", 1)], ""),
        ([source("w:3306", 1), source("-v:3306", 9)], ""),
        (
            [source("r:3306", 2)],
            "replicates from r:3306 (server id 2, IO thread Yes, SQL thread Yes), not from writer (server id 1)",
        ),
        ([source("~w:3306", 1)], "does not replicate from writer: w:3306 (server id 1, IO thread Connecting, SQL thread Yes)"),
        (
            [source("-w:3306", 1), source("v:3306", 9)],
            "does not replicate from writer: w:3306 (server id 1, IO thread No, SQL thread No)",
        ),
        (
            [source("-w:3306")],
            "replicates from w:3306 (server id unknown, IO thread No, SQL thread No), not from writer (server id 1)",
        ),
        ([], "replicates from no server, not from writer (server id 1)"),
    ],
)
def test_a_replica_is_proven_by_a_connection_to_the_writer_itself_whose_threads_run(sources: list[Source], why: str) -> None:
    assert follows(*sources).why_unproven == why


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
    """Also if it has applied later transactions of the writer since."""
    for threads in (("No", "No"), ("Yes", "No"), ("Connecting", "Yes")):
        replica = Replication({"": Source("w:3306", *threads)}, takes_writes, "0-1-10", "0-1-10,0-2-12")
        assert lacks(LOGGED, replica) == gtid
        assert lacks(LOGGED, replica, replica) == "", "it had them before"


def test_transactions_of_another_time_do_not_count() -> None:
    """A domain that the writer does not use. But if one appears while the run lasts, another primary uses it."""
    old = replication(position="0-1-10,7-200-9", **REPLICA)
    assert lacks(LOGGED, old) == lacks(LOGGED, old, old) == ""
    assert lacks(LOGGED, replication(position="0-1-10,7-200-10", **REPLICA), old) == "7-200-10"


def test_a_domain_in_which_the_replica_s_own_source_logs_is_not_of_another_time() -> None:
    """The source was promoted before the run, with a domain of its own."""
    replica = Replication({"": Source("r:3306", "Yes", "Yes", 200)}, False, "0-1-10,7-200-9", "", 1)
    assert lacks(LOGGED, replica) == "7-200-9"
