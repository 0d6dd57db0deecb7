"""Waiting until the replicas have everything: one that cannot get there does not keep the run from waiting for the others."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill.servers import _external, _replication
from hs_drill.servers._external import ExternalControl


async def test_a_former_primary_that_is_no_replica_yet_does_not_end_the_waiting_for_the_others(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Else a replica that is a moment behind would be read back, and its rows would differ from the primary's."""
    applied = []

    async def logged(server: Server) -> str:
        await trio.lowlevel.checkpoint()
        return f"{server.name}'s position"

    async def wait_applied(replica: Server, position: str, within: float) -> None:
        await trio.lowlevel.checkpoint()
        if replica.name == "writer":
            raise ClusterError("writer has not applied it and has stopped: it is not a replica")
        await trio.sleep(3)
        applied.append((replica.name, position))

    monkeypatch.setattr(_external, "logged", logged)
    monkeypatch.setattr(_replication, "wait_applied", wait_applied)
    servers = tuple(Server(name, name, 9998, 9999, "", "", sql_port=3306) for name in ("writer", "standby", "reader-1"))
    control = ExternalControl(Cluster("external", "", "", servers), may_create=False, progress=print)
    control.primary = "standby"
    with pytest.raises(ClusterError, match=r"it is not a replica$"):
        await control.wait_replicated()
    assert applied == [("reader-1", "standby's position")]


async def test_each_replica_that_cannot_get_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait_applied(replica: Server, position: str, within: float) -> None:
        await trio.lowlevel.checkpoint()
        if replica.name != "standby":
            raise ClusterError(f"{replica.name} has stopped")

    monkeypatch.setattr(_replication, "wait_applied", wait_applied)
    servers = [Server(name, name, 9998, 9999, "", "", sql_port=3306) for name in ("writer", "standby", "reader-1")]
    with pytest.raises(ClusterError, match=r"^reader-1 has stopped; writer has stopped$"):
        await _replication.wait_all_applied(servers, "0-1-1", 1.0)
