"""The fixtures of the two plugins for pytest, which differ in what runs them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from ..manager import Manager, open_manager
from ._declaration import Table
from ._server import EmbeddedServer, open_server
from ._versions import DEFAULT_VERSION


@pytest.fixture
def handlersocket_tables() -> Sequence[Table]:
    """The tables of ``handlersocket_server``: define a fixture of this name that returns yours."""
    return ()


@pytest.fixture
def handlersocket_version() -> str:
    """The version of MariaDB that ``handlersocket_server`` answers as: define a fixture of this name that returns another."""
    return DEFAULT_VERSION


async def handlersocket_server(
    handlersocket_tables: Sequence[Table], handlersocket_version: str
) -> AsyncIterator[EmbeddedServer]:
    """A server for one test, with empty tables and without sockets. Clients reach it with ``connect=server.connect``."""
    async with open_server(handlersocket_tables, version=handlersocket_version) as server:
        yield server


async def handlersocket_manager(handlersocket_server: EmbeddedServer) -> AsyncIterator[Manager]:
    """A manager that reads from and writes to ``handlersocket_server``."""
    server = handlersocket_server
    async with open_manager([server.read_address], [server.write_address], connect=server.connect) as manager:
        yield manager
