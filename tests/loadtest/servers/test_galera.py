"""A node of a Galera cluster as the user's own writer: HandlerSocket's writes would stay on it, and later expel it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill.controller._table import fill_table
from hs_drill.servers import _galera, _mariadbd, open_cluster
from hs_drill.servers._opening import open_servers
from hs_drill.servers._sql import execute_sql
from tests.loadtest.support.external import SCENARIO, TABLE, databases
from tests.support.patience import patience

PROVIDERS = [Path("/usr/lib/galera/libgalera_smm.so"), Path("/usr/lib64/galera-4/libgalera_smm.so")]
REFUSED = (
    "writer is a node of a Galera cluster (wsrep_on is ON): what HandlerSocket writes there stays on that node, and later "
    "makes it leave the cluster. Write through a FEDERATED twin: docs/replication.md. Nothing was written"
)
WARNED = "writer is a node of a Galera cluster: clients must write to no other node of it (docs/replication.md)"


@pytest.fixture
async def node(mariadb_installation: object, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """The only node of a real Galera cluster."""
    found = [path for path in PROVIDERS if path.exists()]
    if not found:
        pytest.skip("no Galera library here (Debian: galera-4)")
    original = _mariadbd.configuration
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def configuration(*arguments: Any, **options: Any) -> str:
        return original(*arguments, **options) + "\n".join(
            [
                "wsrep_on=ON",
                f"wsrep_provider={found[0]}",
                "wsrep_cluster_address=gcomm://",
                "wsrep_node_address=127.0.0.1",
                f'wsrep_provider_options="gmcast.listen_addr=tcp://127.0.0.1:{port};gcache.size=8M"',
                "default-storage-engine=InnoDB",
                "innodb-autoinc-lock-mode=2\n",
            ]
        )

    monkeypatch.setattr(_mariadbd, "configuration", configuration)
    async with open_cluster("mariadb", readers=0) as cluster:
        with trio.fail_after(patience(60)):
            ready = "SHOW STATUS LIKE 'wsrep_ready'"
            while (await execute_sql(cluster.writer, ready))[0]["Value"] != "ON":  # noqa: ASYNC110  (the server is asked)
                await trio.sleep(0.1)
        yield cluster


def external(cluster: Cluster, told: list[str], *, writes: bool = True, topology: str = "plain") -> Any:
    return open_servers(
        "external",
        topology=topology,
        external=[cluster.writer],
        may_create_table=True,
        handlersocket_writes=writes,
        progress=told.append,
    )


@pytest.mark.parametrize("rows, is_node", [([], False), ([{"Value": "OFF"}], False), ([{"Value": "ON"}], True)])
async def test_a_node_is_known_by_wsrep_on(rows: list[dict[str, str]], is_node: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(server: Server, *statements: str) -> list[dict[str, str]]:
        return rows

    monkeypatch.setattr(_galera, "execute_sql", answer)
    assert await _galera.is_node(Server("writer", "127.0.0.1", 1, 2, "", "")) is is_node


@pytest.mark.mariadb
async def test_a_run_that_writes_straight_to_a_node_is_refused_and_one_that_reads_is_not(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where there is no Galera: on a server that is said to be a node."""

    async def is_node(server: Server) -> bool:
        return True

    monkeypatch.setattr(_galera, "is_node", is_node)
    with pytest.raises(ClusterError) as refused:
        async with external(cluster, []):
            pass
    assert str(refused.value) == REFUSED
    assert TABLE.database not in await databases(cluster.writer)
    told: list[str] = []
    async with external(cluster, told, writes=False) as control:
        await fill_table(control, SCENARIO, told.append)
        assert len(await control.read_rows("writer", TABLE)) == SCENARIO.table.rows
    assert WARNED in told
    assert not [line for line in told if "written through HandlerSocket" in line]
    told.clear()
    async with external(cluster, told, topology="write-through"):
        assert WARNED in told


@pytest.mark.mariadb
async def test_a_real_node_is_recognised_and_read(node: Cluster) -> None:
    writer = node.writer
    address = f"{writer.host}:{writer.read_port}:{writer.write_port}:{writer.sql_port}"
    servers = f"writer={address},reader-1={address}"
    command = [sys.executable, "-m", "hs_drill", "cluster", "check", "--create-table", "--servers", servers]
    environment = {
        **os.environ,
        "TRIO_HS_READ_SECRET": writer.read_secret,
        "TRIO_HS_WRITE_SECRET": writer.write_secret,
        "TRIO_HS_SQL_USER": node.admin_user,
        "TRIO_HS_SQL_PASSWORD": node.admin_password,
    }
    run = partial(subprocess.run, command, env=environment, capture_output=True, text=True, timeout=patience(60), check=False)
    done = await trio.to_thread.run_sync(run)
    assert done.returncode == 2, done
    assert done.stderr.splitlines()[-1] == REFUSED
    assert "a node of a Galera cluster" in done.stdout
    assert "written through HandlerSocket" not in done.stdout
    assert TABLE.database not in await databases(writer)
    told: list[str] = []
    async with external(node, told, writes=False) as control:
        await fill_table(control, SCENARIO, told.append)
        assert len(await control.read_rows("writer", TABLE)) == SCENARIO.table.rows
    assert WARNED in told


@pytest.mark.mariadb
async def test_a_node_is_waited_for_until_it_has_the_clusters_last_write(node: Cluster) -> None:
    last = await _galera.committed(node.writer)
    await _galera.wait_committed(node.writer, last, patience(10))
    with pytest.raises(ClusterError, match=f"writer has not committed the Galera cluster's write {last + 1} within 0.1 s"):
        await _galera.wait_committed(node.writer, last + 1, 0.1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_galera.wait_committed, node.writer, last + 1, patience(10))
        await execute_sql(node.writer, "CREATE DATABASE waited")
