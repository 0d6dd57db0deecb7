"""Fixtures for pytest-trio. To use them, write ``pytest_plugins = ["trio_hs.testing.pytest_plugin"]`` in a conftest.

No entry point registers them: pytest would then import all of this in every project of an environment with trio_hs, even where
no test needs trio or this package.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import pytest

from ..manager import Manager, open_manager
from . import EmbeddedServer, Table, open_server
from ._versions import DEFAULT_VERSION

try:
    from pytest_trio import trio_fixture
except ImportError as error:  # pragma: no cover  (the tests have it)
    raise ImportError("the fixtures of trio_hs.testing need pytest-trio: pip install pytest-trio") from error

_Fixture = TypeVar("_Fixture", bound=Callable[..., Any])
#: pytest's own decorator is enough only where pytest-trio's trio_mode is on.
_fixture: Callable[[_Fixture], _Fixture] = trio_fixture


@pytest.fixture
def handlersocket_tables() -> Sequence[Table]:
    """The tables of ``handlersocket_server``: define a fixture of this name that returns yours."""
    return ()


@pytest.fixture
def handlersocket_version() -> str:
    """The version of MariaDB that ``handlersocket_server`` answers as: define a fixture of this name that returns another."""
    return DEFAULT_VERSION


@_fixture
async def handlersocket_server(
    handlersocket_tables: Sequence[Table], handlersocket_version: str
) -> AsyncIterator[EmbeddedServer]:
    """A server for one test, with empty tables and without sockets. Clients reach it with ``connect=server.connect``."""
    async with open_server(handlersocket_tables, version=handlersocket_version) as server:
        yield server


@_fixture
async def handlersocket_manager(handlersocket_server: EmbeddedServer) -> AsyncIterator[Manager]:
    """A manager that reads from and writes to ``handlersocket_server``."""
    server = handlersocket_server
    async with open_manager([server.read_address], [server.write_address], connect=server.connect) as manager:
        yield manager
