"""The servers of a run are killed, stopped, paused and started by name, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from hs_drill._cluster import ClusterError
from hs_drill.servers._containers import _Container
from hs_drill.servers._control import Control
from hs_drill.servers._embedded import EmbeddedControl
from hs_drill.servers._mariadbd import HANDLERSOCKET_SECONDS
from hs_drill.servers._opening import open_servers
from hs_drill.servers._sql import execute_sql
from tests.loadtest.support.locust_process import ROOT
from tests.loadtest.support.server_kinds import EVERY_KIND, EVERY_REPLICATION
from tests.loadtest.support.servers import deaths, insert, left, read, soon
from tests.support.patience import patience
from trio_hs.testing import Table

pytestmark = pytest.mark.process

TABLE = Table("drill", "t", {"id": "INT NOT NULL", "v": "VARCHAR(20) NOT NULL"}, primary_key=["id"])


@EVERY_KIND
async def test_servers_are_killed_stopped_paused_and_started_by_name(kind: str, temporary: Path) -> None:
    async with open_servers(kind, readers=1) as control:
        await control.create_table(TABLE)
        first = control.cluster.writer
        assert await insert(first, 1) == "0\t1"

        await control.kill("writer")
        assert control.state("writer") == "down"
        for impossible in (control.kill, control.stop, control.pause, control.resume, control.wait_up):
            with pytest.raises(ClusterError, match="writer is down"):
                await impossible("writer")
        second = await control.start("writer")
        assert second == control.cluster.writer
        assert second.pid != first.pid
        assert (second.read_port, second.write_secret) == (first.read_port, first.write_secret)
        assert await read(second, 1) == "0\t2\t1\tv1"  # acknowledged, so it survived
        assert await insert(second, 2) == "0\t1"  # still the primary
        with pytest.raises(ClusterError, match="writer is running, but must be down"):
            await control.start("writer")

        await control.pause("reader-1")
        with pytest.raises(ClusterError, match="reader-1 is paused, but must be running"):
            await control.stop("reader-1")
        with pytest.raises(ClusterError, match="reader-1 is paused"):
            await control.replication_status("reader-1")
        await control.resume("reader-1")
        await control.wait_up("reader-1", 5)
        third = await control.restart("reader-1", new_secrets=True)
        assert third.read_secret != first.read_secret
        await control.wait_up("reader-1")
        assert await insert(third, 3) == "1\t1\tlock_tables"  # still read-only
        await control.start_replication("reader-1")

        with pytest.raises(ClusterError, match=r"no server 'reader-9' in this cluster \(one of writer, reader-1\)"):
            await control.kill("reader-9")


@EVERY_KIND
async def test_an_unexpected_death_is_found_once_and_an_ordered_end_never(kind: str, temporary: Path) -> None:
    async with open_servers(kind, readers=1) as control:

        async def die(name: str) -> None:
            pid = control.server(name).pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await soon(lambda: control.state(name) == "down")

        assert await deaths(control) == []
        await control.kill("writer")
        assert await deaths(control) == []
        await control.start("writer")
        await control.restart("reader-1")
        await control.pause("reader-1")
        await control.kill("reader-1")
        await control.rejoin("reader-1")
        assert await deaths(control) == []

        await die("reader-1")
        await die("writer")
        assert await deaths(control) == [("reader-1", "killed by SIGKILL"), ("writer", "killed by SIGKILL")]
        assert await deaths(control) == []
        await control.start("writer")
        await die("writer")
        await control.start("writer")  # before anything looks for deaths
        assert await deaths(control) == [("writer", "killed by SIGKILL")]
        await control.stop("writer")
        assert await deaths(control) == []


async def killed_while_it_starts(control: Control, name: str) -> bool:
    """Start a server and kill it at once. False if it was up before, so that its start rightly succeeded."""
    errors: list[str] = []

    async def start() -> None:
        try:
            await control.start(name)
        except ClusterError as error:
            errors.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        while control.state(name) == "down":  # noqa: ASYNC110  (the process is asked)
            await trio.sleep(0.001)
        await control.kill(name)
    assert control.state(name) == "down"
    assert all(f"{name} did not start (exit code -9)" in error for error in errors)
    return bool(errors)


@pytest.mark.parametrize("kind", ["embedded", pytest.param("mariadb", marks=pytest.mark.mariadb)])
async def test_none_of_its_threads_runs_when_a_server_has_been_paused(kind: str, temporary: Path) -> None:
    """SIGSTOP takes a moment. On a busy machine, that was enough for a replica to acknowledge one more commit."""

    def states(pid: int) -> set[str]:
        stats = Path(f"/proc/{pid}/task").glob("*/stat")
        return {stat.read_text().rpartition(")")[2].split()[0] for stat in stats}

    async with open_servers(kind, readers=1, replication="none") as control:
        pid = control.server("writer").pid
        assert pid is not None
        for _ in range(20):
            await control.pause("writer")
            assert states(pid) == {"T"}
            await control.resume("writer")


@EVERY_KIND
async def test_a_server_killed_while_it_starts_or_is_paused_stays_under_control(kind: str, temporary: Path) -> None:
    async with open_servers(kind, readers=1) as control:
        await control.stop("reader-1")
        for _ in range(10):
            if await killed_while_it_starts(control, "reader-1"):
                break
        else:
            pytest.fail("it was up before the kill each time")
        await control.start("reader-1")
        await control.pause("reader-1")
        await control.kill("reader-1")  # a paused one, too
        await control.start("reader-1")
        await control.wait_up("reader-1", 5)

        with trio.CancelScope() as scope:  # a cancelled start leaves a process that we know
            await control.kill("reader-1")
            scope.deadline = trio.current_time() + 0.1
            await control.start("reader-1")
        assert scope.cancelled_caught
        assert control.state("reader-1") == "running"
    assert left(kind, temporary) == []


@pytest.mark.docker
async def test_a_container_is_down_until_the_engine_has_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier kill would hit nothing, and wait for an end that never comes."""
    async with open_servers("docker", readers=1) as control:
        await control.stop("reader-1")
        reader = control._instances["reader-1"]
        assert isinstance(reader, _Container)
        containers = reader._plan.engine.containers
        start, states = containers.start, []

        def slowly(container: object) -> None:
            time.sleep(0.1)
            states.append(control.state("reader-1"))
            start(container)

        monkeypatch.setattr(containers, "start", slowly)
        await control.start("reader-1")
        assert states == ["down"]
        assert control.state("reader-1") == "running"


