"""`hs-drill drills`: carries out every scenario that states its own verdict, and says whether it gives that.

A scenario states it in a comment at its beginning, such as `# verdict: pass`. The exit code is 0 when each of them gave it each
time, 1 when one did not, and 2 when there was nothing to carry out.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hs_drill._cluster import CLUSTER_KINDS
from hs_drill._exit_codes import ExitCode
from hs_drill._process_end import end_with_parent
from hs_drill._shipped import locustfile, scenario_path, shipped_scenarios
from hs_drill.scenario import Scenario, ScenarioError, StatedVerdictError, load_scenario, stated_exit_code

from ._shared import safely

__all__ = ["main"]

MARGIN_SECONDS = 600.0
"""What a run may take beyond its load: to start servers, to heal, to read back and to judge."""
END_SECONDS = 60.0
"""What it may take to end when it is asked to."""


@dataclass(frozen=True)
class _Drill:
    path: Path
    scenario: Scenario
    stated: int


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("hs-drill drills", description=__doc__)
    parser.add_argument("scenarios", metavar="SCENARIO", nargs="*", help="YAML files or shipped names; default: all shipped")
    parser.add_argument("--cluster", metavar="KIND", choices=CLUSTER_KINDS, help=f"the servers: {', '.join(CLUSTER_KINDS)}")
    parser.add_argument("--times", metavar="N", type=_positive, default=1, help="how often each is carried out")
    parser.add_argument("--list", action="store_true", help="list them with the verdicts that they state, and carry out none")
    options = parser.parse_args(arguments)
    if options.list:
        return safely(lambda: _list(options.scenarios))
    return safely(lambda: _carry_out_all(options.scenarios, options.cluster, options.times))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


def _list(names: Sequence[str]) -> int:
    drills = _named(names)
    width = max((len(drill.path.stem) for drill in drills), default=0)
    for drill in drills:
        print(f"{drill.path.stem:{width}}  exit code {drill.stated}  {drill.scenario.description}")
    return ExitCode.PASSED


def _named(names: Sequence[str]) -> list[_Drill]:
    """The scenarios with these names, or all. Raises `ScenarioError`, also when one that was named states no verdict."""
    try:
        drills = list(_drills([scenario_path(name) for name in names] or _all()))
        if silent := set(map(scenario_path, names)) - {drill.path for drill in drills}:
            raise StatedVerdictError(f"{min(silent)}: states no verdict; begin it with a comment such as `# verdict: pass`")
    except StatedVerdictError as error:
        raise ScenarioError(str(error)) from error
    return drills


def _carry_out_all(names: Sequence[str], kind: str | None, times: int) -> int:
    drills = _named(names)
    if not drills:
        sys.stderr.write("there is no scenario that states its verdict, as in `# verdict: pass`\n")
        return ExitCode.BAD_ARGUMENTS
    given: list[bool] = []
    for drill in drills:
        if kind == "embedded" and any(fault.needs_mariadb for fault in drill.scenario.faults):
            print(f"  -  {drill.path.stem}: needs MariaDB", flush=True)
            continue
        given += [_carry_out(drill, kind, f"{number + 1}/{times}") for number in range(times)]
    wrong = given.count(False)
    print(f"{wrong} of {len(given)} did not give the stated verdict" if wrong else "each gave its stated verdict")
    return ExitCode.EXPECTATION_MISSED if wrong else ExitCode.PASSED


def _all() -> list[Path]:
    ours = Path("scenarios")
    return sorted((ours if ours.is_dir() else shipped_scenarios()).glob("*.yaml"))


def _drills(paths: Sequence[Path]) -> Iterator[_Drill]:
    for path in paths:
        scenario = load_scenario(path)
        stated = stated_exit_code(path)
        if stated is not None:
            yield _Drill(path, scenario, stated)


def _carry_out(drill: _Drill, kind: str | None, number: str) -> bool:
    """Whether it gave the stated verdict; says so in a line, and shows what it printed if it did not."""
    locust = [sys.executable, "-m", "locust", "-f", str(locustfile()), "--headless", "--only-summary"]
    command = [*locust, "--scenario", str(drill.path)]
    begin = time.monotonic()
    code, printed, said = _run([*command, *(["--cluster", kind] if kind else [])], drill.scenario.load.lasts + MARGIN_SECONDS)
    right = code == drill.stated
    verdict = re.findall(r"^verdict: (.*)$", printed, re.MULTILINE)
    told = verdict[-1] if verdict else f"no verdict, exit code {code}"
    print(f" {'ok' if right else 'NO'}  {drill.path.stem} {number}, {time.monotonic() - begin:.0f} s: {told}", flush=True)
    if not right:
        print(f"     exit code {drill.stated} was stated\n{said}{printed}", flush=True)
    return right


def _run(command: Sequence[str], seconds: float) -> tuple[int, str, str]:
    """Exit code and output. However this ends, so has the command."""
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL  # Locust would take keys of the terminal for commands
    started = subprocess.Popen(command, stdin=nothing, stdout=pipe, stderr=pipe, text=True, preexec_fn=end_with_parent)
    with _ended(started) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
            out, err = process.communicate(timeout=END_SECONDS)
        return process.returncode, out, err


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    # Ctrl-C reaches it as well as us, for it is of our process group; SIGTERM does not.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()  # its children end with it
                process.wait()
        signal.signal(signal.SIGTERM, before)
