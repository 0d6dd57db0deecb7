"""Servers in containers: what only this kind has. `test_control.py` and others test every kind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from hs_drill._cluster import ClusterError
from hs_drill.sandbox import _container_engine, _image, _sandbox, has_image, open_container_engine, provide_image
from hs_drill.servers import _mariadbd, _processes
from hs_drill.servers._opening import open_cluster, open_servers
from tests.loadtest.support.containers import containers_below, engine, left_in_engine
from tests.loadtest.support.locust_process import ROOT
from tests.loadtest.support.servers import left_behind, soon


def all_left(temporary: Path) -> list[str]:
    return left_behind(temporary) + left_in_engine(temporary)


# --- Containers that work --------------------------------------------------------------------------------------------


@pytest.mark.docker
async def test_containers_keep_their_secrets_have_no_volume_and_leave_nothing(temporary: Path) -> None:
    async with open_cluster("docker", readers=1) as cluster:
        assert "MariaDB" in cluster.version
        assert {server.host for server in cluster.servers} == {"127.0.0.1"}
        with engine() as client:
            containers = containers_below(client, temporary)
            assert len(containers) == 2
            for container in containers:
                assert container.attrs["Mounts"] == []
                ports = {binding["HostIp"] for (binding,) in container.attrs["HostConfig"]["PortBindings"].values()}
                assert ports == {"127.0.0.1"}
                modes = container.exec_run("stat -c %a:%U server.cnf init.sql", workdir="/var/lib/mysql").output
                assert modes == b"600:mysql\n600:mysql\n"
                shown = json.dumps(container.attrs) + container.logs().decode()
                for server in cluster.servers:
                    for secret in (server.read_secret, server.write_secret, server.admin_password):
                        assert secret not in shown
        assert len(all_left(temporary)) == 5  # the directory, its guardian, two containers, a network
    assert all_left(temporary) == []


@pytest.mark.docker
async def test_a_container_that_crashes_is_down_at_once_and_starts_on_its_ports(temporary: Path) -> None:
    async with open_servers("docker", readers=0) as control:
        with engine() as client:
            (container,) = containers_below(client, temporary)
            container.kill("SIGSEGV")
        assert await soon(lambda: control.state("writer") == "down")
        before = control.cluster.writer
        after = await control.start("writer")
        assert (after.read_port, after.write_port, after.sql_port) == (before.read_port, before.write_port, before.sql_port)


@pytest.mark.docker
async def test_a_port_lost_to_another_program_is_replaced(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve, calls = _sandbox.Sandbox.reserve_port, 0
    with socket.create_server(("127.0.0.1", 0)) as other:

        def lose_one(sandbox: _sandbox.Sandbox) -> int:
            nonlocal calls
            calls += 1
            return int(other.getsockname()[1]) if calls == 2 else reserve(sandbox)

        monkeypatch.setattr(_sandbox.Sandbox, "reserve_port", lose_one)
        async with open_cluster("docker", readers=0):
            assert calls == 6
            assert len(left_in_engine(temporary)) == 2


# --- Nothing stays behind --------------------------------------------------------------------------------------------


@pytest.mark.docker
async def test_nothing_is_left_after_an_exception_which_is_raised_as_it_is(temporary: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_cluster("docker", readers=0):
            raise ZeroDivisionError
    assert all_left(temporary) == []


@pytest.mark.docker
async def test_nothing_is_left_when_a_server_does_not_start(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = _mariadbd.configuration
    monkeypatch.setattr(_mariadbd, "configuration", lambda *args, **kwargs: original(*args, **kwargs) + "no-such-option\n")
    with pytest.raises(ClusterError, match=r"did not start .*unknown option '--no-such-option'"):
        async with open_cluster("docker", readers=0):
            pass
    assert all_left(temporary) == []


@pytest.mark.docker
@pytest.mark.parametrize("stage, delay", [("starting 2", 0.2), ("starting 2", 0.6), ("starting replication", 0.01)])
async def test_nothing_is_left_when_the_start_is_cancelled(temporary: Path, stage: str, delay: float) -> None:
    with trio.CancelScope() as scope:

        def progress(line: str) -> None:
            if line.startswith(stage):
                scope.deadline = min(scope.deadline, trio.current_time() + delay)

        async with open_cluster("docker", readers=1, progress=progress):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert all_left(temporary) == []


HOLDER = """
import trio
from hs_drill.servers import open_cluster