@pytest.mark.mariadb
async def test_a_server_that_dies_before_it_answers_on_all_ports_is_reported_as_dead() -> None:
    """Not as one whose ports are taken, which would take seconds to find out."""
    async with open_servers("mariadb", readers=1) as control:
        await control.stop("reader-1")
        server = control.server("reader-1")
        errors: list[str] = []

        async def start() -> None:
            try:
                await control.start("reader-1")
            except ClusterError as error:
                errors.append(str(error))

        with trio.socket.from_stdlib_socket(socket.create_server((server.host, server.read_port))) as listener:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(start)
                with trio.fail_after(patience(20)):
                    asking, _ = await listener.accept()  # so SQL answers, but HandlerSocket cannot, for lack of its port
                began = trio.current_time()
                await control.kill("reader-1")
                asking.close()
        assert trio.current_time() - began < HANDLERSOCKET_SECONDS / 2
        assert len(errors) == 1
        assert "reader-1 did not start (exit code -9)" in errors[0]


RESTARTED = """
import sys, trio
from hs_drill.servers import open_servers

async def main():
    async with open_servers(sys.argv[1], readers=1) as control:
        await control.kill("writer")
        await control.start("writer")
        await control.pause("reader-1")
        print("ready", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.parametrize(
    "kind, number",
    [
        ("embedded", signal.SIGINT),
        ("embedded", signal.SIGTERM),
        ("embedded", signal.SIGKILL),
        pytest.param("mariadb", signal.SIGKILL, marks=pytest.mark.mariadb),  # other signals: test_processes.py
        pytest.param("docker", signal.SIGTERM, marks=pytest.mark.docker),
        pytest.param("docker", signal.SIGKILL, marks=pytest.mark.docker),
    ],
)
async def test_restarted_and_paused_servers_leave_nothing_behind(kind: str, temporary: Path, number: signal.Signals) -> None:
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    holder = subprocess.Popen(  # noqa: ASYNC220  (it returns at once)
        [sys.executable, "-c", RESTARTED, kind], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with holder:
        try:
            assert holder.stdout is not None
            assert await trio.to_thread.run_sync(holder.stdout.readline) == "ready\n"
            # The directory, its guardian, two servers; the containers' network.
            assert len(left(kind, temporary)) == (5 if kind == "docker" else 4)
            holder.send_signal(number)
            await trio.to_thread.run_sync(holder.wait, patience(20))
        finally:
            holder.kill()
    assert await soon(lambda: not left(kind, temporary)), left(kind, temporary)


@pytest.mark.mariadb
async def test_a_server_that_stops_serving_answers_by_sql_alone_until_it_is_started_again(temporary: Path) -> None:
    async with open_servers("mariadb", readers=0, topology="write-through") as control:
        await control.create_table(TABLE)
        assert await insert(control.server("writer"), 1, "drill_wt") == "0\t1"
        await control.stop_serving("writer")
        with pytest.raises(OSError):
            await insert(control.server("writer"), 2, "drill_wt")
        assert len(await control.read_rows("writer", TABLE)) == 1
        await control.restart("writer")
        assert await insert(control.server("writer"), 3, "drill_wt") == "0\t1"


async def promoted_by_others(control: Control, name: str) -> None:
    if isinstance(control, EmbeddedControl):
        await control._instances[name].ask("promote")
    else:
        await execute_sql(control.server(name), "STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only=0")


async def closed_by_others(control: Control, name: str) -> None:
    if isinstance(control, EmbeddedControl):
        await control._instances[name].ask("read-only on")
    else:
        await execute_sql(control.server(name), "SET GLOBAL read_only=1")


@EVERY_REPLICATION
async def test_a_promotion_that_is_not_the_runs_own_is_noticed(kind: str) -> None:
    async with open_servers(kind, readers=1, standby=True) as control:
        assert await control.why_primary_unknown() == ""
        await promoted_by_others(control, "standby")
        unknown = "standby takes writes, although this run did not promote it"
        assert await control.why_primary_unknown() == unknown
        await control.kill("standby")
        assert await control.why_primary_unknown() == "", "it cannot be asked"
        await control.start("standby")
        assert await control.why_primary_unknown() == "", "it is read-only again"
        await closed_by_others(control, "writer")
        assert (await control.why_primary_unknown()).startswith("writer takes no writes any more")


@EVERY_REPLICATION
async def test_what_the_run_itself_does_to_its_servers_is_no_promotion_by_others(kind: str) -> None:
    async with open_servers(kind, readers=1, standby=True, topology="write-through", replication="semisync") as control:
        await control.pause("writer")
        await control.promote("standby")
        await control.resume("writer")
        assert await control.why_primary_unknown() == "", "an old primary that was not fenced is no news"
        await control.restart("writer")
        assert await control.why_primary_unknown() == ""
        await promoted_by_others(control, "writer")
        assert (await control.why_primary_unknown()).startswith("writer takes writes, although this run did not promote it")
        await control.rejoin("writer")
        assert await control.why_primary_unknown() == ""
        await control.close_for_writes()
        assert await control.why_primary_unknown() == ""
        await control.open_for_writes()
        await control.restart("standby")
        assert await control.why_primary_unknown() == ""


@pytest.mark.mariadb
async def test_a_server_that_refuses_to_say_whether_it_takes_writes_may_do_so(temporary: Path) -> None:
    async with open_servers("mariadb", readers=1) as control:
        reader = control.server("reader-1")
        await execute_sql(reader, "SET sql_log_bin=0", f"ALTER USER '{reader.admin_user}'@'127.0.0.1' ACCOUNT LOCK")
        unknown = await control.why_primary_unknown()
        assert unknown.startswith("cannot check whether reader-1 takes writes: reader-1: SQL error 4151")
