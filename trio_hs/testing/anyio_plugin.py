"""The same fixtures for anyio's pytest plugin: ``pytest_plugins = ["trio_hs.testing.anyio_plugin"]``.

For tests with ``@pytest.mark.anyio`` on the backend ``trio``.
"""

from __future__ import annotations

import pytest

from . import _fixtures
from ._fixtures import handlersocket_tables, handlersocket_version

__all__ = ["handlersocket_manager", "handlersocket_server", "handlersocket_tables", "handlersocket_version"]

handlersocket_server = pytest.fixture(_fixtures.handlersocket_server)
handlersocket_manager = pytest.fixture(_fixtures.handlersocket_manager)
