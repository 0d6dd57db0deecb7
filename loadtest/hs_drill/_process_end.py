"""How a process ended, in words; and how to end a process together with its parent."""

from __future__ import annotations

import ctypes
import signal
import sys

__all__ = ["describe_exit", "end_with_parent"]

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
