"""The embedded server under anyio's pytest plugin, on its backend trio."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trio_hs.support.pytest_runs import run_pytest

pytestmark = pytest.mark.process

TESTS = """
import pytest

from trio_hs import open_manager
from trio_hs.testing import Table, open_server

TABLES = [Table("d", "t", {"id": "INT NOT NULL AUTO_INCREMENT", "v": "VARCHAR(9) NULL"}, primary_key=["id"])]


@pytest.fixture
def anyio_backend():
    return BACKEND


@pytest.fixture
def handlersocket_tables():
    return TABLES


@pytest.fixture
async def opened():
    async with (
        open_server(TABLES) as server,
        open_manager([server.read_address], [server.write_address], connect=server.connect) as hs,
    ):
        yield hs


@pytest.mark.anyio
@pytest.mark.parametrize("run", [1, 2])
async def test_the_fixtures(handlersocket_manager, handlersocket_server, run):
    assert await handlersocket_manager.insert("d", "t", [("v", "x")]) == 1
    assert await handlersocket_manager.get("d", "t", ["v"], 1) == [("v", "x")]
    assert handlersocket_server.statistics().connections == 2


@pytest.mark.anyio
async def test_a_fixture_of_ones_own(opened):
    assert await opened.insert("d", "t", [("v", "x")]) == 1


@pytest.mark.anyio
async def test_a_server_that_dies(handlersocket_manager, handlersocket_server):
    handlersocket_server.crash()
    with pytest.raises(ConnectionError):
        await handlersocket_manager.get("d", "t", ["v"], 1)


@pytest.mark.anyio
async def test_a_failure(handlersocket_manager):
    assert await handlersocket_manager.get("d", "t", ["v"], 1) == "not this"
"""


def run(directory: Path, backend: str) -> tuple[int, str]:
    (directory / "conftest.py").write_text('pytest_plugins = ["trio_hs.testing.anyio_plugin"]\n')
    (directory / "test_with_anyio.py").write_text(TESTS.replace("BACKEND", repr(backend)))
    result = run_pytest(directory, "-W", "error")
    return result.returncode, result.stdout


def test_the_fixtures_work_on_trio_and_a_failing_test_fails_alone(tmp_path: Path) -> None:
    code, output = run(tmp_path, "trio")
    assert code == 1, output
    assert "1 failed, 4 passed" in output
    assert "error" not in output.splitlines()[-1]


def test_on_asyncio_the_error_says_what_is_needed(tmp_path: Path) -> None:
    code, output = run(tmp_path, "asyncio")
    assert code == 1, output
    assert "RuntimeError: trio_hs needs trio" in output
