from __future__ import annotations

import multiprocessing.process
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from typing import NoReturn

import hypothesis
import pytest
import trio

from hs_drill._cluster import Cluster, ClusterError
from hs_drill.sandbox import has_image, open_container_engine
from hs_drill.servers._processes import Installation, find_installation
from tests.support.amount import amount
from tests.support.server_version import containers_instead
from tests.trio_hs.support.shared_servers import shared_servers

# How long an example takes says more about what else the machine does than about the example.
hypothesis.settings.register_profile("tests", deadline=None, max_examples=amount(40, 100))
hypothesis.settings.load_profile("tests")


# A shell that is not interactive starts a job in the background with SIGINT ignored, and so would every process that a test
# starts to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--server-version", metavar="VERSION", help="give containers of this version to the tests that need MariaDB"
    )


@pytest.fixture
def hangup() -> Iterator[None]:
    """SIGHUP ends the processes that the test starts, although `nohup` has the tests themselves ignore it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session")
def mariadb_installation() -> Installation:
    """The machine's MariaDB. Without one the test is skipped, but where CI=true, which must have one, it fails."""
    try:
        return trio.run(find_installation)
    except ClusterError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have a MariaDB with HandlerSocket: {error}", pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def docker_images() -> None:
    """The images of the servers. Without them the test is skipped, but where CI=true, which must have them, it fails."""

    async def missing() -> list[str]:
        async with open_container_engine() as engine:
            return [version for version in ("10.11", "11.8") if not await has_image(engine, version)]

    try:
        why = "; ".join(f"there is no image: hs-drill cluster image --server-version {one}" for one in trio.run(missing))
    except ClusterError as error:
        why = str(error)
    if why and os.environ.get("CI") == "true":
        pytest.fail(f"CI must have a container engine and the images: {why}", pytrace=False)
    elif why:
        pytest.skip(why)


@pytest.fixture(scope="session")
def mariadb(request: pytest.FixtureRequest) -> Iterator[None]:
    """Servers of the kind `mariadb`: the installed ones, or with `--server-version` containers in their place."""
    version = request.config.getoption("server_version")
    if version is None:
        request.getfixturevalue("mariadb_installation")
        yield
        return
    request.getfixturevalue("docker_images")
    with containers_instead(version):
        yield


@pytest.fixture(autouse=True)
def _need_servers(request: pytest.FixtureRequest) -> None:
    for marker, fixture in {"mariadb": "mariadb", "docker": "docker_images"}.items():
        if request.node.get_closest_marker(marker):
            request.getfixturevalue(fixture)


STARTS_PROCESSES = ("process", "mariadb", "docker")
"""Markers of tests that may start processes."""


@pytest.fixture(autouse=True)
def _no_process_unless_marked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep `./dev test --fast` fast: a test without one of these markers fails when it starts a process."""
    if any(request.node.get_closest_marker(name) for name in STARTS_PROCESSES):
        yield
        return

    def refuse(*arguments: object, **_: object) -> NoReturn:
        pytest.fail(f"{request.node.nodeid} starts a process: mark it with @pytest.mark.process", pytrace=False)

    # Not the test's own `monkeypatch`, which it may undo.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", refuse)
        patch.setattr(subprocess.Popen, "__del__", lambda _: None)  # it looks at what `__init__` has set
        patch.setattr(multiprocessing.process.BaseProcess, "start", refuse)
        for name in ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system"):
            patch.setattr(os, name, refuse)
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_data_directory() -> Iterator[None]:
    """Create the data directory that MariaDB servers copy once, not once for each run, and keep none from earlier tests."""
    kept = tempfile.mkdtemp(prefix="trio-hs-test-templates-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HS_DRILL_CACHE", kept)
        yield
    shutil.rmtree(kept)


@pytest.fixture(scope="session")
def cluster(mariadb: None) -> Iterator[Cluster]:
    """A writer and a reader of real MariaDB, for all tests that leave them as they were. Tests that kill have their own."""
    with shared_servers(readers=1) as servers:
        yield servers.cluster
