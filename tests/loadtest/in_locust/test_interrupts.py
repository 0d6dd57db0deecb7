"""Ctrl-C: the first ends a run cleanly. Further ones do not cost it its verdict, and a few of them end it at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gevent
import pytest
from locust.env import Environment

from hs_drill import _gevent_plugin
from hs_drill._exit_codes import ExitCode
from hs_drill.in_locust import _engine_link, _session
from hs_drill.in_locust._engine_link import EngineLink, RunStart
from hs_drill.in_locust._interrupts import PATIENCE, Interrupts
from hs_drill.in_locust._local import LocalSession
from hs_drill.store import RunDirectory
from hs_drill.verdict._judge_run import judge_run
from tests.loadtest.support.drills import PAUSED, wait_for_the_pause
from tests.loadtest.support.locust_process import HEADLESS, ROOT, Locust, free_port, result_of
from tests.loadtest.support.servers import left_behind
from tests.support.patience import patience


class Process:
    """Records what would have happened to the process."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done: list[str] = []
        self.interrupts = Interrupts(lambda: self.done.append("end"), lambda: self.done.append("at once"), lambda: self.now)


@pytest.fixture
def process() -> Process:
    return Process()


def test_the_first_ends_the_run_in_order_and_only_the_fourth_at_once(
    process: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    process.interrupts.kept = "runs/my run"
    process.interrupts.doing = "healing and judging"
    process.interrupts.take()
    assert (process.done, capsys.readouterr().err) == (["end"], "")
    process.interrupts.take()
    process.interrupts.take()
    assert process.done == ["end"]
    said = "finishing: healing and judging; the run is kept in runs/my run"
    assert capsys.readouterr().err.splitlines() == [
        f"{said} (Ctrl-C twice more ends this at once)",
        f"{said} (Ctrl-C once more ends this at once)",
    ]
    process.interrupts.take()
    assert process.done == ["end", "at once"]
    assert capsys.readouterr().err == (
        "aborted without a verdict: the run is kept in runs/my run; to judge it: hs-drill analyze 'runs/my run'\n"
    )


def test_after_half_a_minute_one_more_ends_the_process(process: Process, capsys: pytest.CaptureFixture[str]) -> None:
    process.interrupts.kept = "runs/x"
    process.interrupts.judged = True
    process.interrupts.doing = "ending the servers"
    process.interrupts.take()
    process.now = PATIENCE - 1
    process.interrupts.take()
    assert process.done == ["end"]
    process.now = PATIENCE + 1
    process.interrupts.take()
    assert process.done == ["end", "at once"]
    assert capsys.readouterr().err.splitlines()[1:] == ["aborted: ending the servers; the run is kept in runs/x"]


def test_a_process_that_is_ending_by_itself_is_not_interrupted(process: Process, capsys: pytest.CaptureFixture[str]) -> None:
    """A KeyboardInterrupt in the middle of Locust's shutdown would cut it short."""
    process.interrupts.ending()
    process.interrupts.take()
    assert process.done == []
    assert capsys.readouterr().err == "finishing: ending (Ctrl-C twice more ends this at once)\n"


def test_a_worker_on_the_masters_terminal_prints_nothing(process: Process, capsys: pytest.CaptureFixture[str]) -> None:
    process.interrupts.quiet = True
    for _ in range(4):
        process.interrupts.take()
    assert process.done == ["end", "at once"]
    assert capsys.readouterr().err == ""


@pytest.mark.process
@pytest.mark.parametrize("locustfile, left", [(str(_gevent_plugin.FOLDER), "SIG_DFL"), ("other.py", "default_int_handler")])
def test_before_anything_has_started_ctrl_c_ends_locust_without_a_traceback(locustfile: str, left: str) -> None:
    """Python's own handler would print forty lines about what Locust was importing."""
    code = """\
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from hs_drill import _gevent_plugin
_gevent_plugin.will_patch_all(None)
print(getattr(signal.getsignal(signal.SIGINT), "name", "default_int_handler"), flush=True)
sys.stdin.read()
"""
    # While `python -m locust` imports the package, its argv[0] is "-m".
    command = [sys.executable, "-c", f"import sys; sys.argv = ['-m', '-f', {locustfile!r}]\n{code}"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().decode().strip() == left
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=patience(20))
    assert process.returncode == -signal.SIGINT
    assert (b"Traceback" in said) is (left != "SIG_DFL")


def test_one_while_the_session_opens_ends_the_process_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come at any moment: also while Python starts the controller's process."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_session, "_take_interrupts", lambda _: Interrupts(print))
    monkeypatch.setattr(_session, "_open", interrupted)
    with pytest.raises(SystemExit) as ended:
        _session.open_session(Environment())
    assert ended.value.code == ExitCode.INTERRUPTED


def test_the_servers_are_ended_although_the_result_cannot_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`| tee log` and Ctrl-C: the reader of the pipe may be gone first. A run on a user's servers then left its table there."""
    done: list[str] = []

    def cannot_print(_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(LocalSession, "_finish", lambda _: done.append("finish"))
    monkeypatch.setattr(LocalSession, "_show_result", cannot_print)
    monkeypatch.setattr(LocalSession, "_end_servers", lambda _: done.append("end servers"))
    with pytest.raises(BrokenPipeError):
        LocalSession._on_quit(object.__new__(LocalSession))
    assert done == ["finish", "end servers"]


# --- With Locust -----------------------------------------------------------------------------------------------------


def interrupt(locust: Locust) -> None:
    """Send SIGINT to the whole process group, as a terminal does."""
    os.killpg(locust.process.pid, signal.SIGINT)


def interrupt_again(locust: Locust) -> None:
    """Send SIGINT, and wait for the answer: a busy process takes two at once as one."""
    answered = locust.stderr.count("\nfinishing: ")
    while locust.stderr.count("\nfinishing: ") == answered:
        interrupt(locust)
        deadline = time.monotonic() + 1
        while locust.stderr.count("\nfinishing: ") == answered and time.monotonic() < deadline:
            time.sleep(0.02)


@pytest.mark.process
def test_further_ones_do_not_cost_the_run_its_verdict() -> None:
    further = 2  # one more would end it
    with Locust(*HEADLESS, scenario=PAUSED) as locust:
        wait_for_the_pause(locust)
        interrupt(locust)
        for _ in range(further):
            interrupt_again(locust)
        assert locust.finish() == ExitCode.ENDED_EARLY, locust.describe()
        assert locust.stderr.count("\nfinishing: ") == further, locust.describe()
        assert "\nverdict: incomplete: Ctrl-C ended the run before its time" in locust.stdout, locust.describe()
        assert f"\nkept in {locust.run}\nreport: {locust.run / 'report.html'}\n" in locust.stdout
        assert "Traceback" not in locust.stderr, locust.describe()


@pytest.mark.process
def test_workers_that_get_ctrl_c_too_are_not_counted_as_lost() -> None:
    """They end by themselves before their master can ask them to. Their last reports arrive all the same."""
    scenario = PAUSED.partition("faults:")[0] + "expect: {lost: 0}\n"  # without faults, which would delay their end
    scenario = scenario.replace("think_time: 20ms", "think_time: 200ms")
    with Locust(*HEADLESS, "--processes", "2", scenario=scenario) as locust:
        locust.wait_for_load()
        time.sleep(patience(3))  # until the workers have reported their users to Locust's master
        interrupt(locust)
        time.sleep(0.1)
        interrupt(locust)
        assert locust.exit_code() == ExitCode.ENDED_EARLY, locust.describe()
        result = result_of(locust)
        assert (result["workers"], result["lost_workers"]) == ([0, 1], [])
        assert "\nverdict: incomplete: Ctrl-C ended the run before its time" in locust.stdout, locust.describe()
        assert locust.stderr.count("\nfinishing: ") <= 1, "the workers share the terminal"
        assert "Traceback" not in locust.stderr, locust.describe()


@pytest.mark.process
def test_one_while_locust_waits_for_its_workers_ends_it_without_a_traceback() -> None:
    scenario = PAUSED.partition("faults:")[0]
    port = str(free_port())
    bound = ("--master-bind-host", "127.0.0.1", "--master-bind-port", port)
    with Locust(*HEADLESS, "--master", "--expect-workers", "1", *bound, "-L", "DEBUG", scenario=scenario) as locust:
        locust.wait_for("Waiting for workers to be ready")
        interrupt(locust)
        assert locust.finish() in (ExitCode.INTERRUPTED, -signal.SIGINT), locust.describe()
        assert "Traceback" not in locust.stderr, locust.describe()


@pytest.mark.process
@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_servers_are_prepared_ends_them_cleanly(signum: signal.Signals, temporary: Path) -> None:
    """At that time SIGTERM once killed Locust, so a run on a user's servers left its table there."""
    with Locust(*HEADLESS, scenario=PAUSED.replace("rows: 500", "rows: 5000000")) as locust:
        locust.wait_for("filling ")
        locust.process.send_signal(signum)
        assert locust.finish() == ExitCode.INTERRUPTED, locust.describe()
        assert "Traceback" not in locust.stderr, locust.describe()
    assert left_behind(temporary) == []


@pytest.mark.process
def test_aborting_prints_how_to_judge_the_kept_run() -> None:
    with Locust(*HEADLESS, scenario=PAUSED) as locust:
        wait_for_the_pause(locust)
        interrupt(locust)
        for _ in range(2):
            interrupt_again(locust)
        interrupt(locust)
        assert locust.exit_code() == 130, locust.describe()
        told = f"aborted without a verdict: the run is kept in {locust.run}; to judge it: hs-drill analyze"
        assert locust.stderr.endswith(f"{told} {locust.run}\n"), locust.describe()
        locust.wait_until(lambda: not locust.processes(), "processes are left")
        assert judge_run(RunDirectory.open(locust.run))["exit_code"] == 4
        assert "Traceback" not in locust.stderr, locust.describe()


def test_a_second_stop_waits_for_the_last_batch_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that Ctrl-C has reached, and whose master then asks it to end, must not report its end too early."""
    receive: list[Any] = []

    class Child:
        pid = 1

        def __init__(self, module: str, on_message: Any, on_end: Any) -> None:
            receive.append(on_message)

        def send(self, message: object) -> None:
            pass

        def cpu_seconds(self) -> float:
            return 0.0

    monkeypatch.setattr(_engine_link, "Child", Child)
    link = EngineLink(print, print, print, print)
    link.stop()  # nothing to wait for
    link.configure({}, {}, 0)
    link.start(RunStart(1))
    enders = [gevent.spawn(link.stop) for _ in range(2)]
    gevent.sleep(0.02)
    assert [ender.ready() for ender in enders] == [False, False]
    receive[0]({"type": "stopped"})
    assert len(gevent.joinall(enders, timeout=patience(1))) == 2
