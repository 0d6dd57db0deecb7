"""`hs-drill run`: it becomes Locust, with our locustfile and the scenario."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hs_drill import __main__ as commands
from hs_drill._shipped import locustfile
from tests.loadtest.support.drills import path_of
from tests.loadtest.support.locust_process import SCENARIO
from tests.support.patience import patience


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of the programs that this process would have become."""
    found: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, command: found.append([program, *command[1:]]))
    return found


@pytest.mark.parametrize("name", ["mixed", "mixed.yaml", "scenarios/mixed.yaml"])
def test_a_shipped_scenario_has_a_name_in_any_folder(
    name: str, executed: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commands.main(["run", name, "-t", "1m", "-f", "users.py"])
    ours = [sys.executable, "-m", "locust", "-f", str(locustfile()), "--headless", "--only-summary"]
    assert executed == [[*ours, "--scenario", str(path_of("mixed")), "-t", "1m", "-f", "users.py"]]


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "hs-drill run: error: the following arguments are required: SCENARIO"),
        (["-t", "1m", "mixed"], "hs-drill run: error: the scenario comes first, and Locust's options after it: not '-t'"),
    ],
)
def test_the_scenario_comes_first(
    arguments: list[str], said: str, executed: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.main(["run", *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"usage: hs-drill run SCENARIO [LOCUST OPTIONS]\n{said}\n"
    assert not executed


def test_a_name_that_no_scenario_has_starts_nothing(executed: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["run", "mixd"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("mixd: no such file, and no shipped scenario; those are alter-table, capacity, ")
    assert not executed


@pytest.mark.process
def test_exit_code_and_messages_are_locusts(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(SCENARIO.replace("get: 60", "gte: 60"))
    command = [sys.executable, "-m", "hs_drill", "run", str(path), "-t", "1s"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=patience(30), check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{path}:5: mix.gte: no such operation; did you mean get?")
