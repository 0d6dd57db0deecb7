"""What the commands of `hs-drill` share."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from hs_drill._exit_codes import ExitCode
from hs_drill.report import WIDTH, KeptRun, PlainConsole
from hs_drill.scenario import ScenarioError
from hs_drill.store import BaselineError, RunDirectory, RunDirectoryError
from hs_drill.verdict import ComparisonError, RunFigures, figures_of, judge_run

from ._capacity_slo import ObjectiveError

__all__ = ["console", "read_figures", "read_run", "safely"]

QUIET_SECONDS = 2.0
"""Until the first line about the progress, and between two of them."""


def console() -> Console:
    """A console for results, on standard output."""
    made = PlainConsole()
    if not made.is_terminal:
        made.width = WIDTH
    return made


def read_run(path: str) -> KeptRun:
    """Read a kept run, and judge it again. If that takes long, says on standard error how far it is.

    Raises `RunDirectoryError`, `ScenarioError` and OSError.
    """
    directory = RunDirectory.open(Path(path))
    return KeptRun.read(directory, judge_run(directory, report=_say))


def read_figures(paths: Sequence[str]) -> list[RunFigures]:
    """What kept runs give to a comparison. If that takes long, says on standard error how far it is.

    Raises `RunDirectoryError`, `ScenarioError` and OSError.
    """
    runs: list[RunFigures] = []
    due = time.monotonic() + QUIET_SECONDS
    for path in paths:
        if time.monotonic() >= due:
            _say(f"read {len(runs)} of {len(paths)} runs")
            due = time.monotonic() + QUIET_SECONDS
        runs.append(figures_of(RunDirectory.open(Path(path))))
    return runs


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def safely(command: Callable[[], int]) -> int:
    """Run a command, and return its exit code. If it cannot read or write a file, print a line and return 2."""
    try:
        code = command()
        sys.stdout.flush()
        return code
    except (RunDirectoryError, ScenarioError, BaselineError, ComparisonError, ObjectiveError) as error:
        sys.stderr.write(f"{error}\n")
    except BrokenPipeError:
        raise  # see `hs_drill.__main__`
    except OSError as error:
        sys.stderr.write(f"{error.filename or 'output'}: {error.strerror or error}\n")
    return ExitCode.BAD_ARGUMENTS
