"""Embedded servers as processes: when they are chosen, what they keep secret, and that they leave nothing behind."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from hs_drill._cluster import Cluster, ClusterError
from hs_drill.controller._table import load_table
from hs_drill.servers import _processes
from hs_drill.servers._opening import open_cluster, open_servers
from hs_drill.servers._replication_check import check_replication
from tests.loadtest.support.external import SCENARIO
from tests.loadtest.support.failover import write_through_drill
from tests.loadtest.support.servers import handlersocket, insert, left_behind, read
from trio_hs.testing import Table

pytestmark = pytest.mark.process

TABLE = Table("drill", "t", {"id": "INT NOT NULL", "v": "VARCHAR(20) NOT NULL"}, primary_key=["id"])


async def test_auto_takes_embedded_servers_without_containers_and_mariadb_and_says_why(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_processes, "_USUAL_DIRECTORIES", ())
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    async with open_cluster("auto", readers=0) as cluster:
        assert cluster.kind == "embedded"
        assert cluster.why.startswith("no other kind works here: no container engine answers at /nonexistent")
        assert "; mariadbd not found in PATH" in cluster.why
        assert "\n" not in cluster.why
    assert left_behind(temporary) == []


def assert_secrets_are_private(cluster: Cluster, temporary: Path) -> None:
    for path in temporary.rglob("*"):
        assert path.stat().st_mode & 0o77 == 0, path
    for server in cluster.servers:
        log = next(temporary.glob(f"*/{server.name}/server.log"))
        for path in (log, Path(f"/proc/{server.pid}/cmdline"), Path(f"/proc/{server.pid}/environ")):
            assert server.read_secret.encode() not in path.read_bytes()
            assert server.write_secret.encode() not in path.read_bytes()


async def test_their_secrets_are_in_private_files_only(temporary: Path) -> None:
    async with open_cluster("embedded", readers=1) as cluster:
        assert_secrets_are_private(cluster, temporary)
        for server in cluster.servers:
            assert server.read_secret != server.write_secret
            for port, secret in ((server.read_port, server.read_secret), (server.write_port, server.write_secret)):
                assert await handlersocket(port, secret) == []
                async with await trio.open_tcp_stream(server.host, port) as stream:
                    await stream.send_all(b"A\t1\twrong\n")
                    assert await stream.receive_some() == b"3\t1\tunauth\n"


async def test_nothing_is_left_after_an_exception_or_a_cancellation(temporary: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_cluster("embedded", readers=1):
            raise ZeroDivisionError
    assert left_behind(temporary) == []
    with trio.move_on_after(0.1) as scope:  # while they start
        async with open_cluster("embedded", readers=1):
            pass
    assert scope.cancelled_caught
    assert left_behind(temporary) == []


def spoil_journal(temporary: Path) -> None:
    (journal,) = temporary.glob("*/writer/journal")
    journal.write_text("no journal\n")


async def test_a_server_that_cannot_start_says_why_and_nothing_is_left(temporary: Path) -> None:
    async with open_servers("embedded", readers=0) as control:
        await control.stop("writer")
        spoil_journal(temporary)
        with pytest.raises(ClusterError, match=r"writer did not start \(exit code 2\): .* is not a journal of these tables"):
            await control.start("writer")
        assert control.state("writer") == "down"
    assert left_behind(temporary) == []


async def test_tables_rows_and_plain_writes_survive_a_kill(temporary: Path) -> None:
    async with open_servers("embedded", readers=1) as control:
        await control.create_table(TABLE)
        await control.fill(TABLE, [(1, "1"), (2, "é")])
        await control.wait_replicated()
        assert await insert(control.cluster.writer, 3) == "0\t1"
        for name, rows in (("writer", [(1, "1"), (2, "é"), (3, "v3")]), ("reader-1", [(1, "1"), (2, "é")])):
            await control.kill(name)
            await control.start(name)
            assert await control.read_rows(name, TABLE) == rows
        assert await control.read_rows("writer", TABLE, after=(1,), limit=1) == [(2, "é")]
        assert await read(control.cluster.writer, 3) == "0\t2\t3\tv3"
        with pytest.raises(ClusterError, match=r"there are two tables drill\.t"):
            await control.create_table(TABLE)
        with pytest.raises(ClusterError, match=r"\[4, None\] cannot be stored: v is NOT NULL"):
            await control.fill(TABLE, [(4, None)])


async def test_failovers_with_semisync_lose_nothing_that_was_acknowledged(temporary: Path) -> None:
    rng = random.Random(1)
    for _ in range(3):
        result = await write_through_drill("embedded", "semisync", rng.uniform(0, 0.2), cut=False)
        assert result.acknowledged <= result.survived
        assert len(result.before) >= 200


async def test_a_slow_write_does_not_make_the_check_miss_its_row(temporary: Path) -> None:
    """The check once counted its time from before the write, so on a busy machine it said "they are not one server" unseen."""
    async with open_servers("embedded", readers=1) as control:
        table = load_table(SCENARIO)
        await control.create_table(table)
        long_ago = -1e6  # the time is over before the first look
        check = await check_replication(control.cluster, table, control.cluster.writer, long_ago)
        assert check.primary == "writer"
