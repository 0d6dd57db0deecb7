"""The example of docs/testing.md works as printed, and is quick."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.patience import patience
from tests.trio_hs.support.pytest_runs import run_pytest

pytestmark = pytest.mark.process

DOCUMENT = Path(__file__).parents[3] / "docs" / "testing.md"


def example() -> str:
    """The first Python block of the document."""
    match = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert match is not None
    return match[1]


def test_the_documented_example_passes_and_starts_within_100_ms(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["trio_hs.testing.pytest_plugin"]\n')
    (tmp_path / "test_example.py").write_text(example())
    for _ in range(3):  # the best of three, because the machine may be busy
        result = run_pytest(tmp_path, "--durations=0", "-vv")
        assert result.returncode == 0, result.stdout
        # pytest-trio sets its fixtures up in the call, so setup and call together are the test from its start to its end.
        phases = re.findall(r"^([0-9.]+)s (?:setup|call) ", result.stdout, re.MULTILINE)
        assert len(phases) >= 2
        if sum(map(float, phases)) < patience(0.1):
            return
    raise AssertionError(result.stdout)


def test_a_fixture_chooses_the_version(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["trio_hs.testing.pytest_plugin"]\n')
    (tmp_path / "test_versions.py").write_text(
        "import pytest\n\n"
        "@pytest.fixture(params=['10.11', '11.8'])\n"
        "def handlersocket_version(request):\n"
        "    return request.param\n\n"
        "@pytest.mark.trio\n"
        "async def test_version(handlersocket_server, handlersocket_version):\n"
        "    assert handlersocket_server.version == handlersocket_version\n"
    )
    result = run_pytest(tmp_path)
    assert "2 passed" in result.stdout, result.stdout


def test_nothing_is_loaded_unless_asked_for(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text(
        "import sys\n\ndef test_plain():\n    assert not [name for name in sys.modules if name.startswith('trio_hs')]\n"
    )
    result = run_pytest(tmp_path)
    assert result.returncode == 0, result.stdout


def test_without_sortedcontainers_the_import_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys, trio_hs; sys.modules['sortedcontainers'] = None; import trio_hs.testing"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=patience(60), check=False)
    assert result.stderr.splitlines()[-1] == (
        "ImportError: trio_hs.testing needs sortedcontainers: pip install 'trio-hs[testing]'"
    )
