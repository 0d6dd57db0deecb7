"""`hs-drill drills`: which scenarios it runs, and what it prints about one that does not give its stated verdict."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hs_drill import __main__ as commands
from hs_drill.scenario import StatedVerdictError, stated_exit_code
from hs_drill.servers import _opening
from hs_drill.servers._processes import Installation
from tests.loadtest.support.locust_process import ROOT
from tests.loadtest.support.processes import marked
from tests.support.patience import patience, wait_until

MARK = "TRIO_HS_TEST"
QUICK = """\
# verdict: pass
name: quick
cluster: {readers: 1, kind: embedded}
table: {rows: 100}
load: {users: 2, duration: 1s, think_time: 2ms}
mix: {get: 1}
expect: {availability: 100%}
"""
EXTERNAL = QUICK.replace(
    "{readers: 1, kind: embedded}",
    "{kind: external, servers: [{name: writer, host: h, read_port: 1, write_port: 2, read_secret: {env: TRIO_HS_TEST_UNSET}},"
    " {name: reader-1, host: h, read_port: 3}]}",
)


def written(folder: Path, name: str, text: str) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return str(path)


def environment(folder: Path) -> dict[str, str]:
    """Marked, and without the settings that tests make for Locust in their own process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    return {**kept, "PYTHONPATH": str(ROOT), MARK: str(folder)}


def drills(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hs_drill", "drills", *arguments]
    env = environment(folder)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=patience(100), check=False)


@pytest.mark.process
def test_each_runs_as_often_as_asked_and_a_wrong_verdict_is_shown(tmp_path: Path) -> None:
    (tmp_path / "scenarios").mkdir()
    written(tmp_path / "scenarios", "silent", QUICK.replace("# verdict: pass\n", ""))
    written(tmp_path / "scenarios", "good", QUICK)
    done = drills(tmp_path, "--times", "2")
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done
    assert [line.partition(",")[0] for line in lines] == [" ok  good 1/2", " ok  good 2/2", "each gave its stated verdict"]
    assert lines[0].endswith("pass: all 1 expectations hold")

    wrong = written(tmp_path, "wrong", QUICK.replace("pass", "audit failed (exit code 3)"))
    locked = "\nfaults: [{fault: row-lock, target: writer, at: 0.5s}]\n"
    done = drills(
        tmp_path, wrong, written(tmp_path, "locked", QUICK.replace("embedded", "mariadb") + locked), "--cluster", "embedded"
    )
    assert done.returncode == 1, done
    assert " NO  wrong 1/1, " in done.stdout
    assert "exit code 3 was stated" in done.stdout
    assert "servers ready: embedded" in done.stdout, "Locust's output"
    assert "  -  locked: needs MariaDB" in done.stdout
    assert done.stdout.endswith("1 of 1 did not give the stated verdict\n")


@pytest.mark.parametrize(
    "text, message",
    [
        (QUICK.replace("# verdict: pass\n", ""), "x.yaml: states no verdict; begin it with a comment such as"),
        (
            QUICK.replace("verdict: pass", "verdict: passes"),
            "states `# verdict: passes`; it must be one of pass, expectation missed",
        ),
        (QUICK.replace("get: 1", "gte: 1"), "x.yaml:6: mix.gte: no such operation"),
    ],
)
def test_a_mistake_in_a_scenario_starts_nothing(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["drills", written(tmp_path, "x", text)]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_version_that_servers_cannot_have_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["drills", written(tmp_path, "x", QUICK), "--server-version", "10.6"]) == 2
    wrong = "with the options given, cluster.version: must be 10.11 or 11.8 for kind embedded, not 10.6\n"
    assert capsys.readouterr() == ("", wrong)


@pytest.mark.parametrize("arguments", [[], ["--server-version", "11.4"]])
def test_it_is_a_mistake_when_each_needs_mariadb_and_the_servers_are_embedded(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["drills", "--cluster", "embedded", "writer-lock-stall", *arguments]) == 2
    assert capsys.readouterr() == ("  -  writer-lock-stall: needs MariaDB\n", "nothing is left to run on embedded servers\n")


LOCKED = QUICK.replace("kind: embedded", "kind: auto") + "faults: [{fault: row-lock, target: writer, at: 0.5s}]\n"


@pytest.mark.parametrize(
    "text, arguments, wrong",
    [
        (QUICK, ["--cluster", "mariadb", "--server-version", "9.9"], "9.9 is asked for, but the installed MariaDB is 1.2.3"),
        (QUICK.replace("kind: embedded", "kind: docker"), [], "no container engine answers at "),
        (LOCKED, ["--cluster", "auto", "--server-version", "9.9"], "no kind of servers that works here has the version 9.9: "),
        (LOCKED, ["--server-version", "11.8"], "embedded servers cannot do row-lock: and no other kind works here: "),
        (EXTERNAL, [], "TRIO_HS_TEST_UNSET"),
    ],
)  # fmt: skip
def test_servers_that_this_machine_cannot_start_are_refused_before_the_first_drill(
    text: str,
    arguments: list[str],
    wrong: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def installed() -> Installation:
        return Installation("/usr/sbin/mariadbd", "/usr/bin/mariadb-install-db", Path("/usr/lib"), "1.2.3-MariaDB")

    monkeypatch.setattr(_opening, "find_installation", installed)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    first, last = written(tmp_path, "a", QUICK), written(tmp_path, "b", text)
    assert commands.main(["drills", first, last, *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(rf"\S+/[ab]\.yaml: .*{re.escape(wrong)}.*\n", said.err)


def test_only_one_verdict_may_be_stated(tmp_path: Path) -> None:
    with pytest.raises(StatedVerdictError):
        stated_exit_code(Path(written(tmp_path, "x", QUICK + QUICK)))


@pytest.mark.process
@pytest.mark.parametrize("signum, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_the_run_ends_with_it_whatever_the_signal(signum: signal.Signals, code: int, tmp_path: Path) -> None:
    path = written(tmp_path, "long", QUICK.replace("duration: 1s", "duration: 100s"))
    process = subprocess.Popen(
        [sys.executable, "-m", "hs_drill", "drills", path],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: bool(list(tmp_path.glob("runs/*/batches.bin"))), "no load")
        assert len(marked(f"{MARK}={tmp_path}")) > 3
        process.send_signal(signum)
        assert process.wait(patience(30)) == code
        wait_until(lambda: not marked(f"{MARK}={tmp_path}"), "processes are left")
        assert process.communicate()[1] == "", "no traceback"
    finally:
        process.kill()
        process.wait()
