"""Fixtures for pytest-trio. To use them, write ``pytest_plugins = ["trio_hs.testing.pytest_plugin"]`` in a conftest.

No entry point registers them: pytest would then import all of this in every project of an environment with trio_hs, even where
no test needs trio or this package.
"""

from __future__ import annotations

from . import _fixtures
from ._fixtures import handlersocket_tables, handlersocket_version

try:
    from pytest_trio import trio_fixture
except ImportError as error:  # pragma: no cover  (the tests have it)
    raise ImportError(
        "the fixtures of trio_hs.testing need pytest-trio: pip install pytest-trio. Those for anyio's plugin are in "
        "trio_hs.testing.anyio_plugin"
    ) from error

__all__ = ["handlersocket_manager", "handlersocket_server", "handlersocket_tables", "handlersocket_version"]

# pytest's own decorator is enough only where pytest-trio's trio_mode is on.
handlersocket_server = trio_fixture(_fixtures.handlersocket_server)
handlersocket_manager = trio_fixture(_fixtures.handlersocket_manager)
