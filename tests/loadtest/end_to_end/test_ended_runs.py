"""Runs that are interrupted, killed, or lose their controller: what is left, and how they are judged."""

from __future__ import annotations

import os
import signal

import pytest

from hs_drill._exit_codes import ExitCode
from hs_drill.store import History, RunDirectory
from hs_drill.verdict._judge_run import judge_run
from tests.loadtest.support.containers import containers_below, engine, left_in_engine
from tests.loadtest.support.drills import PAUSED, wait_for_the_pause
from tests.loadtest.support.locust_process import HEADLESS, Locust, judged, result_of

pytestmark = pytest.mark.process


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize(
    "signum, limit, code, verdict",
    [
        (
            signal.SIGINT,
            [],
            ExitCode.ENDED_EARLY,
            "incomplete: Ctrl-C ended the run before its time",
        ),
        (
            signal.SIGHUP,
            [],
            ExitCode.ENDED_EARLY,
            "incomplete: SIGHUP ended the run before its time",
        ),
        (signal.SIGTERM, ["-t", "0"], ExitCode.PASSED, "pass: all 4 expectations hold"),  # without a limit nothing else ends it
    ],
)
def test_a_drill_that_is_interrupted_heals_and_is_judged(
    signum: signal.Signals, limit: list[str], code: int, verdict: str
) -> None:
    """A cancelled job of a CI system gets SIGTERM, and must not turn green."""
    with Locust(*HEADLESS, *limit, scenario=PAUSED) as locust:
        wait_for_the_pause(locust)
        if signum == signal.SIGINT:
            os.killpg(locust.process.pid, signum)  # as a terminal does
        else:
            os.kill(locust.process.pid, signum)
        assert locust.finish() == code, locust.describe()
        assert "fault over: pause reader-1" in locust.stderr
        nothing = "; nothing was missed until then" if code else ""
        assert f"verdict: {verdict}{nothing} (ended after " in locust.stdout, locust.describe()
        assert locust.stderr.count("Shutting down (exit code ") == 1, locust.describe()
        result = result_of(locust)
        expected = dict.fromkeys(["lost", "applied_twice", "unexpected", "counters"], "pass")
        assert judged(result) == expected | ({"ended": "unknown"} if code else {})
        assert judge_run(RunDirectory.open(locust.run))["exit_code"] == result["exit_code"] == code


@pytest.mark.parametrize("to, processes", [("all", []), ("harness", ["--processes", "2"])], ids=["all", "harness"])
def test_a_sigterm_to_every_process_ends_the_run_in_order(to: str, processes: list[str]) -> None:
    """systemd sends it to all processes of a service, and so do some containers and CI systems when they stop one."""
    scenario = PAUSED.partition("faults:")[0] + "expect: {lost: 0, applied_twice: 0}\n"
    with Locust(*HEADLESS, *processes, scenario=scenario) as locust:
        locust.wait_for_load()
        for name in ("hs_drill.engine", "hs_drill.controller", "-m locust") if to == "harness" else ("",):
            for pid in locust.processes(name):
                os.kill(pid, signal.SIGTERM)
        assert locust.finish() == ExitCode.ENDED_EARLY, locust.describe()
        assert "\nverdict: incomplete: SIGTERM ended the run before its time" in locust.stdout, locust.describe()
        assert "the load engine (" not in locust.stderr, locust.describe()
        assert "the controller of the servers" not in locust.stderr, locust.describe()
        if to == "harness":
            assert judged(result_of(locust))["lost"] == "pass"


def test_a_reader_of_the_output_that_is_gone_does_not_change_the_exit_code() -> None:
    """`locust ... 2>&1 | head`: rich would end the process with exit code 1, and Python with 120."""
    scenario = PAUSED.partition("faults:")[0] + "expect: {lost: 0}\n"
    piped = ("bash", "-o", "pipefail", "-c", '"$@" 2>&1 | head -n 1', "bash")
    with Locust(*HEADLESS, "-t", "2s", scenario=scenario, wrapper=piped) as locust:
        assert locust.exit_code() == ExitCode.PASSED, locust.describe()
        assert result_of(locust)["exit_code"] == ExitCode.PASSED


@pytest.mark.parametrize("victim", ["locust", "controller"])
def test_a_drill_that_is_killed_leaves_nothing_and_can_still_be_judged(victim: str) -> None:
    with Locust(*HEADLESS, scenario=PAUSED) as locust:
        wait_for_the_pause(locust)
        if victim == "locust":
            locust.process.kill()
        else:
            os.kill(locust.processes("hs_drill.controller")[0], signal.SIGKILL)
        locust.wait_until(lambda: not locust.processes(), "processes are left")
        assert locust.exit_code() == (-signal.SIGKILL if victim == "locust" else 1)
        result = judge_run(RunDirectory.open(locust.run))
        # Nobody is left to say why Locust ended. Of a controller that died Locust says so, here and in its exit code.
        assert result["exit_code"] == (4 if victim == "locust" else 1)
        assert judged(result)["lost"] == "unknown"
        assert "the primary was not read back" in str(result["expectations"])
        if victim == "controller":
            assert result["verdict"].startswith("fail: the controller of the servers died: killed by SIGKILL")
            assert_told_how_to_judge_it(locust)


def assert_told_how_to_judge_it(locust: Locust) -> None:
    """Of a run that could not be judged when it ended."""
    told = f"no verdict: the run did not come to its end\nkept in {locust.run}\n"
    assert f"{told}to judge what is kept: hs-drill analyze {locust.run}\n" in locust.stdout, locust.describe()


@pytest.mark.docker
def test_a_drill_in_containers_that_is_killed_leaves_none_also_if_one_is_paused() -> None:
    with Locust(*HEADLESS, scenario=PAUSED.replace("embedded", "docker")) as locust, engine() as client:
        locust.wait_for("fault: pause reader-1")
        locust.wait_until(
            lambda: "paused" in [container.status for container in containers_below(client, locust.temporary)], "none is paused"
        )
        locust.process.kill()
        locust.wait_until(lambda: not left_in_engine(locust.temporary), "a container or network is left")
        assert judge_run(RunDirectory.open(locust.run))["exit_code"] == 4


def test_a_controller_that_dies_while_it_judges_ends_the_run_as_failed() -> None:
    with Locust(*HEADLESS, scenario=PAUSED) as locust:
        wait_for_the_pause(locust)
        (controller,) = locust.processes("hs_drill.controller")
        os.kill(controller, signal.SIGSTOP)  # so that the verdict is still awaited when it dies
        locust.process.terminate()
        history = History(locust.run / "history-0.bin")
        locust.wait_until(lambda: bool(list(history.chunks())) and history.complete, "it does not drain")
        os.kill(controller, signal.SIGKILL)
        assert locust.exit_code() == 1, locust.describe()
        assert "the controller of the servers died: killed by SIGKILL" in locust.stderr
        assert_told_how_to_judge_it(locust)
        assert "Traceback" not in locust.stderr, locust.describe()
