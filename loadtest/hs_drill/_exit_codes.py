"""Every exit code of the harness, which of several is the gravest, and the lines before some of them."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from enum import IntEnum

__all__ = ["ExitCode", "gravest", "report_missing_package", "report_other_system"]


class ExitCode(IntEnum):
    """What a command or a run of Locust with our locustfile exits with."""

    PASSED = 0
    EXPECTATION_MISSED = 1
    RUN_FAILED = 1
    """An error of the harness or of the servers ended the run. Also Locust's own code when operations failed."""
    BAD_ARGUMENTS = 2
    START_FAILED = 2
    """A run cannot start: the servers, the web UI's port or the place to keep the run is unavailable."""
    AUDIT_FAILED = 3
    """The audit found a write that contradicts what the server acknowledged."""
    INCONCLUSIVE = 4
    """An expectation or a check could not be judged."""
    ENDED_EARLY = 5
    """SIGTERM, SIGHUP or Ctrl-C ended a run before its time, and nothing was missed until then."""
    INTERRUPTED = 130
    """Ctrl-C before there was a result: the code that shells give for SIGINT."""


_BY_GRAVITY: list[int] = [
    ExitCode.PASSED,
    ExitCode.INCONCLUSIVE,
    ExitCode.ENDED_EARLY,
    ExitCode.EXPECTATION_MISSED,
    ExitCode.BAD_ARGUMENTS,
    ExitCode.AUDIT_FAILED,
    ExitCode.INTERRUPTED,
]


def gravest(codes: Iterable[int]) -> int:
    """The exit code for several runs, or for one that failed in several ways; 0 for none.

    A code that is not ours, such as one set by a listener of Locust's events, ranks with a missed expectation.
    """
    other = _BY_GRAVITY.index(ExitCode.EXPECTATION_MISSED)
    return max(codes, key=lambda code: _BY_GRAVITY.index(code) if code in _BY_GRAVITY else other, default=ExitCode.PASSED)


def report_missing_package(program: str, error: ModuleNotFoundError) -> ExitCode:
    """Say in one line on stderr which package `program` needs. An error about a module of ours is raised again."""
    if (error.name or "").partition(".")[0] in ("hs_drill", "trio_hs"):
        raise error
    sys.stderr.write(
        f"{program} needs {error.name}, which is not installed: pip install trio-hs-drill (in a clone: ./dev setup)\n"
    )
    return ExitCode.BAD_ARGUMENTS


def report_other_system(program: str) -> ExitCode:
    """Say in one line on stderr that `program` needs Linux, if this is another system; 0 on Linux."""
    if sys.platform == "linux":
        return ExitCode.PASSED
    system = platform.system() or sys.platform
    sys.stderr.write(f"{program} needs Linux, and this is {system}; the client, trio_hs, works here\n")
    return ExitCode.BAD_ARGUMENTS
