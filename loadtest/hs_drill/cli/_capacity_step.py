"""One step of a search for capacity: a run of Locust at one rate, with servers and engines of its own, and what it says.

Each step is a run like any other, kept in `runs/`. Servers that a run starts are new in each step. So none inherits the queue
or the caches of the step before, and a repetition also shows what differs between two starts of the same servers.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from hs_drill._counted import counted
from hs_drill._exit_codes import ExitCode
from hs_drill._process_end import describe_exit, end_with_parent
from hs_drill._shipped import headless_locust
from hs_drill.report import quantity, rate_in_words
from hs_drill.sandbox import until_ended
from hs_drill.scenario import Scenario, ScenarioError, with_keys
from hs_drill.store import RunDirectory, RunDirectoryError
from hs_drill.verdict import RunFigures, figures_of

from ._capacity_search import Outcome, Step
from ._capacity_slo import Objective, expectations

__all__ = ["StepFailed", "Steps", "step_of"]

KEPT_OF_LOAD = ("arrivals", "max_in_flight", "max_wait")
END_SECONDS = 60.0
"""How long a run may take to end after SIGTERM."""
MARGIN_SECONDS = 600.0
"""How long a run may take beyond its load, to start servers, read back and judge."""
NO_TIME_LEFT = 0.05
"""An engine that had no time left for this share of a step may be why operations failed or were too few. (Whether it is why
latencies were too long, the verdict finds out for each operation.)"""
BUSY = 0.5
"""An engine that used this share of a core may be at its own limit. One that used less and was late waited for a core, and
another one would wait as well."""


class StepFailed(Exception):
    """A step says nothing about its rate, and the search cannot go on. One line for the user."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.code = code


@dataclass(frozen=True)
class Steps:
    """What all steps of a search have in common."""

    path: Path
    """The scenario's file."""
    scenario: Scenario
    objectives: Sequence[Objective]
    operations: int
    """How many a step must have at least."""
    shortest: float
    """Seconds that a step lasts at least, without its warm-up."""
    warm_up: float
    """Seconds that do not count."""
    options: Sequence[str] = ()
    """Of Locust, such as which servers."""

    def lasts(self, rate: float) -> float:
        """Seconds that count of a step at this rate."""
        return math.ceil(max(self.operations / rate, self.shortest))

    def keys(self, rate: float) -> dict[str, Any]:
        """The keys of the step's scenario that differ from the scenario's."""
        load = self.scenario.load
        kept = {name: getattr(load, name) for name in KEPT_OF_LOAD} if load.open else {}
        lasts = self.lasts(rate)
        return {
            "name": f"{self.scenario.name[:150]}-at-{rate:g}",
            "load": {**kept, "rate": rate, "warm_up": self.warm_up, "duration": math.ceil(lasts + self.warm_up)},
            "expect": expectations(self.objectives, rate, lasts, poisson=load.arrivals == "poisson"),
        }

    async def measure(self, rate: float, engines: int) -> Step:
        """Carry a step out. Raises `StepFailed`. Cancelled, it ends its run in order."""
        keys = self.keys(rate)
        try:
            load = with_keys(self.scenario, keys).load
        except ScenarioError as error:
            raise StepFailed(str(error).splitlines()[0], ExitCode.BAD_ARGUMENTS) from error
        command = [
            *headless_locust(self.path),
            *("--hs-keys", json.dumps(keys), *self.options),
            *(
                "--users",
                str(load.locust_users),
                "--spawn-rate",
                f"{load.locust_spawn_rate:g}",
                "--run-time",
                f"{load.lasts:g}s",
            ),
        ]
        if engines > 1:
            port = str(_free_port())  # the default one may be another Locust's
            command += ["--processes", str(engines), "--master-bind-host", "127.0.0.1", "--master-host", "127.0.0.1"]
            command += ["--master-bind-port", port, "--master-port", port]
        code, out, err = await _run(command, load.lasts + MARGIN_SECONDS)
        return await trio.to_thread.run_sync(_read, rate, engines, code, out, err)


