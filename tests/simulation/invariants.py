"""What must hold once all faults have healed and all callers have ended."""

from __future__ import annotations

from collections.abc import Sequence

import trio

import trio_hs
from trio_hs import Manager
from trio_hs._dispatch._many import READ_KEYS, WRITE_LINES
from trio_hs._network import Pool
from trio_hs._network._connection import MAX_OUTSTANDING, TICKS
from trio_hs._network._link import LONGEST_PAUSE, LONGEST_SHUNNING
from trio_hs.testing import EmbeddedServer

from .cluster import SimulatedCluster
from .model import Counter, Model
from .network import Network
from .topology import GROUPS, Topology
from .workload import Clients

#: A connection admits a request while fewer than MAX_OUTSTANDING lines wait; the last one may have that many.
MOST_PENDING = MAX_OUTSTANDING + max(READ_KEYS, WRITE_LINES) - 1


def settling_seconds(topology: Topology) -> float:
    """How long the client may need to recover after the last fault.

    It notices that a silent connection is dead, or that an attempt to connect hangs. It waits at most the longest pause before
    the next attempt. And it tries a server again that refused writes.
    """
    return 2 * topology.timeout * (1 + 2 / TICKS) + LONGEST_PAUSE + LONGEST_SHUNNING + 1


async def check_in_step(cluster: SimulatedCluster, model: Model) -> None:
    """Every replica has what the primary has. This is up to the servers, not to the client."""
    with trio.move_on_after(10):
        while not cluster.in_step:  # noqa: ASYNC110  (replication has no event for it, and the time is virtual)
            await trio.sleep(0.1)
    primary = cluster.primary
    for replica in cluster.replicas:
        if replica.database.copy() != primary.database.copy():
            model.violated(f"{replica.name} has other rows than {primary.name}: {replica.statistics()}")


def check_survivors(cluster: SimulatedCluster, model: Model) -> None:
    """No acknowledged write is lost, no write is applied twice, and no write that was reported as not applied is there."""
    database = cluster.primary.database
    held = {int(str(row[0])): row for row in database.tables["sim", "items"].rows}
    for key, row in model.rows.items():
        found = held.pop(key, None)
        value = None if found is None else bytes(found[2]).decode()  # type: ignore[arg-type]
        if value not in row.possible or (found is not None and found[1] != key % GROUPS):
            possible = " or ".join(sorted(map(str, row.possible)))
            model.violated(f"row {key} is {value}, but callers' outcomes allow {possible}")
    if held:
        model.violated(f"rows that no caller inserted: {sorted(held)}")
    values = {int(str(row[0])): int(str(row[1])) for row in database.tables["sim", "counters"].rows}
    for key, counter in model.counters.items():
        low, high = counter.bounds()
        if not low <= values.get(key, -1) <= high:
            model.violated(f"the counter {key} is {values.get(key)}, but callers' outcomes allow {low} to {high}")


async def check_recovered(clients: Clients, cluster: SimulatedCluster, topology: Topology, model: Model) -> None:
    """Every operation succeeds at once, and its answer is what the primary holds, whichever server gave it."""
    hs = clients.manager
    slack = 1.0 + 2 * topology.latency[1] + 0.5 * len(topology.servers)
    if topology.narrow:
        slack += 10.0
    started = trio.current_time()
    try:
        with trio.fail_after(slack):
            for counter in model.counters.values():
                await _increment(hs, counter, topology)
    except (Exception, trio.TooSlowError) as error:
        after = trio.current_time() - started
        model.violated(f"writes do not work after everything has healed ({after:.2f} s): {error!r}; {hs!r}")
    keys = list(model.rows)[-60:]
    items = cluster.primary.database.tables["sim", "items"].rows
    held = {int(str(row[0])): bytes(row[2]).decode() for row in items}  # type: ignore[arg-type]
    try:
        with trio.fail_after(slack):
            # Twice as many reads as connections, so that each connection carries one.
            for _ in range(2 * topology.connections * len(topology.servers)):
                row = await hs.get("sim", "items", ["v"], keys[0])
                assert dict(row).get("v") == held.get(keys[0]), f"{keys[0]} is {row}, not {held.get(keys[0])}"
            for key, row in zip(keys, await hs.get_many("sim", "items", ["id", "v"], keys), strict=True):
                assert dict(row).get("v") == held.get(key), f"{key} is {row}, not {held.get(key)}"
                model.check_read(key, row)
    except (Exception, trio.TooSlowError) as error:
        after = trio.current_time() - started
        model.violated(f"reads do not work after everything has healed ({after:.2f} s): {error!r}; {hs!r}")


async def _increment(hs: Manager, counter: Counter, topology: Topology) -> None:
    while True:
        try:
            assert await hs.incr("sim", "counters", "=", ["n"], [counter.key], [1]) == 1
        except trio_hs.ReadOnlyError:
            # The primary has just closed an idle connection, and the only server that can be asked is read-only
            # (docs/delivery.md, row 11): the caller gets this error at once.
            if topology.idle_timeout is None:
                raise
            await trio.sleep(0.2)
        else:
            counter.begin(1)
            counter.done(1)
            return


def check_pool(pool: Pool, topology: Topology, cluster: SimulatedCluster, model: Model, *, writes: bool) -> None:
    """All connections are up, the preferred group serves, and no request is outstanding."""
    if not pool.used:
        return
    groups = topology.writer_groups if writes else topology.reader_groups
    live = {connection.peer.partition(":")[0] for connection in pool._live}
    # A server that closes idle connections may have done so a moment ago.
    if topology.idle_timeout is None:
        for statistics in pool.statistics():
            if statistics.connections != topology.connections:
                model.violated(f"not recovered: {statistics}; {pool!r}")
        if not writes and live != set(groups[0]):
            model.violated(f"{sorted(live)} serve instead of {groups[0]}: {pool!r}")
    for statistics in pool.statistics():
        if statistics.stalled or statistics.outstanding:
            model.violated(f"not recovered: {statistics}; {pool!r}")
    # The client tries groups that refused writes again from time to time, but none that is less preferred than the
    # primary's.
    number = next(number for number, group in enumerate(groups) if not writes or cluster.primary.name in group)
    preferred = [name for group in groups[: number + 1] for name in group]
    if not live <= set(preferred):
        model.violated(f"{sorted(live)} serve instead of {preferred}: {pool!r}")
    if pool.retiring:
        model.violated(f"{len(pool.retiring)} retiring connections are still there")
    for connection in pool._live:
        if connection.outstanding or connection._sent or connection._queue or connection._backlog:
            model.violated(f"something is outstanding on {connection!r}")
    links = sum(map(len, pool.groups))
    if len(pool._nursery.child_tasks) > 2 * links:  # a server that refuses is shunned by a task per link
        model.violated(f"{len(pool._nursery.child_tasks)} background tasks for {links} links")


def check_back_pressure(servers: Sequence[EmbeddedServer], model: Model) -> None:
    for server in servers:
        most = server.statistics().most_pending
        if most > MOST_PENDING:
            model.violated(f"{most} requests of one connection waited at {server.name}; the client's bound is {MOST_PENDING}")


def check_closed(network: Network, model: Model) -> None:
    if network.streams:
        model.violated(f"{len(network.streams)} streams were left open")
