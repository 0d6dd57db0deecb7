"""Every exit code of the harness, once."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

__all__ = ["ExitCode", "gravest"]


class ExitCode(IntEnum):
    """What a command or a run of Locust with our locustfile exits with."""

    PASSED = 0
    EXPECTATION_MISSED = 1
    RUN_FAILED = 1
    """The run ended by an error of ours or of the servers. Also Locust's own code when operations failed."""
    BAD_ARGUMENTS = 2
    START_FAILED = 2
    """Something that a run needs is not available: the servers, the web UI's port, a place to keep the run."""
    AUDIT_FAILED = 3
    """A write is not as it was acknowledged."""
    INCONCLUSIVE = 4
    """Something could not be judged."""
    INTERRUPTED = 130
    """Ctrl-C, before anything was found out: what a shell says for SIGINT."""


_BY_GRAVITY: list[int] = [
    ExitCode.PASSED,
    ExitCode.INCONCLUSIVE,
    ExitCode.EXPECTATION_MISSED,
    ExitCode.BAD_ARGUMENTS,
    ExitCode.AUDIT_FAILED,
    ExitCode.INTERRUPTED,
]


def gravest(codes: Iterable[int]) -> int:
    """The exit code of several runs, or of one that failed in more than one way; 0 for none. One of somebody else's, such as a
    listener of Locust's events may set, counts as a missed expectation."""
    other = _BY_GRAVITY.index(ExitCode.EXPECTATION_MISSED)
    return max(codes, key=lambda code: _BY_GRAVITY.index(code) if code in _BY_GRAVITY else other, default=ExitCode.PASSED)