async def main():
    async with open_cluster("docker", readers=1, progress=lambda line: print(line, flush=True)):
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.docker
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("delay", [0.1, 0.5])
async def test_nothing_is_left_when_the_holder_gets_a_signal_while_it_starts(
    temporary: Path, number: signal.Signals, delay: float
) -> None:
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    holder = subprocess.Popen(  # noqa: ASYNC220  (it returns at once)
        [sys.executable, "-c", HOLDER], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with holder:
        try:
            assert holder.stdout is not None
            first = await trio.to_thread.run_sync(holder.stdout.readline)
            if first.startswith("removed leftovers of killed runs"):  # of another test, which may still run
                first = await trio.to_thread.run_sync(holder.stdout.readline)
            assert first == "starting 2 MariaDB servers\n"
            await trio.sleep(delay)
            holder.send_signal(number)
            await trio.to_thread.run_sync(holder.wait, 20)
        finally:
            holder.kill()
    assert await soon(lambda: not all_left(temporary)), all_left(temporary)


# --- What is unavailable, and what is used instead --------------------------------------------------------------------


@pytest.fixture
def build_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replaces our Dockerfile by another one."""

    def write(text: str) -> None:
        (tmp_path / "Dockerfile").write_text(text)
        monkeypatch.setattr(_image, "IMAGE_FILES", tmp_path)

    return write


async def test_a_missing_engine_is_reported_with_its_remedy(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(ClusterError, match=r"^no container engine answers at /nonexistent/docker\.sock: No such file") as error:
        async with open_cluster("docker"):
            pass
    assert "apt-get install docker.io" in str(error.value)
    assert "\n" not in str(error.value)
    assert left_behind(temporary) == []


async def test_an_engine_of_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")  # reserved for documentation; nothing is sent there
    with pytest.raises(ClusterError, match=r"tcp://192\.0\.2\.1:2375 is reached over the network.* unset DOCKER_HOST"):
        async with open_cluster("docker"):
            pass


@pytest.mark.docker
async def test_a_base_image_that_cannot_be_pulled_is_reported_in_one_line(
    build_from: Callable[[str], None], temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_from("FROM trio-hs-test/missing:${SUITE}-none\n")
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(
        ClusterError,
        match=r"^the image trio-hs-test/missing:bookworm-none is not here and cannot be pulled: .*mmdebstrap .* bookworm -",
    ) as error:
        async with open_cluster("docker"):
            pass
    assert "\n" not in str(error.value)
    assert all_left(temporary) == []


@pytest.mark.docker
async def test_a_base_image_that_cannot_be_pulled_is_built_from_packages(
    build_from: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = f"trio-hs-test/base:trixie-{os.getpid()}"
    build_from(f"ARG SUITE=bookworm\nFROM {base.replace('trixie', '${SUITE}')}\nLABEL test={os.getpid()}\n")
    mmdebstrap = tmp_path / "mmdebstrap"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def stub(script: str) -> None:
        mmdebstrap.write_text(f"#!/bin/sh\n{script}\n")
        mmdebstrap.chmod(0o755)

    stub("echo retrieving >&2; echo no such suite >&2; exit 25")
    async with open_container_engine() as docker_engine:
        with pytest.raises(ClusterError, match=r"cannot be pulled: .*; mmdebstrap cannot build it: no such suite$"):
            await provide_image(docker_engine, "11.8", print)
        stub('[ "$1 $2 $3" = "--quiet --variant=minbase trixie" ] && tar --create --file="$4" --files-from=/dev/null')
        seen: list[str] = []
        name = await provide_image(docker_engine, "11.8", seen.append)
        try:
            assert await has_image(docker_engine, "11.8")
            assert f"{base} cannot be pulled; building it with mmdebstrap, which takes a minute or two" in seen
        finally:
            with engine() as client:
                client.images.remove(name)
                client.images.remove(base)


@pytest.mark.docker
async def test_a_failed_build_of_the_image_is_reported_with_its_steps(build_from: Callable[[str], None]) -> None:
    build_from("FROM debian:bookworm-slim\nRUN echo here; exit 7\n")
    seen: list[str] = []
    with pytest.raises(ClusterError, match=r"^the image could not be built: The command .* returned a non-zero code: 7$"):
        async with open_cluster("docker", progress=seen.append):
            pass
    assert "Step 2/2 : RUN echo here; exit 7" in seen
    assert "once, and takes about half a minute" in seen[0]
    with engine() as client:  # the failed container is gone, too
        assert not client.containers.list(all=True, filters={"exited": 7})


@pytest.mark.docker
@pytest.mark.mariadb
async def test_auto_takes_containers_if_their_image_exists_and_processes_if_not(
    monkeypatch: pytest.MonkeyPatch, build_from: Callable[[str], None]
) -> None:
    build_from("FROM debian:bookworm-slim\nRUN false\n")
    async with open_cluster("auto", readers=0) as cluster:
        assert cluster.kind == "mariadb"
        assert "Docker runs, but has no image for it yet: ask for docker to build one" in cluster.why
    # Without mariadbd either, auto builds the image; this one fails.
    with monkeypatch.context() as hidden:
        hidden.setattr(_processes, "_USUAL_DIRECTORIES", ())
        hidden.setenv("PATH", "/nonexistent")
        async with open_cluster("auto", readers=0) as cluster:
            assert cluster.kind == "embedded"
            assert "mariadbd not found" in cluster.why
            assert "could not be built" in cluster.why
    monkeypatch.undo()
    async with open_cluster("auto", readers=0) as cluster:
        assert cluster.kind == "docker"
        assert cluster.why.startswith("the first kind that works here: Docker ")


@pytest.mark.docker
async def test_too_little_disk_space_is_reported(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_container_engine, "LEAST_FREE_BYTES", 1 << 60)
    with pytest.raises(ClusterError, match=r"MiB free in .*, where the engine keeps containers"):
        async with open_cluster("docker"):
            pass
