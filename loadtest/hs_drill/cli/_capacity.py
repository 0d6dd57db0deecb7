"""`hs-drill capacity`: find the highest rate at which the servers still meet your objectives.

Offers operations at a rate (an open loop), doubles the rate until an objective is missed, then bisects, and repeats the two
rates that decide. Each step is a run of its own, kept in runs/; the search is kept in capacity/.

Exit codes: 0 the highest rate was found, or even --to holds; 1 not even --from holds, or a step failed; 2 nothing was started;
3 the audit of a step failed; 4 the load engine was the limit, or a step could not be judged; 5 it was ended early.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from hs_drill._cluster import CLUSTER_KINDS, VERSION_HELP, ClusterError
from hs_drill._counted import counted
from hs_drill._exit_codes import ExitCode
from hs_drill._shipped import scenario_path
from hs_drill.controller import check_scenario_servers
from hs_drill.report import rate_in_words, render_search
from hs_drill.scenario import (
    SERVERS_HELP,
    Scenario,
    ScenarioError,
    load_scenario,
    require_mix,
    require_programs,
    seconds,
    with_cluster,
    with_keys,
)
from hs_drill.store import require_place

from ._capacity_result import print_steps, progress_of, result_of
from ._capacity_search import Range, Search, Step
from ._capacity_slo import ObjectiveError, needed, parse_objectives
from ._capacity_step import StepFailed, Steps
from ._shared import console, safely

__all__ = ["main", "make_parser"]

BASE = Path("capacity")
HIGHEST = 1_000_000.0
FIRST_STEP_SECONDS = 30.0
"""How long a step at the default of the lowest rate may be."""
LOWEST = 100.0
WARM_UP_SECONDS = 2.0
SETTLE_SECONDS = 10.0
"""Before a step on servers that were there in the step before."""
ROUND = (1, 2, 5, 10)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "hs-drill capacity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenario", metavar="SCENARIO", help="the YAML file, or the name of a shipped scenario")
    parser.add_argument(
        "--slo",
        metavar="OBJECTIVE",
        action="append",
        required=True,
        help="such as 'get.p99 <= 5ms', 'errors = 0' or 'errors <= 0.1%%'; repeatable, and all of them must be met",
    )
    parser.add_argument("--from", dest="lowest", metavar="RATE", type=_rate, help="the lowest rate, in operations per second")
    parser.add_argument("--to", dest="highest", metavar="RATE", type=_rate, default=HIGHEST, help="the highest (1000000)")
    parser.add_argument(
        "--precision", metavar="SHARE", type=_precision, default=0.05, help="how close to find it, such as 5%% (the default)"
    )
    parser.add_argument(
        "--step",
        metavar="DURATION",
        type=_step,
        default=10.0,
        help="what a step lasts at least, without its warm-up (10s); longer where its percentiles need more operations",
    )
    parser.add_argument(
        "--processes", metavar="N", type=_positive, help="at most so many load engines (one for each core of this machine)"
    )
    parser.add_argument(
        "--pause",
        metavar="DURATION",
        type=_duration,
        default=SETTLE_SECONDS,
        help="between two steps on servers of your own, for them to settle (10s)",
    )
    parser.add_argument(
        "--cluster", metavar="KIND", choices=CLUSTER_KINDS, help=f"the kind of servers: {', '.join(CLUSTER_KINDS)}"
    )
    parser.add_argument("--server-version", metavar="VERSION", help=VERSION_HELP)
    parser.add_argument("--servers", metavar="SERVERS", help=SERVERS_HELP)
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead")
    return parser


def main(arguments: Sequence[str]) -> int:
    options = make_parser().parse_args(arguments)
    return safely(lambda: _capacity(options))


def _checked(parse: Callable[[str], float], wanted: str) -> Callable[[str], float]:
    def checked(text: str) -> float:
        try:
            return parse(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {wanted}, not {text!r}") from None

    return checked


def _within(value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise ValueError
    return value


def _share(text: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", text)
    if found is None:
        raise ValueError
    return float(found[1]) / (100 if found[2] else 1)


def _seconds(text: str, least: float) -> float:
    value = seconds(text)
    assert isinstance(value, float)
    return _within(value, least, 3600)


_rate = _checked(lambda text: _within(float(text), 1, 10_000_000), "operations per second from 1 to 10000000")
_precision = _checked(lambda text: _within(_share(text), 0.001, 1), "a share from 0.1% to 100%")
_step = _checked(lambda text: _seconds(text, 1), "a duration from 1s to 1h, such as 10s")
_duration = _checked(lambda text: _seconds(text, 0), "a duration of at most 1h, such as 10s")
_positive = _checked(lambda text: int(_within(int(text), 1, 1000)), "a whole number from 1 on")


@dataclass(frozen=True)
class _Plan:
    """What the command line asks for, checked."""

    steps: Steps
    range: Range
    pause: float
    """Seconds before each step but the first; 0 where its servers are new."""
    why: str
    """Why a step needs as many operations as it does."""

    def in_words(self) -> str:
        steps, lowest = self.steps, self.range.lowest
        words = f"each step counts {steps.shortest:g} s after {steps.warm_up:g} s of warm-up"
        if steps.operations > steps.shortest * lowest:
            enough = steps.operations / steps.shortest
            longer = f"at {rate_in_words(lowest)} {steps.lasts(lowest):g} s, up to {rate_in_words(enough)}"
            words += f", and {longer} as long as {steps.operations:,} operations take: {self.why}"
        return words

    @property
    def first(self) -> Scenario:
        """The scenario of the first step."""
        return with_keys(self.steps.scenario, self.steps.keys(self.range.lowest))


def _plan(options: argparse.Namespace) -> _Plan:
    """Raises `ScenarioError` and `ObjectiveError`."""
    path = scenario_path(options.scenario)
    scenario = load_scenario(path)
    given = {key: value for key, value in (("kind", options.cluster), ("version", options.server_version)) if value is not None}
    if given or options.servers is not None:
        scenario = with_cluster(scenario, options.servers, given)
    require_mix(scenario, path)
    require_programs(scenario, path)
    if scenario.faults:
        raise ScenarioError(f"{path}: has faults, and a search needs servers that work: take a scenario without faults")
    objectives = parse_objectives(options.slo, scenario)
    load = scenario.load
    operations, why = needed(objectives, scenario.weights, options.precision, poisson=load.arrivals == "poisson")
    lowest = options.lowest or min(_rounded_up(max(operations / FIRST_STEP_SECONDS, LOWEST)), options.highest)
    if lowest > options.highest:
        raise ObjectiveError(
            f"--from must be at most --to: {rate_in_words(lowest)} is more than {rate_in_words(options.highest)}"
        )
    servers = (("--cluster", options.cluster), ("--server-version", options.server_version), ("--servers", options.servers))
    steps = Steps(
        path,
        scenario,
        objectives,
        operations,
        options.step,
        load.warm_up or WARM_UP_SECONDS,
        [word for name, value in servers if value is not None for word in (name, value)],
    )
    range_ = Range(lowest, options.highest, options.precision, options.processes or len(os.sched_getaffinity(0)))
    return _Plan(steps, range_, options.pause if scenario.cluster.kind == "external" else 0.0, why)


def _rounded_up(rate: float) -> float:
    """To 1, 2 or 5 and zeros."""
    power = 1.0
    while power * 10 < rate:
        power *= 10
    return next(power * one for one in ROUND if power * one >= rate)


def _capacity(options: argparse.Namespace) -> int:
    plan = _plan(options)
    try:
        require_place()
        trio.run(check_scenario_servers, plan.first, _say)
    except ClusterError as error:
        _say(str(error))
        return ExitCode.BAD_ARGUMENTS
    directory = _create(plan.steps.scenario.name)
    _say(plan.in_words())
    started = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    search = _Search(plan)
    trio.run(search.run)
    result = {**search.result(), "scenario": plan.steps.scenario.name, "started": started, "step": plan.in_words()}
    _keep(directory, result)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        out = console()
        print_steps(search.steps, plan.steps.objectives, out)
        out.print(result["result"], style="bold", soft_wrap=True, markup=False)
        out.print(f"kept in {directory}", markup=False, soft_wrap=True)
        out.print(f"report: {directory / 'report.html'}", markup=False, soft_wrap=True)
    return int(result["exit_code"])


class _Search:
    """A search that says what it does, and that a signal or a step that fails may end early."""

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self._search = Search(plan.range, self._measure)
        self._scope = trio.CancelScope()
        self._cut, self._code = "", int(ExitCode.PASSED)

    @property
    def steps(self) -> Sequence[Step]:
        return self._search.steps

    def result(self) -> dict[str, Any]:
        plan = self._plan
        return result_of(self._search.finding(), self.steps, plan.range, plan.steps.objectives, self._cut, self._code)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self._watch_signals)
            with self._scope:
                try:
                    await self._search.run()
                except StepFailed as failed:
                    self._cut, self._code = str(failed), failed.code
            nursery.cancel_scope.cancel()

    async def _measure(self, rate: float, engines: int) -> Step:
        if self.steps:
            await trio.sleep(self._plan.pause)
        steps = self._plan.steps
        several = f", {counted(engines, 'engine')}" if engines > 1 else ""
        _say(f"step {len(self.steps) + 1}: {rate_in_words(rate)} for {steps.lasts(rate):g} s{several}")
        step = await steps.measure(rate, engines)
        _say(f"  {progress_of(step, steps.objectives)}")
        return step

    async def _watch_signals(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        hung_up = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL else []  # nohup ignores it
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, *hung_up) as signals:
            task_status.started()
            async for number in signals:
                if self._scope.cancel_called:
                    os._exit(ExitCode.INTERRUPTED)  # the step's run ends with this process
                name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
                self._cut, self._code = f"{name} ended it", ExitCode.ENDED_EARLY
                _say("ending: waiting for the step to end in order (Ctrl-C again ends this at once)")
                self._scope.cancel()


def _create(name: str) -> Path:
    """A new directory for a search. Raises OSError."""
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-.') or 'search'}"
    for number in range(1, 1000):
        path = BASE / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path.absolute()
    raise FileExistsError(f"{BASE} already has 999 searches of this second")


def _keep(directory: Path, result: Mapping[str, Any]) -> None:
    (directory / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    # The steps' runs are beside the searches: both lie below the directory in which the command was started.
    (directory / "report.html").write_text(render_search({**result, "runs": "../../runs"}), encoding="utf-8")


def _say(line: str) -> None:
    with suppress(OSError):  # the terminal may be closed; what is found is kept all the same
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
