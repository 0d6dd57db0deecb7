"""`hs-drill drills`: run every scenario that states its verdict, and compare.

A scenario states its verdict in a comment at its beginning, such as `# verdict: pass`. The exit code is 0 if every run gave the
stated verdict, 1 if one did not, and 2 if there was nothing to run, or if this machine cannot start the servers of a scenario:
then none is run. A run that a signal ended early exits with 5, which no scenario can state.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from hs_drill._cluster import CLUSTER_KINDS, VERSION_HELP, ClusterError
from hs_drill._exit_codes import ExitCode
from hs_drill._process_end import end_with_parent
from hs_drill._shipped import headless_locust, scenario_path, shipped_scenarios
from hs_drill.controller import check_scenario_servers
from hs_drill.scenario import Scenario, ScenarioError, StatedVerdictError, load_scenario, stated_exit_code, with_cluster

from ._shared import safely

__all__ = ["main", "make_parser"]

MARGIN_SECONDS = 600.0
"""How long a run may take beyond its load, to start servers, heal, read back and judge."""
END_SECONDS = 60.0
"""How long a run may take to end after SIGTERM."""


@dataclass(frozen=True)
class _Drill:
    path: Path
    scenario: Scenario
    stated: int

    @property
    def needs_mariadb(self) -> bool:
        return any(fault.needs_mariadb for fault in self.scenario.faults)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hs-drill drills", description=__doc__)
    parser.add_argument(
        "scenarios",
        metavar="SCENARIO",
        nargs="*",
        help="YAML files, or names of shipped scenarios; default: all in scenarios/, or all shipped ones",
    )
    parser.add_argument(
        "--cluster", metavar="KIND", choices=CLUSTER_KINDS, help=f"the kind of servers: {', '.join(CLUSTER_KINDS)}"
    )
    parser.add_argument("--server-version", metavar="VERSION", help=VERSION_HELP)
    parser.add_argument("--times", metavar="N", type=_positive, default=1, help="how often to run each")
    parser.add_argument("--list", action="store_true", help="list the scenarios with their stated exit codes, and run none")
    return parser


def main(arguments: Sequence[str]) -> int:
    options = make_parser().parse_args(arguments)
    if options.list:
        return safely(lambda: _list(options.scenarios))
    given = {"kind": options.cluster, "version": options.server_version}
    servers = {key: value for key, value in given.items() if value is not None}
    return safely(lambda: _carry_out_all(options.scenarios, servers, options.times))


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
    """The scenarios with these names, or all. Raises `ScenarioError`, also if a named one states no verdict."""
    try:
        drills = list(_drills([scenario_path(name) for name in names] or _all()))
        if unstated := set(map(scenario_path, names)) - {drill.path for drill in drills}:
            raise StatedVerdictError(f"{min(unstated)}: states no verdict; begin it with a comment such as `# verdict: pass`")
    except StatedVerdictError as error:
        raise ScenarioError(str(error)) from error
    return drills


def _carry_out_all(names: Sequence[str], servers: Mapping[str, str], times: int) -> int:
    """Run scenarios, with these keys of `cluster` instead of theirs."""
    drills = _named(names)
    if not drills:
        sys.stderr.write("no scenario states its verdict with a comment such as `# verdict: pass`\n")
        return ExitCode.BAD_ARGUMENTS
    if servers.get("kind") == "embedded":
        for drill in drills:
            if drill.needs_mariadb:
                print(f"  -  {drill.path.stem}: needs MariaDB", flush=True)
        drills = [drill for drill in drills if not drill.needs_mariadb]
        if not drills:
            sys.stderr.write("nothing is left to run on embedded servers\n")
            return ExitCode.BAD_ARGUMENTS
    try:
        trio.run(_check_servers, drills, servers)
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.BAD_ARGUMENTS
    results: list[bool] = []
    for drill in drills:
        results += [_carry_out(drill, servers, f"{number + 1}/{times}") for number in range(times)]
    wrong = results.count(False)
    print(f"{wrong} of {len(results)} did not give the stated verdict" if wrong else "each gave its stated verdict")
    return ExitCode.EXPECTATION_MISSED if wrong else ExitCode.PASSED


async def _check_servers(drills: Sequence[_Drill], servers: Mapping[str, str]) -> None:
    """Raise `ScenarioError` or `ClusterError` for the first drill that cannot run with these keys of `cluster`."""
    scenarios = [(drill.path, with_cluster(drill.scenario, None, servers)) for drill in drills]
    for path, scenario in scenarios:
        try:
            await check_scenario_servers(scenario, lambda line: print(line, file=sys.stderr))
        except ClusterError as error:
            raise ClusterError(f"{path}: {error}") from error


def _all() -> list[Path]:
    ours = Path("scenarios")
    return sorted((ours if ours.is_dir() else shipped_scenarios()).glob("*.yaml"))


def _drills(paths: Sequence[Path]) -> Iterator[_Drill]:
    for path in paths:
        scenario = load_scenario(path)
        stated = stated_exit_code(path)
        if stated is not None:
            yield _Drill(path, scenario, stated)


def _carry_out(drill: _Drill, servers: Mapping[str, str], number: str) -> bool:
    """Run a scenario on these servers. Returns whether it gave the stated verdict, and prints a line; if it did not,
    also the run's output."""
    options = {"kind": "--cluster", "version": "--server-version"}
    command = [*headless_locust(drill.path), *(f"{options[key]}={value}" for key, value in servers.items())]
    begin = time.monotonic()
    code, out, err = _run(command, drill.scenario.load.lasts + MARGIN_SECONDS)
    right = code == drill.stated
    verdict = re.findall(r"^verdict: (.*)$", out, re.MULTILINE)
    given = verdict[-1] if verdict else f"no verdict, exit code {code}"
    print(f" {'ok' if right else 'NO'}  {drill.path.stem} {number}, {time.monotonic() - begin:.0f} s: {given}", flush=True)
    if not right:
        print(f"     exit code {drill.stated} was stated\n{err}{out}", flush=True)
    return right


def _run(command: Sequence[str], seconds: float) -> tuple[int, str, str]:
    """Run a command. Returns its exit code, standard output and standard error. The command never outlives this function."""
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL  # without stdin, because Locust takes keys for commands
    started = subprocess.Popen(command, stdin=nothing, stdout=pipe, stderr=pipe, text=True, preexec_fn=end_with_parent)
    with _terminating(started) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
            out, err = process.communicate(timeout=END_SECONDS)
        return process.returncode, out, err


@contextmanager
def _terminating(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    # Ctrl-C reaches the command too, for it is in our process group. SIGTERM does not.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()  # its children exit with it
                process.wait()
        signal.signal(signal.SIGTERM, before)
