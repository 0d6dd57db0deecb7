"""The kinds of servers that tests of `Control` run against."""

from __future__ import annotations

import pytest

from tests.support.amount import EVERYTHING

_EMBEDDED = pytest.param("embedded", marks=pytest.mark.process)
_MARIADB = pytest.param("mariadb", marks=pytest.mark.mariadb)
_DOCKER = pytest.param("docker", marks=pytest.mark.docker)

EVERY_KIND = pytest.mark.parametrize("kind", [_EMBEDDED, _MARIADB, _DOCKER])

EVERY_REPLICATION = pytest.mark.parametrize("kind", [_EMBEDDED, _MARIADB, *([_DOCKER] if EVERYTHING else [])])
"""For what is asked for by SQL, or is told of any servers: the same code for MariaDB in containers, which take it only before a
release (`--all`). Whole drills in containers: test_drilled_run.py and test_ended_runs.py."""
