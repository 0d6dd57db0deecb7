"""How a process ended, in words; how to end one together with its parent, and one whose output nobody reads."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TextIO

__all__ = ["describe_exit", "discard_output", "end_with_parent"]

PR_SET_PDEATHSIG = 1


def describe_exit(code: int) -> str:
    """`exit code 1` or `killed by SIGKILL`, for a return code as `subprocess` gives it (negative for a signal)."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def end_with_parent() -> None:
    """Send this process SIGTERM when its parent exits, for whatever reason. Linux only; elsewhere it does nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def discard_output() -> None:
    """Discard what a closed pipe (`| head`) does not take. Without it, Python fails at exit to flush that: exit code 120."""
    standard = [sys.stdout, sys.stderr]
    closed = [stream.fileno() for stream in standard if not _flushes(stream)]
    # After `2>&1` both are the pipe. Else the other one may still say something.
    discarded = [one.fileno() for one in standard if any(os.path.sameopenfile(one.fileno(), pipe) for pipe in closed)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in discarded:
        os.dup2(nowhere, number)
    os.close(nowhere)


def _flushes(stream: TextIO) -> bool:
    try:
        stream.flush()
    except BrokenPipeError:
        return False
    return True
