"""What is imported where: Locust finds one file of ours, its processes get no trio, and what we ship is found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from locust.argument_parser import parse_locustfile_paths

from hs_drill import __main__ as commands
from hs_drill._shipped import locustfile, scenario_path, shipped_scenarios
from hs_drill.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


def run(code: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_locust_loads_one_file_and_only_the_package_lies_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert [Path(path).resolve() for path in parse_locustfile_paths(["loadtest"])] == [locustfile()]
    # While Locust loads the locustfile, this folder is the first in which Python looks for modules.
    there = {path.name for path in (ROOT / "loadtest").iterdir() if path.suffix in ("", ".py")}
    assert there - {"build", "LICENSE", "__pycache__"} == {"hs_drill", "locustfile.py"}


@pytest.mark.process
def test_what_locust_imports_of_ours_does_not_import_trio(tmp_path: Path) -> None:
    """The linter follows imports; this is what happens."""
    code = "import gevent.monkey; gevent.monkey.patch_all(); import sys; sys.path.insert(0, {!r}); import locustfile; "
    assert run(code.format(str(locustfile().parent)) + "print('trio' in sys.modules)", tmp_path) == "False"


def test_shipped_scenarios_are_found_by_name_where_there_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mixed", "mixed.yaml", "scenarios/mixed.yaml", "scenarios/mixed"):
        assert scenario_path(name) == shipped_scenarios() / "mixed.yaml"
    assert scenario_path("elsewhere/mixed.yaml") == Path("elsewhere/mixed.yaml")
    (tmp_path / "mixed").write_text("one's own")
    assert scenario_path("mixed") == Path("mixed")


def test_the_command_names_the_locustfile_and_lists_the_drills(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["locustfile"]) == 0
    assert capsys.readouterr().out == f"{locustfile()}\n"
    assert commands.main(["drills", "--list"]) == 0
    assert "reader-failover " in capsys.readouterr().out


@pytest.mark.process
def test_a_package_that_is_missing_is_named_with_its_remedy(tmp_path: Path) -> None:
    code = """\
import sys
sys.modules["pydantic"] = None
from hs_drill.__main__ import main
from hs_drill.cli import COMMANDS
for name in COMMANDS:
    print(name, main([name, "--help"]) if name not in ("run", "completion", "locustfile") else 2)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.splitlines() == [f"{name} 2" for name in COMMANDS], done.stderr
    told = "needs pydantic, which is not installed: pip install trio-hs-drill (in a clone: ./dev setup)\n"
    assert done.stderr.count(told) == len(COMMANDS) - 3  # `run` becomes Locust, which says it: below
    for options in (["--help"], ["--headless", "--scenario", "mixed"]):
        code = f"""\
import sys
sys.modules["pydantic"] = None
sys.argv = ["locust", "-f", {str(locustfile())!r}, *{options}]
from locust.main import main
main()
"""
        env = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=env, check=False)
        assert done.returncode == 2, done.stderr
        assert done.stderr.endswith(told)
        assert done.stderr.count("\n") == 1


LINUX_ALONE = ("fcntl", "grp", "pwd", "resource", "termios")
"""Modules that Windows does not have."""


@pytest.mark.process
@pytest.mark.parametrize("system, platform", [("Windows", "win32"), ("Darwin", "darwin")])
def test_on_another_system_each_command_says_that_it_needs_linux(system: str, platform: str, tmp_path: Path) -> None:
    told = f"needs Linux, and this is {system}; the client, trio_hs, works here\n"
    hidden = f"""\
import platform, sys
platform.system = lambda: {system!r}
sys.platform = {platform!r}
sys.modules.update(dict.fromkeys({LINUX_ALONE if platform == "win32" else ()}))
"""
    code = f"""\
{hidden}
from hs_drill.__main__ import main
from hs_drill.cli import COMMANDS
for name in COMMANDS:
    print(name, main([name, "--help"]))
print(main(["--help"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stderr.splitlines(keepends=True) == [f"hs-drill {name} {told}" for name in COMMANDS]
    assert done.stdout.splitlines()[: len(COMMANDS)] == [f"{name} 2" for name in COMMANDS]
    assert done.stdout.endswith("\n0\n")
    for options in (["--help"], ["--headless", "--scenario", "mixed"]):
        code = f"""\
import sys
sys.argv = ["locust", "-f", {str(locustfile())!r}, *{options}]
from types import SimpleNamespace
from hs_drill import _exit_codes  # for us alone, because Locust itself needs parts of the real system
_exit_codes.sys = SimpleNamespace(platform={platform!r}, stderr=sys.stderr)
_exit_codes.platform = SimpleNamespace(system=lambda: {system!r})
from locust.main import main
main()
"""
        env = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=env, check=False)
        assert done.returncode == 2, done.stderr
        assert done.stderr.endswith(told)
        assert done.stderr.count("\n") == 1
