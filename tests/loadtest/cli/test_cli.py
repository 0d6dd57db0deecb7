"""The command line: our options beside Locust's. Every mistake is one clear line and exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hs_drill import _gevent_plugin
from hs_drill._exit_codes import ExitCode
from tests.loadtest.support.locust_process import ROOT, SCENARIO, Locust
from tests.support.patience import patience

GOOD = SCENARIO
MISTAKES = {
    "a YAML syntax error": (GOOD.replace("mix: {", "mix: {{"), 5, "not valid YAML"),
    "an unknown key": (GOOD + "sede: 1\n", 6, "sede: unknown key; did you mean seed?"),
    "a negative weight": (GOOD.replace("get: 60", "get: -60"), 5, "mix.get: must be 0 or more, not -60"),
    "no such operation": (GOOD.replace("get: 60", "gte: 60"), 5, "mix.gte: no such operation; did you mean get?"),
}


@pytest.mark.process
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_scenario_is_one_line_and_starts_nothing(mistake: str) -> None:
    text, line, message = MISTAKES[mistake]
    with Locust("--headless", scenario=text) as locust:
        assert locust.finish() == 2, locust.describe()
        assert locust.stderr.startswith(f"{locust.directory / 'short.yaml'}:{line}: {message}"), locust.describe()
        assert locust.stderr.count("\n") == 1
        assert locust.stdout == ""


@pytest.mark.process
@pytest.mark.parametrize(
    "arguments",
    [
        ("--scenario", "scenarios/mixd.yaml"),
        ("--scenario", "scenarios"),
        ("--cluster", "mariabd"),
    ],
)
def test_a_mistake_in_the_options_is_one_line_and_starts_nothing(arguments: tuple[str, ...]) -> None:
    with Locust("--headless", *arguments, scenario=None) as locust:
        assert locust.finish() == 2, locust.describe()
        assert locust.stderr.count("\n") == 1, locust.describe()
        assert arguments[1] in locust.stderr


@pytest.mark.process
def test_a_wrong_path_suggests_the_right_one() -> None:
    wrong, right = ROOT / "scenarios/mixd.yaml", ROOT / "scenarios/mixed.yaml"
    with Locust("--scenario", str(wrong), scenario=None) as locust:
        assert locust.finish() == 2
        assert locust.stderr == f"{wrong}: cannot be read: No such file or directory; did you mean {right}?\n"


@pytest.mark.process
def test_unavailable_servers_are_one_line_without_a_traceback() -> None:
    with Locust("--headless", "--cluster", "docker", env={"DOCKER_HOST": "unix:///nonexistent"}) as locust:
        assert locust.finish() == 2, locust.describe()
        assert "Traceback" not in locust.stderr
        (line,) = [line for line in locust.stderr.splitlines() if not line.startswith("[")]
        assert "no container engine answers at /nonexistent" in line


@pytest.mark.process
def test_an_unusable_place_for_runs_is_reported_before_servers_start() -> None:
    with Locust("--headless", "--cluster", "embedded") as locust:
        (locust.directory / "runs").write_text("in the way")
        assert locust.finish() == 2, locust.describe()
        (line,) = [line for line in locust.stderr.splitlines() if not line.startswith("[")]
        assert line.startswith(f"{locust.directory / 'runs'}: cannot keep runs there: start Locust in a directory")
        assert "starting" not in locust.stderr.replace("Starting Locust", ""), locust.describe()


@pytest.mark.process
@pytest.mark.parametrize("program", [["-m", "locust"], [str(Path(sys.executable).parent / "locust")]])
def test_help_has_our_options_in_a_group_of_their_own(program: list[str]) -> None:
    # Works through the entry point `gevent.plugins.monkey.did_patch_all` of the installed distribution.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    command = [sys.executable, *program, "-f", "loadtest/", "--help"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=patience(30))
    assert done.returncode == 0, done.stderr
    group = done.stdout.partition("HandlerSocket options:\n")[2].partition("\n\nExamples:")[0]
    assert "--scenario <filename>" in group
    assert "--cluster <kind>" in group
    assert "--users" not in group


@pytest.mark.parametrize(
    "argv, expected",
    [
        (["/x/bin/locust", "-f", "{here}", "--help"], True),
        (["/x/bin/locust", "-f{here}/locustfile.py", "-h"], True),
        (["-m", "--locustfile={here}", "--help"], True),
        (["/x/bin/locust", "-f", "other.py,{here}", "--help"], True),
        (["/x/bin/locust", "-f", "{here}"], False),
        (["/x/bin/locust", "-f", "other.py", "--help"], False),
        (["/x/bin/locust", "--help"], False),
        (["/x/bin/gunicorn", "-f", "{here}", "--help"], False),
        (["/x/bin/locust", "--help", "-f"], False),
        (["/x/bin/locust", "--help", "-f", "\0"], False),
        ([""], False),
        ([], False),
    ],
)
def test_the_hook_acts_on_our_help_alone(argv: list[str], expected: bool) -> None:
    argv = [word.format(here=_gevent_plugin.FOLDER) for word in argv]
    assert _gevent_plugin._asks_for_our_help(argv, "") is expected


def test_the_hook_knows_the_locustfile_of_the_environment() -> None:
    assert _gevent_plugin._asks_for_our_help(["locust", "--help"], str(_gevent_plugin.FOLDER))


@pytest.mark.process
def test_importing_the_hook_costs_nothing() -> None:
    code = "import sys, hs_drill._gevent_plugin; print(*{'trio', 'locust', 'gevent', 'yaml', 'pydantic'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=patience(30), env=dict(os.environ)
    )
    assert done.stdout.strip() == ""
    assert done.returncode == 0


@pytest.mark.process
@pytest.mark.parametrize("both", [False, True], ids=["stdout", "stderr too"])
@pytest.mark.parametrize("arguments", [["--help"], ["check", "mixed"], ["drills", "--list"], ["cluster", "check", "mixed"]])
def test_a_closed_pipe_is_no_traceback_and_no_result(arguments: list[str], both: bool) -> None:
    """`hs-drill --help | head`, when head has gone before a line is written."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "hs_drill", *arguments]
        embedded = ["--cluster", "embedded", "--readers", "1"] if arguments[0] == "cluster" else []
        stderr = writer if both else subprocess.PIPE
        done = subprocess.run([*command, *embedded], stdout=writer, stderr=stderr, text=True, check=False)
    finally:
        os.close(writer)
    assert done.returncode == ExitCode.BAD_ARGUMENTS, "1 would say that something was missed"
    assert "Traceback" not in (done.stderr or "")
    assert embedded or not done.stderr