async def _run(command: Sequence[str], within: float) -> tuple[int, str, str]:
    """Run a command. Returns its exit code, standard output and standard error."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        # Not through trio, which starts processes in threads: this one would end with its thread. In a group of its own, so
        # that a Ctrl-C reaches only this process, which then ends it in order.
        process = subprocess.Popen(  # noqa: ASYNC220
            command,
            stdin=subprocess.DEVNULL,  # Locust takes keys for commands
            stdout=out,
            stderr=err,
            env=environment,
            preexec_fn=end_with_parent,
            process_group=0,
        )
        try:
            with trio.move_on_after(within):
                await until_ended(process)
        finally:
            with trio.CancelScope(shield=True):
                await _end(process)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
        return process.returncode, texts[0], texts[1]


async def _end(process: subprocess.Popen[Any]) -> None:
    """End it, if it still runs: in order if it can, or else at once. What it has started ends with it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    with trio.move_on_after(END_SECONDS):
        await until_ended(process)
    if process.poll() is None:
        process.kill()
        await until_ended(process)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _read(rate: float, engines: int, code: int, out: str, err: str) -> Step:
    """What a run of Locust that has ended says."""
    kept = re.findall(r"^kept in (.*)$", out, re.MULTILINE)
    if not kept:
        said = [line for line in err.splitlines() if line.strip()] or [f"Locust ended with {describe_exit(code)}"]
        raise StepFailed(said[-1], code if code in (ExitCode.BAD_ARGUMENTS, ExitCode.INTERRUPTED) else ExitCode.RUN_FAILED)
    directory = RunDirectory(Path(kept[-1]))
    try:
        result, figures = directory.result(), figures_of(directory)
    except (RunDirectoryError, ScenarioError, OSError) as error:
        raise StepFailed(f"{directory.path}: {error}", ExitCode.RUN_FAILED) from error
    if result is None:
        raise StepFailed(f"{directory.path}: the run has no verdict", ExitCode.RUN_FAILED)
    return step_of(rate, engines, result, figures, str(directory.path))


def step_of(rate: float, engines: int, result: Mapping[str, Any], figures: RunFigures, run: str) -> Step:
    """What a step says, by its run's `result.json`. Raises `StepFailed` if it says nothing."""
    if result["exit_code"] == ExitCode.AUDIT_FAILED:
        raise StepFailed(f"at {rate:,g}/s: {result['verdict']} ({run})", ExitCode.AUDIT_FAILED)
    for name, code in (("died", ExitCode.RUN_FAILED), ("troubles", ExitCode.INCONCLUSIVE)):
        if lines := result.get(name):
            raise StepFailed(f"at {rate:,g}/s: {lines[0]} ({run})", code)
    if figures.incomplete or not any(name.startswith("all.") for name in figures.figures):
        why = figures.incomplete or "no operation was counted"
        raise StepFailed(
            f"at {rate:,g}/s: {why} ({run})", ExitCode.ENDED_EARLY if result.get("ended_by") else ExitCode.INCONCLUSIVE
        )
    judged = [one for one in result["expectations"] if one["name"].partition(".")[0] in OBJECTIVES]
    wrong = [one for one in judged if one["result"] in ("miss", "unknown")]
    engine = (result["engine"]["phases"] or {}).get("run")
    outcome = _outcome(wrong, engine)
    return Step(
        rate,
        outcome,
        [_in_words(one, rate) for one in wrong],
        engines,
        more_engines_help=engine is not None and engine["cpu"] >= BUSY,
        details={
            "run": run,
            "figures": dict(figures.figures),
            "engine": engine,
            "servers_cpu": result.get("servers_cpu") or {},
            "seconds": figures.seconds,
            "environment": dict(figures.environment),
        },
    )


OBJECTIVES = ("latency", "errors", "availability", "throughput")
"""The expectations that a step has."""


def _in_words(judged: Mapping[str, Any], rate: float) -> str:
    """Why a step does not hold. The report of its run has more."""
    name, measured, limit = judged["name"], judged["measured"], judged["limit"]
    if measured is None:
        return str(judged["line"])
    match name.partition(".")[0]:
        case "latency":
            return f"{name.removeprefix('latency.')} was {quantity(name, measured)}, not {quantity(name, limit)}"
        case "throughput":
            return f"only {rate_in_words(measured)} succeeded of {rate_in_words(rate)}"
        case "availability":
            return f"{(1 - measured) * 100:.3g} % of the operations failed, not {(1 - limit) * 100:.3g} %"
    return counted(measured, "operation failed", "operations failed")


def _outcome(wrong: Sequence[Mapping[str, Any]], engine: Mapping[str, Any] | None) -> Outcome:
    """Of a step that misses these expectations, or in which they are unknown."""
    if not wrong:
        return Outcome.HOLDS
    if engine is None or engine["was_limit"]:
        return Outcome.ENGINE
    short = engine["no_time_left_seconds"] >= engine["seconds"] * NO_TIME_LEFT > 0
    # A latency that was missed was so without the operations that the engine may have slowed down. One that is unknown was not,
    # unless nothing succeeded.
    servers = any(one["result"] == "miss" and (one["name"].startswith("latency") or not short) for one in wrong)
    nothing = not short and any(one["measured"] is None for one in wrong)
    return Outcome.MISSED if servers or nothing else Outcome.ENGINE
