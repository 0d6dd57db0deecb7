from __future__ import annotations

import os

import pytest
import trio

from loadtest._cluster import ClusterError
from loadtest._mariadb import Installation, find_installation


@pytest.fixture(scope="session")
def mariadb_installation() -> Installation:
    """The machine's MariaDB. Without one the test is skipped, but where CI=true, which must have one, it fails."""
    try:
        return trio.run(find_installation)
    except ClusterError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have a MariaDB with HandlerSocket: {error}", pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _need_mariadb(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("mariadb"):
        request.getfixturevalue("mariadb_installation")
