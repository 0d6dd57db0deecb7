"""The container engine of this machine, and the image that the servers run from.

testcontainers finds the engine and creates the containers, so its users' settings (`DOCKER_HOST`,
`~/.testcontainers.properties`) apply here. Its own container class is not used. It starts a container only once, its
waits cannot be cancelled, it has no fixed addresses, and it leaves the removal to another container, whose image must be
pulled.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import docker.errors
import requests.exceptions
import trio
from testcontainers.core.docker_client import DockerClient, get_docker_host

from hs_drill._cluster import ClusterError

from ._sandbox import LEAST_FREE_BYTES

T = TypeVar("T")

IMAGE_FILES = Path(__file__).parent / "image"
CALL_SECONDS = 60
"""How long the engine may take to answer a call."""
BUILD_SECONDS = 900.0
PROGRESS_SECONDS = 10.0
"""How often to report progress while an image is pulled or built."""

_ERRORS = (docker.errors.DockerException, requests.exceptions.RequestException, OSError)


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
        except _ERRORS as error:
            raise ClusterError(f"{what}: {error_text(error)}") from error

    def has(self, image: str) -> bool:
        """Whether the engine has the image. Blocking."""
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
    except _ERRORS as error:
        raise ClusterError(
            f"no container engine answers at {path}: {error_text(error)} (Docker must run, and you must be allowed to use it: "
            "on Debian, as root, apt-get install docker.io, and adduser YOU docker)"
        ) from error


# --- The image -------------------------------------------------------------------------------------------------------


def image_name() -> str:
    """The image's name. It contains a hash of the Dockerfile, so that a changed one is built anew."""
    return f"trio-hs/mariadb:{hashlib.sha256((IMAGE_FILES / 'Dockerfile').read_bytes()).hexdigest()[:12]}"


def base_image() -> str:
    match = re.search(r"^FROM (\S+)$", (IMAGE_FILES / "Dockerfile").read_text(), re.MULTILINE)
    assert match is not None
    return match[1]


async def has_image(engine: ContainerEngine) -> bool:
    return await engine.call("looking for the image", lambda: engine.has(image_name()))


async def provide_image(engine: ContainerEngine, progress: Callable[[str], None]) -> str:
    """Build the image if the engine does not have it, and return its name.

    A build takes about half a minute, and needs the network. Raises `ClusterError`.
    """
    name, base = image_name(), base_image()
    if await has_image(engine):
        return name
    with trio.move_on_after(BUILD_SECONDS):
        if not await engine.call("looking for the image", lambda: engine.has(base)):
            progress(f"pulling {base}")
            try:
                await _follow(lambda: engine.api.api.pull(*base.split(":"), stream=True, decode=True), progress)
            except ClusterError as error:
                raise ClusterError(
                    f"the image {base} is not here and cannot be pulled: {error} (without a registry, create it: "
                    f"mmdebstrap --variant=minbase {base.partition(':')[2].partition('-')[0]} - | docker import - {base})"
                ) from error
        progress(f"building the image {name}; this is done once, and takes about half a minute")
        try:
            await _follow(
                lambda: engine.api.api.build(
                    path=str(IMAGE_FILES), tag=name, rm=True, forcerm=True, decode=True, use_config_proxy=True
                ),
                progress,
            )
        except ClusterError as error:
            raise ClusterError(f"the image could not be built: {error}") from error
        return name
    raise ClusterError(f"the image {name} was not there after {BUILD_SECONDS:.0f} s")


async def _follow(start: Callable[[], Any], progress: Callable[[str], None]) -> None:
    """Run a build or pull, which reports its steps line by line, and pass some of the lines on. Raises `ClusterError`.

    When cancelled, return at once. The thread closes the stream at its next line, and the engine then stops the job.
    """
    cancelled = False

    def run() -> None:
        report_at = 0.0
        lines = start()
        try:
            for line in lines:
                if cancelled:
                    return
                if "error" in line:
                    raise ClusterError(" ".join(str(line["error"]).split()))
                text = " ".join(str(line.get("stream") or line.get("status") or "").split())
                now = trio.from_thread.run_sync(trio.current_time)
                if text and (text.startswith("Step ") or now >= report_at):
                    report_at = now + PROGRESS_SECONDS
                    trio.from_thread.run_sync(progress, text[:100])
        finally:
            lines.close()

    try:
        await trio.to_thread.run_sync(run, abandon_on_cancel=True)
    except _ERRORS as error:
        raise ClusterError(error_text(error)) from error
    finally:
        cancelled = True
