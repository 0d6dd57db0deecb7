"""The container engine of this machine.

testcontainers finds the engine and creates the containers, so its users' settings (`DOCKER_HOST`,
`~/.testcontainers.properties`) apply here. Its own container class is not used. It starts a container only once, its
waits cannot be cancelled, it has no fixed addresses, and it leaves the removal to another container, whose image must be
pulled.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import trio

from hs_drill._cluster import ClusterError

from ._sandbox import LEAST_FREE_BYTES

T = TypeVar("T")

CALL_SECONDS = 60
"""How long the engine may take to answer a call."""


def engine_errors() -> tuple[type[Exception], ...]:
    """What calls of the engine raise."""
    # Docker's libraries are imported only where they are used: they take 0.1 s of every start.
    import docker.errors
    import requests.exceptions

    return (docker.errors.DockerException, requests.exceptions.RequestException, OSError)


def error_text(error: Exception) -> str:
    """One line; for an error that the engine reported, its explanation alone."""
    text = getattr(error, "explanation", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())


class ContainerEngine:
    """A connection to the engine: see `open_container_engine`.

    The calls of `containers` and `api` block the thread, each for at most `CALL_SECONDS`: make them with `call`.
    """

    def __init__(self, client: Any, path: str, version: str) -> None:
        self.containers = client
        """The client of testcontainers."""
        self.api = client.client
        """The client of Docker's own library."""
        self.path = path
        """The path of the engine's socket."""
        self.version = version

    async def call(self, what: str, function: Callable[[], T]) -> T:
        """Run the function in a thread, and return its result.

        Cancellation waits until the function has ended, for we must know what it created. Raises `ClusterError`: one line that
        begins with `what`.
        """
        try:
            return await trio.to_thread.run_sync(function)
        except engine_errors() as error:
            raise ClusterError(f"{what}: {error_text(error)}") from error

    def has(self, image: str) -> bool:
        """Whether the engine has the image. Blocking."""
        import docker.errors

        try:
            self.api.images.get(image)
        except docker.errors.ImageNotFound:
            return False
        return True

    def check_space(self) -> None:
        """Raise `ClusterError` if the engine's disk is nearly full, as far as it is a disk of this machine. Blocking."""
        root = Path(self.api.info().get("DockerRootDir", ""))
        if root.is_dir() and (free := shutil.disk_usage(root).free) < LEAST_FREE_BYTES:
            raise ClusterError(
                f"only {free >> 20} MiB free in {root}, where the engine keeps containers; "
                f"the servers need {LEAST_FREE_BYTES >> 20}: make room there"
            )


@asynccontextmanager
async def open_container_engine() -> AsyncIterator[ContainerEngine]:
    """Connect to the engine of this machine. Raises `ClusterError` if none answers."""
    engine = await trio.to_thread.run_sync(_connect)
    try:
        yield engine
    finally:
        engine.api.close()


def _connect() -> ContainerEngine:
    from testcontainers.core.docker_client import DockerClient, get_docker_host

    url = get_docker_host() or "unix:///var/run/docker.sock"
    if not url.startswith("unix://"):
        raise ClusterError(
            f"the container engine at {url} is reached over the network, and the servers' ports would be on its machine, not "
            "here: unset DOCKER_HOST"
        )
    path = url.removeprefix("unix://")
    try:
        with socket.socket(socket.AF_UNIX) as probe:  # the client's own error says less, and leaks a socket
            probe.settimeout(CALL_SECONDS)
            probe.connect(path)
        client: Any = DockerClient(timeout=CALL_SECONDS)
        return ContainerEngine(client, path, client.client.version()["Version"])
    except engine_errors() as error:
        raise ClusterError(
            f"no container engine answers at {path}: {error_text(error)} (Docker must run, and you must be allowed to use it: "
            "on Debian, as root, apt-get install docker.io, and adduser YOU docker)"
        ) from error
