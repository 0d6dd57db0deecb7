"""Real `mariadbd` processes come up, answer and replicate, and leave nothing behind, however they end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgpack
import pytest
import trio

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill.sandbox import _sandbox
from hs_drill.servers import _mariadbd, _processes
from hs_drill.servers._opening import open_cluster
from hs_drill.servers._replication import create_table, wait_replicated
from hs_drill.servers._sql import execute_sql
from tests.loadtest.support.locust_process import ROOT
from tests.loadtest.support.servers import handlersocket, insert, left_behind, read, soon
from tests.support.patience import patience

COLUMNS = "id INT NOT NULL PRIMARY KEY, v VARCHAR(20) NOT NULL"


def assert_secrets_are_private(cluster: Cluster, temporary: Path) -> None:
    for path in temporary.rglob("*"):
        if path.suffix in (".cnf", ".sql"):
            assert path.stat().st_mode & 0o77 == 0
    for server in cluster.servers:
        log = next(temporary.glob(f"*/{server.name}/server.log")).read_text()
        command = Path(f"/proc/{server.pid}/cmdline").read_text()
        for secret in (server.read_secret, server.write_secret, server.admin_password, cluster.replication_password):
            assert secret not in log
            assert secret not in command


# --- The cluster's data ----------------------------------------------------------------------------------------------
def test_a_cluster_travels_as_plain_data_and_its_repr_keeps_secrets() -> None:
    servers = [Server(name, "h", 1, 2, "S3CRET-r", "S3CRET-w", 3, 4, "admin", "S3CRET-a") for name in ("writer", "reader-1")]
    standby = Server("standby", "h", 1, 2, "S3CRET-r", "S3CRET-w")
    cluster = Cluster("external", "why", "1", (*servers, standby), "admin", "S3CRET", {"d": "d_wt"}, "r", "S3CRET")
    assert Cluster.from_dict(msgpack.unpackb(msgpack.packb(cluster.to_dict()))) == cluster
    assert "S3CRET" not in repr(cluster)
    assert (cluster.writer, cluster.readers, cluster.standby) == (servers[0], (servers[1],), standby)
    assert cluster.replicas == (servers[1], standby)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"kind": "external"}, "external servers must be named: cluster.servers"),
        ({"kind": "oracle"}, "no such kind of cluster: 'oracle'"),
        ({"topology": "ring"}, "no such topology: 'ring'"),
        ({"readers": -1}, "-1 readers"),
    ],
)
async def test_an_impossible_cluster_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        async with open_cluster(**arguments):  # type: ignore[arg-type]
            pass


# --- Servers that work -----------------------------------------------------------------------------------------------
@pytest.mark.mariadb
async def test_plain_sql_writes_replicate_and_handlersocket_writes_do_not(temporary: Path) -> None:
    progress: list[str] = []
    started = time.monotonic()
    async with open_cluster("mariadb", progress=progress.append) as cluster:
        assert time.monotonic() - started < patience(15)
        assert progress[-1] == "3 servers are up"
        assert [server.name for server in cluster.servers] == ["writer", "reader-1", "reader-2"]
        assert cluster.kind == "mariadb"
        assert "MariaDB" in cluster.version
        assert not cluster.write_databases
        for server in cluster.servers:
            for port, secret in [(server.read_port, server.read_secret), (server.write_port, server.write_secret)]:
                assert await handlersocket(port, secret) == []
                with socket.create_connection((server.host, port)) as connection:
                    connection.sendall(b"A\t1\twrong\n")
                    assert connection.recv(100) == b"3\t1\tunauth\n"
        assert_secrets_are_private(cluster, temporary)

        await create_table(cluster, "drill", "t", COLUMNS)
        assert await insert(cluster.writer, 1) == "0\t1"
        await execute_sql(cluster.writer, "INSERT INTO drill.t VALUES (2, 'v2')")
        await wait_replicated(cluster)
        assert await read(cluster.writer, 1) == "0\t2\t1\tv1"
        for reader in cluster.readers:
            assert await read(reader, 1) == "0\t2"  # MDEV-33967: never logged
            assert await read(reader, 2) == "0\t2\t2\tv2"
            assert await insert(reader, 3) == "1\t1\tlock_tables"  # read_only

        await execute_sql(cluster.readers[0], "STOP SLAVE")
        await execute_sql(cluster.writer, "INSERT INTO drill.t VALUES (4, 'v4')")
        with pytest.raises(
            ClusterError, match=r"reader-1 has not applied \S+ and has stopped: it is at .*; IO thread No, SQL thread No"
        ):
            await wait_replicated(cluster, 5)
        with pytest.raises(ClusterError, match=r"writer: SQL error 1050: .*already exists"):
            await create_table(cluster, "drill", "t", COLUMNS)
        assert {f"process {server.pid}" for server in cluster.servers} < set(left_behind(temporary))
    assert left_behind(temporary) == []


@pytest.mark.mariadb
async def test_write_through_writes_replicate_and_the_standby_can_be_promoted(temporary: Path) -> None:
    async with open_cluster("mariadb", standby=True, topology="write-through") as cluster:
        assert cluster.write_databases == {"drill": "drill_wt"}
        standby = cluster.standby
        assert standby is not None
        assert len(cluster.readers) == 2
        await create_table(cluster, "drill", "t", COLUMNS)
        await create_table(cluster, "drill", "second", COLUMNS)  # uses the same link to itself
        assert await insert(cluster.writer, 1, "drill_wt") == "0\t1"
        await wait_replicated(cluster)
        for server in cluster.servers:
            assert await read(server, 1) == "0\t2\t1\tv1"
        for replica in cluster.replicas:
            assert await insert(replica, 2, "drill_wt") != "0\t1"

        await execute_sql(standby, "STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only=0")
        assert await insert(standby, 3, "drill_wt") == "0\t1"
        assert await read(standby, 3) == "0\t2\t3\tv3"


@pytest.mark.mariadb
@pytest.mark.parametrize("nth", [1, 2, 3], ids=["read port", "write port", "SQL port"])
async def test_a_port_lost_to_another_program_is_replaced(temporary: Path, monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    monkeypatch.setattr(_mariadbd, "HANDLERSOCKET_SECONDS", 1)
    reserve, calls = _sandbox.Sandbox.reserve_port, 0
    with socket.create_server(("127.0.0.1", 0)) as other:  # the kernel accepts, and nothing answers

        def lose_one(sandbox: _sandbox.Sandbox) -> int:
            nonlocal calls
            calls += 1
            return int(other.getsockname()[1]) if calls == nth else reserve(sandbox)

        monkeypatch.setattr(_sandbox.Sandbox, "reserve_port", lose_one)
        async with open_cluster("mariadb", readers=0) as cluster:
            assert calls == 6
            assert len(left_behind(temporary)) == 3  # the directory, its guardian, the second server
            assert f"process {cluster.writer.pid}" in left_behind(temporary)
    assert left_behind(temporary) == []


@pytest.mark.process
async def test_reserved_ports_are_for_servers_only(temporary: Path) -> None:
    sandbox = _sandbox.Sandbox(None)
    try:
        address = ("127.0.0.1", sandbox.reserve_port())
        with socket.socket() as plain, pytest.raises(OSError, match="in use"):
            plain.bind(address)
        with socket.socket() as server:  # as mariadbd does
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
            server.listen()
    finally:
        await sandbox.close()
    assert left_behind(temporary) == []


# --- Nothing stays behind --------------------------------------------------------------------------------------------
@pytest.mark.mariadb
async def test_nothing_is_left_after_a_cancellation_though_a_server_is_paused(temporary: Path) -> None:
    with trio.CancelScope() as scope:
        async with open_cluster("mariadb", readers=0) as cluster:
            assert cluster.writer.pid is not None
            os.kill(cluster.writer.pid, signal.SIGSTOP)
            scope.cancel()
            await trio.sleep_forever()
    assert left_behind(temporary) == []


@pytest.mark.mariadb
@pytest.mark.parametrize("stage", ["creating", "starting", "starting replication"])
async def test_nothing_is_left_when_the_start_is_cancelled(
    temporary: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HS_DRILL_CACHE", "")  # or nothing would be created
    with trio.CancelScope() as scope:

        def progress(line: str) -> None:
            if line.startswith(stage):
                # A moment later, in the middle of the stage.
                scope.deadline = min(scope.deadline, trio.current_time() + (0.01 if "replication" in stage else 0.3))

        async with open_cluster("mariadb", readers=1, progress=progress):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert left_behind(temporary) == []


HOLDER = """
import sys, trio
from hs_drill.servers import open_cluster

