"""The kinds of servers that tests of `Control` run against."""

from __future__ import annotations

import pytest

EVERY_KIND = pytest.mark.parametrize(
    "kind",
    [
        pytest.param("embedded", marks=pytest.mark.process),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
        pytest.param("docker", marks=pytest.mark.docker),
    ],
)
