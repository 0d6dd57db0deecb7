"""Looks for rows that hold something else than a before-image says: on the writer, and on the servers that replicate from it.

A replica may hold a run's values although HandlerSocket's writes are in no binary log: if somebody changes another column of
such a row by SQL, the event of that row takes all of its columns along.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import trio

from hs_drill._cluster import ClusterError, Server
from hs_drill.servers import Control, ExactRows, LiveTable, as_cluster_errors, exact_session
from hs_drill.store import BeforeImage
from hs_drill.workload import ExistingRows

from ._before_image import own_keys, replicas_of

__all__ = ["APPLY_SECONDS", "ReplicaDifferences", "look_at_replicas", "still_different"]

APPLY_SECONDS = 60.0
"""Limit for replicas to apply what was put back."""


@dataclass
class ReplicaDifferences:
    """What was found on the servers that replicate from the writer."""

    rows: dict[str, int] = field(default_factory=dict)
    """By server, how many rows hold something else than the before-image says; without servers where none does."""
    unknown: list[str] = field(default_factory=list)
    """A line for each server that could not be compared, or not yet."""
    unasked: list[str] = field(default_factory=list)
    """Servers that cannot be asked, without a `sql_port`."""


def _count(server: Server, live: LiveTable, image: BeforeImage) -> int:
    header = image.header
    assert header is not None
    with exact_session(server) as cursor:
        table = ExactRows(cursor, live, header.columns)
        different = 0
        for block in image.blocks():
            trio.from_thread.check_cancelled()
            different += len(table.differing(block, table.by_keys(block), header.written))
        return different


async def look_at_replicas(control: Control, live: LiveTable, image: BeforeImage) -> ReplicaDifferences:
    """Compare every replica, once it has applied what the writer has logged until now."""
    seen = ReplicaDifferences()
    replicas = replicas_of(control)
    late = ""
    if any(server.sql_port is not None for server in replicas):
        try:
            await control.wait_replicated(APPLY_SECONDS)
        except ClusterError as error:
            late = str(error)
    for server in replicas:
        if server.sql_port is None:
            seen.unasked.append(server.name)
            continue
        try:
            count = await _in_thread(server, partial(_count, server, live, image))
        except ClusterError as error:
            seen.unknown.append(f"whether {server.name} holds values of the run is unknown: {error}")
        else:
            if count:
                seen.rows[server.name] = count
    if late:
        seen.unknown.append(f"a replica may yet get values of the run: {late}")
    return seen


async def still_different(server: Server, live: LiveTable, image: BeforeImage, rows: ExistingRows) -> int:
    """How many rows of the writer are not as they were, or were inserted by the run. Raises `ClusterError`."""
    changed = await _in_thread(server, partial(_count, server, live, image))
    return changed + await _in_thread(server, partial(_inserted, server, live, image, rows))


def _inserted(server: Server, live: LiveTable, image: BeforeImage, rows: ExistingRows) -> int:
    header = image.header
    assert header is not None
    if not header.inserts:
        return 0
    with exact_session(server) as cursor:
        return sum(len(keys) for keys in own_keys(ExactRows(cursor, live, header.columns), live, rows, header.run))


async def _in_thread(server: Server, count: Callable[[], int]) -> int:
    with as_cluster_errors(server):
        return await trio.to_thread.run_sync(count, abandon_on_cancel=False)