async def main():
    async with open_cluster("mariadb", readers=1, progress=lambda line: print(line, flush=True)):
        await trio.sleep_forever()

trio.run(main)
"""


def start_holder(temporary: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


@asynccontextmanager
async def holder(temporary: Path, until: str) -> AsyncIterator[subprocess.Popen[str]]:
    """A process that holds a cluster, and has printed `until`. It has ended when the block ends."""
    with start_holder(temporary) as process:
        try:
            await trio.to_thread.run_sync(read_until, process, until)
            yield process
            await trio.to_thread.run_sync(partial(process.wait, timeout=patience(20)))
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], start: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return
    raise AssertionError(f"the holder ended without {start!r}")


def guardian_of(process: subprocess.Popen[str]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (guardian,) = (pid for pid in children if b"\0guard\0" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return int(guardian)


@pytest.mark.mariadb
@pytest.mark.parametrize(
    "signals, stage, delay",
    [
        ([signal.SIGINT, signal.SIGINT], "2 servers are up", 0),
        ([signal.SIGTERM], "2 servers are up", 0),
        ([signal.SIGKILL], "2 servers are up", 0),
        ([signal.SIGINT], "starting 2", 0.5),
        ([signal.SIGKILL], "starting 2", 0.5),
        ([signal.SIGKILL], "creating", 0),
    ],
)
async def test_nothing_is_left_when_the_holder_gets_a_signal(
    temporary: Path, signals: list[signal.Signals], stage: str, delay: float
) -> None:
    async with holder(temporary, stage) as process:
        await trio.sleep(delay)
        assert await soon(lambda: len(left_behind(temporary)) >= 2), "the directory and the guardian at least"
        for number in signals:
            process.send_signal(number)
            await trio.sleep(0.03)
    # An interrupted holder cleans up itself; after a killed one the guardian does, a moment later.
    assert await soon(lambda: not left_behind(temporary)), left_behind(temporary)


@pytest.mark.mariadb
async def test_nothing_is_left_when_the_guardian_gets_a_sigterm_too(temporary: Path) -> None:
    async with holder(temporary, "2 servers are up") as process:
        os.kill(guardian_of(process), signal.SIGTERM)
        await trio.sleep(0.1)
        process.send_signal(signal.SIGTERM)
    assert await soon(lambda: not left_behind(temporary)), left_behind(temporary)


@pytest.mark.mariadb
async def test_no_server_outlives_its_holder_even_without_the_guardian(temporary: Path) -> None:
    async with holder(temporary, "2 servers are up") as process:
        os.kill(guardian_of(process), signal.SIGKILL)
        process.kill()
    assert await soon(lambda: not any(name.startswith("process") for name in left_behind(temporary)))


# --- Starts that fail ------------------------------------------------------------------------------------------------
@pytest.fixture
def stub(
    open_directory: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, mariadb_installation: _processes.Installation
) -> Callable[[str], None]:
    """Puts a `mariadbd` first in PATH that answers --help like the real one, and otherwise runs a script."""
    directory = open_directory()

    def write(script: str) -> None:
        path = directory / "mariadbd"
        path.write_text(f'#!/bin/sh\ncase "$*" in *--help*) exec {mariadb_installation.mariadbd} "$@";; esac\n{script}\n')
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")

    return write


@pytest.mark.mariadb
async def test_a_failed_start_quotes_the_server_s_error(temporary: Path, stub: Callable[[str], None]) -> None:
    stub("echo '2026-01-01 [ERROR] the disk is on fire' >&2; echo later; exit 7")
    with pytest.raises(ClusterError, match=r"did not start \(exit code 7\): \[ERROR\] the disk is on fire$"):
        async with open_cluster("mariadb"):
            pass
    assert left_behind(temporary) == []


@pytest.mark.mariadb
async def test_a_start_without_an_answer_is_given_up(
    temporary: Path, stub: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_mariadbd, "START_SECONDS", 2)
    stub("trap '' TERM INT; echo thinking; sleep 60 & wait")
    with pytest.raises(ClusterError, match=r"did not answer within 2 s: thinking"):
        async with open_cluster("mariadb", readers=0):
            pass
    assert left_behind(temporary) == []


async def test_a_missing_mariadb_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_processes, "_USUAL_DIRECTORIES", ())
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ClusterError, match=r"mariadbd not found in PATH.*apt-get install mariadb-server"):
        async with open_cluster("mariadb"):
            pass


@pytest.mark.process
async def test_a_missing_plugin_is_named_with_its_directory(
    open_directory: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = open_directory()
    for name in ("mariadbd", "mariadb-install-db"):
        (directory / name).write_text("#!/bin/sh\necho 'mariadbd  Ver 10.11.0'; echo 'plugin-dir    /nonexistent/plugin/'\n")
        (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    with pytest.raises(ClusterError, match=r"handlersocket\.so not found in /nonexistent/plugin"):
        async with open_cluster("mariadb"):
            pass


@pytest.mark.mariadb
async def test_too_little_disk_space_is_reported(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sandbox, "LEAST_FREE_BYTES", 1 << 60)
    with pytest.raises(ClusterError, match=f"MiB free in {temporary}.*TMPDIR"):
        async with open_cluster("mariadb"):
            pass
    assert left_behind(temporary) == []


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in ("mariadb", "docker")])
async def test_too_little_memory_is_reported(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (_sandbox.available_memory() or 0) > 1 << 20
    monkeypatch.setattr(_sandbox, "available_memory", lambda: 700 << 20)
    with pytest.raises(ClusterError, match="only 700 MiB of memory free, 5 servers need 800: "):
        async with open_cluster(kind, readers=4):
            pass


@pytest.mark.mariadb
@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as another user")
async def test_a_temporary_directory_closed_to_the_servers_is_reported(temporary: Path) -> None:
    os.chmod(temporary, 0o700)
    with pytest.raises(ClusterError, match=f"may not enter {temporary}: set TMPDIR"):
        async with open_cluster("mariadb"):
            pass
    assert left_behind(temporary) == []
