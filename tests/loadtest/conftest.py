from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from hs_drill._cluster import Cluster
from hs_drill.sandbox import _sandbox
from hs_drill.servers._replication import wait_replicated
from hs_drill.servers._sql import execute_sql
from tests.loadtest.support.browser import Browser
from tests.loadtest.support.external import TABLE, databases
from tests.support.patience import MOST, patience

# Importing locust patches the standard library of the whole process, which ends trio in it. Here only its classes are
# wanted; Locust itself runs in processes of its own, whose environment drops this again.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    """Without one the test is skipped, but where CI=true, which must have one, it fails."""
    found = Browser.find(tmp_path)
    if found is None:
        why = "no Chromium to look at pages with (Debian: apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have it: {why}", pytrace=False)
        pytest.skip(why)
    return found


BASE = tempfile.gettempdir()  # before a test says otherwise


@pytest.fixture
def open_directory() -> Iterator[Callable[[], Path]]:
    """Makes directories that the servers' user may enter, which pytest's own are not."""
    made: list[Path] = []

    def make() -> Path:
        made.append(Path(tempfile.mkdtemp(prefix=f"trio-hs-test-{os.getpid()}-", dir=BASE)))
        made[-1].chmod(0o755)
        return made[-1]

    yield make
    for directory in made:
        shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def _patient_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine it takes long to remove a run's processes and files, and a run that gives up leaves them."""
    monkeypatch.setattr(_sandbox, "STOP_SECONDS", _sandbox.STOP_SECONDS * MOST)


@pytest.fixture(autouse=True)
def _no_table_of_an_earlier_test(request: pytest.FixtureRequest) -> None:
    """A run leaves its table on servers that are too busy to say in time whether one was promoted. Tests share servers."""
    cluster: object = request.getfixturevalue("cluster") if "cluster" in request.fixturenames else None
    if not isinstance(cluster, Cluster):  # a parameter of that name
        return

    async def drop() -> None:
        if any([TABLE.database in await databases(server) for server in cluster.servers]):
            await execute_sql(cluster.writer, f"DROP DATABASE IF EXISTS {TABLE.database}")
            await wait_replicated(cluster, patience(10))  # rows that are still on their way need their table
            for server in cluster.readers:
                await execute_sql(server, "SET sql_log_bin=0", f"DROP DATABASE IF EXISTS {TABLE.database}")

    trio.run(drop)


@pytest.fixture
def temporary(open_directory: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the runs of this test put their directories; nothing else is in it."""
    directory = open_directory()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory
