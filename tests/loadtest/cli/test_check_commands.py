"""What `hs-drill check`, and a run's start, say of commands of the user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from locust.argument_parser import get_empty_argument_parser

from hs_drill import __main__ as commands
from hs_drill.in_locust import _options
from tests.loadtest.support.own_failover import OWN


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a scenario whose programs are all there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("who-is-primary.sh", "promote.sh", "ssh", "lease", "flush"):
        (tmp_path / name).touch(0o755)
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    return path


def test_check_shows_faults_without_a_target(scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["check", str(scenario)]) == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert [line for line in shown if "command" in line or "external failover" in line] == [
        "40.00 s command drop the lease (run lease drop, heal lease take '{primary}', timeout 30 s) for 10 s",
        "50.00 s healed: command drop the lease",
        "60.00 s command flush (run flush, timeout 30 s)",
        "70.00 s external failover for 60 s",
        "130.00 s healed: external failover",
    ]


def test_a_missing_program_is_found_before_anything_starts(
    scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (scenario.parent / "promote.sh").unlink()
    told = f"{scenario}:12: cluster.commands.promote.run.0: there is no {scenario.parent}/promote.sh; "
    assert commands.main(["check", str(scenario)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(told)
    monkeypatch.setattr(sys, "argv", ["locust", "--scenario", str(scenario)])
    with pytest.raises(SystemExit) as ended:
        _options.add_options(get_empty_argument_parser())
    (line,) = capsys.readouterr().err.splitlines()
    assert (ended.value.code, line[: len(told)]) == (2, told)


def test_locust_goes_on_when_a_program_vanishes(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page of the web UI builds the parser again, and a mistake would end the process. The run tells of the program."""
    monkeypatch.setattr(sys, "argv", ["locust", "--scenario", str(scenario)])
    _options.add_options(get_empty_argument_parser())
    (scenario.parent / "promote.sh").unlink()
    _options.add_options(get_empty_argument_parser())
